import type { Context } from 'hono'
import { mustHaveFactor } from '../access/assurance.ts'
import { endsTheft } from '../access/guards.ts'
import { listOwnActivity } from '../activity/service.ts'
import { endMySession } from '../auth/logout.ts'
import { listFactors } from '../factors/service.ts'
import { Hono } from '../http/hono.ts'
import { validate } from '../http/validate.ts'
import { listIdentities } from '../identities/service.ts'
import { recentlyConfirmed } from '../pages/again.ts'
import { failingPage } from '../pages/failing.tsx'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage, messageFor, type Outcome, submit } from '../pages/submit.ts'
import { knownPasskeys } from '../passkeys/service.ts'
import { changePassword } from '../recovery/change-password.ts'
import { requestEmailChange } from '../recovery/email-change.ts'
import { AskForMail, ChangeEmail, ChangePassword } from '../recovery/schemas.ts'
import { resendVerification } from '../recovery/verify.ts'
import {
  clearSessionCookie,
  knownDevice,
  moveSessionCookie,
  rememberDevice,
  replaceSessionCookie,
} from '../sessions/cookie.ts'
import { listOwnSessions } from '../sessions/service.ts'
import { recallContinuation, rememberContinuation } from '../signin/asker-cookie.ts'
import { readContinuation } from '../signin/targets.ts'
import { changeUser } from '../users/change.ts'
import { exportUser } from '../users/export.ts'
import { deleteMe, endingOtherSessions, updatingSelf } from '../users/me.ts'
import { download } from '../users/routes/responses.ts'
import { DeleteMe, UpdateMe } from '../users/schemas.ts'
import { FactorSections, FirstFactorNotice } from './factors.tsx'
import { IdentitySection } from './identities.tsx'
import { ActivityPage, DataPage, ProfilePage, SessionsPage } from './pages.tsx'
import { SecurityPage } from './security.tsx'

const profile = async (c: Context<PageEnv>, outcome: Outcome = {}, status = 200) => {
  const [known, { view, viewer, user }] = await Promise.all([knownPasskeys(c.var), c.var.signedIn()])
  const { account, common } = view.texts
  const message = doneMessage(c, {
    saved: common.saved,
    asked: account.profile.asked,
    sent: account.profile.sent,
    address: view.texts.links.change_email.done[0]!,
    confirmed: view.texts.links.verify_email.done[0]!,
  })
  return respond(
    c,
    <ProfilePage view={view} viewer={viewer} user={user} known={known} message={message} {...outcome} />,
    { status: status as 200 },
  )
}

/** Where somebody was going before they were asked to add a factor. */
function onwardsFrom(c: Context<PageEnv>): string | undefined {
  const { done, ...query } = c.req.query()
  const on = readContinuation(query)
  // A form that was sent here names no destination, and must not clear the one that is kept.
  if (done === 'owed' && on.to) rememberContinuation(c, on, c.var.actor.sub)
  const isDue = done === 'added' && mustHaveFactor(c.var.config.SECOND_FACTOR, c.var.actor.role!)
  return isDue ? recallContinuation(c, c.var.actor.sub).to : undefined
}

const security = async (c: Context<PageEnv>, outcome: Outcome = {}, status = 200) => {
  const [factors, { data: identities }, known, { view, viewer, user }] = await Promise.all([
    listFactors(c.var, c.var.actor.sub),
    listIdentities(c.var, c.var.actor.sub),
    knownPasskeys(c.var),
    c.var.signedIn(),
  ])
  const { account, factors: texts, common } = view.texts
  const problem = messageFor(common.problems, c.req.query('problem'))
  const isOwed = c.req.query('done') === 'owed'
  // Adding a first factor takes a mailed code.
  const isUnproved =
    (isOwed || c.req.query('problem') === 'address_not_verified') &&
    c.var.send !== undefined &&
    user.email_verified_at === null
  const message = isUnproved
    ? undefined
    : problem
      ? { tone: 'danger' as const, title: problem }
      : doneMessage(c, {
          changed: account.security.changed,
          weak: account.security.weak,
          added: texts.done,
          removed: texts.removed,
          renamed: common.saved,
          sent: account.profile.sent,
          connected: account.security.identities.done,
          disconnected: account.security.identities.gone,
        })
  return respond(
    c,
    <SecurityPage
      view={view}
      viewer={viewer}
      email={user.email}
      hasPassword={user.has_password === 1}
      message={message}
      notice={
        (isOwed || isUnproved) && (
          <FirstFactorNotice
            {...{ view, viewer }}
            title={isUnproved ? texts.confirmFirst : texts.owed}
            email={isUnproved ? user.email : undefined}
          />
        )
      }
      onwards={onwardsFrom(c)}
      {...outcome}
    >
      <FactorSections view={view} viewer={viewer} factors={factors} known={known} />
      <IdentitySection
        view={view}
        viewer={viewer}
        identities={identities}
        providers={c.var.config.IDENTITY_PROVIDERS}
      />
    </SecurityPage>,
    { status: status as 200 },
  )
}

