import { beforeAll, describe, expect, test, vi } from 'vitest'
import { app as worker } from '../../src/app.ts'
import { operationsOf } from '../../src/docs/openapi.ts'
import { SCOPES } from '../../src/oauth/scopes.ts'
import { type Actor, openApi, PASSWORD } from '../support/api.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { WHO } from '../support/requests.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** What an app's token may do: the session that it has of somebody, whoever that is, is never theirs. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})

/** Each route behind a sign-in, with the permission that it takes, or none. */
const routes = [...operationsOf(worker)]
  .filter(
    ([route]) => (WHO[route] ?? (route === 'POST /v1/auth/logout' ? 'signed in' : 'anyone')) !== 'anyone',
  )
  .map(([route, parts]) => [route, parts.map(({ security }) => security).find(Boolean)] as const)

const ask = (route: string, token: string, body?: object) => {
  const [method, pattern] = route.split(' ') as [string, string]
  const path = pattern.replace(':id', '00000000-0000-7000-8000-000000000000')
  return api.send(method, path, { token, body: body ?? (/POST|PATCH/.test(method) ? {} : undefined) })
}

describe('AZ1: an app that an administrator signed in to', () => {
  test.each(SCOPES)('does with the scope %s what that says, and nothing else', async (scope) => {
    const { token } = await letApp(api, admin, { scope })
    const before = await dump(api)
    for (const [route, needed] of routes) {
      const { status, body } = await ask(route, token)
      if (needed !== scope) expect([route, status, body.code]).toEqual([route, 403, 'insufficient_scope'])
      else {
        expect([route, status]).not.toEqual([route, 401])
        expect([route, body?.code]).not.toEqual([route, 'insufficient_scope'])
      }
    }
    expect(await dump(api)).toEqual(before)
  })

  test('with all of them at once still has no account, and no recent login', async () => {
    const { token } = await letApp(api, admin, { scope: SCOPES.join(' ') })
    const eve = await api.person({ email_verified_at: 1 })
    for (const [route, needed] of routes.filter(([, needed]) => needed === 'signed_in'))
      expect([route, needed, (await ask(route, token)).body.code]).toEqual([
        route,
        needed,
        'insufficient_scope',
      ])
    for (const [method, path, body] of [
      ['POST', '/v1/oauth_clients', { name: 'Eve', type: 'public', redirect_uris: ['https://evil.test/cb'] }],
      ['PATCH', `/v1/users/${eve.id}`, { role: 'admin' }],
      ['POST', '/v1/users', { email: 'x@people.test', password: PASSWORD, name: 'Eve', role: 'manager' }],
      ['DELETE', `/v1/users/${eve.id}?hard=true`, undefined],
      ['GET', `/v1/users/${eve.id}/export`, undefined],
      ['GET', '/v1/users/export', undefined],
      ['DELETE', `/v1/users/${eve.id}/factors`, undefined],
    ] as const) {
      const answer = await api.send(method, path, { token, body })
      expect([method, path, answer.status]).toEqual([method, path, 403])
    }
  })

  test('AZ5: manages users, and neither managers nor administrators', async () => {
    const { token } = await letApp(api, admin, { scope: 'users:read users:update' })
    for (const [role, status] of [
      ['user', 200],
      ['manager', 403],
      ['admin', 403],
    ] as const) {
      const { id } = await api.person({ role })
      const answer = await api.send('PATCH', `/v1/users/${id}`, { token, body: { name: 'Grace' } })
      expect([role, answer.status]).toEqual([role, status])
    }
    const deleted = await api.send('GET', '/v1/users?status=deleted', { token })
    expect(deleted.status).toBe(403)
  })

  test('what it did stands in the history, as theirs', async () => {
    const { token } = await letApp(api, admin, { scope: 'users:update' })
    const { id } = await api.person()
    await api.send('PATCH', `/v1/users/${id}`, { token, body: { name: 'Grace' } })
    expect(await api.sql('SELECT actor_id FROM user_activity_logs WHERE user_id = ?', [id])).toEqual([
      { actor_id: admin.id },
    ])
  })
})

