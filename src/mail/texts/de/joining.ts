import type { joining as English } from '../en/joining.ts'

export const joining: typeof English = {
  verify_email: ({ organisation }) => ({
    subject: `Bestätige deine E-Mail-Adresse für ${organisation}`,
    paragraphs: [
      `Willkommen bei ${organisation}. Bitte bestätige, dass diese Adresse dir gehört.`,
      'Wenn du kein Konto angelegt hast, ignoriere diese Mail.',
    ],
    button: 'Adresse bestätigen',
  }),
  verify_email_by_admin: ({ organisation }) => ({
    subject: `Bestätige deine E-Mail-Adresse für ${organisation}`,
    paragraphs: [
      `Die Administration von ${organisation} bittet dich zu bestätigen, dass diese Adresse deines Kontos dir gehört.`,
      'Wenn du nicht weißt, worum es geht, ignoriere diese Mail.',
    ],
    button: 'Adresse bestätigen',
  }),
  account_made: ({ organisation }) => ({
    subject: `Für dich wurde ein Konto bei ${organisation} angelegt`,
    paragraphs: [
      `Die Administration hat bei ${organisation} ein Konto für diese Adresse angelegt. Bestätige, dass die Adresse dir gehört, und wähle ein Passwort, das sonst niemand kennt.`,
      'Wenn du nicht weißt, worum es geht, ignoriere diese Mail.',
    ],
    button: 'Passwort wählen',
  }),
  already_registered: ({ organisation }) => ({
    subject: `Du hast schon ein Konto bei ${organisation}`,
    paragraphs: [
      `Jemand, vielleicht du, wollte bei ${organisation} mit dieser Adresse ein Konto anlegen. Sie hat schon eins, und daran hat sich nichts geändert.`,
      'Wenn du das warst, melde dich hier an. Dort bekommst du auch ein neues Passwort, wenn du deins vergessen hast.',
    ],
    button: 'Anmelden',
  }),
  invitation: ({ organisation }) => ({
    subject: `Du bist zu ${organisation} eingeladen`,
    paragraphs: [
      `Du bist eingeladen, bei ${organisation} dabei zu sein. Wähle ein Passwort, und es geht los.`,
      'Wenn du nicht weißt, worum es geht, ignoriere diese Mail.',
    ],
    button: 'Einladung annehmen',
  }),
}
