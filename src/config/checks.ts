import { isNetwork } from '../values/blocked.ts'
import { isEmail, normalizeEmail } from '../values/email.ts'
import { faultOfNetwork } from '../values/ip.ts'
import type { Config } from './main.ts'

/** 32 random bytes, as `npm run keys:generate` makes them. */
const SECRET_BITS = 256
const RUNS = 'abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm'
/** A third of the letter pairs in English are among these; in random characters, one pair in twenty-five. */
const COMMON_PAIRS = new Set(
  'th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea ra ce'.split(
    ' ',
  ),
)

/** Why a secret looks invented by a person, or copied from a document; undefined for a random one. */
export function weaknessOfSecret(given: string): string | undefined {
  // The date that may follow a key is not secret.
  const secret = given.replace(/=\d{8}T\d{6}Z$/, '')
  if (/^["'`]|["'`]$/.test(secret)) return 'has the quotes around it that belong to a file'
  if (secret.length * bitsPerCharacter(secret) < SECRET_BITS) return 'is too short for 32 random bytes'
  if (/change.?me|example|replace.?me|your[-_ ]|secret.?here|[<>]/i.test(secret)) return 'is an example'
  if (/(?=(.{8}).*?\1)/s.test(secret) || new Set(secret).size < 10) return 'repeats itself'
  const pairs = [...secret.toLowerCase()].slice(1).map((next, i) => secret[i]!.toLowerCase() + next)
  const shareOf = (is: (pair: string) => boolean) => pairs.filter(is).length / pairs.length
  if (shareOf(isStep) > 0.5) return 'is a run of the alphabet or the keyboard'
  if (shareOf((pair) => COMMON_PAIRS.has(pair)) > 0.25) return 'is made of words'
  return undefined
}

function bitsPerCharacter(secret: string): number {
  if (/^\d+$/.test(secret)) return Math.log2(10)
  if (/^([0-9a-f]+|[0-9A-F]+)$/.test(secret)) return 4
  return /^[\w+/=-]+$/.test(secret) ? 6 : 6.5
}

const isStep = (pair: string) =>
  pair[0] === pair[1] || RUNS.includes(pair) || RUNS.includes(`${pair[1]}${pair[0]}`)

const NAMES_SOMEBODY = 'has a name or password in it'

/** What is wrong with a URL that tokens are sent to, or that tokens contain; undefined for a good one. */
export function faultOfUrl(value: string, { libsql = false } = {}): string | undefined {
  const url = URL.parse(value)
  if (!url || !(libsql ? /^(libsql|https?):$/ : /^https?:$/).test(url.protocol)) return 'is not a URL'
  if (url.username || url.password) return NAMES_SOMEBODY
  const isPlain = url.protocol === 'http:' || url.searchParams.get('tls') === '0'
  if (isPlain && !isLoopback(url.hostname)) return 'is http://, so what is sent there travels in the clear'
  return undefined
}

/**
 * Mail servers start unencrypted on these ports: 25 is for mail between servers, and 587 waits for STARTTLS.
 */
const IN_THE_CLEAR = ['25', '587']

/**
 * What is wrong with the URL of a mail server; undefined for a good one. Unencrypted only on this machine.
 */
export function faultOfSmtp(value: string): string | undefined {
  const url = URL.parse(value)
  if (!url || !/^smtps?:$/.test(url.protocol) || !url.hostname) return 'is not smtps://user:password@host:465'
  // For schemes it does not know, the URL parser percent-encodes non-ASCII characters.
  if (url.hostname.includes('%')) return 'has a host that is not in ASCII: write it as DNS does, xn--…'
  if (!/^\/?$/.test(url.pathname) || url.search || url.hash) return 'has more behind its host than a port'
  if (!url.username !== !url.password) return 'has a name without a password, or a password without a name'
  const account = [url.username, url.password].map(decoded)
  if (account.includes(undefined)) return 'has a % in its name or password that is not written as %25'
  if (account.some((text) => /[\0\r\n]/.test(text!)))
    return 'has a line break or a NUL in its name or password'
  if (url.port === '0') return 'has port 0, where nothing answers: 465 is the one for TLS'
  if (url.protocol === 'smtps:')
    return IN_THE_CLEAR.includes(url.port)
      ? `has port ${url.port}, where a connection begins in the clear: 465 is the one for TLS`
      : undefined
  if (!isLoopback(url.hostname)) return 'is smtp://, so what is sent there travels in the clear'
  return url.port ? undefined : 'has no port'
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** What is wrong with a name that is displayed, or compared exactly; undefined for a good one. */
export function faultOfName(value: string): string | undefined {
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(value)) return 'has a control character in it'
  if (!/[\p{L}\p{N}]/u.test(value)) return 'is blank: it has no letter and no digit'
  return value === value.trim() ? undefined : 'has blanks around it'
}

/** What is wrong with a token that travels in a header. */
export const faultOfToken = (value: string) =>
  /^[\x21-\x7e]{1,4096}$/.test(value)
    ? undefined
    : 'is blank, or has a blank, a line break or a foreign letter in it'

/** Origins are compared whole, so a wildcard would match nothing. */
export function faultOfCorsOrigin(entry: string): string | undefined {
  if (entry.includes('*')) return 'has a wildcard, and origins are compared as a whole'
  return URL.parse(entry)?.origin === entry && /^https?:/.test(entry) ? undefined : 'is not an origin'
}

/** A page served unencrypted can be replaced on its way, and would have the cookie's power. */
export const faultOfCookieOrigin = (entry: string) => faultOfCorsOrigin(entry) ?? faultOfUrl(entry)

/** Scheme, host and port, and nothing else. */
export const faultOfOrigin = (value: string) =>
  faultOfUrl(value) ?? (URL.parse(value)?.origin === value ? undefined : 'has more than an origin')

export const isLoopback = (host: string) => /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host)

/** Names that are only resolved inside a network, or nowhere (RFC 6761, RFC 6762, RFC 8375, RFC 9476). */
const INTERNAL = /(^|\.)(localhost|local|internal|lan|home|corp|intranet|private|arpa|onion|alt|invalid)$/

/** The settings that say what our own addresses are. */
export type Own = Pick<Config, 'ISSUER' | 'LINK_ORIGIN' | 'OUTBOUND_LOCAL'>

/**
 * What is wrong with a URL of somebody else's that we are to call; undefined for a good one. Its name is not
 * resolved here: the flag `global_fetch_strictly_public` keeps it from leading to a private network.
 */
export function faultOfCalled(
  value: string,
  { ISSUER, LINK_ORIGIN = ISSUER, OUTBOUND_LOCAL }: Own,
): string | undefined {
  const url = URL.parse(value)
  if (!url) return 'is not a URL'
  const { protocol, hostname, port, origin, username, password } = url
  if (username || password) return NAMES_SOMEBODY
  if (origin === ISSUER || origin === LINK_ORIGIN) return "is Roster's own"
  if (OUTBOUND_LOCAL === 'on' && isLoopback(hostname) && /^https?:$/.test(protocol)) return undefined
  if (protocol !== 'https:') return 'is not https://'
  if (port !== '') return 'has a port other than 443'
  if (/^\[|^[\d.]+$/.test(hostname)) return 'has an IP address where a name should be'
  if ([ISSUER, LINK_ORIGIN].some((own) => new URL(own).hostname === hostname)) return "is Roster's own"
  if (!hostname.includes('.') || hostname.endsWith('.') || INTERNAL.test(hostname))
    return 'is a name that only a private network knows'
  return undefined
}

/** What is wrong with `address` or `Name <address>` (RFC 5322 section 3.4, the part in common use). */
export function faultOfMailbox(value: string): string | undefined {
  const [, quoted, plain, bracketed, bare] =
    /^(?:(?:"([^"\\]*)"|([^"<>@,;:\\()[\]]*))\s*<([^<>\s]+)>|(\S+))$/.exec(value) ?? []
  const address = bracketed ?? bare
  if (!address || !isEmail(address)) return 'is not a mail address'
  return /\p{C}/u.test(quoted ?? plain ?? '') ? 'has a control character in it' : undefined
}

