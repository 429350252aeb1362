import { type blocked as English, quotable } from '../en/blocked.ts'

const number = (count: number) => count.toLocaleString('de')
const quoted = (typed: string) => `„${quotable(typed)}“`
const quantity = (what: string | number) => (typeof what === 'number' ? number(what) : quoted(what))

export const blocked: typeof English = {
  title: 'Blockierte Registrierungen',
  lead: 'Wer sich nicht selbst registrieren und auch seine E-Mail-Adresse nicht dahin ändern darf. Einladen und anlegen kannst du weiterhin alle.',
  nav: 'Blockiert',
  add: 'Blockieren',
  addHint: 'Wer ein Konto hat, behält es.',
  entries: 'Adressen, Domains, Netze',
  entriesHint:
    'Eines je Zeile, etwa ada@example.com, example.com samt Subdomains, oder 192.0.2.0/24. Eine IPv6-Adresse steht für ihr /64. Was hinter einem Leerzeichen und # oder ; steht, zählt nicht.',
  button: 'Blockieren',
  nothing: 'Nichts wurde blockiert',
  line: (line) => `Zeile ${number(line)}:`,
  more: (count) => `und ${number(count)} weitere`,
  wrong: {
    no_entry: (typed) => `${quoted(typed)} ist keine Adresse, keine Domain und kein Netz.`,
    whole_url: (typed) => `${quoted(typed)} ist eine ganze URL.`,
    too_wide: (typed) => `${quoted(typed)} ist zu groß.`,
  },
  mend: {
    no_entry: 'Schreib es wie ada@example.com, example.com oder 192.0.2.0/24.',
    whole_url: 'Schreib nur ihre Domain, etwa example.com.',
    too_wide: 'Das größte Netz ist /8 (IPv6: /16).',
  },
  tooMany: (count, most) =>
    `Das sind ${number(count)}, und es dürfen insgesamt ${number(most)} sein. Nenn Domains oder Netze statt dessen, was in ihnen liegt.`,
  tooLarge: (megabytes, most) =>
    `Das sind mehr als ${megabytes} MB. Blockier bis zu ${number(most)} auf einmal.`,
  tooLargeHint:
    'Nichts wurde blockiert. Geh im Browser zurück: Was du geschrieben hast, steht dort vielleicht noch.',
  missing: 'Schreib hin, was blockiert werden soll.',
  list: 'Auf der Liste',
  total: (count) => (count === 1 ? 'ein Eintrag' : `${number(count)} Einträge`),
  find: 'Adresse, Domain oder Netz',
  look: 'Nachsehen',
  clear: 'Alle zeigen',
  notFound: 'Danach wurde nicht gesucht',
  change: 'Eingabe ändern',
  found: (what) => `${quoted(what)} kann sich nicht registrieren. Blockiert durch:`,
  since: 'seit',
  unblock: 'Freigeben',
  none: 'Hier ist niemand blockiert',
  noneHint: 'Blockier eine Adresse, eine Domain oder ein Netz, und niemand registriert sich mehr damit.',
  notCovered: (what) => `Nichts hier blockiert ${quoted(what)}`,
  notCoveredHint:
    'Eine Adresse wird auch durch ihre Domain blockiert, ein Netz durch jedes, in dem es liegt.',
  setting: (count) =>
    count === 1
      ? 'Ein Eintrag steht in den Einstellungen von Roster'
      : `${number(count)} Einträge stehen in den Einstellungen von Roster`,
  settingHint: 'Ändern kann das, wer Roster betreibt: in der Einstellung SIGNUP_BLOCKED.',
  done: {
    blocked: (what) => (what === 0 ? 'Nichts Neues zu blockieren' : `Blockiert: ${quantity(what)}`),
    alreadyBlocked: (entry) => `Schon auf der Liste: ${quoted(entry)}`,
    unblocked: (entry) => `Von der Liste genommen: ${quoted(entry)}`,
    notThere: (entry) => `Nicht mehr auf der Liste: ${quoted(entry)}`,
  },
  still: (entries) => `Weiterhin blockiert durch ${entries.map(quoted).join(', ')}.`,
  again: 'Wieder blockieren',
  already: (count) => (count === 1 ? '1 war schon blockiert.' : `${number(count)} waren schon blockiert.`),
}
