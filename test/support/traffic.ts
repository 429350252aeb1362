import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { v7 as uuidv7 } from 'uuid'
import { inject } from 'vitest'
import { countDays } from '../../src/activity/stats.ts'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { deliverDue } from '../../src/mail/delivery.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { deliverEvents } from '../../src/webhooks/delivery.ts'
import { type Answer, type Api, linkIn, type Options, PASSWORD } from './api.ts'
import { softwarePasskey } from './authenticator.ts'
import { RARE_NAME } from './crowd.ts'
import { challengeOf, codeOf, mailedCode, wrongCodeOf } from './factors.ts'
import { codeIn } from './mails.ts'
import { addApp, letApp, REDIRECT } from './oauth.ts'
import { openBrowser } from './pages.ts'
import { loginCode, newPerson } from './requests.ts'
import { addDelivery, NEW_WEBHOOK } from './webhook-requests.ts'

/** Sends one request of a route, named as in the router; `id` replaces `:id` or the like. */
export type Visit = (route: string, options?: Options & { query?: string; id?: string }) => Promise<Answer>

export const PAGE = 10
const SORTS = ['created_at', '-created_at', 'email', '-email', 'name', '-name']

/**
 * Every route of the API, with every filter and sort of the lists, and the cron job: together they run all statements
 * there are. People of every role in every state must exist (see crowd.ts), enough of them for several pages.
 */
export async function everyRequest(api: Api, visit: Visit, historian: { id: string }): Promise<void> {
  const admin = await api.actor({ role: 'admin' })
  const by = { token: admin.token }
  await listPeople(api, visit, by)
  await listHistory(visit, by, historian)
  await oneself(api, visit)
  await managing(visit, by)
  await byMail(api, visit, by)
  await byFactors(api, visit, by)
  await manyAtOnce(api, visit, by)
  await byApps(api, visit, by)
  await byWebhooks(api, visit, by)
  await bySignupBlocks(visit, by)
  for (const route of [
    'GET /health',
    'GET /ready',
    'GET /openapi.json',
    'GET /docs',
    'GET /.well-known/jwks.json',
    'GET /.well-known/oauth-authorization-server',
    'GET /.well-known/openid-configuration',
  ])
    await visit(route)
  await visit('GET /problems/:code', { id: 'not_found' })
}

async function listPeople(api: Api, visit: Visit, by: { token: string }) {
  /** First page, second by number, and one far down by cursor. */
  const pages = async (filters: string) => {
    const query = `limit=${PAGE}&${filters}`
    await visit('GET /v1/users', { ...by, query })
    const second = await visit('GET /v1/users', { ...by, query: `${query}&page=2` })
    const { pages = 2 } = second.body.pagination as { pages?: number }
    const far = Math.min(Math.ceil(pages / 2), 10_000 / PAGE)
    const { body } = await api.send('GET', `/v1/users?${query}&page=${far}`, by)
    const { next_cursor } = body.pagination as { next_cursor: string | null }
    if (next_cursor) await visit('GET /v1/users', { ...by, query: `${query}&cursor=${next_cursor}` })
  }
  for (const role of ['', '&role=manager']) {
    for (const status of [
      '',
      '&status=deleted',
      ...(inject('whole') ? ['&status=active', '&status=disabled'] : []),
    ]) {
      for (const sort of SORTS) await pages(`sort=${sort}${role}${status}`)
      for (const sort of ['-created_at', 'email', 'name'])
        await pages(`sort=${sort}${role}${status}&email=member-6@crowd.test`)
      for (const sort of SORTS.slice(0, 2)) {
        for (const q of ['crowd', RARE_NAME, 'absent-from-here'])
          await pages(`sort=${sort}${role}${status}&q=${q}`)
        await pages(`sort=${sort}${role}${status}&q=crowd&email=member-6@crowd.test`)
      }
    }
  }
}

