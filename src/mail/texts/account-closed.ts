import type { About, MailText } from '../text.ts'

export const accountClosed = ({ organisation }: About): MailText => ({
  subject: `Your account at ${organisation} is closed`,
  paragraphs: [
    `Your account at ${organisation} was closed with its password, and every device has been logged out. Its data will be erased after a while.`,
    'If you did not close it, somebody else knows your password: this link opens the account again, and then you choose a new one.',
  ],
  button: 'Open my account again',
})
