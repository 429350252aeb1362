import { FORMER_MS } from '../../../api-keys/models.ts'
import { MAX_FAILURES_IN_A_ROW } from '../../../throttle/limits.ts'
import { inWords } from '../../../values/durations.ts'
import type { factors as English } from '../en/factors.ts'

export const factors: typeof English = {
  enrol_factor: ({ organisation }) => ({
    subject: `Dein Code für ${organisation}`,
    paragraphs: [
      `Jemand, der in deinem Konto bei ${organisation} angemeldet ist, möchte einen zweiten Faktor hinzufügen.`,
      'Wenn du das nicht warst, gib diesen Code nicht weiter und wähle ein neues Passwort.',
    ],
  }),
  api_key_added: ({ organisation }) => ({
    subject: `Für dein Konto bei ${organisation} wurde ein Schlüssel erstellt`,
    paragraphs: [
      `Damit kann ein Programm bei ${organisation} für dich handeln, ohne dein Passwort.`,
      'Wenn du das nicht warst, widerrufe ihn auf der Seite „Apps“. Wenn du dich nicht anmelden kannst, wähle per Mail ein neues Passwort: Damit enden alle Schlüssel.',
    ],
    button: 'Meine Schlüssel ansehen',
    happened: 'Erstellt',
  }),
  api_key_rotated: ({ organisation }) => ({
    subject: `Ein Schlüssel deines Kontos bei ${organisation} wurde erneuert`,
    paragraphs: [
      `Ein Schlüssel, mit dem ein Programm bei ${organisation} für dich handelt, wurde erneuert. Der bisherige gilt noch ${inWords(FORMER_MS, 'de')}.`,
      'Wenn du das nicht warst, widerrufe ihn auf der Seite „Apps“. Wenn du dich nicht anmelden kannst, wähle per Mail ein neues Passwort: Damit enden alle Schlüssel.',
    ],
    button: 'Meine Schlüssel ansehen',
    happened: 'Erstellt',
  }),
  totp_added: ({ organisation }) => ({
    subject: `Eine Authenticator-App wurde deinem Konto bei ${organisation} hinzugefügt`,
    paragraphs: [
      `Für die Anmeldung bei ${organisation} brauchst du ab jetzt einen Code aus einer Authenticator-App. Alle anderen Geräte wurden abgemeldet.`,
      'Wenn du das nicht warst, meldet dieser Link alle Geräte ab und entfernt die App, wenn sich dabei zeigt, dass das Konto dir gehört.',
    ],
    button: 'Das war ich nicht',
    happened: 'Hinzugefügt',
  }),
  totp_removed: ({ organisation }) => ({
    subject: `Die Authenticator-App wurde aus deinem Konto bei ${organisation} entfernt`,
    paragraphs: [
      `Für die Anmeldung bei ${organisation} brauchst du keinen Code aus deiner Authenticator-App mehr. Alle anderen Geräte wurden abgemeldet.`,
      'Wenn du das nicht warst, meldet dieser Link alle Geräte ab, und du wählst ein neues Passwort.',
    ],
    button: 'Das war ich nicht',
    happened: 'Entfernt',
  }),
  identity_added: ({ organisation }) => ({
    subject: `Ein Anbieter wurde mit deinem Konto bei ${organisation} verbunden`,
    paragraphs: [
      `Mit einem Konto bei einem anderen Anbieter kann man sich jetzt in deinem Konto bei ${organisation} anmelden. Alle anderen Geräte wurden abgemeldet.`,
      'Wenn du das nicht warst, meldet dieser Link alle Geräte ab und trennt den Anbieter.',
    ],
    button: 'Das war ich nicht',
    happened: 'Verbunden',
  }),
  identity_removed: ({ organisation }) => ({
    subject: `Ein Anbieter wurde von deinem Konto bei ${organisation} getrennt`,
    paragraphs: [
      `Mit einem Konto bei einem anderen Anbieter kann man sich nicht mehr in deinem Konto bei ${organisation} anmelden. Alle anderen Geräte wurden abgemeldet.`,
      'Wenn du das nicht warst, prüfe, womit man sich in deinem Konto anmelden kann, und wähle ein neues Passwort.',
    ],
    button: 'Nachsehen',
    happened: 'Getrennt',
  }),
  passkey_added: ({ organisation }) => ({
    subject: `Ein Passkey wurde deinem Konto bei ${organisation} hinzugefügt`,
    paragraphs: [
      `Mit einem neuen Passkey kann man sich jetzt in deinem Konto bei ${organisation} anmelden. Alle anderen Geräte wurden abgemeldet.`,
      'Wenn du das nicht warst, meldet dieser Link alle Geräte ab und entfernt den Passkey, wenn sich dabei zeigt, dass das Konto dir gehört.',
    ],
    button: 'Das war ich nicht',
    happened: 'Hinzugefügt',
  }),
  passkey_removed: ({ organisation }) => ({
    subject: `Ein Passkey wurde aus deinem Konto bei ${organisation} entfernt`,
    paragraphs: [
      `Mit einem Passkey deines Kontos bei ${organisation} kann man sich nicht mehr anmelden. Alle anderen Geräte wurden abgemeldet.`,
      'Wenn du das nicht warst, meldet dieser Link alle Geräte ab, und du wählst ein neues Passwort.',
    ],
    button: 'Das war ich nicht',
    happened: 'Entfernt',
  }),
  factor_locked: ({ organisation }) => ({
    subject: `Jemand scheitert bei ${organisation} an deinem zweiten Faktor`,
    paragraphs: [
      `Jemand hat bei ${organisation} den ersten Schritt der Anmeldung geschafft (dein Passwort, ein Code aus deinem Postfach oder eine Anmeldung anderswo) und dann ${MAX_FAILURES_IN_A_ROW}-mal einen falschen zweiten Faktor angegeben. In dein Konto ist niemand gekommen.`,
      'Codes deiner Authenticator-App gelten nur noch auf Geräten, mit denen du dich schon einmal angemeldet hast. Passkeys und Wiederherstellungscodes gelten überall. Wähle jetzt ein neues Passwort, auch für dein Postfach und überall sonst, wo du es benutzt.',
    ],
    button: 'Neues Passwort wählen',
  }),
  factors_reset: ({ organisation }) => ({
    subject: `Deine zweiten Faktoren bei ${organisation} wurden zurückgesetzt`,
    paragraphs: [
      `Jemand aus der Verwaltung von ${organisation} hat die Authenticator-App, die Passkeys und die Wiederherstellungscodes deines Kontos entfernt und alle Geräte abgemeldet.`,
      'Melde dich mit deinem Passwort an und füge neue hinzu. Wenn du nicht darum gebeten hast, sag dort Bescheid.',
    ],
    button: 'Meine Faktoren ansehen',
  }),
  recovery_codes_low: ({ organisation }) => ({
    subject: `Deine Wiederherstellungscodes für ${organisation} gehen zu Ende`,
    paragraphs: [
      `Du hast dich bei ${organisation} mit einem Wiederherstellungscode angemeldet, und es sind weniger als drei übrig.`,
      'Erzeuge neue auf der Seite „Sicherheit“ deines Kontos. Wenn du das nicht warst, wähle sofort ein neues Passwort.',
    ],
    button: 'Meine Faktoren ansehen',
  }),
  recovery_codes_renewed: ({ organisation }) => ({
    subject: `Neue Wiederherstellungscodes für dein Konto bei ${organisation}`,
    paragraphs: [
      `Dein Konto bei ${organisation} hat neue Wiederherstellungscodes. Die bisherigen gelten nicht mehr.`,
      'Wenn du das nicht warst, wähle sofort ein neues Passwort.',
    ],
    button: 'Meine Faktoren ansehen',
  }),
}
