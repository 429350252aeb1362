import type { Keyring } from '../crypto/keyring.ts'
import { openSealed, seal } from '../crypto/sealed.ts'

/**
 * A refresh token names its session and how often it has been rotated: `rt_<sid>.<counter>.<mac>`. As it is derived,
 * the same rotation always gives the same successor.
 */
export const makeRefreshToken = (keys: Keyring, sessionId: string, counter: number) =>
  seal(keys, `rt_${sessionId}.${counter}`)

/** Opens a refresh token; undefined when it is not one of ours, which costs no trip to find out. */
export function openRefreshToken(
  keys: Keyring,
  token: string,
): { sessionId: string; counter: number } | undefined {
  const body = openSealed(keys, token)
  const [, sessionId, counter] = /^rt_([0-9a-f-]{36})\.(0|[1-9]\d{0,14})$/.exec(body ?? '') ?? []
  return sessionId ? { sessionId, counter: Number(counter) } : undefined
}
