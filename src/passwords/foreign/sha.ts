import { lazy } from '../../values/lazy.ts'

/*
 * The compression functions of SHA-1 and SHA-256 (FIPS 180-4 sections 6.1.2 and 6.2.2), and in sha512.ts that
 * of SHA-512, only for PBKDF2: the runtime's refuses more than 100,000 rounds, and blocks everybody
 * meanwhile. A 64-bit word is two of 32, the high one first.
 */

/** Compresses a block into a state: `out` may be the block, or the state. */
type Compress = (out: Int32Array, state: Int32Array, block: Int32Array) => void

export interface Sha {
  compress: Compress
  /** The initial state of each message. */
  initial: () => Int32Array
  /** In 32-bit words. */
  blockWords: number
  stateWords: number
}

/** The first 64 fractional bits of a root of a prime: all constants are such. */
function fractionOfRoot(prime: number, degree: 2n | 3n): bigint {
  const scaled = BigInt(prime) << (64n * degree)
  let root = 1n << 70n
  for (;;) {
    const next = ((degree - 1n) * root + scaled / root ** (degree - 1n)) / degree
    if (next >= root) return root & 0xffff_ffff_ffff_ffffn
    root = next
  }
}

export const high = (word: bigint) => Number(word >> 32n)
export const low = (word: bigint) => Number(word & 0xffff_ffffn)

/** Computed for the first hash that needs them. */
export const constants = lazy(() => {
  const primes: number[] = []
  for (let n = 2; primes.length < 80; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n)
  const cubes = primes.map((prime) => fractionOfRoot(prime, 3n))
  const squares = primes.slice(0, 8).map((prime) => fractionOfRoot(prime, 2n))
  return { cubesHigh: Int32Array.from(cubes, high), cubesLow: Int32Array.from(cubes, low), squares }
})

const W1 = new Int32Array(80)
export const sha1: Sha = {
  blockWords: 16,
  stateWords: 5,
  initial: () => Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0),
  compress(out, state, block) {
    for (let t = 0; t < 16; t++) W1[t] = block[t]!
    for (let t = 16; t < 80; t++) {
      const x = W1[t - 3]! ^ W1[t - 8]! ^ W1[t - 14]! ^ W1[t - 16]!
      W1[t] = (x << 1) | (x >>> 31)
    }
    let a = state[0]!
    let b = state[1]!
    let c = state[2]!
    let d = state[3]!
    let e = state[4]!
    for (let t = 0; t < 80; t++) {
      const f = t < 20 ? (b & c) ^ (~b & d) : t < 40 || t >= 60 ? b ^ c ^ d : (b & c) ^ (b & d) ^ (c & d)
      const k = t < 20 ? 0x5a827999 : t < 40 ? 0x6ed9eba1 : t < 60 ? 0x8f1bbcdc : 0xca62c1d6
      const next = (((a << 5) | (a >>> 27)) + f + e + k + W1[t]!) | 0
      e = d
      d = c
      c = (b << 30) | (b >>> 2)
      b = a
      a = next
    }
    out[0] = a + state[0]!
    out[1] = b + state[1]!
    out[2] = c + state[2]!
    out[3] = d + state[3]!
    out[4] = e + state[4]!
  },
}

const W256 = new Int32Array(64)
export const sha256: Sha = {
  blockWords: 16,
  stateWords: 8,
  initial: () => Int32Array.from(constants().squares, high),
  compress(out, state, block) {
    const k = constants().cubesHigh
    for (let t = 0; t < 16; t++) W256[t] = block[t]!
    for (let t = 16; t < 64; t++) {
      const x = W256[t - 15]!
      const y = W256[t - 2]!
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
      W256[t] = W256[t - 16]! + W256[t - 7]! + s0 + s1
    }
    let a = state[0]!
    let b = state[1]!
    let c = state[2]!
    let d = state[3]!
    let e = state[4]!
    let f = state[5]!
    let g = state[6]!
    let h = state[7]!
    for (let t = 0; t < 64; t++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[t]! + W256[t]!) | 0
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    out[0] = a + state[0]!
    out[1] = b + state[1]!
    out[2] = c + state[2]!
    out[3] = d + state[3]!
    out[4] = e + state[4]!
    out[5] = f + state[5]!
    out[6] = g + state[6]!
    out[7] = h + state[7]!
  },
}
