import type { About, MailText } from '../text.ts'

/** Somebody who manages users has it sent: again, or because they have given the account this address. */
export const verifyEmailByAdmin = ({ organisation }: About): MailText => ({
  subject: `Confirm your e-mail address for ${organisation}`,
  paragraphs: [
    `An administrator of ${organisation} asks you to confirm that this address of your account is yours.`,
    'If you do not know what this is about, do nothing.',
  ],
  button: 'Confirm address',
})
