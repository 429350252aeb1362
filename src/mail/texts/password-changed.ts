import type { About, MailText } from '../text.ts'

export const passwordChanged = ({ organisation }: About): MailText => ({
  subject: `Your password at ${organisation} was changed`,
  paragraphs: [
    `The password of your account at ${organisation} has just been changed, and other devices have been logged out.`,
    'If it was not you, ask for a new password here, at once: that ends every session.',
  ],
  button: 'Ask for a new password',
})
