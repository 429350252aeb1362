import type { Context } from 'hono'
import type { Resources } from '../context.ts'
import { AppError, Refusal } from '../http/problem.ts'
import { type Claims, type ClientClaims, isOfClient, verifyAnyToken } from '../sessions/access-tokens.ts'
import { bringsSessionCookie, type CookieSession, readSessionCookie, toClaims } from '../sessions/cookie.ts'
import { invalidToken, unauthenticated } from '../sessions/errors.ts'
import { insufficientScope } from './errors.ts'
import { type GivenKey, looksLikeKey, readApiKey } from './key-tokens.ts'
import { comesFrom, originNotAllowed } from './origin.ts'

/** Who asks, according to what they bring. It is looked up in the request's own trip. */
export interface Credentials {
  claims: Claims
  /** Where they came by one. */
  cookie?: CookieSession
}

/** What an app or a service brings. What it may do is looked up before anything is done. */
export interface ClientCredentials {
  client: ClientClaims
}

/** A key. What it may do is looked up with what it asks for. */
export interface KeyCredentials {
  key: GivenKey
}

/** A bearer token, or the cookie of a session. With both the token alone counts. */
export const bringsCredentials = (c: Context) =>
  c.req.header('authorization') !== undefined || bringsSessionCookie(c)

/** The same, where an app, a service or a key may come: for what a permission is needed for. */
export async function readAnyCredentials(
  c: Context,
): Promise<Credentials | ClientCredentials | KeyCredentials> {
  if (c.req.header('authorization') === undefined) return readCredentials(c)
  const { config, now } = c.var as Resources
  const token = bearerToken(c)
  if (looksLikeKey(token)) return { key: readApiKey(config, token) }
  const claims = await verifyAnyToken(token, config, now)
  return isOfClient(claims) ? { client: claims } : { claims }
}

/** An app may do what its scopes say, and a key what its permissions say. Acting as a user is not among them. */
async function verifyOwnToken(c: Context, options: { mayBeExpired?: boolean }): Promise<Claims> {
  const { config, now } = c.var as Resources
  const token = bearerToken(c)
  if (looksLikeKey(token) && readApiKey(config, token)) throw insufficientScope()
  const claims = await verifyAnyToken(token, config, now, options)
  if (isOfClient(claims)) throw insufficientScope()
  return claims
}

/**
 * Reads what is brought.
 *
 * @throws 401 `unauthenticated`, `invalid_token`; 403 `insufficient_scope` for an app; `origin_not_allowed` where a cookie changes something for a page
 *   that may not.
 */
export async function readCredentials(
  c: Context,
  options: { mayBeExpired?: boolean } = {},
): Promise<Credentials> {
  const { config, now } = c.var as Resources
  if (c.req.header('authorization') !== undefined || !bringsSessionCookie(c))
    return { claims: await verifyOwnToken(c, options) }
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  if (!cookie) throw invalidToken(new Refusal('form'))
  if (!isRead(c)) assertMayWrite(c)
  return { claims: toClaims(cookie), cookie }
}

export const isRead = (c: Context) => ['GET', 'HEAD'].includes(c.req.method)

/** A browser sends a cookie along with what any page asks for. So it has to say whose, and what a form cannot. */
function assertMayWrite(c: Context): void {
  const { ISSUER, COOKIE_ORIGINS } = (c.var as Resources).config
  if (!comesFrom(c, [ISSUER, ...COOKIE_ORIGINS])) throw originNotAllowed()
  const type = c.req.header('content-type')
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) throw jsonOnly()
}

const jsonOnly = () =>
  new AppError(415, 'unsupported_media_type', 'With a cookie, a body is JSON and nothing else.', {
    headers: { accept: 'application/json', 'accept-encoding': 'identity' },
  })

/** RFC 6750 section 2.1, and no other way to bring a token. Throws 401 `unauthenticated`, `invalid_token`. */
export function bearerToken(c: Context): string {
  const header = c.req.header('authorization')
  if (header === undefined) throw unauthenticated()
  const [, token] = /^Bearer ([\w.-]+)$/i.exec(header) ?? []
  if (!token) throw invalidToken(new Refusal('form'))
  return token
}
