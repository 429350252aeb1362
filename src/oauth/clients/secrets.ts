import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Config } from '../../config/main.ts'

const RANDOM_BYTES = 22
const MARK_BYTES = 10

/**
 * A new secret for a client. It has 176 random bits, so a plain digest of it can be kept: there is nothing to guess. The
 * rest is a mark that only we can make: so whoever asks often is known, and counted for themselves, without a look-up.
 */
export function makeSecret({ keys }: Pick<Config, 'keys'>, clientId: string): string {
  const random = randomBytes(RANDOM_BYTES)
  return `cs_${Buffer.concat([random, markOf(keys.client_secret[0], clientId, random)]).toString('base64url')}`
}

/** Whether a secret was made here for this client; it may be over by now. Not, where the version before made it. */
export function isMarked({ keys }: Pick<Config, 'keys'>, clientId: string, secret: string): boolean {
  const [, given] = /^cs_([\w-]{43})$/.exec(secret) ?? []
  if (given === undefined) return false
  const bytes = Buffer.from(given, 'base64url')
  // The last character has two spare bits: each other spelling would be counted for itself.
  if (bytes.toString('base64url') !== given) return false
  const [random, mark] = [bytes.subarray(0, RANDOM_BYTES), bytes.subarray(RANDOM_BYTES)]
  return keys.client_secret.some((key) => timingSafeEqual(markOf(key, clientId, random), mark))
}

const markOf = (key: Uint8Array, clientId: string, random: Uint8Array) =>
  createHmac('sha256', key).update(clientId).update(random).digest().subarray(0, MARK_BYTES)
