/** Password hashes of other software, as parsed from their text (spellings.ts). */
export type Foreign = Bcrypt | Argon2 | Scrypt | Pbkdf2 | Sha512

interface Salted {
  salt: Uint8Array
  digest: Uint8Array
}

export interface Bcrypt {
  scheme: 'bcrypt'
  cost: number
  /** `$2b$12$` with salt and digest. */
  hash: string
  /** What was hashed instead of the password itself: its SHA-256, or an HMAC of it under this key. */
  of?: { encoding: 'hex' | 'base64'; key?: string }
}

export interface Argon2 extends Salted {
  scheme: 'argon2'
  type: 'i' | 'id'
  /** 16 for 1.0, 19 for 1.3. */
  version: 16 | 19
  memoryKib: number
  passes: number
  lanes: number
}

export interface Scrypt extends Salted {
  scheme: 'scrypt'
  N: number
  r: number
  p: number
  /** better-auth normalises the password (NFKC). */
  isNormalized?: true
  /** Firebase: the hash is this key of the project, encrypted under scrypt's output. */
  signerKey?: Uint8Array
}

export interface Pbkdf2 extends Salted {
  scheme: 'pbkdf2'
  hash: 'sha1' | 'sha256' | 'sha512'
  rounds: number
}

interface Sha512 extends Salted {
  scheme: 'sha512'
}

/**
 * `verified` at the next login; too costly for that, so that only a reset helps; or one that no software
 * makes.
 */
export type Verdict = 'verified' | 'needs_reset' | 'invalid'

const MIB = 2 ** 20
const GIB = 2 ** 30

/** The verdict on a cost, by the highest that is verified and the highest that is accepted at all. */
const measure = (value: number, verified: number, taken: number): Verdict =>
  value <= verified ? 'verified' : value <= taken ? 'needs_reset' : 'invalid'

const WORST: readonly Verdict[] = ['invalid', 'needs_reset', 'verified']
const worstOf = (...verdicts: Verdict[]): Verdict => WORST.find((verdict) => verdicts.includes(verdict))!

/** Rounds of PBKDF2 that are verified: about four seconds for SHA-512, less for the others. */
const ROUNDS = { sha1: 1_800_000, sha256: 1_800_000, sha512: 700_000 } as const
/** What 1 000 rounds take, in milliseconds. */
const ROUNDS_MS = { sha1: 1.7, sha256: 1.4, sha512: 5.4 } as const

type Table = {
  [Scheme in Foreign['scheme']]: {
    verdict: (hash: Extract<Foreign, { scheme: Scheme }>) => Verdict
    /** How long it is booked for, in milliseconds of an otherwise idle processor. */
    bookedMs: (hash: Extract<Foreign, { scheme: Scheme }>) => number
  }
}

/**
 * The one table: what is done with each scheme, and what it costs. docs/foreign-hashes.md says the same in
 * words.
 */
const TABLE: Table = {
  bcrypt: {
    verdict: ({ cost }) => measure(cost, 13, 17),
    bookedMs: ({ cost }) => 900 * 2 ** (cost - 13),
  },
  argon2: {
    verdict: ({ memoryKib, passes }) =>
      worstOf(
        measure(memoryKib * 1024, 64 * MIB, GIB),
        memoryKib * 1024 * passes <= 256 * MIB ? 'verified' : 'needs_reset',
      ),
    bookedMs: ({ memoryKib, passes }) => 10 + 2.2 * ((memoryKib * passes) / 1024),
  },
  scrypt: {
    verdict: ({ N, r, p }) =>
      worstOf(
        measure(128 * N * r, 64 * MIB, GIB),
        128 * r * (p + 2) <= 2 * MIB ? 'verified' : 'needs_reset',
        N * r * p <= 2 ** 20 ? 'verified' : 'needs_reset',
      ),
    bookedMs: ({ N, r, p }) => 10 + 520 * ((N * r * p) / 2 ** 20),
  },
  pbkdf2: {
    verdict: ({ hash, rounds }) => measure(rounds, ROUNDS[hash], 10_000_000),
    bookedMs: ({ hash, rounds }) => 10 + ROUNDS_MS[hash] * (rounds / 1000),
  },
  sha512: { verdict: () => 'verified', bookedMs: () => 1 },
}

export const verdictOn = <Hash extends Foreign>(hash: Hash): Verdict => rowOf(hash).verdict(hash)
export const bookedMsOf = <Hash extends Foreign>(hash: Hash): number => rowOf(hash).bookedMs(hash)

const rowOf = (hash: Foreign) =>
  TABLE[hash.scheme] as { verdict: (hash: Foreign) => Verdict; bookedMs: (hash: Foreign) => number }
