import type { Context, Next } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, Resources } from '../context.ts'
import { documented } from '../http/operation.ts'
import { RECENT_LOGIN_SECONDS, Refusal, toAppError, tooManyRequests } from '../http/problem.ts'
import { hashingBusy } from '../passwords/turns.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import type { CookieSession } from '../sessions/cookie.ts'
import {
  isHintCurrent,
  lookUpCookie,
  noteSeen,
  type SignedIn,
  withCurrentHint,
} from '../sessions/cookie-lookup.ts'
import { invalidToken, unauthenticated } from '../sessions/errors.ts'
import { findNear } from '../sessions/near.ts'
import { checkRevocation, findOwnProfile } from '../sessions/revocation.ts'
import { reliesOnTurn, relyOnTurn } from '../sessions/turns.ts'
import {
  assertBearerWithin,
  assertMayAsk,
  assertNetworkWithin,
  assertWithin,
  rateLimitUnavailable,
} from '../throttle/limits.ts'
import { type Profile, profileOf } from '../users/models.ts'
import { authenticateKey } from './api-keys.ts'
import { owesFactor } from './assurance.ts'
import { type Bearer, findBearer } from './bearer.ts'
import { runBesideCheck } from './check-beside.ts'
import { authenticateAppToken } from './clients.ts'
import {
  type Credentials,
  hasCredentials,
  isRead,
  readAnyCredentials,
  readCredentials,
} from './credentials.ts'
import { factorEnrolmentRequired, forbidden, insufficientScope, reauthenticationRequired } from './errors.ts'
import { originNotAllowed } from './origin.ts'
import { hasPermission, type Permission } from './permissions.ts'
import { idOfRetriedRequest, StaleHint } from './stale-hint.ts'

/** Who is asking: what their access token says, verified. */
export type Actor = Claims
type ActorEnv = AppEnv & { Variables: { actor: Actor } }

/** Of everything that is counted: throttle/limits.ts. */
const COUNTED = [() => tooManyRequests(60), rateLimitUnavailable]
const SIGNED_IN_PROBLEMS = [unauthenticated, invalidToken, insufficientScope, originNotAllowed, ...COUNTED]

/**
 * For what an owner does against a thief, before the guard: not counted with the writes of all their sessions, which the
 * thief may have used up.
 */
export const endsTheft = createMiddleware<AppEnv>((c, next) => {
  c.set('endsTheft', true)
  return next()
})

/**
 * Needs a valid access token or cookie: `c.var.actor`. An app that acts as its user (`account`) may come too.
 */
export const signedIn = documented(
  createMiddleware<ActorEnv>(async (c, next) => {
    const credentials = await readAnyCredentials(c)
    if ('key' in credentials) throw insufficientScope()
    return 'client' in credentials
      ? authenticateAppToken(c, next, credentials.client)
      : authenticate(c, next, { credentials })
  }),
  { security: 'signed_in', problems: [...SIGNED_IN_PROBLEMS, factorEnrolmentRequired] },
)

/** The same, but only for the user's own login: no app may change how an account is entered. */
export const signedInHere = documented(
  createMiddleware<ActorEnv>((c, next) => authenticate(c, next)),
  { security: 'signed_in', problems: [...SIGNED_IN_PROBLEMS, factorEnrolmentRequired] },
)

/**
 * The same for enrolling a factor: also for somebody who still has to add the one that the policy requires.
 */
export const signedInToEnrol = documented(
  createMiddleware<ActorEnv>((c, next) => authenticate(c, next, { mayOweFactor: true })),
  { security: 'signed_in', problems: SIGNED_IN_PROBLEMS },
)

/**
 * Reads an access token if there is one, as `c.var.actor`, on routes that others may use as well. A handler
 * that relies on it must have `tokenIsLive` in the condition of its write.
 */
export const optionalToken = documented(
  createMiddleware<AppEnv & { Variables: { actor: Actor | undefined } }>(async (c, next) => {
    c.set('actor', hasCredentials(c) ? (await readCredentials(c)).claims : undefined)
    await next()
  }),
  { problems: [invalidToken, insufficientScope, originNotAllowed] },
)

