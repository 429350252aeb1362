import { createHash, createHmac } from 'node:crypto'
import type { Pbkdf2 } from './schemes.ts'
import { type Sha, sha1, sha256 } from './sha.ts'
import { sha512 } from './sha512.ts'

/**
 * How many rounds run in one piece: about 13 ms. A fixed number, as in production the clock stands still
 * while code runs, which no test would show.
 */
const SHAS = {
  sha1: { sha: sha1, roundsPerSlice: 12_000 },
  sha256: { sha: sha256, roundsPerSlice: 10_000 },
  sha512: { sha: sha512, roundsPerSlice: 3_000 },
} as const satisfies Record<Pbkdf2['hash'], { sha: Sha; roundsPerSlice: number }>

/**
 * PBKDF2 (RFC 8018 section 5.2): its first block, which is a whole digest, whatever length the hash has. Runs
 * in slices, with a `pause` after each that lets other requests in.
 */
export async function pbkdf2(
  { hash, rounds, salt }: Pbkdf2,
  password: Uint8Array,
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const { sha, roundsPerSlice } = SHAS[hash]
  const { compress, blockWords, stateWords } = sha
  const blockBytes = 4 * blockWords
  // RFC 2104 section 2.
  const key = password.length > blockBytes ? createHash(hash).update(password).digest() : password
  const keyed = (pad: number) => {
    const block = Buffer.alloc(blockBytes, pad)
    for (const [at, byte] of key.entries()) block[at]! ^= byte
    const state = sha.initial()
    compress(state, state, wordsOf(block))
    return state
  }
  const [inner, outer] = [keyed(0x36), keyed(0x5c)]
  const first = createHmac(hash, key)
    .update(salt)
    .update(Buffer.of(0, 0, 0, 1))
    .digest()
  const result = wordsOf(first)
  // From here on HMAC hashes a digest after a block of key: padded once.
  const block = new Int32Array(blockWords)
  block.set(result)
  block[stateWords] = 0x8000_0000
  block[blockWords - 1] = 8 * (blockBytes + 4 * stateWords)
  for (let round = 1; round < rounds; ) {
    const end = Math.min(rounds, round + roundsPerSlice)
    for (; round < end; round++) {
      compress(block, inner, block)
      compress(block, outer, block)
      for (let at = 0; at < stateWords; at++) result[at]! ^= block[at]!
    }
    await pause()
  }
  return bytesOf(result)
}

function wordsOf(bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Int32Array.from({ length: bytes.length / 4 }, (_, at) => view.getInt32(4 * at))
}

function bytesOf(words: Int32Array): Uint8Array {
  const bytes = new Uint8Array(4 * words.length)
  const view = new DataView(bytes.buffer)
  for (const [at, word] of words.entries()) view.setInt32(4 * at, word)
  return bytes
}
