import type { About, MailText } from '../text.ts'

export const passkeyRemoved = ({ organisation }: About): MailText => ({
  subject: `A passkey was removed from your account at ${organisation}`,
  paragraphs: [
    `A passkey of your account at ${organisation} does not sign in any more. All other sessions were ended.`,
    'If it was not you, this link ends every session, and you choose a new password.',
  ],
  button: 'This was not me',
  happened: 'Removed',
})
