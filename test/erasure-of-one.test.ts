import { createExecutionContext } from 'cloudflare:test'
import { v7 as uuidv7 } from 'uuid'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { cleanUp } from '../src/cleanup/service.ts'
import { openForCron } from '../src/context.ts'
import { type Api, openApi, PASSWORD } from './support/api.ts'
import { addCrowd } from './support/crowd.ts'
import { newPerson } from './support/requests.ts'
import { dump } from './support/snapshots.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** Erasing somebody removes everything of theirs, however it is found, and nothing of anybody else. */

let api: Api
let admin: string
beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = (await api.quickActor({ role: 'admin' })).token
})

const invite = async (email: string) =>
  (await api.send('POST', '/v1/invitations', { token: admin, body: { email } })).body.id as string
const purge = ({ id }: { id: string }) => api.send('DELETE', `/v1/users/${id}?hard=true`, { token: admin })
const mailsTo = (address: string) => api.sql('SELECT kind FROM outbox WHERE recipient = ?', [address])

test('DL3: erasing leaves invitations, mails, links and keys of others alone', async () => {
  const [ada, eve] = [
    await api.quickActor({ email_verified_at: 1 }),
    await api.person({ email_verified_at: 1 }),
  ]
  const { email } = newPerson()
  const invitation = await invite(email)
  const key = { 'idempotency-key': crypto.randomUUID() }
  await api.send('POST', '/v1/users', { token: admin, body: newPerson(), headers: key })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: eve.email } })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  expect((await purge(ada)).status).toBe(204)

  expect(await mailsTo(ada.email)).toEqual([])
  expect(await mailsTo(email)).toEqual([{ kind: 'invitation' }])
  expect(await mailsTo(eve.email)).toEqual([{ kind: 'reset_password' }])
  expect(await api.sql('SELECT email FROM invitations WHERE id = ?', [invitation])).toEqual([{ email }])
  for (const subject of [invitation, eve.id]) {
    expect(await api.sql('SELECT 1 AS n FROM one_time_tokens WHERE subject_id = ?', [subject])).toHaveLength(
      1,
    )
  }
  expect(
    await api.sql('SELECT 1 AS n FROM idempotency_keys WHERE key = ?', [key['idempotency-key']]),
  ).toHaveLength(1)
})

test('DL3: erasing removes the mails that went to the address before it had an account', async () => {
  const { email } = newPerson()
  const invitation = await invite(email)
  await api.sql('UPDATE outbox SET user_id = NULL WHERE recipient = ?', [email])
  const ada = await api.person({ email })
  expect((await purge(ada)).status).toBe(204)
  expect(await mailsTo(email)).toEqual([])
  expect(await api.sql('SELECT id FROM invitations WHERE id = ?', [invitation])).toEqual([])
})

test('DL3: erasing works whatever the history contains, and does not delay others', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const boss = await lone.quickActor({ role: 'admin' })
  const [ada, eve] = [
    await lone.person({ email_verified_at: 1 }),
    await lone.person({ email_verified_at: 1 }),
  ]
  for (const details of [
    "'x'",
    "CAST(x'7bff7d' AS TEXT)",
    `'{"email":{"from":"\\ud800@people.test","to":null},"role":"user"}'`,
  ])
    await lone.sql(
      `INSERT INTO user_activity_logs (id, user_id, action, details) VALUES (?, ?, 'user.updated', ${details})`,
      [uuidv7(), ada.id],
    )
  for (const { id } of [ada, eve])
    expect((await lone.send('DELETE', `/v1/users/${id}?hard=true`, { token: boss.token })).status).toBe(204)
  for (let runs = 0; runs < 2; runs++) {
    await lone.sql('UPDATE erasures SET due_at = 0, began_at = 0')
    const now = Date.now() + runs * 600_000
    const run = await cleanUp({ ...openForCron(lone.bindings, createExecutionContext()), now })
    expect(run?.failed).toEqual([])
  }
  expect(await lone.sql('SELECT user_id FROM erasures')).toEqual([])
  expect(
    await lone.sql(
      "SELECT details FROM user_activity_logs WHERE user_id = ? AND action = 'user.updated' ORDER BY id",
      [ada.id],
    ),
  ).toEqual([{ details: null }, { details: null }, { details: '{"role":"user"}' }])
})

