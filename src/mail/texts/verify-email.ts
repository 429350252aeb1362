import type { About, MailText } from '../text.ts'

export const verifyEmail = ({ organisation }: About): MailText => ({
  subject: `Confirm your e-mail address for ${organisation}`,
  paragraphs: [
    `Welcome to ${organisation}. Please confirm that this address is yours.`,
    'If it was not you who signed up, do nothing.',
  ],
  button: 'Confirm address',
})
