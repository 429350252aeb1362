import type { Context } from 'hono'
import { endsTheft, limitByNetwork } from '../access/guards.ts'
import { requestMailedProof } from '../auth/reauthentication/mailed-proof.ts'
import { beginReauthentication, reauthenticate } from '../auth/reauthentication/reauthenticate.ts'
import { Reauthenticate } from '../auth/schemas.ts'
import { Hono } from '../http/hono.ts'
import type { AppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { canReauthenticate } from '../identities/client.ts'
import { backTo } from '../pages/again.ts'
import type { Said } from '../pages/components.tsx'
import { failingPage, problemText } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { assertShowable, respond } from '../pages/respond.ts'
import { homeOf, type PageEnv, placeOfOurs, signedInPage } from '../pages/session.ts'
import { moveSessionCookie } from '../sessions/cookie.ts'
import { againInput } from './factor-pages.tsx'
import { SignInAgainPage } from './methods/again-page.tsx'
import { refusalOf } from './refusals.tsx'
import { originOfTarget } from './targets.ts'

const whoeverIsIn = signedInPage(undefined, { mayOweFactor: true })

interface Shown {
  to: string | undefined
  carried: string | undefined
  /** The request token that came with the mailed code. */
  requestToken?: string | undefined
  message?: Said
  status?: AppError['status']
}

async function againPage(c: Context<PageEnv>, { to, status, ...shown }: Shown) {
  const again = await beginReauthentication(c.var, c.var.actor)
  const { view, viewer, user } = await c.var.signedIn()
  return respond(
    c,
    <SignInAgainPage
      view={view}
      token={viewer.formToken}
      to={to ?? homeOf(user.role)}
      email={user.email}
      {...shown}
      {...again}
      providers={c.var.config.IDENTITY_PROVIDERS.filter(
        (provider) => canReauthenticate(provider) && again.takesProviders.includes(provider.id),
      )}
    />,
    { ...(status && { status }), ...(await originOfTarget(c.var, undefined, to)) },
  )
}

/** The page again, with the reason for the refusal. */
async function refusedPage(c: Context<PageEnv>, error: unknown, shown: Shown) {
  assertShowable(c, error)
  const { view } = await c.var.signedIn()
  const { common, factors, signin } = view.texts
  const said: Record<string, readonly string[]> = {
    wrong_code: factors.wrong,
    second_factor_required: factors.wrong,
    invalid_passkey: factors.passkeyFailed,
    invalid_link: signin.check.wrong,
    invalid_input: [common.check],
    wrong_password: [common.problems.wrong_password!],
  }
  const [title, text] = said[error.code] ?? [problemText(view, error)]
  const message: Said =
    error.status === 429 ? refusalOf(view, error) : { tone: 'danger', title: title!, text }
  return againPage(c, { ...shown, message, status: error.status })
}

/** Confirms who somebody is before actions that need a recent login, with as little as suffices. */
export const againPages = new Hono<PageEnv>()
  .get('/signin/again', whoeverIsIn, (c) =>
    againPage(c, { to: placeOfOurs(c.req.query('to')), carried: c.req.query('carried') }),
  )
  .post('/signin/again', limitByNetwork, endsTheft, whoeverIsIn, form(sessionOf), async (c) => {
    const to = placeOfOurs(c.var.fields.to) ?? '/'
    const { carried, request_token: requestToken } = c.var.fields
    try {
      const input = validate(Reauthenticate(), againInput(c.var.fields))
      const proven = await reauthenticate(c.var, c.var.actor, input)
      moveSessionCookie(c, { turn: proven.turn, auth_time: Math.floor(proven.provedAt / 1000) })
      return c.redirect(backTo(to, carried), 303)
    } catch (error) {
      return refusedPage(c, error, { to, carried, requestToken })
    }
  })
  .post('/signin/again/mail', limitByNetwork, endsTheft, whoeverIsIn, form(sessionOf), async (c) => {
    const shown = { to: placeOfOurs(c.var.fields.to), carried: c.var.fields.carried }
    try {
      const { request_token } = await requestMailedProof(c.var, c.var.actor)
      return await againPage(c, { ...shown, requestToken: request_token })
    } catch (error) {
      return refusedPage(c, error, shown)
    }
  })
  .onError(failingPage)
