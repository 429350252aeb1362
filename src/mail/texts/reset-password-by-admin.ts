import type { About, MailText } from '../text.ts'

/** Somebody who manages users has it sent; who they are, and from where, is not their user's business. */
export const resetPasswordByAdmin = ({ organisation }: About): MailText => ({
  subject: `A new password for ${organisation}`,
  paragraphs: [
    `An administrator of ${organisation} asked that you choose a new password for your account.`,
    'Until you do, the password stays as it is. If you do not know why you should, ask them.',
  ],
  button: 'Choose a new password',
})
