import type { Context } from 'hono'
import { cors } from 'hono/cors'
import { createMiddleware } from 'hono/factory'
import { limitByNetwork } from './access/guards.ts'
import { idOfRetriedRequest, retryWithCurrentHint, StaleHint } from './access/stale-hint.ts'
import { accountAppRoutes } from './account/apps-routes.tsx'
import { accountFactorRoutes } from './account/factors-routes.tsx'
import { accountIdentityRoutes } from './account/identities-routes.tsx'
import { accountKeyRoutes } from './account/keys-routes.tsx'
import { accountRoutes } from './account/routes.tsx'
import { activityRoutes } from './activity/routes.ts'
import { apiKeyRoutes } from './api-keys/routes.ts'
import { emailCodeRoutes } from './auth/methods/email-code-routes.ts'
import { reauthenticationRoutes } from './auth/reauthentication/routes.ts'
import { authRoutes } from './auth/routes.ts'
import { bulkRoutes } from './bulk/routes.ts'
import { ConfigError, configOf } from './config/main.ts'
import { devicePages } from './consent/device-routes.tsx'
import { consentRoutes } from './consent/routes.tsx'
import { consoleRoutes } from './console/routes.tsx'
import { type AppEnv, openForRequest } from './context.ts'
import { openMeter } from './database/meter.ts'
import { openapiRoutes } from './docs/openapi.ts'
import { problemRoutes } from './docs/problems.ts'
import { docsRoutes } from './docs/routes.ts'
import { factorRoutes, userFactorRoutes } from './factors/routes.ts'
import { EVERY_ANSWER } from './http/headers.ts'
import { Hono } from './http/hono.ts'
import { logRequest, measureRequest } from './http/log.ts'
import { methodNotAllowed, notFound, toProblem, unavailable } from './http/problem.ts'
import { identityRoutes } from './identities/routes.ts'
import { invitationRoutes } from './invitations/routes.ts'
import { outboxRoutes } from './mail/routes.ts'
import { clientRoutes } from './oauth/clients/routes.ts'
import { grantRoutes } from './oauth/consents/routes.ts'
import { endpointRoutes } from './oauth/endpoint-routes.ts'
import { brandRoutes } from './pages/brand/brand-routes.ts'
import { failingPage } from './pages/failing.tsx'
import { passkeyRoutes, relyingPartyRoutes } from './passkeys/routes.ts'
import { beginRequest } from './passwords/in-flight.ts'
import { mailRoutes } from './recovery/routes.ts'
import { againPages } from './signin/again-routes.tsx'
import { factorPages } from './signin/factor-routes.tsx'
import { linkPages } from './signin/links-routes.tsx'
import { codePages } from './signin/methods/code-routes.tsx'
import { providerAfterPages } from './signin/methods/provider-after-routes.tsx'
import { providerPages } from './signin/methods/provider-routes.tsx'
import { signinRoutes } from './signin/routes.tsx'
import { signupRoutes } from './signin/signup-routes.tsx'
import { termsRoutes } from './signin/terms-routes.tsx'
import { signupBlockRoutes } from './signup-blocks/routes.ts'
import { healthRoutes, systemRoutes } from './system/routes.ts'
import { meRoutes } from './users/routes/me-routes.ts'
import { userRecordsRoutes } from './users/routes/records-routes.ts'
import { userSendingRoutes } from './users/routes/sending-routes.ts'
import { userStateRoutes } from './users/routes/state-routes.ts'
import { userRoutes } from './users/routes/users-routes.ts'
import { webhookRoutes } from './webhooks/routes.ts'

