import type { About, MailText } from '../text.ts'

/** Tells the other administrators that one of them has taken an account away from its old address. */
export const addressReplacedByAdmin = ({ organisation, newEmail }: About): MailText => ({
  subject: `An administrator replaced an address at ${organisation}`,
  paragraphs: [
    `An administrator of ${organisation} has changed the address of an account to ${newEmail}, in such a way that the old address cannot undo it.`,
    'This is how a stolen account is given back to its owner. If you do not know of it, look at the history.',
  ],
  button: 'Look at the history',
})
