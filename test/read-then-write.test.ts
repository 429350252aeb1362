import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { eq } from 'drizzle-orm'
import { beforeAll, expect, test } from 'vitest'
import { openForCron } from '../src/context.ts'
import worker from '../src/index.ts'
import { bySystem, changeUserBy } from '../src/users/change.ts'
import { selectUsers, users } from '../src/users/models.ts'
import { type Answer, type Api, linkIn, openApi, PASSWORD } from './support/api.ts'
import { addTotp } from './support/factors.ts'
import { addKey } from './support/keys.ts'
import { codeIn } from './support/mails.ts'
import { addApp } from './support/oauth.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** What was true when it was read may no longer be true when something is written: another change comes in between. */

const DAY_MS = 86_400_000
let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: string

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = (await api.quickActor({ role: 'admin' })).token
})

const manage = (method: string, path: string, body?: object) =>
  api.send(method, `/v1/users${path}`, { token: admin, body })
const rowOf = async (id: string) => (await api.sql('SELECT * FROM users WHERE id = ?', [id]))[0]

async function cron(schedule: string): Promise<void> {
  const context = createExecutionContext()
  worker.scheduled(createScheduledController({ cron: schedule }), api.bindings as never, context)
  await waitOnExecutionContext(context)
}
const cleanUp = () => cron('*/15 * * * *')
const sendMail = () => cron('* * * * *')

test('HX8: a lagging replica does not prevent a change: from the second attempt on the primary is read', async () => {
  const ada = await api.person()
  const resources = openForCron(api.bindings as never, createExecutionContext())
  const stale = await resources.db.read({ user: selectUsers().where(eq(users.id, ada.id)) })
  await manage('PATCH', `/${ada.id}`, { name: 'Grace' })
  // All that the replica knows.
  const read = async () => stale as never
  const lagging = { ...resources, db: { ...resources.db, read } }
  const changed = await changeUserBy(lagging, bySystem, ada.id, ({ name }) => ({
    action: 'user.updated',
    details: { name: { from: name, to: 'Joan' } },
    set: { name: 'Joan' },
  }))
  expect([changed.name, (await rowOf(ada.id))!.name]).toEqual(['Joan', 'Joan'])
})

test('LE6, HX10: a login that began with the old password leaves no session after a new one is set', async () => {
  const ada = await api.person()
  const session = await api.signIn(ada)
  const { result, wasHeld } = await own.between(
    () => api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } }),
    // A change of the password, without the time for its hashes.
    () =>
      api.sql('UPDATE users SET token_epoch = token_epoch + 1, version = version + 1 WHERE id = ?', [ada.id]),
    { nth: 2 },
  )
  expect([wasHeld, result.status]).toEqual([true, 401])
  const open = await api.sql('SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL', [ada.id])
  expect(open).toEqual([{ id: session.sessionId }])
})