/** Headers of every answer, errors included. */
const everyAnswer = createMiddleware<AppEnv>(async (c, next) => {
  const given = c.req.header('x-request-id')
  c.set('requestId', idOfRetriedRequest(c) ?? crypto.randomUUID())
  c.set('givenRequestId', given && /^[\w-]{8,64}$/.test(given) ? given : undefined)
  const startedAt = Date.now()
  const meter = openMeter()
  c.set('meter', meter)
  const leave = beginRequest()
  await next().finally(leave)
  if (c.get('isRepeated')) return
  // Not by c.header, which copies the whole answer on each call.
  const { headers } = c.res
  for (const [name, { value }] of Object.entries(EVERY_ANSWER)) {
    if (!headers.has(name)) headers.set(name, value)
  }
  headers.set('x-request-id', c.get('givenRequestId') ?? c.get('requestId'))
  if (mayBeTimed(c)) headers.set('server-timing', meter.toServerTiming())
  logRequest(c, c.get('config')?.LOG ?? 'all', { startedAt, ...meter.spent })
  measureRequest(c, { startedAt, trips: meter.spent.trips, calls: meter.calls })
})

/**
 * Upstream timings could tell a stranger what a request did, so only the signed in see them, unless
 * DEBUG_TIMING is on.
 */
const mayBeTimed = (c: Context<AppEnv>) =>
  c.get('config')?.DEBUG_TIMING === 'on' || (c.get('isSignedIn') === true && c.res.status !== 401)

const withResources = createMiddleware<AppEnv>(async (c, next) => {
  try {
    openForRequest(c)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw unavailable('misconfigured', error.message, error, 60)
  }
  await next()
})

const CORS = {
  allowMethods: ['GET', 'POST', 'PATCH', 'DELETE'],
  allowHeaders: [
    'authorization',
    'cache-control',
    'content-type',
    'idempotency-key',
    'if-match',
    'if-none-match',
    'x-request-id',
  ],
  exposeHeaders: [
    'allow',
    'content-disposition',
    'etag',
    'link',
    'location',
    'retry-after',
    'server-timing',
    'www-authenticate',
    'x-request-id',
  ],
  maxAge: 600,
}
const allowOrigins = cors({ ...CORS, origin: (origin, c) => listed(c, 'CORS_ORIGINS', origin) })
const allowOriginsWithCookie = cors({
  ...CORS,
  origin: (origin, c) => listed(c, 'COOKIE_ORIGINS', origin),
  credentials: true,
})

/**
 * What a page of any origin may ask: for apps without a server of their own. No such route reads a cookie
 * (RFC 9700 section 2.6).
 */
const FOR_EVERY_ORIGIN =
  /^\/(\.well-known\/(openid-configuration|oauth-authorization-server|jwks\.json)|oauth\/(token|revoke|userinfo))$/
const allowEveryOrigin = cors({ ...CORS, origin: '*' })

/** Lists nothing where the settings are invalid, so that /health still answers. */
function listed(c: Context<AppEnv>, list: 'CORS_ORIGINS' | 'COOKIE_ORIGINS', origin: string): string | null {
  try {
    return configOf(c.env)[list].includes(origin) ? origin : null
  } catch {
    return null
  }
}

/**
 * CORS, by exact lists of origins. Origins in CORS_ORIGINS send tokens in a header and get no credentials:
 * the cookie is for COOKIE_ORIGINS alone. OPTIONS is a preflight only if it names a method; any other OPTIONS
 * is answered with `Allow`.
 */
const crossOrigin = createMiddleware<AppEnv>((c, next) => {
  const isOptions = c.req.method === 'OPTIONS'
  const isMeant = c.req.header(isOptions ? 'access-control-request-method' : 'origin') !== undefined
  if (!isMeant) return next()
  if (FOR_EVERY_ORIGIN.test(c.req.path)) return allowEveryOrigin(c, next)
  const mayBringCookie = listed(c, 'COOKIE_ORIGINS', c.req.header('origin') ?? '') !== null
  return (mayBringCookie ? allowOriginsWithCookie : allowOrigins)(c, next)
})

