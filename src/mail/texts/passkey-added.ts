import type { About, MailText } from '../text.ts'

export const passkeyAdded = ({ organisation }: About): MailText => ({
  subject: `A passkey was added to your account at ${organisation}`,
  paragraphs: [
    `A new passkey now signs in to your account at ${organisation}. All other sessions were ended.`,
    'If it was not you, ask whoever runs it to reset your factors, and set a new password.',
  ],
  button: 'Look at my factors',
})
