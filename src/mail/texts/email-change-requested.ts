import type { About, MailText } from '../text.ts'

/** Goes to the address that is being given up. */
export const emailChangeRequested = ({ organisation, newEmail }: About): MailText => ({
  subject: `Your e-mail address at ${organisation} is being changed`,
  paragraphs: [
    `Somebody, perhaps you, asked to change the address of your account at ${organisation} to ${newEmail}.`,
    'If it was not you, undo it: this address stays, or comes back, and every device is logged out. Then choose a new password.',
  ],
  button: 'Undo the change',
})
