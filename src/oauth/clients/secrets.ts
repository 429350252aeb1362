import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Config } from '../../config/main.ts'

const RANDOM_BYTES = 22
const MARK_BYTES = 10

/**
 * A new secret for a client. It has 176 random bits, so a plain digest can be stored: it cannot be guessed.
 * The rest is a MAC that only we can make, which identifies a frequent caller without a look-up, so that it
 * is rate-limited on its own.
 */
export function makeSecret({ keys }: Pick<Config, 'keys'>, clientId: string): string {
  const random = randomBytes(RANDOM_BYTES)
  return `cs_${Buffer.concat([random, markOf(keys.client_secret[0], clientId, random)]).toString('base64url')}`
}

/**
 * Whether we made this secret for this client; it may be over by now. False for secrets made by an earlier
 * version.
 */
export function isMarked({ keys }: Pick<Config, 'keys'>, clientId: string, secret: string): boolean {
  const [, given] = /^cs_([\w-]{43})$/.exec(secret) ?? []
  if (given === undefined) return false
  const bytes = Buffer.from(given, 'base64url')
  // The last character has two spare bits: every other spelling would get its own rate limit.
  if (bytes.toString('base64url') !== given) return false
  const [random, mark] = [bytes.subarray(0, RANDOM_BYTES), bytes.subarray(RANDOM_BYTES)]
  return keys.client_secret.some((key) => timingSafeEqual(markOf(key, clientId, random), mark))
}

const markOf = (key: Uint8Array, clientId: string, random: Uint8Array) =>
  createHmac('sha256', key).update(clientId).update(random).digest().subarray(0, MARK_BYTES)
