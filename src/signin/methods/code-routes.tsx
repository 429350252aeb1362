import type { Context } from 'hono'
import { limitByNetwork } from '../../access/guards.ts'
import { proveEmailCode, requestEmailCode } from '../../auth/methods/email-code.ts'
import { AskForCode, EmailCodeLogIn } from '../../auth/methods/schemas.ts'
import type { IdentityProvider } from '../../config/providers.ts'
import { Hono } from '../../http/hono.ts'
import { AppError, notFound } from '../../http/problem.ts'
import { validate } from '../../http/validate.ts'
import type { Said } from '../../pages/components.tsx'
import { failingPage, fieldErrors, problemText } from '../../pages/failing.tsx'
import { browserFormToken, browserOf, form } from '../../pages/forms.ts'
import { noteProblem, respond } from '../../pages/respond.ts'
import type { PageEnv } from '../../pages/session.ts'
import { viewOf } from '../../pages/view.ts'
import { knownDevice } from '../../sessions/cookie.ts'
import { normalizeEmail } from '../../values/email.ts'
import { askerOf, rememberAsker } from '../asker-cookie.ts'
import { refusalOf } from '../refusals.tsx'
import { type Continuation, originOfTarget, readContinuation, requestedContinuation } from '../targets.ts'
import { AskForCodePage, TypeCodePage } from './code-pages.tsx'
import { completeSignIn } from './enter.tsx'
import {
  botChallengeOf,
  faultsOfJoiner,
  isOfChallenge,
  joinerIn,
  joinPage,
  thirdPartyOf,
} from './joining.tsx'
import { pendingOf } from './provider-cookies.ts'

/**
 * The provider that somebody comes from, if it gave an address without proving it (and `typed`, if given, is
 * that address). To this address a code is mailed even if signing in by mailed codes is off.
 */
async function askerBy(
  c: Context<PageEnv>,
  typed?: string,
): Promise<{ by?: IdentityProvider; email?: string }> {
  const pending = await pendingOf(c)
  if (!pending || pending.profile.isProved) return {}
  if (typed !== undefined && normalizeEmail(typed) !== normalizeEmail(pending.profile.email ?? '')) return {}
  const by = c.var.config.IDENTITY_PROVIDERS.find(({ id }) => id === pending.provider)
  return by && pending.profile.email ? { by, email: pending.profile.email } : {}
}

interface Shown {
  message?: Said | undefined
  values?: Record<string, string>
  errors?: Record<string, string>
  status?: AppError['status']
}

async function askPage(c: Context<PageEnv>, on: Continuation, { status = 200, ...given }: Shown = {}) {
  const { by, email } = await askerBy(c)
  if (c.var.config.EMAIL_CODE_SIGNIN !== 'on' && !by) throw notFound()
  const [title, text] = by ? viewOf(c).texts.signin.provider.confirm(by.name) : []
  const shown = {
    ...(title &&
      email && { message: { tone: 'info' as const, title, text }, values: { email, remember: 'yes' } }),
    ...given,
  }
  const challenge = by ? undefined : botChallengeOf(c.var.config)
  const page = (
    <AskForCodePage view={viewOf(c)} token={browserFormToken(c)} challenge={challenge} {...shown} {...on} />
  )
  return respond(c, page, {
    status,
    ...(await originOfTarget(c.var, on.target, on.to)),
    ...thirdPartyOf(challenge),
  })
}

async function typePage(
  c: Context<PageEnv>,
  { status = 200, message }: Pick<Shown, 'status' | 'message'> = {},
) {
  const { email = '', remember } = c.var.fields
  const on = readContinuation(c.var.fields)
  const page = (
    <TypeCodePage
      view={viewOf(c)}
      token={browserFormToken(c)}
      email={email.slice(0, 320)}
      remember={remember}
      message={message}
      {...on}
    />
  )
  return respond(c, page, { status, ...(await originOfTarget(c.var, on.target, on.to)) })
}

