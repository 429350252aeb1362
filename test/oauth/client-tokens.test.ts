import { beforeAll, describe, expect, test, vi } from 'vitest'
import { hasPermission, type Permission } from '../../src/access/permissions.ts'
import { app as worker } from '../../src/app.ts'
import { operationsOf } from '../../src/docs/openapi.ts'
import { SCOPES } from '../../src/oauth/scopes.ts'
import { type Actor, openApi, PASSWORD } from '../support/api.ts'
import { addKey } from '../support/keys.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { WHO } from '../support/requests.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** What an app's token may do: an app's session of a user never has all of that user's permissions. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})

/** All but the scope to act as the user: see below. */
const OTHERS = SCOPES.filter((scope) => scope !== 'account')

/** Each route that needs a sign-in, with its permission, if any, and whether it may need a recent login. */
const routes = [...operationsOf(worker)]
  .filter(
    ([route]) => (WHO[route] ?? (route === 'POST /v1/auth/logout' ? 'signed in' : 'anyone')) !== 'anyone',
  )
  .map(([route, parts]) => {
    const problems = parts.flatMap(({ problems = [] }) => problems.map((problem) => problem().code))
    const takesLogin = problems.includes('reauthentication_required')
    return [route, parts.map(({ security }) => security).find(Boolean), takesLogin] as const
  })

const ask = (route: string, token: string, body?: object) => {
  const [method, pattern] = route.split(' ') as [string, string]
  const path = pattern.replace(':id', '00000000-0000-7000-8000-000000000000')
  return api.send(method, path, { token, body: body ?? (/POST|PATCH/.test(method) ? {} : undefined) })
}

