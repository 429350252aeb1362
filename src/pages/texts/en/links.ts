import type { LinkPurpose } from '../../../links/models.ts'

/** What the pages say that mailed links open. */
export const links = {
  verify_email: {
    title: 'Confirm your email address',
    lead: 'One press, and the address is confirmed.',
    leadOfCode: 'Type the code that we mailed to you.',
    button: 'Confirm address',
    done: ['Your address is confirmed', 'You can sign in now.'],
    password: 'The password of your account',
    passwordHint: 'If you chose it yourself. It shows that the account is yours.',
    newPassword: 'Or a new password',
    newPasswordHint: (min: number) => `At least ${min} characters. Nobody who knows an older one gets in.`,
  },
  reset_password: {
    title: 'Choose a new password',
    lead: 'This signs out every device. Then sign in with the new one.',
    button: 'Set password',
    newPassword: 'New password',
    done: ['Your password is changed', 'Every device was signed out. You can sign in now.'],
  },
  change_email: {
    title: 'Use this email address',
    lead: 'It becomes the address of your account.',
    button: 'Use this address',
    done: ['This is the address of your account now', ''],
    asked: [
      'One more step',
      'This address is confirmed. Now approve it from the old one: we have mailed a link there.',
    ],
  },
  approve_email_change: {
    title: 'Approve the new email address',
    lead: 'The new address is confirmed already. If you did not ask for it, close this page.',
    button: 'Approve the new address',
    done: ['Approved', 'The new address is the address of your account now.'],
  },
  undo_email_change: {
    title: 'Keep the old email address',
    lead: 'The account gets its old address back, and every device is signed out.',
    button: 'Undo the change',
    done: ['The change is undone', 'Every device was signed out. Now choose a new password.'],
  },
  unlock_account: {
    title: 'Unlock your account',
    lead: 'Then your password works again.',
    button: 'Unlock my account',
    done: ['Your account is unlocked', 'Your password can be used again. You can sign in now.'],
  },
  reopen_account: {
    title: 'Open your account again',
    lead: 'The password it was closed with no longer works. You choose a new one next.',
    button: 'Open my account again',
    done: ['Your account is open again', 'Now choose a new password.'],
  },
  disown_session: {
    title: 'This was not me',
    lead: 'Whoever signed in is signed out again. Then you choose a new password.',
    button: 'Sign them out',
    done: ['They are signed out', 'Now choose a new password, which signs out every device.'],
  },
  disown_factor: {
    title: 'This was not me',
    lead: 'Every device is signed out. What was added is removed if something shows that the account is yours: this browser, another way to confirm, or your password from before.',
    passwordHint: 'If you had it before, and did not choose it with a mailed link.',
    button: 'Sign out every device',
    done: ['Every device is signed out', 'Now choose a new password.'],
    kept: [
      'Every device is signed out',
      'What was added is still there, as the mailbox alone removes nothing. Open the link in the mail again in a browser that you have used before, or with your password from before, and choose a new password only then. If you have neither, ask an administrator to reset it.',
    ],
  },
  accept_invitation: {
    title: 'Accept the invitation',
    invited: (inviter: string, organisation: string) => `${inviter} invited you to ${organisation}`,
    somebody: 'Somebody',
    lead: (email: string) => `Your account is for ${email}.`,
    asRole: (role: string) => `Your role: ${role}`,
    button: 'Create my account',
    password: 'Choose a password',
    done: ['Your account is made', 'You can sign in now.'],
  },
  code: 'Code from the mail',
  /** Of a link that leads nowhere. */
  expired: 'This link has expired, or has been used.',
  needsLink: 'Open the link in your mail.',
  next: {
    verify_email: ['We can send you a new one.', 'Send a new link'],
    reset_password: ['We can send you a new one.', 'Send a new link'],
    change_email: ['Ask for the change again on your account page.', 'Go to my account'],
    approve_email_change: ['Ask for the change again on your account page.', 'Go to my account'],
    undo_email_change: [
      'If somebody else is in your account, choose a new password.',
      'Choose a new password',
    ],
    unlock_account: ['A new password unlocks it as well.', 'Choose a new password'],
    disown_session: ['A new password signs out every device.', 'Choose a new password'],
    disown_factor: ['A new password signs out every device.', 'Choose a new password'],
    accept_invitation: [
      'Ask whoever invited you to send it again. If you have an account already, sign in.',
      'Sign in',
    ],
    reopen_account: ['Now only those who manage accounts can open it again.', 'Sign in'],
  } satisfies Record<LinkPurpose, [string, string]> as Record<LinkPurpose, [string, string]>,
  signIn: 'Sign in',
  choosePassword: 'Choose a new password',
  toAccount: 'Go to my account',
}
