import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import type { Config } from '../config/main.ts'
import type { Keyring } from '../crypto/keyring.ts'
import { unavailable } from '../http/problem.ts'
import { hasForeignKeyOf, isForeign } from './foreign/sealing.ts'
import { normalizePassword } from './policy.ts'

interface Cost {
  ln: number
  r: number
  p: number
}

/**
 * scrypt N=2^15 r=8 p=3 (OWASP), about 150 ms, then HMAC-SHA256 with a pepper that the database never sees.
 * The runtime refuses N·r·p above 2^20, and PBKDF2 above 100 000 iterations.
 */
export const SCRYPT: Cost = { ln: 15, r: 8, p: 3 }
/** See PASSWORD_HASHES in the settings. */
const CHEAP: Cost = { ln: 4, r: 8, p: 1 }
const SCRYPT_MAX_COST = 2 ** 20
const SALT_BYTES = 16
const HASH_BYTES = 32
/** 128·N·r bytes and a little more (RFC 7914); Node's default of 32 MiB is just too small. */
const MAX_MEMORY_BYTES = 64 * 2 ** 20

export const hashCost = (config: Config): Cost => (config.PASSWORD_HASHES === 'cheap' ? CHEAP : SCRYPT)

/**
 * Hashes a password that a user has set.
 *
 * @returns `$scrypt$ln=15,r=8,p=3,k=<pepper id>$<salt>$<mac>`, salt and MAC in base64url.
 */
export async function hashPassword(password: string, peppers: Keyring, cost = SCRYPT): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const mac = createHmac('sha256', peppers[0])
    .update(await derive(password, salt, cost))
    .digest('base64url')
  const { ln, r, p } = cost
  return `$scrypt$ln=${ln},r=${r},p=${p},k=${pepperId(peppers[0])}$${salt.toString('base64url')}$${mac}`
}

export interface PasswordCheck {
  isRight: boolean
  /** Right, but hashed with outdated parameters or an old pepper: hash it again now. */
  isOutdated: boolean
}

/**
 * Verifies a password against its stored hash. Without one (an unknown user, or one without a password) it
 * hashes all the same, so that the answer takes as long.
 *
 * @throws 503 `misconfigured` where SECRET_KEYS lack the key of the hash: no password could be right, so none
 *   is wrong.
 */
export async function checkPassword(
  password: string,
  stored: string | null,
  peppers: Keyring,
  cost = SCRYPT,
): Promise<PasswordCheck> {
  const parsed = stored === null ? undefined : parseHash(stored)
  const pepper = parsed && peppers.find((candidate) => pepperId(candidate) === parsed.pepperId)
  if (parsed && !pepper) throw keyIsMissing(parsed.pepperId ?? '')
  const derived = await derive(password, parsed?.salt ?? new Uint8Array(SALT_BYTES), parsed?.cost ?? cost)
  const mac = createHmac('sha256', pepper ?? peppers[0])
    .update(derived)
    .digest()
  const isRight = parsed !== undefined && pepper !== undefined && timingSafeEqual(mac, parsed.mac)
  const isCurrent = pepper === peppers[0] && JSON.stringify(parsed?.cost) === JSON.stringify(cost)
  return { isRight, isOutdated: isRight && !isCurrent }
}

/** Whether SECRET_KEYS have the key of a stored hash. */
export function hasKeyOf(
  stored: string,
  keys: Pick<Config['keys'], 'password_pepper' | 'foreign_hash'>,
): boolean {
  if (isForeign(stored)) return hasForeignKeyOf(stored, keys.foreign_hash)
  const parsed = parseHash(stored)
  return !parsed || keys.password_pepper.some((pepper) => pepperId(pepper) === parsed.pepperId)
}

const keyIsMissing = (pepperId: string) =>
  unavailable(
    'misconfigured',
    'Settings missing or unfit: SECRET_KEYS',
    Object.assign(new Error('a password was hashed with a key that is missing'), {
      sentences: [
        `SECRET_KEYS lacks the key ${pepperId} that passwords were hashed with. Put it back, as the last.`,
      ],
    }),
    60,
  )

const FORMAT =
  /^\$scrypt\$ln=([1-9]\d?),r=([1-9]\d?),p=([1-9]\d?),k=([0-9a-f]{8})\$([\w-]{22,86})\$([\w-]{43})$/

/** Parses a stored hash; undefined if it is not ours, or has a cost that the runtime refuses. */
export function parseHash(stored: string) {
  const [, ln, r, p, pepperId, salt, mac] = FORMAT.exec(stored) ?? []
  if (!salt || !mac) return undefined
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) }
  if (!isCostAllowed(cost)) return undefined
  return { cost, pepperId, salt: Buffer.from(salt, 'base64url'), mac: Buffer.from(mac, 'base64url') }
}

/** RFC 7914 section 2, and the limits of the runtime: scrypt computes whatever passes here. */
const isCostAllowed = ({ ln, r, p }: Cost) =>
  ln >= 1 &&
  r >= 1 &&
  p >= 1 &&
  ln < 16 * r &&
  2 ** ln * r * p <= SCRYPT_MAX_COST &&
  128 * r * (2 ** ln + p + 2) <= MAX_MEMORY_BYTES

export const pepperId = (pepper: Uint8Array) => createHash('sha256').update(pepper).digest('hex').slice(0, 8)

function derive(password: string, salt: Uint8Array, cost: Cost): Promise<Buffer> {
  const options = { N: 2 ** cost.ln, r: cost.r, p: cost.p, maxmem: MAX_MEMORY_BYTES }
  return new Promise<Buffer>((resolve, reject) =>
    scrypt(toHashInput(password), salt, HASH_BYTES, options, (error, key) =>
      error ? reject(error) : resolve(key),
    ),
  )
}

/**
 * What is hashed. Its end is marked, because HMAC, with which scrypt begins, pads a short key with NULs (RFC
 * 2104 section 2): without the mark, a password and the same with a NUL appended would be one.
 */
const toHashInput = (password: string) => `${normalizePassword(password)}\x01`