async function listHistory(visit: Visit, by: { token: string }, { id }: { id: string }) {
  const pages = async (route: string, filters: string) => {
    const query = `limit=${PAGE}&${filters}`
    const first = await visit(route, { ...by, id, query })
    const { next_cursor } = first.body.pagination as { next_cursor: string | null }
    if (next_cursor) await visit(route, { ...by, id, query: `${query}&cursor=${next_cursor}` })
  }
  const times = '&from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z'
  for (const action of ['', '&action=login.failed', '&action=password.not_checked']) {
    for (const time of ['', times]) {
      for (const who of ['', `&user_id=${id}`, `&actor_id=${id}`])
        await pages('GET /v1/activity', `${action}${time}${who}`)
      await pages('GET /v1/users/:id/activity', `${action}${time}`)
      await pages('GET /v1/users/me/activity', `${action}${time}`)
    }
  }
  await pages('GET /v1/cleanup/runs', '')
  await visit('GET /v1/cleanup/runs', { ...by, query: 'limit=1' })
}

async function oneself(api: Api, visit: Visit) {
  const signUp = { email: `${uuidv7()}@people.test`, password: PASSWORD, name: 'Ada' }
  await visit('POST /v1/auth/signup', { body: signUp })
  const headers = { 'idempotency-key': uuidv7() }
  await visit('POST /v1/auth/signup', { body: { ...signUp, email: `x${signUp.email}` }, headers })
  await visit('POST /v1/auth/signup', { body: { ...signUp, email: `x${signUp.email}` }, headers })
  const ada = await api.actor()
  const by = { token: ada.token }
  const login = { email: ada.email, password: PASSWORD }
  await visit('POST /v1/auth/login', { body: login })
  await visit('POST /v1/auth/login', { body: { ...login, password: 'wrong' } })
  await visit('POST /v1/auth/login', { body: { ...login, email: 'nobody@people.test' } })
  for (const token of [ada.refreshToken, ada.refreshToken, 'rt_forged'])
    await visit('POST /v1/auth/refresh_token', { body: { refresh_token: token } })
  await visit('GET /v1/auth/sessions', by)
  await visit('DELETE /v1/auth/sessions/:id', { ...by, id: uuidv7() })
  await visit('GET /v1/users/me', by)
  await visit('PATCH /v1/users/me', { ...by, body: { name: 'Grace' } })
  const { grantId, client } = await letApp(api, ada, { scope: 'openid email' })
  await visit('GET /v1/auth/grants', by)
  await visit('PATCH /v1/auth/grants/:id', { ...by, id: grantId, body: { scopes: ['openid'] } })
  await visit('DELETE /v1/auth/grants/:id', { ...by, id: grantId })
  await api.sql('DELETE FROM oauth_clients WHERE id = ?', [client.client_id])
  await api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [ada.id])
  const made = await visit('POST /v1/api_keys', { ...by, body: { name: 'Report', permissions: [] } })
  const { id: keyId, key } = made.body as { id: string; key: string }
  await visit('GET /v1/api_keys', by)
  await visit('GET /v1/users/me', { token: key })
  await visit('POST /v1/api_keys/:id/rotate', { ...by, id: keyId })
  await visit('DELETE /v1/api_keys/:id', { ...by, id: keyId })
  await visit('POST /v1/auth/logout_all', by)
  await visit('POST /v1/auth/logout', by)
  const eve = await api.actor()
  const change = { current_password: PASSWORD, new_password: 'nine green bears run' }
  await visit('POST /v1/auth/change_password', { token: eve.token, body: change })
  const again = await api.actor()
  await visit('POST /v1/auth/reauthenticate', { token: again.token, body: { password: PASSWORD } })
  const leaver = await api.actor({ email_verified_at: 1 })
  await visit('DELETE /v1/users/me', { token: leaver.token, body: { password: PASSWORD } })
  const { token } = linkIn((await api.mailsTo(leaver.email))[0]!)
  await visit('POST /v1/auth/reopen_account', { body: { token } })
}

