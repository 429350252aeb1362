import type { Context } from 'hono'
import { endsTheft, limitByNetwork } from '../access/guards.ts'
import { signOut } from '../auth/keep-signed-in.ts'
import type { Resources } from '../context.ts'
import { readText } from '../http/body.ts'
import { readFields } from '../http/fields.ts'
import { Hono } from '../http/hono.ts'
import { decide, giveCode, languageOf, namesOf, type Outcome, refuse, shownOf } from '../oauth/authorize.ts'
import { MAX_QUERY_LENGTH } from '../oauth/authorize-request.ts'
import { giveConsent } from '../oauth/consents/service.ts'
import { badAuthorizeRequest, badLogoutRequest } from '../oauth/errors.ts'
import { decideLogout, type LogoutOutcome, logoutUrl, sealPlace } from '../oauth/logouts/logout.ts'
import { originOf, withParams } from '../oauth/redirects.ts'
import { scopesIn } from '../oauth/scopes.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, makeFormToken } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { viewOf } from '../pages/view.ts'
import { readSessionCookie, toClaims } from '../sessions/cookie.ts'
import { withCurrentHint } from '../sessions/cookie-lookup.ts'
import { assertMayWrite } from '../throttle/limits.ts'
import { ConsentPage, FormPostPage, SignOutPage, UnverifiedPage } from './pages.tsx'

/** An ID token hint of up to 4096 characters, and the other parameters. */
const MAX_LOGOUT_LENGTH = 8192

const cookieIn = (c: Context) =>
  readSessionCookie(c, (c.var as Resources).config.keys.session_cookie, (c.var as Resources).now)
const sessionIn = (c: Context) => cookieIn(c)?.sid

const searchOf = (c: Context) => new URL(c.req.url).search.slice(1)

/**
 * Redirects the browser, or shows the page that comes first. Never 307: it would repost the form as it is.
 */
function answer(c: Context<PageEnv>, outcome: Outcome): Response | Promise<Response> {
  if (outcome.kind === 'go') return c.redirect(outcome.location, 303)
  if (outcome.kind === 'answer') {
    const { redirectUri, mode } = outcome.to
    if (mode === 'form_post') {
      const page = <FormPostPage view={viewOf(c)} action={redirectUri} params={outcome.params} />
      return respond(c, page, { formAction: originOf(redirectUri) })
    }
    return c.redirect(withParams(redirectUri, outcome.params), 303)
  }
  const { asked, back } = outcome
  const view = viewOf(c, asked.user.locale ?? languageOf(asked.request))
  const token = makeFormToken(c.var, asked.cookie.sid)
  const Page = outcome.kind === 'consent' ? ConsentPage : UnverifiedPage
  return respond(c, <Page view={view} token={token} asked={asked} back={back} />, {
    formAction: originOf(asked.request.redirectUri),
  })
}

/** The parameters of a logout, each at most once. Throws 400 `bad_logout_request`. */
function readLogout(text: string): Record<string, string> {
  if (text.length > MAX_LOGOUT_LENGTH) throw badLogoutRequest('The request is too long.')
  try {
    return readFields(text)
  } catch (cause) {
    throw badLogoutRequest('A parameter is given twice, or is not text.', cause)
  }
}

async function askToSignOut(c: Context<PageEnv>, { to, cookie, question }: LogoutOutcome & { kind: 'ask' }) {
  const view = viewOf(c, question.user.locale ?? languageOf(question))
  const token = makeFormToken(c.var, cookie.sid)
  const place = to === undefined ? undefined : await sealPlace(c.var, to)
  return respond(c, <SignOutPage view={view} token={token} question={question} place={place} />, {
    ...(to !== undefined && { formAction: originOf(to) }),
  })
}

/** Where apps send the browser, and the consent question in between. */
export const consentRoutes = new Hono<PageEnv>()
  .get('/oauth/authorize', async (c) => answer(c, await decide(c, searchOf(c))))
  // A cross-site POST comes without the cookie, so the browser is sent on to the same request by GET.
  .post('/oauth/authorize', async (c) => {
    const text = await readText(c, () => badAuthorizeRequest('The request is not text.'))
    if (text.length > MAX_QUERY_LENGTH) throw badAuthorizeRequest('The request is too long.')
    if (!/^[\x21-\x7e]*$/.test(text)) throw badAuthorizeRequest('The request is not a form.')
    return c.redirect(`/oauth/authorize?${text}`, 303)
  })
  .post('/consent', limitByNetwork, form(sessionIn), async (c) => {
    await assertMayWrite(c.var, cookieIn(c)!)
    const { decision, shown } = c.var.fields
    const outcome = await decide(c, searchOf(c))
    // No means no, even if another page has meanwhile given consent to everything.
    if (decision !== 'allow' && outcome.kind === 'answer') return answer(c, refuse(c.var, outcome.to))
    if (outcome.kind !== 'consent') return answer(c, outcome)
    const { asked } = outcome
    if (decision !== 'allow') return answer(c, refuse(c.var, asked.request))
    // The scopes that the app may request, or the user may grant, have grown since, or its description has
    // changed: the page to which the user said yes did not show that.
    if (!scopesIn(shownOf(asked)).every((one) => scopesIn(shown).includes(one))) return answer(c, outcome)
    const actor = toClaims(withCurrentHint(asked.cookie, asked.user))
    await giveConsent(c.var, actor, asked.client, namesOf(asked), asked.document)
    return answer(c, await giveCode(c.var, asked, { isByConsent: true }))
  })
  .get('/oauth/logout', endsTheft, async (c) => {
    const outcome = await decideLogout(c, readLogout(searchOf(c)))
    const { kind, to } = outcome
    if (kind === 'ask') return askToSignOut(c, outcome)
    if (kind === 'end') {
      await assertMayWrite(c.var, outcome.cookie)
      await signOut(c, toClaims(outcome.cookie))
    }
    return c.redirect(to ?? '/signin?done=signed_out', 303)
  })
  // As for authorize: the cookie comes with the GET.
  .post('/oauth/logout', async (c) => {
    const text = await readText(c, () => badLogoutRequest('The request is not text.'))
    return c.redirect(await logoutUrl(c.var, readLogout(text)), 303)
  })
  .onError(failingPage)
