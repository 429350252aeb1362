import type { About, MailText } from '../text.ts'

export const recoveryCodesRenewed = ({ organisation }: About): MailText => ({
  subject: `New recovery codes for your account at ${organisation}`,
  paragraphs: [
    `Your account at ${organisation} has new recovery codes. The former ones are no good any more.`,
    'If it was not you, set a new password at once.',
  ],
  button: 'Look at my factors',
})
