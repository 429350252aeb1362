import type { About, MailText } from '../text.ts'

/** Goes to an old address that an administrator no longer trusts: it undoes nothing. */
export const addressReplaced = ({ organisation }: About): MailText => ({
  subject: `Your e-mail address at ${organisation} was changed`,
  paragraphs: [
    `An administrator of ${organisation} has changed the address of your account. This address no longer belongs to it.`,
    'If you do not know why, ask them.',
  ],
})
