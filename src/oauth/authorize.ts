import { and, eq } from 'drizzle-orm'
import type { Context } from 'hono'
import { owesFactor } from '../access/assurance.ts'
import { scopesWithin } from '../access/permissions.ts'
import { selectSpent, spendOnce } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { build } from '../database/statements.ts'
import { sentByUs } from '../identities/attempts.ts'
import { type CookieSession, readSessionCookie } from '../sessions/cookie.ts'
import { lookUpCookie, noteSeen, type SignedIn } from '../sessions/cookie-lookup.ts'
import { HOUR_MS } from '../values/durations.ts'
import { LANGUAGES } from '../values/languages.ts'
import {
  type AuthorizeError,
  AuthorizeRefusal,
  type AuthorizeRequest,
  clientIdIn,
  MAX_KEPT_LENGTH,
  MAX_QUERY_LENGTH,
  MAX_SEALED_LENGTH,
  type ReturnTo,
  readAuthorizeRequest,
  readReturn,
} from './authorize-request.ts'
import { selectClient } from './clients/service.ts'
import { makeCode } from './codes.ts'
import { badAuthorizeRequest } from './errors.ts'
import { readHint } from './id-tokens.ts'
import { type Client, grantedAs, oauthGrants } from './models.ts'
import { invalidRequestUri, isOver, isPushed, openPushed, type Pushed } from './pushed.ts'
import { isTrustworthy } from './redirects.ts'
import { selectResource, targetOf, toResource } from './resources.ts'

/** Who is asked, and for what. */
export interface Asked {
  request: AuthorizeRequest
  client: Client
  user: SignedIn
  cookie: CookieSession
  /** Those that they can let the app have. */
  scopes: string[]
  /** When they proved who they are (epoch seconds). */
  authTime: number
  /** Where the app has pushed it: a code is given for it once. */
  pushed: Pushed | undefined
}

/** What becomes of a request: an answer to the app, a page of ours first, or a question. */
export type Outcome =
  | { kind: 'answer'; to: ReturnTo; params: Record<string, string> }
  | { kind: 'go'; location: string }
  /** `back`: the request, to go on with. */
  | { kind: 'consent' | 'unverified'; asked: Asked; back: string }

/**
 * Decides what becomes of a request, in one trip: the app, the session, and what was let are read together. Nothing is
 * written; a code is sealed.
 *
 * @param search the query of the request, as it came.
 * @throws 400 `bad_authorize_request` where it is not known whom to answer.
 */
export async function decide(c: Context, search: string): Promise<Outcome> {
  const resources = c.var as Resources
  const { config, now, db } = resources
  const { query, pushed } = await readSearch(resources, search)
  const sealed = openAsked(resources, search)
  const asked = sealed && sealed.at + ASKED_MS < now ? { ...sealed, at: now } : sealed
  const clientId = clientIdIn(query)
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  const find = cookie && lookUpCookie(resources, cookie)
  const isOfBoth = and(eq(oauthGrants.user_id, cookie?.sub ?? ''), eq(oauthGrants.client_id, clientId))
  const target = targetOf(config, query.get('resource'))
  const read = await db.read({
    client: selectClient(clientId),
    grant: build.select().from(oauthGrants).where(isOfBoth),
    ...(pushed && { spent: selectSpent(pushed.id) }),
    ...(target !== null && { resource: selectResource(target) }),
  })
  const [client] = read.client
  if (!client) throw badAuthorizeRequest('There is no such app.')
  const to = readReturn(query, client)
  try {
    const request = readAuthorizeRequest(config, query, client, to, toResource(read.resource?.[0]))
    if (pushed && (read.spent?.[0] || isOver(pushed, asked?.at ?? now, now))) throw invalidRequestUri()
    const user = await find?.()
    const granted = JSON.parse(read.grant[0]?.scopes ?? '[]') as string[]
    return await decideFor(resources, { request, client, user, cookie, granted, search, asked, pushed })
  } catch (error) {
    if (!(error instanceof AuthorizeRefusal)) throw error
    return { kind: 'answer', to, params: refusalOf(config.ISSUER, to, error) }
  }
}

interface Deciding {
  request: AuthorizeRequest
  client: Client
  user: SignedIn | undefined
  cookie: CookieSession | undefined
  granted: string[]
  search: string
  asked: FirstAsked | undefined
  pushed: Pushed | undefined
}

/** What a request says, which may stand in one that its client has pushed; then nothing else beside it counts. */
async function readSearch({ config }: Resources, search: string) {
  const query = new URLSearchParams(search)
  for (const name of [ASKED, 'lang']) query.delete(name)
  const requestUri = query.get('request_uri')
  const isShort = withoutApart(search).length <= (isPushed(requestUri) ? MAX_SEALED_LENGTH : MAX_KEPT_LENGTH)
  if (search.length > MAX_QUERY_LENGTH || !isShort) throw badAuthorizeRequest('The request is too long.')
  if (!isPushed(requestUri)) return { query, pushed: undefined }
  const pushed = await openPushed(config, requestUri)
  if (pushed?.clientId !== clientIdIn(query)) throw badAuthorizeRequest('The app has pushed no such request.')
  return { query: new URLSearchParams(pushed.query), pushed }
}

