import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { ListActivity } from '../activity/schemas.ts'
import { listCleanupRuns } from '../cleanup/runs.ts'
import { Hono } from '../http/hono.ts'
import { AppError, notFound } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { CreateInvitation } from '../invitations/schemas.ts'
import {
  createInvitation,
  listInvitations,
  resendInvitation,
  withdrawInvitation,
} from '../invitations/service.ts'
import { countMails } from '../mail/outbox.ts'
import { failingPage, problemText } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage, submit } from '../pages/submit.ts'
import { ActivityPage, InvitationsPage, type InviteResult, SystemPage, TodayPage } from './pages.tsx'
import { peoplePages } from './people-routes.tsx'
import { readActivity, readToday } from './queries.ts'

const ours = form(sessionOf)
const MOST_INVITED_AT_ONCE = 25

/** `CONSOLE=off` takes the console away; what it does can be done by the API. */
const ifThereIsOne = createMiddleware<PageEnv>(async (c, next) => {
  if (c.var.config.CONSOLE === 'off') throw notFound()
  await next()
})

const invitationsPage = async (
  c: Context<PageEnv>,
  { problem, ...outcome }: { results?: InviteResult[]; typed?: string; problem?: string | undefined } = {},
) => {
  const cursor = c.req.query('cursor')
  const [list, { view, viewer }] = await Promise.all([
    listInvitations(c.var, { limit: 25, ...(cursor && { cursor }) }),
    c.var.signedIn(),
  ])
  const { invitations } = view.texts.console
  const message = doneMessage(c, { resent: invitations.resent, withdrawn: invitations.withdrawn })?.title
  return respond(
    c,
    <InvitationsPage
      view={view}
      viewer={viewer}
      invitations={list.data}
      next={list.pagination.next_cursor}
      isContinued={cursor !== undefined}
      message={message}
      problem={problem}
      {...outcome}
    />,
  )
}

export const consoleRoutes = new Hono<PageEnv>()
  .use('*', ifThereIsOne)
  .get('/', signedInPage('activity:read'), async (c) => {
    const [today, { view, viewer }] = await Promise.all([readToday(c.var), c.var.signedIn()])
    return respond(c, <TodayPage view={view} viewer={viewer} today={today} />)
  })
  .route('/people', peoplePages)
  .get('/invitations', signedInPage('users:create'), (c) => invitationsPage(c))
  .post('/invitations', signedInPage('users:create'), ours, async (c) => {
    const { emails = '', role = 'user' } = c.var.fields
    const addresses = [...new Set(emails.split(/[\s,;]+/).filter(Boolean))].slice(0, MOST_INVITED_AT_ONCE)
    const { view } = await c.var.signedIn()
    const results: InviteResult[] = []
    for (const email of addresses) {
      try {
        await createInvitation(c.var, c.var.actor, validate(CreateInvitation(), { email, role }), undefined)
        results.push({ email })
      } catch (error) {
        if (
          !(error instanceof AppError) ||
          error.status === 401 ||
          (error.status >= 500 && error.code !== 'mail_not_configured')
        )
          throw error
        if (error.code === 'reauthentication_required')
          return c.redirect(`/signin/again?${new URLSearchParams({ to: '/admin/invitations' })}`, 303)
        results.push({
          email,
          problem: problemText(
            view,
            error.errors?.[0] ? { code: error.errors[0].code, message: error.errors[0].detail } : error,
          ),
        })
      }
    }
    const typed = results.flatMap(({ email, problem }) => (problem ? [email] : [])).join('\n')
    return invitationsPage(c, { results, typed })
  })
  .post('/invitations/:id/resend', signedInPage('users:create'), ours, (c) =>
    submit(c, () => resendInvitation(c.var, c.var.actor, c.req.param('id')), {
      page: '/admin/invitations',
      done: '/admin/invitations?done=resent',
      again: ({ message }) => invitationsPage(c, { problem: message?.title }),
    }),
  )
  .post('/invitations/:id/withdraw', signedInPage('users:create'), ours, (c) =>
    submit(c, () => withdrawInvitation(c.var, c.var.actor, c.req.param('id')), {
      page: '/admin/invitations',
      done: '/admin/invitations?done=withdrawn',
      again: ({ message }) => invitationsPage(c, { problem: message?.title }),
    }),
  )
  .get('/activity', signedInPage('activity:read'), limitedList, async (c) => {
    const { action = '', from = '', to = '', cursor = '' } = c.req.query()
    const filter = validate(ListActivity(), {
      limit: '50',
      ...(action && { action }),
      ...(from && { from: `${from}T00:00:00Z` }),
      ...(to && { to: `${to}T23:59:59Z` }),
      ...(cursor && { cursor }),
    })
    const [page, { view, viewer }] = await Promise.all([readActivity(c.var, filter), c.var.signedIn()])
    return respond(
      c,
      <ActivityPage
        view={view}
        viewer={viewer}
        rows={page.list.data}
        names={page.names}
        next={page.list.pagination.next_cursor}
        filter={{ action, from, to }}
        isContinued={cursor !== ''}
      />,
    )
  })
  .get('/system', signedInPage('cleanup:read'), async (c) => {
    const [redis, { mail }, runs, { view, viewer }] = await Promise.all([
      c.var.redis.ping(),
      c.var.db.read({ mail: countMails() }),
      listCleanupRuns(c.var, { limit: 10 }),
      c.var.signedIn(),
    ])
    return respond(
      c,
      <SystemPage view={view} viewer={viewer} redis={redis === true} mail={mail[0]!} runs={runs.data} />,
    )
  })
  .onError(failingPage)