test('DL3: an erasure that fails does not delay others, and is tried again later', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const people = await Promise.all([1, 2, 3].map(() => lone.person({ email_verified_at: 1 })))
  const boss = await lone.quickActor({ role: 'admin' })
  for (const { id } of people) await lone.send('DELETE', `/v1/users/${id}?hard=true`, { token: boss.token })
  await lone.sql(`UPDATE erasures SET stage = 'history_of_them', due_at = 0, began_at = 0`)
  const broken = people[0]!.id
  await lone.sql("UPDATE erasures SET sought = '{' WHERE user_id = ?", [broken])
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
  const run = await cleanUp(openForCron(lone.bindings, createExecutionContext()))
  const codes = logged.mock.calls.map(([line]) => JSON.parse(line).code)
  logged.mockRestore()
  expect([run?.failed, codes]).toEqual([['erasures'], ['cleanup_task_failed', 'cleanup_step_failed']])
  const left = await lone.sql(
    'SELECT user_id, stage, due_at > ? AS is_put_off FROM erasures WHERE due_at > ?',
    [Date.now() + 30 * 60_000, Date.now() + 30 * 60_000],
  )
  expect(left).toEqual([{ user_id: broken, stage: 'history_of_them', is_put_off: 1 }])
  const others = await lone.sql(
    "SELECT count(*) AS n FROM erasures WHERE stage = 'history_of_them' AND sought IS NOT NULL AND user_id <> ?",
    [broken],
  )
  expect(others).toEqual([{ n: 0 }])
})

test('DL3: an erasure whose steps cannot be read a second time does not delay other tasks', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const { id } = await lone.person()
  const boss = await lone.quickActor({ role: 'admin' })
  await lone.send('DELETE', `/v1/users/${id}?hard=true`, { token: boss.token })
  // Two that fail together, so that each is then tried alone; and work for a later task.
  await lone.sql(`UPDATE erasures SET stage = 'history_of_them', due_at = 0, sought = '{'`)
  await lone.sql(
    `INSERT INTO erasures (user_id, ended_at, began_at, sought, stage, cursor, origin_until, due_at)
      SELECT 'x' || user_id, ended_at, began_at, sought, stage, cursor, origin_until, due_at FROM erasures`,
  )
  await lone.sql("INSERT INTO throttles (key, attempts, blocked_until, expires_at) VALUES ('old', 1, 0, 1)")
  const resources = openForCron(lone.bindings, createExecutionContext())
  let asked = 0
  const read: typeof resources.db.read = (batch) => {
    if ('due' in batch && ++asked > 1) return Promise.reject(new Error('not a second time'))
    return resources.db.read(batch)
  }
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
  const run = await cleanUp({ ...resources, db: { ...resources.db, read } })
  const codes = logged.mock.calls.map(([line]) => JSON.parse(line).code)
  logged.mockRestore()
  expect([run?.failed, codes, asked]).toEqual([
    ['erasures'],
    ['cleanup_task_failed', 'cleanup_step_failed'],
    2,
  ])
  expect(await lone.sql("SELECT key FROM throttles WHERE key = 'old'")).toEqual([])
})

test('DL3: somebody who typed another’s address takes nothing away from its owner', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const boss = await lone.quickActor({ role: 'admin', email_verified_at: 1 })
  const wanting = await lone.actor({ email_verified_at: 1 })
  const by = (method: string, path: string, body?: unknown) =>
    lone.send(method, path, { token: boss.token, body })
  const bob = newPerson()
  const { body: invitation } = await by('POST', '/v1/invitations', { email: bob.email })
  const wanted = { new_email: bob.email, current_password: PASSWORD }
  await lone.send('POST', '/v1/auth/change_email', { token: wanting.token, body: wanted })
  const mails = await lone.mailsTo(bob.email)
  expect(mails).toHaveLength(2)
  // One signs up with it; another has their own address, and asks to change to this one.
  const { body: squatter } = await lone.send('POST', '/v1/auth/signup', { body: bob })
  const asking = await lone.actor({ email_verified_at: 1 })
  await lone.send('POST', '/v1/auth/change_email', { token: asking.token, body: wanted })
  const kept = async () => [
    await lone.sql('SELECT id FROM invitations WHERE id = ?', [String(invitation.id)]),
    await lone.sql(
      'SELECT id FROM one_time_tokens WHERE subject_id IN (?, ?) AND spent_at IS NULL ORDER BY id',
      [String(invitation.id), wanting.id],
    ),
    await lone.sql(
      'SELECT id FROM outbox WHERE recipient = ? AND (user_id IS NULL OR user_id = ?) ORDER BY id',
      [bob.email, wanting.id],
    ),
  ]
  const before = await kept()
  for (const id of [String(squatter.id), asking.id])
    expect((await by('DELETE', `/v1/users/${id}?hard=true`)).status).toBe(204)
  await lone.sql('UPDATE erasures SET began_at = 0, due_at = 0')
  await cleanUp(openForCron(lone.bindings, createExecutionContext()))
  expect(await kept()).toEqual(before)
})

