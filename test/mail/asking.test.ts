import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { expect, test, vi } from 'vitest'
import worker from '../../src/index.ts'
import { type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { freshUpstreams, readinessOf } from '../support/upstreams.ts'

/** Asking for mails and sending them must cost others nothing. */

const newAddress = () => `${crypto.randomUUID()}@people.test`
const post = (api: Api, path: string, body: object, token?: string) => api.send('POST', path, { body, token })

async function runMailCron(api: Api) {
  const context = createExecutionContext()
  worker.scheduled(createScheduledController({ cron: '* * * * *' }), api.bindings as never, context)
  await waitOnExecutionContext(context)
}

test('RL6, HX3: subaddresses of one mailbox get three mails in all, whoever signs up with them', async () => {
  const api = openApi({ EMAIL_VERIFICATION: 'required' })
  const mailbox = crypto.randomUUID()
  const addresses = Array.from({ length: 5 }, (_, i) => `${mailbox}+${i}@people.test`)
  for (const email of addresses) {
    expect((await post(api, '/v1/auth/signup', { email, password: PASSWORD, name: 'Ada' })).status).toBe(202)
  }
  const mails = await Promise.all(addresses.map((email) => api.mailsTo(email)))
  expect(mails.flat()).toHaveLength(3)
})

test('RL6, HX10: a fourth invitation or change to one address within an hour is refused, and changes nothing', async () => {
  const api = openApi()
  const admin = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  for (const [path, body] of [
    ['/v1/invitations', { email: newAddress() }],
    ['/v1/auth/change_email', { new_email: newAddress(), current_password: PASSWORD }],
  ] as const) {
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await post(api, path, body, admin.token))
    expect(answers.slice(0, 3).map(({ status }) => status < 300)).toEqual([true, true, true])
    expect([answers[3]!.status, answers[3]!.body.code]).toEqual([429, 'too_many_attempts'])
    expect(await api.mailsTo('email' in body ? body.email : body.new_email)).toHaveLength(3)
  }
  const [{ count } = {}] = await api.sql(
    "SELECT count(*) AS count FROM user_activity_logs WHERE actor_id = ? AND action IN ('invitation.created', 'email.change_requested')",
    [admin.id],
  )
  expect(count).toBe(6)
})

test('RL6: above MAILS_PER_HOUR the deployment no longer mails strangers, but still reports changes', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, MAILS_PER_HOUR: '2' })
  const people = [await api.person({ email_verified_at: 1 }), await api.person(), await api.person()]
  const said = vi.spyOn(console, 'error').mockImplementation(() => {})
  for (const { email } of people) {
    expect((await post(api, '/v1/auth/forgot_password', { email })).status).toBe(202)
  }
  expect(said.mock.calls).toEqual([['{"level":"error","code":"mails_per_hour_reached","limit":2}']])
  said.mockRestore()
  const mails = await Promise.all(people.map(({ email }) => api.mailsTo(email)))
  expect(mails.map((of) => of.length)).toEqual([1, 1, 0])
  const { token } = linkIn(mails[0]![0]!)
  const reset = await post(api, '/v1/auth/reset_password', { token, new_password: 'nine green bears run' })
  expect(reset.status).toBe(204)
  expect(await api.mailsTo(people[0]!.email)).toHaveLength(2)
})

test('Fault 17: a mail that the service refuses for good is given up at once, with the reason', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  for (const [status, isDead] of [
    [422, true],
    [401, false],
    [403, false],
    [429, false],
    [425, false],
    [408, false],
    [503, false],
  ] as const) {
    const ada = await api.person()
    await own.behave('mail', { mode: 'status', status })
    await post(api, '/v1/auth/forgot_password', { email: ada.email })
    const [row] = await api.sql('SELECT dead_at IS NOT NULL AS dead, refusal FROM outbox WHERE user_id = ?', [
      ada.id,
    ])
    expect(row).toEqual({ dead: isDead ? 1 : 0, refusal: String(status) })
  }
})

test('Fault 17: with a wrong key of the mail service no mail is given up: they go once it is corrected', async () => {
  const own = await freshUpstreams()
  const ada = await openApi(own.bindings).person()
  const wrong = openApi({ ...own.bindings, RESEND_API_KEY: `re_${crypto.randomUUID()}` })
  await post(wrong, '/v1/auth/forgot_password', { email: ada.email })
  expect((await wrong.send('GET', '/ready')).body.failed).toEqual(['mail_service'])
  const right = openApi(own.bindings)
  await right.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(right)
  expect(await right.mailsTo(ada.email)).toHaveLength(1)
  expect(readinessOf((await right.send('GET', '/ready')).body)).toBe('ready')
})

