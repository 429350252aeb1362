import { and, eq } from 'drizzle-orm'
import type { Context } from 'hono'
import { owesFactor } from '../access/assurance.ts'
import { scopesWithin } from '../access/permissions.ts'
import { selectSpent, spendOnce } from '../challenges/service.ts'
import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { build } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { sentByUs } from '../identities/attempts.ts'
import { type CookieSession, readSessionCookie } from '../sessions/cookie.ts'
import { lookUpCookie, noteSeen, type SignedIn } from '../sessions/cookie-lookup.ts'
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
import { clientWithPrimaryFallback } from './clients/listing.ts'
import { selectClient } from './clients/service.ts'
import { makeCode } from './codes.ts'
import { clientOf, isAllowedClient } from './documents/document.ts'
import { readClientDocument } from './documents/published.ts'
import { badAuthorizeRequest, oauthError } from './errors.ts'
import { readHint } from './id-tokens.ts'
import { type Client, type Grant, grantedAs, isByDocument, oauthGrants } from './models.ts'
import { ASKED, ASKED_MS, type FirstAsked, openAsked, urlAfter, withoutApart } from './places.ts'
import { invalidRequestUri, isOver, isPushed, openPushed, type Pushed } from './pushed.ts'
import { faultOfUri, isTrustworthy } from './redirects.ts'
import { selectResource, targetOf, toResource } from './resources.ts'
import { scopesIn } from './scopes.ts'

/** Who is asked, and for what. */
export interface Asked {
  request: AuthorizeRequest
  client: Client
  user: SignedIn
  cookie: CookieSession
  /** The app's metadata document, if it is not registered here. */
  document: string | undefined
  /** The scopes that the user can grant to the app. */
  scopes: string[]
  /** When the user authenticated (epoch seconds). */
  authTime: number
  /** The pushed request, if there is one: it gives a code only once. */
  pushed: Pushed | undefined
}

/** The outcome of a request: an answer to the app, a page of ours first, or a question. */
export type Outcome =
  | { kind: 'answer'; to: ReturnTo; params: Record<string, string> }
  | { kind: 'go'; location: string }
  /** `back`: the request, to continue with. */
  | { kind: 'consent' | 'unverified'; asked: Asked; back: string }

/**
 * Decides what becomes of a request, in one trip: app, session and consent are read together. Nothing is
 * written; a code is sealed.
 *
 * @param search the query of the request, as it came.
 * @throws 400 `bad_authorize_request` if it is unknown whom to answer.
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
  const isUnknown = isByDocument(clientId)
  if (isUnknown && !isAllowedClient(config, clientId))
    throw badAuthorizeRequest('There is no such app.', new Refusal('unknown'))
  const read = await db.read({
    ...(!isUnknown && { client: selectClient(clientId) }),
    grant: build.select().from(oauthGrants).where(isOfBoth),
    ...(pushed && { spent: selectSpent(pushed.id) }),
    ...(target !== null && { resource: selectResource(target) }),
  })
  const user = await find?.()
  // For somebody who is not signed in, the document of an unknown app is not fetched.
  if (isUnknown && !user) return signInFirst(resources, search, query, asked)
  const document = isUnknown ? await readClientDocument(resources, user!.id, clientId) : undefined
  const client =
    document === undefined
      ? await clientWithPrimaryFallback(resources, read.client?.[0], clientId)
      : clientOf(clientId, document)
  if (!client) throw badAuthorizeRequest('There is no such app.', new Refusal('unknown'))
  const to = readReturn(query, client)
  try {
    const request = readAuthorizeRequest(config, query, client, to, toResource(read.resource?.[0]))
    if (pushed && (read.spent?.[0] || isOver(pushed, asked?.at ?? now, now))) throw invalidRequestUri()
    const grant = read.grant[0]
    return await decideFor(resources, {
      request,
      client,
      document,
      user,
      cookie,
      grant,
      search,
      asked,
      pushed,
    })
  } catch (error) {
    if (!(error instanceof AuthorizeRefusal)) throw error
    // The app learns of the error by a redirect; the log by its code.
    c.set('problem', oauthError(error.code, error.message))
    return { kind: 'answer', to, params: refusalOf(config.ISSUER, to, error) }
  }
}

/** The redirect URI is not verified to be the app's yet, so it is checked as far as possible. */
async function signInFirst(
  resources: Resources,
  search: string,
  query: URLSearchParams,
  asked: FirstAsked | undefined,
): Promise<Outcome> {
  const { config, now } = resources
  const get = (name: string) => query.get(name) || undefined
  if (faultOfUri(get('redirect_uri') ?? '', { takesSchemes: true }))
    throw badAuthorizeRequest('redirect_uri is not registered for this app.')
  if (scopesIn(get('prompt')).includes('none')) throw badAuthorizeRequest('Nobody is signed in.')
  const hint = get('id_token_hint')
  const sub = hint === undefined ? asked?.sub : (await readHint(config, hint))?.sub
  const language = languageOf({ locales: (get('ui_locales') ?? '').split(' ') })
  const fields = {
    to: urlAfter(resources, search, { at: asked?.at ?? now, sub }),
    ...(language && { lang: language }),
    ...hintOf({ loginHint: get('login_hint') }),
  }
  return { kind: 'go', location: `/signin?${new URLSearchParams(fields)}` }
}

