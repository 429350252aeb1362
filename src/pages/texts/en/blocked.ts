import type { Fault } from '../../../signup-blocks/entries.ts'

/** What was typed, cut and without what would turn the sentence around: it stands in an isolate of its own. */
export const quotable = (typed: string) => {
  const text = typed.replace(/[\p{Cc}\p{Cf}]/gu, '\uFFFD')
  const letters = [...text]
  return `\u2068${letters.length > 60 ? `${letters.slice(0, 60).join('')}…` : text}\u2069`
}

const number = (count: number) => count.toLocaleString('en')
const quoted = (typed: string) => `“${quotable(typed)}”`
/** Which, or how many. */
const quantity = (what: string | number) => (typeof what === 'number' ? number(what) : quoted(what))

/** Who may not sign up, as those who manage that see it. */
export const blocked = {
  title: 'Blocked sign-ups',
  lead: 'Who may not sign up, or change their email to such an address. People you invite or add still can.',
  nav: 'Blocked',
  add: 'Block',
  addHint: 'Existing accounts stay.',
  entries: 'Addresses, domains, networks',
  entriesHint:
    'One to a line, such as ada@example.com, example.com with its subdomains, or 192.0.2.0/24. An IPv6 address stands for its /64. Text after a space and # or ; is ignored.',
  button: 'Block',
  nothing: 'Nothing was blocked',
  line: (line: number) => `Line ${number(line)}:`,
  more: (count: number) => `and ${number(count)} more`,
  wrong: {
    no_entry: (typed) => `${quoted(typed)} is not an address, domain or network.`,
    whole_url: (typed) => `${quoted(typed)} is a whole URL.`,
    too_wide: (typed) => `${quoted(typed)} is too wide.`,
  } as Record<Fault, (typed: string) => string>,
  mend: {
    no_entry: 'Write it like ada@example.com, example.com or 192.0.2.0/24.',
    whole_url: 'Write its domain alone, such as example.com.',
    too_wide: 'The widest is /8 (IPv6: /16).',
  } as Record<Fault, string>,
  tooMany: (count: number, most: number) =>
    `These are ${number(count)}, and the limit is ${number(most)} in all. Name domains or networks instead of what is in them.`,
  tooLarge: (megabytes: number, most: number) =>
    `That is over ${megabytes} MB. Block up to ${number(most)} at a time.`,
  tooLargeHint: 'Nothing was blocked. Go back in your browser, and what you typed may still be there.',
  missing: 'Type what to block.',
  list: 'On the list',
  total: (count: number) => (count === 1 ? 'one entry' : `${number(count)} entries`),
  find: 'An address, a domain or a network',
  look: 'Look up',
  clear: 'Show all',
  notFound: 'Nothing was looked up',
  change: 'Change what you typed',
  found: (what: string) => `${quoted(what)} cannot sign up. Blocked by:`,
  since: 'since',
  unblock: 'Unblock',
  none: 'Nobody is blocked here',
  noneHint: 'Block an address, a domain or a network, and nobody can sign up with it any more.',
  notCovered: (what: string) => `Nothing here blocks ${quoted(what)}`,
  notCoveredHint: 'An address is also blocked by its domain, and a network by every network around it.',
  setting: (count: number) =>
    count === 1
      ? 'One entry is in the settings of Roster'
      : `${number(count)} entries are in the settings of Roster`,
  settingHint: 'Whoever runs Roster can change that, in the setting SIGNUP_BLOCKED.',
  done: {
    blocked: (what: string | number) => (what === 0 ? 'Nothing new to block' : `Blocked: ${quantity(what)}`),
    alreadyBlocked: (entry: string) => `Already on the list: ${quoted(entry)}`,
    unblocked: (entry: string) => `Taken off the list: ${quoted(entry)}`,
    notThere: (entry: string) => `No longer on the list: ${quoted(entry)}`,
  },
  /** Of one that was taken off: others keep it out. */
  still: (entries: string[]) => `It is still blocked by ${entries.map(quoted).join(', ')}.`,
  again: 'Block again',
  already: (count: number) =>
    count === 1 ? '1 was blocked already.' : `${number(count)} were blocked already.`,
}
