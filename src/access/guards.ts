import type { Context, Next } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { AppEnv } from '../context.ts'
import { documented } from '../http/operation.ts'
import { RECENT_LOGIN_SECONDS, Refusal, tooManyRequests } from '../http/problem.ts'
import { hashingBusy } from '../passwords/turns.ts'
import { type Claims, verifyAccessToken } from '../sessions/access-tokens.ts'
import { invalidToken, unauthenticated } from '../sessions/errors.ts'
import { checkRevocation, findOwnProfile } from '../sessions/revocation.ts'
import { assertNetworkWithin, assertWithin, rateLimitUnavailable } from '../throttle/limits.ts'
import type { Profile } from '../users/models.ts'
import { owesFactor } from './assurance.ts'
import { factorEnrolmentRequired, forbidden, reauthenticationRequired } from './errors.ts'
import { hasPermission, type Permission } from './permissions.ts'

/** Who is asking: what their access token says, verified. */
export type Actor = Claims
type ActorEnv = AppEnv & { Variables: { actor: Actor } }

/** Lets in whoever has a good access token, as `c.var.actor`. */
export const signedIn = documented(
  createMiddleware<ActorEnv>((c, next) => authenticate(c, next)),
  {
    security: 'signed_in',
    problems: [unauthenticated, invalidToken, factorEnrolmentRequired, () => tooManyRequests(60)],
  },
)

/** The same for what enrolling needs: also whoever has yet to add the factor that the policy asks for. */
export const signedInToEnrol = documented(
  createMiddleware<ActorEnv>((c, next) => authenticate(c, next, { mayOweFactor: true })),
  { security: 'signed_in', problems: [unauthenticated, invalidToken, () => tooManyRequests(60)] },
)

/**
 * Takes an access token where one is brought, as `c.var.actor`, for routes that others may use as well. Whoever relies on
 * it has `tokenIsLive` in the condition of the write.
 */
export const perhapsSignedIn = documented(
  createMiddleware<AppEnv & { Variables: { actor: Actor | undefined } }>(async (c, next) => {
    const isBrought = c.req.header('authorization') !== undefined
    c.set('actor', isBrought ? await verifyAccessToken(bearerToken(c), c.var.config, c.var.now) : undefined)
    await next()
  }),
  { problems: [invalidToken] },
)

/** Lets in whoever has a good access token, and brings what its check has read of them: `c.var.self`. */
export const signedInWithProfile = documented(
  createMiddleware<ActorEnv & { Variables: { self: Profile } }>(async (c, next) => {
    const resources = c.var
    const actor = await verifyAccessToken(bearerToken(c), resources.config, resources.now)
    c.set('isSignedIn', true)
    c.set('actor', actor)
    await assertWithin(resources, 'RATE_LIMIT_READS', actor.sid)
    c.set('self', await findOwnProfile(resources, actor, { isFresh: asksForFresh(c) }))
    await next()
  }),
  { security: 'signed_in', problems: [unauthenticated, invalidToken, () => tooManyRequests(60)] },
)

/** Whoever has just changed something asks for no copy (RFC 9111 section 5.2.1.4). */
const asksForFresh = (c: Context) => /(^|,)\s*no-cache\s*(,|$)/i.test(c.req.header('cache-control') ?? '')

/** Lets in everybody. Who brings an access token is known as `c.var.actor`, and it has to be a good one. */
export const whoeverAsks = createMiddleware<AppEnv & { Variables: { actor?: Actor } }>((c, next) =>
  c.req.header('authorization') === undefined ? next() : authenticate(c as Context<ActorEnv>, next),
)

/** Lets in whoever has a good access token and a role with this permission, as `c.var.actor`. */
export const requirePermission = (permission: Permission) =>
  documented(
    createMiddleware<ActorEnv>((c, next) => authenticate(c, next, { permission })),
    {
      security: permission,
      problems: [
        unauthenticated,
        invalidToken,
        factorEnrolmentRequired,
        forbidden,
        () => tooManyRequests(60),
      ],
    },
  )