async function decideFor(resources: Resources, deciding: Deciding): Promise<Outcome> {
  const { config, now } = resources
  const { request, client, user, cookie, granted } = deciding
  const isSilent = request.prompts.has('none')
  /** Where a page of ours comes first, or may not. */
  const unless = (code: AuthorizeError, description: string, outcome: Outcome): Outcome => {
    if (isSilent) throw new AuthorizeRefusal(code, description)
    return outcome
  }
  const { search } = deciding
  const hint = request.idTokenHint === undefined ? undefined : await readHint(config, request.idTokenHint)
  const before = deciding.asked?.sub ?? deciding.pushed?.sub
  const meant = request.idTokenHint === undefined ? before : (hint?.sub ?? 'nobody')
  const first = { at: deciding.asked?.at ?? now, sub: hint?.sub ?? before }
  const back = placeAfter(resources, search, first)
  const language = languageOf(request)
  const signIn = (path: string) => {
    const fields = { to: back, ...(language && { lang: language }), ...hintOf(request) }
    return { kind: 'go', location: `${path}?${new URLSearchParams(fields)}` } as const
  }
  /** An app may say with whom they sign in. */
  const signInOrOn = () => {
    const provider = config.IDENTITY_PROVIDERS.find(({ id }) => id === request.idp)
    if (!provider) return signIn('/signin')
    const fields = {
      to: back,
      sent: sentByUs(resources, provider.id, back),
      ...(language && { lang: language }),
    }
    return { kind: 'go', location: `/signin/with/${provider.id}?${new URLSearchParams(fields)}` } as const
  }
  if (!user || !cookie) return unless('login_required', 'Nobody is signed in.', signInOrOn())
  if (meant !== undefined && meant !== user.id)
    return unless('login_required', 'Somebody else is signed in.', signIn('/signin'))
  const authTime = provedAt(cookie, user)
  if (!isFreshEnough(deciding, authTime, now)) {
    const path = request.prompts.has('select_account') ? '/signin' : '/signin/again'
    return unless('login_required', 'A fresh sign-in is asked for.', signIn(path))
  }
  noteSeen(resources, cookie, user)
  const allowed = client.allowed_roles === null ? undefined : (JSON.parse(client.allowed_roles) as string[])
  if (allowed && !allowed.includes(user.role))
    throw new AuthorizeRefusal('access_denied', 'This account may not use this app.')
  const amr = JSON.parse(user.amr) as string[]
  if (owesFactor(config.SECOND_FACTOR, user.role, amr))
    return unless('interaction_required', 'A second factor has to be added.', {
      kind: 'go',
      location: '/account/security?done=owed',
    })
  if (config.TERMS_VERSION !== undefined && user.terms_version !== config.TERMS_VERSION)
    return unless('interaction_required', 'The terms have to be agreed to.', {
      kind: 'go',
      location: `/terms?${new URLSearchParams({ to: back })}`,
    })
  const scopes = scopesWithin(request.scopes, user.role)
  if (scopes.length === 0)
    throw new AuthorizeRefusal('invalid_scope', 'They can let the app do none of this.')
  const asked: Asked = { request, client, user, cookie, scopes, authTime, pushed: deciding.pushed }
  // A stranger's address would make a stranger the owner of what an app keeps for its real one.
  if (user.email_verified_at === null)
    return unless('interaction_required', 'The address is not confirmed.', {
      kind: 'unverified',
      asked,
      back,
    })
  if (isQuestionDue(asked, granted)) {
    const code = isTrustworthy(request.redirectUri) ? 'consent_required' : 'interaction_required'
    return unless(code, 'They have to be asked.', { kind: 'consent', asked, back })
  }
  return giveCode(resources, asked)
}

/** The answer to the app: a code. */
export async function giveCode(
  resources: Resources,
  { request, client, user, cookie, scopes, authTime, pushed }: Asked,
): Promise<Outcome> {
  const { config } = resources
  if (pushed && !(await spendOnce(resources, pushed.id)))
    return { kind: 'answer', to: request, params: refusalOf(config.ISSUER, request, invalidRequestUri()) }
  const code = await makeCode(config, {
    clientId: client.id,
    userId: user.id,
    parentId: cookie.sid,
    epoch: user.token_epoch,
    redirect: digestOf(request.redirectUri),
    challenge: request.challenge,
    nonce: request.nonce,
    scope: scopes.join(' '),
    resource: request.resource?.url ?? null,
    authTime,
    amr: JSON.parse(user.amr) as string[],
  })
  return { kind: 'answer', to: request, params: { code, ...stateOf(request), iss: config.ISSUER } }
}

