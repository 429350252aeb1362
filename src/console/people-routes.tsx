import type { Context } from 'hono'
import { forbidden } from '../access/errors.ts'
import { isRecent } from '../access/guards.ts'
import { hasPermission, type Permission } from '../access/permissions.ts'
import { Hono } from '../http/hono.ts'
import { AppError } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, needs, type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage, type Outcome, submit } from '../pages/submit.ts'
import { changeUser, type Decision } from '../users/change.ts'
import { createUser } from '../users/create.ts'
import { ownAccount } from '../users/errors.ts'
import { exportUser } from '../users/export.ts'
import { listUsers } from '../users/listing.ts'
import {
  deleting,
  disabling,
  enabling,
  endingSessions,
  purging,
  restoring,
  updating,
} from '../users/manage.ts'
import { findUser } from '../users/queries.ts'
import { download } from '../users/routes/responses.ts'
import { CreateUser, DisableUser, ListUsers, UpdateUser } from '../users/schemas.ts'
import { sendingReset, sendingVerification } from '../users/sending.ts'
import { type BulkAction, BulkPage, type BulkResult, BulkResultPage, PeoplePage } from './people.tsx'
import { AddPersonPage, PersonPage } from './person.tsx'
import { findPeople, findPerson, readTotals } from './queries.ts'

const ours = form(sessionOf)
/** A page of the list: more would be more trips than a request may make. */
const MOST_AT_ONCE = 25

const personPage = async (c: Context<PageEnv>, outcome: Outcome = {}, status = 200) => {
  const id = c.req.param('id')!
  const [person, { view, viewer }] = await Promise.all([findPerson(c.var, id), c.var.signedIn()])
  const message = doneMessage(c, { ...view.texts.console.person.done, saved: view.texts.common.saved })
  return respond(
    c,
    <PersonPage
      view={view}
      viewer={viewer}
      person={person}
      purgeAfterDays={c.var.config.PURGE_AFTER_DAYS}
      message={message}
      {...outcome}
    />,
    { status: status as 200 },
  )
}

/** One change of one user, by a button on their page. */
const action =
  (done: string, decide: (c: Context<PageEnv>) => Decision, after?: string) => (c: Context<PageEnv>) => {
    const page = `/admin/people/${c.req.param('id')}`
    return submit(c, async () => changeUser(c.var, c.req.param('id')!, await decide(c)), {
      page,
      done: `${after ?? page}?done=${done}`,
      again: (outcome, status) => personPage(c, outcome, status),
    })
  }

/** The ids that were picked in a list, at most a page of the list. */
const pickedIn = (fields: Record<string, string>) =>
  Object.keys(fields)
    .flatMap((name) => /^pick\.([0-9a-f-]{36})$/.exec(name)?.[1] ?? [])
    .slice(0, MOST_AT_ONCE)

const ACTIONS: Record<BulkAction, (c: Context<PageEnv>) => Decision> = {
  disable: (c) => disabling(c.var, validate(DisableUser(), { reason: c.var.fields.reason ?? '' })),
  enable: (c) => enabling(c.var),
  end_sessions: (c) => endingSessions(c.var),
  delete: (c) => deleting(c.var),
}
const NEEDS: Record<BulkAction, Permission> = {
  disable: 'users:update',
  enable: 'users:update',
  end_sessions: 'sessions:manage',
  delete: 'users:delete',
}
const isAction = (name: string | undefined): name is BulkAction =>
  name !== undefined && Object.hasOwn(ACTIONS, name)

