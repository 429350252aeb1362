import { v7 as uuidv7 } from 'uuid'
import { beforeAll, describe, expect, test } from 'vitest'
import { membersOfDetails } from '../../src/activity/details.ts'
import { ACTIONS, type Action } from '../../src/activity/models.ts'
import type { ImportResult } from '../../src/bulk/import/schemas.ts'
import { ManagedUser } from '../../src/users/schemas.ts'
import { bodyOf } from '../../src/webhooks/payload.ts'
import { type Api, PASSWORD } from '../support/api.ts'
import { addWebhook, deliver, openWithWebhooks, rename } from '../support/webhooks.ts'

let own: Awaited<ReturnType<typeof openWithWebhooks>>['own']
let api: Api
beforeAll(async () => {
  ;({ own, api } = await openWithWebhooks())
})

describe('An event', () => {
  test('goes out with the request that causes it, even if the answer to its write was lost', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const ada = await api.person({ password_hash: null })
    await own.behave('libsql', { mode: 'reset-after', next: 1, only: 'user_activity_logs' })
    await rename(api, hook.admin, ada.id, 'Ada King').finally(() => own.behave('libsql', { mode: 'pass' }))
    expect((await hook.received()).map(({ data }) => data.user!.name)).toEqual(['Ada King'])
    expect(await hook.owed()).toHaveLength(1)
  })

  test('contains the user after the change, as somebody who manages sees them, and who did it', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const ada = await api.person({ password_hash: null })
    const startedAt = Date.now()
    await rename(api, hook.admin, ada.id, 'Ada King')
    const { body } = await api.send('GET', `/v1/users/${ada.id}`, { token: hook.admin.token })
    const { admin_metadata: _, ...user } = body
    const [told, ...more] = await hook.received()
    expect(more).toEqual([])
    expect(told!.data.user).toEqual(user)
    expect(told).toMatchObject({
      id: expect.stringMatching(/^msg_[0-9a-f-]{36}$/),
      type: 'user.updated',
      data: {
        event_id: told!.id.slice(4),
        sequence: expect.any(Number),
        user,
        actor_id: hook.admin.id,
        details: { name: { from: 'Somebody', to: 'Ada King' } },
      },
      isOutOfOrder: false,
    })
    expect(Object.keys(JSON.parse(told!.received.body))).toEqual(['type', 'timestamp', 'data'])
    expect(Date.parse(told!.timestamp)).toBeGreaterThanOrEqual(startedAt)
    expect(told!.received).toMatchObject({ method: 'POST', type: 'application/json' })
  })

  test.each([
    [
      'a sign-up',
      'user.signed_up',
      async () => {
        const email = `${crypto.randomUUID()}@people.test`
        await api.send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name: 'Eve' } })
        return { email, name: 'Eve', status: 'active', email_verified: false }
      },
    ],
    [
      'a disabling',
      'user.disabled',
      async (token: string) => {
        const { id } = await api.person({ password_hash: null })
        await api.send('POST', `/v1/users/${id}/disable`, { token, body: { reason: 'Left' } })
        return { id, status: 'disabled', disabled_reason: 'Left' }
      },
    ],
    [
      'a deletion',
      'user.deleted',
      async (token: string) => {
        const { id, email } = await api.person({ password_hash: null })
        await api.send('DELETE', `/v1/users/${id}`, { token })
        return { id, email, status: 'deleted', deleted_at: expect.any(String) }
      },
    ],
    [
      'a role',
      'user.role_changed',
      async (token: string) => {
        const { id } = await api.person({ password_hash: null, email_verified_at: 1 })
        await api.send('PATCH', `/v1/users/${id}`, { token, body: { role: 'manager' } })
        return { id, role: 'manager' }
      },
    ],
    [
      'a login',
      'session.started',
      async () => {
        const ada = await api.person({ email_verified_at: 1 })
        await api.logIn(ada)
        return { id: ada.id, last_login_at: expect.any(String) }
      },
    ],
  ])('of %s contains the result, not the former state', async (_, type, change) => {
    const hook = await addWebhook(api, [type])
    const user = (await change(hook.admin.token)) as { id?: string }
    const told = (await hook.received()).filter(({ data }) => !user.id || data.user?.id === user.id)
    expect(told.map(({ data }) => data.user)).toEqual([expect.objectContaining(user)])
    expect(Object.keys(told[0]!.data.user!).filter((name) => !(name in ManagedUser().shape))).toEqual([])
  })

  test('of an erasure only contains the id', async () => {
    const hook = await addWebhook(api, ['user.purged'])
    const ada = await api.person({ password_hash: null })
    await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token: hook.admin.token })
    const told = await hook.received()
    expect(told.map(({ data }) => [data.user, data.details])).toEqual([[{ id: ada.id }, null]])
  })

  test('about nobody has no user', async () => {
    const hook = await addWebhook(api, ['invitation.created', 'client.created'])
    const body = { email: `${crypto.randomUUID()}@people.test` }
    await api.send('POST', '/v1/invitations', { token: hook.admin.token, body })
    const told = await hook.received()
    expect(told.map(({ type, data }) => [type, data.user])).toEqual([['invitation.created', null]])
    expect(told[0]!.received.body).not.toContain(body.email)
  })

  test('goes to every webhook that chose its type, and to no other', async () => {
    const [one, two, other] = [
      await addWebhook(api, ['user.enabled', 'user.updated']),
      await addWebhook(api, ['user.updated']),
      await addWebhook(api, ['user.enabled']),
    ]
    const ada = await api.person({ password_hash: null })
    await rename(api, one.admin, ada.id, 'Ada')
    const [[first], [second], third] = [await one.received(), await two.received(), await other.received()]
    expect([first!.id, second!.type, third.length]).toEqual([second!.id, 'user.updated', 0])
  })

  test('is not confused with a type that begins like it', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    await api.sql('UPDATE webhooks SET types = \'["user.updated_x","x.user.updated"]\' WHERE id = ?', [
      hook.id,
    ])
    const ada = await api.person({ password_hash: null })
    await rename(api, hook.admin, ada.id, 'Ada')
    expect(await hook.owed()).toEqual([])
  })

  test('is not owed if the change was not made', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const ada = await api.person({ password_hash: null })
    const answer = await api.send('PATCH', `/v1/users/${ada.id}`, {
      token: hook.admin.token,
      body: { name: 'Eve' },
      headers: { 'if-match': '"999"' },
    })
    expect([answer.status, await hook.owed()]).toEqual([412, []])
  })

  test('goes out for each of many changes in one batch', async () => {
    const hook = await addWebhook(api, ['user.disabled'])
    const people = await Promise.all(Array.from({ length: 7 }, () => api.person({ password_hash: null })))
    const ids = people.map(({ id }) => id)
    await api.send('POST', '/v1/users/bulk', {
      token: hook.admin.token,
      body: { action: 'disable', ids, reason: 'Left' },
    })
    const told = await hook.received()
    expect(told.map(({ data }) => data.user!.id).sort()).toEqual(ids.sort())
    expect(told.every(({ data }) => data.user!.status === 'disabled')).toBe(true)
  })
})

