import type { About, MailText } from '../text.ts'

export const roleChanged = ({ organisation }: About): MailText => ({
  subject: `Your role at ${organisation} was changed`,
  paragraphs: [
    `The role of your account at ${organisation} has just been changed by somebody who manages accounts.`,
    'If you did not expect this, ask them.',
  ],
  button: 'Open my account',
})
