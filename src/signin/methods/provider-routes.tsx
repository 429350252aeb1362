import type { Context } from 'hono'
import { v7 as uuidv7 } from 'uuid'
import { limitByNetwork } from '../../access/guards.ts'
import { enterByProvider, spendAttempt } from '../../auth/methods/provider-login.ts'
import { reauthenticateByProvider } from '../../auth/reauthentication/provider-proof.ts'
import type { IdentityProvider } from '../../config/providers.ts'
import { Hono } from '../../http/hono.ts'
import { readForm } from '../../http/operation.ts'
import { Refusal } from '../../http/problem.ts'
import {
  type Attempt,
  isInTime,
  isSentByUs,
  newAttempt,
  openTicket,
  openValue,
  sealValue,
} from '../../identities/attempts.ts'
import { authorizationUrl, profileOf, requireProvider } from '../../identities/client.ts'
import { addressMissing, invalidCallback } from '../../identities/errors.ts'
import { emailOf, linkIdentity } from '../../identities/service.ts'
import { failingPage } from '../../pages/failing.tsx'
import { browserFormToken, browserOf, isOurLink } from '../../pages/forms.ts'
import { respond } from '../../pages/respond.ts'
import type { PageEnv } from '../../pages/session.ts'
import { viewOf } from '../../pages/view.ts'
import {
  knownDevice,
  moveSessionCookie,
  readSessionCookie,
  replaceSessionCookie,
  toClaims,
} from '../../sessions/cookie.ts'
import { lookUpCookie } from '../../sessions/cookie-lookup.ts'
import { MINUTE_MS } from '../../values/durations.ts'
import { readContinuation } from '../targets.ts'
import { completeSignIn } from './enter.tsx'
import { rememberAttempt, rememberPending, takeAttempt } from './provider-cookies.ts'
import { ConnectedPage, GoOnPage } from './provider-pages.tsx'
import { explainRefusal } from './provider-says.tsx'

const cookieOf = (c: Context<PageEnv>) => readSessionCookie(c, c.var.config.keys.session_cookie, c.var.now)

/** Whether somebody else is signed in here. The cookie of a session that has ended is nobody's. */
async function isOthersBrowser(c: Context<PageEnv>, userId: string): Promise<boolean> {
  const cookie = cookieOf(c)
  return cookie !== undefined && cookie.sub !== userId && (await lookUpCookie(c.var, cookie)()) !== undefined
}

/**
 * Why somebody is sent to a provider; undefined if a page has to ask them first. A link of ours proves that
 * it was pressed in this browser. Without that, any site could sign a visitor in as whoever is signed in at
 * the provider.
 */
async function purposeOf(c: Context<PageEnv>, provider: IdentityProvider): Promise<Attempt | undefined> {
  const { sure, again, link, sent, ...query } = c.req.query()
  const on = readContinuation(query)
  const begun = { provider: provider.id, stays: true, ...on }
  const cookie = cookieOf(c)
  if (link !== undefined) {
    const ticket = await openTicket(c.var, provider.id, link)
    if (!ticket) throw invalidCallback(new Refusal('expired'))
    const isHere = cookie?.sid === ticket.actor.sid
    // A ticket from a page works only in its own browser. An API client has no browser, so whoever opens its
    // ticket is asked first; but somebody else who is signed in must not be talked into it.
    const isOfOtherPage = !isHere && ticket.actor.turn !== undefined
    if (isOfOtherPage || (await isOthersBrowser(c, ticket.actor.sub)))
      throw invalidCallback(new Refusal('other_address'))
    return isHere || isOurLink(c, sure, browserOf(c))
      ? newAttempt({ ...begun, purpose: 'link', actor: ticket.actor })
      : undefined
  }
  if (again !== undefined) {
    if (!cookie || !isOurLink(c, again, cookie.sid)) throw invalidCallback(new Refusal('other_address'))
    return newAttempt({ ...begun, purpose: 'again', actor: toClaims(cookie) })
  }
  const isBegunHere = isOurLink(c, sure, browserOf(c)) || isSentByUs(c.var, provider.id, on.to, sent)
  return isBegunHere ? newAttempt({ ...begun, purpose: 'signin' }) : undefined
}

/** The page that asks first. Its link proves that the button was pressed. */
async function askFirst(c: Context<PageEnv>, provider: IdentityProvider) {
  const { sure: _, sent: __, ...query } = c.req.query()
  const ticket = query.link === undefined ? undefined : await openTicket(c.var, provider.id, query.link)
  const account = ticket && (await emailOf(c.var, ticket.actor))
  const place = `/signin/with/${provider.id}?${new URLSearchParams({ ...query, sure: browserFormToken(c) })}`
  return respond(c, <GoOnPage view={viewOf(c)} provider={provider} place={place} account={account} />)
}