test('An import is one event, which names all users it has made, but not existing ones', async () => {
  const hook = await addWebhook(api, ['user.created', 'users.imported'])
  const there = await api.person({ password_hash: null })
  const mark = crypto.randomUUID()
  const emails = [there.email, ...Array.from({ length: 499 }, (_, at) => `${at}-${mark}@old.test`)]
  const { body } = await api.send<ImportResult>('POST', '/v1/users/import', {
    token: hook.admin.token,
    raw: emails.map((email) => JSON.stringify({ email })).join('\n'),
    headers: { 'content-type': 'application/x-ndjson' },
  })
  const created = body.data.flatMap(({ status, id }) => (status === 'created' ? [id!] : []))
  expect(created.length).toBe(499)
  const [told, ...more] = await hook.received()
  expect(more).toEqual([])
  expect(told).toMatchObject({
    type: 'users.imported',
    data: { user: null, actor_id: hook.admin.id, details: { count: 499, ids: expect.any(String) } },
  })
  const ids = String(told!.data.details!.ids).match(/.{32}/g)!
  expect(ids.sort()).toEqual(created.map((id) => id.replaceAll('-', '')).sort())
  const [{ details } = {}] = await api.sql(
    "SELECT details FROM user_activity_logs WHERE action = 'users.imported' ORDER BY id DESC LIMIT 1",
  )
  expect(details).toBe('{"count":499}')
})

