import { beforeAll, describe, expect, test } from 'vitest'
import { type Actor, type Api, openApi, PASSWORD } from './support/api.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
let admin: Actor

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.actor({ role: 'admin' })
})

test('AZ3: users can only change their own name, language and metadata', async () => {
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
    'external_id',
    'admin_metadata',
  ]
  const bodies = [...members, '__proto__', 'constructor'].map((name) => `{"name":"Eve","${name}":"admin"}`)
  for (const raw of bodies) {
    const headers = { 'content-type': 'application/json' }
    const answer = await api.send('PATCH', '/v1/users/me', { token: ada.token, raw, headers })
    expect([answer.status, answer.body.code]).toEqual([422, 'invalid_input'])
  }
  expect(await rowOf(ada)).toEqual(before)
})

test('Metadata consists of whole characters, under any name and at any depth', async () => {
  const ada = await api.actor()
  const change = (raw: string) =>
    api.send('PATCH', '/v1/users/me', {
      token: ada.token,
      raw: `{"metadata":${raw}}`,
      headers: { 'content-type': 'application/json' },
    })
  for (const half of ['{"a":"\\ud800"}', '{"\\udc00":1}', '{"a":[{"b":"x\\\\\\udbff"}]}']) {
    const answer = await change(half)
    expect([half, answer.status, answer.body.errors]).toMatchObject([
      half,
      422,
      [{ pointer: '/metadata', code: 'half_a_character' }],
    ])
  }
  for (const whole of ['{"a":"\\ud83d\\ude00"}', '{"a":"\\\\ud800"}', '{"\\u0001":"\\u00e4"}'])
    expect([whole, (await change(whole)).status]).toEqual([whole, 200])
})

test('Metadata that cannot be kept as it is sent is refused, and what was there stays', async () => {
  const ada = await api.actor()
  const change = (raw: string) =>
    api.send('PATCH', '/v1/users/me', {
      token: ada.token,
      raw: `{"metadata":${raw}}`,
      headers: { 'content-type': 'application/json' },
    })
  expect((await change('{"kept":1e308}')).status).toBe(200)
  for (const [metadata, pointer, code] of [
    ['{"a":1e400}', '/metadata/a', 'too_big'],
    ['{"a":[{"b":-1e999}]}', '/metadata/a/0/b', 'too_big'],
    ['{"__proto__":{"role":"admin"}}', '/metadata/__proto__', 'reserved_name'],
    ['{"a":[{"__proto__":1}]}', '/metadata/a/0/__proto__', 'reserved_name'],
  ] as const) {
    const answer = await change(metadata)
    expect([metadata, answer.status, answer.body.errors]).toMatchObject([metadata, 422, [{ pointer, code }]])
  }
  const { body } = await api.send('GET', '/v1/users/me', { token: ada.token })
  expect(body.metadata).toEqual({ kept: 1e308 })
})

test('AZ6: the last administrator cannot leave', async () => {
  const lone = openApi((await freshUpstreams()).bindings)
  const last = await lone.actor({ role: 'admin' })
  const body = { password: PASSWORD }
  const answer = await lone.send('DELETE', '/v1/users/me', { token: last.token, body })
  expect([answer.status, answer.body.code]).toEqual([409, 'last_admin'])
})

