import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import type { Keyring } from '../crypto/keyring.ts'
import { unavailable } from '../http/problem.ts'
import { normalizePassword } from './policy.ts'

/**
 * scrypt N=2^15 r=8 p=3 (OWASP), about 150 ms, then HMAC-SHA256 with a pepper that the database never sees.
 * The runtime refuses N·r·p above 2^20, and PBKDF2 above 100 000 iterations.
 */
export const SCRYPT = { ln: 15, r: 8, p: 3 } as const
const SCRYPT_MAX_COST = 2 ** 20
const SALT_BYTES = 16
const HASH_BYTES = 32
/** 128·N·r bytes and a little (RFC 7914); Node's default of 32 MiB is just too small. */
const MAX_MEMORY_BYTES = 64 * 2 ** 20

/**
 * A hash holds the isolate's lock, and whoever comes meanwhile waits. So hashes that come at once take turns, with a
 * pause as long as a hash before each, in which everything else gets through. The ninth who would have to wait is
 * sent away.
 */
const HASH_MS = 150
const PAUSE_MS = HASH_MS
const LONGEST_QUEUE_MS = 8 * (PAUSE_MS + HASH_MS)
const LONGEST_HASH_MS = 2000
/** Who is let in so soon after a hash had waited for its end; who logs in again after an answer comes later. */
const SOON_MS = 2
/** Until when turns are given away, and until when a hash runs or has just run (epoch ms). */
let takenUntil = 0
let busyUntil = 0
export const hashingBusy = () =>
  unavailable('hashing_busy', 'Too many people are signing in at once. Try again in a second.', undefined, 1)

/**
 * Waits for a turn to hash: a time, not a place in a queue of promises. Those would belong to other requests, and one
 * that was cancelled would hold up all behind it; a turn that is not taken is merely lost.
 *
 * @throws 503 `hashing_busy` when eight are before this one in this isolate.
 */
export async function takeTurn(): Promise<void> {
  const now = Date.now()
  // What is further ahead than can be was noted by a clock that has been set back since.
  if (takenUntil - now > LONGEST_QUEUE_MS + PAUSE_MS + HASH_MS) takenUntil = 0
  if (busyUntil - now > LONGEST_HASH_MS) busyUntil = 0
  if (takenUntil - now >= LONGEST_QUEUE_MS) throw hashingBusy()
  const isAlone = takenUntil <= now && busyUntil <= now
  const beginsAt = isAlone ? now : Math.max(takenUntil, now) + PAUSE_MS
  takenUntil = beginsAt + HASH_MS
  if (beginsAt > now) await sleep(beginsAt - now)
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/**
 * Hashes a password that a person has set.
 *
 * @returns `$scrypt$ln=15,r=8,p=3,k=<pepper id>$<salt>$<mac>`, salt and MAC in base64url.
 */
export async function hashPassword(password: string, peppers: Keyring): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const mac = createHmac('sha256', peppers[0])
    .update(await derive(password, salt, SCRYPT))
    .digest('base64url')
  const { ln, r, p } = SCRYPT
  return `$scrypt$ln=${ln},r=${r},p=${p},k=${pepperId(peppers[0])}$${salt.toString('base64url')}$${mac}`
}

export interface PasswordCheck {
  isRight: boolean
  /** Right, but hashed with parameters or a pepper that are no longer ours: hash again now. */
  isOutdated: boolean
}

/**
 * Verifies a password against its stored string. Without one (an unknown person, one without a password) it
 * hashes all the same, so that the answer takes as long.
 */
export async function checkPassword(
  password: string,
  stored: string | null,
  peppers: Keyring,
): Promise<PasswordCheck> {
  const parsed = stored === null ? undefined : parseHash(stored)
  const pepper = parsed && peppers.find((candidate) => pepperId(candidate) === parsed.pepperId)
  const derived = await derive(password, parsed?.salt ?? new Uint8Array(SALT_BYTES), parsed?.cost ?? SCRYPT)
  const mac = createHmac('sha256', pepper ?? peppers[0])
    .update(derived)
    .digest()
  const isRight = parsed !== undefined && pepper !== undefined && timingSafeEqual(mac, parsed.mac)
  const isCurrent = pepper === peppers[0] && JSON.stringify(parsed?.cost) === JSON.stringify(SCRYPT)
  return { isRight, isOutdated: isRight && !isCurrent }
}

const FORMAT =
  /^\$scrypt\$ln=([1-9]\d?),r=([1-9]\d?),p=([1-9]\d?),k=([0-9a-f]{8})\$([\w-]{22,86})\$([\w-]{43})$/

/** Parses a stored string; undefined when it is not ours, or has a cost that the runtime refuses. */
export function parseHash(stored: string) {
  const [, ln, r, p, pepperId, salt, mac] = FORMAT.exec(stored) ?? []
  if (!salt || !mac) return undefined
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) }
  if (!isCostAllowed(cost)) return undefined
  return { cost, pepperId, salt: Buffer.from(salt, 'base64url'), mac: Buffer.from(mac, 'base64url') }
}

/** RFC 7914 section 2, and the limits of the runtime: whatever passes here, `scrypt` computes. */
const isCostAllowed = ({ ln, r, p }: { ln: number; r: number; p: number }) =>
  ln >= 1 &&
  r >= 1 &&
  p >= 1 &&
  ln < 16 * r &&
  2 ** ln * r * p <= SCRYPT_MAX_COST &&
  128 * r * (2 ** ln + p + 2) <= MAX_MEMORY_BYTES

export const pepperId = (pepper: Uint8Array) => createHash('sha256').update(pepper).digest('hex').slice(0, 8)

async function derive(
  password: string,
  salt: Uint8Array,
  cost: { ln: number; r: number; p: number },
): Promise<Buffer> {
  const options = { N: 2 ** cost.ln, r: cost.r, p: cost.p, maxmem: MAX_MEMORY_BYTES }
  busyUntil = Date.now() + LONGEST_HASH_MS
  const derived = await new Promise<Buffer>((resolve, reject) =>
    scrypt(toHashInput(password), salt, HASH_BYTES, options, (error, key) =>
      error ? reject(error) : resolve(key),
    ),
  )
  await sleep(0) // The clock stands still until there is I/O.
  busyUntil = Date.now() + SOON_MS
  return derived
}

/**
 * What is hashed. The end is marked, as HMAC, which scrypt begins with, fills a short key up with NULs (RFC 2104
 * section 2): without the mark, a password and the same with a NUL behind it would be one.
 */
const toHashInput = (password: string) => `${normalizePassword(password)}\x01`
