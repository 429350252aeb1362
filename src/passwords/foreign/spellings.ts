import type { Foreign } from './schemes.ts'

/*
 * How each software writes its hashes. A digest of fewer than 16 bytes is refused: too many passwords would
 * match it.
 */

/** Base64 in either alphabet (passlib writes a point for a plus), with or without padding; of at least 16 bytes. */
const DIGEST = '[A-Za-z0-9+/.]{22,172}={0,2}'
/** The same of any length: salts may be short. */
const SALT = '[A-Za-z0-9+/.]{0,172}={0,2}'
const HEX_DIGEST = '(?:[0-9a-f]{2}){16,128}'
/** Salts of Django and Werkzeug are text. */
const TEXT_SALT = '[^$]{0,128}'
const NUMBER = '[1-9][0-9]{0,9}'
const BCRYPT = '2[aby][$][0-9]{2}[$][A-Za-z0-9./]{53}'

const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64.replaceAll('.', '+'), 'base64'))
const utf8 = (text: string) => new Uint8Array(Buffer.from(text))
const fromHex = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))

type Groups = Record<string, string>
interface Spelling {
  pattern: RegExp
  /** Undefined if its numbers are none that the software could have written. */
  read: (groups: Groups) => Foreign | undefined
}

const spelling = (pattern: string, read: Spelling['read']): Spelling => ({
  pattern: new RegExp(`^(?:${pattern})$`),
  read,
})

const HASHES = { '': 'sha1', '-sha1': 'sha1', '-sha256': 'sha256', '-sha512': 'sha512' } as const
type HashName = (typeof HASHES)[keyof typeof HASHES]

const bcrypt = (hash: string, of?: { encoding: 'hex' | 'base64'; key?: string }): Foreign | undefined => {
  const cost = Number(hash.slice(4, 6))
  return cost < 4 ? undefined : { scheme: 'bcrypt', cost, hash, ...(of && { of }) }
}

const scrypt = (N: number, r: number, p: number, salted: { salt: Uint8Array; digest: Uint8Array }) =>
  // RFC 7914 section 2.
  N > 1 && Number.isInteger(Math.log2(N)) && Math.log2(N) < 16 * r
    ? { scheme: 'scrypt' as const, N, r, p, ...salted }
    : undefined

const argon2 = ({ type, v = '16', m, t, p, salt, digest }: Groups): Foreign | undefined => {
  const [memoryKib, passes, lanes] = [Number(m), Number(t), Number(p)]
  const salted = { salt: bytesOf(salt!), digest: bytesOf(digest!) }
  // RFC 9106 section 3.1; and the reference requires a salt of at least 8 bytes.
  if (memoryKib < 8 * lanes || salted.salt.length < 8) return undefined
  return {
    scheme: 'argon2',
    type: type as 'i' | 'id',
    version: v === '19' ? 19 : 16,
    memoryKib,
    passes,
    lanes,
    ...salted,
  }
}

const pbkdf2 = (hash: HashName, rounds: string, salt: Uint8Array, digest: Uint8Array): Foreign => ({
  scheme: 'pbkdf2',
  hash,
  rounds: Number(rounds),
  salt,
  digest,
})

/** RFC 4648 in one spelling: an ASP.NET blob is nothing else. */
const PRFS = ['sha1', 'sha256', 'sha512'] as const
/** Version 2 of ASP.NET Identity: SHA-1, 1 000 rounds, 16 bytes of salt, 32 of digest. */
const V2 = { rounds: '1000', salt: 16, length: 49 } as const

function aspNet(text: string): Foreign | undefined {
  const blob = Buffer.from(text, 'base64')
  if (blob.toString('base64') !== text) return undefined
  if (blob[0] === 0 && blob.length === V2.length)
    return pbkdf2('sha1', V2.rounds, blob.subarray(1, 1 + V2.salt), blob.subarray(1 + V2.salt))
  if (blob[0] !== 1 || blob.length < 13) return undefined
  const hash = PRFS[blob.readUInt32BE(1)]
  const rounds = blob.readUInt32BE(5)
  const saltEnd = 13 + blob.readUInt32BE(9)
  if (!hash || rounds === 0 || blob.length - saltEnd < 16) return undefined
  return pbkdf2(hash, String(rounds), blob.subarray(13, saltEnd), blob.subarray(saltEnd))
}