/** Whether an attempt for somebody who is signed in comes back to a browser where it does not belong. */
async function isBegunElsewhere(c: Context<PageEnv>, { purpose, actor }: Attempt): Promise<boolean> {
  if (purpose === 'signin' || !actor) return false
  const cookie = cookieOf(c)
  const isOwn = cookie?.sid === actor.sid
  if (purpose === 'again') return !isOwn
  // A ticket from the API is bound to its user, whom a page of ours has named; one from a page, to its session.
  return actor.turn === undefined ? isOthersBrowser(c, actor.sub) : cookie !== undefined && !isOwn
}

/** Handles the provider's answer. Each provider has its own callback. */
async function comeBack(c: Context<PageEnv>, answered: URLSearchParams): Promise<Response> {
  const provider = requireProvider(c.var, c.req.param('provider') ?? '')
  const attempt = await takeAttempt(c, provider.id, answered.get('state'))
  if (!attempt) throw invalidCallback(new Refusal('unknown'))
  const cookie = cookieOf(c)
  const isOwn = cookie?.sid === attempt.actor?.sid
  if (await isBegunElsewhere(c, attempt)) throw invalidCallback(new Refusal('revoked'))
  // Both, whatever becomes of one: the attempt is used up even if the provider fails.
  const [asked, spent] = await Promise.allSettled([
    profileOf(c.var, provider, attempt, answered),
    spendAttempt(c.var, attempt.id),
  ])
  if (spent.status === 'rejected') throw spent.reason
  if (asked.status === 'rejected') throw asked.reason
  const profile = asked.value
  const { to, target, stays } = attempt
  if (attempt.purpose === 'link') {
    await linkIdentity(c.var, attempt.actor!, provider, profile)
    if (!isOwn) return respond(c, <ConnectedPage view={viewOf(c)} provider={provider} />)
    replaceSessionCookie(c, attempt.actor!)
    return c.redirect('/account/security?done=connected', 303)
  }
  if (attempt.purpose === 'again') {
    const proven = await reauthenticateByProvider(c.var, toClaims(cookie!), provider, profile)
    moveSessionCookie(c, { turn: proven.turn, auth_time: Math.floor(proven.provedAt / 1000) })
    return c.redirect(to ?? '/', 303)
  }
  const outcome = await enterByProvider(c.var, provider, profile, knownDevice(c))
  const on = { email: profile.email ?? '', stays, to, target }
  if (outcome.kind === 'proven') return completeSignIn(c, async () => outcome.proven, on)
  if (outcome.kind === 'confirms' && profile.email === undefined) throw addressMissing()
  await rememberPending(c, {
    id: uuidv7(),
    provider: provider.id,
    profile,
    stays,
    to,
    target,
  })
  if (outcome.kind === 'joins') return c.redirect(`/signin/with/${provider.id}/join`, 303)
  const link = `/signin/with/${provider.id}/link`
  return outcome.kind === 'links'
    ? c.redirect(
        `/signin?${new URLSearchParams({ done: 'connect', with: provider.id, to: link, login_hint: profile.email! })}`,
        303,
      )
    : c.redirect(`/signin/code?${new URLSearchParams({ to: link })}`, 303)
}

/** To a provider, and back. */
export const providerPages = new Hono<PageEnv>()
  .get('/signin/with/:provider', limitByNetwork, async (c) => {
    try {
      const provider = requireProvider(c.var, c.req.param('provider'))
      const attempt = await purposeOf(c, provider)
      if (!attempt) return await askFirst(c, provider)
      const place = await authorizationUrl(c.var, provider, attempt)
      await rememberAttempt(c, attempt)
      return c.redirect(place, 303)
    } catch (error) {
      return explainRefusal(c, error)
    }
  })
  .get('/signin/with/:provider/callback', limitByNetwork, async (c) => {
    try {
      const { searchParams } = new URL(c.req.url)
      const sealed = searchParams.get('posted')
      if (sealed === null) return await comeBack(c, searchParams)
      const posted = await openValue<{ id: string; fields: Record<string, string> }>(
        c.var.config,
        'posted',
        sealed,
      )
      if (!posted || !isInTime(posted.id, c.var.now, MINUTE_MS)) throw invalidCallback(new Refusal('expired'))
      return await comeBack(c, new URLSearchParams(posted.fields))
    } catch (error) {
      return explainRefusal(c, error)
    }
  })
  // Apple posts from its own site, and then the browser sends none of our cookies. So the browser is
  // redirected once more, by GET.
  .post('/signin/with/:provider/callback', limitByNetwork, async (c) => {
    const { id, kind } = requireProvider(c.var, c.req.param('provider'))
    if (kind !== 'apple') return explainRefusal(c, invalidCallback(new Refusal('form')))
    const { code, state, error, user, iss } = await readForm(c)
    const fields = Object.fromEntries(
      Object.entries({ code, state, error, user, iss }).filter(
        ([, value]) => value !== undefined && value.length <= 2048,
      ),
    )
    const posted = await sealValue(c.var.config, 'posted', { id: uuidv7(), fields })
    return c.redirect(`/signin/with/${id}/callback?${new URLSearchParams({ posted })}`, 303)
  })
  .onError(failingPage)
