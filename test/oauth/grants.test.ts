import { beforeAll, describe, expect, test } from 'vitest'
import { authorize, begin } from '../openid/support.ts'
import { linkIn, openApi } from '../support/api.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** A user's consents to apps: shown and withdrawn, by the API and on the pages. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
})

interface Grant {
  id: string
  client_id: string
  name: string
  scopes: string[]
}
const grantsOf = async (token: string) => {
  const { status, body } = await api.send<{ data: Grant[] }>('GET', '/v1/auth/grants', { token })
  expect(status).toBe(200)
  return body.data
}
const open = async (scope = 'openid email profile') => {
  const person = await api.person({ email_verified_at: 1, password_hash: null })
  const ada = { ...person, ...(await api.signIn(person)) }
  const client = await addApp(api, { scopes: scope.split(' ') })
  return { ada, client, app: await letApp(api, ada, { scope, app: client, parent: ada.sessionId }) }
}
const userInfo = (token: string) => api.send('GET', '/oauth/userinfo', { token })
const endOf = async (sessionId: string) =>
  (await api.sql('SELECT revoked_reason FROM sessions WHERE id = ?', [sessionId]))[0]!.revoked_reason
const historyOf = async ({ id }: { id: string }) =>
  (
    await api.sql(
      "SELECT details FROM user_activity_logs WHERE user_id = ? AND action = 'consent.withdrawn'",
      [id],
    )
  ).map(({ details }) => JSON.parse(String(details)) as unknown)

test('AZ2: users see their own consents, and nobody else’s', async () => {
  const { ada, app } = await open()
  const { ada: eve } = await open('openid')
  expect(await grantsOf(ada.token)).toEqual([
    {
      id: app.grantId,
      client_id: app.client.client_id,
      name: 'Wiki',
      logo_uri: null,
      scopes: ['openid', 'email', 'profile'],
      created_at: expect.any(String),
      updated_at: expect.any(String),
    },
  ])
  const before = await dump(api)
  const of = (method: string, body?: object) =>
    api.send(method, `/v1/auth/grants/${app.grantId}`, { token: eve.token, ...(body && { body }) })
  for (const answer of [await of('PATCH', { scopes: ['openid'] }), await of('DELETE')])
    expect([answer.status, answer.body.code]).toEqual([404, 'grant_not_found'])
  expect(await dump(api)).toEqual(before)
})

test('RV1: withdrawing part of a consent takes effect at once, and once', async () => {
  const { ada, app } = await open()
  const path = `/v1/auth/grants/${app.grantId}`
  expect((await userInfo(app.token)).body).toMatchObject({ email: ada.email, name: 'Somebody' })
  for (let times = 0; times < 2; times++) {
    const { status, body } = await api.send('PATCH', path, {
      token: ada.token,
      body: { scopes: ['profile', 'openid'] },
    })
    expect([status, body]).toEqual([200, expect.objectContaining({ scopes: ['openid', 'profile'] })])
  }
  const { body: who } = await userInfo(app.token)
  expect(who).toMatchObject({ sub: ada.id, name: 'Somebody' })
  expect(who).not.toHaveProperty('email')
  expect(await historyOf(ada)).toEqual([
    { client_id: app.client.client_id, name: 'Wiki', scopes: ['profile', 'openid'] },
  ])
  expect(await endOf(app.sessionId)).toBe(null)
})

test('RV1: withdrawing ten times at once counts as once', async () => {
  const { ada, app } = await open()
  const take = () =>
    api.send('PATCH', `/v1/auth/grants/${app.grantId}`, { token: ada.token, body: { scopes: ['openid'] } })
  const answers = await Promise.all(Array.from({ length: 10 }, take))
  expect(answers.map(({ status, body }) => [status, body.scopes])).toEqual(Array(10).fill([200, ['openid']]))
  expect(await historyOf(ada)).toHaveLength(1)
})

