import { beforeAll, describe, expect, test } from 'vitest'
import { KEY_PERMISSIONS } from '../../src/access/permissions.ts'
import { app as worker } from '../../src/app.ts'
import { operationsOf } from '../../src/docs/openapi.ts'
import { type Actor, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { declaredCodes } from '../support/declared.ts'
import { addKey } from '../support/keys.ts'
import { limiter } from '../support/limiter.ts'
import { lineOf } from '../support/log-lines.ts'
import { WHO } from '../support/requests.ts'
import { rounds } from '../support/rounds.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** What a key may do: its permissions, as far as its owner has them at the moment. */

let api: ReturnType<typeof openApi>
let admin: Actor

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})

const routes = [...operationsOf(worker)]
  .filter(
    ([route]) => (WHO[route] ?? (route === 'POST /v1/auth/logout' ? 'signed in' : 'anyone')) !== 'anyone',
  )
  .map(([route, parts]) => [route, parts.map(({ security }) => security).find(Boolean)] as const)

const ask = (route: string, token: string) => {
  const [method, pattern] = route.split(' ') as [string, string]
  const path = pattern.replace(':id', '00000000-0000-7000-8000-000000000000')
  return api.send(method, path, { token, body: /POST|PATCH/.test(method) ? {} : undefined })
}
const read = async (token: string) => {
  const { status, body } = await api.send('GET', '/v1/users', { token })
  return status === 200 ? 200 : body.code
}

describe('AK4, AZ1: a key of an administrator', () => {
  test.each(KEY_PERMISSIONS)('may do with the permission %s what it says, and nothing else', async (one) => {
    const { key } = await addKey(api, admin, [one])
    await ask('GET /v1/users/me', key) // Its last use is recorded.
    const before = await dump(api)
    for (const [route, needed] of routes.filter(([route]) => route !== 'GET /v1/users/me')) {
      const { status, body } = await ask(route, key)
      if (needed !== one) expect([route, status, body.code]).toEqual([route, 403, 'insufficient_scope'])
      else expect([route, status]).not.toEqual([route, 401])
    }
    expect(await dump(api)).toEqual(before)
  })

  test('with all of them still cannot change credentials, delete users, export anything or make keys', async () => {
    const { key: token, id } = await addKey(api, admin, KEY_PERMISSIONS)
    const eve = await api.person({ email_verified_at: 1 })
    await ask('GET /v1/users/me', token)
    const before = await dump(api)
    for (const [method, path, body] of [
      ['POST', '/v1/api_keys', { name: 'Eve', permissions: [] }],
      ['POST', `/v1/api_keys/${id}/rotate`, undefined],
      ['DELETE', `/v1/api_keys/${id}`, undefined],
      ['POST', '/v1/oauth_clients', { name: 'Eve', type: 'public', redirect_uris: ['https://evil.test/cb'] }],
      ['PATCH', `/v1/users/${eve.id}`, { role: 'admin' }],
      ['PATCH', `/v1/users/${eve.id}`, { email: 'x@people.test' }],
      ['POST', '/v1/users', { email: 'x@people.test', password: PASSWORD, name: 'Eve', role: 'manager' }],
      ['DELETE', `/v1/users/${eve.id}`, undefined],
      ['DELETE', `/v1/users/${eve.id}?hard=true`, undefined],
      ['POST', '/v1/users/bulk', { action: 'delete', ids: [eve.id] }],
      ['GET', `/v1/users/${eve.id}/export`, undefined],
      ['GET', '/v1/users/me/export', undefined],
      ['DELETE', '/v1/users/me', undefined],
      ['GET', '/v1/users/export', undefined],
      ['GET', '/v1/activity/export', undefined],
      ['DELETE', `/v1/users/${eve.id}/factors`, undefined],
      ['GET', '/v1/users?status=deleted', undefined],
      ['POST', '/v1/auth/change_password', { current_password: PASSWORD, new_password: 'nine green bears' }],
      ['POST', '/v1/auth/reauthenticate', { password: PASSWORD }],
      ['POST', '/v1/auth/logout', undefined],
    ] as const) {
      const answer = await api.send(method, path, { token, body })
      expect([method, path, answer.status]).toEqual([method, path, 403])
    }
    expect((await api.send('GET', '/admin', { token })).headers.get('location')).toContain('/signin')
    const { throttles: _, ...after } = await dump(api)
    expect(after).toEqual({ ...before, throttles: undefined })
  })

  test('AZ5: manages users, but neither managers nor administrators; the history says who', async () => {
    const { key: token } = await addKey(api, admin, ['users:read', 'users:update'])
    for (const [role, status] of [
      ['user', 200],
      ['manager', 403],
      ['admin', 403],
    ] as const) {
      const { id } = await api.person({ role })
      const answer = await api.send('PATCH', `/v1/users/${id}`, { token, body: { name: 'Grace' } })
      expect([role, answer.status]).toEqual([role, status])
      const history = await api.sql('SELECT actor_id FROM user_activity_logs WHERE user_id = ?', [id])
      expect(history).toEqual(status === 200 ? [{ actor_id: admin.id }] : [])
    }
  })

  test('AZ5: ends the sessions of users, but not its owner’s', async () => {
    const { key: token } = await addKey(api, admin, ['sessions:manage'])
    const end = (id: string) => api.send('DELETE', `/v1/users/${id}/sessions`, { token })
    expect((await end((await api.person()).id)).status).toBe(204)
    expect((await end(admin.id)).body.code).toBe('own_account')
    expect((await api.send('GET', '/v1/auth/sessions', { token: admin.token })).status).toBe(200)
  })

  test('AK4: has its own limits', async () => {
    const { key } = await addKey(api, admin, ['users:read'])
    const counted = limiter(2)
    const limited = openApi({ ...api.bindings, RATE_LIMIT_READS: counted })
    const statuses = []
    for (let asked = 0; asked < 3; asked++)
      statuses.push((await limited.send('GET', '/v1/users', { token: key })).status)
    expect(statuses).toEqual([200, 200, 429])
    expect((await limited.send('GET', '/v1/users', { token: admin.token })).status).toBe(200)
  })
})

