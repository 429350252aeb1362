import type { links as English } from '../en/links.ts'

export const links: typeof English = {
  verify_email: {
    title: 'Bestätige deine E-Mail-Adresse',
    lead: 'Ein Klick, und die Adresse ist bestätigt.',
    button: 'Adresse bestätigen',
    done: ['Deine Adresse ist bestätigt', 'Du kannst dich jetzt anmelden.'],
    password: 'Das Passwort deines Kontos',
    passwordHint: 'Falls du es selbst gewählt hast. Es zeigt, dass das Konto deins ist.',
    newPassword: 'Oder ein neues Passwort',
    newPasswordHint: (min) => `Mindestens ${min} Zeichen. Wer ein älteres kennt, kommt nicht mehr hinein.`,
  },
  reset_password: {
    title: 'Neues Passwort wählen',
    lead: 'Danach sind alle Geräte abgemeldet, und du meldest dich mit dem neuen an.',
    button: 'Passwort setzen',
    newPassword: 'Neues Passwort',
    done: ['Dein Passwort ist geändert', 'Alle Geräte wurden abgemeldet. Du kannst dich jetzt anmelden.'],
  },
  change_email: {
    title: 'Diese E-Mail-Adresse verwenden',
    lead: 'Sie wird die Adresse deines Kontos.',
    button: 'Adresse verwenden',
    done: ['Das ist jetzt die Adresse deines Kontos', ''],
    asked: [
      'Noch ein Schritt',
      'Diese Adresse ist bestätigt. Stimm jetzt von der alten aus zu: Der Link ist unterwegs dorthin.',
    ],
  },
  approve_email_change: {
    title: 'Der neuen E-Mail-Adresse zustimmen',
    lead: 'Die neue Adresse ist schon bestätigt. Wenn du das nicht wolltest, schließ diese Seite.',
    button: 'Zustimmen',
    done: ['Zugestimmt', 'Die neue Adresse ist jetzt die Adresse deines Kontos.'],
  },
  undo_email_change: {
    title: 'Die alte E-Mail-Adresse behalten',
    lead: 'Das Konto bekommt seine alte Adresse zurück, und alle Geräte werden abgemeldet.',
    button: 'Änderung zurücknehmen',
    done: [
      'Die Änderung ist zurückgenommen',
      'Alle Geräte wurden abgemeldet. Wähl jetzt ein neues Passwort.',
    ],
  },
  unlock_account: {
    title: 'Dein Konto entsperren',
    lead: 'Danach gilt dein Passwort wieder.',
    button: 'Konto entsperren',
    done: ['Dein Konto ist entsperrt', 'Dein Passwort gilt wieder. Du kannst dich jetzt anmelden.'],
  },
  reopen_account: {
    title: 'Dein Konto wieder öffnen',
    lead: 'Das Passwort, mit dem es geschlossen wurde, gilt danach nicht mehr.',
    button: 'Mein Konto wieder öffnen',
    done: ['Dein Konto ist wieder offen', 'Wähle jetzt ein neues Passwort.'],
  },
  accept_invitation: {
    title: 'Einladung annehmen',
    invited: (inviter, organisation) => `${inviter} hat dich zu ${organisation} eingeladen`,
    somebody: 'Jemand',
    lead: (email) => `Dein Konto ist für ${email}.`,
    asRole: (role) => `Deine Rolle: ${role}`,
    button: 'Mein Konto anlegen',
    password: 'Wähl ein Passwort',
    done: ['Dein Konto ist angelegt', 'Du kannst dich jetzt anmelden.'],
  },
  code: 'Code aus der Mail',
  expired: 'Dieser Link ist abgelaufen oder wurde schon benutzt.',
  needsLink: 'Öffne den Link in deiner Mail.',
  next: {
    verify_email: ['Wir können dir einen neuen senden.', 'Neuen Link senden'],
    reset_password: ['Wir können dir einen neuen senden.', 'Neuen Link senden'],
    change_email: ['Ändere die Adresse noch einmal auf deiner Kontoseite.', 'Zu meinem Konto'],
    approve_email_change: ['Ändere die Adresse noch einmal auf deiner Kontoseite.', 'Zu meinem Konto'],
    undo_email_change: [
      'Wenn jemand anderes in deinem Konto ist, wähl ein neues Passwort.',
      'Neues Passwort wählen',
    ],
    unlock_account: ['Auch ein neues Passwort entsperrt es.', 'Neues Passwort wählen'],
    accept_invitation: [
      'Bitte um eine neue Einladung. Wenn du schon ein Konto hast, melde dich an.',
      'Anmelden',
    ],
  },
  signIn: 'Anmelden',
  choosePassword: 'Neues Passwort wählen',
  toAccount: 'Zu meinem Konto',
}
