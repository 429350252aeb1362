import type { Context } from 'hono'
import type { Config } from '../config/main.ts'
import type { AppError } from '../http/problem.ts'
import type { Said } from '../pages/components.tsx'
import { toFull, toMinute } from '../pages/format.ts'
import { browserFormToken } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { type View, viewOf } from '../pages/view.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { SignInPage, type Ways } from './pages.tsx'
import { type Continuation, originOfTarget } from './targets.ts'

/** What the sign-in page offers beside the password. */
export const waysOf = ({ SIGNUP, EMAIL_CODE_SIGNIN, IDENTITY_PROVIDERS }: Config): Ways => ({
  providers: IDENTITY_PROVIDERS,
  canSignUp: SIGNUP === 'open',
  takesCode: EMAIL_CODE_SIGNIN === 'on',
})

/** The sign-in page again, with the reason why a sign-in was refused. */
export async function refusedSignIn(
  c: Context<PageEnv>,
  error: AppError,
  { to, target }: Continuation,
  values?: Record<string, string>,
) {
  const view = viewOf(c)
  return respond(
    c,
    <SignInPage
      view={view}
      token={browserFormToken(c)}
      to={to}
      target={target}
      message={refusalOf(view, error)}
      {...(values && { values })}
      {...waysOf(c.var.config)}
    />,
    { status: error.status, ...(await originOfTarget(c.var, target, to)) },
  )
}

/**
 * The message of a refused sign-in. Wrong, unknown and locked are one sentence. Rethrows our own failures.
 */
export function refusalOf(view: View, error: AppError): Said {
  const { signin } = view.texts
  const waiting = waitOf(view, error)
  const disabledUntil = error.members?.disabled_until as string | undefined
  if (waiting) return waiting
  if (error.code === 'account_disabled') {
    const title = disabledUntil
      ? signin.disabledUntil(toFull(view, Date.parse(disabledUntil)))
      : signin.disabled
    return { tone: 'danger', title, text: signin.askAdmin(view.organisation) }
  }
  if (error.code === 'email_not_verified')
    return {
      tone: 'warn',
      title: signin.confirmFirst[0]!,
      text: (
        <>
          {signin.confirmFirst[1]} <a href="/signup/resend">{signin.sendAgain}</a>
        </>
      ),
    }
  if (error.status >= 500) throw error
  return { tone: 'danger', title: signin.wrong[0]!, text: signin.wrong[1] }
}

/** The message that says how long to wait; undefined for any other error. */
export function waitOf(view: View, error: AppError): Said | undefined {
  const { signin } = view.texts
  if (error.code === 'hashing_busy')
    return { tone: 'danger', title: signin.hashing[0]!, text: signin.hashing[1] }
  if (error.status !== 429) return undefined
  const waitMs = Number(error.headers['retry-after'] ?? 0) * 1000
  const minutes = Math.max(1, Math.ceil(waitMs / MINUTE_MS))
  return {
    tone: 'danger',
    title: signin.tooMany,
    text: signin.waitMinutes(minutes, toMinute(view, view.now + waitMs)),
  }
}
