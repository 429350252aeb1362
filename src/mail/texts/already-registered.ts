import type { About, MailText } from '../text.ts'

/** Somebody signed up with an address that has an account: only its owner is told so. */
export const alreadyRegistered = ({ organisation }: About): MailText => ({
  subject: `You already have an account at ${organisation}`,
  paragraphs: [
    `Somebody, perhaps you, tried to sign up at ${organisation} with this address. It has an account already, and nothing about it has changed.`,
    'If it was you, sign in here, where you can also ask for a new password if you have forgotten yours.',
  ],
  button: 'Sign in',
})
