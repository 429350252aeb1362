import type { Context } from 'hono'
import { limitByNetwork } from '../access/guards.ts'
import type { Resources } from '../context.ts'
import { readText } from '../http/body.ts'
import { Hono } from '../http/hono.ts'
import { notFound } from '../http/problem.ts'
import { decide, giveCode, languageOf, type Outcome, refuse } from '../oauth/authorize.ts'
import { giveConsent } from '../oauth/consents/service.ts'
import { badAuthorizeRequest } from '../oauth/errors.ts'
import { originOf } from '../oauth/redirects.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, makeFormToken } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { viewOf } from '../pages/view.ts'
import { readSessionCookie, toClaims } from '../sessions/cookie.ts'
import { assertMayWrite } from '../throttle/limits.ts'
import { ConsentPage, FormPostPage, UnverifiedPage } from './pages.tsx'

const cookieIn = (c: Context) =>
  readSessionCookie(c, (c.var as Resources).config.keys.session_cookie, (c.var as Resources).now)
const sessionIn = (c: Context) => cookieIn(c)?.sid

const searchOf = (c: Context) => new URL(c.req.url).search.slice(1)

/** Sends the browser on, or shows the page that comes first. Never by 307: a form must not be sent on as it is. */
function answer(c: Context<PageEnv>, outcome: Outcome): Response | Promise<Response> {
  if (outcome.kind === 'go') return c.redirect(outcome.location, 303)
  if (outcome.kind === 'answer') {
    const { redirectUri, mode } = outcome.to
    if (mode === 'form_post') {
      const page = <FormPostPage view={viewOf(c)} action={redirectUri} params={outcome.params} />
      return respond(c, page, { formAction: originOf(redirectUri) })
    }
    const separator = redirectUri.includes('?') ? '&' : '?'
    return c.redirect(`${redirectUri}${separator}${new URLSearchParams(outcome.params)}`, 303)
  }
  const { asked, back } = outcome
  const view = viewOf(c, asked.user.locale ?? languageOf(asked.request))
  const token = makeFormToken(c.var, asked.cookie.sid)
  const Page = outcome.kind === 'consent' ? ConsentPage : UnverifiedPage
  return respond(c, <Page view={view} token={token} asked={asked} back={back} />, {
    formAction: originOf(asked.request.redirectUri),
  })
}

/** What an app sends a browser to, and the question that comes between. */
export const consentRoutes = new Hono<PageEnv>()
  .use('/oauth/*', limitByNetwork)
  .use('/oauth/*', (c, next) => {
    if (!c.var.config.OPENID_KEYS) throw notFound()
    return next()
  })
  .get('/oauth/authorize', async (c) => answer(c, await decide(c, searchOf(c))))
  // A page of another site may post it, and then the cookie stays at home: it is asked for again by GET.
  .post('/oauth/authorize', async (c) => {
    const text = await readText(c, () => badAuthorizeRequest('The request is no text.'))
    if (!/^[\x21-\x7e]*$/.test(text)) throw badAuthorizeRequest('The request is no form.')
    return c.redirect(`/oauth/authorize?${text}`, 303)
  })
  .post('/consent', limitByNetwork, form(sessionIn), async (c) => {
    await assertMayWrite(c.var, cookieIn(c)!.sub)
    const outcome = await decide(c, searchOf(c))
    if (outcome.kind !== 'consent') return answer(c, outcome)
    const { asked } = outcome
    if (c.var.fields.decision !== 'allow') return answer(c, refuse(c.var, asked))
    await giveConsent(c.var, toClaims(asked.cookie), asked.client, asked.scopes)
    return answer(c, await giveCode(c.var, asked))
  })
  .onError(failingPage)
