import type { Context } from 'hono'
import { forbidden } from '../../access/errors.ts'
import { hasRecentLogin } from '../../access/guards.ts'
import { hasPermission } from '../../access/permissions.ts'
import { BULK, changeInBulk } from '../../bulk/change.ts'
import { ExportUsers, exportUsers } from '../../bulk/export.ts'
import { file } from '../../bulk/rows.ts'
import { type BulkAction, BulkChange, MAX_AT_ONCE } from '../../bulk/schemas.ts'
import { resettingFactors } from '../../factors/reset.ts'
import { Hono } from '../../http/hono.ts'
import { invalidInput } from '../../http/problem.ts'
import { validate } from '../../http/validate.ts'
import { againAt, recentlyConfirmed } from '../../pages/again.ts'
import { carriedHere, carry } from '../../pages/carried.ts'
import type { Said } from '../../pages/components.tsx'
import { failingPage } from '../../pages/failing.tsx'
import { toTimeTyped } from '../../pages/format.ts'
import { form, sessionOf } from '../../pages/forms.ts'
import { respond } from '../../pages/respond.ts'
import { limitedList, needs, type PageEnv, signedInPage } from '../../pages/session.ts'
import { doneMessage, type Outcome, submit } from '../../pages/submit.ts'
import { type View, zoneOf } from '../../pages/view.ts'
import { changeUser, type Decision } from '../../users/change.ts'
import { createUser } from '../../users/create.ts'
import { exportUser } from '../../users/export.ts'
import { listUsers } from '../../users/listing.ts'
import {
  deleting,
  disabling,
  enabling,
  endingSessions,
  purging,
  restoring,
  unlocking,
  updating,
} from '../../users/managing/manage.ts'
import { sendingReset, sendingVerification } from '../../users/managing/sending.ts'
import { download } from '../../users/routes/responses.ts'
import { CreateUser, DisableUser, ListUsers, UpdateUser } from '../../users/schemas.ts'
import { readFilter } from '../input.ts'
import { findUsersByIds, readTotals, readUserPage } from '../queries.ts'
import { AddUserPage } from './add-user.tsx'
import { BulkPage, BulkResultPage } from './bulk.tsx'
import { importPages } from './import-routes.tsx'
import { UserPage } from './user.tsx'
import { type UsersFilter, UsersPage } from './users.tsx'

const ours = form(sessionOf)

const userPage = async (c: Context<PageEnv>, outcome: Outcome = {}, status = 200) => {
  const id = c.req.param('id')!
  const [person, { view, viewer }] = await Promise.all([readUserPage(c.var, id), c.var.signedIn()])
  const message = doneMessage(c, { ...view.texts.console.person.done, saved: view.texts.common.saved })
  return respond(
    c,
    <UserPage
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

const addPage = async (c: Context<PageEnv>, outcome: Outcome, status = 200) => {
  const { view, viewer } = await c.var.signedIn()
  return respond(c, <AddUserPage view={view} viewer={viewer} {...outcome} />, { status: status as 200 })
}

/** One change to one user, by a button on their page. */
const action =
  (done: string, decide: (c: Context<PageEnv>) => Decision, after?: string) => (c: Context<PageEnv>) => {
    const page = `/admin/people/${c.req.param('id')}`
    return submit(c, async () => changeUser(c.var, c.req.param('id')!, await decide(c)), {
      page,
      done: `${after ?? page}?done=${done}`,
      again: (outcome, status) => userPage(c, outcome, status),
    })
  }

/** Permanent, so the user's address has to be typed. */
function erasing(c: Context<PageEnv>): Decision {
  const purge = purging(c.var)
  return (row) => {
    if (c.var.fields.confirm !== row.email)
      throw invalidInput([{ pointer: '/confirm', code: 'not_the_address', detail: 'Is not the address.' }])
    return purge(row)
  }
}

/** The ids that were selected in a list. */
const pickedIn = (fields: Record<string, string>) =>
  Object.keys(fields)
    .flatMap((name) => /^pick\.([0-9a-f-]{36})$/.exec(name)?.[1] ?? [])
    .slice(0, MAX_AT_ONCE)

const isAction = (name: string | undefined): name is BulkAction =>
  name !== undefined && Object.hasOwn(BULK, name)

const BULK_PAGE = '/admin/people/bulk'
const needsProof = (c: Context<PageEnv>, action: BulkAction) =>
  action === 'enable' && !hasRecentLogin(c.var.actor, c.var.now)

/**
 * Asks the manager to prove again who they are, then returns to the page that confirms the same action on the
 * same people.
 */
const proveFirst = async (c: Context<PageEnv>, action: BulkAction, ids: string[]) =>
  c.redirect(againAt(BULK_PAGE, await carry(c, BULK_PAGE, { action, ids: ids.join(' ') })), 303)

/** The page that says what is about to be done, and to whom. */
async function bulkPage(c: Context<PageEnv>, action: string | undefined, ids: string[]) {
  if (!isAction(action) || ids.length === 0) return c.redirect('/admin/people', 303)
  if (needsProof(c, action)) return proveFirst(c, action, ids)
  const [people, { view, viewer }] = await Promise.all([findUsersByIds(c.var, ids), c.var.signedIn()])
  return respond(c, <BulkPage view={view} viewer={viewer} action={action} people={people} />)
}

const PER_PAGE = '25'

/** The query of a list, without empty members. */
const askedIn = (c: Context): UsersFilter & { cursor: string } => {
  const { q = '', role = '', status = '', sort = '-created_at', cursor = '' } = c.req.query()
  const { email_verified = '', locked = '', needs_reset = '', second_factor = '' } = c.req.query()
  // A search is ordered by creation; so are filters that have an index of their own.
  const isByCreation = [q, email_verified, locked, needs_reset, second_factor].some((value) => value !== '')
  return {
    q: q.trim(),
    role,
    status,
    email_verified,
    locked,
    needs_reset,
    second_factor,
    cursor,
    sort: isByCreation && !sort.endsWith('created_at') ? '-created_at' : sort,
  }
}
const given = (fields: object) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))

