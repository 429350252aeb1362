import { type blocked as English, MOST_NAMED, quotable } from '../en/blocked.ts'

const number = (count: number) => count.toLocaleString('de')
const quantity = (what: string | number) => (typeof what === 'number' ? number(what) : what)

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
  list: (typed) => {
    const named = typed.slice(0, MOST_NAMED).map((one) => `„${quotable(one)}“`)
    const more = typed.length - named.length
    return `${named.join(', ')}${more > 0 ? ` und ${number(more)} mehr` : ''}`
  },
  wrong: {
    no_entry: (those) => `Keine Adresse, keine Domain und kein Netz: ${those}.`,
    whole_url: (those) => `Schreib nur die Domain, etwa example.com, statt ${those}.`,
    too_wide: (those) => `Zu groß, denn ein Netz reicht bis /8, bei IPv6 bis /16: ${those}.`,
  },
  tooMany: (count, most) =>
    `Das sind ${number(count)}, und es dürfen insgesamt ${number(most)} sein. Nenn Domains oder Netze statt dessen, was in ihnen liegt.`,
  tooLarge: (megabytes, most) =>
    `Das sind mehr als ${megabytes} MB. Blockier bis zu ${number(most)} auf einmal.`,
  tooLargeHint:
    'Nichts wurde blockiert. Geh im Browser zurück: Was du geschrieben hast, steht dort vielleicht noch.',
  missing: 'Schreib hin, was blockiert werden soll.',
  find: 'Adresse, Domain oder Netz',
  look: 'Nachsehen',
  clear: 'Alle zeigen',
  since: 'seit',
  unblock: 'Freigeben',
  none: 'Hier ist niemand blockiert',
  noneHint: 'Blockier eine Adresse, eine Domain oder ein Netz, und niemand registriert sich mehr damit.',
  notCovered: (what) => `Nichts hier blockiert „${quotable(what)}“`,
  notCoveredHint:
    'Eine Adresse wird auch durch ihre Domain blockiert, ein Netz durch jedes, in dem es liegt.',
  setting: (count) =>
    count === 1
      ? 'Eines ist durch die Einstellung SIGNUP_BLOCKED blockiert'
      : `${number(count)} sind durch die Einstellung SIGNUP_BLOCKED blockiert`,
  settingToo: (count) =>
    count === 1
      ? 'Eines mehr durch die Einstellung SIGNUP_BLOCKED'
      : `${number(count)} mehr durch die Einstellung SIGNUP_BLOCKED`,
  settingHint: 'Das ändert, wer Roster betreibt.',
  done: {
    blocked: (what) => (what === 0 ? 'Nichts Neues zu blockieren' : `Blockiert: ${quantity(what)}`),
    unblocked: (what) =>
      what === 0 ? 'Das war schon nicht mehr blockiert' : `Nicht mehr blockiert: ${quantity(what)}`,
  },
  already: (count) => (count === 1 ? '1 war schon blockiert.' : `${number(count)} waren schon blockiert.`),
}
