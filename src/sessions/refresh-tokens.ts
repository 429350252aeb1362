import { createHash } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { Keyring } from '../crypto/keyring.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { timeOfId } from '../values/ids.ts'
import { ABSOLUTE_MS } from './lifetimes.ts'

/**
 * A refresh token names its session and how often it has been rotated: `rt_<sid>.<counter>.<mac>`. It is
 * derived, so the same rotation always gives the same successor.
 */
export const makeRefreshToken = (keys: Keyring, sessionId: string, counter: number) =>
  seal(keys, `rt_${sessionId}.${counter}`)

/** Opens a refresh token; undefined if it is not ours. Costs no trip. */
export function openRefreshToken(
  keys: Keyring,
  token: string,
): { sessionId: string; counter: number } | undefined {
  const body = openSealed(keys, token)
  const [, sessionId, counter] = /^rt_([0-9a-f-]{36})\.(0|[1-9]\d{0,14})$/.exec(body ?? '') ?? []
  return sessionId ? { sessionId, counter: Number(counter) } : undefined
}

/**
 * How far a new password sets the counter of its session ahead. By more than one, as within the grace the former token
 * would give a thief the same pair as the owner; and by more than all refreshes that a thief can make while the
 * password is checked (`RATE_LIMIT_REFRESHES`).
 */
export const ROTATIONS_PAST_COPIES = 1000

const MARK_LENGTH = 8

/** Stands for a user in counters: it shows which tokens belong to one user, without a look-up. */
export const markOf = (userId: string) =>
  createHash('sha256').update(userId).digest('hex').slice(0, MARK_LENGTH)

/**
 * A UUIDv7 that ends in its user's mark: a refresh token names only its session, but so shows whose it is.
 */
export const newSessionId = (userId: string) => uuidv7().slice(0, -MARK_LENGTH) + markOf(userId)

export const markIn = (sessionId: string) => sessionId.slice(-MARK_LENGTH)

/** Whether a session may still be open, by its age alone. */
export const mayBeOpen = (sessionId: string, now: number) => timeOfId(sessionId) + ABSOLUTE_MS > now