/**
 * Whether the token has been revoked is asked beside the handler's own query, not before it; the answer is sent
 * only when both are there. What a handler *changes* meanwhile is safe: its write has the same condition in it
 * (`tokenIsLive`).
 */
async function authenticate(
  c: Context<ActorEnv>,
  next: Next,
  { permission, mayOweFactor = false }: { permission?: Permission; mayOweFactor?: boolean } = {},
): Promise<void> {
  const resources = c.var
  const { SECOND_FACTOR } = resources.config
  const actor = await verifyAccessToken(bearerToken(c), resources.config, resources.now)
  c.set('isSignedIn', true)
  c.set('actor', actor)
  const isRead = ['GET', 'HEAD'].includes(c.req.method)
  if (isRead) await assertWithin(resources, 'RATE_LIMIT_READS', actor.sid)
  else await assertWithin(resources, 'RATE_LIMIT_WRITES', actor.sub)
  const assertNotRevoked = checkRevocation(resources, actor)
  const isAllowed = !permission || hasPermission(actor.role, permission)
  if (!isAllowed) {
    await assertNotRevoked()
    throw forbidden()
  }
  // The session's may have risen since the token was given: by the factor that has just been added.
  if (!mayOweFactor && owesFactor(SECOND_FACTOR, actor.role, actor.amr)) {
    const { amr } = await assertNotRevoked()
    if (owesFactor(SECOND_FACTOR, actor.role, JSON.parse(amr))) throw factorEnrolmentRequired()
  }
  await next()
  try {
    await assertNotRevoked()
  } catch (error) {
    // The handler's answer is not to be seen, its headers neither; what CORS has put there stays.
    const headers = [...c.res.headers].filter(([name]) => /^(access-control-.*|vary)$/.test(name))
    c.res = undefined
    c.res = new Response(null, { headers })
    throw error
  }
}

/**
 * Lets in whoever has an access token that was once ours, be it expired or revoked by now: for logging out, which
 * has to work again and again.
 */
export const onceSignedIn = documented(
  createMiddleware<ActorEnv>(async (c, next) => {
    c.set('actor', await verifyAccessToken(bearerToken(c), c.var.config, c.var.now, { mayBeExpired: true }))
    await next()
  }),
  { security: 'signed_in', problems: [unauthenticated, invalidToken] },
)

/** RFC 6750 section 2.1, and no other way to bring a token. */
function bearerToken(c: Context): string {
  const header = c.req.header('authorization')
  if (header === undefined) throw unauthenticated()
  const [, token] = /^Bearer ([\w.-]+)$/i.exec(header) ?? []
  if (!token) throw invalidToken(new Refusal('form'))
  return token
}

/** For what may read a lot (lists, search, exports), behind the guard: a stricter count of the session. */
export const limitLists = documented(
  createMiddleware<ActorEnv>(async (c, next) => {
    await assertWithin(c.var, 'RATE_LIMIT_LISTS', c.var.actor.sid)
    await next()
  }),
  { problems: [() => tooManyRequests(60)] },
)

/** Says that a route may hash a password. The turn is taken where the hash is due: passwords/turns.ts. */
export const limitHashing = documented(
  createMiddleware<AppEnv>((_c, next) => next()),
  { problems: [hashingBusy, () => tooManyRequests(60)] },
)

/** The first shield of everything that takes a password or a token: a count by network, kept by the platform. */
export const limitByNetwork = documented(
  createMiddleware<AppEnv>(async (c, next) => {
    await assertNetworkWithin(c.var, c.var.origin.ip)
    await next()
  }),
  { problems: [() => tooManyRequests(60), rateLimitUnavailable] },
)

/**
 * For what cannot be undone, or gives power away: a session left open, or a stolen token, is not enough. A refresh
 * is no login.
 *
 * @param now epoch ms.
 * @throws 403 `reauthentication_required`.
 */
export function requireRecentLogin(actor: Pick<Claims, 'auth_time'>, now: number): void {
  if (!isRecent(actor, now)) throw reauthenticationRequired()
}

export const isRecent = (actor: Pick<Claims, 'auth_time'>, now: number) =>
  now / 1000 - actor.auth_time <= RECENT_LOGIN_SECONDS
