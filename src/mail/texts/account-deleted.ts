import type { About, MailText } from '../text.ts'

/** Of a deletion by somebody who manages; who closes their own account gets another one, with a way back. */
export const accountDeleted = ({ organisation }: About): MailText => ({
  subject: `Your account at ${organisation} was deleted`,
  paragraphs: [
    `Somebody who manages accounts at ${organisation} has deleted yours: nobody can sign in to it, and every device was signed out.`,
    'It can be restored for a while. If you do not know why it was deleted, ask whoever runs it.',
  ],
})
