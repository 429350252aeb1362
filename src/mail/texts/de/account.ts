import type { account as English } from '../en/account.ts'

export const account: typeof English = {
  new_device: ({ organisation }) => ({
    subject: `Ein neues Gerät ist in deinem Konto bei ${organisation} angemeldet`,
    paragraphs: [
      `Jemand hat sich in deinem Konto bei ${organisation} mit einem Gerät angemeldet, das wir nicht kennen.`,
      'Wenn du das warst, musst du nichts tun. Wenn nicht, meldet dieser Link das Gerät ab, und du wählst ein neues Passwort.',
    ],
    button: 'Das war ich nicht',
    happened: 'Angemeldet',
  }),
  role_changed: ({ organisation }) => ({
    subject: `Deine Rolle bei ${organisation} wurde geändert`,
    paragraphs: [
      `Jemand aus der Verwaltung hat gerade die Rolle deines Kontos bei ${organisation} geändert.`,
      'Wenn du das nicht erwartet hast, frag dort nach.',
    ],
    button: 'Mein Konto öffnen',
  }),
  account_disabled: ({ organisation, until }) => ({
    subject: `Dein Konto bei ${organisation} wurde gesperrt`,
    paragraphs: [
      `Jemand aus der Verwaltung von ${organisation} hat dein Konto gesperrt: Niemand kann sich ${until ? `bis zum ${until.day}, ${until.time} Uhr (UTC),` : 'mehr'} darin anmelden, und alle Geräte wurden abgemeldet.`,
      'Wenn du nicht weißt, warum, frag dort nach.',
    ],
  }),
  account_enabled: ({ organisation }) => ({
    subject: `Dein Konto bei ${organisation} wurde entsperrt`,
    paragraphs: [
      `Dein Konto bei ${organisation} war gesperrt und wurde gerade entsperrt.`,
      'Wenn du das nicht erwartet hast, wähle ein neues Passwort.',
    ],
    button: 'Neues Passwort wählen',
  }),
  account_closed: ({ organisation }) => ({
    subject: `Dein Konto bei ${organisation} ist geschlossen`,
    paragraphs: [
      `Dein Konto bei ${organisation} wurde mit deinem Passwort geschlossen, und alle Geräte wurden abgemeldet. Seine Daten werden nach einer Weile gelöscht.`,
      'Wenn du es nicht geschlossen hast, kennt jemand anderes dein Passwort: Dieser Link öffnet das Konto wieder, und du wählst ein neues.',
    ],
    button: 'Mein Konto wieder öffnen',
  }),
  account_deleted: ({ organisation }) => ({
    subject: `Dein Konto bei ${organisation} wurde gelöscht`,
    paragraphs: [
      `Jemand aus der Verwaltung von ${organisation} hat dein Konto gelöscht: Niemand kann sich mehr darin anmelden, und alle Geräte wurden abgemeldet.`,
      'Es kann noch eine Weile wiederhergestellt werden. Wenn du nicht weißt, warum es gelöscht wurde, frag dort nach.',
    ],
  }),
  database_restored: ({ organisation }) => ({
    subject: `${organisation} wurde aus einer Sicherung wiederhergestellt`,
    paragraphs: [
      `Die Konten von ${organisation} wurden aus einer Sicherung wiederhergestellt. Alle sind abgemeldet. API-Schlüssel und die Geheimnisse von Apps und Webhooks gelten nicht, bis jemand sie erneuert.`,
      'Wer seitdem endgültig gelöscht wurde, ist wieder gelöscht. Wer seitdem ein Passwort geändert, eine Rolle oder einen Faktor verloren hat oder gesperrt wurde, wählt per Mail ein neues Passwort und hat die Rolle „user“, bis die Administration entscheidet. Das kann auch dich betreffen.',
    ],
    button: 'Stand ansehen',
  }),
  account_restored: ({ organisation }) => ({
    subject: `Dein Konto bei ${organisation} ist wieder da`,
    paragraphs: [
      `Dein Konto bei ${organisation} war gelöscht und wurde gerade wiederhergestellt.`,
      'Wenn du das nicht erwartet hast, wähle ein neues Passwort oder lösche das Konto wieder.',
    ],
    button: 'Neues Passwort wählen',
  }),
}
