import type { Context } from 'hono'
import type { Resources } from '../../context.ts'
import { decryptJson, encryptJson } from '../../crypto/encryption.ts'
import { Refusal } from '../../http/problem.ts'
import { type CookieSession, readSessionCookie } from '../../sessions/cookie.ts'
import { lookUpCookie, type SignedIn } from '../../sessions/cookie-lookup.ts'
import { MINUTE_MS } from '../../values/durations.ts'
import { selectClient } from '../clients/service.ts'
import { badLogoutRequest } from '../errors.ts'
import { readHint, sidOf } from '../id-tokens.ts'
import { withParams } from '../redirects.ts'

/** OpenID Connect RP-Initiated Logout 1.0. */

const MAX_STATE_LENGTH = 2000
/** How long sealed values are valid: long enough to get from one page to the next. */
const SEALED_MS = 10 * MINUTE_MS
const SEALED = 'request'

/** What an app asks for, once its hint is verified. */
interface Wish {
  clientId?: string | undefined
  /** The user that the hint names, and the session, by the id that apps know it by. */
  sub?: string | undefined
  sid?: string | undefined
  redirectUri?: string | undefined
  state?: string | undefined
  locales?: string | undefined
}

/** The outcome. `to`: where the browser goes next; undefined for a page of ours. */
export type LogoutOutcome =
  | { kind: 'nobody'; to: string | undefined }
  | { kind: 'end'; to: string | undefined; cookie: CookieSession }
  | { kind: 'ask'; to: string | undefined; cookie: CookieSession; question: LogoutQuestion }

export interface LogoutQuestion {
  user: SignedIn
  /** The app's name, if an app asked. */
  app: string | undefined
  locales: string[]
}

type Fields = Record<string, string>

/** Reads a request, and verifies the signature, issuer and audience of its hint. The hint may have expired. */
async function readWish({ config }: Pick<Resources, 'config'>, fields: Fields): Promise<Wish> {
  const get = (name: string) => fields[name] || undefined
  const given = get('id_token_hint')
  const hint = given === undefined ? undefined : await readHint(config, given)
  if (given !== undefined && !hint) throw badLogoutRequest('id_token_hint is not an ID token from here.')
  const clientId = get('client_id')
  if (hint && clientId !== undefined && clientId !== hint.aud)
    throw badLogoutRequest('id_token_hint was given to another app.')
  const state = get('state')
  if (state !== undefined && state.length > MAX_STATE_LENGTH) throw badLogoutRequest('state is too long.')
  return {
    clientId: clientId ?? (hint?.aud as string | undefined),
    sub: hint?.sub,
    sid: hint?.sid as string | undefined,
    redirectUri: get('post_logout_redirect_uri'),
    state,
    locales: get('ui_locales')?.slice(0, 64),
  }
}

/**
 * Where a POST request continues as a GET, which has the cookie. Its values are sealed, and the hint is left out.
 *
 * @throws 400 `bad_logout_request`.
 */
export async function logoutUrl(resources: Resources, fields: Fields): Promise<string> {
  const wish = await readWish(resources, fields)
  return withParams('/oauth/logout', { [SEALED]: await sealed(resources, 'wish', wish) })
}

/**
 * Decides what happens to a request, in one trip. If the hint is of the browser's session, that ends at once. Anybody
 * else is asked first, as any page can send a browser here.
 *
 * @throws 400 `bad_logout_request`, for a forged hint too.
 */
export async function decideLogout(c: Context, fields: Fields): Promise<LogoutOutcome> {
  const resources = c.var as Resources
  const { config, db, now } = resources
  const given = fields[SEALED]
  const wish =
    given === undefined ? await readWish(resources, fields) : await opened<Wish>(resources, 'wish', given)
  if (!wish) throw badLogoutRequest('The request is too old. Go back to the app.', new Refusal('expired'))
  const { clientId, redirectUri, state } = wish
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  const find = cookie && lookUpCookie(resources, cookie)
  const [client] = (await db.read({ client: selectClient(clientId ?? '') })).client
  if (clientId !== undefined && wish.sub === undefined && !client)
    throw badLogoutRequest('There is no such app.', new Refusal('unknown'))
  const registered = JSON.parse(client?.post_logout_redirect_uris ?? '[]') as string[]
  if (redirectUri !== undefined && !registered.includes(redirectUri))
    throw badLogoutRequest('post_logout_redirect_uri is not registered for this app.')
  const to = redirectUri && (state === undefined ? redirectUri : withParams(redirectUri, { state }))
  const user = await find?.()
  if (!user || !cookie) return { kind: 'nobody', to }
  const isNamed = wish.sub === user.id && wish.sid === sidOf(cookie.sid, clientId ?? '')
  // A HEAD request ends nothing.
  if (isNamed && c.req.method === 'GET') return { kind: 'end', to, cookie }
  const question = { user, app: client?.name, locales: (wish.locales ?? '').split(' ') }
  return { kind: 'ask', to, cookie, question }
}

/** For the form of the question: where the browser goes next. It was verified to be registered. */
export const sealPlace = (resources: Resources, to: string) => sealed(resources, 'place', { to })

/** Where the browser goes after the question; undefined for a page of ours. */
export const openPlace = async (resources: Resources, given: string): Promise<string | undefined> =>
  (await opened<{ to: string }>(resources, 'place', given))?.to

const sealed = ({ config, now }: Resources, about: 'wish' | 'place', values: object): Promise<string> =>
  encryptJson(config.keys.oauth_logout, { ...values, until: now + SEALED_MS }, about)

async function opened<T extends object>(
  { config, now }: Resources,
  about: 'wish' | 'place',
  given: string,
): Promise<T | undefined> {
  const values = await decryptJson<T & { until: number }>(config.keys.oauth_logout, given, about)
  return values && now < values.until ? values : undefined
}
