import type { Context } from 'hono'
import { keepSignedIn } from '../../auth/keep-signed-in.ts'
import { type Proven, startSession } from '../../auth/start-session.ts'
import { AppError } from '../../http/problem.ts'
import type { PageEnv } from '../../pages/session.ts'
import { askForFactor, clearFactorDue, type Entering } from '../factor-cookie.ts'
import { placeAfter } from '../targets.ts'

/** The session begins, and the browser keeps it; where one more factor is due, that is asked for. */
export async function enter(
  c: Context<PageEnv>,
  prove: () => Promise<Proven>,
  on: Entering,
): Promise<Response> {
  try {
    const tokens = await startSession(c.var, await prove(), { cookie: true, remember: on.stays })
    keepSignedIn(c, tokens, on.stays)
    clearFactorDue(c)
    // Whoever is on the way to an app is not kept from it.
    if (tokens.needs_better_password && !on.to && !on.target)
      return c.redirect('/account/security?done=weak', 303)
    return c.redirect(placeAfter(c.var, tokens.user.role, on), 303)
  } catch (error) {
    if (error instanceof AppError && error.code === 'second_factor_required')
      return askForFactor(c, error, on)
    throw error
  }
}
