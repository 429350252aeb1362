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

export const rememberOnwards = (c: Context, on: Onwards) =>
  setCookie(c, ONWARDS, new URLSearchParams(paramsOf(on)).toString(), ATTRIBUTES)

export const onwardsOf = (c: Context): Onwards =>
  onwardsIn(Object.fromEntries(new URLSearchParams(getCookie(c, ONWARDS) ?? '')))
