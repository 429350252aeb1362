import { listApiKeys } from '../api-keys/service.ts'
import { Hono } from '../http/hono.ts'
import { listConsents, withdrawConsent } from '../oauth/consents/service.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, type PageEnv } from '../pages/session.ts'
import { doneMessage } from '../pages/submit.ts'
import { AppsPage, KEEP } from './apps.tsx'

/** What one has let apps do, and how it is taken back. */
export const accountAppRoutes = new Hono<PageEnv>()
  .get('/account/apps', limitedList, async (c) => {
    const [{ data: list }, { data: keys }, { view, viewer }] = await Promise.all([
      listConsents(c.var, c.var.actor.sub),
      listApiKeys(c.var, c.var.actor.sub),
      c.var.signedIn(),
    ])
    const { apps, keys: ofKeys } = view.texts
    const { saved, removed } = apps.own
    const message = doneMessage(c, { saved, removed, revoked: ofKeys.revoked })
    return respond(c, <AppsPage view={view} viewer={viewer} list={list} keys={keys} message={message} />)
  })
  .post('/account/apps/change', form(sessionOf), async (c) => {
    const { fields } = c.var
    const kept = Object.keys(fields).flatMap((name) =>
      name.startsWith(KEEP) ? [name.slice(KEEP.length)] : [],
    )
    await withdrawConsent(c.var, c.var.actor, fields.id ?? '', kept)
    return c.redirect(`/account/apps?done=${kept.length > 0 ? 'saved' : 'removed'}`, 303)
  })
  .post('/account/apps/remove', form(sessionOf), async (c) => {
    await withdrawConsent(c.var, c.var.actor, c.var.fields.id ?? '')
    return c.redirect('/account/apps?done=removed', 303)
  })
  .onError(failingPage)
