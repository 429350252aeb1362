import type { apps as english } from '../en/apps.ts'

export const apps: typeof english = {
  scopes: {
    openid: 'Wissen, dass Sie es sind',
    profile: 'Ihren Namen und Ihre Sprache sehen',
    email: 'Ihre E-Mail-Adresse sehen',
    roles: 'Ihre Rolle sehen',
    offline_access: 'Weiterarbeiten, wenn Sie abgemeldet sind, bis Sie es beenden',
    'users:read': 'Personen sehen',
    'users:create': 'Personen anlegen und einladen',
    'users:update': 'Personen ändern, sperren und entsperren',
    'users:delete': 'Personen löschen und wiederherstellen',
    'users:purge': 'Personen endgültig löschen',
    'users:export': 'Daten von Personen mitnehmen',
    'sessions:manage': 'Sitzungen von Personen sehen und beenden',
    'activity:read': 'Den Verlauf lesen',
    'cleanup:read': 'Sehen, was aufgeräumt wurde',
    'mails:manage': 'Mails sehen, die nicht ankamen, und erneut senden',
    'clients:manage': 'Die Apps sehen, bei denen man sich anmeldet',
    'tokens:introspect': 'Fragen, ob eine Anmeldung noch gilt',
  },
  consent: {
    title: (app) => `${app} möchte Ihr Konto nutzen`,
    as: (email) => `Sie sind ${email}.`,
    notYou: 'Nicht Sie?',
    may: 'Die App würde',
    cannot: 'Ihr Passwort sieht sie nicht. Sie können das jederzeit beenden.',
    cannotAct: 'Sie handelt dabei in Ihrem Namen, mit dem, was Sie dürfen.',
    untrusted:
      'Wer das auf Ihrem Gerät empfängt, können wir nicht erkennen. Machen Sie nur weiter, wenn Sie es selbst begonnen haben.',
    allow: 'Erlauben',
    deny: 'Abbrechen',
    goesTo: (host) => `Es geht weiter zu ${host}`,
    goesBack: 'Es geht zurück zur App',
  },
  unverified: {
    title: 'Bestätigen Sie zuerst Ihre E-Mail-Adresse',
    lead: (email, app) =>
      `${app} muss wissen, dass ${email} Ihnen gehört. Öffnen Sie den Link aus unserer Mail, und kommen Sie dann hierher zurück.`,
    again: 'Link noch einmal senden',
    goOn: 'Ich habe sie bestätigt',
  },
  sent: {
    title: 'Gleich geschafft',
    lead: 'Wenn nichts passiert, drücken Sie auf „Weiter“.',
    button: 'Weiter',
  },
}