interface Deciding {
  request: AuthorizeRequest
  client: Client
  user: SignedIn | undefined
  cookie: CookieSession | undefined
  document: string | undefined
  grant: Grant | undefined
  search: string
  asked: FirstAsked | undefined
  pushed: Pushed | undefined
}

/** The parameters of a request. If it refers to a pushed request, nothing beside that counts. */
async function readSearch({ config }: Resources, search: string) {
  const query = new URLSearchParams(search)
  for (const name of [ASKED, 'lang']) query.delete(name)
  const requestUri = query.get('request_uri')
  const isShort = withoutApart(search).length <= (isPushed(requestUri) ? MAX_SEALED_LENGTH : MAX_KEPT_LENGTH)
  if (search.length > MAX_QUERY_LENGTH || !isShort) throw badAuthorizeRequest('The request is too long.')
  if (!isPushed(requestUri)) return { query, pushed: undefined }
  const pushed = await openPushed(config, requestUri)
  if (pushed?.clientId !== clientIdIn(query))
    throw badAuthorizeRequest('The app has pushed no such request.', new Refusal('unknown'))
  return { query: new URLSearchParams(pushed.query), pushed }
}

async function decideFor(resources: Resources, deciding: Deciding): Promise<Outcome> {
  const { config, now } = resources
  const { request, client, user, cookie, document } = deciding
  const isSilent = request.prompts.has('none')
  /** If a page of ours has to come first: shows it, or refuses if the request is silent. */
  const unless = (code: AuthorizeError, description: string, outcome: Outcome): Outcome => {
    if (isSilent) throw new AuthorizeRefusal(code, description)
    return outcome
  }
  const { search } = deciding
  const hint = request.idTokenHint === undefined ? undefined : await readHint(config, request.idTokenHint)
  const before = deciding.asked?.sub ?? deciding.pushed?.sub
  const meant = request.idTokenHint === undefined ? before : (hint?.sub ?? 'nobody')
  const first = { at: deciding.asked?.at ?? now, sub: hint?.sub ?? before }
  const back = urlAfter(resources, search, first)
  const language = languageOf(request)
  const signIn = (path: string) => {
    const fields = { to: back, ...(language && { lang: language }), ...hintOf(request) }
    return { kind: 'go', location: `${path}?${new URLSearchParams(fields)}` } as const
  }
  /** An app may name the provider that users sign in with. */
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
  const authTime = provedAt(cookie, user)
  const hasChosen = hasChosenAccount(deciding.asked, user, authTime)
  if (meant !== undefined && meant !== user.id) {
    // The user was sent to sign in and did so as somebody else: sending them again would loop for ever.
    if (hasChosen) throw new AuthorizeRefusal('login_required', 'Somebody else has signed in.')
    return unless('login_required', 'Somebody else is signed in.', signIn('/signin'))
  }
  if (request.prompts.has('select_account') && !hasChosen)
    return unless('login_required', 'An account has to be chosen.', signIn('/signin'))
  if (!isFreshEnough(deciding, authTime, now))
    return unless('login_required', 'A fresh sign-in is asked for.', signIn('/signin/again'))
  noteSeen(resources, cookie, user)
  const allowed = client.allowed_roles === null ? undefined : (JSON.parse(client.allowed_roles) as string[])
  if (allowed && !allowed.includes(user.role))
    throw new AuthorizeRefusal('access_denied', 'This account may not use this app.')
  const amr = JSON.parse(user.amr) as string[]
  if (owesFactor(config.SECOND_FACTOR, user.role, amr))
    return unless('interaction_required', 'A second factor has to be added.', {
      kind: 'go',
      location: `/account/security?${new URLSearchParams({ done: 'owed', to: back })}`,
    })
  if (config.TERMS_VERSION !== undefined && user.terms_version !== config.TERMS_VERSION)
    return unless('interaction_required', 'The terms have to be agreed to.', {
      kind: 'go',
      location: `/terms?${new URLSearchParams({ to: back })}`,
    })
  const scopes = scopesWithin(request.scopes, user.role)
  if (scopes.length === 0)
    throw new AuthorizeRefusal('invalid_scope', 'The user may grant the app none of this.')
  const asked: Asked = { request, client, user, cookie, document, scopes, authTime, pushed: deciding.pushed }
  // With an unproved address, a stranger could become the owner of what an app keeps for the address's real
  // owner.
  if (user.email_verified_at === null)
    return unless('interaction_required', 'The address is not confirmed.', {
      kind: 'unverified',
      asked,
      back,
    })
  if (isQuestionDue(asked, deciding.grant)) {
    const code = isTrustworthy(request.redirectUri) ? 'consent_required' : 'interaction_required'
    return unless(code, 'The user has to be asked.', { kind: 'consent', asked, back })
  }
  return giveCode(resources, asked)
}

