import type { Context } from 'hono'
import { limitByNetwork } from '../../access/guards.ts'
import { joinByProvider } from '../../auth/methods/provider-login.ts'
import { joining } from '../../auth/methods/schemas.ts'
import type { IdentityProvider } from '../../config/providers.ts'
import { Hono } from '../../http/hono.ts'
import { AppError, Refusal } from '../../http/problem.ts'
import { validate } from '../../http/validate.ts'
import { requireProvider } from '../../identities/client.ts'
import { invalidCallback } from '../../identities/errors.ts'
import { linkIdentity, owesProof } from '../../identities/service.ts'
import type { Said } from '../../pages/components.tsx'
import { failingPage } from '../../pages/failing.tsx'
import { browserOf, form, sessionOf } from '../../pages/forms.ts'
import { noteProblem, respond } from '../../pages/respond.ts'
import { type PageEnv, signedInPage } from '../../pages/session.ts'
import { submit } from '../../pages/submit.ts'
import { viewOf } from '../../pages/view.ts'
import { knownDevice, replaceSessionCookie } from '../../sessions/cookie.ts'
import { normalizeEmail } from '../../values/email.ts'
import { destinationAfter, originOfTarget } from '../targets.ts'
import { completeSignIn } from './enter.tsx'
import { faultsOfJoiner, joinerIn, joinPage } from './joining.tsx'
import { forgetPending, type Pending, pendingOf } from './provider-cookies.ts'
import { ConnectPage } from './provider-pages.tsx'
import { explainRefusal } from './provider-says.tsx'

/** The provider has said who somebody is, and there is no account yet. */
const nameNeeded = (
  c: Context<PageEnv>,
  { provider, profile, ...on }: Pending,
  refused: Partial<Parameters<typeof joinPage>[2]> = {},
) =>
  joinPage(c, on, {
    action: `/signin/with/${provider}/join`,
    email: profile.email ?? '',
    back: '/signin',
    isChallenged: false,
    hidden: {},
    values: { name: (c.var.fields as Record<string, string> | undefined)?.name ?? profile.name ?? '' },
    ...refused,
  })

/** The sign-in that is pending for this provider. Throws 400 `invalid_callback`. */
async function requirePending(
  c: Context<PageEnv>,
): Promise<{ pending: Pending; provider: IdentityProvider }> {
  const provider = requireProvider(c.var, c.req.param('provider') ?? '')
  const pending = await pendingOf(c)
  if (pending?.provider !== provider.id) throw invalidCallback(new Refusal('absent'))
  return { pending, provider }
}

const whoeverIsIn = signedInPage(undefined, { mayOweFactor: true, mayOweTerms: true })

async function connectPage(c: Context<PageEnv>, message?: Said, status = 200) {
  const { user, viewer, view } = await c.var.signedIn()
  const { pending, provider } = await requirePending(c)
  const to = destinationAfter(c.var, user.role, pending)
  // If the account that somebody signed in to has another address, they are not asked to connect.
  if (normalizeEmail(user.email) !== normalizeEmail(pending.profile.email!)) return c.redirect(to, 303)
  if (!pending.profile.isProved && owesProof(c.var, c.var.actor, JSON.parse(user.amr)))
    return c.redirect('/account/security?done=owed', 303)
  return respond(
    c,
    <ConnectPage
      view={view}
      token={viewer.formToken}
      provider={provider}
      called={pending.profile.email!}
      to={to}
      message={message}
    />,
    { status: status as 200, ...(await originOfTarget(c.var, pending.target, to)) },
  )
}

/** What remains to be done after somebody comes back: type a name, or sign in to an account. */
export const providerAfterPages = new Hono<PageEnv>()
  .get('/signin/with/:provider/join', async (c) => {
    try {
      return await nameNeeded(c, (await requirePending(c)).pending)
    } catch (error) {
      return explainRefusal(c, error)
    }
  })
  .post('/signin/with/:provider/join', limitByNetwork, form(browserOf), async (c) => {
    try {
      const { pending, provider } = await requirePending(c)
      const { profile, to, target, stays, id } = pending
      const on = { email: profile.email!, stays, to, target }
      try {
        const { name = '', ...given } = validate(joining(), joinerIn(c.var.config, c.var.fields))
        const joins = { userId: id, email: profile.email!, ...given, name }
        const prove = () => joinByProvider(c.var, provider, profile, joins, knownDevice(c))
        const answer = await completeSignIn(c, prove, on)
        forgetPending(c)
        return answer
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        const faults = faultsOfJoiner(viewOf(c), error)
        if (!faults) throw error
        noteProblem(c, error)
        return await nameNeeded(c, pending, { ...faults, status: error.status })
      }
    } catch (error) {
      return explainRefusal(c, error)
    }
  })
  .get('/signin/with/:provider/link', whoeverIsIn, async (c) => {
    try {
      return await connectPage(c)
    } catch (error) {
      return explainRefusal(c, error)
    }
  })
  .post('/signin/with/:provider/link', limitByNetwork, whoeverIsIn, form(sessionOf), async (c) => {
    try {
      const { user } = await c.var.signedIn()
      const { pending, provider } = await requirePending(c)
      const isTheirs = normalizeEmail(user.email) === normalizeEmail(pending.profile.email!)
      if (!isTheirs) throw invalidCallback(new Refusal('other_address'))
      return await submit(
        c,
        async () => {
          await linkIdentity(c.var, c.var.actor, provider, pending.profile)
          replaceSessionCookie(c, c.var.actor)
          forgetPending(c)
        },
        {
          page: `/signin/with/${provider.id}/link`,
          done: destinationAfter(c.var, user.role, pending),
          again: ({ message }, status) => connectPage(c, message, status),
        },
      )
    } catch (error) {
      return explainRefusal(c, error)
    }
  })
  .onError(failingPage)
