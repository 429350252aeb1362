import type { Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { decodeJwt } from 'jose'
import { limitByNetwork } from '../access/guards.ts'
import { logIn } from '../auth/login.ts'
import { logOut } from '../auth/logout.ts'
import { beginReauthentication, reauthenticate } from '../auth/reauthenticate.ts'
import { LogIn, Reauthenticate, SignUp, type Tokens } from '../auth/schemas.ts'
import { signUp } from '../auth/signup.ts'
import { startSession } from '../auth/start-session.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { AppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { failingPage, fieldErrors, problemText } from '../pages/failing.tsx'
import { toFull, toMinute } from '../pages/format.ts'
import { browserFormToken, browserOf, form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { moveSessionCookie, type PageEnv, placeOfOurs, signedInPage } from '../pages/session.ts'
import { doneMessage } from '../pages/submit.ts'
import { LANGUAGES } from '../pages/texts/index.ts'
import { LANGUAGE_COOKIE, type View, viewOf } from '../pages/view.ts'
import { PASSWORD_MIN_LENGTH } from '../passwords/policy.ts'
import { forgotPassword } from '../recovery/reset.ts'
import { AskForMail, VerifyEmail } from '../recovery/schemas.ts'
import { resendVerification, verifyEmail } from '../recovery/verify.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { clearSessionCookie, readSessionCookie, setSessionCookie } from '../sessions/cookie.ts'
import { askerOf, rememberAsker } from './asker-cookie.ts'
import { askForFactor } from './factor-cookie.ts'
import { againInput } from './factor-pages.tsx'
import {
  CheckMailPage,
  ForgotPage,
  type Message,
  SignInAgainPage,
  SignInPage,
  SignUpClosedPage,
  SignUpPage,
} from './pages.tsx'

const YEAR_SECONDS = 365 * 86_400

/** A language that was chosen on a page is kept for the browser. */
const rememberLanguage = (c: Context) => {
  const language = c.req.query('lang')
  if (language && Object.hasOwn(LANGUAGES, language))
    setCookie(c, LANGUAGE_COOKIE, language, {
      path: '/',
      secure: true,
      httpOnly: true,
      sameSite: 'Lax',
      maxAge: YEAR_SECONDS,
    })
}

export const homeOf = (role: string) => (role === 'user' ? '/account' : '/admin')

/** Says that this browser has signed in before, so that its tries are counted apart from strangers'. */
const DEVICE_COOKIE = '__Host-roster-device'
export const knownDevice = (c: Context) => {
  const token = getCookie(c, DEVICE_COOKIE)
  return token !== undefined && token.length <= 256 ? { device_token: token } : {}
}

/** The cookie in place of the tokens that a way in gives. */
export function keepSignedIn(c: Context, tokens: Tokens, stays: boolean): void {
  if (tokens.device_token)
    setCookie(c, DEVICE_COOKIE, tokens.device_token, {
      path: '/',
      secure: true,
      httpOnly: true,
      sameSite: 'Lax',
      maxAge: YEAR_SECONDS,
    })
  const { sid, sub, role, epoch, auth_time } = decodeJwt<Claims>(tokens.access_token)
  const session = { sid: sid!, turn: 0, sub: sub!, role: role!, epoch: epoch!, auth_time: auth_time!, stays }
  setSessionCookie(c, (c.var as AppEnv['Variables']).config.keys.session_cookie, session)
}

/** What a refused sign-in says. Wrong, unknown and locked are one sentence. */
function refusalOf(view: View, error: AppError): Message {
  const { signin } = view.texts
  const waitMs = Number(error.headers['retry-after'] ?? 0) * 1000
  const disabledUntil = error.members?.disabled_until as string | undefined
  if (error.code === 'too_many_attempts' || error.code === 'too_many_requests') {
    const minutes = Math.max(1, Math.ceil(waitMs / 60_000))
    return {
      tone: 'danger',
      title: signin.tooMany,
      text: signin.waitMinutes(minutes, toMinute(view, view.now + waitMs)),
    }
  }
  if (error.code === 'account_disabled') {
    const title = disabledUntil
      ? signin.disabledUntil(toFull(view, Date.parse(disabledUntil)))
      : signin.disabled
    return { tone: 'danger', title, text: signin.askAdmin(view.organisation) }
  }
  if (error.code === 'email_not_verified')
    return { tone: 'warn', title: signin.confirmFirst[0]!, text: signin.confirmFirst[1] }
  if (error.code === 'hashing_busy')
    return { tone: 'danger', title: signin.hashing[0]!, text: signin.hashing[1] }
  if (error.status >= 500) throw error
  return { tone: 'danger', title: signin.wrong[0]!, text: signin.wrong[1] }
}

const checkMail = (c: Context, email: string, message?: Message, status = 200) =>
  respond(
    c,
    <CheckMailPage
      view={viewOf(c)}
      token={browserFormToken(c)}
      email={email.slice(0, 320)}
      message={message}
    />,
    { status: status as 200 },
  )

export const signinRoutes = new Hono<PageEnv>()
  .get('/', (c) => {
    const session = readSessionCookie(c, c.var.config.keys.session_cookie, c.var.now)
    return c.redirect(session ? homeOf(session.role) : '/signin', 303)
  })
  .get('/.well-known/change-password', (c) => c.redirect('/account/security', 302))
  .get('/signin', (c) => {
    rememberLanguage(c)
    const view = viewOf(c)
    const { factors } = view.texts
    const refused = {
      spent: factors.spent,
      passkey: factors.passkeyFailed,
      disabled: [view.texts.signin.disabled],
    }
    const [title, text] = refused[c.req.query('done') as keyof typeof refused] ?? []
    const message = title
      ? { tone: 'danger' as const, title, text }
      : doneMessage(c, {
          signed_out: view.texts.signin.signedOut,
          confirmed: view.texts.signin.check.done,
          left: view.texts.account.data.left,
        })
    return respond(
      c,
      <SignInPage
        view={view}
        token={browserFormToken(c)}
        to={placeOfOurs(c.req.query('to'))}
        message={message}
        canSignUp={c.var.config.SIGNUP === 'open'}
      />,
    )
  })
  .post('/signin', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', password = '', remember } = c.var.fields
    const to = placeOfOurs(c.var.fields.to)
    try {
      const tokens = await startSession(
        c.var,
        await logIn(c.var, validate(LogIn(), { email, password, ...knownDevice(c) })),
      )
      keepSignedIn(c, tokens, remember === 'yes')
      return c.redirect(to ?? homeOf(tokens.user.role), 303)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (error.code === 'second_factor_required')
        return askForFactor(c, error, { email, stays: remember === 'yes', to })
      const view = viewOf(c)
      for (const [name, value] of Object.entries(error.headers))
        if (name === 'retry-after') c.header(name, value)
      return respond(
        c,
        <SignInPage
          view={view}
          token={browserFormToken(c)}
          to={to}
          message={refusalOf(view, error)}
          values={{ email, remember: remember ?? '' }}
          canSignUp={c.var.config.SIGNUP === 'open'}
        />,
        { status: error.status },
      )
    }
  })
  .post('/signout', signedInPage(), form(sessionOf), async (c) => {
    await logOut(c.var, c.var.actor)
    clearSessionCookie(c)
    c.header('clear-site-data', '"cache", "storage"')
    return c.redirect('/signin?done=signed_out', 303)
  })
  .get('/signup', (c) => {
    rememberLanguage(c)
    const view = viewOf(c)
    if (c.var.config.SIGNUP === 'closed') return respond(c, <SignUpClosedPage view={view} />)
    return respond(
      c,
      <SignUpPage view={view} token={browserFormToken(c)} passwordMinLength={PASSWORD_MIN_LENGTH} />,
    )
  })
  .post('/signup', limitByNetwork, form(browserOf), async (c) => {
    const { form_token: _, ...fields } = c.var.fields
    const { name = '', email = '', password = '' } = fields
    try {
      const { status, body } = await signUp(c.var, validate(SignUp(), { name, email, password }), undefined)
      rememberAsker(c, 'verify_email', body.signup_token)
      if (status === 202) return c.redirect(`/signup/check?${new URLSearchParams({ email })}`, 303)
      const tokens = await startSession(c.var, await logIn(c.var, { email, password }))
      keepSignedIn(c, tokens, true)
      return c.redirect('/account', 303)
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      const view = viewOf(c)
      const { common, signin } = view.texts
      const errors = fieldErrors(view, error)
      const message: Message = error.errors
        ? { tone: 'danger', title: common.check, text: common.checkHint }
        : { tone: 'danger', title: signin.wrong[0]!, text: problemText(view, error) }
      return respond(
        c,
        <SignUpPage
          view={view}
          token={browserFormToken(c)}
          message={message}
          values={{ name, email }}
          errors={error.code === 'email_taken' ? { email: problemText(view, error) } : errors}
          passwordMinLength={PASSWORD_MIN_LENGTH}
        />,
        { status: error.status },
      )
    }
  })
  .get('/signup/check', (c) => checkMail(c, c.req.query('email') ?? ''))
  .post('/signup/code', limitByNetwork, form(browserOf), async (c) => {
    const { email = '', code = '' } = c.var.fields
    const proof = { code: code.replace(/\s/g, ''), ...askerOf(c, c.var, 'verify_email') }
    try {
      await verifyEmail(c.var, validate(VerifyEmail(), proof), undefined)
      return c.redirect('/signin?done=confirmed', 303)
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      const view = viewOf(c)
      const [title, text] = view.texts.signin.check.wrong
      const message: Message =
        error.status === 429 ? refusalOf(view, error) : { tone: 'danger', title: title!, text }
      return checkMail(c, email, message, error.status)
    }
  })
  .post('/signup/again', limitByNetwork, form(browserOf), async (c) => {
    const { email = '' } = c.var.fields
    try {
      await resendVerification(c.var, validate(AskForMail(), { email, ...knownDevice(c) }))
      return checkMail(c, email, { title: viewOf(c).texts.signin.check.sent })
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      return checkMail(c, email, refusalOf(viewOf(c), error), error.status)
    }
  })
  .get('/forgot', (c) => {
    rememberLanguage(c)
    return respond(c, <ForgotPage view={viewOf(c)} token={browserFormToken(c)} />)
  })
  .post('/forgot', limitByNetwork, form(browserOf), async (c) => {
    const view = viewOf(c)
    const { forgotten } = view.texts.signin
    const { email = '' } = c.var.fields
    try {
      const { request_token } = await forgotPassword(c.var, validate(AskForMail(), { email }))
      rememberAsker(c, 'reset_password', request_token)
      const message = { title: forgotten.sent[0]!, text: forgotten.sent[1] }
      return respond(
        c,
        <ForgotPage view={view} token={browserFormToken(c)} message={message} values={{ email }} />,
      )
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      const message: Message = error.errors
        ? { tone: 'danger', title: view.texts.common.check, text: view.texts.common.checkHint }
        : refusalOf(view, error)
      return respond(
        c,
        <ForgotPage
          view={view}
          token={browserFormToken(c)}
          message={message}
          values={{ email }}
          errors={fieldErrors(view, error)}
        />,
        { status: error.status },
      )
    }
  })
  .get('/signin/again', signedInPage(undefined, { mayOweFactor: true }), async (c) => {
    const again = await beginReauthentication(c.var, c.var.actor)
    const { view, viewer, user } = await c.var.signedIn()
    const to = placeOfOurs(c.req.query('to')) ?? homeOf(user.role)
    return respond(
      c,
      <SignInAgainPage view={view} token={viewer.formToken} to={to} email={user.email} {...again} />,
    )
  })
  .post(
    '/signin/again',
    limitByNetwork,
    signedInPage(undefined, { mayOweFactor: true }),
    form(sessionOf),
    async (c) => {
      const to = placeOfOurs(c.var.fields.to) ?? '/'
      try {
        const proven = await reauthenticate(
          c.var,
          c.var.actor,
          validate(Reauthenticate(), againInput(c.var.fields)),
        )
        const auth_time = Math.floor(proven.provedAt / 1000)
        moveSessionCookie(c, { turn: proven.turn, auth_time, epoch: c.var.actor.epoch })
        return c.redirect(to, 303)
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500 || error.status === 401) throw error
        const again = await beginReauthentication(c.var, c.var.actor)
        const { view, viewer, user } = await c.var.signedIn()
        const { problems } = view.texts.common
        const [title, text] =
          error.code === 'wrong_code' || error.code === 'second_factor_required'
            ? view.texts.factors.wrong
            : error.code === 'invalid_passkey'
              ? view.texts.factors.passkeyFailed
              : [problems.wrong_password!]
        const message: Message =
          error.status === 429 ? refusalOf(view, error) : { tone: 'danger', title: title!, text }
        return respond(
          c,
          <SignInAgainPage
            view={view}
            token={viewer.formToken}
            to={to}
            email={user.email}
            message={message}
            {...again}
          />,
          { status: error.status },
        )
      }
    },
  )
  .onError(failingPage)
