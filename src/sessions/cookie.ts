import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Keyring } from '../crypto/keyring.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { ROLES, type Role } from '../users/models.ts'
import type { Claims } from './access-tokens.ts'

/** `__Host-`: for this host alone, by https alone (or localhost), for every path. No subdomain can set it. */
const SESSION_COOKIE = '__Host-roster'

/**
 * What the cookie of a session says: `ck_<sid>.<turn>.<user id>.<role>.<epoch>.<auth time>.<mac>`. Role and epoch are
 * those of when it was made, so that a request's one trip can be asked right; the look-up in that trip decides. `turn`
 * counts re-authentications, and the time of the last is in it, so an older cookie is never a recent login.
 */
export interface CookieSession {
  sid: string
  turn: number
  sub: string
  role: Role
  epoch: number
  /** Epoch seconds. */
  auth_time: number
}

const FORM = new RegExp(
  `^ck_([0-9a-f-]{36})\\.(\\d{1,9})\\.([0-9a-f-]{36})\\.(${ROLES.join('|')})\\.(\\d{1,15})\\.(\\d{1,12})$`,
)

export const makeSessionCookie = (keys: Keyring, { sid, turn, sub, role, epoch, auth_time }: CookieSession) =>
  seal(keys, `ck_${sid}.${turn}.${sub}.${role}.${epoch}.${auth_time}`)

/** Reads the cookie of a request; undefined when there is none of ours, which costs no trip to find out. */
export function readSessionCookie(c: Context, keys: Keyring): CookieSession | undefined {
  const [, sid, turn, sub, role, epoch, authTime] =
    FORM.exec(openSealed(keys, getCookie(c, SESSION_COOKIE) ?? '') ?? '') ?? []
  if (!sid || !sub) return undefined
  return {
    sid,
    turn: Number(turn),
    sub,
    role: role as Role,
    epoch: Number(epoch),
    auth_time: Number(authTime),
  }
}

/** @param maxAgeSeconds how long the browser keeps it; undefined: until it is closed. */
export function setSessionCookie(
  c: Context,
  keys: Keyring,
  session: CookieSession,
  maxAgeSeconds?: number,
): void {
  setCookie(c, SESSION_COOKIE, makeSessionCookie(keys, session), {
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'Lax',
    ...(maxAgeSeconds !== undefined && { maxAge: maxAgeSeconds }),
  })
}

export const clearSessionCookie = (c: Context) => deleteCookie(c, SESSION_COOKIE, { path: '/', secure: true })

/** The claims that a token of the session would have: what services ask of whoever acts. */
export const toClaims = ({ turn: _, ...session }: CookieSession): Claims => ({
  ...session,
  jti: session.sid,
  iat: session.auth_time,
  exp: session.auth_time,
})
