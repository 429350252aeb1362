import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { hasPermission } from '../access/permissions.ts'
import { ListActivity } from '../activity/schemas.ts'
import { ExportActivity, exportActivity } from '../bulk/export.ts'
import { inviteInBulk } from '../bulk/invitations.ts'
import { file } from '../bulk/rows.ts'
import { MAX_AT_ONCE } from '../bulk/schemas.ts'
import { listCleanupRuns } from '../cleanup/runs.ts'
import { Hono } from '../http/hono.ts'
import { AppError, notFound } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { CreateInvitation } from '../invitations/schemas.ts'
import { listInvitations, resendInvitation, withdrawInvitation } from '../invitations/service.ts'
import { listMails, retryMail } from '../mail/listing.ts'
import { againAt, recentlyConfirmed } from '../pages/again.ts'
import { carriedHere, carry } from '../pages/carried.ts'
import type { Said } from '../pages/components.tsx'
import { failingPage, problemText } from '../pages/failing.tsx'
import { toTimeTyped } from '../pages/format.ts'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage, submit } from '../pages/submit.ts'
import { zoneOf } from '../pages/view.ts'
import { knownPasskeys } from '../passkeys/service.ts'
import { lookAtChecks } from '../system/checks.ts'
import { ActivityPage } from './activity.tsx'
import { appPages } from './apps/apps-routes.tsx'
import { blockedPages } from './blocked-routes.tsx'
import { readFilter, readInvitations, sentenceOf, tried } from './input.ts'
import { InvitationsPage, type InviteResult } from './invitations.tsx'
import { readActivity, readToday } from './queries.ts'
import { SystemPage } from './system.tsx'
import { TodayPage } from './today.tsx'
import { usersPages } from './users/users-routes.tsx'
import { webhookPages } from './webhooks/webhooks-routes.tsx'

const ours = form(sessionOf)

/** `CONSOLE=off` removes the console; the API can do everything that it does. */
const ifThereIsOne = createMiddleware<PageEnv>(async (c, next) => {
  if (c.var.config.CONSOLE === 'off') throw notFound()
  await next()
})

const invitationsPage = async (
  c: Context<PageEnv>,
  outcome: {
    results?: InviteResult[]
    typed?: string | undefined
    role?: string | undefined
    message?: Said | undefined
  } = {},
) => {
  const { cursor } = c.req.query()
  const [list, { view, viewer }] = await Promise.all([
    listInvitations(c.var, { limit: 25, ...(cursor && { cursor }) }),
    c.var.signedIn(),
  ])
  const { invitations } = view.texts.console
  const message = doneMessage(c, { resent: invitations.resent, withdrawn: invitations.withdrawn })
  return respond(
    c,
    <InvitationsPage view={view} viewer={viewer} list={list} message={message} {...outcome} />,
  )
}

const changeInvitation =
  (done: string, change: typeof resendInvitation | typeof withdrawInvitation) => (c: Context<PageEnv>) =>
    submit(c, () => change(c.var, c.var.actor, c.req.param('id')!), {
      page: '/admin/invitations',
      done: `/admin/invitations?done=${done}`,
      again: ({ message }) => invitationsPage(c, { message }),
    })

/** The filter of the history. Days are in the reader's time zone, as in its headings. */
function filterOf(c: Context) {
  const { action, from, to, user_id, actor_id } = c.req.query()
  return {
    ...(action && { action }),
    ...(user_id && { user_id }),
    ...(actor_id && { actor_id }),
    ...(from && { from: toTimeTyped(zoneOf(c), `${from}T00:00:00`) }),
    ...(to && { to: toTimeTyped(zoneOf(c), `${to}T24:00:00`) }),
  }
}

const activityPage = async (c: Context<PageEnv>) => {
  const { action = '', from = '', to = '', user_id = '', actor_id = '', cursor = '' } = c.req.query()
  const asked = { limit: '50', ...filterOf(c), ...(cursor && { cursor }) }
  const { value: filter, errors } = readFilter(
    c,
    () => validate(ListActivity(), asked),
    () => validate(ListActivity(), { limit: '50' }),
  )
  const [{ list, names }, { view, viewer }] = await Promise.all([
    readActivity(c.var, filter),
    c.var.signedIn(),
  ])
  const message: Said | undefined = errors && { tone: 'danger', title: view.texts.common.check }
  return respond(
    c,
    <ActivityPage
      view={view}
      viewer={viewer}
      list={list}
      names={names}
      filter={{ action, from, to, user_id, actor_id }}
      asked={`${new URLSearchParams(filterOf(c))}`}
      message={message}
      errors={errors ?? {}}
    />,
    { status: errors ? 422 : 200 },
  )
}

