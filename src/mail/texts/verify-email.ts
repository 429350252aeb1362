import type { About, MailText } from '../texts.ts'

export const verifyEmail = ({ organisation }: About): MailText => ({
  subject: `Confirm your e-mail address for ${organisation}`,
  paragraphs: [
    `Welcome to ${organisation}. Please confirm that this address is yours.`,
    'If you did not sign up, do nothing: without your confirmation the address is not used.',
  ],
  button: 'Confirm address',
  lifetime: '24 hours',
})
