import type { About, MailText } from '../text.ts'

export const factorLocked = ({ organisation }: About): MailText => ({
  subject: `Somebody has your password for ${organisation}`,
  paragraphs: [
    `Somebody has signed in to ${organisation} with your password, and then got the second factor wrong a hundred times. They are not in your account.`,
    'Codes of your authenticator app are taken only from devices that you have signed in with before; passkeys and recovery codes work everywhere. Set a new password now, also wherever else you use it.',
  ],
  button: 'Set a new password',
})
