import type { About, MailText } from '../text.ts'

export const resetPassword = ({ organisation }: About): MailText => ({
  subject: `A new password for ${organisation}`,
  paragraphs: [
    `Somebody, perhaps you, asked for a new password at ${organisation}.`,
    'If it was not you, do nothing: the password stays as it is.',
  ],
  button: 'Choose a new password',
})
