import { createHmac } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { openSealed, seal } from '../crypto/sealed.ts'

const DAY_MS = 86_400_000
/** As long as an address may wait to be confirmed. */
const LIFETIME_MS = 30 * DAY_MS

/**
 * What whoever signs up is given, whether or not the address was taken: that it was they who did. It names the account
 * that was made, or would have been, and the address, which it does not tell.
 */
export const makeSignupToken = (
  config: Pick<Config, 'keys'>,
  { userId, emailNormalized }: { userId: string; emailNormalized: string },
  now: number,
) =>
  seal(
    config.keys.signup_token,
    `su_${userId}.${digestOf(config.keys.signup_token[0], emailNormalized)}.${Math.floor((now + LIFETIME_MS) / 1000)}`,
  )

/** Undefined for what is not one of ours, or has expired. */
export function openSignupToken(
  { keys }: Pick<Config, 'keys'>,
  token: string | undefined,
  now: number,
): { userId: string; digest: string } | undefined {
  const body = token === undefined ? undefined : openSealed(keys.signup_token, token)
  const [, userId, digest, expiresAt] = /^su_([0-9a-f-]{36})\.([\w-]{22})\.(\d{1,12})$/.exec(body ?? '') ?? []
  if (!userId || !digest || Number(expiresAt) * 1000 <= now) return undefined
  return { userId, digest }
}

/** Whether a token was given to whoever signed up with this address. */
export function isSignupTokenOf(
  config: Pick<Config, 'keys'>,
  emailNormalized: string,
  token: string | undefined,
  now: number,
): boolean {
  const opened = openSignupToken(config, token, now)
  return config.keys.signup_token.some((key) => opened?.digest === digestOf(key, emailNormalized))
}

const digestOf = (key: Uint8Array, emailNormalized: string) =>
  createHmac('sha256', key)
    .update(`address.${emailNormalized}`)
    .digest()
    .subarray(0, 16)
    .toString('base64url')
