import type { About, MailText } from '../text.ts'

export const accountRestored = ({ organisation }: About): MailText => ({
  subject: `Your account at ${organisation} is back`,
  paragraphs: [
    `Your account at ${organisation} was deleted, and has just been restored.`,
    'If you did not expect this, choose a new password, or delete it again.',
  ],
  button: 'Choose a new password',
})
