import type { Write } from '../../text.ts'

export const account = {
  new_device: ({ organisation }) => ({
    subject: `A new device signed in to your account at ${organisation}`,
    paragraphs: [
      `Somebody has signed in to your account at ${organisation} from a device that it does not know.`,
      'If it was you, there is nothing to do. If not, this link ends that session, and you choose a new password.',
    ],
    button: 'This was not me',
    happened: 'Signed in',
  }),
  role_changed: ({ organisation }) => ({
    subject: `Your role at ${organisation} was changed`,
    paragraphs: [
      `The role of your account at ${organisation} has just been changed by somebody who manages accounts.`,
      'If you did not expect this, ask them.',
    ],
    button: 'Open my account',
  }),
  account_disabled: ({ organisation, until }) => ({
    subject: `Your account at ${organisation} was disabled`,
    paragraphs: [
      `Somebody who manages accounts at ${organisation} has disabled yours: nobody can sign in to it${until ? ` until ${until.day}, ${until.time} UTC` : ''}, and every device was signed out.`,
      'If you do not know why, ask whoever runs it.',
    ],
  }),
  account_enabled: ({ organisation }) => ({
    subject: `Your account at ${organisation} is open again`,
    paragraphs: [
      `Your account at ${organisation} was disabled, and has just been enabled again.`,
      'If you did not expect this, choose a new password.',
    ],
    button: 'Choose a new password',
  }),
  account_closed: ({ organisation }) => ({
    subject: `Your account at ${organisation} is closed`,
    paragraphs: [
      `Your account at ${organisation} was closed with its password, and every device has been logged out. Its data will be erased after a while.`,
      'If you did not close it, somebody else knows your password: this link opens the account again, and then you choose a new one.',
    ],
    button: 'Open my account again',
  }),
  /** Deleted by a manager; users who close their own account get another mail, with a way back. */
  account_deleted: ({ organisation }) => ({
    subject: `Your account at ${organisation} was deleted`,
    paragraphs: [
      `Somebody who manages accounts at ${organisation} has deleted yours: nobody can sign in to it, and every device was signed out.`,
      'It can be restored for a while. If you do not know why it was deleted, ask whoever runs it.',
    ],
  }),
  database_restored: ({ organisation }) => ({
    subject: `${organisation} was restored from a backup`,
    paragraphs: [
      `The accounts of ${organisation} were restored from a backup. Everybody is signed out. API keys, secrets of apps and webhooks are off until somebody renews them.`,
      'Whoever was erased since is erased again. Whoever changed a password, lost a role or a factor, or was disabled since chooses a new password by mail and has the role "user", until an administrator decides. You may be one of them.',
    ],
    button: 'See how it is',
  }),
  account_restored: ({ organisation }) => ({
    subject: `Your account at ${organisation} is back`,
    paragraphs: [
      `Your account at ${organisation} was deleted, and has just been restored.`,
      'If you did not expect this, choose a new password, or delete it again.',
    ],
    button: 'Choose a new password',
  }),
} satisfies Record<string, Write>
