import type { Context } from 'hono'
import { limitByNetwork } from '../access/guards.ts'
import { keepSignedIn } from '../auth/keep-signed-in.ts'
import { logIn } from '../auth/login.ts'
import { SignUp } from '../auth/schemas.ts'
import { signUp } from '../auth/signup.ts'
import { startSession } from '../auth/start-session.ts'
import { Hono } from '../http/hono.ts'
import { AppError, toAppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import type { Proof } from '../links/schemas.ts'
import { isSignupTokenOf } from '../links/signup-tokens.ts'
import type { Said } from '../pages/components.tsx'
import { failingPage, fieldErrors, problemText } from '../pages/failing.tsx'
import { browserFormToken, browserOf, form } from '../pages/forms.ts'
import { noteProblem, respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { doneMessage } from '../pages/submit.ts'
import { type View, viewOf } from '../pages/view.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { forgotPassword } from '../recovery/reset.ts'
import { AskForMail, VerifyEmail } from '../recovery/schemas.ts'
import { resendVerification, verifyEmail } from '../recovery/verify.ts'
import { knownDevice } from '../sessions/cookie.ts'
import { normalizeEmail } from '../values/email.ts'
import {
  askerOf,
  recallContinuation,
  rememberAsker,
  rememberContinuation,
  rememberSignup,
} from './asker-cookie.ts'
import { botChallengeOf, isOfChallenge, joinerIn, thirdPartyOf } from './methods/joining.tsx'
import {
  CheckMailPage,
  ForgotPage,
  type FormPage,
  ResendPage,
  SignUpClosedPage,
  SignUpPage,
} from './pages.tsx'
import { refusalOf } from './refusals.tsx'
import {
  type Continuation,
  destinationAfter,
  originOfTarget,
  readContinuation,
  requestedContinuation,
} from './targets.ts'

const checkMail = (c: Context, email: string, on: Continuation, message?: Said, status = 200) =>
  respond(
    c,
    <CheckMailPage
      view={viewOf(c)}
      token={browserFormToken(c)}
      email={email.slice(0, 320)}
      message={message}
      {...on}
    />,
    { status: status as 200 },
  )

/**
 * The sign-up page, with the bot challenge if the deployment has one: only then does its policy allow another
 * origin.
 */
async function signUpPage(
  c: Context<PageEnv>,
  on: Continuation,
  refused: Partial<FormPage> & { status?: number } = {},
) {
  const challenge = botChallengeOf(c.var.config)
  const { status = 200, ...form } = refused
  return respond(
    c,
    <SignUpPage
      view={viewOf(c)}
      token={browserFormToken(c)}
      passwordMinLength={PASSWORD_MIN_LENGTH}
      challenge={challenge}
      providers={c.var.config.IDENTITY_PROVIDERS.filter(({ signup }) => signup === 'allow')}
      {...form}
      {...on}
    />,
    {
      status: status as 200,
      ...(await originOfTarget(c.var, on.target, on.to)),
      ...thirdPartyOf(challenge),
    },
  )
}

/** The account now exists. Undefined if rate limits are reached, so that its owner has to sign in by hand. */
const signInAfterwards = async (c: Context<PageEnv>, given: { email: string; password: string }) => {
  try {
    return await startSession(c.var, await logIn(c.var, { ...given, ...knownDevice(c) }), { cookie: true })
  } catch (error) {
    if (error instanceof AppError && [429, 503].includes(error.status)) return undefined
    throw error
  }
}

/** What a form for an address says when it is refused. */
const refusedAddress = (view: View, error: AppError): { message: Said; errors: Record<string, string> } => ({
  message: error.errors
    ? { tone: 'danger', title: view.texts.common.check, text: view.texts.common.checkHint }
    : refusalOf(view, error),
  errors: fieldErrors(view, error),
})

/** A browser that did not make the account needs more than the code: this form takes both. */
const WITH_PROOF = '/links/verify_email'

/**
 * Confirms an address by the code of a mail. The sign-up token works with every mail of the account that this
 * browser made. If it made none, because the address was taken, the code still works with the request.
 */
async function verifyByCode(c: Context<PageEnv>, code: string): Promise<void> {
  const { request_token, signup_token } = askerOf(c, 'verify_email')
  const verify = (by: Proof) => verifyEmail(c.var, validate(VerifyEmail(), { code, ...by }), undefined)
  if (signup_token === undefined || request_token === undefined)
    return verify({ request_token, signup_token })
  try {
    return await verify({ signup_token })
  } catch (error) {
    if (toAppError(error).code !== 'invalid_link') throw error
    return verify({ request_token, signup_token })
  }
}

export const signupRoutes = new Hono<PageEnv>()
  .get('/signup', (c) => {
    const view = viewOf(c)
    if (c.var.config.SIGNUP === 'closed') return respond(c, <SignUpClosedPage view={view} />)
    return signUpPage(c, requestedContinuation(c.var, c.req.query()))
  })
  .post('/signup', limitByNetwork, form(browserOf), async (c) => {
    const { form_token: _, ...fields } = c.var.fields
    const { name = '', email = '', password = '' } = fields
    const on = readContinuation(fields)
    try {
      const input = validate(SignUp(), { ...joinerIn(c.var.config, fields), email, password })
      const { status, body, requestToken } = await signUp(c.var, input, undefined)
      rememberSignup(c, body.signup_token, requestToken)
      if (status === 202) {
        rememberContinuation(c, on)
        return c.redirect(`/signup/check?${new URLSearchParams({ email })}`, 303)
      }
      const tokens = await signInAfterwards(c, { email, password })
      if (!tokens) return c.redirect('/signin?done=signed_up', 303)
      keepSignedIn(c, tokens, true)
      return c.redirect(destinationAfter(c.var, tokens.user.role, on), 303)
    } catch (error) {
      if (!(error instanceof AppError) || (error.status >= 500 && !isOfChallenge(error))) throw error
      noteProblem(c, error)
      const view = viewOf(c)
      const { common, signin } = view.texts
      const errors = fieldErrors(view, error)
      const message: Said = error.errors
        ? { tone: 'danger', title: common.check, text: common.checkHint }
        : { tone: 'danger', title: signin.wrong[0]!, text: problemText(view, error) }
      return signUpPage(c, on, {
        message,
        values: { name, email },
        errors: error.code === 'email_taken' ? { email: problemText(view, error) } : errors,
        status: error.status,
      })
    }
  })
  .get('/signup/resend', (c) => {
    return respond(c, <ResendPage view={viewOf(c)} token={browserFormToken(c)} />)
  })
  .get('/signup/check', (c) => checkMail(c, c.req.query('email') ?? '', recallContinuation(c)))
  .post('/signup/code', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', code = '' } = c.var.fields
    try {
      await verifyByCode(c, code.replace(/\s/g, ''))
      return c.redirect('/signin?done=confirmed', 303)
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      if (error.code === 'proof_needed') return c.redirect(WITH_PROOF, 303)
      noteProblem(c, error)
      const view = viewOf(c)
      const [title, text] = view.texts.signin.check.wrong
      const message: Said =
        error.status === 429 ? refusalOf(view, error) : { tone: 'danger', title: title!, text }
      return checkMail(c, email, recallContinuation(c), message, error.status)
    }
  })
  .post('/signup/again', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', code } = c.var.fields
    try {
      const input = validate(AskForMail(), { email, ...knownDevice(c) })
      const asked = await resendVerification(c.var, input)
      const { signup_token } = askerOf(c, 'verify_email')
      if (!isSignupTokenOf(c.var.config, normalizeEmail(input.email), signup_token, c.var.now)) {
        rememberAsker(c, 'verify_email', asked.request_token)
        return c.redirect(`${WITH_PROOF}?done=sent`, 303)
      }
      // Together, as earlier versions kept the sign-up's token where the other goes now.
      rememberSignup(c, signup_token, asked.request_token)
      return checkMail(c, email, recallContinuation(c), { title: viewOf(c).texts.signin.check.sent })
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      noteProblem(c, error)
      const view = viewOf(c)
      const { message, errors } = refusedAddress(view, error)
      // Somebody who waits for an earlier mail can still type its code.
      if (code !== undefined) return checkMail(c, email, recallContinuation(c), message, error.status)
      const page = (
        <ResendPage view={view} token={browserFormToken(c)} {...{ message, errors, values: { email } }} />
      )
      return respond(c, page, { status: error.status })
    }
  })
  .get('/forgot', (c) => {
    const view = viewOf(c)
    const { undo_email_change, reopen_account, disown_session } = view.texts.links
    const message = doneMessage(c, {
      undone: undo_email_change.done.join('. '),
      reopened: reopen_account.done.join('. '),
      disowned: disown_session.done.join('. '),
    })
    return respond(c, <ForgotPage view={view} token={browserFormToken(c)} message={message} />)
  })
  .post('/forgot', limitByNetwork, form(browserOf), async (c) => {
    const view = viewOf(c)
    const { forgotten } = view.texts.signin
    const { email = '' } = c.var.fields
    try {
      const { request_token } = await forgotPassword(
        c.var,
        validate(AskForMail(), { email, ...knownDevice(c) }),
      )
      rememberAsker(c, 'reset_password', request_token)
      const message = { title: forgotten.sent[0]!, text: forgotten.sent[1] }
      return respond(
        c,
        <ForgotPage view={view} token={browserFormToken(c)} message={message} values={{ email }} />,
      )
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      noteProblem(c, error)
      const refused = { ...refusedAddress(view, error), values: { email } }
      return respond(c, <ForgotPage view={view} token={browserFormToken(c)} {...refused} />, {
        status: error.status,
      })
    }
  })
  .onError(failingPage)
