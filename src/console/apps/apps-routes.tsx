import type { Context } from 'hono'
import { Hono } from '../../http/hono.ts'
import { validate } from '../../http/validate.ts'
import { type ClientWithSecret, ListClients, RotateSecret, toClient } from '../../oauth/clients/schemas.ts'
import {
  createClient,
  deleteClient,
  requireClient,
  rotateSecret,
  updateClient,
} from '../../oauth/clients/service.ts'
import { listOwed, retryOwed } from '../../oauth/logouts/owed.ts'
import { carriedHere } from '../../pages/carried.ts'
import { failingPage } from '../../pages/failing.tsx'
import { form, sessionOf } from '../../pages/forms.ts'
import { respond } from '../../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../../pages/session.ts'
import { doneMessage, type Outcome, submit } from '../../pages/submit.ts'
import { keepFormerIn } from '../secret.tsx'
import { byFieldOf, isKind, readChange, readNew } from './input.ts'
import { AppPage, AppSecretPage, AppsPage, NewAppPage } from './pages.tsx'
import { readApp, readApps } from './queries.ts'

const ours = form(sessionOf)
const PATH = '/admin/apps'
const PER_PAGE = '25'
const OWED_SHOWN = 20

const newPage = async (c: Context<PageEnv>, { errors, ...outcome }: Outcome = {}, status = 200) => {
  const { view, viewer } = await c.var.signedIn()
  const kind = [c.req.query('kind'), outcome.values?.kind].find(isKind) ?? 'web'
  return respond(
    c,
    <NewAppPage view={view} viewer={viewer} kind={kind} {...outcome} errors={byFieldOf(errors)} />,
    { status: status as 200 },
  )
}

const appPage = async (c: Context<PageEnv>, { errors, values, ...outcome }: Outcome = {}, status = 200) => {
  const id = c.req.param('id')!
  const [{ row, ...found }, { data: owed }, { view, viewer }] = await Promise.all([
    readApp(c.var, id),
    listOwed(c.var, id, { limit: OWED_SHOWN }),
    c.var.signedIn(),
  ])
  const { clients, common } = view.texts
  const message = doneMessage(c, { ...clients.done, saved: common.saved })
  const app = toClient(row)
  // A button beside the settings sends none of their fields, so nothing was typed and they are as stored.
  const typed = values && 'seen' in values ? { values } : {}
  return respond(
    c,
    <AppPage
      {...{ view, viewer, app, owed, message, ...found, ...outcome, ...typed }}
      errors={byFieldOf(errors)}
    />,
    { status: status as 200 },
  )
}

/** Answers a form that makes a secret with the page that shows it, only this once. */
const showing = (
  c: Context<PageEnv>,
  work: () => Promise<ClientWithSecret>,
  to: Parameters<typeof submit>[2],
): Promise<Response> =>
  submit(
    c,
    async () => {
      const app = await work()
      if (app.client_secret === undefined) return c.redirect(`${PATH}/${app.client_id}?done=created`, 303)
      const { view, viewer } = await c.var.signedIn()
      return respond(c, <AppSecretPage view={view} viewer={viewer} app={app} />)
    },
    to,
  )

/** One change to one app, by a button on its page. */
const change = (
  c: Context<PageEnv>,
  done: string,
  work: (id: string) => Promise<unknown>,
  after?: string,
) => {
  const page = `${PATH}/${c.req.param('id')}`
  return submit(c, () => work(c.req.param('id')!), {
    page,
    done: `${after ?? page}?done=${done}`,
    again: (outcome, status) => appPage(c, outcome, status),
  })
}

/** Apps that people sign in to, and services: the same as /v1/oauth_clients. */
export const appPages = new Hono<PageEnv>()
  .use('*', signedInPage('clients:manage'))
  .get('/', limitedList, async (c) => {
    const { cursor } = c.req.query()
    const asked = validate(ListClients(), { limit: PER_PAGE, ...(cursor && { cursor }) })
    const [{ list, names }, { view, viewer }] = await Promise.all([readApps(c.var, asked), c.var.signedIn()])
    const message = doneMessage(c, view.texts.clients.done)
    return respond(c, <AppsPage {...{ view, viewer, list, names, message }} />)
  })
  .get('/new', async (c) => newPage(c, await carriedHere(c)))
  .post('/new', ours, (c) => {
    const { fields } = c.var
    const kind = isKind(fields.kind) ? fields.kind : 'web'
    return showing(c, async () => createClient(c.var, readNew(fields, kind)), {
      page: `${PATH}/new`,
      again: (outcome, status) => newPage(c, outcome, status),
    })
  })
  .get('/:id', limitedList, async (c) => appPage(c, await carriedHere(c)))
  .post('/:id', ours, (c) =>
    change(c, 'saved', async (id) => {
      const row = await requireClient(c.var, id)
      const { seen = '' } = c.var.fields
      // Does not overwrite what somebody else has changed since the form was opened.
      return updateClient(c.var, id, readChange(c.var.fields, toClient(row)), { seen })
    }),
  )
  .post('/:id/secret', ours, (c) => {
    const id = c.req.param('id')
    const asked = keepFormerIn(c.var.fields)
    return showing(c, async () => rotateSecret(c.var, id, validate(RotateSecret(), asked)), {
      page: `${PATH}/${id}`,
      again: (outcome, status) => appPage(c, outcome, status),
    })
  })
  .post('/:id/take_over', ours, (c) =>
    change(c, 'owned', (id) => updateClient(c.var, id, { take_over: true })),
  )
  .post('/:id/logouts/retry', ours, (c) => change(c, 'retried', (id) => retryOwed(c.var, id)))
  .post('/:id/delete', ours, (c) => change(c, 'deleted', (id) => deleteClient(c.var, id), PATH))
  .onError(failingPage)
