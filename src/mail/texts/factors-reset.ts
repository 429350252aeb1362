import type { About, MailText } from '../text.ts'

export const factorsReset = ({ organisation }: About): MailText => ({
  subject: `Your second factors at ${organisation} were reset`,
  paragraphs: [
    `Somebody who manages ${organisation} has removed the authenticator app, the passkeys and the recovery codes of your account, and ended its sessions.`,
    'Sign in with your password and add new ones. If you did not ask for this, tell them.',
  ],
  button: 'Look at my factors',
})
