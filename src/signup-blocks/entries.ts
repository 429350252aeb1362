import { faultOfBlocked } from '../config/checks.ts'
import { isNetwork, spellEntry } from '../values/blocked.ts'
import { MAX_SIGNUP_BLOCKS } from './models.ts'

/** Why something cannot be blocked, and the API's sentence on it. */
export const FAULTS = {
  no_entry: 'Is no address, no domain and no network.',
  whole_url: 'Is a URL: write its domain alone.',
  too_wide: 'Is a network larger than /8, or than /16 of IPv6: it would shut out nearly everybody.',
} as const
export type Fault = keyof typeof FAULTS

/** RFC 1035 section 2.3.4, as it is written. */
const MOST_OF_DOMAIN = 253
const WIDEST = { ipv4: 8, ipv6: 16 }

/** What is wrong with an entry, in its one spelling, that is looked for or taken away. */
export function faultOfEntry(entry: string): Fault | undefined {
  if (/^[a-z][a-z\d+.-]*:\/\//.test(entry)) return 'whole_url'
  return faultOfBlocked(entry) === undefined ? undefined : 'no_entry'
}

/** What is wrong with one that is to be blocked, too: a slip of the finger is not to shut out half the world. */
export function faultOfNewEntry(entry: string): Fault | undefined {
  const fault = faultOfEntry(entry)
  if (fault || entry.includes('@')) return fault
  if (!isNetwork(entry)) return entry.length <= MOST_OF_DOMAIN ? undefined : 'no_entry'
  const [, bits] = entry.split('/')
  const widest = entry.includes(':') ? WIDEST.ipv6 : WIDEST.ipv4
  return bits !== undefined && Number(bits) < widest ? 'too_wide' : undefined
}

/** What cannot be blocked, as it was typed, and in which line. */
export interface Wrong {
  line: number
  typed: string
  fault: Fault
}

/** What was pasted: how many there are, each once, and of them what cannot be blocked. */
interface Read {
  count: number
  entries: string[]
  wrong: Wrong[]
}

/**
 * Reads what was pasted: a line for each, or several in it with blanks, commas or semicolons between them; what stands
 * behind a # or a ; that has a blank, or nothing, before it is a remark. More than there may be are counted alone: to
 * spell one is to parse a URL.
 */
export function readEntries(text: string): Read {
  /** By each word, the line in which it stands first. */
  const words = new Map<string, number>()
  // A remark goes on to the end of its line with no `$` to look for, so that no # is tried in vain.
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
