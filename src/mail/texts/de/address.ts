import type { address as English } from '../en/address.ts'

export const address: typeof English = {
  confirm_email_change: ({ organisation }) => ({
    subject: `Bestätige deine neue E-Mail-Adresse für ${organisation}`,
    paragraphs: [
      `Du möchtest diese Adresse für dein Konto bei ${organisation} verwenden. Bis du sie bestätigst, bleibt es bei der alten.`,
      'Wenn du das nicht warst, ignoriere diese Mail.',
    ],
    button: 'Diese Adresse verwenden',
  }),
  approve_email_change: ({ organisation, newEmail }) => ({
    subject: `Stimme deiner neuen E-Mail-Adresse bei ${organisation} zu`,
    paragraphs: [
      `Die neue Adresse deines Kontos bei ${organisation}, ${newEmail}, ist bestätigt. Sie gilt, sobald du auch hier zustimmst.`,
      'Wenn du das nicht warst, ignoriere diese Mail: Es bleibt bei dieser Adresse.',
    ],
    button: 'Der neuen Adresse zustimmen',
  }),
  email_change_requested: ({ organisation, newEmail }) => ({
    subject: `Deine E-Mail-Adresse bei ${organisation} wird geändert`,
    paragraphs: [
      `Jemand, vielleicht du, möchte die Adresse deines Kontos bei ${organisation} in ${newEmail} ändern.`,
      'Wenn du das nicht warst, mach es rückgängig: Dann gilt weiter oder wieder diese Adresse, und alle Geräte werden abgemeldet. Wähle danach ein neues Passwort.',
    ],
    button: 'Änderung rückgängig machen',
  }),
  address_changed: ({ organisation, newEmail }) => ({
    subject: `Deine E-Mail-Adresse bei ${organisation} wurde geändert`,
    paragraphs: [
      `Jemand aus der Verwaltung von ${organisation} hat die Adresse deines Kontos in ${newEmail} geändert.`,
      'Wenn du das nicht willst, mach es rückgängig: Dann gilt wieder diese Adresse, und alle Geräte werden abgemeldet. Wähle danach ein neues Passwort.',
    ],
    button: 'Änderung rückgängig machen',
  }),
  address_replaced: ({ organisation }) => ({
    subject: `Deine E-Mail-Adresse bei ${organisation} wurde geändert`,
    paragraphs: [
      `Die Administration von ${organisation} hat die Adresse deines Kontos geändert. Diese Adresse gehört nicht mehr dazu.`,
      'Wenn du nicht weißt, warum, frag dort nach.',
    ],
  }),
  address_replaced_by_admin: ({ organisation, newEmail }) => ({
    subject: `Bei ${organisation} wurde eine Adresse von der Administration ersetzt`,
    paragraphs: [
      `Jemand aus der Administration von ${organisation} hat die Adresse eines Kontos in ${newEmail} geändert, und die alte kann das nicht rückgängig machen.`,
      'So bekommt jemand ein gestohlenes Konto zurück. Wenn du nichts davon weißt, sieh im Verlauf nach.',
    ],
    button: 'Verlauf ansehen',
  }),
}