async function managing(visit: Visit, by: { token: string }) {
  const made = await visit('POST /v1/users', {
    ...by,
    body: { email: `${uuidv7()}@people.test`, password: PASSWORD, name: 'Ada', role: 'manager' },
    headers: { 'idempotency-key': uuidv7() },
  })
  const one = { ...by, id: made.body.id as string }
  await visit('GET /v1/users/:id', one)
  await visit('PATCH /v1/users/:id', { ...one, body: { name: 'Grace' } })
  await visit('PATCH /v1/users/:id', { ...one, body: { email: `${uuidv7()}@people.test` } })
  await visit('PATCH /v1/users/:id', { ...one, body: { role: 'admin' } })
  await visit('POST /v1/users/:id/disable', { ...one, body: { reason: 'left' } })
  await visit('POST /v1/users/:id/enable', one)
  await visit('POST /v1/users/:id/unlock', one)
  await visit('POST /v1/users/:id/send_reset', one)
  await visit('POST /v1/users/:id/send_verification', one)
  await visit('GET /v1/users/:id/sessions', one)
  await visit('DELETE /v1/users/:id/sessions', one)
  await visit('DELETE /v1/users/:id', one)
  await visit('POST /v1/users/:id/restore', one)
  await visit('DELETE /v1/users/:id', { ...one, query: 'hard=true' })
}

async function byMail(api: Api, visit: Visit, by: { token: string }) {
  const newest = async (email: string) => linkIn((await api.mailsTo(email))[0]!)
  const address = () => `${uuidv7()}@people.test`
  const ada = await api.actor()
  await visit('POST /v1/auth/resend_verification', { body: { email: ada.email } })
  await visit('POST /v1/auth/resend_verification', { body: { email: address() } })
  await visit('POST /v1/auth/verify_email', {
    token: ada.token,
    body: { token: (await newest(ada.email)).token },
  })
  await visit('POST /v1/auth/verify_email', { body: { request_token: 'x', code: '00000000' } })

  const failed = { failed_logins: MAX_FAILURES_IN_A_ROW - 1, email_verified_at: 1 }
  const locked = await api.person(failed)
  await visit('POST /v1/auth/login', { body: { email: locked.email, password: 'wrong' } })
  const unlock = new URL(/^http\S+$/m.exec((await api.mailsTo(locked.email))[0]!.text)![0])
  await visit('POST /v1/auth/unlock_account', { body: { token: unlock.searchParams.get('token') } })

  const email = address()
  const change = { new_email: email, current_password: PASSWORD }
  await visit('POST /v1/auth/change_email', { token: ada.token, body: change })
  const undo = await newest(ada.email)
  const { code } = await newest(email)
  await visit('POST /v1/auth/confirm_email_change', { token: ada.token, body: { code } })
  await visit('POST /v1/auth/approve_email_change', { body: { token: undo.token } })
  await visit('POST /v1/auth/undo_email_change', { body: { token: undo.token } })

  await visit('POST /v1/auth/forgot_password', { body: { email: ada.email } })
  const { token } = await newest(ada.email)
  await visit('GET /links/:purpose', { id: 'reset_password', query: `token=${token}` })
  await visit('POST /links/:purpose', {
    id: 'reset_password',
    raw: new URLSearchParams({ token, new_password: 'x' }),
  })
  await visit('POST /v1/auth/reset_password', { body: { token, new_password: 'nine green bears run' } })

  const invite = (headers = {}) =>
    visit('POST /v1/invitations', { ...by, body: { email: address(), role: 'manager' }, headers })
  await invite()
  const { body: withdrawn } = await invite()
  await visit('POST /v1/invitations/:id/resend', { ...by, id: withdrawn.id as string })
  await visit('DELETE /v1/invitations/:id', { ...by, id: withdrawn.id as string })
  const { body: accepted } = await invite({ 'idempotency-key': uuidv7() })
  const proof = { token: (await newest(accepted.email as string)).token }
  const made = await visit('POST /v1/auth/accept_invitation', { body: { ...proof, password: PASSWORD } })
  const first = await visit('GET /v1/invitations', { ...by, query: 'limit=1' })
  const { next_cursor } = first.body.pagination as { next_cursor: string }
  await visit('GET /v1/invitations', { ...by, query: `limit=1&cursor=${next_cursor}` })
  await visit('GET /v1/users/:id/export', { ...by, id: made.body.id as string })
  await visit('GET /v1/users/me/export', by)
  await visit('DELETE /v1/users/:id', { ...by, id: made.body.id as string, query: 'hard=true' })
}

