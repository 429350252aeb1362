import { beforeAll, beforeEach, describe, expect, vi } from 'vitest'
import { keyPrefixOf } from '../../src/database/redis.ts'
import { authorize, begin } from '../openid/support.ts'
import { type Actor, openApi } from '../support/api.ts'
import { addApp, letApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

/** Introspection is answered by copies, in one call to Redis, and notices each change at the very next call. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>
let admin: Actor
/** May ask about any token; and a service that acts for itself. */
let asker: Awaited<ReturnType<typeof addService>>

const SERVICE = { grants: ['client_credentials'], redirect_uris: [] }
const addService = async (scopes: string[]) => addApp(api, { ...SERVICE, scopes })
type App = { client_id: string; client_secret?: string | undefined }

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})
beforeEach(async () => {
  asker = await addService(['tokens:introspect', 'users:read'])
})

const basic = ({ client_id, client_secret }: App) => ({
  authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}`,
})
const ask = (token: string, by: App = asker, headers = {}) =>
  api.send('POST', '/oauth/introspect', {
    headers: { ...basic(by), ...headers },
    raw: new URLSearchParams({ token }),
  })
const FRESH = { 'cache-control': 'no-cache' }
const measured = async (token: string, by?: App, headers = {}) => {
  const { result, calls } = await own.measure(() => ask(token, by, headers))
  const of = (upstream: string) => calls.filter((call) => call.upstream === upstream).length
  return { active: result.body.active, libsql: of('libsql'), redis: of('redis') }
}
/** Repeated until there are copies of everything. */
const warm = async (token: string, by?: App) => {
  for (let asked = 0; asked < 3; asked++) await ask(token, by)
  expect(await measured(token, by)).toEqual({ active: true, libsql: 0, redis: 1 })
}
const serviceToken = async (app: App) =>
  String(
    (
      await api.send('POST', '/oauth/token', {
        headers: basic(app),
        raw: new URLSearchParams({ grant_type: 'client_credentials' }),
      })
    ).body.access_token,
  )

describe('HX8: introspection takes one call to the nearest Redis', () => {
  testOfRedis('of a login, of an app and of a service', async () => {
    const ada = await api.quickActor({ role: 'manager' })
    const app = await letApp(api, ada, { scope: 'users:read openid' })
    const other = await addService(['users:read'])
    for (const token of [ada.token, app.token, await serviceToken(asker), await serviceToken(other)]) {
      const far = (await ask(token, asker, FRESH)).body
      await warm(token)
      expect((await ask(token)).body).toEqual(far)
      expect(await measured(token, asker, FRESH)).toMatchObject({ active: true, redis: 0 })
    }
    await warm(app.token, app.client)
  })

  testOfRedis('for an authenticated client, and for nobody else', async () => {
    const ada = await api.quickActor()
    await warm(ada.token)
    expect((await ask(ada.token, { ...asker, client_secret: 'cs_wrong' })).status).toBe(401)
    const app = await addApp(api)
    for (let asked = 0; asked < 3; asked++)
      expect((await ask(ada.token, app)).body).toEqual({ active: false })
  })

  testOfRedis(
    'LG1: copies reveal nothing to somebody who reads Redis, and none can replace another',
    async () => {
      const [ada, eve] = [await api.quickActor(), await api.quickActor()]
      const adas = await letApp(api, ada, { scope: 'openid email' })
      const eves = await letApp(api, eve, { scope: 'openid' })
      for (const { token } of [adas, eves]) await warm(token)
      const keyOf = (of: string) => `${keyPrefixOf(api.config().ISSUER)}copy:${of}`
      const keys = [adas.sessionId, `client:${asker.client_id}`].map(keyOf)
      const copies = (await Promise.all(keys.map((key) => api.redis('GET', key)))) as string[]
      for (const one of copies) expect(one).toMatch(/^[\w-]{11}\.[\w-]+$/)
      for (const bad of [...copies, 'x', '']) {
        await api.redis('SET', keyOf(eves.sessionId), bad, 'PX', 10_000)
        expect((await ask(eves.token)).body).toMatchObject({ active: true, scope: 'openid' })
      }
    },
  )
})

describe('HX8, RV1: a token is inactive at the very next call', () => {
  type Given = Awaited<ReturnType<typeof letApp>> & { id: string; own: string; ownId: string }
  const asAdmin = (method: string, path: string, body?: object) =>
    api.send(method, path, { token: admin.token, body })
  const ends: Record<string, (given: Given) => Promise<unknown>> = {
    'they log out of the session that it is under': ({ own }) =>
      api.send('POST', '/v1/auth/logout', { token: own }),
    'they end that session from another': async ({ id, ownId }) =>
      api.send('DELETE', `/v1/auth/sessions/${ownId}`, { token: (await api.signIn({ id })).token }),
    'they log out everywhere': ({ own }) => api.send('POST', '/v1/auth/logout_all', { token: own }),
    'they take their consent back': ({ own, grantId }) =>
      api.send('DELETE', `/v1/auth/grants/${grantId}`, { token: own }),
    'they take this scope back': ({ own, grantId }) =>
      api.send('PATCH', `/v1/auth/grants/${grantId}`, { token: own, body: { scopes: ['openid'] } }),
    'the app revokes it': ({ client, token }) =>
      api.send('POST', '/oauth/revoke', { headers: basic(client), raw: new URLSearchParams({ token }) }),
    'the app is removed': ({ client }) => asAdmin('DELETE', `/v1/oauth_clients/${client.client_id}`),
    'the app may no longer': ({ client }) =>
      asAdmin('PATCH', `/v1/oauth_clients/${client.client_id}`, { scopes: ['openid'] }),
    'the secret of the app was stolen': ({ client }) =>
      asAdmin('POST', `/v1/oauth_clients/${client.client_id}/secret`, { keep_former_seconds: 0 }),
    'they are demoted': ({ id }) => asAdmin('PATCH', `/v1/users/${id}`, { role: 'user' }),
    'they are disabled': ({ id }) => asAdmin('POST', `/v1/users/${id}/disable`, { reason: 'x' }),
    'they are deleted': ({ id }) => asAdmin('DELETE', `/v1/users/${id}`),
    'they are erased': ({ id }) => asAdmin('DELETE', `/v1/users/${id}?hard=true`),
  }

  testOfRedis.for(Object.entries(ends))('LE6: of an app, when %s', async ([_, end]) => {
    const somebody = await api.person({ role: 'manager' })
    const own = await api.signIn(somebody)
    const given = await letApp(api, somebody, { scope: 'openid users:read', parent: own.sessionId })
    await warm(given.token)
    await end({ ...given, id: somebody.id, own: own.token, ownId: own.sessionId })
    const { body } = await ask(given.token)
    // After one scope was withdrawn, the other is left.
    expect(body.active === false || body.scope === 'openid').toBe(true)
  })

  testOfRedis('of a login, when it is logged out', async () => {
    const ada = await api.quickActor()
    await warm(ada.token)
    await api.send('POST', '/v1/auth/logout', { token: ada.token })
    expect((await ask(ada.token)).body).toEqual({ active: false })
  })

  testOfRedis('of a service, and for one, when its owner is demoted', async () => {
    const [service, other] = [await addService(['users:read']), await addService(['tokens:introspect'])]
    const ada = await api.quickActor()
    const token = await serviceToken(service)
    await warm(token)
    await warm(ada.token, other)
    for (const { client_id } of [service, other]) {
      const [row] = await api.sql('SELECT owner_id FROM oauth_clients WHERE id = ?', [client_id])
      expect((await asAdmin('PATCH', `/v1/users/${row!.owner_id}`, { role: 'user' })).status).toBe(200)
    }
    expect((await ask(token)).body).toEqual({ active: false })
    expect((await ask(ada.token, other)).body).toEqual({ active: false })
  })

  testOfRedis('of another’s service, when a takeover of whoever replaced its secret has ended', async () => {
    const thief = await api.quickActor({ role: 'admin', email_verified_at: 1 })
    const path = `/v1/oauth_clients/${asker.client_id}/secret`
    const { body } = await api.send<App>('POST', path, { token: thief.token, body: {} })
    await undoubt({ id: asker.client_id })
    const token = await serviceToken(asker)
    await warm(token, body)
    const email = `${thief.id}@other.test`
    expect((await asAdmin('PATCH', `/v1/users/${thief.id}`, { email, revoke_old: true })).status).toBe(200)
    expect((await ask(token, body)).status).toBe(401)
    expect((await ask(token, await addService(['tokens:introspect']))).body).toEqual({ active: false })
  })

  testOfRedis('for a service whose secret was stolen', async () => {
    const ada = await api.quickActor()
    await warm(ada.token)
    await asAdmin('POST', `/v1/oauth_clients/${asker.client_id}/secret`, { keep_former_seconds: 0 })
    expect((await ask(ada.token)).status).toBe(401)
  })
})

/** Lets somebody allow an app something on the page, and forgets that Redis was told. The code can be redeemed. */
async function allow(ada: { id: string; email: string }, app: Awaited<ReturnType<typeof addApp>>) {
  const begun = await begin(app, { scope: 'openid users:read' })
  const location = await authorize(await openBrowser(api, ada), begun.search)
  const fields = {
    grant_type: 'authorization_code',
    code: location.searchParams.get('code')!,
    redirect_uri: REDIRECT,
    code_verifier: begun.verifier,
  }
  return () => api.send('POST', '/oauth/token', { headers: basic(app), raw: new URLSearchParams(fields) })
}
const undoubt = ({ id }: { id: string }) => api.redis('DEL', `${keyPrefixOf(api.config().ISSUER)}doubt:${id}`)
const newManager = () => api.person({ role: 'manager', email_verified_at: 1 })

describe('HX8, RV1: a token of an app is inactive at the very next call', () => {
  testOfRedis.for([
    ['a newer session of the app pushes its session out', false],
    ['one does whose answer was lost', true],
  ] as const)('when %s', async ([_, isLost]) => {
    const ada = await newManager()
    const app = await addApp(api, { scopes: ['openid', 'users:read'] })
    const parent = (await api.signIn(ada)).sessionId
    const given = { scope: 'openid users:read', app, parent }
    const oldest = await letApp(api, ada, given)
    for (let newer = 1; newer < 10; newer++) await letApp(api, ada, given)
    const redeem = await allow(ada, app)
    await undoubt(ada)
    await warm(oldest.token)
    if (isLost) await own.behave('libsql', { mode: 'reset-after', only: 'session.started' })
    expect((await redeem()).status).toBe(isLost ? 503 : 200)
    await own.behave('libsql', { mode: 'pass' })
    expect((await ask(oldest.token)).body).toEqual({ active: false })
  })

  testOfRedis('when its code is used a second time', async () => {
    const ada = await newManager()
    const app = await addApp(api, { scopes: ['openid', 'users:read'] })
    const redeem = await allow(ada, app)
    const token = String((await redeem()).body.access_token)
    await undoubt(ada)
    await warm(token)
    expect((await redeem()).body.error).toBe('invalid_grant')
    expect((await ask(token)).body).toEqual({ active: false })
  })
})

describe('HX8: when Redis could not be told, repeating the request tells it', () => {
  type Given = Awaited<ReturnType<typeof letApp>> & { own: string }
  const grantOf = (method: string, body?: object) => (given: Given) =>
    api.send(method, `/v1/auth/grants/${given.grantId}`, { token: given.own, ...(body && { body }) })
  const repeated: Record<
    string,
    [repeat: (given: Given) => Promise<{ status: number }>, statuses: number[]]
  > = {
    'the app revokes it': [
      ({ client, token }) =>
        api.send('POST', '/oauth/revoke', { headers: basic(client), raw: new URLSearchParams({ token }) }),
      [200, 200],
    ],
    'an administrator removes it': [
      ({ client }) => api.send('DELETE', `/v1/oauth_clients/${client.client_id}`, { token: admin.token }),
      [204, 404],
    ],
    'they take their consent back': [grantOf('DELETE'), [204, 404]],
    'they take a scope back': [grantOf('PATCH', { scopes: ['openid'] }), [200, 200]],
  }

  testOfRedis.for(Object.entries(repeated))('when %s', async ([_, [act, statuses]]) => {
    const somebody = await newManager()
    const login = await api.signIn(somebody)
    const given = await letApp(api, somebody, { scope: 'openid users:read', parent: login.sessionId })
    await warm(given.token)
    const before = (await ask(given.token)).body
    await own.behave('redis', { mode: 'down', only: '["EVAL"' })
    const first = await act({ ...given, own: login.token })
    await own.behave('redis', { mode: 'pass' })
    expect((await ask(given.token)).body).toEqual(before)
    const second = await act({ ...given, own: login.token })
    expect([first.status, second.status]).toEqual(statuses)
    expect((await ask(given.token)).body).toEqual((await ask(given.token, asker, FRESH)).body)
  })
})

testOfRedis('HX8: a consent that is given again counts at the very next call', async () => {
  const ada = await newManager()
  const login = await api.signIn(ada)
  const app = await addApp(api, { scopes: ['openid', 'users:read'] })
  const given = await letApp(api, ada, { scope: 'openid users:read', app, parent: login.sessionId })
  const taken = { token: login.token, body: { scopes: ['openid'] } }
  expect((await api.send('PATCH', `/v1/auth/grants/${given.grantId}`, taken)).status).toBe(200)
  await undoubt(ada)
  await warm(given.token)
  expect((await ask(given.token)).body.scope).toBe('openid')
  await allow(ada, app)
  expect((await ask(given.token)).body.scope).toBe('openid users:read')
})

testOfRedis('A copy of an app’s session ends with the login that it belongs to', async () => {
  const somebody = await api.person({ role: 'manager' })
  const own = await api.signIn(somebody)
  const given = await letApp(api, somebody, { scope: 'users:read', parent: own.sessionId })
  const soon = Date.now() + 20_000
  await api.sql('UPDATE sessions SET idle_expires_at = ? WHERE id = ?', [soon, own.sessionId])
  await warm(given.token)
  vi.useFakeTimers({ toFake: ['Date'], now: soon - 4_000 })
  try {
    expect(await measured(given.token)).toMatchObject({ libsql: 1 })
  } finally {
    vi.useRealTimers()
  }
})

testOfRedis('If Redis is unavailable, or has lost its copies, libSQL answers', async () => {
  const ada = await api.quickActor()
  await warm(ada.token)
  await own.behave('redis', { mode: 'down' })
  expect((await ask(ada.token)).body.active).toBe(true)
  await own.behave('redis', { mode: 'pass' })
  await api.redis('FLUSHALL')
  expect((await ask(ada.token)).body.active).toBe(true)
})
