import { FORMER_MS } from '../../../api-keys/models.ts'
import { inWords } from '../../../values/durations.ts'
import type { keys as english } from '../en/keys.ts'

export const keys: typeof english = {
  title: 'Schlüssel',
  hint: 'Mit einem Schlüssel handelt ein Programm für dich, ohne dein Passwort.',
  none: 'Du hast keine Schlüssel.',
  add: 'Schlüssel erstellen',
  lead: 'Er darf, was du auswählst, und nie mehr als du selbst. Er kann dich nicht anmelden und nicht ändern, wie sich jemand anmeldet.',
  name: 'Name',
  nameHint: 'Wofür er dient.',
  may: 'Er darf:',
  mayNothing: 'Er darf sehen, wer du bist, und sonst nichts.',
  lasts: 'Er gilt',
  days: (days) => `${days} Tage`,
  forGood: 'so lange wie dein Konto',
  made: 'Erstellt am',
  renewed: 'erneuert am',
  lastUsed: 'zuletzt benutzt',
  neverUsed: 'noch nicht benutzt',
  until: 'gilt bis',
  expired: 'Abgelaufen',
  former: 'der bisherige gilt bis',
  rotate: 'Erneuern…',
  rotateHint: `Du bekommst einen neuen Schlüssel, und der jetzige gilt noch ${inWords(FORMER_MS, 'de')}. Wenn ihn jemand gestohlen hat, widerrufe ihn stattdessen.`,
  rotateButton: 'Erneuern',
  revoke: 'Widerrufen…',
  revokeHint: 'Programme, die ihn benutzen, werden ab sofort abgewiesen. Das ist endgültig.',
  revokeButton: (name) => `${name} widerrufen`,
  revoked: 'Widerrufen. Er gilt nicht mehr.',
  yours: (name) => `Dein Schlüssel: ${name}`,
  onlyTime: 'Wir zeigen ihn nur dieses eine Mal',
  onlyTimeHint:
    'Kopiere ihn dorthin, wo dein Programm Geheimnisse speichert. Hier kann ihn niemand mehr lesen.',
  saved: 'Ich habe ihn gespeichert',
}
