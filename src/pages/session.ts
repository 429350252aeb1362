import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { mustHaveFactor, owesFactor } from '../access/assurance.ts'
import { forbidden } from '../access/errors.ts'
import { hasPermission, type Permission } from '../access/permissions.ts'
import type { AppEnv } from '../context.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { clearedSessionCookie, readSessionCookie, sessionCookie, toClaims } from '../sessions/cookie.ts'
import {
  isHintCurrent,
  lookUpCookie,
  noteSeen,
  type SignedIn,
  withCurrentHint,
} from '../sessions/cookie-lookup.ts'
import { reliesOnTurn } from '../sessions/turns.ts'
import { assertMayWrite, assertWithin } from '../throttle/limits.ts'
import { againAt } from './again.ts'
import { makeFormToken } from './forms.ts'
import type { Viewer } from './layout.tsx'
import { type View, viewOf } from './view.ts'

export type PageEnv = AppEnv & {
  Variables: {
    /** The actor, according to the cookie. Their authority is checked again in each write. */
    actor: Claims
    /** The fields of a form, once it has been read. */
    fields: Record<string, string>
    /** The signed-in viewer. Waits for the look-up, which shares a trip with the page's own query. */
    signedIn(): Promise<{ user: SignedIn; viewer: Viewer; view: View }>
  }
}

/**
 * Lets in anybody with a session cookie, and sends everybody else to sign in and back. The session is looked
 * up in the same trip as the page's own query. A cookie with an outdated role or epoch is replaced, and the
 * request is repeated.
 */
export const signedInPage = (permission?: Permission, { mayOweFactor = false, mayOweTerms = false } = {}) =>
  createMiddleware<PageEnv>(async (c, next) => {
    const { config, now } = c.var
    const cookie = readSessionCookie(c, config.keys.session_cookie, now)
    if (!cookie) return toSignIn(c)
    if (c.req.method === 'GET') await assertWithin(c.var, 'RATE_LIMIT_READS', cookie.sid)
    else await assertMayWrite(c.var, cookie)
    const find = lookUpCookie(c.var, cookie, { isManaging: permission !== undefined })
    const actor = toClaims(cookie)
    c.set('actor', actor)
    c.set('signedIn', async () => {
      const user = await find()
      if (!user || !isHintCurrent(cookie, user)) throw forbidden() // Nobody sees this: it is answered differently below.
      const viewer: Viewer = {
        id: user.id,
        name: user.name,
        role: user.role,
        formToken: makeFormToken(c.var, cookie.sid),
        attention: { people: user.locked_users ?? 0, system: user.dead_mails ?? 0 },
      }
      return { user, viewer, view: viewOf(c, user.locale) }
    })
    const isAllowed = !permission || hasPermission(cookie.role, permission)
    // Under a second-factor policy this is checked first: somebody who owes a factor may only do what adding
    // one needs.
    if (!mayOweFactor && mustHaveFactor(config.SECOND_FACTOR, cookie.role)) {
      const user = await find()
      if (user && owesFactor(config.SECOND_FACTOR, cookie.role, JSON.parse(user.amr)))
        return c.redirect(`/account/security?${new URLSearchParams({ done: 'owed', ...hereIn(c) })}`, 303)
    }
    if (isAllowed) await next()

    const user = await find()
    if (!user) return replaceAnswer(c, 303, signInPlace(c), clearedSessionCookie())
    if (!isHintCurrent(cookie, user)) {
      const renewed = sessionCookie(config.keys.session_cookie, withCurrentHint(cookie, user))
      return replaceAnswer(c, 307, placeOf(c), renewed)
    }
    if (user.turn !== cookie.turn && reliesOnTurn(actor)) return replaceAnswer(c, 303, againPlace(c))
    // Somebody who has not agreed to the current terms is asked before any other page, but a form that is
    // already open is still accepted.
    const owesTerms = config.TERMS_VERSION !== undefined && user.terms_version !== config.TERMS_VERSION
    if (owesTerms && !mayOweTerms && c.req.method === 'GET')
      return replaceAnswer(c, 303, `/terms?${new URLSearchParams({ to: placeOf(c) })}`)
    if (!isAllowed) throw forbidden()
    noteSeen(c.var, cookie, user)
    return undefined
  })

/**
 * Refuses those without a permission, whatever the page around it shows. For routes behind `signedInPage`.
 */
export const needs = (permission: Permission) =>
  createMiddleware<PageEnv>(async (c, next) => {
    if (!hasPermission(c.var.actor.role, permission)) throw forbidden()
    await next()
  })

/** For pages that read a lot: lists, searches, histories. The same as `limitLists` of the API. */
export const limitedList = createMiddleware<PageEnv>(async (c, next) => {
  await assertWithin(c.var, 'RATE_LIMIT_LISTS', c.var.actor.sid)
  await next()
})

/** Replaces the answer of the page, headers included, so that nothing of it is seen. */
function replaceAnswer(c: Context, status: 303 | 307, location: string, cookie?: string): void {
  c.res = undefined
  c.res = new Response(null, { status, headers: { location, ...(cookie && { 'set-cookie': cookie }) } })
}

/** To the sign-in page, and back from there. */
const toSignIn = (c: Context) => c.redirect(signInPlace(c), 303)

const signInPlace = (c: Context) =>
  `/signin?${new URLSearchParams({ to: c.req.method === 'GET' ? placeOf(c) : '/' })}`
const hereIn = (c: Context) => (c.req.method === 'GET' ? { to: placeOf(c) } : {})
const againPlace = (c: Context) => againAt(c.req.method === 'GET' ? placeOf(c) : '/')

function placeOf(c: Context): string {
  const { pathname, search } = new URL(c.req.url)
  return pathname + search
}

/** Where somebody goes by default. */
export const homeOf = (role: string) => (role === 'user' ? '/account' : '/admin')

const NOWHERE = 'http://roster.invalid'

/** The place is kept in a cookie while a second factor is asked for. */
const MAX_PLACE_LENGTH = 2000

/**
 * A place of ours to go to after signing in; undefined for anything else, so that no link leads away from
 * here.
 */
export function placeOfOurs(to: string | undefined): string | undefined {
  if (!to || to.length > MAX_PLACE_LENGTH || !/^\/[\x21-\x7e]*$/.test(to)) return undefined
  const url = URL.parse(to, NOWHERE)
  // Checked as it will be sent: dots and escapes can turn one slash into two, which would name another host.
  const place = url?.origin === NOWHERE ? url.pathname + url.search : undefined
  return place !== undefined && /^\/(?![/\\])/.test(place) ? place : undefined
}
