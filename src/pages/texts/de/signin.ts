import type { signin as English } from '../en/signin.ts'

export const signin: typeof English = {
  title: 'Anmelden',
  button: 'Anmelden',
  busy: 'Wird angemeldet…',
  forgot: 'Passwort vergessen?',
  stay: 'Angemeldet bleiben',
  or: 'oder',
  newHere: 'Neu hier?',
  create: 'Konto anlegen',
  wrong: [
    'Das hat nicht geklappt',
    'E-Mail oder Passwort stimmt nicht. Wähl sonst ein neues Passwort per Mail.',
  ],
  waitMinutes: (minutes, until) =>
    `Warte ${minutes === 1 ? 'eine Minute' : `${minutes} Minuten`}, bis ${until}.`,
  tooMany: 'Zu viele Versuche',
  hashing: ['Gerade melden sich viele an', 'Versuch es gleich noch einmal.'],
  disabled: 'Dein Konto ist gesperrt',
  disabledUntil: (until) => `Dein Konto ist bis ${until} gesperrt`,
  askAdmin: (organisation) => `Frag bei ${organisation} nach.`,
  confirmFirst: ['Bestätige zuerst deine E-Mail', 'Der Link ist in deiner Mail.'],
  sendAgain: 'Link noch einmal senden',
  signedOut: 'Du bist abgemeldet',
  signup: {
    title: 'Konto anlegen',
    button: 'Konto anlegen',
    busy: 'Wird angelegt…',
    passwordHint: (min) => `Mindestens ${min} Zeichen. Ein paar Wörter hintereinander sind gut.`,
    have: 'Schon ein Konto?',
    closed: ['Konten gibt es auf Einladung', 'Bitte jemanden aus der Verwaltung, dich einzuladen.'],
    domain: 'Für diese Maildomain werden keine Konten angelegt.',
    agree: (terms, privacy) =>
      terms && privacy
        ? 'Ich stimme den Nutzungsbedingungen zu und habe die Datenschutzhinweise gelesen'
        : terms
          ? 'Ich stimme den Nutzungsbedingungen zu'
          : 'Ich habe die Datenschutzhinweise gelesen',
  },
  check: {
    title: 'Sieh in deine Mail',
    lead: (email) => `Wir haben einen Link und einen Code an ${email} gesendet.`,
    code: 'Code aus der Mail',
    button: 'Bestätigen',
    again: 'Noch einmal senden',
    other: 'Andere Adresse nehmen',
    sent: 'Gesendet. Es kann eine Minute dauern.',
    done: 'Deine Adresse ist bestätigt',
    wrong: ['Der Code stimmt nicht', 'Nimm die neueste Mail, oder lass sie noch einmal senden.'],
  },
  resend: { title: 'E-Mail bestätigen', lead: 'Wir senden dir einen Link zum Bestätigen.' },
  forgotten: {
    title: 'Neues Passwort wählen',
    lead: 'Wir senden dir einen Link dafür.',
    button: 'Link senden',
    sent: [
      'Sieh in deine Mail',
      'Wenn es ein Konto mit dieser Adresse gibt, ist ein Link unterwegs. Es kann eine Minute dauern.',
    ],
    back: 'Zurück zur Anmeldung',
  },
  again: {
    title: 'Bist du es?',
    lead: (minutes) => `Für das Nächste muss die Anmeldung jünger als ${minutes} Minuten sein.`,
    button: 'Weiter',
    notYou: 'Nicht du?',
    mail: 'Code per Mail senden',
  },
}
