import { and, eq, gt, isNull, sql } from 'drizzle-orm'
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { mustHaveFactor, owesFactor } from '../access/assurance.ts'
import { forbidden } from '../access/errors.ts'
import { hasPermission, type Permission } from '../access/permissions.ts'
import type { AppEnv, Resources } from '../context.ts'
import { build, type Places, prepare, type RowsOf } from '../database/statements.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import {
  type CookieSession,
  clearedSessionCookie,
  readSessionCookie,
  sessionCookie,
  setSessionCookie,
  toClaims,
} from '../sessions/cookie.ts'
import { lifetimeOf } from '../sessions/lifetimes.ts'
import { sessions } from '../sessions/models.ts'
import { FORMER_TURN_MS } from '../sessions/revocation.ts'
import { assertWithin } from '../throttle/limits.ts'
import { profileColumns, userIsActive, users } from '../users/models.ts'
import { makeFormToken } from './forms.ts'
import type { Viewer } from './layout.tsx'
import { type View, viewOf } from './view.ts'

/** The idle time of a session is moved no more often. */
const SEEN_MS = 5 * 60_000

const selectSignedIn = prepare(({ sid, now }: Places<{ sid: string; now: number }>) => ({
  user: build
    .select({
      ...profileColumns,
      token_epoch: users.token_epoch,
      locale: users.locale,
      turn: sessions.turn,
      amr: sessions.amr,
      proved_at: sessions.proved_at,
      last_seen_at: sessions.last_seen_at,
    })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.user_id))
    .where(
      and(
        eq(sessions.id, sid),
        isNull(sessions.revoked_at),
        gt(sessions.idle_expires_at, now),
        userIsActive(now),
      ),
    ),
}))
type SignedIn = RowsOf<ReturnType<typeof selectSignedIn>['user']>[number]

export type PageEnv = AppEnv & {
  Variables: {
    /** Who acts, as the cookie says; what they change is decided in the write itself. */
    actor: Claims
    /** Of a form, once it has been taken. */
    fields: Record<string, string>
    /** Who looks at the page. Waits for the look-up, which travels with the page's own query. */
    signedIn(): Promise<{ user: SignedIn; viewer: Viewer; view: View }>
  }
}

/**
 * Lets in whoever has a session in a cookie, and leads everybody else to sign in, and back. The session is looked up
 * in the trip of the page's own query. A cookie whose role or epoch is of before is replaced, and the request is made
 * again.
 */
export const signedInPage = (permission?: Permission, { mayOweFactor = false } = {}) =>
  createMiddleware<PageEnv>(async (c, next) => {
    const { config, now, db } = c.var
    const cookie = readSessionCookie(c, config.keys.session_cookie, now)
    if (!cookie) return toSignIn(c)
    const isRead = c.req.method === 'GET'
    await assertWithin(
      c.var,
      isRead ? 'RATE_LIMIT_READS' : 'RATE_LIMIT_WRITES',
      isRead ? cookie.sid : cookie.sub,
    )
    const lookup = db.rideAlong(selectSignedIn({ sid: cookie.sid, now }).user)
    const find = async () => {
      lookup.settle()
      const [user] = (await lookup.rows) as SignedIn[]
      return user && user.id === cookie.sub && isOfTurn(user, cookie.turn, now) ? user : undefined
    }
    const isCurrent = (user: SignedIn) => user.token_epoch === cookie.epoch && user.role === cookie.role
    c.set('actor', toClaims(cookie))
    c.set('signedIn', async () => {
      const user = await find()
      if (!user || !isCurrent(user)) throw forbidden() // Nobody sees it: below, the answer is another.
      const viewer: Viewer = {
        id: user.id,
        name: user.name,
        role: user.role,
        formToken: makeFormToken(c.var, cookie.sid),
      }
      return { user, viewer, view: viewOf(c, user.locale) }
    })
    const isAllowed = !permission || hasPermission(cookie.role, permission)
    // Under a policy it is looked at first: whoever owes a factor sees and does what adding one needs, and no more.
    if (!mayOweFactor && mustHaveFactor(config.SECOND_FACTOR, cookie.role)) {
      const user = await find()
      if (user && owesFactor(config.SECOND_FACTOR, cookie.role, JSON.parse(user.amr)))
        return c.redirect('/account/security?done=owed', 303)
    }
    if (isAllowed) await next()

    const user = await find()
    if (!user) return replaceAnswer(c, 303, signInPlace(c), clearedSessionCookie())
    if (!isCurrent(user)) {
      const renewed = { ...cookie, role: user.role, epoch: user.token_epoch }
      const { pathname, search } = new URL(c.req.url)
      return replaceAnswer(c, 307, pathname + search, sessionCookie(config.keys.session_cookie, renewed))
    }
    if (!isAllowed) throw forbidden()
    if (user.last_seen_at < now - SEEN_MS) c.var.afterwards(noteSeen(c.var, cookie))
    return undefined
  })