const data = async (c: Context<PageEnv>, outcome: Outcome = {}, status = 200) => {
  const { view, viewer, user } = await c.var.signedIn()
  return respond(
    c,
    <DataPage view={view} viewer={viewer} hasPassword={user.has_password === 1} {...outcome} />,
    { status: status as 200 },
  )
}

const ours = form(sessionOf)
const onlySignedIn = signedInPage()
const owingFactor = signedInPage(undefined, { mayOweFactor: true })

export const accountRoutes = new Hono<PageEnv>()
  .use('/account/password', endsTheft)
  .use('/account/sessions/*', endsTheft)
  .use('/account/*', (c, next) =>
    /^\/account\/(security(\/|$)|verification$)/.test(c.req.path) ? next() : onlySignedIn(c, next),
  )
  .use('/account/security', owingFactor)
  .use('/account/verification', owingFactor)
  .get('/account', (c) => profile(c))
  .post('/account', ours, (c) =>
    submit(
      c,
      async () => {
        const change = validate(UpdateMe(), { name: c.var.fields.name })
        await changeUser(c.var, c.var.actor.sub, updatingSelf(change))
      },
      {
        page: '/account',
        done: '/account?done=saved',
        again: (outcome, status) => profile(c, outcome, status),
      },
    ),
  )
  .post('/account/language', ours, (c) =>
    submit(
      c,
      () => {
        const change = validate(UpdateMe(), { locale: c.var.fields.locale })
        return changeUser(c.var, c.var.actor.sub, updatingSelf(change))
      },
      {
        page: '/account',
        done: '/account?done=saved',
        again: (outcome, status) => profile(c, outcome, status),
      },
    ),
  )
  .post('/account/email', ours, (c) =>
    submit(
      c,
      async () => {
        const { new_email = '', current_password } = c.var.fields
        await requestEmailChange(c.var, c.var.actor, validate(ChangeEmail(), { new_email, current_password }))
      },
      {
        page: '/account',
        done: '/account?done=asked',
        again: (outcome, status) => profile(c, outcome, status),
        field: 'current_password',
      },
    ),
  )
  .post('/account/verification', ours, (c) => {
    const page = c.var.fields.from === 'security' ? '/account/security' : '/account'
    return submit(
      c,
      async () => {
        const { user } = await c.var.signedIn()
        await resendVerification(c.var, validate(AskForMail(), { email: user.email, ...knownDevice(c) }))
      },
      {
        page,
        done: `${page}?done=sent`,
        again: (outcome, status) => (page === '/account' ? profile : security)(c, outcome, status),
      },
    )
  })
  .get('/account/security', (c) => security(c))
  .post('/account/password', ours, (c) =>
    submit(
      c,
      async () => {
        const { current_password = '', new_password = '' } = c.var.fields
        const { session, user, deviceToken } = await changePassword(
          c.var,
          c.var.actor,
          validate(ChangePassword(), { current_password, new_password }),
        )
        moveSessionCookie(c, { turn: session.turn, epoch: user.token_epoch })
        rememberDevice(c, deviceToken)
      },
      {
        page: '/account/security',
        done: '/account/security?done=changed',
        again: (outcome, status) => security(c, outcome, status),
        field: 'current_password',
      },
    ),
  )
  .get('/account/sessions', async (c) => {
    const [{ data: list }, { view, viewer }] = await Promise.all([
      listOwnSessions(c.var, c.var.actor),
      c.var.signedIn(),
    ])
    const { sessions } = view.texts.account
    const message = doneMessage(c, { ended: sessions.signedOut, all: sessions.allSignedOut })
    return respond(c, <SessionsPage view={view} viewer={viewer} list={list} message={message} />)
  })
  .post('/account/sessions/end', recentlyConfirmed('/account/sessions'), ours, async (c) => {
    await endMySession(c.var, c.var.actor, c.var.fields.id ?? '')
    return c.redirect('/account/sessions?done=ended', 303)
  })
  .post('/account/sessions/others', recentlyConfirmed('/account/sessions'), ours, async (c) => {
    const user = await changeUser(c.var, c.var.actor.sub, endingOtherSessions(c.var))
    replaceSessionCookie(c, c.var.actor, { epoch: user.token_epoch })
    return c.redirect('/account/sessions?done=all', 303)
  })
  .get('/account/activity', limitedList, async (c) => {
    const cursor = c.req.query('cursor')
    const filter = { limit: 30, ...(cursor && { cursor }) }
    const [list, { view, viewer }] = await Promise.all([listOwnActivity(c.var, filter), c.var.signedIn()])
    return respond(c, <ActivityPage view={view} viewer={viewer} rows={list.data} pages={list.pagination} />)
  })
  .get('/account/data', (c) => data(c))
  .get('/account/data/export', recentlyConfirmed('/account/data'), async (c) =>
    download(c, await exportUser(c.var, c.var.actor, c.var.actor.sub)),
  )
  .post('/account/data/leave', ours, (c) =>
    submit(
      c,
      async () => {
        const { password } = validate(DeleteMe(), { password: c.var.fields.password })
        await deleteMe(c.var, password)
        clearSessionCookie(c)
      },
      {
        page: '/account/data',
        done: '/signin?done=left',
        again: (outcome, status) => data(c, outcome, status),
        field: 'password',
      },
    ),
  )
  .onError(failingPage)
