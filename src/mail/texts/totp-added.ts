import type { About, MailText } from '../text.ts'

export const totpAdded = ({ organisation }: About): MailText => ({
  subject: `An authenticator app was added to your account at ${organisation}`,
  paragraphs: [
    `Signing in to ${organisation} now takes a code from an authenticator app. All other sessions were ended.`,
    'If it was not you, ask whoever runs it to reset your factors, and set a new password.',
  ],
  button: 'Look at my factors',
})