/** Several users, invitations and mails; lists as files; numbers by day; and lists read backwards. */
async function manyAtOnce(api: Api, visit: Visit, by: { token: string }) {
  const ids = [(await api.person()).id, (await api.person()).id]
  for (const action of ['disable', 'enable', 'end_sessions', 'delete'])
    await visit('POST /v1/users/bulk', { ...by, body: { action, ids } })
  const asked = ids.map((id) => ({ email: `${id}@invited.test` }))
  const invited = await visit('POST /v1/invitations/bulk', { ...by, body: { invitations: asked } })
  const invitations = (invited.body.data as { id: string }[]).map(({ id }) => id)
  for (const action of ['resend', 'withdraw'])
    await visit('POST /v1/invitations/bulk', { ...by, body: { action, ids: invitations } })
  const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
  const lines = [
    { email: asked[0]!.email, email_verified: true, external_id: ids[0], factors: { totp: { secret } } },
    { email: `${ids[1]}@imported.test` },
  ]
  const raw = lines.map((line) => JSON.stringify(line)).join('\n')
  const headers = { 'content-type': 'application/x-ndjson' }
  for (const query of ['dry_run=true', 'dry_run=false', 'dry_run=false'])
    await visit('POST /v1/users/import', { ...by, raw, headers, query })
  await visit('GET /v1/users', { ...by, query: `external_id=${ids[0]}` })
  await visit('GET /v1/users/export', by)
  await visit('GET /v1/activity/export', { ...by, query: 'format=ndjson' })
  await visit('GET /v1/stats', by)
  await api.person({ failed_logins: MAX_FAILURES_IN_A_ROW })
  for (const sort of ['created_at', '-created_at'])
    for (const narrowed of [
      'locked=true',
      'needs_reset=true',
      'email_verified=true',
      'email_verified=false',
      'second_factor=none&role=manager',
    ])
      await visit('GET /v1/users', { ...by, query: `${narrowed}&limit=${PAGE}&sort=${sort}` })
  // Old enough for the next clean-up.
  const mails = [uuidv7({ msecs: 1 }), uuidv7({ msecs: 1 })]
  for (const mail of mails)
    await api.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at, dead_at)
        VALUES (?, 'password_changed', 'e@e.test', 'e@e.test', 0, 9000000000000, 5, 0, 1)`,
      [mail],
    )
  for (const route of ['GET /v1/mails', 'GET /v1/users', 'GET /v1/activity', 'GET /v1/invitations']) {
    const first = await visit(route, { ...by, query: 'limit=1' })
    const { next_cursor } = first.body.pagination as { next_cursor: string }
    const second = await visit(route, { ...by, query: `limit=1&cursor=${next_cursor}` })
    const { prev_cursor } = second.body.pagination as { prev_cursor: string }
    await visit(route, { ...by, query: `limit=1&cursor=${prev_cursor}` })
  }
  await visit('GET /v1/mails', { ...by, query: 'status=waiting' })
  await visit('POST /v1/mails/:id/retry', { ...by, id: mails[0]! })
}

/** Who may not sign up. */
async function bySignupBlocks(visit: Visit, by: { token: string }) {
  const body = { add: ['a.example', 'b.example', '192.0.2.0/24'], remove: ['c.example'] }
  await visit('PATCH /v1/signup_blocks', { ...by, body })
  const first = await visit('GET /v1/signup_blocks', { ...by, query: 'limit=1' })
  const { next_cursor } = first.body.pagination as { next_cursor: string }
  const second = await visit('GET /v1/signup_blocks', { ...by, query: `limit=1&cursor=${next_cursor}` })
  const { prev_cursor } = second.body.pagination as { prev_cursor: string }
  await visit('GET /v1/signup_blocks', { ...by, query: `limit=1&cursor=${prev_cursor}` })
  await visit('GET /v1/signup_blocks', { ...by, query: 'covers=ada%40more.a.example' })
  await visit('PATCH /v1/signup_blocks', { ...by, body: { remove: body.add } })
}

/** Webhooks, and their deliveries. */
async function byWebhooks(api: Api, visit: Visit, by: { token: string }) {
  const { body } = await visit('POST /v1/webhooks', { ...by, body: NEW_WEBHOOK })
  const id = body.id as string
  await visit('GET /v1/webhooks', by)
  await visit('GET /v1/webhooks/:id', { ...by, id })
  await visit('PATCH /v1/webhooks/:id', { ...by, id, body: { types: ['user.purged'] } })
  await visit('POST /v1/webhooks/:id/secret', { ...by, id, body: {} })
  await visit('POST /v1/webhooks/:id/test', { ...by, id })
  const sequences = [await addDelivery(api, id), await addDelivery(api, id)]
  const first = await visit('GET /v1/webhooks/:id/deliveries', { ...by, id, query: 'limit=1' })
  const { next_cursor } = first.body.pagination as { next_cursor: string }
  const query = `limit=1&cursor=${next_cursor}`
  const second = await visit('GET /v1/webhooks/:id/deliveries', { ...by, id, query })
  const { prev_cursor } = second.body.pagination as { prev_cursor: string }
  await visit('GET /v1/webhooks/:id/deliveries', { ...by, id, query: `limit=1&cursor=${prev_cursor}` })
  await visit('POST /v1/webhooks/deliveries/:id/retry', { ...by, id: String(sequences[0]) })
  // The receiver does not answer and a delivery waits, so that every query about that is run.
  await api.sql(
    `INSERT INTO webhook_deliveries (webhook_id, event_id, type, owed_at, next_attempt_at, is_fixed)
      SELECT webhook_id, event_id, type, owed_at, 0, 1 FROM webhook_deliveries WHERE id = ?`,
    [sequences[0]!],
  )
  const context = createExecutionContext()
  await deliverEvents(openForCron(api.bindings, context), 'cron')
  await waitOnExecutionContext(context)
  await visit('DELETE /v1/webhooks/:id', { ...by, id })
}

/** Apps, and what users allow them. */
async function byApps(api: Api, visit: Visit, by: { token: string }) {
  const app = { name: 'Wiki', type: 'confidential', redirect_uris: [REDIRECT] }
  const { body } = await visit('POST /v1/oauth_clients', { ...by, body: app })
  const id = body.client_id as string
  const other = await visit('POST /v1/oauth_clients', { ...by, body: app })
  for (const query of ['', 'limit=1']) await visit('GET /v1/oauth_clients', { ...by, query })
  await visit('GET /v1/oauth_clients/:id', { ...by, id })
  await visit('PATCH /v1/oauth_clients/:id', { ...by, id, body: { name: 'Notes' } })
  await visit('POST /v1/oauth_clients/:id/secret', { ...by, id, body: {} })
  await visit('GET /v1/oauth_clients/:id/logouts', { ...by, id })
  await visit('POST /v1/oauth_clients/:id/logouts/retry', { ...by, id })
  const service = await visit('POST /v1/oauth_clients', {
    ...by,
    body: { name: 'Sync', type: 'confidential', grants: ['client_credentials'], scopes: ['users:read'] },
  })
  const { client_id, client_secret } = service.body as Record<string, string>
  const basic = { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` }
  const form = (fields: Record<string, string>) => ({ headers: basic, raw: new URLSearchParams(fields) })
  const { body: tokens } = await visit('POST /oauth/token', form({ grant_type: 'client_credentials' }))
  await api.send('GET', '/v1/users', { token: tokens.access_token as string })
  await visit('POST /oauth/introspect', form({ token: tokens.access_token as string }))
  await visit('POST /oauth/revoke', form({ token: tokens.access_token as string }))
  await visit('DELETE /v1/oauth_clients/:id', { ...by, id: client_id! })
  await withApp(api, visit)
  await withDevice(api, visit)
  for (const made of [id, other.body.client_id as string])
    await visit('DELETE /v1/oauth_clients/:id', { ...by, id: made })
}

