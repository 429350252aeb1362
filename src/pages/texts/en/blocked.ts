import type { Fault } from '../../../signup-blocks/entries.ts'

/** What was typed, cut and without what would turn the sentence around: it stands in an isolate of its own. */
export const quotable = (typed: string) => {
  const text = typed.replace(/[\p{Cc}\p{Cf}]/gu, '\uFFFD')
  const letters = [...text]
  return `\u2068${letters.length > 60 ? `${letters.slice(0, 60).join('')}…` : text}\u2069`
}

/** How many are named before the rest is counted. */
export const MOST_NAMED = 3

const number = (count: number) => count.toLocaleString('en')
const quantity = (what: string | number) => (typeof what === 'number' ? number(what) : what)

/** Who may not sign up, as those who manage that see it. */
export const blocked = {
  title: 'Blocked sign-ups',
  lead: 'Who may not sign up by themselves, nor change their email to that. Whoever you invite or add still can.',
  nav: 'Blocked',
  add: 'Block',
  addHint: 'Nobody who has an account loses it.',
  entries: 'Addresses, domains, networks',
  entriesHint:
    'One to a line, such as ada@example.com, example.com with its subdomains, or 192.0.2.0/24. An IPv6 address stands for its /64. What stands behind a blank and # or ; is left out.',
  button: 'Block',
  /** The first few of what was typed. */
  list: (typed: string[]) => {
    const named = typed.slice(0, MOST_NAMED).map((one) => `“${quotable(one)}”`)
    const more = typed.length - named.length
    return `${named.join(', ')}${more > 0 ? ` and ${number(more)} more` : ''}`
  },
  wrong: {
    no_entry: (those) => `No address, no domain and no network: ${those}.`,
    whole_url: (those) => `Write the domain alone, such as example.com, instead of ${those}.`,
    too_wide: (those) => `Too large, as a network goes up to /8, and up to /16 of IPv6: ${those}.`,
  } as Record<Fault, (those: string) => string>,
  tooMany: (count: number, most: number) =>
    `These are ${number(count)}, and there may be ${number(most)} in all. Name domains or networks instead of what is in them.`,
  tooLarge: (megabytes: number, most: number) =>
    `That is over ${megabytes} MB. Block up to ${number(most)} at a time.`,
  tooLargeHint: 'Nothing was blocked. Go back in your browser, and what you typed may still be there.',
  missing: 'Type what to block.',
  find: 'An address, a domain or a network',
  look: 'Look up',
  clear: 'Show all',
  since: 'since',
  unblock: 'Unblock',
  none: 'Nobody is blocked here',
  noneHint: 'Block an address, a domain or a network, and nobody signs up with it any more.',
  notCovered: (what: string) => `Nothing here blocks “${quotable(what)}”`,
  notCoveredHint: 'An address is blocked by its domain, too, and from a network by every network around it.',
  setting: (count: number) =>
    count === 1
      ? 'One is blocked by the setting SIGNUP_BLOCKED'
      : `${number(count)} are blocked by the setting SIGNUP_BLOCKED`,
  /** Beside those of the list. */
  settingToo: (count: number) =>
    count === 1
      ? 'One more by the setting SIGNUP_BLOCKED'
      : `${number(count)} more by the setting SIGNUP_BLOCKED`,
  settingHint: 'Who runs the deployment changes these.',
  /** Of which, or of how many. */
  done: {
    blocked: (what: string | number) => (what === 0 ? 'Nothing new to block' : `Blocked: ${quantity(what)}`),
    unblocked: (what: string | number) =>
      what === 0 ? 'It was not blocked any more' : `No longer blocked: ${quantity(what)}`,
  },
  already: (count: number) =>
    count === 1 ? '1 was blocked already.' : `${number(count)} were blocked already.`,
}
