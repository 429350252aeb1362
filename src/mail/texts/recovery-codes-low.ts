import type { About, MailText } from '../text.ts'

export const recoveryCodesLow = ({ organisation }: About): MailText => ({
  subject: `Your recovery codes for ${organisation} are running out`,
  paragraphs: [
    `You have signed in to ${organisation} with a recovery code, and fewer than three are left.`,
    'Make new ones on the security page of your account. If it was not you, set a new password at once.',
  ],
  button: 'Look at my factors',
})