const DOMAIN = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/

/** What is wrong with a mail domain. It is compared in its normalised form: ASCII, and without subdomains. */
export const faultOfDomain = (domain: string) =>
  DOMAIN.test(domain) ? undefined : 'can match no address: it is not a plain domain in ASCII'

/** What is wrong with an entry of the list of blocked sign-ups: an address, a domain or a network. */
export function faultOfBlocked(entry: string): string | undefined {
  if (entry.includes('@'))
    return isEmail(entry) && normalizeEmail(entry) === entry
      ? undefined
      : 'can match no address: it is not one in ASCII'
  return isNetwork(entry) ? faultOfNetwork(entry) : faultOfDomain(entry)
}

/** What is wrong with an entry of the list of blocked apps: a domain, or the URL that is an app's id. */
export function faultOfBlockedApp(entry: string): string | undefined {
  if (!entry.includes('/'))
    return faultOfDomain(entry) && 'can match no app: it is not a plain domain in ASCII'
  const fault = faultOfUrl(entry)
  if (fault) return fault
  const { href, hostname, pathname, port, search, hash } = new URL(entry)
  if (href === entry && pathname === '/') return `can match no app: write ${hostname} for all of it`
  const isId =
    href === entry && !search && !hash && !hostname.endsWith('.') && (!port || isLoopback(hostname))
  return isId
    ? undefined
    : 'can match no app: its id is a whole URL with a path, and without port, query or fragment'
}

