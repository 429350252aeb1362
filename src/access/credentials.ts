import type { Context } from 'hono'
import type { Resources } from '../context.ts'
import { AppError, Refusal } from '../http/problem.ts'
import { type Claims, type ClientClaims, isOfClient, verifyAccessToken } from '../sessions/access-tokens.ts'
import { type CookieSession, hasSessionCookie, readSessionCookie, toClaims } from '../sessions/cookie.ts'
import { invalidToken, unauthenticated } from '../sessions/errors.ts'
import { insufficientScope } from './errors.ts'
import { type GivenKey, looksLikeKey, readApiKey } from './key-tokens.ts'
import { comesFrom, originNotAllowed } from './origin.ts'

/** Who asks, according to their credentials. They are looked up in the request's own trip. */
export interface Credentials {
  claims: Claims
  /** Where the credentials came as a cookie. */
  cookie?: CookieSession
}

/** An app or a service. What it may do is looked up before anything is done. */
export interface ClientCredentials {
  client: ClientClaims
}

/** A key. It is looked up together with the request's own query. */
export interface KeyCredentials {
  key: GivenKey
}

/** Whether there is a bearer token or a session cookie. If both are sent, only the token counts. */
export const hasCredentials = (c: Context) =>
  c.req.header('authorization') !== undefined || hasSessionCookie(c)

/** The same, for routes with a permission, where an app, a service or a key may come too. */
export async function readAnyCredentials(
  c: Context,
): Promise<Credentials | ClientCredentials | KeyCredentials> {
  if (c.req.header('authorization') === undefined) return readCredentials(c)
  const { config, now } = c.var as Resources
  const token = bearerToken(c)
  if (looksLikeKey(token)) return { key: readApiKey(config, token) }
  const claims = await verifyAccessToken(token, config, now)
  return isOfClient(claims) ? { client: claims } : { claims }
}

/**
 * The scopes of an app and the permissions of a key say what they may do. Acting as a user is not among them.
 */
async function verifyOwnToken(c: Context, options: { mayBeExpired?: boolean }): Promise<Claims> {
  const { config, now } = c.var as Resources
  const token = bearerToken(c)
  if (looksLikeKey(token) && readApiKey(config, token)) throw insufficientScope()
  const claims = await verifyAccessToken(token, config, now, options)
  if (isOfClient(claims)) throw insufficientScope()
  return claims
}

/**
 * Reads the credentials of a request.
 *
 * @throws 401 `unauthenticated`, `invalid_token`; 403 `insufficient_scope` for an app; `origin_not_allowed`
 *   where a page of an origin that is not allowed changes something by cookie.
 */
export async function readCredentials(
  c: Context,
  options: { mayBeExpired?: boolean } = {},
): Promise<Credentials> {
  const { config, now } = c.var as Resources
  if (c.req.header('authorization') !== undefined || !hasSessionCookie(c))
    return { claims: await verifyOwnToken(c, options) }
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  if (!cookie) throw invalidToken(new Refusal('form'))
  if (!isRead(c)) assertMayComeByCookie(c)
  return { claims: toClaims(cookie), cookie }
}

export const isRead = (c: Context) => ['GET', 'HEAD'].includes(c.req.method)

/**
 * A browser attaches the cookie to requests of any page. So a write must come from an allowed origin, and a
 * body must be of a type that no form can send.
 */
function assertMayComeByCookie(c: Context): void {
  const { ISSUER, COOKIE_ORIGINS } = (c.var as Resources).config
  if (!comesFrom(c, [ISSUER, ...COOKIE_ORIGINS])) throw originNotAllowed()
  const type = c.req.header('content-type')
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) throw jsonOnly()
}

const jsonOnly = () =>
  new AppError(415, 'unsupported_media_type', 'With a cookie, the body has to be JSON.', {
    headers: { accept: 'application/json', 'accept-encoding': 'identity' },
  })

/** RFC 6750 section 2.1, and no other way to send a token. Throws 401 `unauthenticated`, `invalid_token`. */
export function bearerToken(c: Context): string {
  const header = c.req.header('authorization')
  if (header === undefined) throw unauthenticated()
  const [, token] = /^Bearer ([\w.-]+)$/i.exec(header) ?? []
  if (!token) throw invalidToken(new Refusal('form'))
  return token
}