test('DL3: erasing finds name and addresses in whatever letters and case they were written', async () => {
  const boss = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const others = [1, 2, 3, 4, 5].map(() => api.person({ password_hash: null, email_verified_at: 1 }))
  const [bob, eve, joe, leo, kim] = await Promise.all(others)
  const mark = crypto.randomUUID().slice(0, 8)
  const [first, second] = [`Zed-${mark}@Bücher.example`, `zed-${mark}@ÄRGER.example`]
  const [asciiFirst, asciiSecond] = [`zed-${mark}@xn--bcher-kva.example`, `zed-${mark}@xn--rger-koa.example`]
  const by = (method: string, path: string, body?: unknown) =>
    api.send(method, path, { token: boss.token, body, headers: { 'idempotency-key': crypto.randomUUID() } })
  const made = await by('POST', '/v1/users', { email: first, name: 'Ägid Öztürk', password: PASSWORD })
  const id = made.body.id as string
  const reasons = [
    `ZED-${mark}@xn--bcher-kva.example said so`,
    `ask zed-${mark}@BÜCHER.EXAMPLE.`,
    `${asciiSecond.toUpperCase()} wrote`,
    `zed-${mark}@ärger.example`,
  ]
  for (const [index, { id }] of [bob!, eve!, joe!, leo!].entries())
    await by('POST', `/v1/users/${id}/disable`, { reason: reasons[index] })
  await by('POST', `/v1/users/${kim!.id}/disable`, { reason: 'Ägid Öztürk, or so they said' })
  // It is theirs for a while. Then somebody invites it, and somebody else asks for it, each in another spelling.
  await by('PATCH', `/v1/users/${id}`, { email: second })
  await by('PATCH', `/v1/users/${id}`, { email: `later-${mark}@people.test` })
  await by('POST', '/v1/invitations', { email: `ZED-${mark}@BÜCHER.example` })
  const wanting = await api.actor({ email_verified_at: 1 })
  const wanted = { new_email: `zed-${mark}@ärger.EXAMPLE`, current_password: PASSWORD }
  await api.send('POST', '/v1/auth/change_email', { token: wanting.token, body: wanted })
  const found = async () => {
    const text = JSON.stringify(await dump(api))
      .normalize('NFC')
      .toLowerCase()
    const marks = [first, second, asciiFirst, asciiSecond, ...reasons, `later-${mark}`]
    return marks.filter((mark) => text.includes(mark.toLowerCase()))
  }
  expect(await found()).toHaveLength(9)
  expect((await by('DELETE', `/v1/users/${id}?hard=true`)).status).toBe(204)
  await api.sql('DELETE FROM cleanup_runs')
  await cleanUp(openForCron(api.bindings, createExecutionContext()))
  expect(await found()).toEqual([])
  const kept = 'SELECT disabled_reason AS it FROM users WHERE id = ?'
  // Anybody chooses their own name: one called "Chargeback fraud" must not remove those words from others' reasons.
  expect(await api.sql(kept, [kim!.id])).toEqual([{ it: 'Ägid Öztürk, or so they said' }])
})

test('SE2, DL3: nobody is purged while a valid link can bring their account back', async () => {
  const lone = openApi({ ...(await freshUpstreams()).bindings, PURGE_AFTER_DAYS: '1' })
  const run = async (days: number) => {
    const resources = openForCron(lone.bindings, createExecutionContext())
    await lone.sql('DELETE FROM cleanup_runs')
    await cleanUp({ ...resources, now: resources.now + days * 86_400_000 })
  }
  const left = async () => (await lone.sql("SELECT id FROM users WHERE email LIKE '%@leaving.test'")).length
  for (const [name, email_verified_at] of [
    ['told', 1],
    ['untold', null],
  ] as const) {
    const who = await lone.actor({ email: `${name}@leaving.test`, email_verified_at })
    const body = { password: PASSWORD }
    expect((await lone.send('DELETE', '/v1/users/me', { token: who.token, body })).status).toBe(204)
  }
  const counts = []
  for (const days of [0.5, 2, 6.9, 7.1]) {
    await run(days)
    counts.push(await left())
  }
  expect(counts).toEqual([2, 1, 1, 0])
})