describe('AZ1: an app that an administrator signed in to', () => {
  test.each(OTHERS)('may do with the scope %s what it says, and nothing else', async (scope) => {
    const { token } = await letApp(api, admin, { scope })
    const before = await dump(api)
    for (const [route, needed, takesLogin] of routes) {
      const { status, body } = await ask(route, token)
      if (needed !== scope) expect([route, status, body.code]).toEqual([route, 403, 'insufficient_scope'])
      else {
        expect([route, status]).not.toEqual([route, 401])
        if (!takesLogin) expect([route, body?.code]).not.toEqual([route, 'insufficient_scope'])
      }
    }
    expect(await dump(api)).toEqual(before)
  })

  test('with all of them at once still has no account, and no recent login', async () => {
    const { token } = await letApp(api, admin, { scope: OTHERS.join(' ') })
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

  test('AZ5: manages users, but neither managers nor administrators', async () => {
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

  const gone = async () => {
    const person = await api.person({ email_verified_at: 1 })
    await api.send('DELETE', `/v1/users/${person.id}`, { token: admin.token })
    return person
  }

  test('HX4: reads the history of deleted users only if it may list them', async () => {
    const { id } = await gone()
    const seenBy = async (scope: string) => {
      const { token } = await letApp(api, admin, { scope })
      const one = await api.send<{ data?: unknown[] }>('GET', `/v1/users/${id}/activity`, { token })
      const all = await api.send<{ data: unknown[] }>('GET', `/v1/activity?user_id=${id}`, { token })
      return [one.status, one.body.data?.length, all.body.data.length]
    }
    expect(await seenBy('activity:read users:read users:delete')).toEqual([200, 1, 1])
    expect(await seenBy('activity:read users:read')).toEqual([404, undefined, 0])
    const { key } = await addKey(api, admin, ['activity:read', 'users:read'])
    expect((await api.send('GET', `/v1/users/${id}/activity`, { token: key })).status).toBe(404)
  })

  test('HX4: finds deleted users one by one only if it may list them', async () => {
    const { id } = await gone()
    const seenBy = async (token: string) => {
      const list = await api.send<{ data?: { id: string }[] }>('GET', '/v1/users?status=deleted', { token })
      const one = await api.send('GET', `/v1/users/${id}`, { token })
      return [list.status, list.body.data?.some((user) => user.id === id), one.status]
    }
    const letAdmin = async (scope: string) => (await letApp(api, admin, { scope })).token
    expect(await seenBy(await letAdmin('users:read users:delete'))).toEqual([200, true, 200])
    for (const scope of ['users:read', 'users:read users:update activity:read sessions:manage users:purge'])
      expect(await seenBy(await letAdmin(scope))).toEqual([403, undefined, 404])
    const manager = await api.quickActor({ role: 'manager', email_verified_at: 1 })
    const { token: ofManager } = await letApp(api, manager, { scope: 'users:read users:delete' })
    expect(await seenBy(ofManager)).toEqual([403, undefined, 404])
    const { key } = await addKey(api, admin, ['users:read'])
    expect(await seenBy(key)).toEqual([403, undefined, 404])
    const ofService = async (...scopes: string[]) => {
      const service = await addApp(api, { grants: ['client_credentials'], redirect_uris: [], scopes })
      const answer = await api.send('POST', '/oauth/token', {
        headers: { authorization: `Basic ${btoa(`${service.client_id}:${service.client_secret}`)}` },
        raw: new URLSearchParams({ grant_type: 'client_credentials' }),
      })
      return answer.body.access_token as string
    }
    expect(await seenBy(await ofService('users:read', 'users:delete'))).toEqual([200, true, 200])
    expect(await seenBy(await ofService('users:read'))).toEqual([403, undefined, 404])
  })

  test('AZ5: ends the sessions of users, but not of whoever signed in to it', async () => {
    const { token, parentId } = await letApp(api, admin, { scope: 'sessions:manage' })
    const end = (id: string) => api.send('DELETE', `/v1/users/${id}/sessions`, { token })
    expect((await end((await api.person()).id)).status).toBe(204)
    expect((await end(admin.id)).body.code).toBe('own_account')
    const [own] = await api.sql('SELECT revoked_at FROM sessions WHERE id = ?', [parentId])
    expect(own).toEqual({ revoked_at: null })
  })

  test('has its actions in the history, as the administrator’s', async () => {
    const { token } = await letApp(api, admin, { scope: 'users:update' })
    const { id } = await api.person()
    await api.send('PATCH', `/v1/users/${id}`, { token, body: { name: 'Grace' } })
    expect(await api.sql('SELECT actor_id FROM user_activity_logs WHERE user_id = ?', [id])).toEqual([
      { actor_id: admin.id },
    ])
  })
})

test.each(['user', 'manager'] as const)(
  'AK3: a %s cannot let an app do more than they may themselves',
  async (role) => {
    const somebody = await api.quickActor({ role })
    const { token } = await letApp(api, somebody, { scope: OTHERS.join(' ') })
    const statuses = await Promise.all(
      ['/v1/users', '/v1/cleanup/runs'].map(async (path) => (await api.send('GET', path, { token })).status),
    )
    expect(statuses).toEqual(role === 'user' ? [403, 403] : [200, 403])
  },
)

/** Sessions, and how an account is entered, need a login of one's own. */
const NO_APPS = [
  'GET /v1/auth/factors',
  'POST /v1/auth/logout',
  'POST /v1/auth/logout_all',
  'POST /v1/auth/change_email',
  'POST /v1/auth/change_password',
]
const isNoApps = (route: string) =>
  NO_APPS.includes(route) || /^[A-Z]+ \/v1\/auth\/(factors|passkeys|reauthenticate)\b/.test(route)

describe('AZ1: an app of one’s own that acts as the person does', () => {
  test.each(['admin', 'manager', 'user'] as const)('may do for a %s what they may', async (role) => {
    const somebody = await api.quickActor({ role, email_verified_at: 1 })
    const { token } = await letApp(api, somebody, { scope: 'account' })
    for (const [route, needed, takesLogin] of routes) {
      // On its own routes the user may not exist; what their role lacks is forbidden.
      const { status, body } = await ask(route, token)
      const may = needed === 'signed_in' || needed === undefined || hasPermission(role, needed as Permission)
      const expected = isNoApps(route) ? 'insufficient_scope' : may ? undefined : 'forbidden'
      if (expected) expect([route, status, body.code]).toEqual([route, 403, expected])
      else {
        expect([route, status]).not.toEqual([route, 401])
        if (!takesLogin) expect([route, body?.code]).not.toEqual([route, 'insufficient_scope'])
        expect([route, body?.code]).not.toEqual([route, 'forbidden'])
      }
    }
  })

  test('acts with their present role, until they sign out, and never with a recent login', async () => {
    const bo = await api.quickActor({ role: 'manager', email_verified_at: 1 })
    const { token, parentId } = await letApp(api, bo, { scope: 'account' })
    const me = await api.send('GET', '/v1/users/me', { token })
    expect([me.status, me.body.id, me.body.role]).toEqual([200, bo.id, 'manager'])
    const renamed = await api.send('PATCH', '/v1/users/me', { token, body: { name: 'Bo' } })
    expect([renamed.status, renamed.body.name]).toEqual([200, 'Bo'])
    expect((await api.send('GET', '/v1/users?limit=1', { token })).status).toBe(200)
    const recent = await api.send('GET', '/v1/users/me/export', { token })
    // It could log in again as often as it likes.
    expect([recent.status, recent.body.code]).toEqual([403, 'insufficient_scope'])
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [parentId])
    for (const path of ['/v1/users/me', '/v1/users', '/v1/auth/sessions'])
      expect((await api.send('GET', path, { token })).body.code).toBe('invalid_token')
  })

  test('ends when they are idle or changed, or when it may no longer act', async () => {
    const ask = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status
    const open = async () => {
      const somebody = await api.quickActor({ role: 'manager', email_verified_at: 1 })
      return { ...(await letApp(api, somebody, { scope: 'account' })), somebody }
    }
    const [idle, demoted, changed] = [await open(), await open(), await open()]
    await api.sql('UPDATE sessions SET idle_expires_at = 1 WHERE id = ?', [idle.parentId])
    const demotion = { token: admin.token, body: { role: 'user' } }
    expect((await api.send('PATCH', `/v1/users/${demoted.somebody.id}`, demotion)).status).toBe(200)
    const app = `/v1/oauth_clients/${changed.client.client_id}`
    const third = { token: admin.token, body: { first_party: false } }
    expect((await api.send('PATCH', app, third)).body.code).toBe('invalid_input')
    await api.send('PATCH', app, { token: admin.token, body: { first_party: false, scopes: ['openid'] } })
    expect([await ask(idle.token), await ask(demoted.token), await ask(changed.token)]).toEqual([
      401, 401, 403,
    ])
  })

  test('must be a first-party app, and not a service', async () => {
    for (const given of [{}, { first_party: true, grants: ['client_credentials'], redirect_uris: [] }])
      await expect(addApp(api, { scopes: ['account'], ...given })).rejects.toThrow('422')
  })
})

test('LE6: a service’s token ends at once when its owner loses the permission', async () => {
  const boss = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const made = await api.send('POST', '/v1/oauth_clients', {
    token: boss.token,
    body: {
      name: 'Job',
      type: 'confidential',
      grants: ['client_credentials'],
      scopes: ['users:read', 'users:create'],
      token_endpoint_auth_method: 'client_secret_post',
    },
  })
  const { client_id, client_secret } = made.body as Record<string, string>
  const client = { client_id: client_id!, client_secret: client_secret! }
  const raw = new URLSearchParams({ ...client, grant_type: 'client_credentials' })
  const { body } = await api.send<{ access_token: string }>('POST', '/oauth/token', { raw })
  const token = body.access_token
  const read = async () => (await api.send('GET', '/v1/users', { token })).status
  const introspect = async () =>
    (await api.send('POST', '/oauth/introspect', { raw: new URLSearchParams({ ...client, token }) })).body
      .active
  expect([await read(), await introspect()]).toEqual([200, true])
  const demotion = { token: admin.token, body: { role: 'manager' } }
  expect((await api.send('PATCH', `/v1/users/${boss.id}`, demotion)).status).toBe(200)
  expect([await read(), await introspect()]).toEqual([401, false])
  const write = await api.send('POST', '/v1/invitations', { token, body: { email: 'x@people.test' } })
  expect(write.status).toBe(401)
})

test('an app’s offline session ends when its user is promoted, and introspection says so', async () => {
  const app = await addApp(api, { scopes: ['openid', 'offline_access'] })
  const ada = await api.quickActor({ email_verified_at: 1 })
  const given = await letApp(api, ada, { scope: 'openid offline_access', app })
  const headers = { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` }
  const isActive = async (token: string) =>
    (await api.send('POST', '/oauth/introspect', { headers, raw: new URLSearchParams({ token }) })).body
      .active
  const all = async () => [await isActive(given.token), await isActive(given.refreshToken)]
  expect(await all()).toEqual([true, true])
  const promotion = { token: admin.token, body: { role: 'manager' } }
  expect((await api.send('PATCH', `/v1/users/${ada.id}`, promotion)).status).toBe(200)
  expect(await all()).toEqual([false, false])
  const refresh = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: given.refreshToken })
  expect((await api.send('POST', '/oauth/token', { headers, raw: refresh })).body.error).toBe('invalid_grant')
})

describe('What is revoked ends at once', () => {
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

  test('an app with offline access continues, but not after a reset', async () => {
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

describe('HX8, RV1: what a lagging replica may not know is read from the primary', () => {
  const openLet = async () => {
    const app = await addApp(api, { scopes: ['openid'] })
    // Its use need not be recorded.
    await api.sql('UPDATE oauth_clients SET last_used_at = ? WHERE id = ?', [Date.now(), app.client_id])
    const ada = await api.person({ token_epoch: 1 })
    const given = await letApp(api, ada, { scope: 'openid', app })
    const headers = { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` }
    /** The status, and how often libSQL is called. */
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

  test('a session that is too young to be there', async () => {
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

  test('an epoch from a change that has not arrived; one that is past has ended', async () => {
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

test('AT5: an app’s refresh token is refused at our own refresh, and not used up', async () => {
  const { refreshToken, sessionId } = await letApp(api, admin, { scope: 'users:read' })
  const answer = await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: refreshToken } })
  expect([answer.status, answer.body.code]).toEqual([401, 'invalid_refresh_token'])
  expect(await api.sql('SELECT counter, revoked_at FROM sessions WHERE id = ?', [sessionId])).toEqual([
    { counter: 0, revoked_at: null },
  ])
})

test('an app’s sessions do not count among the fifty, and are not in their list', async () => {
  const ada = await api.quickActor()
  const given = await letApp(api, ada, { scope: 'openid' })
  const { body } = await api.send<{ data: { id: string }[] }>('GET', '/v1/auth/sessions', {
    token: ada.token,
  })
  expect(body.data.map(({ id }) => id)).not.toContain(given.sessionId)
})

test('a second factor that the policy requires is required of an app’s session too', async () => {
  const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'managers' })
  const app = await addApp(api, { scopes: ['users:read'] })
  const { token } = await letApp(api, await api.person({ role: 'manager' }), { scope: 'users:read', app })
  expect((await strict.send('GET', '/v1/users', { token })).body.code).toBe('factor_enrolment_required')
})

test('a session that lacks the required second factor is given no tokens and no claims, and is said to be inactive', async () => {
  const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'managers' })
  const app = await addApp(api, { scopes: ['openid', 'roles'] })
  const headers = { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` }
  const asApp = (path: string, fields: Record<string, string>) =>
    strict.send('POST', path, { headers, raw: new URLSearchParams(fields) })
  const ask = async (role: 'user' | 'manager') => {
    const given = await letApp(api, await api.person({ role }), { scope: 'openid roles', app })
    const { token, refreshToken } = given
    const inspect = async (what: string) => (await asApp('/oauth/introspect', { token: what })).body.active
    const said = [await inspect(token), await inspect(token), await inspect(refreshToken)]
    const { status, body } = await strict.send('GET', '/oauth/userinfo', { token })
    const renewed = await asApp('/oauth/token', { grant_type: 'refresh_token', refresh_token: refreshToken })
    const [row] = await api.sql('SELECT counter FROM sessions WHERE id = ?', [given.sessionId])
    return [said, status, body.code, renewed.status, renewed.body.error, row!.counter]
  }
  expect(await ask('user')).toEqual([[true, true, true], 200, undefined, 200, undefined, 1])
  expect(await ask('manager')).toEqual([
    [false, false, false],
    403,
    'factor_enrolment_required',
    400,
    'invalid_grant',
    0,
  ])
})