test('LE6, HX10: a service’s request changes nothing if its owner is demoted meanwhile', async () => {
  const scopes = ['users:read', 'users:update']
  const app = await addApp(api, { grants: ['client_credentials'], redirect_uris: [], scopes })
  const { body: given } = await api.send<{ access_token: string }>('POST', '/oauth/token', {
    headers: { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` },
    raw: new URLSearchParams({ grant_type: 'client_credentials' }),
  })
  const ada = await api.person()
  const before = await rowOf(ada.id)
  const { result, wasHeld } = await own.between(
    () => api.send('PATCH', `/v1/users/${ada.id}`, { token: given.access_token, body: { name: 'Grace' } }),
    () =>
      api.sql("UPDATE users SET role = 'user', token_epoch = token_epoch + 1 WHERE id = ?", [app.owner_id]),
    { only: 'user.updated' },
  )
  expect([wasHeld, result.status]).toEqual([true, 401])
  expect(await rowOf(ada.id)).toEqual(before)
})

test('SE1, HX10: whoever disables somebody until a time with an old login does not undo a longer disabling made meanwhile', async () => {
  const ada = await api.person()
  const { token } = await api.signIn(await api.person({ role: 'admin' }), Date.now() - 3_600_000)
  const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString()
  await manage('POST', `/${ada.id}/disable`, { reason: 'x', until: inHours(1) })
  const { result, wasHeld } = await own.between(
    () =>
      api.send('POST', `/v1/users/${ada.id}/disable`, { token, body: { reason: 'y', until: inHours(2) } }),
    () => manage('POST', `/${ada.id}/disable`, { reason: 'z' }),
    { only: 'user.disabled' },
  )
  expect([wasHeld, result.status, result.body.code]).toEqual([true, 403, 'reauthentication_required'])
  expect(await rowOf(ada.id)).toMatchObject({ disabled_reason: 'z', disabled_until: null })
})

test.each<[string, string]>([
  ['its owner was demoted', "UPDATE users SET role = 'user', token_epoch = token_epoch + 1 WHERE id = ?"],
  ['its owner was disabled', "UPDATE users SET status = 'disabled' WHERE id = ?"],
  ['its owner was erased', 'DELETE FROM users WHERE id = ?'],
  ['it was revoked', 'DELETE FROM api_keys WHERE user_id = ?'],
  ['it may no longer', 'UPDATE api_keys SET permissions = \'["users:read"]\' WHERE user_id = ?'],
  ['it had expired', 'UPDATE api_keys SET expires_at = 1 WHERE user_id = ?'],
  ['its secret was one too old', "UPDATE api_keys SET secret_hash = 'x' WHERE user_id = ?"],
])('AK3, HX10: a key’s request changes nothing once %s', async (_, change) => {
  const manager = await api.person({ role: 'manager', email_verified_at: 1 })
  const { key: token } = await addKey(api, manager, ['users:read', 'users:update'])
  const ada = await api.person()
  const before = await rowOf(ada.id)
  const { result, wasHeld } = await own.between(
    () => api.send('PATCH', `/v1/users/${ada.id}`, { token, body: { name: 'Grace' } }),
    () => api.sql(change, [manager.id]),
    { only: 'user.updated' },
  )
  expect([wasHeld, result.status]).toEqual([true, 401])
  expect(await rowOf(ada.id)).toEqual(before)
})

test('AK3, HX10: nobody can make a key with a permission that they have just lost', async () => {
  const manager = await api.person({ role: 'manager', email_verified_at: 1 })
  const { token } = await api.signIn(manager)
  const { result, wasHeld } = await own.between(
    () => api.send('POST', '/v1/api_keys', { token, body: { name: 'Report', permissions: ['users:read'] } }),
    () => api.sql("UPDATE users SET role = 'user', token_epoch = token_epoch + 1 WHERE id = ?", [manager.id]),
    { only: 'api_key.created' },
  )
  expect(wasHeld).toBe(true)
  expect(result.status).toBeGreaterThanOrEqual(400)
  expect(await api.sql('SELECT * FROM api_keys WHERE user_id = ?', [manager.id])).toEqual([])
})

const secretsOf = (id: string) =>
  api.sql('SELECT id, secret_hash FROM api_keys WHERE user_id = ? ORDER BY id', [id])
const toMake = ['/v1/api_keys', { name: 'Report', permissions: [] }, 'api_key.created'] as const
const toRotate = (id: string) => [`/v1/api_keys/${id}/rotate`, undefined, 'api_key.rotated'] as const

test('AK3, HX10: whoever is signed out meanwhile is told so, and no key is made or rotated', async () => {
  const ada = await api.person({ role: 'manager', email_verified_at: 1 })
  const { id } = await addKey(api, ada)
  const before = await secretsOf(ada.id)
  for (const [path, body, only] of [toMake, toRotate(id)]) {
    const { token, sessionId } = await api.signIn(ada)
    const { result, wasHeld } = await own.between(
      () => api.send('POST', path, { token, body }),
      () => api.sql('DELETE FROM sessions WHERE id = ?', [sessionId]),
      { only },
    )
    expect([wasHeld, result.status, result.body.code]).toEqual([true, 401, 'invalid_token'])
  }
  expect(await secretsOf(ada.id)).toEqual(before)
})

test('RL6, HX10: whoever has made or rotated too many keys meanwhile is told when to come back', async () => {
  const ada = await api.person({ role: 'manager', email_verified_at: 1 })
  const { id } = await addKey(api, ada)
  for (const [path, body, only] of [toMake, toRotate(id)]) {
    const { token } = await api.signIn(ada)
    const rotate = async () =>
      expect((await api.send('POST', `/v1/api_keys/${id}/rotate`, { token })).status).toBe(200)
    for (let n = 0; n < 19; n++) await rotate()
    let before: unknown
    const { result, wasHeld } = await own.between(
      () => api.send('POST', path, { token, body }),
      async () => {
        // The key itself stays as it is: only the count goes up.
        const [row] = await api.sql('SELECT * FROM api_keys WHERE id = ?', [id])
        await rotate()
        await api.sql('UPDATE api_keys SET secret_hash = ? WHERE id = ?', [String(row!.secret_hash), id])
        before = await secretsOf(ada.id)
      },
      { only },
    )
    expect([wasHeld, result.status, result.body.code]).toEqual([true, 429, 'too_many_attempts'])
    expect(Number(result.headers.get('retry-after'))).toBeLessThanOrEqual(3600)
    expect(await secretsOf(ada.id)).toEqual(before)
  }
})

test('AK2, HX10: a key that somebody else rotates meanwhile is not rotated on top of it', async () => {
  const ada = await api.person({ role: 'manager', email_verified_at: 1 })
  const { id } = await addKey(api, ada)
  const { token } = await api.signIn(ada)
  const rotate = () => api.send('POST', `/v1/api_keys/${id}/rotate`, { token })
  let before: unknown
  const { result, wasHeld } = await own.between(
    rotate,
    async () => {
      expect((await rotate()).status).toBe(200)
      before = await secretsOf(ada.id)
    },
    { only: 'api_key.rotated' },
  )
  expect([wasHeld, result.status, result.body.code]).toEqual([true, 409, 'write_conflict'])
  expect(await secretsOf(ada.id)).toEqual(before)
})

test('CR3, HX10: somebody restored in between is not purged by clean-up', async () => {
  const ada = await api.person({ deleted_at: Date.now() - 40 * DAY_MS })
  const before = await rowOf(ada.id)
  const { wasHeld } = await own.between(
    cleanUp,
    async () => expect((await manage('POST', `/${ada.id}/restore`)).status).toBe(200),
    { only: 'user.purged' },
  )
  expect(wasHeld).toBe(true)
  expect(await rowOf(ada.id)).toMatchObject({ email: ada.email, name: before!.name, deleted_at: null })
  expect(await api.historyOf(ada.id)).toEqual(['user.restored'])
})

test('CR3, HX10: a disabling that is extended in between is not ended by clean-up', async () => {
  const ada = await api.person({
    status: 'disabled',
    disabled_until: Date.now() - 1000,
    disabled_reason: 'x',
  })
  const until = new Date(Date.now() + DAY_MS).toISOString()
  const { wasHeld } = await own.between(
    cleanUp,
    async () =>
      expect((await manage('POST', `/${ada.id}/disable`, { reason: 'still', until })).status).toBe(200),
    { only: 'user.enabled' },
  )
  expect(wasHeld).toBe(true)
  expect(await rowOf(ada.id)).toMatchObject({ status: 'disabled', disabled_reason: 'still' })
  expect(await api.historyOf(ada.id)).toEqual(['user.disabled'])
})

test('CR3, HX10: a disabling that is extended in between is not ended by a login', async () => {
  const ada = await api.person({
    status: 'disabled',
    disabled_until: Date.now() - 1000,
    disabled_reason: 'x',
  })
  const until = new Date(Date.now() + DAY_MS).toISOString()
  const { result } = await own.between(
    () => api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } }),
    async () =>
      expect((await manage('POST', `/${ada.id}/disable`, { reason: 'still', until })).status).toBe(200),
    { nth: 2 },
  )
  expect(result.status).toBeGreaterThanOrEqual(400)
  expect(await rowOf(ada.id)).toMatchObject({ status: 'disabled', disabled_reason: 'still' })
})

test('CR2, HX10, Fault 17: a mail that another sender claims in between is sent once', async () => {
  const ada = await api.person()
  await own.behave('mail', { mode: 'status', status: 500 })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  await own.behave('mail', { mode: 'pass' })
  await api.sql('UPDATE outbox SET next_attempt_at = 0 WHERE user_id = ?', [ada.id])
  // The first write of a run finds what is due, the second claims the mail.
  const { wasHeld } = await own.between(sendMail, sendMail, { nth: 2 })
  const sent = (await own.calls()).filter(({ upstream, method }) => upstream === 'mail' && method === 'POST')
  expect([wasHeld, sent.length]).toEqual([true, 1])
})

test('Fault 17: of five senders that find a mail at once, only one calls the mail service', async () => {
  const ada = await api.person()
  await own.behave('mail', { mode: 'status', status: 500 })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  await own.behave('mail', { mode: 'pass' })
  await api.sql('UPDATE outbox SET next_attempt_at = 0 WHERE user_id = ?', [ada.id])
  const { calls } = await own.measure(() => Promise.all([1, 2, 3, 4, 5].map(sendMail)))
  expect(calls.filter(({ upstream, method }) => upstream === 'mail' && method === 'POST')).toHaveLength(1)
})

test('HX16: If-Match works on one’s own profile, even if somebody changes it in between', async () => {
  const ada = await api.quickActor()
  const version = async () =>
    (await api.send('GET', '/v1/users/me', { token: ada.token })).headers.get('etag')!
  const rename = (name: string, etag: string) =>
    api.send('PATCH', '/v1/users/me', { token: ada.token, body: { name }, headers: { 'if-match': etag } })
  const first = await version()
  expect((await rename('Grace', first)).status).toBe(200)
  const stale = await rename('Eve', first)
  expect([stale.status, stale.body.code]).toEqual([412, 'version_mismatch'])

  const second = await version()
  const { result } = await own.between(
    () => rename('Eve', second),
    async () => expect((await manage('PATCH', `/${ada.id}`, { name: 'Mary' })).status).toBe(200),
  )
  expect([result.status, result.body.code]).toEqual([412, 'version_mismatch'])
  expect(await rowOf(ada.id)).toMatchObject({ name: 'Mary' })
})

test('HX10: a user who renames themselves without end cannot prevent what those who manage do', async () => {
  const doneAtOnce = async (given: object, act: (id: string) => Promise<Answer>) => {
    const { id } = await api.person({ password_hash: null, email_verified_at: 1, ...given })
    const { result } = await own.between(
      () => act(id),
      () => api.sql("UPDATE users SET name = 'Meanwhile', version = version + 1 WHERE id = ?", [id]),
    )
    expect(result.status).toBe(200)
    // One read and one write: it did not start again.
    expect(result.headers.get('server-timing')).toContain('depth;desc="2"')
    return id
  }
  const id = await doneAtOnce({}, (id) => manage('PATCH', `/${id}`, { name: 'Decent' }))
  expect(await rowOf(id)).toMatchObject({ name: 'Decent' })
  const [row] = await api.sql('SELECT details FROM user_activity_logs WHERE user_id = ?', [id])
  expect(JSON.parse(String(row!.details))).toEqual({ name: { from: 'Meanwhile', to: 'Decent' } })
  await doneAtOnce({ failed_logins: 100 }, (id) => manage('POST', `/${id}/unlock`))
  await doneAtOnce({ status: 'disabled' }, (id) => manage('POST', `/${id}/enable`))
  await doneAtOnce({ deleted_at: 1 }, (id) => manage('POST', `/${id}/restore`))
})

test('HX5, HX10: whoever proves an address a moment too late removes nothing that its owner has added by then', async () => {
  const NEW_PASSWORD = 'nine green bears run'
  const post = (path: string, body: object) => byCode.send('POST', `/v1/auth/${path}`, { body })
  const byCode = openApi({ ...own.bindings, EMAIL_CODE_SIGNIN: 'on' })
  const newest = async (email: string) => (await api.mailsTo(email))[0]!
  const late: Record<string, (email: string) => Promise<() => Promise<Answer>>> = {
    reset: async (email) => {
      await post('forgot_password', { email })
      const { token } = linkIn(await newest(email))
      return () => post('reset_password', { token, new_password: NEW_PASSWORD })
    },
    'code that signs in': async (email) => {
      const { login_token } = (await post('login/email_code', { email })).body
      const code = codeIn(await newest(email))
      return () => post('login/email_code/confirm', { login_token, code })
    },
    'link of another mail': async (email) => {
      await post('resend_verification', { email })
      const { token } = linkIn(await newest(email))
      return () => post('verify_email', { token, new_password: NEW_PASSWORD })
    },
  }
  const answers: Record<string, unknown[]> = {}
  for (const [what, prepare] of Object.entries(late)) {
    const ada = await api.person()
    const asked = (await post('resend_verification', { email: ada.email })).body
    const { code } = linkIn(await newest(ada.email))
    const request = await prepare(ada.email)
    const factorsOf = () =>
      api.sql(
        'SELECT seed AS it FROM factors WHERE user_id = ?1 UNION SELECT hash FROM recovery_codes WHERE user_id = ?1',
        [ada.id],
      )
    let before: unknown[] = []
    const { result, wasHeld } = await own.between(
      request,
      async () => {
        const proof = { code, request_token: asked.request_token, password: PASSWORD }
        expect((await post('verify_email', proof)).status).toBe(204)
        await addTotp(api, ada)
        before = [await rowOf(ada.id), await factorsOf()]
      },
      { only: 'user_activity_logs' },
    )
    expect([what, wasHeld, [await rowOf(ada.id), await factorsOf()]]).toEqual([what, true, before])
    const again = await request()
    answers[what] = [result.status, result.body.code, again.status, again.body?.code]
    expect(await factorsOf()).toEqual(before[1])
  }
  expect(answers).toEqual({
    reset: [409, 'write_conflict', 204, undefined],
    'code that signs in': [409, 'write_conflict', 403, 'second_factor_required'],
    'link of another mail': [400, 'invalid_link', 400, 'invalid_link'],
  })
})

test('LG2, HX10: the history says which external id was there before, even if it was just put there', async () => {
  const { id } = await api.person({ password_hash: null })
  const crm = (name: string) => `${name} of ${id}`
  await manage('PATCH', `/${id}`, { external_id: crm('first') })
  const { result, wasHeld } = await own.between(
    () => manage('PATCH', `/${id}`, { external_id: crm('third') }),
    async () => expect((await manage('PATCH', `/${id}`, { external_id: crm('second') })).status).toBe(200),
    { only: 'user.updated' },
  )
  expect([wasHeld, result.status]).toEqual([true, 200])
  const rows = await api.sql('SELECT details FROM user_activity_logs WHERE user_id = ?', [id])
  expect(rows.map(({ details }) => JSON.parse(String(details)))).toContainEqual({
    external_id: { from: crm('second'), to: crm('third') },
  })
})

test('MF3, HX10: a higher role is not given if the address is no longer proved by then', async () => {
  const { id } = await api.person({ password_hash: null, email_verified_at: 1 })
  const { result } = await own.between(
    () => manage('PATCH', `/${id}`, { role: 'manager' }),
    () => api.sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [id]),
  )
  expect([result.status, result.body.code]).toEqual([409, 'address_not_verified'])
  expect(await rowOf(id)).toMatchObject({ role: 'user' })
})

test('HX11: five mails are sent at a time, so those whose recipients hang do not delay others', async () => {
  const ids = await Promise.all(Array.from({ length: 10 }, async () => (await api.person()).email))
  await own.behave('mail', { mode: 'status', status: 500 })
  for (const email of ids) await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
  await api.sql('UPDATE outbox SET next_attempt_at = 0 WHERE sent_at IS NULL AND dead_at IS NULL')
  await own.behave('mail', { mode: 'latency', ms: 2000 })
  const { calls } = await own.measure(sendMail)
  await own.behave('mail', { mode: 'pass' })
  const sent = calls.filter(({ upstream, method }) => upstream === 'mail' && method === 'POST')
  const atOnce = sent.map(
    ({ startMs }) => sent.filter((one) => one.startMs <= startMs && one.endMs! > startMs).length,
  )
  expect([sent.length, Math.max(...atOnce)]).toEqual([ids.length, 5])
})

test('CR2: a request that causes a hundred mails sends a few, five at a time, and the cron job the rest', async () => {
  const emails = Array.from({ length: 40 }, () => `${crypto.randomUUID()}@people.test`)
  await own.behave('mail', { mode: 'latency', ms: 50 })
  const { calls } = await own.measure(() =>
    api.send('POST', '/v1/invitations/bulk', {
      token: admin,
      body: { invitations: emails.map((email) => ({ email })) },
    }),
  )
  await own.behave('mail', { mode: 'pass' })
  const sent = calls.filter(({ upstream, method }) => upstream === 'mail' && method === 'POST')
  expect(sent).toHaveLength(20)
  const most = sent.map(
    ({ startMs, endMs }) =>
      sent.filter((one) => one.startMs <= startMs && one.endMs! > startMs && endMs).length,
  )
  expect(Math.max(...most)).toBeLessThanOrEqual(5)
  await sendMail()
  const [left] = await api.sql('SELECT count(*) AS n FROM outbox WHERE sent_at IS NULL AND dead_at IS NULL')
  expect(left).toEqual({ n: 0 })
})