/** The code was correct, but there is no account yet. */
function nameNeeded(c: Context<PageEnv>, refused: Shown = {}) {
  const { email = '', remember, code, name } = c.var.fields
  const on = readContinuation(c.var.fields)
  return joinPage(c, on, {
    action: '/signin/code/confirm',
    email: email.slice(0, 320),
    back: '/signin/code',
    isChallenged: true,
    hidden: { email, remember, code, joins: 'yes', ...on },
    values: name === undefined ? {} : { name },
    ...refused,
  })
}

/**
 * Signing in and up with a mailed code. Only the browser that requested it can use it: it keeps a token that
 * the code needs.
 */
export const codePages = new Hono<PageEnv>()
  .get('/signin/code', (c) => {
    return askPage(c, requestedContinuation(c.var, c.req.query()))
  })
  .post('/signin/code', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', remember = '', asks, 'cf-turnstile-response': challenge_token } = c.var.fields
    const on = readContinuation(c.var.fields)
    // They came from the password page, with nothing typed.
    if (email === '') return askPage(c, on)
    try {
      const { by } = await askerBy(c, email)
      // Somebody who may have no account passes the bot challenge first, on the page that shows it.
      if (!by && asks === undefined && botChallengeOf(c.var.config))
        return await askPage(c, on, { values: { email: email.slice(0, 320), remember } })
      const input = validate(AskForCode(), {
        email,
        ...(challenge_token && { challenge_token }),
        ...knownDevice(c),
      })
      const asked = await requestEmailCode(c.var, input, by)
      rememberAsker(c, 'sign_in', asked.login_token)
      return await typePage(c)
    } catch (error) {
      if (!(error instanceof AppError) || error.status === 404) throw error
      if (error.status >= 500 && !isOfChallenge(error)) throw error
      noteProblem(c, error)
      const view = viewOf(c)
      const { common } = view.texts
      const message: Said = error.errors
        ? { tone: 'danger', title: common.check, text: common.checkHint }
        : isOfChallenge(error)
          ? { tone: 'danger', title: problemText(view, error) }
          : refusalOf(view, error)
      const errors = fieldErrors(view, error)
      return askPage(c, on, { message, errors, values: { email, remember }, status: error.status })
    }
  })
  .post('/signin/code/confirm', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', remember, code = '', joins } = c.var.fields
    const on = { email, stays: remember === 'yes', ...readContinuation(c.var.fields) }
    const { request_token: login_token } = askerOf(c, 'sign_in')
    const { signup_token } = askerOf(c, 'verify_email')
    const isJoining = joins === 'yes'
    try {
      const input = validate(EmailCodeLogIn(), {
        login_token,
        code: code.replace(/\s/g, ''),
        ...(signup_token && { signup_token }),
        ...(isJoining && joinerIn(c.var.config, c.var.fields)),
        ...knownDevice(c),
      })
      const { by } = await askerBy(c, email)
      return await completeSignIn(c, () => proveEmailCode(c.var, input, by), on)
    } catch (error) {
      if (!(error instanceof AppError) || (error.status >= 500 && !isOfChallenge(error))) throw error
      if (error.code === 'name_needed') return nameNeeded(c)
      noteProblem(c, error)
      const { status } = error
      const view = viewOf(c)
      const faults = isJoining ? faultsOfJoiner(view, error) : undefined
      if (faults) return nameNeeded(c, { ...faults, status })
      const { signin } = view.texts
      const said: Record<string, readonly string[]> = {
        invalid_link: signin.check.wrong,
        invalid_input: signin.check.wrong,
        invitation_open: signin.code.invited,
        email_taken: signin.code.taken,
        signup_closed: signin.signup.closed,
        signup_domain_refused: [signin.signup.domain],
        signup_blocked: [problemText(view, error)],
      }
      const [title, text] = said[error.code] ?? []
      return typePage(c, {
        message: title ? { tone: 'danger', title, text } : refusalOf(view, error),
        status,
      })
    }
  })
  .onError(failingPage)
