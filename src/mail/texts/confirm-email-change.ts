import type { About, MailText } from '../text.ts'

export const confirmEmailChange = ({ organisation }: About): MailText => ({
  subject: `Confirm your new e-mail address for ${organisation}`,
  paragraphs: [
    `You asked to use this address for your account at ${organisation}. Until you confirm it, the old one stays.`,
    'If it was not you, do nothing.',
  ],
  button: 'Use this address',
})
