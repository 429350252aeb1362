import type { About, MailText } from '../text.ts'

export const accountLocked = ({ organisation }: About): MailText => ({
  subject: `Signing in to ${organisation} with your password is locked`,
  paragraphs: [
    `Somebody has tried a hundred wrong passwords for your account at ${organisation}, so it takes no password any more, but from devices that you have signed in with before.`,
    'Your password was not guessed. This link lets you sign in with it again; if you use it elsewhere too, set a new one.',
  ],
  button: 'Unlock my account',
})
