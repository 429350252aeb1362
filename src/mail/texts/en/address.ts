import type { Write } from '../../text.ts'

export const address = {
  confirm_email_change: ({ organisation }) => ({
    subject: `Confirm your new e-mail address for ${organisation}`,
    paragraphs: [
      `You asked to use this address for your account at ${organisation}. Until you confirm it, the old one stays.`,
      'If it was not you, do nothing.',
    ],
    button: 'Use this address',
  }),
  /** Goes to the account's address after the new one was confirmed outside the session that asked. */
  approve_email_change: ({ organisation, newEmail }) => ({
    subject: `Approve your new e-mail address at ${organisation}`,
    paragraphs: [
      `The new address of your account at ${organisation}, ${newEmail}, is confirmed. It becomes the address of your account as soon as you approve it here as well.`,
      'If it was not you, do nothing: this address stays.',
    ],
    button: 'Approve the new address',
  }),
  /** Goes to the address that is being given up. */
  email_change_requested: ({ organisation, newEmail }) => ({
    subject: `Your e-mail address at ${organisation} is being changed`,
    paragraphs: [
      `Somebody, perhaps you, asked to change the address of your account at ${organisation} to ${newEmail}.`,
      'If it was not you, undo it: this address stays, or comes back, and every device is logged out. Then choose a new password.',
    ],
    button: 'Undo the change',
  }),
  /** Goes to the old address when a manager has changed it. */
  address_changed: ({ organisation, newEmail }) => ({
    subject: `Your e-mail address at ${organisation} was changed`,
    paragraphs: [
      `Somebody who manages accounts at ${organisation} has changed the address of yours to ${newEmail}.`,
      'If you do not want this, undo it: this address comes back, and every device is logged out. Then choose a new password.',
    ],
    button: 'Undo the change',
  }),
  /** Goes to an old address that an administrator no longer trusts: it cannot undo anything. */
  address_replaced: ({ organisation }) => ({
    subject: `Your e-mail address at ${organisation} was changed`,
    paragraphs: [
      `An administrator of ${organisation} has changed the address of your account. This address no longer belongs to it.`,
      'If you do not know why, ask them.',
    ],
  }),
  /** Tells the other administrators that one of them has taken an account away from its old address. */
  address_replaced_by_admin: ({ organisation, newEmail }) => ({
    subject: `An administrator replaced an address at ${organisation}`,
    paragraphs: [
      `An administrator of ${organisation} has changed the address of an account to ${newEmail}, and the old address cannot undo that.`,
      'This is how a stolen account is given back to its owner. If you do not know of it, look at the history.',
    ],
    button: 'Look at the history',
  }),
} satisfies Record<string, Write>