const whatIsWrong = ({ texts: { common, console } }: View, errors: Record<string, string>) =>
  errors.q
    ? console.people.searchShort
    : errors.second_factor?.includes('role')
      ? console.people.factorOfWhom
      : errors.email_verified || errors.locked || errors.needs_reset || errors.second_factor
        ? console.people.oneAtATime
        : common.check

export const usersPages = new Hono<PageEnv>()
  .use('*', signedInPage('users:read'))
  .get('/', limitedList, async (c) => {
    const asked = askedIn(c)
    const { value: filter, errors } = readFilter(
      c,
      () => validate(ListUsers(), { ...given(asked), limit: PER_PAGE }),
      () => validate(ListUsers(), { limit: PER_PAGE }),
    )
    const [list, totals, { view, viewer }] = await Promise.all([
      listUsers(c.var, c.var.actor, filter),
      readTotals(c.var),
      c.var.signedIn(),
    ])
    const message: Said | undefined = errors
      ? { tone: 'danger', title: whatIsWrong(view, errors) }
      : doneMessage(c, view.texts.console.person.done)
    return respond(
      c,
      <UsersPage
        view={view}
        viewer={viewer}
        list={list}
        filter={asked}
        totals={totals}
        message={message}
        errors={errors ?? {}}
      />,
      { status: errors ? 422 : 200 },
    )
  })
  .get('/export', needs('users:export'), limitedList, recentlyConfirmed('/admin/people'), async (c) => {
    const { cursor: _, ...asked } = askedIn(c)
    const filter = validate(ExportUsers(), given({ ...asked, format: c.req.query('format') ?? '' }))
    return file(c, 'users', filter.format, await exportUsers(c.var, filter))
  })
  .get('/bulk', limitedList, async (c) => {
    const { action, ids = '' } = (await carriedHere(c)).values ?? {}
    return bulkPage(c, action, ids.split(' ').filter(Boolean))
  })
  .post('/bulk', ours, (c) => bulkPage(c, c.var.fields.action, pickedIn(c.var.fields)))
  .post('/bulk/run', ours, async (c) => {
    const { action, reason = '' } = c.var.fields
    const ids = pickedIn(c.var.fields)
    if (!isAction(action) || ids.length === 0) return c.redirect('/admin/people', 303)
    if (!hasPermission(c.var.actor.role, BULK[action].permission)) throw forbidden()
    if (needsProof(c, action)) return proveFirst(c, action, ids)
    const input = validate(BulkChange(), { action, ids, ...(action === 'disable' && { reason }) })
    const [people, { data }] = await Promise.all([findUsersByIds(c.var, ids), changeInBulk(c.var, input)])
    const { view, viewer } = await c.var.signedIn()
    const results = data.map(({ id, code }) => ({
      id,
      user: people.find((user) => user.id === id),
      ...(code !== undefined && { problem: code }),
    }))
    return respond(c, <BulkResultPage view={view} viewer={viewer} action={action} results={results} />)
  })
  .route('/import', importPages)
  .get('/new', needs('users:create'), async (c) => addPage(c, await carriedHere(c)))
  .post('/new', needs('users:create'), ours, (c) => {
    const { form_token: _, password, ...fields } = c.var.fields
    return submit(
      c,
      async () => {
        const input = validate(CreateUser(), { ...fields, ...(password && { password }) })
        const { id } = await createUser(c.var, input, undefined, c.var.actor)
        return c.redirect(`/admin/people/${id}?done=created`, 303)
      },
      { page: '/admin/people/new', again: (outcome, status) => addPage(c, outcome, status) },
    )
  })
  .get('/:id', limitedList, async (c) => userPage(c, await carriedHere(c)))
  .post('/:id', needs('users:update'), ours, (c) => {
    const { form_token: _, version, ...fields } = c.var.fields
    const page = `/admin/people/${c.req.param('id')}`
    // Does not overwrite what somebody else has changed since the form was opened.
    const acting = { ...c.var, ...(version && { ifMatch: [Number(version)] }) }
    return submit(
      c,
      async () => changeUser(acting, c.req.param('id'), updating(c.var, validate(UpdateUser(), fields))),
      { page, done: `${page}?done=saved`, again: (outcome, status) => userPage(c, outcome, status) },
    )
  })
  .post(
    '/:id/disable',
    needs('users:update'),
    ours,
    action('disabled', (c) => {
      const { reason = '', until = '' } = c.var.fields
      const time = until && toTimeTyped(zoneOf(c), until)
      return disabling(c.var, validate(DisableUser(), { reason, ...(time && { until: time }) }))
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
    '/:id/reset_factors',
    needs('users:update'),
    ours,
    action('factors', (c) => resettingFactors(c.var, c.req.param('id')!)),
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
    action('restored', (c) => restoring(c.var, { earlier_email: c.var.fields.earlier_email === 'true' })),
  )
  .post('/:id/erase', needs('users:purge'), ours, action('erased', erasing, '/admin/people'))
  .post(
    '/:id/unlock',
    needs('users:update'),
    ours,
    action('unlocked', (c) => unlocking(c.var)),
  )
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
    if (!hasRecentLogin(c.var.actor, c.var.now)) return c.redirect(againAt(`/admin/people/${id}`), 303)
    return download(c, await exportUser(c.var, c.var.actor, id))
  })
  .onError(failingPage)
