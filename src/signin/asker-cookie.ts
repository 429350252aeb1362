import type { Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import type { Resources } from '../context.ts'
import type { Purpose } from '../links/models.ts'
import type { Proof } from '../links/schemas.ts'
import { openSignupToken } from '../links/signup-tokens.ts'
import { type Onwards, onwardsIn, paramsOf } from './targets.ts'

const DAY_SECONDS = 86_400
const ATTRIBUTES = { httpOnly: true, secure: true, sameSite: 'Lax', path: '/', maxAge: DAY_SECONDS } as const
/** Where whoever signs up here goes on, once their address is confirmed: perhaps in another tab, by the link. */
const ONWARDS = '__Host-roster-onwards'

/** By purpose, as one browser may have signed up and have asked for a new password elsewhere. */
const nameOf = (purpose: Purpose) => `__Host-roster-${purpose}`

/** Lets this browser type the code of a mail that it has asked for: `token` is what asking has answered. */
export const rememberAsker = (c: Context, purpose: Purpose, token: string) =>
  setCookie(c, nameOf(purpose), token, ATTRIBUTES)

/** What this browser got when it asked for the mail, as members of the proof; empty when it did not ask. */
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

/** @param of whose way it is, where somebody is signed in: another at the same browser does not go it. */
export const rememberOnwards = (c: Context, on: Onwards, of?: string) =>
  setCookie(c, ONWARDS, new URLSearchParams({ ...paramsOf(on), ...(of && { of }) }).toString(), ATTRIBUTES)

export function onwardsOf(c: Context, of?: string): Onwards {
  const { of: whose, ...on } = Object.fromEntries(new URLSearchParams(getCookie(c, ONWARDS) ?? ''))
  return whose === of ? onwardsIn(on) : {}
}
