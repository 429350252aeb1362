import type { Context } from 'hono'
import type { Resources } from '../context.ts'
import { readText } from '../http/body.ts'
import { readFields } from '../http/fields.ts'
import { invalidJson, parseJson } from '../http/json.ts'
import { mayBeLive, openLinkToken } from '../links/service.ts'
import { verifyAccessToken } from '../sessions/access-tokens.ts'
import { knownDevice, readSessionCookie } from '../sessions/cookie.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { markIn, markOf, mayBeOpen, openRefreshToken } from '../sessions/refresh-tokens.ts'
import { looksLikeKey, readApiKey } from './key-tokens.ts'

/** A token that a request carries, as names for counters. */
export interface Bearer {
  id: string
  /**
   * Its user, if the token names one. All tokens of one user are counted together, or signing in again would
   * raise their limit.
   */
  of?: string
  /** A service asks on behalf of many users, so it is allowed more reads than a session. */
  isService?: boolean
}

/**
 * Identifies the sender by a token that nobody can forge: of a session, a service, a device that has signed
 * in before, or a mailed link. The token is not looked up, so it may have been revoked, though it has not
 * expired. Use this for counting only.
 *
 * @returns undefined for a stranger.
 */
export async function findBearer(c: Context): Promise<Bearer | undefined> {
  const { config, now } = c.var as Resources
  const [, token] = /^Bearer ([\w.-]+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  const holder = token && (await holderOf(c, token))
  if (holder) return holder
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  if (cookie && mayBeOpen(cookie.sid, now)) return { id: `session ${cookie.sid}`, of: markOf(cookie.sub) }

  const fields: Record<string, unknown> = {
    ...knownDevice(c),
    token: c.req.query('token'),
    ...(await membersOf(c)),
  }
  const given = (name: string) => {
    const value = fields[name]
    return typeof value === 'string' ? value : ''
  }
  const refreshed = ['refresh_token', 'token']
    .map((name) => openRefreshToken(config.keys.refresh_token, given(name)))
    .find((one) => one !== undefined && mayBeOpen(one.sessionId, now))
  if (refreshed) return { id: `session ${refreshed.sessionId}`, of: markIn(refreshed.sessionId) }
  const device = openDeviceToken(config, given('device_token'), now)
  if (device) return { id: `device ${device.deviceId}`, of: markOf(device.userId) }
  const link = openLinkToken(config, given('token'))
  // Mails are limited, so links are too; and few are valid at a time.
  if (link && mayBeLive(link, now)) return { id: `link ${link.id}` }
  // Apps send one in a form, or ask about one.
  return holderOf(c, given(fields.access_token === undefined ? 'token' : 'access_token'))
}

/** The holder of an access token (of a session, an app or a service) or of a key. */
async function holderOf(c: Context, token: string): Promise<Bearer | undefined> {
  const { config, now } = c.var as Resources
  if (looksLikeKey(token)) {
    const key = await (async () => readApiKey(config, token))().catch(() => undefined)
    return key?.isMarked ? { id: `key ${key.id}`, of: markOf(key.userId) } : undefined
  }
  const claims = await verifyAccessToken(token, config, now).catch(() => undefined)
  if (!claims) return undefined
  const { sub, sid } = claims
  return sid === undefined ? { id: `service ${sub}` } : { id: `session ${sid}`, of: markOf(sub) }
}

/** The members of the body, JSON or a form. Reporting what is wrong with it is left to the route. */
async function membersOf(c: Context): Promise<Record<string, unknown>> {
  if (['GET', 'HEAD'].includes(c.req.method)) return {}
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(c.req.header('content-type') ?? '')
  try {
    const text = await readText(c, invalidJson)
    const read: unknown = isForm ? readFields(text) : parseJson(text)
    return typeof read === 'object' ? { ...read } : {}
  } catch {
    return {}
  }
}