export const peoplePages = new Hono<PageEnv>()
  .use('*', signedInPage('users:read'))
  .get('/', limitedList, async (c) => {
    const { q = '', role = '', status = '', sort = '-created_at', cursor = '' } = c.req.query()
    // A search is in the order of creation; so is a list that nothing was said of.
    const asked = {
      q: q.trim(),
      role,
      status,
      cursor,
      sort: q && !sort.endsWith('created_at') ? '-created_at' : sort,
    }
    const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ''))
    const filter = validate(ListUsers(), { ...given, limit: '25' })
    const [list, totals, { view, viewer }] = await Promise.all([
      listUsers(c.var, c.var.actor, filter),
      readTotals(c.var),
      c.var.signedIn(),
    ])
    const message = doneMessage(c, view.texts.console.person.done)?.title
    return respond(
      c,
      <PeoplePage
        view={view}
        viewer={viewer}
        people={list.data}
        total={list.pagination.total}
        next={list.pagination.next_cursor}
        isContinued={cursor !== ''}
        filter={asked}
        totals={totals}
        message={message}
      />,
    )
  })
  .post('/bulk', ours, async (c) => {
    const { action } = c.var.fields
    const ids = pickedIn(c.var.fields)
    if (!isAction(action) || ids.length === 0) return c.redirect('/admin/people', 303)
    const [people, { view, viewer }] = await Promise.all([findPeople(c.var, ids), c.var.signedIn()])
    return respond(c, <BulkPage view={view} viewer={viewer} action={action} people={people} />)
  })
  .post('/bulk/run', ours, async (c) => {
    const { action } = c.var.fields
    const ids = pickedIn(c.var.fields)
    if (!isAction(action) || ids.length === 0) return c.redirect('/admin/people', 303)
    if (!hasPermission(c.var.actor.role, NEEDS[action])) throw forbidden()
    const results: BulkResult[] = []
    for (const id of ids) results.push({ id, user: undefined, ...(await problemOf(c, id, ACTIONS[action])) })
    const [people, { view, viewer }] = await Promise.all([findPeople(c.var, ids), c.var.signedIn()])
    const named = results.map((result) => ({ ...result, user: people.find(({ id }) => id === result.id) }))
    return respond(c, <BulkResultPage view={view} viewer={viewer} action={action} results={named} />)
  })
  .get('/new', needs('users:create'), async (c) => {
    const { view, viewer } = await c.var.signedIn()
    return respond(c, <AddPersonPage view={view} viewer={viewer} />)
  })
  .post('/new', needs('users:create'), ours, (c) => {
    const { form_token: _, ...fields } = c.var.fields
    let id = ''
    return submit(
      c,
      async () => {
        id = (await createUser(c.var, validate(CreateUser(), fields), undefined, c.var.actor)).id
      },
      {
        page: '/admin/people/new',
        get done() {
          return `/admin/people/${id}?done=created`
        },
        again: async (outcome, status) => {
          const { view, viewer } = await c.var.signedIn()
          return respond(c, <AddPersonPage view={view} viewer={viewer} {...outcome} />, {
            status: status as 200,
          })
        },
      },
    )
  })
  .get('/:id', (c) => personPage(c))
  .post('/:id', needs('users:update'), ours, (c) => {
    const { form_token: _, version, ...fields } = c.var.fields
    const page = `/admin/people/${c.req.param('id')}`
    // Whoever changed the user since the form was opened is not overwritten.
    const acting = { ...c.var, ...(version && { ifMatch: [Number(version)] }) }
    return submit(
      c,
      async () => changeUser(acting, c.req.param('id'), updating(c.var, validate(UpdateUser(), fields))),
      { page, done: `${page}?done=saved`, again: (outcome, status) => personPage(c, outcome, status) },
    )
  })
  .post(
    '/:id/disable',
    needs('users:update'),
    ours,
    action('disabled', (c) => {
      const { reason = '', until = '' } = c.var.fields
      return disabling(c.var, validate(DisableUser(), { reason, ...(until && { until: `${until}:00Z` }) }))
    }),
  )
  .post(
    '/:id/enable',
    needs('users:update'),
    ours,
    action('enabled', (c) => enabling(c.var)),
  )
  .post(
    '/:id/end_sessions',
    needs('sessions:manage'),
    ours,
    action('sessions', (c) => endingSessions(c.var)),
  )
  .post(
    '/:id/delete',
    needs('users:delete'),
    ours,
    action('deleted', (c) => deleting(c.var), '/admin/people'),
  )
  .post(
    '/:id/restore',
    needs('users:delete'),
    ours,
    action('restored', (c) => restoring(c.var)),
  )
  .post('/:id/erase', needs('users:purge'), ours, async (c) => {
    const user = await findUser(c.var, c.var.actor, c.req.param('id'))
    if (c.var.fields.confirm !== user.email) {
      const { view } = await c.var.signedIn()
      const { eraseMismatch } = view.texts.console.person
      return personPage(
        c,
        { message: { tone: 'danger', title: eraseMismatch }, errors: { confirm: eraseMismatch } },
        422,
      )
    }
    return action('erased', () => purging(c.var), '/admin/people')(c)
  })
  .post(
    '/:id/send_reset',
    needs('users:update'),
    ours,
    action('reset', (c) => sendingReset(c.var)),
  )
  .post(
    '/:id/send_verification',
    needs('users:update'),
    ours,
    action('verification', (c) => sendingVerification(c.var)),
  )
  .get('/:id/export', needs('users:export'), async (c) => {
    const id = c.req.param('id')
    if (!isRecent(c.var.actor, c.var.now))
      return c.redirect(`/signin/again?${new URLSearchParams({ to: `/admin/people/${id}` })}`, 303)
    return download(c, await exportUser(c.var, c.var.actor, id))
  })
  .onError(failingPage)

/** Does one thing to one of several; the code of what stood in the way, if something did. */
async function problemOf(
  c: Context<PageEnv>,
  id: string,
  decide: (c: Context<PageEnv>) => Decision,
): Promise<{ problem?: string }> {
  try {
    // Ending one's own session would end the one that does this.
    if (id === c.var.actor.sub) throw ownAccount()
    await changeUser(c.var, id, decide(c))
    return {}
  } catch (error) {
    // What was done before stays done, and is told: the one that failed says so in its row.
    if (!(error instanceof AppError) || error.status === 401) throw error
    return { problem: error.code }
  }
}
