import type { Context } from 'hono'
import { type ApiKeyWithSecret, CreateApiKey } from '../api-keys/schemas.ts'
import { createApiKey, revokeApiKey, rotateApiKey } from '../api-keys/service.ts'
import { Hono } from '../http/hono.ts'
import { validate } from '../http/validate.ts'
import { recentlyConfirmed } from '../pages/again.ts'
import { carriedHere } from '../pages/carried.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import type { PageEnv } from '../pages/session.ts'
import { type Outcome, submit } from '../pages/submit.ts'
import { DAY_MS } from '../values/durations.ts'
import { toTime } from '../values/ids.ts'
import { KeyPage, MAY, NewKeyPage } from './keys.tsx'

const APPS = '/account/apps'
const NEW = `${APPS}/keys/new`
const ours = form(sessionOf)

async function newKey(c: Context<PageEnv>, outcome: Outcome, status = 200) {
  const { view, viewer } = await c.var.signedIn()
  return respond(c, <NewKeyPage view={view} viewer={viewer} {...outcome} />, { status: status as 200 })
}

/** The only answer that shows the secret. */
async function keyPage(c: Context<PageEnv>, apiKey: ApiKeyWithSecret) {
  const { view, viewer } = await c.var.signedIn()
  return respond(c, <KeyPage view={view} viewer={viewer} apiKey={apiKey} />)
}

/** The form's input, in the shape that the API takes. */
function readKey({ name = '', days = '', ...fields }: Record<string, string>, now: number) {
  const permissions = Object.keys(fields).flatMap((field) =>
    field.startsWith(MAY) ? [field.slice(MAY.length)] : [],
  )
  const expires_at = /^[1-9]\d{0,2}$/.test(days) ? toTime(now + Number(days) * DAY_MS) : null
  return validate(CreateApiKey(), { name, permissions, expires_at })
}

/**
 * The user's own keys, as in the API: /v1/api_keys. A secret is shown only on the page that answers its
 * creation.
 */
export const accountKeyRoutes = new Hono<PageEnv>()
  .get(NEW, recentlyConfirmed(NEW), async (c) => newKey(c, await carriedHere(c)))
  .post(NEW, ours, (c) =>
    submit(
      c,
      async () => keyPage(c, await createApiKey(c.var, c.var.actor, readKey(c.var.fields, c.var.now))),
      { page: NEW, again: (outcome, status) => newKey(c, outcome, status) },
    ),
  )
  .post('/account/apps/keys/:id/rotate', recentlyConfirmed(APPS), ours, async (c) =>
    keyPage(c, await rotateApiKey(c.var, c.var.actor, c.req.param('id'))),
  )
  .post('/account/apps/keys/:id/revoke', ours, async (c) => {
    await revokeApiKey(c.var, c.var.actor, c.req.param('id'))
    return c.redirect(`${APPS}?done=revoked`, 303)
  })
  .onError(failingPage)
