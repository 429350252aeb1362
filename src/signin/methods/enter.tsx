import type { Context } from 'hono'
import { decodeJwt } from 'jose'
import { keepSignedIn } from '../../auth/keep-signed-in.ts'
import { type Proven, startSession } from '../../auth/start-session.ts'
import { AppError } from '../../http/problem.ts'
import { makeFormToken } from '../../pages/forms.ts'
import { respond } from '../../pages/respond.ts'
import type { PageEnv } from '../../pages/session.ts'
import { viewOf } from '../../pages/view.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { askForFactor, clearFactorDue, type Entering, noteFirstCodes } from '../factor-cookie.ts'
import { destinationAfter } from '../targets.ts'
import { FirstCodesPage } from './codes-page.tsx'

/** Starts the session, and sets its cookie; if a second factor is due, asks for that. */
export async function completeSignIn(
  c: Context<PageEnv>,
  prove: () => Promise<Proven>,
  on: Entering,
): Promise<Response> {
  try {
    const tokens = await startSession(c.var, await prove(), { cookie: true, remember: on.stays })
    keepSignedIn(c, tokens, on.stays)
    const { recovery_codes: codes } = tokens
    if (codes) noteFirstCodes(c, on)
    else clearFactorDue(c)
    // Somebody on the way to an app is not held up.
    const isAsked = tokens.needs_better_password && !on.to && !on.target
    const place = isAsked ? '/account/security?done=weak' : destinationAfter(c.var, tokens.user.role, on)
    if (!codes) return c.redirect(place, 303)
    const token = makeFormToken(c.var, decodeJwt<Claims>(tokens.access_token).sid!)
    const { email, locale } = tokens.user
    return respond(
      c,
      <FirstCodesPage view={viewOf(c, locale)} codes={codes} email={email} token={token} href={place} />,
    )
  } catch (error) {
    if (error instanceof AppError && error.code === 'second_factor_required')
      return askForFactor(c, error, on)
    throw error
  }
}
