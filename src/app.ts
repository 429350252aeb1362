import type { Context } from 'hono'
import { cors } from 'hono/cors'
import { createMiddleware } from 'hono/factory'
import { limitByNetwork } from './access/guards.ts'
import { activityRoutes } from './activity/routes.ts'
import { authRoutes } from './auth/routes.ts'
import { ConfigError } from './config/main.ts'
import { type AppEnv, openForRequest } from './context.ts'
import { openMeter } from './database/meter.ts'
import { openapiRoutes } from './docs/openapi.ts'
import { docsRoutes } from './docs/routes.ts'
import { Hono } from './http/hono.ts'
import { AppError, notFound, toProblem, unavailable } from './http/problem.ts'
import { invitationRoutes } from './invitations/routes.ts'
import { mailRoutes } from './recovery/routes.ts'
import { linkPages } from './signin/links-routes.ts'
import { healthRoutes, systemRoutes } from './system/routes.ts'
import { userRoutes } from './users/routes.ts'

const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=63072000; includeSubDomains',
  // What is cached for a caller without an origin must not be given to one with.
  vary: 'Origin',
  'x-content-type-options': 'nosniff',
}

/** What every answer has, errors too. A route that has set one of these itself knows better. */
const everyAnswer = createMiddleware<AppEnv>(async (c, next) => {
  const given = c.req.header('x-request-id')
  c.set('requestId', given && /^[\w-]{8,64}$/.test(given) ? given : crypto.randomUUID())
  const meter = openMeter()
  c.set('meter', meter)
  await next()
  // Not by c.header, which copies the whole answer for each.
  const { headers } = c.res
  for (const [name, value] of Object.entries(HEADERS)) {
    if (!headers.has(name)) headers.set(name, value)
  }
  headers.set('x-request-id', c.get('requestId'))
  headers.set('server-timing', meter.toServerTiming())
})

const withResources = createMiddleware<AppEnv>(async (c, next) => {
  try {
    openForRequest(c)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw unavailable('misconfigured', error.message, error, 60)
  }
  await next()
})

const allowOrigins = cors({
  origin: (origin, c: Context<AppEnv>) => (c.var.config.CORS_ORIGINS.includes(origin) ? origin : null),
  allowMethods: ['GET', 'POST', 'PATCH', 'DELETE'],
  allowHeaders: ['authorization', 'content-type', 'idempotency-key', 'if-match', 'x-request-id'],
  exposeHeaders: ['etag', 'location', 'retry-after', 'server-timing', 'x-request-id'],
  maxAge: 600,
})

/** Other origins, by exact list. Tokens travel in a header, never in a cookie, so no credentials are allowed. */
const crossOrigin = createMiddleware<AppEnv>((c, next) =>
  c.req.header('origin') || c.req.method === 'OPTIONS' ? allowOrigins(c, next) : next(),
)

const routes = new Hono<AppEnv>()
  .use(everyAnswer)
  .route('/', healthRoutes)
  .use(withResources)
  .use(crossOrigin)
  .use('/v1/auth/*', limitByNetwork)
  .use('/links/*', limitByNetwork)
  .route('/v1/auth', authRoutes)
  .route('/v1/auth', mailRoutes)
  .route('/v1/invitations', invitationRoutes)
  .route('/links', linkPages)
  .route('/v1/users', userRoutes)
  .route('/v1', activityRoutes)
  .route('/', systemRoutes)
  .route('/', docsRoutes)

export const app = routes
  .route('/', openapiRoutes(routes))
  .onError((error, c) => toProblem(error, c))
  .notFound((c) => {
    const allowed = methodsOf(c.req.path)
    if (allowed.length === 0) return toProblem(notFound(), c)
    return toProblem(methodNotAllowed(allowed), c)
  })

const methodNotAllowed = (allowed: string[]) =>
  new AppError(405, 'method_not_allowed', 'This address does not take this method.', {
    headers: { allow: allowed.join(', ') },
  })

/** The methods that the router knows for a path. */
function methodsOf(path: string): string[] {
  const methods = new Set<string>()
  for (const route of routes.routes) {
    const pattern = new RegExp(`^${route.path.replace(/[.]/g, '\\.').replace(/:\w+/g, '[^/]+')}$`)
    if (route.method !== 'ALL' && pattern.test(path)) methods.add(route.method)
  }
  if (methods.has('GET')) methods.add('HEAD')
  if (methods.size > 0) methods.add('OPTIONS') // Answered for every address, by crossOrigin.
  return [...methods].sort()
}
