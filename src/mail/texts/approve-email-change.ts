import type { About, MailText } from '../text.ts'

/** Goes to the address of the account, once the new one has confirmed without the session that asked. */
export const approveEmailChange = ({ organisation, newEmail }: About): MailText => ({
  subject: `Approve your new e-mail address at ${organisation}`,
  paragraphs: [
    `The new address of your account at ${organisation}, ${newEmail}, has confirmed. It is the address of your account as soon as you approve it here as well.`,
    'If it was not you, do nothing: this address stays.',
  ],
  button: 'Approve the new address',
})