const ARGON2 = `argon2(?<type>id|i)[$](?:v=(?<v>16|19)[$])?m=(?<m>${NUMBER}),t=(?<t>${NUMBER}),p=(?<p>[1-9][0-9]{0,2})[$](?<salt>${SALT})[$](?<digest>${DIGEST})`

const SPELLINGS: readonly Spelling[] = [
  // crypt(3), Supabase, Auth0, passlib, pwdlib; and Django's, of the password or of its SHA-256.
  spelling(`(?:bcrypt[$])?[$](?<hash>${BCRYPT})`, ({ hash }) => bcrypt(`$${hash}`)),
  spelling(`bcrypt_sha256[$][$](?<hash>${BCRYPT})`, ({ hash }) => bcrypt(`$${hash}`, { encoding: 'hex' })),
  // passlib.hash.bcrypt_sha256, of version 2 and of the one before.
  spelling(
    '[$]bcrypt-sha256[$]v=2,t=(?<type>2b),r=(?<cost>[0-9]{1,2})[$](?<salt>[A-Za-z0-9./]{22})[$](?<digest>[A-Za-z0-9./]{31})',
    ({ type, cost, salt, digest }) =>
      bcrypt(`$${type}$${cost!.padStart(2, '0')}$${salt}${digest}`, { encoding: 'base64', key: salt! }),
  ),
  spelling(
    '[$]bcrypt-sha256[$](?<type>2[ab]),(?<cost>[0-9]{1,2})[$](?<salt>[A-Za-z0-9./]{22})[$](?<digest>[A-Za-z0-9./]{31})',
    ({ type, cost, salt, digest }) =>
      bcrypt(`$${type}$${cost!.padStart(2, '0')}$${salt}${digest}`, { encoding: 'base64' }),
  ),
  // PHC; and Django's, which has `argon2$` before it and no `$` at the beginning.
  spelling(`[$]${ARGON2}`, argon2),
  spelling(`argon2[$]${ARGON2}`, argon2),
  // passlib, and the PHC string format.
  spelling(
    `[$]scrypt[$]ln=(?<ln>[1-9][0-9]?),r=(?<r>[1-9][0-9]{0,3}),p=(?<p>[1-9][0-9]{0,3})[$](?<salt>${SALT})[$](?<digest>${DIGEST})`,
    ({ ln, r, p, salt, digest }) =>
      scrypt(2 ** Number(ln), Number(r), Number(p), { salt: bytesOf(salt!), digest: bytesOf(digest!) }),
  ),
  // Werkzeug.
  spelling(
    `scrypt:(?<N>${NUMBER}):(?<r>[1-9][0-9]{0,3}):(?<p>[1-9][0-9]{0,3})[$](?<salt>${TEXT_SALT})[$](?<digest>${HEX_DIGEST})`,
    ({ N, r, p, salt, digest }) =>
      scrypt(Number(N), Number(r), Number(p), { salt: utf8(salt!), digest: fromHex(digest!) }),
  ),
  // Django.
  spelling(
    `scrypt[$](?<N>${NUMBER})[$](?<salt>${TEXT_SALT})[$](?<r>[1-9][0-9]{0,3})[$](?<p>[1-9][0-9]{0,3})[$](?<digest>${DIGEST})`,
    ({ N, r, p, salt, digest }) =>
      scrypt(Number(N), Number(r), Number(p), { salt: utf8(salt!), digest: bytesOf(digest!) }),
  ),
  // better-auth: the salt is its own hexadecimal text.
  spelling('(?<salt>[0-9a-f]{32}):(?<digest>[0-9a-f]{128})', ({ salt, digest }) => ({
    scheme: 'scrypt',
    N: 16384,
    r: 16,
    p: 1,
    salt: utf8(salt!),
    digest: fromHex(digest!),
    isNormalized: true,
  })),
  // Firebase, as Supabase writes it: with the project's salt separator and signer key.
  spelling(
    `[$]fbscrypt[$]v=1,n=(?<ln>[1-9][0-9]?),r=(?<r>[1-9][0-9]{0,3}),p=(?<p>[1-9][0-9]{0,3})(?:,ss=(?<ss>${SALT}))?,sk=(?<sk>${DIGEST})[$](?<salt>${SALT})[$](?<digest>${DIGEST})`,
    ({ ln, r, p, ss = '', sk, salt, digest }) => {
      const signerKey = bytesOf(sk!)
      const salted = {
        salt: new Uint8Array([...bytesOf(salt!), ...bytesOf(ss)]),
        digest: bytesOf(digest!),
      }
      const hash = scrypt(2 ** Number(ln), Number(r), Number(p), salted)
      return hash && signerKey.length === salted.digest.length ? { ...hash, signerKey } : undefined
    },
  ),
  // passlib; the PHC string format, which Keycloak's are written in as well.
  spelling(
    `[$]pbkdf2(?<hash>-sha1|-sha256|-sha512|)[$](?:i=(?<i>${NUMBER})(?:,l=[0-9]{1,3})?|(?<rounds>${NUMBER}))[$](?<salt>${SALT})[$](?<digest>${DIGEST})`,
    ({ hash, i, rounds, salt, digest }) =>
      pbkdf2(HASHES[hash as keyof typeof HASHES], (i ?? rounds)!, bytesOf(salt!), bytesOf(digest!)),
  ),
  // Django.
  spelling(
    `pbkdf2_(?<hash>sha1|sha256)[$](?<rounds>${NUMBER})[$](?<salt>${TEXT_SALT})[$](?<digest>${DIGEST})`,
    ({ hash, rounds, salt, digest }) => pbkdf2(hash as HashName, rounds!, utf8(salt!), bytesOf(digest!)),
  ),
  // Werkzeug.
  spelling(
    `pbkdf2:(?<hash>sha1|sha256|sha512):(?<rounds>${NUMBER})[$](?<salt>${TEXT_SALT})[$](?<digest>${HEX_DIGEST})`,
    ({ hash, rounds, salt, digest }) => pbkdf2(hash as HashName, rounds!, utf8(salt!), fromHex(digest!)),
  ),
  // LDAP: the digest is of the password and the salt, which is behind it.
  spelling('[{]SSHA512[}](?<blob>[A-Za-z0-9+/]{87,344}={0,2})', ({ blob }) => {
    const bytes = bytesOf(blob!)
    return bytes.length > 64
      ? { scheme: 'sha512', digest: bytes.slice(0, 64), salt: bytes.slice(64) }
      : undefined
  }),
  spelling('(?<blob>[A-Za-z0-9+/]{40,400}={0,2})', ({ blob }) => aspNet(blob!)),
]

/** Known formats that are never verified: too weak to keep, too rare, or broken. */
const NEVER_VERIFIED = [
  /^\$(?:1|2|2x|5|6|7|P|H|y|gy|sha1|md5|apr1|wp|argon2d)\$[\x21-\x7e]+$/,
  /^\{[A-Z][A-Z0-9-]{1,20}\}[\x21-\x7e]+$/,
  // Old ones of Django.
  /^(?:md5|sha1|unsalted_md5|unsalted_sha1|crypt)\$[\x21-\x7e]+$/,
  /^[0-9a-f]{32}$/,
]

/** Longer than any hash. */
const LONGEST = 1024

export function parseForeignHash(text: string): Foreign | 'never_verified' | undefined {
  if (text.length > LONGEST) return undefined
  for (const { pattern, read } of SPELLINGS) {
    const groups = pattern.exec(text)?.groups
    const hash = groups && read(groups)
    if (hash) return hash
  }
  return NEVER_VERIFIED.some((pattern) => pattern.test(text)) ? 'never_verified' : undefined
}
