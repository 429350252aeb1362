import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { DAY_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'

/** As long as an address may stay unconfirmed. */
const LIFETIME_MS = 30 * DAY_MS

/**
 * Shows that its holder signed up; given to everybody who does, whether or not the address was taken. It
 * holds the id of the account that was made, or would have been, and a trace of the address that does not
 * reveal it. Its time is the id's, so a repeated sign-up gets the same token.
 */
export const makeSignupToken = (
  config: Pick<Config, 'keys'>,
  { userId, emailNormalized }: { userId: string; emailNormalized: string },
) => seal(config.keys.signup_token, `su_${userId}.${digestOf(config.keys.signup_token[0], emailNormalized)}`)

/** Undefined if it is not ours, or has expired. */
export function openSignupToken(
  { keys }: Pick<Config, 'keys'>,
  token: string | undefined,
  now: number,
): { userId: string; digest: string } | undefined {
  const body = token === undefined ? undefined : openSealed(keys.signup_token, token)
  const found = /^su_([0-9a-f-]{36})\.([\w-]{22})$/.exec(body ?? '')
  if (!found) return undefined
  const [, userId = '', digest = ''] = found
  if (timeOfId(userId) + LIFETIME_MS <= now) return undefined
  return { userId, digest }
}

/** Whether a token was given for a sign-up with this address. */
export function isSignupTokenOf(
  config: Pick<Config, 'keys'>,
  emailNormalized: string,
  token: string | undefined,
  now: number,
): token is string {
  const opened = openSignupToken(config, token, now)
  if (!opened) return false
  const given = Buffer.from(opened.digest)
  return config.keys.signup_token.some((key) =>
    timingSafeEqual(Buffer.from(digestOf(key, emailNormalized)), given),
  )
}

const digestOf = (key: Uint8Array, emailNormalized: string) =>
  createHmac('sha256', key)
    .update(`address.${emailNormalized}`)
    .digest()
    .subarray(0, 16)
    .toString('base64url')
