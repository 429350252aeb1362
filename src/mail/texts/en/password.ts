import { MAX_FAILURES_IN_A_ROW } from '../../../throttle/limits.ts'
import type { Write } from '../../text.ts'

export const password = {
  reset_password: ({ organisation }) => ({
    subject: `A new password for ${organisation}`,
    paragraphs: [
      `Somebody, perhaps you, asked for a new password at ${organisation}.`,
      'If it was not you, do nothing: the password stays as it is.',
    ],
    button: 'Choose a new password',
  }),
  /** A manager has it sent; the user does not learn who, or from where. */
  reset_password_by_admin: ({ organisation }) => ({
    subject: `A new password for ${organisation}`,
    paragraphs: [
      `An administrator of ${organisation} asked that you choose a new password for your account.`,
      'Until you do, the password stays as it is. If you do not know why you should, ask them.',
    ],
    button: 'Choose a new password',
  }),
  password_changed: ({ organisation }) => ({
    subject: `Your password at ${organisation} was changed`,
    paragraphs: [
      `The password of your account at ${organisation} has just been changed, and other devices have been logged out.`,
      'If it was not you, ask for a new password here, at once: that ends every session.',
    ],
    button: 'Ask for a new password',
  }),
  account_locked: ({ organisation }) => ({
    subject: `Signing in to ${organisation} with your password is locked`,
    paragraphs: [
      `Somebody has tried ${MAX_FAILURES_IN_A_ROW} wrong passwords for your account at ${organisation}, so it takes a password only from devices that you have signed in with before.`,
      'Your password was not guessed. This link lets you sign in with it again; if you use it elsewhere too, set a new one.',
    ],
    button: 'Unlock my account',
  }),
  /** Also goes to people who have no account yet, but may sign up. */
  sign_in_code: ({ organisation }) => ({
    subject: `Your code for ${organisation}`,
    paragraphs: [
      `Somebody, perhaps you, wants to sign in to ${organisation} with this address. This code does it.`,
      'If it was not you, do nothing, and give the code to nobody.',
    ],
  }),
  /** A code without a link: it is for the page, or the app, that waits for it. */
  reauthenticate: ({ organisation }) => ({
    subject: `Confirm that it is you at ${organisation}`,
    paragraphs: [
      `Somebody who is signed in to your account at ${organisation} wants to confirm that it is you. This code does it.`,
      'If it was not you, give it to nobody, and sign out everywhere.',
    ],
  }),
} satisfies Record<string, Write>
