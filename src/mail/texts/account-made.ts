import type { About, MailText } from '../text.ts'

/** To somebody for whom an administrator has made an account. */
export const accountMade = ({ organisation }: About): MailText => ({
  subject: `An account has been made for you at ${organisation}`,
  paragraphs: [
    `An administrator has made an account at ${organisation} for this address. Confirm that the address is yours and choose a password that nobody else knows.`,
    'If you do not know what this is about, do nothing.',
  ],
  button: 'Choose a password',
})
