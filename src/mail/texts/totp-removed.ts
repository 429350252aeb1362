import type { About, MailText } from '../text.ts'

export const totpRemoved = ({ organisation }: About): MailText => ({
  subject: `The authenticator app was removed from your account at ${organisation}`,
  paragraphs: [
    `Signing in to ${organisation} takes no code from your authenticator app any more. All other sessions were ended.`,
    'If it was not you, set a new password at once.',
  ],
  button: 'Look at my factors',
})