test('Fault 17: a mail does not outlive its link or its user', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const [ada, eve] = [await api.person(), await api.person()]
  await own.behave('mail', { mode: 'status', status: 500 })
  for (const { email } of [ada, eve]) await post(api, '/v1/auth/forgot_password', { email })
  await api.sql('UPDATE one_time_tokens SET spent_at = 1 WHERE subject_id = ?', [ada.id])
  await api.sql('UPDATE users SET deleted_at = 1 WHERE id = ?', [eve.id])
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await own.behave('mail', { mode: 'pass' })
  await runMailCron(api)
  expect([...(await api.mailsTo(ada.email)), ...(await api.mailsTo(eve.email))]).toEqual([])
  const { token } = await api.quickActor({ role: 'admin' })
  expect((await api.send('GET', '/ready', { token })).body.mail).toMatchObject({ waiting: 0 })
})

test('RS2: a code’s life begins when its mail is sent, not when it is asked for', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.person({ email_verified_at: 1 })
  await own.behave('mail', { mode: 'status', status: 500, next: 1 })
  const { request_token } = (await post(api, '/v1/auth/forgot_password', { email: ada.email })).body
  await api.sql('UPDATE one_time_tokens SET created_at = created_at - 720000')
  await api.sql('UPDATE outbox SET next_attempt_at = 0')
  await runMailCron(api)
  const { code } = linkIn((await api.mailsTo(ada.email))[0]!)
  const body = { code, request_token, new_password: 'nine green bears run' }
  expect((await post(api, '/v1/auth/reset_password', body)).status).toBe(204)
})

test('Every mail that somebody asked for says when, from where and with what program, in our own words', async () => {
  const api = openApi()
  const ada = await api.person()
  const headers = { 'user-agent': 'Mozilla/5.0 (Windows NT 10.0) Firefox/130.0 https://evil.test' }
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email }, headers })
  const [mail] = await api.mailsTo(ada.email)
  expect(mail!.text).toMatch(/Asked for on \d+ \w+ \d{4} at \d\d:\d\d UTC.*, with Firefox on Windows\./)
  expect(mail!.text).not.toContain('evil.test')
})

test('A stranger’s idempotency key has no effect on another’s, and a repeat after a purge does not make the user again', async () => {
  const api = openApi()
  const admin = await api.quickActor({ role: 'admin' })
  const headers = { 'idempotency-key': crypto.randomUUID() }
  const signUp = (email: string) =>
    api.send('POST', '/v1/auth/signup', { headers, body: { email, password: PASSWORD, name: 'Ada' } })
  const [first, second] = [newAddress(), newAddress()]
  const made = await signUp(first)
  expect([made.status, (await signUp(second)).status]).toEqual([201, 201])
  expect((await signUp(first)).body).toEqual(made.body)
  const purged = await api.send('DELETE', `/v1/users/${made.body.id}?hard=true`, { token: admin.token })
  expect(purged.status).toBe(204)
  const repeated = await signUp(first)
  expect([repeated.status, repeated.body.code]).toEqual([410, 'gone'])
  expect(await api.sql('SELECT id FROM users WHERE email = ?', [first])).toEqual([])
})

test('A stored answer keeps its status when the mode changes, and its key is valid for a day', async () => {
  const [optional, required] = [openApi(), openApi({ EMAIL_VERIFICATION: 'required' })]
  const headers = { 'idempotency-key': crypto.randomUUID() }
  const email = newAddress()
  const signUp = (api: Api) =>
    api.send('POST', '/v1/auth/signup', { headers, body: { email, password: PASSWORD, name: 'Ada' } })
  expect((await signUp(required)).status).toBe(202)
  const repeated = await signUp(optional)
  expect([repeated.status, repeated.headers.get('location')]).toEqual([202, null])
  await optional.sql('UPDATE idempotency_keys SET created_at = created_at - 86400001 WHERE key = ?', [
    headers['idempotency-key'],
  ])
  expect((await signUp(optional)).body.code).toBe('email_taken')
})