export const consoleRoutes = new Hono<PageEnv>()
  .use('*', ifThereIsOne)
  .get('/', signedInPage('activity:read'), limitedList, async (c) => {
    // Only those who may read clean-up runs see the checks.
    const seesSystem = hasPermission(c.var.actor.role, 'cleanup:read')
    const [today, readiness, known, { view, viewer }] = await Promise.all([
      readToday(c.var),
      seesSystem ? lookAtChecks(c.var, c.env, { writes: false }) : undefined,
      knownPasskeys(c.var),
      c.var.signedIn(),
    ])
    const asksForNoFactor = seesSystem && c.var.config.SECOND_FACTOR === 'optional'
    return respond(c, <TodayPage {...{ view, viewer, today, readiness, known, asksForNoFactor }} />)
  })
  .route('/people', usersPages)
  .route('/apps', appPages)
  .route('/webhooks', webhookPages)
  .route('/blocked', blockedPages)
  .get('/invitations', signedInPage('users:create'), limitedList, async (c) => {
    const { values } = await carriedHere(c)
    return invitationsPage(c, { typed: values?.emails, role: values?.role })
  })
  .post('/invitations', signedInPage('users:create'), ours, async (c) => {
    const { emails = '', role = 'user' } = c.var.fields
    const lines = readInvitations(emails, role, MAX_AT_ONCE)
    const { view } = await c.var.signedIn()
    const results: InviteResult[] = []
    const good: CreateInvitation[] = []
    for (const line of lines) {
      const read = tried(() => validate(CreateInvitation(), line))
      if (read.problem) results.push({ email: line.email, problem: sentenceOf(view, read.problem) })
      else good.push(read.value)
    }
    try {
      const { data } = good.length === 0 ? { data: [] } : await inviteInBulk(c.var, { invitations: good })
      for (const { email = '', code } of data)
        results.push({ email, ...(code && { problem: problemText(view, { code, message: code }) }) })
    } catch (error) {
      if (
        !(error instanceof AppError) ||
        !['reauthentication_required', 'mail_not_configured'].includes(error.code)
      )
        throw error
      const page = '/admin/invitations'
      if (error.code === 'reauthentication_required')
        return c.redirect(againAt(page, await carry(c, page, { emails, role })), 303)
      return invitationsPage(c, {
        typed: emails,
        role,
        message: { tone: 'danger', title: problemText(view, error) },
      })
    }
    const typed = results.flatMap(({ email, problem }) => (problem ? [email] : [])).join('\n')
    return invitationsPage(c, { results, typed, role })
  })
  .post(
    '/invitations/:id/resend',
    signedInPage('users:create'),
    ours,
    changeInvitation('resent', resendInvitation),
  )
  .post(
    '/invitations/:id/withdraw',
    signedInPage('users:create'),
    ours,
    changeInvitation('withdrawn', withdrawInvitation),
  )
  .get('/activity', signedInPage('activity:read'), limitedList, activityPage)
  .get(
    '/activity/export',
    signedInPage('activity:read'),
    limitedList,
    recentlyConfirmed('/admin/activity'),
    async (c) => {
      const { format } = c.req.query()
      const asked = validate(ExportActivity(), { ...filterOf(c), ...(format && { format }) })
      return file(c, 'activity', asked.format, await exportActivity(c.var, asked))
    },
  )
  .get('/system', signedInPage('cleanup:read'), limitedList, (c) => systemPage(c))
  .post('/system/mails/:id/retry', signedInPage('mails:manage'), ours, (c) =>
    submit(c, () => retryMail(c.var, c.var.actor, c.req.param('id')), {
      page: '/admin/system',
      done: '/admin/system?done=retried',
      again: ({ message }, status) => systemPage(c, message, status),
    }),
  )
  .onError(failingPage)

const systemPage = async (c: Context<PageEnv>, problem?: Said, status = 200) => {
  const [readiness, mails, runs, { view, viewer }] = await Promise.all([
    lookAtChecks(c.var, c.env, { writes: false }),
    listMails(c.var, { status: 'dead', limit: 25 }),
    listCleanupRuns(c.var, { limit: 10 }),
    c.var.signedIn(),
  ])
  const message = problem ?? doneMessage(c, { retried: view.texts.console.system.retried })
  return respond(
    c,
    <SystemPage
      view={view}
      viewer={viewer}
      readiness={readiness}
      mails={mails.data}
      runs={runs.data}
      message={message}
    />,
    { status: status as 200 },
  )
}
