import type { Context } from 'hono'
import { Hono } from '../../http/hono.ts'
import { isAccepted } from '../../http/outbound.ts'
import { validate } from '../../http/validate.ts'
import { carriedHere } from '../../pages/carried.ts'
import { failingPage } from '../../pages/failing.tsx'
import { form, sessionOf } from '../../pages/forms.ts'
import { respond } from '../../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../../pages/session.ts'
import { doneMessage, messageFor, type Outcome, submit } from '../../pages/submit.ts'
import type { View } from '../../pages/view.ts'
import { retryDelivery, testWebhook } from '../../webhooks/by-hand.ts'
import {
  CreateWebhook,
  MAX_URL_LENGTH,
  RotateWebhookSecret,
  UpdateWebhook,
  type WebhookWithSecret,
} from '../../webhooks/schemas.ts'
import { createWebhook, deleteWebhook, rotateWebhookSecret, updateWebhook } from '../../webhooks/service.ts'
import { keepFormerIn } from '../secret.tsx'
import { NewWebhookPage, TYPE, WebhookPage, WebhookSecretPage, WebhooksPage } from './pages.tsx'
import { findWebhook, readWebhooks } from './queries.ts'

const ours = form(sessionOf)
const PATH = '/admin/webhooks'

/** For requests that were not carried out as asked. */
const TONES = { unaltered: 'info', untested: 'danger', refused: 'danger' } as const

/** The settings of a webhook in a form: an address, and a box for each event type. */
const settingsIn = (fields: Record<string, string>) => ({
  url: (fields.url ?? '').trim(),
  types: Object.keys(fields).flatMap((name) => (name.startsWith(TYPE) ? [name.slice(TYPE.length)] : [])),
})

/** The address is measured as it will be called, where each non-ASCII letter becomes several characters. */
const measured = ({ texts: { common, webhooks } }: View, errors: Outcome['errors'] = {}) =>
  errors.url === common.problems.too_big
    ? { errors: { ...errors, url: webhooks.urlTooLong(MAX_URL_LENGTH) } }
    : {}

const newPage = async (c: Context<PageEnv>, outcome: Outcome = {}, status = 200) => {
  const { view, viewer } = await c.var.signedIn()
  return respond(c, <NewWebhookPage {...{ view, viewer, ...outcome, ...measured(view, outcome.errors) }} />, {
    status: status as 200,
  })
}

const webhookPage = async (c: Context<PageEnv>, { values, ...outcome }: Outcome = {}, status = 200) => {
  const [found, { view, viewer }] = await Promise.all([
    findWebhook(c.var, c.req.param('id')!, c.req.query('cursor')),
    c.var.signedIn(),
  ])
  const { done } = view.texts.webhooks
  const said = doneMessage(c, done)
  const tone = messageFor(TONES, c.req.query('done'))
  const message = said && { ...said, ...(tone && { tone }) }
  // A button beside the settings sends none of their fields, so nothing was typed and they are as stored.
  const typed = values && 'url' in values ? { values } : {}
  return respond(
    c,
    <WebhookPage
      {...{ view, viewer, message, ...found, ...outcome, ...typed, ...measured(view, outcome.errors) }}
    />,
    {
      status: status as 200,
    },
  )
}

/** Answers a form that makes a secret with the page that shows it, only this once. */
const showing = (
  c: Context<PageEnv>,
  work: () => Promise<WebhookWithSecret>,
  to: Parameters<typeof submit>[2],
): Promise<Response> =>
  submit(
    c,
    async () => {
      const webhook = await work()
      const { view, viewer } = await c.var.signedIn()
      return respond(c, <WebhookSecretPage view={view} viewer={viewer} webhook={webhook} />)
    },
    to,
  )

const here = (c: Context<PageEnv>) => {
  const page = `${PATH}/${c.req.param('id')}`
  return { page, again: (outcome: Outcome, status: number) => webhookPage(c, outcome, status) }
}

/** Webhooks: the same as /v1/webhooks. */
export const webhookPages = new Hono<PageEnv>()
  .use('*', signedInPage('webhooks:manage'))
  .get('/', limitedList, async (c) => {
    const [{ list, names }, { view, viewer }] = await Promise.all([readWebhooks(c.var), c.var.signedIn()])
    const message = doneMessage(c, view.texts.webhooks.done)
    return respond(c, <WebhooksPage {...{ view, viewer, list, names, message }} />)
  })
  .get('/new', async (c) => newPage(c, await carriedHere(c)))
  .post('/new', ours, (c) =>
    showing(c, async () => createWebhook(c.var, validate(CreateWebhook(), settingsIn(c.var.fields))), {
      page: `${PATH}/new`,
      again: (outcome, status) => newPage(c, outcome, status),
    }),
  )
  .get('/:id', limitedList, async (c) => webhookPage(c, await carriedHere(c)))
  .post('/:id', ours, (c) => {
    const { fields } = c.var
    const isWaking = !('url' in fields)
    const work = async () => {
      const asked = validate(UpdateWebhook(), isWaking ? { status: 'active' } : settingsIn(fields))
      const { done } = await updateWebhook(c.var, c.req.param('id'), asked)
      return c.redirect(`${here(c).page}?done=${done}`, 303)
    }
    return submit(c, work, here(c))
  })
  .post('/:id/secret', ours, (c) => {
    const asked = keepFormerIn(c.var.fields)
    const work = async () =>
      rotateWebhookSecret(c.var, c.req.param('id'), validate(RotateWebhookSecret(), asked))
    return showing(c, work, here(c))
  })
  .post('/:id/test', ours, (c) =>
    submit(
      c,
      async () => told(c, await testWebhook(c.var, c.req.param('id')), ['tested', 'untested']),
      here(c),
    ),
  )
  .post('/:id/retry', ours, (c) =>
    submit(
      c,
      async () => told(c, await retryDelivery(c.var, c.var.fields.sequence ?? ''), ['delivered', 'refused']),
      here(c),
    ),
  )
  .post('/:id/delete', ours, (c) =>
    submit(c, () => deleteWebhook(c.var, c.req.param('id')), { ...here(c), done: `${PATH}?done=deleted` }),
  )
  .onError(failingPage)

/** The result of a delivery by hand. */
function told(
  c: Context<PageEnv>,
  { last_status: status }: { last_status: number | null },
  [taken, refused]: [string, string],
) {
  return c.redirect(`${here(c).page}?done=${isAccepted(status) ? taken : refused}`, 303)
}