describe('AK3: changes to its owner take effect at the next call', () => {
  type Own = { id: string; email: string; token: string; key: string; keyId: string }
  const asAdmin = (method: string, path: string, body?: object) =>
    api.send(method, path, { token: admin.token, body })
  const ends: Record<string, (own: Own) => Promise<unknown>> = {
    'they are disabled': ({ id }) => asAdmin('POST', `/v1/users/${id}/disable`, { reason: 'x' }),
    'they are disabled, and enabled again': async ({ id }) => {
      await asAdmin('POST', `/v1/users/${id}/disable`, { reason: 'x' })
      await asAdmin('POST', `/v1/users/${id}/enable`)
    },
    'they are deleted': ({ id }) => asAdmin('DELETE', `/v1/users/${id}`),
    'they are deleted, and restored': async ({ id }) => {
      await asAdmin('DELETE', `/v1/users/${id}`)
      await asAdmin('POST', `/v1/users/${id}/restore`)
    },
    'they are erased': ({ id }) => asAdmin('DELETE', `/v1/users/${id}?hard=true`),
    'they set a new password by mail': async ({ email }) => {
      await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
      const { token } = linkIn((await api.mailsTo(email))[0]!)
      const body = { token, new_password: 'nine green bears run' }
      expect((await api.send('POST', '/v1/auth/reset_password', { body })).status).toBe(204)
    },
    'their address was in the wrong hands': ({ id }) =>
      asAdmin('PATCH', `/v1/users/${id}`, { email: `${id}@other.test`, revoke_old: true }),
    'it is revoked': ({ token, keyId }) => api.send('DELETE', `/v1/api_keys/${keyId}`, { token }),
  }
  const aKey = async () => {
    const somebody = await api.person({ role: 'manager', email_verified_at: 1 })
    const { key, id: keyId } = await addKey(api, somebody, ['users:read'])
    return { ...somebody, ...(await api.signIn(somebody)), key, keyId }
  }

  test.each(Object.entries(ends))('LE6, AK2: a key ends when %s', async (_, end) => {
    const own = await aKey()
    expect(await read(own.key)).toBe(200)
    await end(own)
    expect(await read(own.key)).toBe('invalid_token')
    expect((await api.send('GET', '/v1/users/me', { token: own.key })).status).toBe(401)
    expect(await api.sql('SELECT * FROM api_keys WHERE user_id = ?', [own.id])).toEqual([])
  })

  test('after a demotion it may do no more than they may, and after a promotion it may again', async () => {
    const own = await aKey()
    await asAdmin('PATCH', `/v1/users/${own.id}`, { role: 'user' })
    expect(await read(own.key)).toBe('insufficient_scope')
    expect((await api.send('GET', '/v1/users/me', { token: own.key })).status).toBe(200)
    await asAdmin('PATCH', `/v1/users/${own.id}`, { role: 'manager' })
    expect(await read(own.key)).toBe(200)
  })

  test('it is not affected by signing out, or by a new password', async () => {
    const own = await aKey()
    await api.send('POST', '/v1/auth/logout_all', { token: own.token })
    expect(await read(own.key)).toBe(200)
  })

  test('the mail about a new device ends the keys that its session made', async () => {
    const ada = await api.person({ role: 'manager', email_verified_at: 1 })
    await api.logIn(ada)
    const second = await api.logIn(ada)
    const [mail] = (await api.mailsTo(ada.email)).filter(({ text }) => /disown_session/.test(text))
    const body = { name: 'Report', permissions: ['users:read'] }
    const made = await api.send('POST', '/v1/api_keys', { token: second.access_token, body })
    const other = await addKey(api, ada, ['users:read'])
    const { token } = linkIn(mail!)
    expect((await api.send('POST', '/v1/auth/disown_session', { body: { token } })).status).toBe(204)
    expect([await read(String(made.body.key)), await read(other.key)]).toEqual(['invalid_token', 200])
  })

  test('a second factor that the policy requires is required of a key too, before it changes anything', async () => {
    const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'managers' })
    const { key: token } = await addKey(api, admin, ['users:read', 'users:update'])
    const { id } = await api.person()
    const answers = [
      await strict.send('GET', '/v1/users', { token }),
      await strict.send('PATCH', `/v1/users/${id}`, { token, body: { name: 'Grace' } }),
      await strict.send('GET', '/v1/users/me', { token }),
    ]
    expect(answers.map(({ body }) => body.code)).toEqual(Array(3).fill('factor_enrolment_required'))
    expect(await declaredCodes(api, 'GET /v1/users/me')).toContain('factor_enrolment_required')
    expect(await api.sql('SELECT name FROM users WHERE id = ?', [id])).toEqual([{ name: 'Somebody' }])
  })

  test.each([...Array(rounds(6, 50)).keys()])(
    'AK3: at the same time as their demotion or deletion it writes before that, or not at all %i',
    async (round) => {
      const manager = await api.person({ role: 'manager', email_verified_at: 1 })
      const { key: token } = await addKey(api, manager, ['users:update'])
      const { id } = await api.person()
      const ending =
        round % 2 === 0
          ? asAdmin('PATCH', `/v1/users/${manager.id}`, { role: 'user' })
          : asAdmin('DELETE', `/v1/users/${manager.id}`)
      const uses = [1, 2, 3].map((name) =>
        api.send('PATCH', `/v1/users/${id}`, { token, body: { name: `Grace ${name}` } }),
      )
      const [ended, ...used] = await Promise.all([ending, ...uses])
      expect([200, 204]).toContain(ended!.status)
      const rows = await api.sql(
        "SELECT id, action, user_id FROM user_activity_logs WHERE action = 'user.updated' AND user_id = ? OR user_id = ? AND action IN ('user.role_changed', 'user.deleted') ORDER BY id",
        [id, manager.id],
      )
      // A refusal leaves nothing; what was answered with 200 was written.
      const isWritten = rows.filter(({ user_id }) => user_id === id).length
      expect(isWritten).toBeGreaterThanOrEqual(used.filter(({ status }) => status === 200).length)
      expect((await api.send('PATCH', `/v1/users/${id}`, { token, body: { name: 'Late' } })).status).not.toBe(
        200,
      )
      expect(await api.sql("SELECT 1 FROM users WHERE id = ? AND name = 'Late'", [id])).toEqual([])
    },
  )
})

test('the log line tells which key it was', async () => {
  const { key, id } = await addKey(api, admin, ['users:read'])
  const { headers } = await api.send('GET', '/v1/users', { token: key })
  expect(JSON.parse(lineOf(headers)!)).toMatchObject({ actor: admin.id, key: id })
  expect(lineOf(headers)).not.toContain('session')
})
