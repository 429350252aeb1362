import type { About, MailText } from '../text.ts'

/** Goes to the old address when somebody who manages users has changed it. */
export const addressChanged = ({ organisation, newEmail }: About): MailText => ({
  subject: `Your e-mail address at ${organisation} was changed`,
  paragraphs: [
    `Somebody who manages accounts at ${organisation} has changed the address of yours to ${newEmail}.`,
    'If you do not want this, undo it: this address comes back, and every device is logged out. Then choose a new password.',
  ],
  button: 'Undo the change',
})
