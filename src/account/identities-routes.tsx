import { createMiddleware } from 'hono/factory'
import { Hono } from '../http/hono.ts'
import { makeTicket } from '../identities/attempts.ts'
import { requireProvider } from '../identities/client.ts'
import { owesProof, unlinkIdentity } from '../identities/service.ts'
import { recentlyConfirmed } from '../pages/again.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { orExplain } from '../pages/submit.ts'
import { replaceSessionCookie } from '../sessions/cookie.ts'
import { GoOnPage } from '../signin/methods/provider-pages.tsx'

const PAGE = '/account/security'
const recent = recentlyConfirmed(PAGE)
const ours = form(sessionOf)

/** Somebody who still owes a second factor adds that first. */
const owingNone = createMiddleware<PageEnv>(async (c, next) => {
  const { user } = await c.var.signedIn()
  if (owesProof(c.var, c.var.actor, JSON.parse(user.amr))) return c.redirect(`${PAGE}?done=owed`, 303)
  return next()
})

/**
 * Connecting identity providers to the user's account, and disconnecting them. Behind the guard for all pages
 * under /account/security.
 */
export const accountIdentityRoutes = new Hono<PageEnv>()
  // Answers with a page that redirects: the `form-action` policy lets no form end at another origin.
  .post('/account/security/identities/:provider', recent, ours, owingNone, async (c) => {
    const provider = requireProvider(c.var, c.req.param('provider'))
    const { user, view } = await c.var.signedIn()
    const link = await makeTicket(c.var, provider.id, c.var.actor)
    const place = `/signin/with/${provider.id}?${new URLSearchParams({ link })}`
    return respond(
      c,
      <GoOnPage view={view} provider={provider} place={place} account={user.email} isPressed back={PAGE} />,
    )
  })
  .post('/account/security/identities/:id/remove', recent, ours, owingNone, (c) =>
    orExplain(c, PAGE, async () => {
      await unlinkIdentity(c.var, c.var.actor, c.req.param('id'))
      replaceSessionCookie(c, c.var.actor)
      return c.redirect(`${PAGE}?done=disconnected`, 303)
    }),
  )
  .onError(failingPage)
