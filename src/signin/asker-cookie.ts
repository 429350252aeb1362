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
const SIGNED_UP = '__Host-roster-signed_up'

/** Lets this browser use the code of a mail that it requested: `token` is what the request returned. */
export const rememberAsker = (c: Context, purpose: Purpose, token: string) =>
  setCookie(c, nameOf(purpose), token, ATTRIBUTES)

/**
 * The same for a sign-up, which also shows who made the account. It may have made none: so the code of its
 * mail works with `requestToken`, whoever has the account.
 */
export function rememberSignup(c: Context, signupToken: string, requestToken: string): void {
  setCookie(c, SIGNED_UP, signupToken, ATTRIBUTES)
  rememberAsker(c, 'verify_email', requestToken)
}

/**
 * The tokens that this browser got when it requested the mail or signed up, as members of the proof; empty if
 * it did neither.
 */
export function askerOf(c: Context, purpose: Purpose): Pick<Proof, 'request_token' | 'signup_token'> {
  const { config, now } = c.var as Resources
  const asked = getCookie(c, nameOf(purpose))
  // Earlier versions left a sign-up's own token there.
  const isOfSignup = openSignupToken(config, asked, now) !== undefined
  const request_token = isOfSignup ? undefined : asked
  const signup_token = isOfSignup ? asked : purpose === 'verify_email' ? getCookie(c, SIGNED_UP) : undefined
  return { ...(request_token && { request_token }), ...(signup_token && { signup_token }) }
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
