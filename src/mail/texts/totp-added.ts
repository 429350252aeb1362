import type { About, MailText } from '../text.ts'

export const totpAdded = ({ organisation }: About): MailText => ({
  subject: `An authenticator app was added to your account at ${organisation}`,
  paragraphs: [
    `Signing in to ${organisation} takes a code from an authenticator app from now on. All other sessions were ended.`,
    'If it was not you, this link ends every session, and takes the app away where it can show that the account is yours.',
  ],
  button: 'This was not me',
  happened: 'Added',
})