/** Whoever may not do this gets no page, whatever the page around it shows. For routes behind `signedInPage`. */
export const needs = (permission: Permission) =>
  createMiddleware<PageEnv>(async (c, next) => {
    if (!hasPermission(c.var.actor.role, permission)) throw forbidden()
    await next()
  })

/** For pages that read a lot: lists, searches, histories. As `limitLists` of the API. */
export const limitedList = createMiddleware<PageEnv>(async (c, next) => {
  await assertWithin(c.var, 'RATE_LIMIT_LISTS', c.var.actor.sid)
  await next()
})

/** What the page's own work has answered is not to be seen: another answer takes its place, headers and all. */
function replaceAnswer(c: Context, status: 303 | 307, location: string, cookie: string): void {
  c.res = undefined
  c.res = new Response(null, { status, headers: { location, 'set-cookie': cookie } })
}

const isOfTurn = (user: SignedIn, turn: number, now: number) =>
  user.turn === turn || (user.turn === turn + 1 && now < (user.proved_at ?? 0) + FORMER_TURN_MS)

const noteSeen = ({ db, config, now }: Resources, { sid, role }: CookieSession) =>
  db.writeBatch({
    session: build
      .update(sessions)
      .set({
        last_seen_at: now,
        idle_expires_at: sql`min(${now + lifetimeOf(config, role).idleMs}, ${sessions.expires_at})`,
      })
      .where(and(eq(sessions.id, sid), isNull(sessions.revoked_at), sql`last_seen_at < ${now - SEEN_MS}`)),
  })

/** The cookie of a session whose owner has just raised the epoch of their tokens: it goes on, as the session does. */
export function moveSessionCookie(
  c: Context<PageEnv>,
  to: Partial<Pick<CookieSession, 'turn' | 'auth_time' | 'epoch'>> = {},
): void {
  const { config, now } = c.var
  const cookie = readSessionCookie(c, config.keys.session_cookie, now)
  if (!cookie) return
  setSessionCookie(c, config.keys.session_cookie, { ...cookie, epoch: cookie.epoch + 1, ...to })
}

/** To the page for signing in, and back from there. */
export const toSignIn = (c: Context) => c.redirect(signInPlace(c), 303)

function signInPlace(c: Context): string {
  const { pathname, search } = new URL(c.req.url)
  return `/signin?${new URLSearchParams({ to: c.req.method === 'GET' ? pathname + search : '/' })}`
}

const NOWHERE = 'http://roster.invalid'

/** A place of ours to go to after signing in; undefined for anything else: no link leads away from here. */
export function placeOfOurs(to: string | undefined): string | undefined {
  if (!to || to.length > 512 || !/^\/[\x21-\x7e]*$/.test(to)) return undefined
  const url = URL.parse(to, NOWHERE)
  // Looked at as it will be sent: dots and escapes can make two slashes of one, which is another host.
  const place = url?.origin === NOWHERE ? url.pathname + url.search : undefined
  return place !== undefined && /^\/(?![/\\])/.test(place) ? place : undefined
}
