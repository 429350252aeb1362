import type { About, MailText } from '../text.ts'

export const invitation = ({ organisation }: About): MailText => ({
  subject: `You are invited to ${organisation}`,
  paragraphs: [
    `You have been invited to join ${organisation}. Choose a password, and you are in.`,
    'If you do not know what this is about, do nothing.',
  ],
  button: 'Accept the invitation',
})
