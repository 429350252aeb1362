import type { AppError } from '../http/problem.ts'
import type { Said } from '../pages/components.tsx'
import { toFull, toMinute } from '../pages/format.ts'
import type { View } from '../pages/view.ts'
import { MINUTE_MS } from '../values/durations.ts'

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