/** A device without a browser, whose user enters its code. */
async function withDevice(api: Api, visit: Visit) {
  const app = await addApp(api, { type: 'public', grants: [DEVICE_CODE], redirect_uris: [] })
  const browser = await openBrowser(api, await api.person({ email_verified_at: 1, password_hash: null }))
  const { client_id } = app
  const begin = { raw: new URLSearchParams({ client_id, scope: 'openid' }) }
  const { body } = await visit('POST /oauth/device_authorization', begin)
  const { device_code, user_code } = body as Record<string, string>
  const poll = () =>
    visit('POST /oauth/token', {
      raw: new URLSearchParams({ client_id, grant_type: DEVICE_CODE, device_code: device_code! }),
    })
  await poll()
  const { text } = await browser('POST', '/device', { code: user_code! })
  const [device, shown] = ['device', 'shown'].map(
    (name) => new RegExp(`name="${name}" value="([^"]*)"`).exec(text)![1]!,
  )
  await browser('POST', '/device', { device: device!, shown: shown!, decision: 'deny' })
  await poll()
}

/** Signing in to an app: code, tokens, userinfo, refresh. */
async function withApp(api: Api, visit: Visit) {
  const app = await addApp(api)
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  const browser = await openBrowser(api, ada)
  const verifier = 'v'.repeat(43)
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
  const challenge = Buffer.from(digest).toString('base64url')
  const query = new URLSearchParams({
    client_id: app.client_id,
    redirect_uri: REDIRECT,
    response_type: 'code',
    scope: 'openid profile',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  })
  const basic = { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` }
  const pushed = await visit('POST /oauth/par', { headers: basic, raw: query })
  const { client_id } = app
  const arrival = new URLSearchParams({ client_id, request_uri: String(pushed.body.request_uri) })
  const page = await browser('GET', `/oauth/authorize?${arrival}`)
  const action = /action="(\/consent[^"]*)"/.exec(page.text)![1]!.replaceAll('&amp;', '&')
  const { headers } = await browser('POST', action, { decision: 'allow', shown: 'openid profile' })
  const code = new URL(headers.get('location')!).searchParams.get('code')!
  const ask = (fields: Record<string, string>) =>
    visit('POST /oauth/token', { headers: basic, raw: new URLSearchParams(fields) })
  const redeeming = {
    grant_type: 'authorization_code',
    code,
    redirect_uri: REDIRECT,
    code_verifier: verifier,
  }
  const { body } = await ask(redeeming)
  await visit('GET /oauth/userinfo', { token: body.access_token as string })
  await visit('POST /oauth/userinfo', {
    raw: new URLSearchParams({ access_token: body.access_token as string }),
  })
  await ask({ grant_type: 'refresh_token', refresh_token: body.refresh_token as string })
  await ask(redeeming)
  const { token } = await api.signIn(
    (await api.sql('SELECT id FROM users WHERE role = ? ORDER BY id DESC LIMIT 1', ['admin']))[0] as {
      id: string
    },
  )
  await api.send('DELETE', `/v1/oauth_clients/${app.client_id}`, { token })
}

/** Adding, using and losing second factors. */
async function byFactors(api: Api, visit: Visit, admin: { token: string }) {
  const ada = await api.actor({ email_verified_at: 1 })
  const by = { token: ada.token }
  const { body: begun } = await visit('POST /v1/auth/factors/totp', by)
  const seed = decodeBase32IgnorePadding(begun.secret as string)
  const { body: asked } = await visit('POST /v1/auth/factors/mail_code', by)
  const [mail] = await api.mailsTo(ada.email)
  const mail_code = codeIn(mail!)
  const proof = { request_token: asked.request_token, mail_code }
  const confirmed = await visit('POST /v1/auth/factors/totp/confirm', {
    ...by,
    body: { code: codeOf(seed), ...proof },
  })
  await visit('GET /v1/auth/factors', by)
  const codes = confirmed.body.recovery_codes as string[]
  const { body: login } = await visit('POST /v1/auth/login', {
    body: { email: ada.email, password: PASSWORD },
  })
  const { challenge } = login
  await visit('POST /v1/auth/login/second_factor', { body: { challenge, code: wrongCodeOf(seed) } })
  await visit('POST /v1/auth/login/second_factor', { body: { challenge, recovery_code: codes[0] } })
  const newest = async () => linkIn((await api.mailsTo(ada.email))[0]!).token
  await visit('POST /v1/auth/disown_session', { body: { token: await newest() } })
  await visit('POST /v1/auth/factors/recovery_codes', by)
  await visit('DELETE /v1/auth/factors/totp', by)
  const passkey = await softwarePasskey(api.config().ISSUER)
  type Options = { challenge_id: string; options: never }
  const begin = async (route: string, options: Parameters<Visit>[1]) =>
    (await visit(route, options)).body as unknown as Options
  const made = await begin('POST /v1/auth/passkeys/options', by)
  const added = await visit('POST /v1/auth/passkeys', {
    ...by,
    body: {
      challenge_id: made.challenge_id,
      credential: passkey.create(made.options),
      ...(await mailedCode(api, { ...ada, ...by })),
    },
  })
  const id = added.body.id as string
  await visit('PATCH /v1/auth/passkeys/:id', { ...by, id, body: { name: 'Phone' } })
  const signin = await begin('POST /v1/auth/login/passkey/options', {})
  await visit('POST /v1/auth/login/passkey', {
    body: { challenge_id: signin.challenge_id, credential: await passkey.get(signin.options) },
  })
  const again = await begin('POST /v1/auth/reauthenticate/options', by)
  await visit('POST /v1/auth/reauthenticate', {
    ...by,
    body: { challenge_id: again.challenge_id, credential: await passkey.get(again.options) },
  })
  const second = await challengeOf(api, ada)
  const factor = await begin('POST /v1/auth/login/second_factor/options', {
    body: { challenge: second.challenge },
  })
  await visit('POST /v1/auth/login/second_factor', {
    body: { challenge: second.challenge, passkey: await passkey.get(factor.options) },
  })
  const ofAdding = linkIn(
    (await api.mailsTo(ada.email)).find(({ subject }) => subject.includes('was added'))!,
  )
  await visit('DELETE /v1/auth/passkeys/:id', { ...by, id })
  await visit('POST /v1/auth/disown_factor', { body: { token: ofAdding.token, password: PASSWORD } })
  const eve = await api.quickActor({ email_verified_at: 1, password_hash: null })
  await visit('POST /v1/auth/reauthenticate/mail_code', { token: eve.token })
  const grace = newPerson()
  await visit('POST /v1/auth/login/email_code', { body: { email: grace.email } })
  const mailed = await loginCode(api, grace.email)
  await visit('POST /v1/auth/login/email_code/confirm', { body: { ...mailed, name: 'Grace' } })
  await visit('GET /v1/auth/identity_providers')
  const joined = { token: (await api.signIn(ada)).token }
  const identity = crypto.randomUUID()
  await api.sql(
    "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, 'corp', ?1, ?2, 1)",
    [identity, ada.id],
  )
  await visit('GET /v1/auth/identities', joined)
  await visit('POST /v1/auth/identities/:id', { ...joined, id: 'corp' })
  await visit('DELETE /v1/auth/identities/:id', { ...joined, id: identity })
  await visit('GET /.well-known/webauthn')
  await visit('GET /.well-known/passkey-endpoints')
  await visit('DELETE /v1/users/:id/factors', { ...admin, id: ada.id })
}

/** A run of the cron job with something of every kind to do. */
export async function everyCleanUp(api: Api): Promise<void> {
  const day = 86_400_000
  const now = Date.now()
  await api.person({ password_hash: null, deleted_at: now - 31 * day })
  await api.person({ password_hash: null, status: 'disabled', disabled_until: now - 1 })
  const resources = openForCron(api.bindings, createExecutionContext())
  await deliverDue(resources)
  await cleanUp(resources)
  await countDays(resources)
}