/** Answers the app with a code. `isByConsent`: the user was asked, and said yes. */
export async function giveCode(
  resources: Resources,
  { request, client, user, cookie, scopes, authTime, pushed }: Asked,
  { isByConsent = false } = {},
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
    ...(isByConsent && { isByConsent }),
  })
  return { kind: 'answer', to: request, params: { code, ...stateOf(request), iss: config.ISSUER } }
}

/** What the consent page shows: the user agrees to that and no more. */
export const shownOf = ({ scopes, document }: Asked) =>
  [...scopes, ...(document === undefined ? [] : [digestOf(document)])].join(' ')

/** Answers the app after the user said no. */
export const refuse = ({ config }: Resources, to: ReturnTo): Outcome => ({
  kind: 'answer',
  to,
  params: refusalOf(config.ISSUER, to, new AuthorizeRefusal('access_denied', 'The user said no.')),
})

/** The names under which the scopes are granted. */
export const namesOf = ({ request, scopes }: Pick<Asked, 'request' | 'scopes'>) =>
  scopes.map((scope) => grantedAs(scope, request.resource?.url ?? null))

/**
 * RFC 8252 section 8.6: earlier or implied consent counts only at an address that nobody else can receive.
 */
function isQuestionDue({ request, client, scopes, document }: Asked, grant: Grant | undefined): boolean {
  if (request.prompts.has('consent')) return true
  if (!isTrustworthy(request.redirectUri)) return true
  // The app's document has changed since the user gave consent.
  if (document !== undefined && document !== grant?.document) return true
  const granted = JSON.parse(grant?.scopes ?? '[]') as string[]
  return client.first_party !== 1 && !namesOf({ request, scopes }).every((name) => granted.includes(name))
}

/** When the user authenticated (epoch seconds); an older cookie does not know of a later proof. */
const provedAt = (cookie: CookieSession, user: SignedIn) =>
  user.turn === cookie.turn
    ? Math.floor((user.proved_at ?? user.created_at_of_session) / 1000)
    : cookie.auth_time

const hasProvedSince = (asked: FirstAsked | undefined, authTime: number) =>
  asked !== undefined && authTime >= Math.floor(asked.at / 1000)

/**
 * Signing in after the request was first made chooses an account, even by a provider that did not ask anew, and
 * so proves nothing recent.
 */
const hasChosenAccount = (asked: FirstAsked | undefined, user: SignedIn, authTime: number) =>
  hasProvedSince(asked, Math.max(authTime, Math.floor(user.created_at_of_session / 1000)))

/** Authenticating after the request was first made satisfies `prompt=login` and `max_age`. */
function isFreshEnough({ request, asked }: Deciding, authTime: number, now: number): boolean {
  if (hasProvedSince(asked, authTime)) return true
  if (request.prompts.has('login')) return false
  return request.maxAge === undefined || now / 1000 - authTime <= request.maxAge
}

const stateOf = ({ state }: ReturnTo) => (state === undefined ? {} : { state })

/** RFC 9207: an error names its issuer, too. */
const refusalOf = (issuer: string, to: ReturnTo, { code, message }: AuthorizeRefusal) => ({
  error: code,
  error_description: message,
  ...stateOf(to),
  iss: issuer,
})

const hintOf = ({ loginHint }: Pick<AuthorizeRequest, 'loginHint'>) =>
  loginHint !== undefined && loginHint.length <= 320 ? { login_hint: loginHint } : {}

export const languageOf = ({ locales }: Pick<AuthorizeRequest, 'locales'>) =>
  locales.map((locale) => locale.slice(0, 2).toLowerCase()).find((one) => Object.hasOwn(LANGUAGES, one))
