export const signin = {
  title: 'Sign in',
  button: 'Sign in',
  busy: 'Signing in…',
  forgot: 'Forgot password?',
  stay: 'Stay signed in',
  or: 'or',
  newHere: 'New here?',
  create: 'Create an account',
  wrong: [
    'That didn’t work',
    'The email or the password is not right. Stuck? Choose a new password by email.',
  ],
  waitMinutes: (minutes: number, until: string) =>
    `Wait ${minutes === 1 ? 'a minute' : `${minutes} minutes`}, until ${until}.`,
  tooMany: 'Too many tries',
  hashing: ['Many people are signing in', 'Try again in a second.'],
  disabled: 'Your account is disabled',
  disabledUntil: (until: string) => `Your account is disabled until ${until}`,
  askAdmin: (organisation: string) => `Ask whoever runs ${organisation}.`,
  confirmFirst: ['Confirm your email first', 'There is a link in your mail.'],
  sendAgain: 'Send the link again',
  signedOut: 'You are signed out',
  signup: {
    title: 'Create your account',
    button: 'Create account',
    busy: 'Creating…',
    passwordHint: (min: number) => `At least ${min} characters. A few words in a row work well.`,
    have: 'Have an account?',
    closed: ['Accounts are made by invitation', 'Ask somebody who manages people here to invite you.'],
    domain: 'Accounts are not made for this mail domain.',
    agree: (terms: boolean, privacy: boolean): string =>
      terms && privacy
        ? 'I agree to the terms and have read the privacy notice'
        : terms
          ? 'I agree to the terms'
          : 'I have read the privacy notice',
  },
  check: {
    title: 'Check your mail',
    lead: (email: string) => `We sent a link and a code to ${email}.`,
    code: 'Code from the mail',
    button: 'Confirm',
    again: 'Send it again',
    other: 'Use another address',
    sent: 'Sent. It can take a minute.',
    done: 'Your address is confirmed',
    wrong: ['That code is not right', 'Look for the newest mail, or send it again.'],
  },
  resend: { title: 'Confirm your email', lead: 'We send you a link to confirm it.' },
  forgotten: {
    title: 'Choose a new password',
    lead: 'We send you a link to choose it.',
    button: 'Send the link',
    sent: [
      'Check your mail',
      'If there is an account with this address, a link is on its way. It can take a minute.',
    ],
    back: 'Back to sign in',
  },
  again: {
    title: 'Confirm it’s you',
    lead: (minutes: number) => `What comes next needs a sign-in of the last ${minutes} minutes.`,
    button: 'Continue',
    notYou: 'Not you?',
    mail: 'Mail me a code',
  },
}