test('AZ5: nobody can extend a consent instead of withdrawing it', async () => {
  const { ada, app } = await open()
  const before = await dump(api)
  for (const scopes of [['openid', 'roles'], ['roles'], ['users:read'], ['x']]) {
    const { status, body } = await api.send('PATCH', `/v1/auth/grants/${app.grantId}`, {
      token: ada.token,
      body: { scopes },
    })
    expect([status, body.code]).toEqual([422, 'scope_not_granted'])
  }
  for (const scopes of [[], ['openid', 'openid']])
    expect(
      (await api.send('PATCH', `/v1/auth/grants/${app.grantId}`, { token: ada.token, body: { scopes } })).body
        .code,
    ).toBe('invalid_input')
  expect(await dump(api)).toEqual(before)
})

test('RV1: an app without any consent left is signed out of everything', async () => {
  const { ada, app, client } = await open('openid offline_access')
  const { ada: eve, app: other } = await open()
  const path = `/v1/auth/grants/${app.grantId}`
  expect((await api.send('DELETE', path, { token: ada.token })).status).toBe(204)
  expect((await api.send('DELETE', path, { token: ada.token })).body.code).toBe('grant_not_found')
  expect(await endOf(app.sessionId)).toBe('consent_withdrawn')
  expect((await userInfo(app.token)).status).toBe(401)
  const basic = `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}`
  const refreshed = await api.send('POST', '/oauth/token', {
    headers: { authorization: basic },
    raw: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: app.refreshToken }),
  })
  expect(refreshed.body.error).toBe('invalid_grant')
  expect(await grantsOf(ada.token)).toEqual([])
  expect((await grantsOf(eve.token)).map(({ id }) => id)).toEqual([other.grantId])
  expect((await userInfo(other.token)).status).toBe(200)
})

test('RV1: withdrawing part of a consent to a first-party app ends its sessions, as its tokens go by no consent', async () => {
  const person = await api.person({ role: 'manager', email_verified_at: 1, password_hash: null })
  const ada = { ...person, ...(await api.signIn(person)) }
  const scope = 'openid users:read offline_access'
  const client = await addApp(api, {
    type: 'public',
    redirect_uris: ['http://127.0.0.1/callback'],
    scopes: scope.split(' '),
    first_party: true,
  })
  const app = await letApp(api, ada, { scope, app: client, parent: ada.sessionId })
  const other = await letApp(api, ada, { scope, parent: ada.sessionId })
  const list = async (token: string) => (await api.send('GET', '/v1/users', { token })).status
  expect([await list(app.token), await list(other.token)]).toEqual([200, 200])
  const { status, body } = await api.send('PATCH', `/v1/auth/grants/${app.grantId}`, {
    token: ada.token,
    body: { scopes: ['openid', 'offline_access'] },
  })
  expect([status, body.scopes]).toEqual([200, ['openid', 'offline_access']])
  expect(await list(app.token)).toBe(401)
  const refreshed = await api.send('POST', '/oauth/token', {
    raw: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: app.refreshToken,
      client_id: client.client_id,
    }),
  })
  expect([refreshed.status, refreshed.body.error]).toEqual([400, 'invalid_grant'])
  expect([await endOf(app.sessionId), await endOf(ada.sessionId)]).toEqual(['consent_withdrawn', null])
  // Another app's session goes on, and keeps its scopes.
  expect([await endOf(other.sessionId), await list(other.token)]).toEqual([null, 200])
})

test('an offline session ends with offline_access', async () => {
  const { ada, app } = await open('openid offline_access')
  const body = { scopes: ['openid'] }
  const path = `/v1/auth/grants/${app.grantId}`
  expect((await api.send('PATCH', path, { token: ada.token, body })).status).toBe(200)
  expect(await endOf(app.sessionId)).toBe('consent_withdrawn')
})

test('HX8: withdrawing reads from the primary, as a replica may not know the whole consent', async () => {
  const { ada, app } = await open('openid email')
  const path = `/v1/auth/grants/${app.grantId}`
  const { result, wasHeld } = await own.between(
    () => api.send('PATCH', path, { token: ada.token, body: { scopes: ['openid', 'email'] } }),
    () =>
      api.sql('UPDATE oauth_grants SET scopes = \'["openid","email","profile"]\' WHERE id = ?', [
        app.grantId,
      ]),
  )
  expect([wasHeld, result.status]).toEqual([true, 200])
  expect((await grantsOf(ada.token)).map(({ scopes }) => scopes)).toEqual([['openid', 'email']])
})

