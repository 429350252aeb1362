import type { Context } from 'hono'
import { endsTheft, limitByNetwork } from '../access/guards.ts'
import { signOut } from '../auth/keep-signed-in.ts'
import { logIn } from '../auth/login.ts'
import { LogIn } from '../auth/schemas.ts'
import { Hono } from '../http/hono.ts'
import { AppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { openPlace } from '../oauth/logouts/logout.ts'
import { failingPage } from '../pages/failing.tsx'
import { browserFormToken, browserOf, form, sessionOf } from '../pages/forms.ts'
import { noteProblem, respond } from '../pages/respond.ts'
import { homeOf, type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage, messageFor } from '../pages/submit.ts'
import { viewOf } from '../pages/view.ts'
import { knownDevice, readSessionCookie } from '../sessions/cookie.ts'
import { askerOf, recallContinuation } from './asker-cookie.ts'
import { completeSignIn } from './methods/enter.tsx'
import { SignInPage } from './pages.tsx'
import { refusedSignIn, waysOf } from './refusals.tsx'
import { originOfTarget, readContinuation, requestedContinuation } from './targets.ts'

/**
 * Proves that whoever signs in has signed up in this browser: only they are told that an address is not
 * confirmed.
 */
function signedUpHere(c: Context<PageEnv>): { signup_token?: string } {
  const { signup_token } = askerOf(c, 'verify_email')
  return signup_token === undefined ? {} : { signup_token }
}

export const signinRoutes = new Hono<PageEnv>()
  .get('/', (c) => {
    const session = readSessionCookie(c, c.var.config.keys.session_cookie, c.var.now)
    return c.redirect(session ? homeOf(session.role) : '/signin', 303)
  })
  .get('/.well-known/change-password', (c) => c.redirect('/account/security', 302))
  .get('/signin', async (c) => {
    const view = viewOf(c)
    const { factors } = view.texts
    const refused = {
      spent: factors.spent,
      passkey: factors.passkeyFailed,
    }
    const provider = c.var.config.IDENTITY_PROVIDERS.find(({ id }) => id === c.req.query('with'))
    const first =
      c.req.query('done') === 'connect' && provider
        ? view.texts.signin.provider.first(provider.name)
        : undefined
    const [title, text] = messageFor<readonly string[]>(refused, c.req.query('done')) ?? []
    const message = first
      ? { tone: 'info' as const, title: first[0]!, text: first[1] }
      : title
        ? { tone: 'danger' as const, title, text }
        : doneMessage(c, {
            signed_out: view.texts.signin.signedOut,
            confirmed: view.texts.signin.check.done,
            signed_up: view.texts.signin.signedUp,
            left: view.texts.account.data.left(view.purgeDays),
            reset: view.texts.links.reset_password.done[0]!,
            address: view.texts.links.change_email.done[0]!,
            unlocked: view.texts.links.unlock_account.done[0]!,
          })
    const { done, tried, with: _, login_hint: hint, ...query } = c.req.query()
    const given = requestedContinuation(c.var, query)
    // Somebody who signed up here continues where they wanted to.
    const on = done === 'confirmed' && !given.to && !given.target ? recallContinuation(c) : given
    return respond(
      c,
      <SignInPage
        view={view}
        token={browserFormToken(c)}
        {...on}
        message={message}
        {...(done === 'passkey' && tried && { unknown: { rpId: c.var.config.WEBAUTHN_RP_ID, tried } })}
        {...(hint && { values: { email: hint.slice(0, 320), remember: 'yes' } })}
        {...waysOf(c.var.config)}
      />,
      await originOfTarget(c.var, on.target, on.to),
    )
  })
  .post('/signin', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', password = '', remember } = c.var.fields
    const { to, target } = readContinuation(c.var.fields)
    try {
      const sent = { email, password, ...knownDevice(c), ...signedUpHere(c) }
      const on = { email, stays: remember === 'yes', to, target }
      return await completeSignIn(c, async () => logIn(c.var, validate(LogIn(), sent)), on)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      noteProblem(c, error)
      return refusedSignIn(c, error, { to, target }, { email, remember: remember ?? '' })
    }
  })
  .post(
    '/signout',
    endsTheft,
    signedInPage(undefined, { mayOweFactor: true }),
    form(sessionOf),
    async (c) => {
      const { place } = c.var.fields
      const to = place === undefined ? undefined : await openPlace(c.var, place)
      await signOut(c, c.var.actor)
      return c.redirect(to ?? '/signin?done=signed_out', 303)
    },
  )
  .onError(failingPage)
