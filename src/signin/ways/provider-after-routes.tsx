import type { Context } from 'hono'
import { limitByNetwork } from '../../access/guards.ts'
import { joinByProvider } from '../../auth/ways/provider-login.ts'
import { joining } from '../../auth/ways/schemas.ts'
import type { IdentityProvider } from '../../config/providers.ts'
import { Hono } from '../../http/hono.ts'
import { AppError, Refusal } from '../../http/problem.ts'
import { validate } from '../../http/validate.ts'
import { requireProvider } from '../../identities/client.ts'
import { invalidCallback } from '../../identities/errors.ts'
import { linkIdentity, owesProof } from '../../identities/service.ts'
import type { Said } from '../../pages/components.tsx'
import { failingPage, fieldErrors, problemText } from '../../pages/failing.tsx'
import { browserFormToken, browserOf, form, sessionOf } from '../../pages/forms.ts'
import { noteProblem, respond } from '../../pages/respond.ts'
import { homeOf, type PageEnv, signedInPage } from '../../pages/session.ts'
import { submit } from '../../pages/submit.ts'
import { viewOf } from '../../pages/view.ts'
import { knownDevice, outliveCopies } from '../../sessions/cookie.ts'
import { assertTermsOfNow } from '../../users/me.ts'
import { normalizeEmail } from '../../values/email.ts'
import { originOfTarget } from '../targets.ts'
import { enter } from './enter.ts'
import { botChallengeOf, JoinPage, thirdPartyOf } from './joining.tsx'
import { forgetPending, type Pending, pendingOf } from './provider-cookies.ts'
import { ConnectPage } from './provider-pages.tsx'
import { sayWhy } from './provider-says.tsx'

async function joinPage(
  c: Context<PageEnv>,
  { provider, profile, to, target }: Pending,
  {
    status = 200,
    ...shown
  }: { message?: Said; errors?: Record<string, string>; status?: AppError['status'] } = {},
) {
  const challenge = botChallengeOf(c.var.config)
  const page = (
    <JoinPage
      view={viewOf(c)}
      token={browserFormToken(c)}
      action={`/signin/with/${provider}/join`}
      email={profile.email ?? ''}
      challenge={challenge}
      back="/signin"
      hidden={{}}
      values={{ name: (c.var.fields as Record<string, string> | undefined)?.name ?? profile.name ?? '' }}
      {...shown}
    />
  )
  return respond(c, page, {
    status,
    ...(await originOfTarget(c.var, target, to)),
    ...thirdPartyOf(challenge),
  })
}

/** What waits for this provider. Throws 400 `invalid_callback`. */
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
  const to = pending.to ?? homeOf(user.role)
  // Whoever signed in to another account than that of the address is asked nothing.
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
    { status: status as 200, ...(await originOfTarget(c.var, undefined, to)) },
  )
}

/** What is still to be done once somebody is back: a name to be typed, an account to be signed in to. */
export const providerAfterPages = new Hono<PageEnv>()
  .get('/signin/with/:provider/join', async (c) => {
    try {
      return await joinPage(c, (await requirePending(c)).pending)
    } catch (error) {
      return sayWhy(c, error)
    }
  })
  .post('/signin/with/:provider/join', limitByNetwork, form(browserOf), async (c) => {
    try {
      const { pending, provider } = await requirePending(c)
      const { profile, to, target, stays, id } = pending
      const { name = '', terms_version } = c.var.fields
      const challenge_token = c.var.fields['cf-turnstile-response']
      try {
        assertTermsOfNow(c.var.config, terms_version)
        const given = validate(joining(), {
          name,
          ...(terms_version && { terms_version }),
          ...(challenge_token && { challenge_token }),
        })
        const joins = { userId: id, email: profile.email!, ...given, name: given.name ?? '' }
        const on = { email: profile.email!, stays, to, target }
        const answer = await enter(
          c,
          () => joinByProvider(c.var, provider, profile, joins, knownDevice(c)),
          on,
        )
        forgetPending(c)
        return answer
      } catch (error) {
        const isOfChallenge = error instanceof AppError && error.code.startsWith('challenge_')
        if (!(error instanceof AppError) || !(error.errors || isOfChallenge)) throw error
        noteProblem(c, error)
        const view = viewOf(c)
        const { common } = view.texts
        const message: Said = isOfChallenge
          ? { tone: 'danger', title: problemText(view, error) }
          : { tone: 'danger', title: common.check, text: common.checkHint }
        return await joinPage(c, pending, { message, errors: fieldErrors(view, error), status: error.status })
      }
    } catch (error) {
      return sayWhy(c, error)
    }
  })
  .get('/signin/with/:provider/link', whoeverIsIn, async (c) => {
    try {
      return await connectPage(c)
    } catch (error) {
      return sayWhy(c, error)
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
          outliveCopies(c, c.var.actor)
          forgetPending(c)
        },
        {
          page: `/signin/with/${provider.id}/link`,
          done: pending.to ?? homeOf(user.role),
          again: ({ message }, status) => connectPage(c, message, status),
        },
      )
    } catch (error) {
      return sayWhy(c, error)
    }
  })
  .onError(failingPage)
