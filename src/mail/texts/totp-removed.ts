import type { About, MailText } from '../text.ts'

export const totpRemoved = ({ organisation }: About): MailText => ({
  subject: `The authenticator app was removed from your account at ${organisation}`,
  paragraphs: [
    `Signing in to ${organisation} takes no code from your authenticator app any more. All other sessions were ended.`,
    'If it was not you, this link ends every session, and you choose a new password.',
  ],
  button: 'This was not me',
  happened: 'Removed',
})
