import type { About, MailText } from '../text.ts'

export const accountDisabled = ({ organisation }: About): MailText => ({
  subject: `Your account at ${organisation} was disabled`,
  paragraphs: [
    `Somebody who manages accounts at ${organisation} has disabled yours: nobody can sign in to it, and every device was signed out.`,
    'If you do not know why, ask whoever runs it.',
  ],
})