/** Needs a valid access token or a key. The profile that its check has read is `c.var.self`. */
export const signedInWithProfile = documented(
  createMiddleware<ActorEnv & { Variables: { self: Profile } }>(async (c, next) => {
    const credentials = await readAnyCredentials(c)
    if ('client' in credentials) return authenticateAppToken(c, next, credentials.client)
    // A key may always ask whose it is, whatever its permissions.
    if ('key' in credentials)
      return authenticateKey(c, next, credentials.key, undefined, (profile) => c.set('self', profile))
    const { claims, cookie } = await enter(c, credentials)
    const options = { isFresh: asksForNoCache(c) }
    c.set(
      'self',
      await (cookie
        ? findNear(c.var, claims, options, async () => {
            const user = await checkCookie(c, claims, cookie)()
            return { profile: profileOf(user), endsAt: user.idle_expires_at, turn: user.turn }
          })
        : findOwnProfile(c.var, claims, options)),
    )
    await next()
    return undefined
  }),
  // Keys and apps need the factor even here.
  { security: 'signed_in', problems: [...SIGNED_IN_PROBLEMS, factorEnrolmentRequired] },
)

/** A client that has just changed something asks for no cached copy (RFC 9111 section 5.2.1.4). */
export const asksForNoCache = (c: Context) =>
  /(^|,)\s*no-cache\s*(,|$)/i.test(c.req.header('cache-control') ?? '')

/**
 * Lets everybody in. If there is an access token or a key, it must be valid, and is `c.var.actor`: the user's
 * own, or one with this permission.
 */
export const optionallyPermitted = (permission: Permission) =>
  documented(
    createMiddleware<AppEnv & { Variables: { actor?: Actor } }>(async (c, next) => {
      if (!hasCredentials(c)) return next()
      const credentials = await readAnyCredentials(c)
      if ('key' in credentials) return authenticateKey(c, next, credentials.key, permission)
      return 'client' in credentials
        ? authenticateAppToken(c, next, credentials.client, permission)
        : authenticate(c as Context<ActorEnv>, next, { credentials })
    }),
    { problems: [invalidToken, insufficientScope, factorEnrolmentRequired, forbidden] },
  )

/** Needs a valid access token and a role with this permission: `c.var.actor`. */
export const requirePermission = (permission: Permission) =>
  documented(
    createMiddleware<ActorEnv>(async (c, next) => {
      const credentials = await readAnyCredentials(c)
      if ('key' in credentials) return authenticateKey(c, next, credentials.key, permission)
      return 'client' in credentials
        ? authenticateAppToken(c, next, credentials.client, permission)
        : authenticate(c, next, { permission, credentials })
    }),
    { security: permission, problems: [...SIGNED_IN_PROBLEMS, factorEnrolmentRequired, forbidden] },
  )

async function authenticate(
  c: Context<ActorEnv>,
  next: Next,
  {
    permission,
    mayOweFactor = false,
    credentials,
  }: { permission?: Permission; mayOweFactor?: boolean; credentials?: Credentials } = {},
): Promise<void> {
  const { SECOND_FACTOR } = c.var.config
  const { claims: actor, cookie } = await enter(c, credentials)
  const assertLive = cookie ? checkCookie(c, actor, cookie) : checkRevocation(c.var, actor)
  const isAllowed = !permission || hasPermission(actor.role, permission)
  if (!isAllowed) {
    await assertLive()
    throw forbidden()
  }
  // The session may have gained a factor since the token was issued.
  if (!mayOweFactor && owesFactor(SECOND_FACTOR, actor.role, actor.amr)) {
    const { amr } = await assertLive()
    if (owesFactor(SECOND_FACTOR, actor.role, JSON.parse(amr))) throw factorEnrolmentRequired()
  }
  await runBesideCheck(c, next, assertLive)
}

/** Reads the credentials, and counts the request. */
async function enter(c: Context, given?: Credentials): Promise<Credentials> {
  const resources = c.var as Resources
  const credentials = given ?? (await readCredentials(c))
  const { claims } = credentials
  c.set('isSignedIn', true)
  c.set('actor', claims)
  await assertMayAsk(resources, claims, { isRead: isRead(c) })
  return credentials
}

