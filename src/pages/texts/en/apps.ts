/** What an app would do, by its scope; permissions share one sentence each. */
const scopes = {
  openid: 'Know that it is you',
  profile: 'See your name and your language',
  email: 'See your email',
  roles: 'See your role',
  offline_access: 'Go on when you have signed out, until you stop it',
  'users:read': 'See people',
  'users:create': 'Add and invite people',
  'users:update': 'Change, disable and unlock people',
  'users:delete': 'Delete and restore people',
  'users:purge': 'Erase people for good',
  'users:export': 'Take along the data of people',
  'sessions:manage': 'See and end the sessions of people',
  'activity:read': 'Read the history',
  'cleanup:read': 'See what the clean-up did',
  'mails:manage': 'See mails that did not go out, and send them again',
  'clients:manage': 'See the apps that people sign in to',
  'tokens:introspect': 'Ask whether a sign-in is still good',
} as Record<string, string>

export const apps = {
  scopes,
  consent: {
    title: (app: string) => `${app} wants to use your account`,
    as: (email: string) => `You are ${email}.`,
    notYou: 'Not you?',
    may: 'It would',
    cannot: 'It can’t see your password. You can stop it whenever you like.',
    cannotAct: 'It acts in your name for this, with what you may do.',
    untrusted: 'We cannot tell who receives this on your device. Go on only if you started it yourself.',
    allow: 'Allow',
    deny: 'Cancel',
    goesTo: (host: string) => `You go on to ${host}`,
    goesBack: 'You go back to the app',
  },
  unverified: {
    title: 'Confirm your email first',
    lead: (email: string, app: string) =>
      `${app} has to know that ${email} is yours. Open the link that we mailed you, then come back here.`,
    again: 'Send the link again',
    goOn: 'I have confirmed it',
  },
  sent: { title: 'You are nearly there', lead: 'If nothing happens, press the button.', button: 'Continue' },
}
