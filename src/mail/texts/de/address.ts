import type { address as English } from '../en/address.ts'

export const address: typeof English = {
  confirm_email_change: ({ organisation }) => ({
    subject: `Bestätige deine neue E-Mail-Adresse für ${organisation}`,
    paragraphs: [
      `Du möchtest diese Adresse für dein Konto bei ${organisation} verwenden. Bis du sie bestätigst, bleibt die alte.`,
      'Wenn du es nicht warst, tu nichts.',
    ],
    button: 'Diese Adresse verwenden',
  }),
  approve_email_change: ({ organisation, newEmail }) => ({
    subject: `Stimm deiner neuen E-Mail-Adresse bei ${organisation} zu`,
    paragraphs: [
      `Die neue Adresse deines Kontos bei ${organisation}, ${newEmail}, ist bestätigt. Sie gilt, sobald du auch hier zustimmst.`,
      'Wenn du es nicht warst, tu nichts: Diese Adresse bleibt.',
    ],
    button: 'Der neuen Adresse zustimmen',
  }),
  email_change_requested: ({ organisation, newEmail }) => ({
    subject: `Deine E-Mail-Adresse bei ${organisation} wird geändert`,
    paragraphs: [
      `Jemand, vielleicht du, möchte die Adresse deines Kontos bei ${organisation} ändern. Die neue: ${newEmail}.`,
      'Wenn du es nicht warst, nimm es zurück: Diese Adresse bleibt oder kommt wieder, und alle Geräte werden abgemeldet. Wähl danach ein neues Passwort.',
    ],
    button: 'Änderung zurücknehmen',
  }),
  address_changed: ({ organisation, newEmail }) => ({
    subject: `Deine E-Mail-Adresse bei ${organisation} wurde geändert`,
    paragraphs: [
      `Jemand aus der Verwaltung von ${organisation} hat die Adresse deines Kontos geändert. Die neue: ${newEmail}.`,
      'Wenn du das nicht willst, nimm es zurück: Diese Adresse kommt wieder, und alle Geräte werden abgemeldet. Wähl danach ein neues Passwort.',
    ],
    button: 'Änderung zurücknehmen',
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
      `Jemand aus der Administration von ${organisation} hat die Adresse eines Kontos so geändert, dass die alte es nicht zurücknehmen kann. Die neue: ${newEmail}.`,
      'So bekommt jemand ein gestohlenes Konto zurück. Wenn du nichts davon weißt, sieh in den Verlauf.',
    ],
    button: 'Verlauf ansehen',
  }),
}
