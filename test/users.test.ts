import { beforeAll, expect, test } from 'vitest'
import { type Actor, type Api, openApi, PASSWORD } from './support/api.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
let admin: Actor

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.actor({ role: 'admin' })
})

test('AZ3: nothing but the name can be changed about oneself', async () => {
  const ada = await api.actor()
  const before = await rowOf(ada)
  const members = [
    'role',
    'status',
    'is_admin',
    'email_verified',
    'id',
    'created_at',
    'deleted_at',
    'password_hash',
  ]
  const bodies = [...members, '__proto__', 'constructor'].map((name) => `{"name":"Eve","${name}":"admin"}`)
  for (const raw of bodies) {
    const headers = { 'content-type': 'application/json' }
    const answer = await api.send('PATCH', '/v1/users/me', { token: ada.token, raw, headers })
    expect([answer.status, answer.body.code]).toEqual([422, 'invalid_input'])
  }
  expect(await rowOf(ada)).toEqual(before)
})

test('AZ6: two administrators who demote each other at once leave at least one', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  for (let round = 0; round < 10; round++) {
    await lone.sql("UPDATE users SET role = 'user'")
    const [ada, eve] = [await lone.actor({ role: 'admin' }), await lone.actor({ role: 'admin' })]
    const demote = (by: Actor, whom: Actor) =>
      lone.send('PATCH', `/v1/users/${whom.id}`, { token: by.token, body: { role: 'user' } })
    const answers = await Promise.all([demote(ada, eve), demote(eve, ada)])
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await lone.sql("SELECT count(*) AS n FROM users WHERE role = 'admin'")).toEqual([{ n: 1 }])
  }
})

test('AZ6: the last administrator cannot leave', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const last = await lone.actor({ role: 'admin' })
  const body = { password: PASSWORD }
  const answer = await lone.send('DELETE', '/v1/users/me', { token: last.token, body })
  expect([answer.status, answer.body.code]).toEqual([409, 'last_admin'])
})

test('AZ5: a manager manages nobody of their own rank or above, and makes nobody one', async () => {
  const [manager, other] = [await api.actor({ role: 'manager' }), await api.person({ role: 'manager' })]
  const by = { token: manager.token }
  for (const id of [other.id, admin.id]) {
    const answers = [
      await api.send('PATCH', `/v1/users/${id}`, { ...by, body: { name: 'Eve' } }),
      await api.send('POST', `/v1/users/${id}/disable`, { ...by, body: { reason: 'x' } }),
      await api.send('DELETE', `/v1/users/${id}/sessions`, by),
    ]
    expect(answers.map(({ body }) => body.code)).toEqual(['outranked', 'outranked', 'outranked'])
  }
  const ada = await api.person()
  const lifted = await api.send('PATCH', `/v1/users/${ada.id}`, { ...by, body: { role: 'manager' } })
  expect(lifted.body.code).toBe('outranked')
})

test('DL2: the address of a soft-deleted person is free, and restoring answers 409 once it is taken', async () => {
  const ada = await api.actor()
  expect((await manage('DELETE', `/${ada.id}`)).status).toBe(204)
  expect((await manage('DELETE', `/${ada.id}`)).status).toBe(204)
  expect((await manage('POST', `/${ada.id}/restore`)).status).toBe(200)
  expect((await manage('DELETE', `/${ada.id}`)).status).toBe(204)
  const body = { email: ada.email, password: PASSWORD, name: 'Ada again' }
  expect((await api.send('POST', '/v1/auth/signup', { body })).status).toBe(201)
  const restored = await manage('POST', `/${ada.id}/restore`)
  expect([restored.status, restored.body.code]).toEqual([409, 'email_taken'])
  expect(await api.historyOf(ada.id)).toEqual([
    'session.started',
    'user.deleted',
    'user.restored',
    'user.deleted',
  ])
})

test('DL3: after a hard delete no table knows the person, and the history goes on without a name', async () => {
  const ada = await api.actor({ email: 'marked-address@people.test', name: 'Marked Name' })
  await manage('POST', `/${ada.id}/disable`, { reason: 'Marked reason' })
  expect((await manage('DELETE', `/${ada.id}?hard=true`)).status).toBe(204)
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
  )
  for (const { name } of tables) {
    expect(JSON.stringify(await api.sql(`SELECT * FROM "${name}"`))).not.toMatch(/marked/i)
  }
  expect((await api.historyOf(ada.id)).at(-1)).toBe('user.purged')
})

test('A change is made only on the version that the caller has seen', async () => {
  const ada = await api.person()
  const change = (name: string, version: string) =>
    api.send('PATCH', `/v1/users/${ada.id}`, {
      token: admin.token,
      body: { name },
      headers: { 'if-match': version },
    })
  expect((await change('First', '"1"')).headers.get('etag')).toBe('"2"')
  expect((await change('Second', '"1"')).body.code).toBe('version_mismatch')
  expect((await change('Second', 'W/"x"')).body.code).toBe('invalid_if_match')
})

const manage = (method: string, path: string, body?: unknown) =>
  api.send(method, `/v1/users${path}`, { token: admin.token, body })
const rowOf = ({ id }: { id: string }) => api.sql('SELECT * FROM users WHERE id = ?', [id])