/** What is wrong with a WebAuthn RP id: a domain, or localhost; no IP address can be one. */
export const faultOfHost = (host: string) =>
  host === 'localhost' || DOMAIN.test(host) ? undefined : 'is not a plain domain in ASCII'

const FARTHEST = 2

/**
 * The setting that a misspelt name was probably meant to be: within two letters of it, or one for a very
 * short name.
 */
export const closestSetting = (name: string, settings: string[]): string | undefined =>
  settings.find(
    (setting) =>
      name.toUpperCase() === setting ||
      distance(name, setting) <= Math.min(FARTHEST, Math.floor(Math.min(name.length, setting.length) / 3)),
  )

/** How many letters have to be inserted, deleted or changed (Levenshtein). */
function distance(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > FARTHEST) return FARTHEST + 1
  let row = Array.from({ length: other.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1]
    for (const [j, its] of [...other].entries()) {
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (letter === its ? 0 : 1)))
    }
    row = next
  }
  return row.at(-1)!
}

/**
 * What is wrong with a picture for the pages: their policy allows one of this origin, or a data URL in the
 * setting.
 */
export function faultOfPicture(value: string): string | undefined {
  if (/^data:image\/(png|svg\+xml|webp|jpeg);base64,[A-Za-z0-9+/]+=*$/.test(value)) return undefined
  return /^\/(?![/\\])[\x21-\x7e]+$/.test(value)
    ? undefined
    : 'is neither a path of this origin nor a data: image'
}

export const faultOfColour = (value: string) =>
  /^#([\da-f]{3}|[\da-f]{6})$/i.test(value) ? undefined : 'is not a colour such as #01614d'

/** Texts by language and place; undefined for anything else. */
export function textsIn(json: string): Record<string, Record<string, string>> | undefined {
  const isRecord = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  try {
    const texts: unknown = JSON.parse(json)
    const isFit =
      isRecord(texts) &&
      Object.values(texts).every(
        (of) =>
          isRecord(of) && Object.values(of).every((text) => typeof text === 'string' && text.trim() !== ''),
      )
    return isFit ? (texts as Record<string, Record<string, string>>) : undefined
  } catch {
    return undefined
  }
}
