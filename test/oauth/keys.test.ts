import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { makeApiKey } from '../../src/access/key-tokens.ts'
import type { Role } from '../../src/users/models.ts'
import { type Actor, openApi } from '../support/api.ts'
import { addKey } from '../support/keys.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})

const otherKeys = () => randomBytes(32).toString('base64url')
const somebody = (role: Role = 'manager') => api.person({ role, email_verified_at: 1 })
const make = (token: string, body: object = {}) =>
  api.send('POST', '/v1/api_keys', { token, body: { name: 'Report', permissions: ['users:read'], ...body } })
const list = async (token: string) =>
  (await api.send<{ data: Record<string, unknown>[] }>('GET', '/v1/api_keys', { token })).body.data
const read = async (token: string) => {
  const { status, body } = await api.send('GET', '/v1/users', { token })
  return status === 200 ? 200 : body.code
}

describe('Keys', () => {
  test('AK2: a key is shown once, and only its digest is stored', async () => {
    const ada = await somebody()
    const { token } = await api.signIn(ada)
    const { status, body } = await make(token)
    expect([status, body]).toEqual([
      201,
      {
        id: expect.any(String),
        name: 'Report',
        permissions: ['users:read'],
        expires_at: null,
        created_at: expect.any(String),
        rotated_at: body.created_at,
        former_until: null,
        last_used_at: null,
        key: expect.stringMatching(/^rk_[\w-]{56}_[\w-]{44}_[\w-]{8}$/),
      },
    ])
    const { key, ...shown } = body as { key: string }
    expect(await list(token)).toEqual([shown])
    const held = JSON.stringify(await dump(api))
    expect(held).not.toContain(key)
    expect(held).not.toContain(key.slice(60, 100))
    expect(await read(key)).toBe(200)
    expect(await api.historyOf(ada.id)).toEqual(['api_key.created'])
    const [mail] = await api.mailsTo(ada.email)
    expect(mail!.subject).toContain('key')
    expect(mail!.text).toContain('/account/apps')
    expect(mail!.text).not.toContain(key)
  })

  test('AK2: a key with one wrong letter is refused without a trip', async () => {
    const { key } = await addKey(api, await somebody(), ['users:read'])
    for (const at of [4, 40, 58, 64, 90, 108]) {
      const wrong = key.slice(0, at) + (key[at] === 'a' ? 'b' : 'a') + key.slice(at + 1)
      const { result, calls } = await own.measure(() => api.send('GET', '/v1/users', { token: wrong }))
      expect([at, result.status, result.body.code, calls]).toEqual([at, 401, 'invalid_token', []])
    }
  })

  test('an invented key is refused, and causes no work', async () => {
    const ada = await somebody()
    const forged = makeApiKey(
      openApi({ ...api.bindings, SECRET_KEYS: otherKeys() }).config(),
      '01900000-0000-7000-8000-000000000000',
      ada.id,
    )
    const { result, calls } = await own.measure(() => api.send('GET', '/v1/users', { token: forged.key }))
    expect(result.status).toBe(401)
    expect(calls.flatMap(({ statements }) => statements)).toHaveLength(1)
  })

  test('a key from before SECRET_KEYS were replaced still works', async () => {
    const { key } = await addKey(api, await somebody(), ['users:read'])
    const later = openApi({ ...api.bindings, SECRET_KEYS: otherKeys() })
    expect((await later.send('GET', '/v1/users', { token: key })).status).toBe(200)
  })

  test('AK1: making one needs a login of the last ten minutes, and it belongs to that user', async () => {
    const ada = await somebody()
    const { token } = await api.signIn(ada, Date.now() - 601_000)
    const { id } = await addKey(api, ada, ['users:read'])
    const before = await dump(api)
    expect((await make(token)).body.code).toBe('reauthentication_required')
    expect((await api.send('POST', `/v1/api_keys/${id}/rotate`, { token })).body.code).toBe(
      'reauthentication_required',
    )
    const fresh = (await api.signIn(admin)).token
    expect((await make(fresh, { user_id: ada.id })).status).toBe(422)
    for (const [method, path] of [
      ['POST', `/v1/api_keys/${id}/rotate`],
      ['DELETE', `/v1/api_keys/${id}`],
    ] as const)
      expect((await api.send(method, path, { token: fresh })).body.code).toBe('api_key_not_found')
    const { sessions: _, ...after } = await dump(api)
    expect(after).toEqual({ ...before, sessions: undefined })
  })

  test.each(['user', 'manager'] as const)('AK1: a %s cannot give a key what they lack', async (role) => {
    const { token } = await api.signIn(await somebody(role))
    const { status, body } = await make(token, { permissions: ['mails:manage'] })
    expect([status, body.errors]).toEqual([
      422,
      [{ pointer: '/permissions/0', code: 'not_yours', detail: expect.any(String) }],
    ])
    expect(await list(token)).toEqual([])
  })

  test.each([
    [{ permissions: ['users:delete'] }],
    [{ permissions: ['everything'] }],
    [{ permissions: ['users:read', 'users:read'] }],
    [{ expires_at: '2020-01-01T00:00:00Z' }],
    [{ name: '' }],
    [{ rate_limit: 9 }],
  ])('AK1: %o is refused', async (body) => {
    expect((await make(admin.token, body)).status).toBe(422)
  })

  test('an account with an unproved address cannot have one', async () => {
    const { token } = await api.signIn(await api.person())
    expect((await make(token, { permissions: [] })).body.code).toBe('address_not_verified')
  })

  test('a user has at most fifty, even if the last two are made at once', async () => {
    const ada = await somebody('user')
    await api.sql(
      `INSERT INTO api_keys (id, user_id, name, permissions, secret_hash, session_id, amr, created_at, rotated_at)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 49)
        SELECT 'k' || n || ?1, ?1, 'n', '[]', 'x', 's', '[]', 0, 0 FROM n`,
      [ada.id],
    )
    const { token } = await api.signIn(ada)
    const made = await Promise.all([1, 2].map(() => make(token, { permissions: [] })))
    expect(made.map(({ status }) => status).sort()).toEqual([201, 409])
    expect((await make(token, { permissions: [] })).body.code).toBe('too_many_api_keys')
  })

  test('no key is made whose notice would exceed the mail limit', async () => {
    const { token } = await api.signIn(await somebody('user'))
    const statuses = []
    for (let made = 0; made < 22; made++) statuses.push((await make(token, { permissions: [] })).status)
    expect(statuses).toEqual([...Array(20).fill(201), 429, 429])
  })

  test('AK2: an expired key is refused', async () => {
    const expires_at = new Date(Date.now() + 60_000).toISOString()
    const { key, id } = await addKey(api, await somebody(), ['users:read'], { expires_at })
    expect(await read(key)).toBe(200)
    await api.sql('UPDATE api_keys SET expires_at = ? WHERE id = ?', [Date.now() - 1, id])
    expect(await read(key)).toBe('invalid_token')
  })

  test('its last use is recorded after the answer, once in five minutes, in its own row alone', async () => {
    const ada = await somebody()
    const { key, id } = await addKey(api, ada, ['users:read'])
    await addKey(api, ada, ['users:read'])
    /** Calls of libSQL, and rows written. */
    const spent = async () => {
      const { calls } = await own.measure(() => api.send('GET', '/v1/users', { token: key }))
      const written = calls.flatMap(({ statements }) => statements.map(({ rowsWritten }) => rowsWritten))
      return [calls.length, written.reduce((all, rows) => all + rows, 0)]
    }
    expect([await spent(), await spent()]).toEqual([
      [2, 1],
      [1, 0],
    ])
    await api.sql('UPDATE api_keys SET last_used_at = last_used_at - 300001 WHERE id = ?', [id])
    expect([await spent(), await spent()]).toEqual([
      [2, 1],
      [1, 0],
    ])
  })

  test('after a rotation two secrets are valid: the former one for a day', async () => {
    const ada = await somebody()
    const { key, id } = await addKey(api, ada, ['users:read'])
    const { token } = await api.signIn(ada)
    const rotate = () => api.send('POST', `/v1/api_keys/${id}/rotate`, { token })
    const { status, body } = await rotate()
    expect([status, body]).toMatchObject([200, { id, former_until: expect.any(String) }])
    expect([await read(key), await read(String(body.key))]).toEqual([200, 200])
    expect(await api.historyOf(ada.id)).toEqual(['api_key.created', 'api_key.rotated'])
    const hasPassed = (ms: number) =>
      api.sql('UPDATE api_keys SET former_secret_until = former_secret_until - ? WHERE id = ?', [ms, id])
    await hasPassed(600_001)
    const third = String((await rotate()).body.key)
    expect(await Promise.all([key, String(body.key), third].map(read))).toEqual(['invalid_token', 200, 200])
    await api.sql('UPDATE api_keys SET former_secret_until = ? WHERE id = ?', [Date.now() - 1, id])
    expect(await Promise.all([String(body.key), third].map(read))).toEqual(['invalid_token', 200])
  })

  test('rotating twice, as with a button pressed again, does not end the secret in use', async () => {
    const ada = await somebody()
    const { key, id } = await addKey(api, ada, ['users:read'])
    const { token } = await api.signIn(ada)
    const rotate = async () => (await api.send('POST', `/v1/api_keys/${id}/rotate`, { token })).body
    const [lost, shown, last] = [await rotate(), await rotate(), await rotate()]
    expect(await Promise.all([lost, shown, last].map((one) => read(String(one.key))))).toEqual([
      'invalid_token',
      'invalid_token',
      200,
    ])
    expect([await read(key), last.former_until]).toEqual([200, lost.former_until])
  })

  test('after two rotations at once, the secret in use stays valid, and so is one that was shown', async () => {
    const ada = await somebody()
    const { id, key } = await addKey(api, ada, ['users:read'])
    const { token } = await api.signIn(ada)
    const answers = await Promise.all(
      [1, 2].map(() => api.send('POST', `/v1/api_keys/${id}/rotate`, { token })),
    )
    const made = answers.filter(({ status }) => status === 200).map(({ body }) => String(body.key))
    expect(made.length).toBeGreaterThan(0)
    expect((await Promise.all(made.map(read))).filter((one) => one === 200)).toEqual([200])
    expect(await read(key)).toBe(200)
  })

  test('a revoked key ends at once, and is like an unknown one', async () => {
    const ada = await somebody()
    const { id, key } = await addKey(api, ada, ['users:read'])
    const { token } = await api.signIn(ada, Date.now() - 3_600_000)
    const revoke = () => api.send('DELETE', `/v1/api_keys/${id}`, { token })
    expect((await revoke()).status).toBe(204)
    expect(await read(key)).toBe('invalid_token')
    expect((await revoke()).body.code).toBe('api_key_not_found')
    expect(await api.historyOf(ada.id)).toEqual(['api_key.created', 'api_key.revoked'])
    expect(await list(token)).toEqual([])
  })

  test('a key can read who its owner is, without any permission', async () => {
    const ada = await somebody('user')
    const { key } = await addKey(api, ada)
    const { status, body } = await api.send('GET', '/v1/users/me', { token: key })
    expect([status, body.id]).toEqual([200, ada.id])
  })

  test('the header counts, not a cookie beside it', async () => {
    const { key } = await addKey(api, await somebody('user'))
    const { status } = await api.send('GET', '/v1/users', { token: key, headers: { cookie: 'x=1' } })
    expect(status).toBe(403)
  })
})