test.each(['user', 'manager'] as const)(
  'AK3: a %s lets an app do no more than they may themselves',
  async (role) => {
    const somebody = await api.quickActor({ role })
    const { token } = await letApp(api, somebody, { scope: SCOPES.join(' ') })
    const statuses = await Promise.all(
      ['/v1/users', '/v1/cleanup/runs'].map(async (path) => (await api.send('GET', path, { token })).status),
    )
    expect(statuses).toEqual(role === 'user' ? [403, 403] : [200, 403])
  },
)

describe('What is taken back counts at once', () => {
  const scope = 'users:read users:update'
  const read = async (token: string) => {
    const { status, body } = await api.send('GET', '/v1/users', { token })
    return status === 200 ? 200 : body.code
  }
  type Let = Awaited<ReturnType<typeof letApp>>
  const ends: Record<string, (given: Let & { id: string; token: string; own: string }) => Promise<unknown>> =
    {
      'the app is removed': ({ client }) =>
        api.sql('DELETE FROM oauth_clients WHERE id = ?', [client.client_id]),
      'the app is cut': ({ client }) =>
        api.sql('UPDATE oauth_clients SET epoch = epoch + 1 WHERE id = ?', [client.client_id]),
      'the session that it is under is logged out': ({ own }) =>
        api.send('POST', '/v1/auth/logout', { token: own }),
      'they log out everywhere': ({ own }) => api.send('POST', '/v1/auth/logout_all', { token: own }),
      'they are demoted': ({ id }) =>
        api.send('PATCH', `/v1/users/${id}`, { token: admin.token, body: { role: 'user' } }),
      'they are disabled': ({ id }) =>
        api.send('POST', `/v1/users/${id}/disable`, { token: admin.token, body: { reason: 'x' } }),
      'they are deleted': ({ id }) => api.send('DELETE', `/v1/users/${id}`, { token: admin.token }),
      'they are erased': ({ id }) => api.send('DELETE', `/v1/users/${id}?hard=true`, { token: admin.token }),
      'their role may not use it any more': ({ client }) =>
        api.sql('UPDATE oauth_clients SET allowed_roles = \'["admin"]\' WHERE id = ?', [client.client_id]),
      'its session ends': ({ sessionId }) =>
        api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [sessionId]),
      'the session that it is under is idle': ({ parentId }) =>
        api.sql('UPDATE sessions SET idle_expires_at = 1 WHERE id = ?', [parentId]),
    }

  test.each(Object.entries(ends))('LE6: %s', async (_, end) => {
    const somebody = await api.person({ role: 'manager' })
    const own = await api.signIn(somebody)
    const given = await letApp(api, somebody, { scope, parent: own.sessionId })
    expect(await read(given.token)).toBe(200)
    await end({ ...given, id: somebody.id, own: own.token })
    expect(await read(given.token)).toBe('invalid_token')
  })

  test.each([
    ['they take it back', 'UPDATE oauth_grants SET scopes = \'["users:update"]\' WHERE client_id = ?'],
    ['they take all of it back', 'DELETE FROM oauth_grants WHERE client_id = ?'],
    [
      'the app may not ask for it any more',
      'UPDATE oauth_clients SET scopes = \'["users:update"]\' WHERE id = ?',
    ],
  ])('a scope: %s', async (_, change) => {
    const somebody = await api.person({ role: 'manager' })
    const { token, client } = await letApp(api, somebody, { scope })
    await api.sql(change, [client.client_id])
    expect(await read(token)).toBe('insufficient_scope')
  })

  test('an app that was let go on without them goes on, but not after a reset', async () => {
    const somebody = await api.person({ role: 'manager', email_verified_at: 1 })
    const own = await api.signIn(somebody)
    const given = await letApp(api, somebody, { scope: `${scope} offline_access`, parent: own.sessionId })
    await api.send('POST', '/v1/auth/logout', { token: own.token })
    expect(await read(given.token)).toBe(200)
    const other = await api.signIn(somebody)
    await api.send('POST', '/v1/auth/logout_all', { token: other.token })
    expect(await read(given.token)).toBe('invalid_token')
  })
})

