import { FORMER_MS } from '../../../api-keys/models.ts'
import { MAX_FAILURES_IN_A_ROW } from '../../../throttle/limits.ts'
import { inWords } from '../../../values/durations.ts'
import type { Write } from '../../text.ts'

export const factors = {
  enrol_factor: ({ organisation }) => ({
    subject: `Your code for ${organisation}`,
    paragraphs: [
      `Somebody who is signed in to your account at ${organisation} wants to add a second factor to it.`,
      'If it was not you, give this code to nobody and set a new password.',
    ],
  }),
  api_key_added: ({ organisation }) => ({
    subject: `A key was made for your account at ${organisation}`,
    paragraphs: [
      `With it a program can act for you at ${organisation}, without your password.`,
      'If it was not you, revoke it on the page of your apps. If you cannot sign in, set a new password by mail: that ends every key.',
    ],
    button: 'Look at my keys',
    happened: 'Made',
  }),
  api_key_rotated: ({ organisation }) => ({
    subject: `A key of your account at ${organisation} has a new secret`,
    paragraphs: [
      `A key that lets a program act for you at ${organisation} was renewed. The former one works for ${inWords(FORMER_MS)} more.`,
      'If it was not you, revoke it on the page of your apps. If you cannot sign in, set a new password by mail: that ends every key.',
    ],
    button: 'Look at my keys',
    happened: 'Made',
  }),
  totp_added: ({ organisation }) => ({
    subject: `An authenticator app was added to your account at ${organisation}`,
    paragraphs: [
      `Signing in to ${organisation} takes a code from an authenticator app from now on. All other sessions were ended.`,
      'If it was not you, this link ends every session, and removes the app if it can show that the account is yours.',
    ],
    button: 'This was not me',
    happened: 'Added',
  }),
  totp_removed: ({ organisation }) => ({
    subject: `The authenticator app was removed from your account at ${organisation}`,
    paragraphs: [
      `Signing in to ${organisation} no longer takes a code from your authenticator app. All other sessions were ended.`,
      'If it was not you, this link ends every session, and you choose a new password.',
    ],
    button: 'This was not me',
    happened: 'Removed',
  }),
  identity_added: ({ organisation }) => ({
    subject: `A provider was connected to your account at ${organisation}`,
    paragraphs: [
      `An account at another provider now signs in to yours at ${organisation}. All other sessions were ended.`,
      'If it was not you, this link ends every session, and disconnects it.',
    ],
    button: 'This was not me',
    happened: 'Connected',
  }),
  identity_removed: ({ organisation }) => ({
    subject: `A provider was disconnected from your account at ${organisation}`,
    paragraphs: [
      `An account at another provider no longer signs in to yours at ${organisation}. All other sessions were ended.`,
      'If it was not you, check the ways into your account, and choose a new password.',
    ],
    button: 'Look at it',
    happened: 'Disconnected',
  }),
  passkey_added: ({ organisation }) => ({
    subject: `A passkey was added to your account at ${organisation}`,
    paragraphs: [
      `A new passkey now signs in to your account at ${organisation}. All other sessions were ended.`,
      'If it was not you, this link ends every session, and removes the passkey if it can show that the account is yours.',
    ],
    button: 'This was not me',
    happened: 'Added',
  }),
  passkey_removed: ({ organisation }) => ({
    subject: `A passkey was removed from your account at ${organisation}`,
    paragraphs: [
      `A passkey of your account at ${organisation} no longer signs in. All other sessions were ended.`,
      'If it was not you, this link ends every session, and you choose a new password.',
    ],
    button: 'This was not me',
    happened: 'Removed',
  }),
  factor_locked: ({ organisation }) => ({
    subject: `Somebody got your second factor wrong at ${organisation}`,
    paragraphs: [
      `Somebody has passed the first step of signing in to ${organisation} (your password, a code from your mailbox or a sign-in elsewhere), and then got the second factor wrong ${MAX_FAILURES_IN_A_ROW} times. They are not in your account.`,
      'Codes of your authenticator app are taken only from devices that you have signed in with before; passkeys and recovery codes work everywhere. Set a new password now, also for your mailbox and wherever else you use it.',
    ],
    button: 'Set a new password',
  }),
  factors_reset: ({ organisation }) => ({
    subject: `Your second factors at ${organisation} were reset`,
    paragraphs: [
      `Somebody who manages ${organisation} has removed the authenticator app, the passkeys and the recovery codes of your account, and ended its sessions.`,
      'Sign in with your password and add new ones. If you did not ask for this, tell them.',
    ],
    button: 'Look at my factors',
  }),
  recovery_codes_low: ({ organisation }) => ({
    subject: `Your recovery codes for ${organisation} are running out`,
    paragraphs: [
      `You have signed in to ${organisation} with a recovery code, and fewer than three are left.`,
      'Make new ones on the security page of your account. If it was not you, set a new password at once.',
    ],
    button: 'Look at my factors',
  }),
  recovery_codes_renewed: ({ organisation }) => ({
    subject: `New recovery codes for your account at ${organisation}`,
    paragraphs: [
      `Your account at ${organisation} has new recovery codes. The former ones no longer work.`,
      'If it was not you, set a new password at once.',
    ],
    button: 'Look at my factors',
  }),
} satisfies Record<string, Write>