test('DL2: a soft-deleted person’s address is free, and restoring answers 409 once it is taken', async () => {
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

test('Sessions of an unknown or deleted user are not found by a manager', async () => {
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

test('A change is only made to the version that the caller has seen', async () => {
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

describe('HX16: If-Match is obeyed', () => {
  /** What changes a user, and how to get there. */
  const changes: [route: string, body?: unknown, before?: string][] = [
    ['POST /v1/users/:id/unlock'],
    ['POST /v1/users/:id/send_reset'],
    ['POST /v1/users/:id/send_verification'],
    ['DELETE /v1/users/:id/sessions'],
    ['DELETE /v1/users/:id/factors'],
    ['PATCH /v1/users/:id', { name: 'Grace' }],
    ['POST /v1/users/:id/disable', { reason: 'left' }],
    ['POST /v1/users/:id/enable', undefined, 'POST /v1/users/:id/disable'],
    ['DELETE /v1/users/:id'],
    ['DELETE /v1/users/:id?hard=true'],
    ['POST /v1/users/:id/restore', undefined, 'DELETE /v1/users/:id'],
    ['PATCH /v1/users/me', { name: 'Grace' }],
    ['DELETE /v1/users/me', { password: PASSWORD }],
  ]

  test('by every route that changes a user', async () => {
    const { paths } = (await api.send<{ paths: Paths }>('GET', '/openapi.json')).body
    type Paths = Record<string, Record<string, { parameters?: { name: string }[] }>>
    const routes = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(
          ([method]) => /^\/v1\/users\/(me|\{id\})/.test(path) && /^(post|patch|put|delete)$/.test(method),
        )
        .map(([method, { parameters = [] }]) => ({
          route: `${method.toUpperCase()} ${path.replace('{id}', ':id')}`,
          takes: parameters.some(({ name }) => name === 'If-Match'),
        })),
    )
    expect(routes.filter(({ takes }) => !takes)).toEqual([])
    const tested = new Set(changes.map(([route]) => route.replace(/\?.*/, '')))
    expect(routes.map(({ route }) => route).sort()).toEqual([...tested].sort())
  })

  test.each(changes)('by %s', async (route, body, before) => {
    // There is something to unlock.
    const ada = await api.quickActor({ failed_logins: 1 })
    const send = (way: string, content?: unknown, version?: string) => {
      const [method, path] = way.replace(':id', ada.id).split(' ') as [string, string]
      return api.send(method, path, {
        token: path.endsWith('/me') ? ada.token : admin.token,
        body: content,
        ...(version !== undefined && { headers: { 'if-match': version } }),
      })
    }
    if (before) {
      const reason = before.endsWith('/disable') ? { reason: 'x' } : undefined
      expect((await send(before, reason)).status).toBeLessThan(300)
    }
    const row = (await rowOf(ada))[0]!
    const version = row.version as number
    for (const stale of [`"${version + 1}"`, `W/"${version + 1}"`, `"${version + 7}", "${version + 8}"`]) {
      const answer = await send(route, body, stale)
      expect([stale, answer.status, answer.body.code]).toEqual([stale, 412, 'version_mismatch'])
    }
    expect((await send(route, body, '"x"')).body.code).toBe('invalid_if_match')
    const { failed_logins: _, ...unchanged } = (await rowOf(ada))[0]!
    expect(row).toMatchObject(unchanged)
    expect((await send(route, body, `"${version + 1}", W/"${version}"`)).status).toBeLessThan(300)
  })

  test('`*` matches any version, and somebody who may not change a user learns of none', async () => {
    const ada = await api.quickActor()
    const answer = await api.send('POST', `/v1/users/${ada.id}/disable`, {
      token: admin.token,
      body: { reason: 'x' },
      headers: { 'if-match': '*' },
    })
    expect(answer.status).toBe(200)
    const manager = await api.quickActor({ role: 'manager' })
    const refused = await api.send('PATCH', `/v1/users/${admin.id}`, {
      token: manager.token,
      body: { name: 'Eve' },
      headers: { 'if-match': '"999"' },
    })
    expect(refused.body.code).toBe('outranked')
  })
})

test('A caller who has read a user only gets a 304 if nothing has changed since', async () => {
  const ada = await api.quickActor()
  for (const [path, token] of [
    ['/v1/users/me', ada.token],
    [`/v1/users/${ada.id}`, admin.token],
  ] as const) {
    for (const method of ['GET', 'HEAD']) {
      const ask = (tag: string) => api.send(method, path, { token, headers: { 'if-none-match': tag } })
      const tag = (await ask('"0"')).headers.get('etag')!
      for (const known of [tag, `W/${tag}`, `"77", ${tag}`, '*']) {
        const answer = await ask(known)
        expect([method, known, answer.status, answer.text, answer.headers.get('etag')]).toEqual([
          method,
          known,
          304,
          '',
          tag,
        ])
      }
      expect((await ask('"77"')).status).toBe(200)
    }
  }
  const ended = await api.quickActor()
  await api.send('POST', '/v1/auth/logout', { token: ended.token })
  const answer = await api.send('GET', '/v1/users/me', {
    token: ended.token,
    headers: { 'if-none-match': '*' },
  })
  expect(answer.status).toBe(401)
})

const manage = (method: string, path: string, body?: unknown) =>
  api.send(method, `/v1/users${path}`, { token: admin.token, body })
const rowOf = ({ id }: { id: string }) => api.sql('SELECT * FROM users WHERE id = ?', [id])
