import type { Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import type { Resources } from '../context.ts'
import type { Purpose } from '../links/models.ts'
import type { Proof } from '../links/schemas.ts'
import { openSignupToken } from '../links/signup-tokens.ts'
import { DAY_MS } from '../values/durations.ts'
import { type Continuation, paramsOf, readContinuation } from './targets.ts'

const ATTRIBUTES = {
  httpOnly: true,
  secure: true,
  sameSite: 'Lax',
  path: '/',
  maxAge: DAY_MS / 1000,
} as const
/**
 * Where somebody who signs up here continues once their address is confirmed, perhaps in another tab by the
 * link.
 */
const ONWARDS = '__Host-roster-onwards'

/** By purpose, because one browser may have signed up, and also have requested a password reset. */
const nameOf = (purpose: Purpose) => `__Host-roster-${purpose}`

/** Lets this browser use the code of a mail that it requested: `token` is what the request returned. */
export const rememberAsker = (c: Context, purpose: Purpose, token: string) =>
  setCookie(c, nameOf(purpose), token, ATTRIBUTES)

/**
 * The token that this browser got when it requested the mail, as members of the proof; empty if it requested
 * none.
 */
export function askerOf(
  c: Context,
  { config, now }: Pick<Resources, 'config' | 'now'>,
  purpose: Purpose,
): Pick<Proof, 'request_token' | 'signup_token'> {
  const token = getCookie(c, nameOf(purpose))
  if (token === undefined) return {}
  return openSignupToken(config, token, now) === undefined
    ? { request_token: token }
    : { signup_token: token }
}

/**
 * @param of the user whose destination it is, if somebody is signed in: another user of the same browser does
 *   not go there.
 */
export const rememberContinuation = (c: Context, on: Continuation, of?: string) =>
  setCookie(c, ONWARDS, new URLSearchParams({ ...paramsOf(on), ...(of && { of }) }).toString(), ATTRIBUTES)

export function recallContinuation(c: Context, of?: string): Continuation {
  const { of: whose, ...on } = Object.fromEntries(new URLSearchParams(getCookie(c, ONWARDS) ?? ''))
  return whose === of ? readContinuation(on) : {}
}
