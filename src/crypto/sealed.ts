import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Keyring } from './keyring.ts'

/**
 * Tokens that are derived, not stored: a body that names something, and a MAC that proves that it is ours,
 * `<body>.<mac>`. A forged one is refused without a trip, and the database holds nothing that could be
 * replayed.
 */
export const seal = (keys: Keyring, body: string) => `${body}.${macOf(keys[0], body).toString('base64url')}`

/** The body of a token of ours; undefined for any other. */
export function openSealed(keys: Keyring, token: string): string | undefined {
  const [, body, mac] = /^([\w.-]{1,192})\.([\w-]{43})$/.exec(token) ?? []
  if (body === undefined || mac === undefined) return undefined
  const given = Buffer.from(mac, 'base64url')
  // The last of the 43 characters has two spare bits: only the canonical spelling is accepted.
  if (given.toString('base64url') !== mac) return undefined
  return keys.some((key) => timingSafeEqual(macOf(key, body), given)) ? body : undefined
}

const macOf = (key: Uint8Array, body: string) => createHmac('sha256', key).update(body).digest()