/**
 * The same for a cookie. Its role and epoch are hints: if they were wrong, the request is repeated with the
 * right ones.
 *
 * @returns a function that answers who it is. Throws 401 `invalid_token`; 403 `reauthentication_required`
 *   where a recent login is relied on, and the turn in the cookie is no longer the session's.
 */
function checkCookie(c: Context, claims: Claims, cookie: CookieSession) {
  const resources = c.var as Resources
  const find = lookUpCookie(resources, cookie)
  return async (): Promise<SignedIn> => {
    const user = await find()
    if (!user) throw invalidToken(new Refusal('unknown'))
    if (!isHintCurrent(cookie, user)) {
      if (idOfRetriedRequest(c)) throw invalidToken(new Refusal('meanwhile'))
      throw new StaleHint(withCurrentHint(cookie, user))
    }
    if (user.turn !== cookie.turn && reliesOnTurn(claims)) throw reauthenticationRequired()
    noteSeen(resources, cookie, user)
    return user
  }
}

/**
 * Needs an access token that we issued, even if it has expired or been revoked: for logging out, which has to
 * work when repeated.
 */
export const anyIssuedToken = documented(
  createMiddleware<ActorEnv>(async (c, next) => {
    c.set('actor', (await readCredentials(c, { mayBeExpired: true })).claims)
    await next()
  }),
  { security: 'signed_in', problems: [unauthenticated, invalidToken, insufficientScope, originNotAllowed] },
)

/**
 * For routes that may read a lot (lists, search, exports), after the guard: a stricter limit for the session.
 */
export const limitLists = documented(
  createMiddleware<ActorEnv>(async (c, next) => {
    await assertWithin(c.var, 'RATE_LIMIT_LISTS', c.var.actor.sid)
    await next()
  }),
  { problems: COUNTED },
)

/**
 * Documents that a route may hash a password. The turn is taken where the hash is due: passwords/turns.ts.
 */
export const limitHashing = documented(
  createMiddleware<AppEnv>((_c, next) => next()),
  { problems: [hashingBusy, ...COUNTED] },
)

/**
 * The first shield of everything that takes a password or a token: a limit by network, counted by the
 * platform. When a neighbour has used it up, requests with a token of ours still pass: they are counted by
 * token.
 *
 * @param findOther finds another credential that nobody can forge.
 */
export const limitNetwork = (findOther: (c: Context<AppEnv>) => Promise<Bearer | undefined>) =>
  documented(
    createMiddleware<AppEnv>(async (c, next) => {
      try {
        await assertNetworkWithin(c.var, c.var.origin.ip)
      } catch (refusal) {
        const isFull = toAppError(refusal).status === 429
        const bearer = isFull ? ((await findOther(c)) ?? (await findBearer(c))) : undefined
        if (bearer === undefined) throw refusal
        await assertBearerWithin(c.var, bearer)
      }
      await next()
    }),
    { problems: COUNTED },
  )
export const limitByNetwork = limitNetwork(async () => undefined)

/**
 * For what cannot be undone, or gives power away: a session left open or a stolen token is not enough. A
 * refresh is no login.
 *
 * @param now epoch ms.
 * @throws 403 `reauthentication_required`; `insufficient_scope` for a key, an app or a service, which never
 *   has a recent login.
 */
export function requireRecentLogin(actor: Pick<Claims, 'auth_time' | 'key' | 'client'>, now: number): void {
  if (!hasRecentLogin(actor, now)) throw noRecentLogin(actor)
}

/**
 * The same as a question. After a yes, the request relies on its login: it is refused if its cookie turns out to be
 * from before a re-authentication. So this is only asked where the answer matters.
 */
export function hasRecentLogin(actor: Pick<Claims, 'auth_time' | 'key'>, now: number): boolean {
  if (actor.key || now / 1000 - actor.auth_time > RECENT_LOGIN_SECONDS) return false
  relyOnTurn(actor)
  return true
}

/** A person is told to log in again. A key, an app or a service cannot, so it is not told to. */
export const noRecentLogin = ({ key, client }: Pick<Claims, 'key' | 'client'>) =>
  key || client?.canProve === false ? insufficientScope() : reauthenticationRequired()
