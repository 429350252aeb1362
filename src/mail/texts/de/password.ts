import type { password as English } from '../en/password.ts'

export const password: typeof English = {
  reset_password: ({ organisation }) => ({
    subject: `Ein neues Passwort für ${organisation}`,
    paragraphs: [
      `Jemand, vielleicht du, möchte ein neues Passwort bei ${organisation}.`,
      'Wenn du es nicht warst, tu nichts: Das Passwort bleibt, wie es ist.',
    ],
    button: 'Neues Passwort wählen',
  }),
  reset_password_by_admin: ({ organisation }) => ({
    subject: `Ein neues Passwort für ${organisation}`,
    paragraphs: [
      `Die Administration von ${organisation} bittet dich, ein neues Passwort für dein Konto zu wählen.`,
      'Bis dahin bleibt das Passwort, wie es ist. Wenn du nicht weißt, warum, frag dort nach.',
    ],
    button: 'Neues Passwort wählen',
  }),
  password_changed: ({ organisation }) => ({
    subject: `Dein Passwort bei ${organisation} wurde geändert`,
    paragraphs: [
      `Das Passwort deines Kontos bei ${organisation} wurde gerade geändert, und andere Geräte wurden abgemeldet.`,
      'Wenn du es nicht warst, fordere hier sofort ein neues Passwort an: Das meldet alle Geräte ab.',
    ],
    button: 'Neues Passwort anfordern',
  }),
  account_locked: ({ organisation }) => ({
    subject: `Die Anmeldung bei ${organisation} mit deinem Passwort ist blockiert`,
    paragraphs: [
      `Jemand hat hundert falsche Passwörter für dein Konto bei ${organisation} versucht. Darum gilt dort kein Passwort mehr, außer auf Geräten, mit denen du dich schon einmal angemeldet hast.`,
      'Dein Passwort wurde nicht erraten. Mit diesem Link gilt es wieder. Wenn du es auch anderswo benutzt, setz ein neues.',
    ],
    button: 'Mein Konto entsperren',
  }),
  sign_in_code: ({ organisation }) => ({
    subject: `Dein Code für ${organisation}`,
    paragraphs: [
      `Jemand, vielleicht du, möchte sich mit dieser Adresse bei ${organisation} anmelden. Dieser Code tut es.`,
      'Wenn du es nicht warst, tu nichts, und gib den Code niemandem.',
    ],
  }),
  reauthenticate: ({ organisation }) => ({
    subject: `Bestätige, dass du es bist, bei ${organisation}`,
    paragraphs: [
      `Jemand, der in deinem Konto bei ${organisation} angemeldet ist, soll zeigen, dass du es bist. Dieser Code tut es.`,
      'Wenn du es nicht warst, gib ihn niemandem, und melde alle Geräte ab.',
    ],
  }),
}