test('SE2, DL3: nor is somebody who never proved their address, while the account can be given back', async () => {
  const lone = openApi({ ...(await freshUpstreams()).bindings, UNVERIFIED_DAYS: '1' })
  const day = 86_400_000
  const { id } = await lone.person({ password_hash: null, updated_at: Date.now() - 2 * day })
  await lone.sql(
    `INSERT INTO one_time_tokens (id, purpose, subject_id, email, email_normalized, code_tries, created_at, expires_at)
      VALUES ('undo', 'undo_email_change', ?, 'e', 'e', 0, 0, ?)`,
    [id, Date.now() + day],
  )
  const left = async () => {
    await lone.sql('DELETE FROM cleanup_runs')
    await cleanUp(openForCron(lone.bindings, createExecutionContext()))
    return (await lone.sql('SELECT id FROM users WHERE id = ?', [id])).length
  }
  expect(await left()).toBe(1)
  await lone.sql('UPDATE one_time_tokens SET spent_at = 1')
  expect(await left()).toBe(0)
})

describe('HX11, CR1: what an erasure reads does not grow with other people’s data', () => {
  test('at any stage, and purging does not outrun erasing', async () => {
    const own = await freshUpstreams()
    const lone = openApi(own.bindings)
    const day = 86_400_000
    const addOthers = async (from: number, to: number) => {
      await addCrowd(lone, from, to)
      // People who were disabled with a reason, who want an address, or who got an answer that repeats one.
      const numbers = `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${to})`
      await lone.sql(`${numbers} INSERT INTO user_activity_logs (id, user_id, action, details)
        SELECT printf('ffff0000-0000-7000-8000-%012x', i), 'u' || i, 'user.disabled', json_object('reason', 'reason ' || i) FROM n`)
      await lone.sql(`${numbers} INSERT INTO idempotency_keys (principal, route, key, body_hash, status, response, subject_id, created_at)
        SELECT 'p' || i, 'r', 'k', 'h', 201, json_object('email', 'o' || i || '@o.test'), 'none', ${Date.now()} FROM n`)
      await lone.sql(`${numbers} INSERT INTO outbox (id, kind, user_id, recipient, recipient_normalized, new_email, created_at, expires_at, attempts, next_attempt_at, sent_at)
        SELECT 'm' || i, 'email_change_requested', 'u' || i, 'o' || i, 'o' || i, 'n' || i, ${Date.now()}, 1, 0, 1, 1 FROM n`)
    }
    const eraseOne = async () => {
      const { id } = await lone.person({ password_hash: null, deleted_at: Date.now() - 31 * day })
      await lone.sql('DELETE FROM cleanup_runs')
      const { calls } = await own.measure(() => cleanUp(openForCron(lone.bindings, createExecutionContext())))
      expect(await lone.sql('SELECT stage FROM erasures WHERE user_id = ?', [id])).toEqual([
        { stage: 'history_of_them' },
      ])
      return calls.flatMap(({ statements }) => statements).reduce((sum, { rowsRead }) => sum + rowsRead, 0)
    }
    await addOthers(0, 300)
    const few = await eraseOne()
    await addOthers(300, 3000)
    const many = await eraseOne()
    expect(many).toBeLessThanOrEqual(few + 8)

    const due = (column: 'deleted_at' | 'updated_at') => (i: number) =>
      lone.person({
        email: `${column}-${i}@due.test`,
        password_hash: null,
        [column]: Date.now() - (31 * day + i),
      })
    for (let i = 0; i < 60; i++) await Promise.all([due('deleted_at')(i), due('updated_at')(i)])
    await lone.sql('DELETE FROM cleanup_runs')
    const { calls } = await own.measure(() => cleanUp(openForCron(lone.bindings, createExecutionContext())))
    let waiting = 0
    let most = 0
    for (const { sql, rowsWritten } of calls.flatMap(({ statements }) => statements)) {
      if (/^INSERT INTO "erasures"/.test(sql) && rowsWritten > 0) waiting += 1
      if (/^UPDATE "erasures" SET due_at = \? WHERE/.test(sql)) waiting -= 1
      most = Math.max(most, waiting)
    }
    expect(await lone.sql("SELECT count(*) AS n FROM users WHERE email LIKE '%@due.test'")).toEqual([
      { n: 0 },
    ])
    expect([waiting, most]).toEqual([0, 10])
  })
})
