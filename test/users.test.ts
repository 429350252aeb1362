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

test('AZ6: the last administrator cannot leave', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const last = await lone.actor({ role: 'admin' })
  const body = { password: PASSWORD }
  const answer = await lone.send('DELETE', '/v1/users/me', { token: last.token, body })
  expect([answer.status, answer.body.code]).toEqual([409, 'last_admin'])
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

test('Sessions of nobody, and of somebody deleted, are not there for a manager', async () => {
  const manager = await api.quickActor({ role: 'manager' })
  const gone = await api.quickActor()
  await manage('DELETE', `/${gone.id}`)
  for (const id of [crypto.randomUUID(), gone.id]) {
    for (const method of ['GET', 'DELETE']) {
      const answer = await api.send(method, `/v1/users/${id}/sessions`, { token: manager.token })
      expect([answer.status, answer.body.code]).toEqual([404, 'user_not_found'])
    }
  }
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
