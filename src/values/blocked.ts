import { normalizeEmail, normalizeEmailPart, withoutSubaddress } from './email.ts'
import { networksAround, spellNetwork } from './ip.ts'

/*
 * Who may not sign up: addresses, domains with their subdomains, networks. Each entry has one spelling, and
 * for each new user we know every spelling that would match. So blocks are looked up by key, and no list is
 * scanned.
 */

/** An address may begin like a network: `1/a@example.com`. */
export const isNetwork = (text: string) => !text.includes('@') && /^[\d.]+(\/|$)|:/.test(text)

/** Strips what a mail client or a DNS zone adds: `@example.com`, `example.com.` */
const bare = (typed: string) =>
  typed
    .trim()
    .toLowerCase()
    .replace(/^@|\.$/g, '')

/** The one spelling of an entry, if it is one. */
export function spellEntry(entry: string): string {
  const text = bare(entry)
  if (text.includes('@')) return normalizeEmail(text)
  return isNetwork(text) ? (spellNetwork(text) ?? text) : normalizeEmailPart(text)
}

/**
 * The text to look up when asking whether somebody is blocked. An IPv6 address is not widened to its /64 here, so
 * that entries smaller than a /64 are found, too.
 */
export function spellCovered(asked: string): string {
  const text = bare(asked)
  return isNetwork(text) ? text : spellEntry(asked)
}

/**
 * Whether an entry covers many people: neither a single mail address, nor a network that one subscriber has.
 */
export function namesMany(spelling: string): boolean {
  if (!isNetwork(spelling)) return !spelling.includes('@')
  const [, bits] = spelling.split('/')
  return bits !== undefined && Number(bits) < (spelling.includes(':') ? 64 : 32)
}

/** For an address, a domain or a network: every entry that would match it. */
export function entriesOf(spelling: string): string[] {
  if (isNetwork(spelling)) return networksAround(spelling)
  // A domain with its subdomains, and an address with any plus suffix: both cost their owner nothing.
  const addresses = spelling.includes('@') ? [spelling, withoutSubaddress(spelling)] : []
  const labels = spelling.slice(spelling.lastIndexOf('@') + 1).split('.')
  const domains = labels.slice(0, -1).map((_, index) => labels.slice(index).join('.'))
  return [...new Set([...addresses, ...domains])]
}
