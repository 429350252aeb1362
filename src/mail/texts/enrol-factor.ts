import type { About, MailText } from '../text.ts'

export const enrolFactor = ({ organisation }: About): MailText => ({
  subject: `Your code for ${organisation}`,
  paragraphs: [
    `Somebody who is signed in to your account at ${organisation} wants to add a second factor to it.`,
    'If it was not you, give this code to nobody and set a new password.',
  ],
})