describe('HX8, RV1: what a replica that lags may not have heard of is asked of the primary', () => {
  const openLet = async () => {
    const app = await addApp(api, { scopes: ['openid'] })
    const ada = await api.person({ token_epoch: 1 })
    const given = await letApp(api, ada, { scope: 'openid', app })
    const headers = { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` }
    /** The status, and how often libSQL is asked. */
    const asked = async (action: () => ReturnType<typeof api.send>) => {
      const { result, calls } = await own.measure(action)
      return [result.status, calls.filter(({ upstream }) => upstream === 'libsql').length]
    }
    const post = (path: string, fields: Record<string, string>) =>
      asked(() => api.send('POST', path, { headers, raw: new URLSearchParams(fields) }))
    const { token, refreshToken } = given
    return {
      ...given,
      userId: ada.id,
      userinfo: () => asked(() => api.send('GET', '/oauth/userinfo', { token })),
      introspection: (of = token) => post('/oauth/introspect', { token: of }),
      refresh: () => post('/oauth/token', { grant_type: 'refresh_token', refresh_token: refreshToken }),
      revocation: () => post('/oauth/revoke', { token: refreshToken }),
    }
  }

  test('a session that is not there yet, as it is young', async () => {
    const app = await openLet()
    expect([await app.userinfo(), await app.introspection(), await app.refresh()]).toEqual([
      [200, 1],
      [200, 1],
      [200, 2],
    ])
    await api.sql('DELETE FROM sessions WHERE id = ?', [app.sessionId])
    const all = async () => [
      await app.userinfo(),
      await app.introspection(),
      await app.introspection(app.refreshToken),
      await app.refresh(),
      await app.revocation(),
    ]
    expect(await all()).toEqual([
      [401, 2],
      [200, 2],
      [200, 2],
      [400, 2],
      [200, 2],
    ])
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
    try {
      expect((await all()).map(([, calls]) => calls)).toEqual([1, 1, 1, 1, 1])
    } finally {
      vi.useRealTimers()
    }
  })

  test('an epoch that is of a change which has not arrived; one that is over has ended', async () => {
    const app = await openLet()
    const move = (epoch: number) =>
      api.sql('UPDATE users SET token_epoch = ? WHERE id = ?', [epoch, app.userId])
    await move(0)
    expect([await app.userinfo(), await app.introspection()]).toEqual([
      [401, 2],
      [200, 2],
    ])
    await move(2)
    expect([await app.userinfo(), await app.introspection()]).toEqual([
      [401, 1],
      [200, 1],
    ])
  })
})

test('AT5: its refresh token opens nothing at our own refresh, and is not used up', async () => {
  const { refreshToken, sessionId } = await letApp(api, admin, { scope: 'users:read' })
  const answer = await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: refreshToken } })
  expect([answer.status, answer.body.code]).toEqual([401, 'invalid_refresh_token'])
  expect(await api.sql('SELECT counter, revoked_at FROM sessions WHERE id = ?', [sessionId])).toEqual([
    { counter: 0, revoked_at: null },
  ])
})

test('an app’s sessions are none of the fifty, nor in the list of them', async () => {
  const ada = await api.quickActor()
  const given = await letApp(api, ada, { scope: 'openid' })
  const { body } = await api.send<{ data: { id: string }[] }>('GET', '/v1/auth/sessions', {
    token: ada.token,
  })
  expect(body.data.map(({ id }) => id)).not.toContain(given.sessionId)
})

test('a second factor that the policy asks for is asked of an app’s session too', async () => {
  const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'managers' })
  const app = await addApp(api, { scopes: ['users:read'] })
  const { token } = await letApp(api, await api.person({ role: 'manager' }), { scope: 'users:read', app })
  expect((await strict.send('GET', '/v1/users', { token })).body.code).toBe('factor_enrolment_required')
})
