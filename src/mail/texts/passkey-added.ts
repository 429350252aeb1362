import type { About, MailText } from '../text.ts'

export const passkeyAdded = ({ organisation }: About): MailText => ({
  subject: `A passkey was added to your account at ${organisation}`,
  paragraphs: [
    `A new passkey now signs in to your account at ${organisation}. All other sessions were ended.`,
    'If it was not you, this link ends every session, and takes the passkey away where it can show that the account is yours.',
  ],
  button: 'This was not me',
  happened: 'Added',
})
