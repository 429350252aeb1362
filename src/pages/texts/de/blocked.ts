import { type blocked as English, quotable } from '../en/blocked.ts'

const number = (count: number) => count.toLocaleString('de')
const quoted = (typed: string) => `„${quotable(typed)}“`
const quantity = (what: string | number) => (typeof what === 'number' ? number(what) : quoted(what))

export const blocked: typeof English = {
  title: 'Blockierte Registrierungen',
  lead: 'Wer sich nicht selbst registrieren darf. Auch die eigene E-Mail-Adresse lässt sich nicht in eine solche ändern. Einladen und anlegen kannst du weiterhin alle.',
  nav: 'Blockiert',
  add: 'Blockieren',
  addHint: 'Wer schon ein Konto hat, behält es.',
  entries: 'Adressen, Domains, Netze',
  entriesHint:
    'Ein Eintrag pro Zeile, etwa ada@example.com, example.com (samt Subdomains) oder 192.0.2.0/24. Eine IPv6-Adresse steht für ihr /64. Text nach einem Leerzeichen und # oder ; wird ignoriert.',
  button: 'Blockieren',
  nothing: 'Es wurde nichts blockiert',
  line: (line) => `Zeile ${number(line)}:`,
  more: (count) => `und ${number(count)} weitere`,
  wrong: {
    no_entry: (typed) => `${quoted(typed)} ist keine Adresse, keine Domain und kein Netz.`,
    whole_url: (typed) => `${quoted(typed)} ist eine ganze URL.`,
    too_wide: (typed) => `${quoted(typed)} ist zu groß.`,
  },
  mend: {
    no_entry: 'Gib es so ein: ada@example.com, example.com oder 192.0.2.0/24.',
    whole_url: 'Gib nur ihre Domain ein, etwa example.com.',
    too_wide: 'Das größte Netz ist /8 (IPv6: /16).',
  },
  tooMany: (count, most) =>
    `Das sind ${number(count)}, erlaubt sind insgesamt ${number(most)}. Gib ganze Domains oder Netze an statt einzelner Adressen.`,
  tooLarge: (megabytes, most) =>
    `Das sind mehr als ${megabytes} MB. Blockiere höchstens ${number(most)} auf einmal.`,
  tooLargeHint:
    'Es wurde nichts blockiert. Geh im Browser zurück: Deine Eingabe ist dort vielleicht noch da.',
  missing: 'Gib ein, was blockiert werden soll.',
  list: 'Auf der Liste',
  total: (count) => (count === 1 ? 'ein Eintrag' : `${number(count)} Einträge`),
  find: 'Adresse, Domain oder Netz',
  look: 'Suchen',
  clear: 'Alle anzeigen',
  notFound: 'Danach lässt sich nicht suchen',
  change: 'Eingabe ändern',
  found: (what) => `${quoted(what)} kann sich nicht registrieren. Blockiert durch:`,
  since: 'seit',
  unblock: 'Freigeben',
  none: 'Hier ist niemand blockiert',
  noneHint: 'Blockiere eine Adresse, eine Domain oder ein Netz, dann registriert sich damit niemand mehr.',
  notCovered: (what) => `${quoted(what)} ist hier nicht blockiert`,
  notCoveredHint: 'Eine Adresse ist auch durch ihre Domain blockiert, ein Netz durch jedes, in dem es liegt.',
  setting: (count) =>
    count === 1
      ? 'Ein Eintrag steht in den Einstellungen von Roster'
      : `${number(count)} Einträge stehen in den Einstellungen von Roster`,
  settingHint: 'Ändern kann das nur, wer Roster betreibt, in der Einstellung SIGNUP_BLOCKED.',
  done: {
    blocked: (what) => (what === 0 ? 'Nichts Neues zu blockieren' : `Blockiert: ${quantity(what)}`),
    alreadyBlocked: (entry) => `Schon auf der Liste: ${quoted(entry)}`,
    unblocked: (entry) => `Von der Liste entfernt: ${quoted(entry)}`,
    notThere: (entry) => `Nicht mehr auf der Liste: ${quoted(entry)}`,
  },
  still: (entries) => `Weiterhin blockiert durch ${entries.map(quoted).join(', ')}.`,
  again: 'Erneut blockieren',
  already: (count) => (count === 1 ? '1 war schon blockiert.' : `${number(count)} waren schon blockiert.`),
}
