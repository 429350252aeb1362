import type { Context } from 'hono'
import type { Resources } from '../context.ts'
import { readText } from '../http/body.ts'
import { readFields } from '../http/fields.ts'
import { invalidJson, parseJson } from '../http/json.ts'
import { openLinkToken } from '../links/service.ts'
import { verifyAnyToken } from '../sessions/access-tokens.ts'
import { knownDevice, readSessionCookie } from '../sessions/cookie.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { openRefreshToken } from '../sessions/refresh-tokens.ts'

/**
 * Whose request it is, by a token that nobody can make up: of a session or a service, of a device that has signed in
 * before, or of a mailed link. It is not looked up, so it may be over by now: it is good for counting, and for nothing else.
 *
 * @returns a name for the counter; undefined for a stranger.
 */
export async function findBearer(c: Context): Promise<string | undefined> {
  const { config, now } = c.var as Resources
  const [, token] = /^Bearer ([\w.-]+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  const holder = token && (await holderOf(c, token))
  if (holder) return holder
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  if (cookie) return `session ${cookie.sid}`

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
    .find((one) => one !== undefined)
  if (refreshed) return `session ${refreshed.sessionId}`
  const device = openDeviceToken(config, given('device_token'), now)
  if (device) return `device ${device.deviceId}`
  const link = openLinkToken(config, given('token'))
  if (link) return `link ${link.id}`
  // Apps bring one in a form, or ask about one.
  return holderOf(c, given(fields.access_token === undefined ? 'token' : 'access_token'))
}

/** Whose an access token is: of a session, an app's too, or of a service. */
async function holderOf(c: Context, token: string): Promise<string | undefined> {
  const { config, now } = c.var as Resources
  const claims = await verifyAnyToken(token, config, now).catch(() => undefined)
  return claims && (claims.sid === undefined ? `service ${claims.sub}` : `session ${claims.sid}`)
}

/** Of the body, JSON or a form; what is wrong with it is the route's to say. */
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
