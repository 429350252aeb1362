import { MAX_FAILURES_IN_A_ROW } from '../../../throttle/limits.ts'
import type { password as English } from '../en/password.ts'

export const password: typeof English = {
  reset_password: ({ organisation }) => ({
    subject: `Ein neues Passwort für ${organisation}`,
    paragraphs: [
      `Jemand, vielleicht du, hat ein neues Passwort für ${organisation} angefordert.`,
      'Wenn du das nicht warst, ignoriere diese Mail: Das Passwort bleibt, wie es ist.',
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
      'Wenn du das nicht warst, fordere hier sofort ein neues Passwort an: Damit werden alle Geräte abgemeldet.',
    ],
    button: 'Neues Passwort anfordern',
  }),
  account_locked: ({ organisation }) => ({
    subject: `Die Anmeldung bei ${organisation} mit deinem Passwort ist blockiert`,
    paragraphs: [
      `Jemand hat ${MAX_FAILURES_IN_A_ROW} falsche Passwörter für dein Konto bei ${organisation} ausprobiert. Darum gilt dort kein Passwort mehr, außer auf Geräten, mit denen du dich schon einmal angemeldet hast.`,
      'Dein Passwort wurde nicht erraten. Mit diesem Link gilt es wieder. Wenn du es auch anderswo benutzt, wähle ein neues.',
    ],
    button: 'Blockierung aufheben',
  }),
  sign_in_code: ({ organisation }) => ({
    subject: `Dein Code für ${organisation}`,
    paragraphs: [
      `Jemand, vielleicht du, möchte sich mit dieser Adresse bei ${organisation} anmelden. Dafür ist dieser Code.`,
      'Wenn du das nicht warst, ignoriere diese Mail und gib den Code nicht weiter.',
    ],
  }),
  reauthenticate: ({ organisation }) => ({
    subject: `Bestätige bei ${organisation}, dass du es bist`,
    paragraphs: [
      `Jemand, der in deinem Konto bei ${organisation} angemeldet ist, möchte bestätigen, dass du es bist. Dafür ist dieser Code.`,
      'Wenn du das nicht warst, gib ihn nicht weiter und melde alle Geräte ab.',
    ],
  }),
}
