import { normalizeEmail, normalizeEmailPart, withoutSubaddress } from './email.ts'
import { networksAround, spellNetwork } from './ip.ts'

/*
 * Who may not join: addresses, domains with their subdomains, networks. Each has one spelling, and of whoever joins all
 * spellings are known that would name them: so who is blocked is looked up, and no list is gone through.
 */

/** An address may begin like a network: `1/a@example.com`. */
export const isNetwork = (text: string) => !text.includes('@') && /^[\d.]+(\/|$)|:/.test(text)

/** As a mail client, or a zone of DNS, has them: `@example.com`, `example.com.` */
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

/** What it is asked by whether somebody is blocked: one address of IPv6 is kept out by what names less than its /64, too. */
export function spellCovered(asked: string): string {
  const text = bare(asked)
  return isNetwork(text) ? text : spellEntry(asked)
}

/** Whether an entry names many: no single address of mail, and nothing that one subscriber has of the network. */
export function namesMany(spelling: string): boolean {
  if (!isNetwork(spelling)) return !spelling.includes('@')
  const [, bits] = spelling.split('/')
  return bits !== undefined && Number(bits) < (spelling.includes(':') ? 64 : 32)
}

/** Of an address, a domain or a network: every entry that it is named by. */
export function entriesOf(spelling: string): string[] {
  if (isNetwork(spelling)) return networksAround(spelling)
  // A domain with its subdomains, an address with what stands behind a plus: they cost their owner nothing.
  const addresses = spelling.includes('@') ? [spelling, withoutSubaddress(spelling)] : []
  const labels = spelling.slice(spelling.lastIndexOf('@') + 1).split('.')
  const domains = labels.slice(0, -1).map((_, index) => labels.slice(index).join('.'))
  return [...new Set([...addresses, ...domains])]
}