test('Details that are not UTF-8 or JSON are left out, and delay no other event', async () => {
  const hook = await addWebhook(api, ['user.updated'])
  const [ada, eve] = [await api.person({ password_hash: null }), await api.person({ password_hash: null })]
  for (const details of ["CAST(x'7bff7d' AS TEXT)", "'x'"])
    await api.sql(
      `INSERT INTO user_activity_logs (id, user_id, actor_id, action, details) VALUES (?1, ?2, ?2, 'user.updated', ${details})`,
      [uuidv7(), ada.id],
    )
  await rename(api, hook.admin, eve.id, 'Eve King')
  await deliver(api)
  const told = (await hook.received()).map(({ data: { user, details } }) => [user!.id, details])
  expect(told).toHaveLength(3)
  expect(told.filter(([id]) => id === ada.id)).toEqual([
    [ada.id, null],
    [ada.id, null],
  ])
  const listed = await api.send('GET', `/v1/webhooks/${hook.id}/deliveries`, { token: hook.admin.token })
  expect(listed.status).toBe(200)
})

describe('A body', () => {
  const delivery = {
    id: 1,
    event_id: '019ab0c4-7d1e-7a51-9c3b-2f4d5e6f7a8b',
    user_id: null,
    caused_by: null,
    type: 'session.started' as Action,
    event_details: null as string | null,
    snapshot: null,
  }
  test('has at most 16 KB: a longer one goes without details', () => {
    const event_details = JSON.stringify({ session_id: 'x'.repeat(17_000) })
    const body = bodyOf({ ...delivery, event_details })
    expect(body.length).toBeLessThan(16_384)
    expect(JSON.parse(body).data.details).toBeNull()
  })
  test('of the largest import fits, with all its details', () => {
    const event_details = JSON.stringify({ count: 500, ids: '0'.repeat(32).repeat(500) })
    const body = bodyOf({
      ...delivery,
      id: Number.MAX_SAFE_INTEGER,
      caused_by: delivery.event_id,
      type: 'users.imported',
      event_details,
    })
    expect(body.length).toBeLessThanOrEqual(16_384)
    expect(JSON.parse(body).data.details).toEqual(JSON.parse(event_details))
  })
  test('has the documented details, and no network, device or device name', () => {
    const event_details = JSON.stringify({
      session_id: 's',
      ip: '10.0.0.1',
      user_agent: 'curl',
      country: 'DE',
    })
    expect(JSON.parse(bodyOf({ ...delivery, event_details })).data.details).toEqual({ session_id: 's' })
    const factor = JSON.stringify({ kind: 'passkey', id: 'p', name: 'Ada’s phone' })
    const told = bodyOf({ ...delivery, type: 'factor.added', event_details: factor })
    expect(JSON.parse(told).data.details).toEqual({ kind: 'passkey', id: 'p' })
    for (const action of Object.keys(ACTIONS) as Action[])
      expect(membersOfDetails(action).join()).not.toMatch(/ip\b|agent|country|device|network|address/)
  })
  test('about somebody with the longest name, address and reason fits', async () => {
    const hook = await addWebhook(api, ['user.disabled'])
    const email = `${crypto.randomUUID()}@${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.test`
    const ada = await api.person({ password_hash: null, email, name: '\u{1f9d1}'.repeat(100) })
    const reason = '"'.repeat(499) + 'x'
    await api.send('POST', `/v1/users/${ada.id}/disable`, { token: hook.admin.token, body: { reason } })
    const [told] = await hook.received()
    expect(told!.data.details).toMatchObject({ reason })
    expect(told!.received.body.length).toBeLessThan(16_384)
  })
})

