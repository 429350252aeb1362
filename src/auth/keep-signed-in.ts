import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { decodeJwt } from 'jose'
import * as z from 'zod'
import { comesFromElsewhere, originNotAllowed } from '../access/origin.ts'
import type { AppEnv } from '../context.ts'
import { documented } from '../http/operation.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { clearSessionCookie, rememberDevice, setSessionCookie } from '../sessions/cookie.ts'
import { logOut } from './logout.ts'
import type { Tokens } from './schemas.ts'

/** How a user wants to stay signed in. Every way in takes these members. */
export const keeping = () => ({
  cookie: z.boolean().optional().meta({
    description: 'Answers with the user, and a cookie in place of the tokens: for apps on the same site.',
  }),
  remember: z.boolean().optional().meta({
    description: 'False: the cookie ends with the browser, and after twelve hours.',
  }),
})
export interface Keeping {
  cookie?: boolean | undefined
  remember?: boolean | undefined
}

/** No page of another origin may sign its visitor in as somebody else: the browser would keep the cookie. */
export const noCookieForOthers = documented(
  createMiddleware<AppEnv & { Variables: { body: Keeping } }>(async (c, next) => {
    const { ISSUER, COOKIE_ORIGINS } = c.var.config
    if (c.var.body.cookie && comesFromElsewhere(c, [ISSUER, ...COOKIE_ORIGINS])) throw originNotAllowed()
    await next()
  }),
  { problems: [originNotAllowed] },
)

/** The answer of every way in: tokens, or the user and a cookie. */
export function answerSignedIn(c: Context, tokens: Tokens, { cookie, remember = true }: Keeping) {
  if (!cookie) return c.json(tokens)
  keepSignedIn(c, tokens, remember)
  const { user, needs_better_password, recovery_codes } = tokens
  return c.json({
    user,
    ...(needs_better_password && { needs_better_password }),
    ...(recovery_codes && { recovery_codes }),
  })
}

/** Sets the cookies that take the place of tokens. */
export function keepSignedIn(c: Context, tokens: Tokens, stays: boolean): void {
  if (tokens.device_token) rememberDevice(c, tokens.device_token)
  const { sid, sub, role, epoch, auth_time } = decodeJwt<Claims>(tokens.access_token)
  const session = { sid: sid!, turn: 0, sub: sub!, role: role!, epoch: epoch!, auth_time: auth_time!, stays }
  setSessionCookie(c, (c.var as AppEnv['Variables']).config.keys.session_cookie, session)
}

/** Signs a browser out: the session ends, and the browser forgets what it stored. */
export async function signOut(c: Context, actor: Claims): Promise<void> {
  await logOut(c.var as AppEnv['Variables'], actor)
  clearSessionCookie(c)
  c.header('clear-site-data', '"cache", "storage"')
}
