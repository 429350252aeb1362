import type { Context } from 'hono'
import { generateCookie, getCookie, setCookie } from 'hono/cookie'
import type { Resources } from '../context.ts'
import type { Keyring } from '../crypto/keyring.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { ROLES, type Role } from '../users/models.ts'
import { YEAR_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import type { Claims } from './access-tokens.ts'
import { ABSOLUTE_MS, SHORT_MS } from './lifetimes.ts'
import { mayBeOpen } from './refresh-tokens.ts'
import { TURNS_PAST_COPIES } from './turns.ts'

/** `__Host-`: only for this host, only over https (or localhost), for every path. No subdomain can set it. */
export const SESSION_COOKIE = '__Host-roster'

/**
 * A session cookie holds `ck_<sid>.<turn>.<user id>.<role>.<epoch>.<auth time>.<stays>.<mac>`. Role and epoch
 * are hints from when it was made, so a request can be answered in one trip; the look-up in that trip
 * decides. `turn` counts re-authentications, and `auth time` is that of the last, so an older cookie never
 * has a recent login.
 */
export interface CookieSession {
  sid: string
  turn: number
  sub: string
  role: Role
  epoch: number
  /** Epoch seconds. */
  auth_time: number
  /** Whether it outlives the browser; otherwise it expires after twelve hours. */
  stays: boolean
}

const FORM = new RegExp(
  `^ck_([0-9a-f-]{36})\\.(\\d{1,9})\\.([0-9a-f-]{36})\\.(${ROLES.join('|')})\\.(\\d{1,15})\\.(\\d{1,12})\\.([01])$`,
)

const makeSessionCookie = (keys: Keyring, session: CookieSession) => {
  const { sid, turn, sub, role, epoch, auth_time, stays } = session
  return seal(keys, `ck_${sid}.${turn}.${sub}.${role}.${epoch}.${auth_time}.${stays ? 1 : 0}`)
}

export const hasSessionCookie = (c: Context) => getCookie(c, SESSION_COOKIE) !== undefined

/** Reads the session cookie of a request; undefined if it has none of ours. Costs no trip. */
export function readSessionCookie(c: Context, keys: Keyring, now: number): CookieSession | undefined {
  const found = FORM.exec(openSealed(keys, getCookie(c, SESSION_COOKIE) ?? '') ?? '')
  if (!found) return undefined
  const [, sid = '', turn, sub = '', role, epoch, authTime, stays] = found
  if (!mayBeOpen(sid, now) || (stays === '0' && now > timeOfId(sid) + SHORT_MS)) return undefined
  return {
    sid,
    turn: Number(turn),
    sub,
    role: role as Role,
    epoch: Number(epoch),
    auth_time: Number(authTime),
    stays: stays === '1',
  }
}

const ATTRIBUTES = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' } as const

/** The value of a `Set-Cookie` header. */
export const sessionCookie = (keys: Keyring, session: CookieSession) =>
  generateCookie(SESSION_COOKIE, makeSessionCookie(keys, session), {
    ...ATTRIBUTES,
    ...(session.stays && { maxAge: ABSOLUTE_MS / 1000 }),
  })
export const clearedSessionCookie = () => generateCookie(SESSION_COOKIE, '', { ...ATTRIBUTES, maxAge: 0 })

export const setSessionCookie = (c: Context, keys: Keyring, session: CookieSession) =>
  c.header('set-cookie', sessionCookie(keys, session), { append: true })
export const clearSessionCookie = (c: Context) =>
  c.header('set-cookie', clearedSessionCookie(), { append: true })

/**
 * Updates the cookie of a session that goes on: its turn after a re-authentication, its turn and epoch after
 * everything else has ended.
 */
export function moveSessionCookie(
  c: Context,
  to: Partial<Pick<CookieSession, 'turn' | 'auth_time' | 'epoch'>>,
): void {
  const { config, now } = c.var as Resources
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  if (cookie) setSessionCookie(c, config.keys.session_cookie, { ...cookie, ...to })
}

/** Shows that this browser has signed in before, so its tries are counted apart from strangers'. */
const DEVICE_COOKIE = '__Host-roster-device'

export const rememberDevice = (c: Context, deviceToken: string) =>
  setCookie(c, DEVICE_COOKIE, deviceToken, { ...ATTRIBUTES, maxAge: YEAR_MS / 1000 })

export const knownDevice = (c: Context): { device_token?: string } => {
  const token = getCookie(c, DEVICE_COOKIE)
  return token !== undefined && token.length <= 256 ? { device_token: token } : {}
}

/** Call after all other sessions and all copies of this cookie have ended: this session gets a new cookie. */
export function replaceSessionCookie(c: Context, { turn }: Claims, to: { epoch?: number } = {}): void {
  if (turn !== undefined) moveSessionCookie(c, { turn: turn + TURNS_PAST_COPIES, ...to })
}

/** Clears the cookie if the session that has ended was its own. */
export const clearOwnCookie = (c: Context, { turn }: Claims) => {
  if (turn !== undefined) clearSessionCookie(c)
}

/** The claims that a token of the session would have. */
export const toClaims = ({ stays: _, ...session }: CookieSession): Claims => ({
  ...session,
  jti: session.sid,
  iat: session.auth_time,
  exp: session.auth_time,
})
