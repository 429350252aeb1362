import { lazy } from './lazy.ts'
import { normalizeText } from './text.ts'

/** RFC 5321 section 4.5.3.1, in octets; all of ours are ASCII. */
const MAX_LOCAL_LENGTH = 64
const MAX_LENGTH = 254
/** RFC 5321 `Dot-string`. Quoted local parts are legal, but nobody has one. */
const LOCAL_PART = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/
const DOMAIN = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * The one spelling by which addresses are compared, when stored and when looked up: trimmed, NFC, lower case,
 * the domain in ASCII (UTS 46). The result may not be an address at all: see `isEmail`.
 */
export function normalizeEmail(email: string): string {
  const text = normalizeText(email.trim(), 'NFC').toLowerCase()
  const at = text.lastIndexOf('@')
  if (at < 0) return text
  return `${text.slice(0, at)}@${toAsciiDomain(text.slice(at + 1))}`
}

/**
 * Validated after normalising. The local part must also be ASCII as typed: a letter that becomes ASCII only
 * by lower-casing (the Kelvin sign) would name another mailbox than the account's.
 */
export function isEmail(email: string): boolean {
  const normalized = normalizeEmail(email)
  const at = normalized.lastIndexOf('@')
  const local = normalized.slice(0, at)
  const typedLocal = email.slice(0, email.lastIndexOf('@'))
  return (
    at > 0 &&
    local.length <= MAX_LOCAL_LENGTH &&
    normalized.length <= MAX_LENGTH &&
    LOCAL_PART.test(local) &&
    /^[\x21-\x7e]+$/.test(typedLocal.trim()) &&
    DOMAIN.test(normalized.slice(at + 1))
  )
}

/** Part of an address, normalised as in a whole one: letters that only a domain can have become ASCII. */
export function normalizeEmailPart(part: string): string {
  const text = normalizeText(part, 'NFC').toLowerCase()
  if (/^[\x20-\x7e]*$/.test(text)) return text
  const domain = text.slice(text.lastIndexOf('@') + 1)
  return text.slice(0, text.length - domain.length) + (toAsciiDomain(domain) || domain)
}

/** The mailbox behind a normalised address: mail to `ada+news@` comes to `ada@`. */
export const withoutSubaddress = (emailNormalized: string) =>
  emailNormalized.replace(/(?<=.)\+[^@]*(?=@)/, '')

/**
 * The address to send mail to, its domain in ASCII: faß.de and fass.de have different owners, and not every mail
 * service keeps them apart.
 */
export const mailboxOf = (email: string) => withDomain(email, toAsciiDomain)

/** The address as stored and shown: a domain that mixes scripts, as look-alikes do, is shown in ASCII. */
export const shownEmail = (email: string) =>
  withDomain(email, (domain) => (isOneScript(domain) ? domain : toAsciiDomain(domain)))

function withDomain(email: string, change: (domain: string) => string): string {
  const at = email.lastIndexOf('@')
  return `${email.slice(0, at)}@${change(email.slice(at + 1))}`
}

/** Scripts that are written together count as one. Domains in any other script are shown in ASCII. */
const patternsOfScripts = lazy(() =>
  [
    ['Latin'],
    ['Greek'],
    ['Cyrillic'],
    ['Armenian'],
    ['Georgian'],
    ['Hebrew'],
    ['Arabic'],
    ['Devanagari'],
    ['Bengali'],
    ['Tamil'],
    ['Thai'],
    ['Han', 'Hiragana', 'Katakana'],
    ['Han', 'Hangul'],
  ].map((scripts) => {
    const letters = scripts.map((script) => `\\p{Script=${script}}`).join('')
    return new RegExp(`^[${letters}\\p{Script=Common}\\p{Script=Inherited}]+$`, 'u')
  }),
)

/** In one script, and already in its mapped form: full-width letters are Latin, and deceive. */
const isOneScript = (domain: string) =>
  patternsOfScripts().some((pattern) => pattern.test(domain)) &&
  normalizeText(domain, 'NFKC') === normalizeText(domain, 'NFC')

function toAsciiDomain(domain: string): string {
  // The URL parser implements UTS 46, but would also read part of its input as a port, a path or an escape.
  if (!/^[\p{L}\p{N}\p{M}.-]+$/u.test(domain)) return ''
  return URL.parse(`http://${domain}`)?.hostname ?? ''
}
