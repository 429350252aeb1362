import type { Write } from '../../text.ts'

export const joining = {
  verify_email: ({ organisation }) => ({
    subject: `Confirm your e-mail address for ${organisation}`,
    paragraphs: [
      `Welcome to ${organisation}. Please confirm that this address is yours.`,
      'If it was not you who signed up, do nothing.',
    ],
    button: 'Confirm address',
  }),
  /** A manager has it sent: again, or because they have given the account this address. */
  verify_email_by_admin: ({ organisation }) => ({
    subject: `Confirm your e-mail address for ${organisation}`,
    paragraphs: [
      `An administrator of ${organisation} asks you to confirm that this address of your account is yours.`,
      'If you do not know what this is about, do nothing.',
    ],
    button: 'Confirm address',
  }),
  /** To somebody whose account an administrator has made. */
  account_made: ({ organisation }) => ({
    subject: `An account has been made for you at ${organisation}`,
    paragraphs: [
      `An administrator has made an account at ${organisation} for this address. Confirm that the address is yours and choose a password that nobody else knows.`,
      'If you do not know what this is about, do nothing.',
    ],
    button: 'Choose a password',
  }),
  /** Somebody signed up with an address that has an account: only its owner learns that. */
  already_registered: ({ organisation }) => ({
    subject: `You already have an account at ${organisation}`,
    paragraphs: [
      `Somebody, perhaps you, tried to sign up at ${organisation} with this address. It has an account already, and nothing about it has changed.`,
      'If it was you, sign in here, where you can also ask for a new password if you have forgotten yours.',
    ],
    button: 'Sign in',
  }),
  invitation: ({ organisation }) => ({
    subject: `You are invited to ${organisation}`,
    paragraphs: [
      `You have been invited to join ${organisation}. Choose a password, and you are in.`,
      'If you do not know what this is about, do nothing.',
    ],
    button: 'Accept the invitation',
  }),
} satisfies Record<string, Write>