describe('A delivery about somebody who is erased', () => {
  test('keeps only the id, sent or not, in the same batch, and others are unchanged', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const [ada, eve] = [
      await api.person({ password_hash: null, name: 'Ada Quetzal' }),
      await api.person({ password_hash: null, name: 'Eve Quetzal' }),
    ]
    for (const { id } of [ada, eve]) await rename(api, hook.admin, id, 'Zebra Quetzal')
    await hook.answers(500)
    for (const { id } of [ada, eve]) await rename(api, hook.admin, id, 'Zebra Two')
    await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token: hook.admin.token })
    const owed = await hook.owed()
    const of = (id: string) => owed.filter(({ user_id }) => user_id === id)
    expect(of(ada.id).map(({ snapshot, event_details }) => [snapshot, event_details])).toEqual([
      [null, null],
      [null, null],
    ])
    expect(of(eve.id).every(({ snapshot }) => String(snapshot).includes('Zebra'))).toBe(true)
    await hook.answers(204)
    await api.sql('UPDATE webhooks SET next_try_at = NULL, failures = 0')
    await api.send('POST', `/v1/webhooks/${hook.id}/test`, { token: hook.admin.token })
    const late = (await hook.received()).filter(({ data }) => data.user?.id === ada.id)
    expect(late.at(-1)!.data).toMatchObject({ user: { id: ada.id }, details: null })
    expect(late.at(-1)!.received.body).not.toContain('Zebra')
  })

  test('keeps only the id, whoever deletes the row: the database ensures it', async () => {
    const hook = await addWebhook(api, ['user.updated'])
    const [ada, eve] = [
      await api.person({ password_hash: null }),
      await api.person({ password_hash: null }),
    ] as const
    for (const { id } of [ada, eve]) await rename(api, hook.admin, id, 'Zebra Quetzal')
    await api.sql('DELETE FROM users WHERE id = ?', [ada.id])
    expect(
      (await hook.owed()).map(({ user_id, snapshot, event_details }) => [
        user_id,
        String(snapshot).includes('Zebra'),
        String(event_details).includes('Zebra'),
      ]),
    ).toEqual([
      [ada.id, false, false],
      [eve.id, true, true],
    ])
  })

  test('removes them from others’ reasons that named them', async () => {
    const hook = await addWebhook(api, ['user.disabled'])
    const [ada, eve] = [
      await api.person({ password_hash: null, email_verified_at: 1 }),
      await api.person({ password_hash: null }),
    ]
    await api.send('POST', `/v1/users/${eve.id}/disable`, {
      token: hook.admin.token,
      body: { reason: `The same as ${ada.email}` },
    })
    expect(JSON.stringify(await hook.owed())).toContain(ada.email)
    await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token: hook.admin.token })
    expect(JSON.stringify(await hook.owed())).not.toContain(ada.email)
    expect((await hook.owed())[0]!.snapshot).toContain(eve.id)
  })
})

test('An event written by an earlier version, without its form, is completed by the next write, and goes out', async () => {
  const hook = await addWebhook(api, ['user.updated'])
  const ada = await api.person({ password_hash: null })
  await api.sql("INSERT INTO user_activity_logs (id, user_id, action) VALUES (?, ?, 'user.updated')", [
    crypto.randomUUID(),
    ada.id,
  ])
  expect((await hook.owed()).map(({ is_fixed }) => is_fixed)).toEqual([0])
  // Until then it is not due: a run that found it due would check it 200 times.
  expect((await deliver(api)).due).toBeLessThan(20)
  await api.quickActor()
  await rename(api, hook.admin, (await api.person({ password_hash: null })).id, 'Eve')
  const told = await hook.received()
  expect(told.map(({ data }) => data.user!.id)).toContain(ada.id)
})