const routes = new Hono<AppEnv>()
  .use(everyAnswer)
  .use(crossOrigin)
  .route('/', healthRoutes)
  .use(withResources)
  .use('/v1/auth/*', limitByNetwork)
  .route('/v1/auth', authRoutes)
  .route('/v1/auth', reauthenticationRoutes)
  .route('/v1/auth/login/email_code', emailCodeRoutes)
  .route('/v1/auth', mailRoutes)
  .route('/v1/auth/factors', factorRoutes)
  .route('/v1/auth/grants', grantRoutes)
  .route('/v1/auth', identityRoutes)
  .route('/v1', bulkRoutes)
  .route('/v1/auth/passkeys', passkeyRoutes)
  .route('/', relyingPartyRoutes)
  .route('/v1/invitations', invitationRoutes)
  .route('/v1/mails', outboxRoutes)
  .route('/v1/oauth_clients', clientRoutes)
  .route('/v1/api_keys', apiKeyRoutes)
  .route('/v1/webhooks', webhookRoutes)
  .route('/v1/signup_blocks', signupBlockRoutes)
  .route('/links', linkPages)
  .route('/v1/users', meRoutes)
  .route('/v1/users', userRoutes)
  .route('/v1/users', userStateRoutes)
  .route('/v1/users', userRecordsRoutes)
  .route('/v1/users', userSendingRoutes)
  .route('/v1/users', userFactorRoutes)
  .route('/v1', activityRoutes)
  .route('/', systemRoutes)
  // Before the pages, so that errors here are not drawn as pages.
  .route('/', endpointRoutes)
  .route('/', consentRoutes)
  .route('/', devicePages)
  .route('/', docsRoutes)
  .route('/', brandRoutes)
  .route('/', signinRoutes)
  .route('/', factorPages)
  .route('/', codePages)
  .route('/', providerPages)
  .route('/', providerAfterPages)
  .route('/', againPages)
  .route('/', signupRoutes)
  .route('/', termsRoutes)
  .route('/', accountRoutes)
  .route('/', accountFactorRoutes)
  .route('/', accountIdentityRoutes)
  .route('/', accountAppRoutes)
  .route('/', accountKeyRoutes)
  .route('/admin', consoleRoutes)

export const app = routes
  .route('/', openapiRoutes(routes))
  .route('/', problemRoutes(routes))
  .onError((error, c): Response | Promise<Response> =>
    error instanceof StaleHint
      ? retryWithCurrentHint(c, error, { fetch: app.fetch, refuse: (refused) => answerProblem(refused, c) })
      : answerProblem(error, c),
  )
  .notFound((c) => {
    const allowed = methodsOf(c.req.path)
    if (allowed.length === 0) return answerProblem(notFound(), c)
    if (c.req.method === 'OPTIONS') return c.body(null, 204, { allow: allowed.join(', ') })
    return answerProblem(methodNotAllowed(allowed), c)
  })

/**
 * A problem document; or a page, if a browser asks for one outside the API and there are settings to draw it
 * with.
 */
function answerProblem(error: unknown, c: Context<AppEnv>): Response | Promise<Response> {
  const asksForPage = /^text\/html\b/.test(c.req.header('accept') ?? '') && !/^\/v\d/.test(c.req.path)
  return asksForPage && c.get('config') !== undefined ? failingPage(error, c) : toProblem(error, c)
}

/** A route's path as a regular expression: `:name` or `:name{expression}` matches one segment. */
function toPattern(path: string): RegExp {
  const segments = path.split('/').map((segment) => {
    const [, expression] = /^:\w+(?:\{(.+)\})?$/.exec(segment) ?? []
    if (!segment.startsWith(':')) return segment.replaceAll('.', '\\.')
    return expression ?? '[^/]+'
  })
  return new RegExp(`^${segments.join('/')}$`)
}

/** The methods that the router knows for a path. */
function methodsOf(path: string): string[] {
  const methods = new Set<string>()
  for (const route of routes.routes) {
    if (route.method !== 'ALL' && toPattern(route.path).test(path)) methods.add(route.method)
  }
  if (methods.has('GET')) methods.add('HEAD')
  if (methods.size > 0) methods.add('OPTIONS')
  return [...methods].sort()
}
