import type { Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import type { Resources } from '../context.ts'
import type { Purpose } from '../links/models.ts'
import type { Proof } from '../links/schemas.ts'
import { openSignupToken } from '../links/signup-tokens.ts'

const DAY_SECONDS = 86_400

/** By purpose, as one browser may have signed up and have asked for a new password elsewhere. */
const nameOf = (purpose: Purpose) => `__Host-roster-${purpose}`

/** Lets this browser type the code of a mail that it has asked for: `token` is what asking has answered. */
export const rememberAsker = (c: Context, purpose: Purpose, token: string) =>
  setCookie(c, nameOf(purpose), token, {
    httpOnly: true,
    secure: true,
    sameSite: 'Lax',
    path: '/',
    maxAge: DAY_SECONDS,
  })

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
