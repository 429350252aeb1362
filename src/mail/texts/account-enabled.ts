import type { About, MailText } from '../text.ts'

export const accountEnabled = ({ organisation }: About): MailText => ({
  subject: `Your account at ${organisation} is open again`,
  paragraphs: [
    `Your account at ${organisation} was disabled, and has just been enabled again.`,
    'If you did not expect this, choose a new password.',
  ],
  button: 'Choose a new password',
})
