import { faultOfBlocked } from '../config/checks.ts'
import { isNetwork, spellEntry } from '../values/blocked.ts'
import { MAX_SIGNUP_BLOCKS } from './models.ts'

/** Why something cannot be blocked, with the API's sentence for it. */
export const FAULTS = {
  no_entry: 'Is not an address, domain or network.',
  whole_url: 'Is a URL: write its domain alone.',
  too_wide: 'Is a network larger than /8, or than /16 of IPv6: it would shut out nearly everybody.',
} as const
export type Fault = keyof typeof FAULTS

/** RFC 1035 section 2.3.4, counted as text. */
const MAX_OF_DOMAIN = 253
const WIDEST = { ipv4: 8, ipv6: 16 }

/** What is wrong with a normalised entry that is looked up or removed. */
export function faultOfEntry(entry: string): Fault | undefined {
  if (/^[a-z][a-z\d+.-]*:\/\//.test(entry)) return 'whole_url'
  return faultOfBlocked(entry) === undefined ? undefined : 'no_entry'
}

/** What is wrong with an entry that is added. Stricter: a typo must not shut out half the world. */
export function faultOfNewEntry(entry: string): Fault | undefined {
  const fault = faultOfEntry(entry)
  if (fault || entry.includes('@')) return fault
  if (!isNetwork(entry)) return entry.length <= MAX_OF_DOMAIN ? undefined : 'no_entry'
  const [, bits] = entry.split('/')
  const widest = entry.includes(':') ? WIDEST.ipv6 : WIDEST.ipv4
  return bits !== undefined && Number(bits) < widest ? 'too_wide' : undefined
}

/** An entry that cannot be blocked, as it was typed, and its line. */
export interface Wrong {
  line: number
  typed: string
  fault: Fault
}

/** The pasted text: the number of distinct entries, and those that cannot be blocked. */
interface Read {
  count: number
  entries: string[]
  wrong: Wrong[]
}

/**
 * Reads pasted text: one entry a line, or several separated by blanks, commas or semicolons. A # or ; at the
 * start of a line or after a blank begins a comment. If there are more entries than allowed they are only
 * counted, as normalising one means parsing a URL.
 */
export function readEntries(text: string): Read {
  /** For each word, the first line in which it stands. */
  const words = new Map<string, number>()
  // The pattern for comments runs to the end of the line without a `$`, so that no # causes backtracking.
  for (const [index, line] of text.split(/\r\n?|[\n\u2028\u2029]/).entries())
    for (const word of line.replace(/(^|\s)[#;].*/s, '').split(/[\s,;]+/))
      if (word !== '' && !words.has(word)) words.set(word, index + 1)
  const entries = new Set<string>()
  const wrong: Wrong[] = []
  if (words.size > MAX_SIGNUP_BLOCKS) return { count: words.size, entries: [], wrong }
  for (const [typed, line] of words) {
    const entry = spellEntry(typed)
    const fault = faultOfNewEntry(entry)
    if (fault) wrong.push({ line, typed, fault })
    else entries.add(entry)
  }
  return { count: words.size, entries: [...entries], wrong }
}