/** The answer to the app where they said no. */
export const refuse = ({ config }: Resources, to: ReturnTo): Outcome => ({
  kind: 'answer',
  to,
  params: refusalOf(config.ISSUER, to, new AuthorizeRefusal('access_denied', 'They said no.')),
})

/** As what their scopes are let. */
export const namesOf = ({ request, scopes }: Pick<Asked, 'request' | 'scopes'>) =>
  scopes.map((scope) => grantedAs(scope, request.resource?.url ?? null))

/** RFC 8252 section 8.6: what was let before, or need not be asked, counts only where nobody else can stand. */
function isQuestionDue({ request, client, scopes }: Asked, granted: string[]): boolean {
  if (request.prompts.has('consent')) return true
  if (!isTrustworthy(request.redirectUri)) return true
  return client.first_party !== 1 && !namesOf({ request, scopes }).every((name) => granted.includes(name))
}

/** When they proved who they are (epoch seconds); a cookie of the turn before knows of no later proof. */
const provedAt = (cookie: CookieSession, user: SignedIn) =>
  user.turn === cookie.turn
    ? Math.floor((user.proved_at ?? user.created_at_of_session) / 1000)
    : cookie.auth_time

/** A proof after the request was first made is what `prompt=login` and `max_age` ask for. */
function isFreshEnough({ request, asked }: Deciding, authTime: number, now: number): boolean {
  if (asked !== undefined && authTime >= Math.floor(asked.at / 1000)) return true
  if (request.prompts.has('login') || request.prompts.has('select_account')) return false
  return request.maxAge === undefined || now / 1000 - authTime <= request.maxAge
}

const stateOf = ({ state }: ReturnTo) => (state === undefined ? {} : { state })

/** RFC 9207: an error says whose it is, too. */
const refusalOf = (issuer: string, to: ReturnTo, { code, message }: AuthorizeRefusal) => ({
  error: code,
  error_description: message,
  ...stateOf(to),
  iss: issuer,
})

const hintOf = ({ loginHint }: AuthorizeRequest) =>
  loginHint !== undefined && loginHint.length <= 320 ? { login_hint: loginHint } : {}

export const languageOf = ({ locales }: Pick<AuthorizeRequest, 'locales'>) =>
  locales.map((locale) => locale.slice(0, 2).toLowerCase()).find((one) => Object.hasOwn(LANGUAGES, one))

const ASKED = 'asked'
/** What the request is without: ours, and what is long and looked at once. */
const APART = [ASKED, 'lang', 'id_token_hint']

/** A place that lies about in a history would make any later proof a fresh one: after that it is asked anew. */
const ASKED_MS = HOUR_MS

/** When a request was first made (epoch ms), and whom it is about, where it says so. */
interface FirstAsked {
  at: number
  sub: string | undefined
}

/** Where to go on after a page of ours: the same request, with when it was first made, sealed to it. */
function placeAfter({ config }: Resources, search: string, { at, sub }: FirstAsked): string {
  const query = withoutApart(search)
  // By its digest, as a seal holds no more.
  const asked = seal(config.keys.oauth_asked, `asked.${digestOf(query)}.${at}.${sub ?? ''}`)
  return `/oauth/authorize?${query}&${ASKED}=${asked}`
}

const withoutApart = (search: string) =>
  search
    .replace(/^\?/, '')
    .split('&')
    .filter((field) => field !== '' && !APART.includes(nameIn(field)))
    .join('&')

/** As it is read later: however it is escaped. */
const nameIn = (field: string) => [...new URLSearchParams(field).keys()][0]!

/** When a request was first made, where one of our pages sent it. */
function openAsked({ config }: Pick<Resources, 'config'>, search: string): FirstAsked | undefined {
  const given = new URLSearchParams(search).get(ASKED) ?? ''
  const [, whose, at, sub] =
    /^asked\.([\w-]{43})\.(\d{1,15})\.([0-9a-f-]{36})?$/.exec(
      openSealed(config.keys.oauth_asked, given) ?? '',
    ) ?? []
  return whose === digestOf(withoutApart(search)) ? { at: Number(at), sub } : undefined
}

/** Where a place of ours leads on to: the app's address, as it was looked at before the place was sealed. */
export async function redirectAfter(
  resources: Pick<Resources, 'config'>,
  to: string | undefined,
): Promise<string | undefined> {
  const [, search] = /^\/(?:oauth\/authorize|consent)\?(.*)$/.exec(to ?? '') ?? []
  if (search === undefined || !openAsked(resources, search)) return undefined
  const query = new URLSearchParams(search)
  const requestUri = query.get('request_uri')
  const pushed = isPushed(requestUri) ? await openPushed(resources.config, requestUri) : undefined
  return (pushed ? new URLSearchParams(pushed.query) : query).get('redirect_uri') ?? undefined
}