test('an app’s own token can neither see nor change consents', async () => {
  const { app } = await open('openid users:read')
  const before = await dump(api)
  for (const [method, path] of [
    ['GET', '/v1/auth/grants'],
    ['PATCH', `/v1/auth/grants/${app.grantId}`],
    ['DELETE', `/v1/auth/grants/${app.grantId}`],
  ] as const) {
    const body = method === 'PATCH' ? { scopes: ['openid'] } : undefined
    expect((await api.send(method, path, { token: app.token, body })).body.code).toBe('insufficient_scope')
  }
  expect(await dump(api)).toEqual(before)
})

test('SE2: undoing a change of address takes back what an app was allowed since, also one that was allowed less before', async () => {
  const ada = await api.actor({ email_verified_at: 1 })
  const [wiki, untouched] = [await addApp(api), await addApp(api)]
  for (const app of [wiki, untouched]) await letApp(api, ada, { scope: 'openid', app })
  const body = { new_email: `${crypto.randomUUID()}@people.test`, current_password: ada.password }
  expect((await api.send('POST', '/v1/auth/change_email', { token: ada.token, body })).status).toBe(202)
  const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
  const thief = await openBrowser(api, ada)
  const { search } = await begin(wiki, { scope: 'openid email' })
  expect((await authorize(thief, search)).searchParams.has('code')).toBe(true)
  expect((await grantsOf(ada.token)).find(({ client_id }) => client_id === wiki.client_id)!.scopes).toEqual([
    'email',
    'openid',
  ])
  expect((await api.send('POST', '/v1/auth/undo_email_change', { body: { token } })).status).toBe(204)
  const kept = await grantsOf((await api.signIn(ada)).token)
  expect(kept.map(({ client_id }) => client_id)).toEqual([untouched.client_id])
})

describe('On the page', () => {
  test('apps are shown with what they may do, which can be withdrawn one by one or as a whole', async () => {
    const { ada, app } = await open()
    const browser = await openBrowser(api, ada)
    const page = await browser('GET', '/account/apps')
    expect(page.text).toContain('<h2>Wiki</h2>')
    expect(page.text).toContain('See your email')
    const kept = { id: app.grantId, 'keep.openid': 'on', 'keep.profile': 'on' }
    const changed = await browser('POST', '/account/apps/change', kept)
    expect([changed.status, changed.headers.get('location')]).toEqual([303, '/account/apps?done=saved'])
    expect((await grantsOf(ada.token))[0]!.scopes).toEqual(['openid', 'profile'])
    const removed = await browser('POST', '/account/apps/remove', { id: app.grantId })
    expect(removed.headers.get('location')).toBe('/account/apps?done=removed')
    expect(await endOf(app.sessionId)).toBe('consent_withdrawn')
    const after = await browser('GET', '/account/apps?done=removed')
    expect(after.text).toContain('No app uses your account')
    expect((await browser('POST', '/account/apps/remove', { id: app.grantId })).status).toBe(404)
  })

  test('keeping nothing withdraws all', async () => {
    const { ada, app } = await open()
    const browser = await openBrowser(api, ada)
    await browser('POST', '/account/apps/change', { id: app.grantId })
    expect(await endOf(app.sessionId)).toBe('consent_withdrawn')
  })

  test('HD2: no form of another site can do it', async () => {
    const { ada, app } = await open()
    const browser = await openBrowser(api, ada)
    const before = await dump(api)
    for (const path of ['change', 'remove'])
      expect(
        (await browser('POST', `/account/apps/${path}`, { id: app.grantId, form_token: 'x' })).status,
      ).toBe(403)
    expect((await dump(api)).oauth_grants).toEqual(before.oauth_grants)
  })
})
