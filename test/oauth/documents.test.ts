import { createExecutionContext } from 'cloudflare:test'
import type * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openForCron } from '../../src/context.ts'
import { revoke } from '../../src/oauth/introspection/service.ts'
import { authorize, begin, discover, ISSUER, redeem } from '../openid/support.ts'
import { openApi } from '../support/api.ts'
import {
  asApp,
  host,
  keyOf,
  publish,
  redeeming,
  takingApps,
  timesRead,
  url,
  visitorsOf,
} from '../support/documents.ts'
import { addApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'

/** Unregistered apps: what they may do, and for whom. */

let as: oauth.AuthorizationServer
const { bindings, api, somebody, open, come, post } = await takingApps()

beforeAll(async () => {
  as = await discover(api)
})

describe('An app that is not registered here', () => {
  test('needs consent, learns who signed in, and refreshes by itself; the page says that nobody vouches for it', async () => {
    const id = await publish()
    const stranger = await openBrowser(api)
    const begun = await begin(asApp(id), { scope: 'openid email offline_access' })
    const first = await stranger('GET', `/oauth/authorize?${begun.search}`)
    expect(first.headers.get('location')).toMatch(/^\/signin\?to=/)
    // Nobody can make us call a server without signing in.
    expect(await timesRead(id)).toBe(0)
    const back = new URL(first.headers.get('location')!, ISSUER).searchParams.get('to')!
    const ada = await somebody()
    const browser = await openBrowser(api, ada)
    const { text } = await browser('GET', back)
    expect(text).toContain('Scribe wants to use your account')
    expect(text).toContain('This app is not known here')
    expect(text).toContain(`It is what ${host} says it is, and you go on to app.example.`)
    const location = await authorize(browser, begun.search)
    const { claims, tokens } = await redeem(api, as, asApp(id), location, begun)
    expect(claims).toMatchObject({ sub: ada.id, aud: id })
    const userinfo = await api.send('GET', '/oauth/userinfo', { token: tokens.access_token })
    expect(userinfo.body).toMatchObject({ sub: ada.id, email: ada.email })
    const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token!, client_id: id }
    const next = await post('/oauth/token', refresh)
    expect(next).toMatchObject({ status: 200, body: { scope: 'openid email offline_access' } })
    // Asked for once, and its document read once.
    expect(
      (await authorize(browser, (await begin(asApp(id), { scope: 'openid' })).search)).searchParams.has(
        'code',
      ),
    ).toBe(true)
    expect((await come(id, {}, browser)).status).toBe(200)
    expect(await timesRead(id)).toBe(1)
    // It is among the user's apps, and is withdrawn like any other.
    const apps = await browser('GET', '/account/apps')
    expect([apps.text.includes('Scribe'), apps.text.includes(`it is what ${host} says`)]).toEqual([
      true,
      true,
    ])
    const { token } = await api.signIn(ada)
    const { body } = await api.send<{ data: Record<string, string>[] }>('GET', '/v1/auth/grants', { token })
    expect(body.data).toMatchObject([{ client_id: id, name: 'Scribe' }])
    expect((await api.send('DELETE', `/v1/auth/grants/${body.data[0]!.id}`, { token })).status).toBe(204)
    // RFC 6749 section 5.2, RFC 7009 section 2.2: what it was given is void; the app itself is still valid.
    const last = next.body.refresh_token!
    for (const one of [last, 'x'])
      expect(await post('/oauth/token', { ...refresh, refresh_token: one })).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant' },
      })
    expect((await post('/oauth/revoke', { client_id: id, token: last })).status).toBe(200)
    expect((await api.send('GET', '/oauth/userinfo', { token: tokens.access_token })).status).toBe(401)
    expect(await api.sql('SELECT id FROM oauth_clients WHERE id = ?', [id])).toEqual([])
  })

  test('may ask for identity and for other services, but never for permissions here', async () => {
    const resource = `https://notes-${crypto.randomUUID()}.example/api`
    await addApp(api, { name: 'Notes', resources: [{ url: resource, scopes: ['notes:read'] }] })
    const id = await publish()
    const admin = await openBrowser(api, await somebody({ role: 'admin' }))
    const scope = 'openid profile email offline_access roles account users:read tokens:introspect'
    const begun = await begin(asApp(id), { scope })
    const { tokens } = await redeem(api, as, asApp(id), await authorize(admin, begun.search), begun)
    expect(tokens.scope).toBe('openid profile email offline_access')
    for (const path of ['/v1/users', '/v1/users/me'])
      expect((await api.send('GET', path, { token: tokens.access_token })).status).toBe(403)
    const nothing = await come(id, { scope: 'roles account users:read' }, admin)
    expect(nothing.headers.get('location')).toContain('error=invalid_scope')
    const there = await begin(asApp(id), { scope: 'openid notes:read', resource })
    const { tokens: ofNotes } = await redeem(api, as, asApp(id), await authorize(admin, there.search), there)
    expect(ofNotes.scope).toBe('notes:read')
  })

  test('authenticates with its keys, if it has any, and nobody else can pass for it', async () => {
    const path = `/apps/${crypto.randomUUID()}`
    const { jwks, assert } = await keyOf(`${url}${path}`)
    const id = await publish({ jwks, token_endpoint_auth_method: 'private_key_jwt' }, undefined, path)
    const other = await keyOf(id)
    const browser = await open()
    const begun = await begin(asApp(id))
    const location = await authorize(browser, begun.search)
    const fields = redeeming(id, location, begun)
    for (const proof of [{}, await other.assert(), { client_secret: 'x' }])
      expect(await post('/oauth/token', { ...fields, ...proof })).toMatchObject({
        status: 401,
        body: { error: 'invalid_client' },
      })
    const answered = await post('/oauth/token', { ...fields, ...(await assert()) })
    expect(answered.status).toBe(200)
    const refresh = {
      client_id: id,
      grant_type: 'refresh_token',
      refresh_token: answered.body.refresh_token!,
    }
    expect((await post('/oauth/token', refresh)).status).toBe(401)
    expect((await post('/oauth/token', { ...refresh, ...(await assert()) })).status).toBe(200)
    const token = answered.body.access_token!
    expect((await post('/oauth/revoke', { client_id: id, token })).status).toBe(401)
    expect((await post('/oauth/revoke', { client_id: id, token, ...(await assert()) })).status).toBe(200)
    expect((await api.send('GET', '/oauth/userinfo', { token })).status).toBe(401)
  })

  test('gets nothing of what another app was given', async () => {
    const [one, other] = [await publish(), await publish()]
    const browser = await open()
    const begun = await begin(asApp(one))
    const location = await authorize(browser, begun.search)
    await authorize(browser, (await begin(asApp(other))).search)
    const { client_id: registered } = await addApp(api, { type: 'public' })
    for (const thief of [other, registered])
      expect(
        (await post('/oauth/token', { ...redeeming(one, location, begun), client_id: thief })).body.error,
      ).toBe('invalid_grant')
    // An app without any consent cannot authenticate.
    expect(
      (await post('/oauth/token', { ...redeeming(one, location, begun), client_id: await publish() })).body
        .error,
    ).toBe('invalid_grant')
    const { tokens } = await redeem(api, as, asApp(one), location, begun)
    const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token! }
    for (const thief of [other, registered])
      expect((await post('/oauth/token', { ...refresh, client_id: thief })).status).toBeGreaterThanOrEqual(
        400,
      )
    expect((await post('/oauth/token', { ...refresh, client_id: one })).status).toBe(200)
  })

  test('can revoke what it was just given, even if a lagging replica does not know the grant', async () => {
    const id = await publish()
    const begun = await begin(asApp(id))
    const { tokens } = await redeem(api, as, asApp(id), await authorize(await open(), begun.search), begun)
    const resources = openForCron(bindings as never, createExecutionContext())
    const read: typeof resources.db.read = async (batch) => ({
      ...(await resources.db.read(batch)),
      ...{ client: [], session: [] },
    })
    const given = { id, proof: '', method: 'none' } as const
    await revoke({ ...resources, db: { ...resources.db, read } }, given, tokens.access_token)
    expect((await api.send('GET', '/oauth/userinfo', { token: tokens.access_token })).status).toBe(401)
    expect(await api.sql('SELECT revoked_reason FROM sessions WHERE client_id = ?', [id])).toEqual([
      { revoked_reason: 'logged_out' },
    ])
  })

  test('cannot push requests, start on a device or introspect: there is no signed-in user to count', async () => {
    const id = await publish()
    const browser = await open()
    const begun = await begin(asApp(id))
    const { tokens } = await redeem(api, as, asApp(id), await authorize(browser, begun.search), begun)
    const read = await timesRead(id)
    for (const [path, fields] of [
      ['/oauth/par', Object.fromEntries(new URLSearchParams(begun.search))],
      ['/oauth/device_authorization', { client_id: id, scope: 'openid' }],
      ['/oauth/introspect', { client_id: id, token: tokens.access_token }],
      ['/oauth/token', { client_id: id, grant_type: 'client_credentials' }],
    ] as const)
      expect([path, (await post(path, fields)).body.error]).toEqual([path, 'invalid_client'])
    expect(await timesRead(id)).toBe(read)
  })

  test('HX14: an id with half a character, which only an unsigned assertion can have, is refused like any other', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const payload = Buffer.from('{"sub":"https://scribe.example/\\ud800"}').toString('base64url')
    const fields = {
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: `${part({ alg: 'ES256' })}.${payload}.AAAA`,
    }
    for (const [path, more] of [
      ['/oauth/token', { grant_type: 'client_credentials' }],
      ['/oauth/par', { response_type: 'code' }],
      ['/oauth/introspect', { token: 'x' }],
      ['/oauth/revoke', { token: 'x' }],
    ] as const) {
      const { status, body } = await api.send('POST', path, {
        raw: new URLSearchParams({ ...fields, ...more }),
      })
      expect([path, status, body.error]).toEqual([path, 401, 'invalid_client'])
    }
  })

  test('does not exist if the setting is off, which is the default', async () => {
    const id = await publish()
    const begun = await begin(asApp(id))
    const ada = await somebody()
    const location = await authorize(await openBrowser(api, ada), begun.search)
    const { CLIENT_METADATA: _, ...rest } = bindings
    const off = openApi(rest as never)
    const answer = await (await openBrowser(off, ada))('GET', `/oauth/authorize?${begun.search}`)
    expect([answer.status, answer.text.includes('There is no such app')]).toEqual([400, true])
    const raw = new URLSearchParams(redeeming(id, location, begun))
    expect((await off.send('POST', '/oauth/token', { raw })).body).toMatchObject({ error: 'invalid_client' })
    const said = async (of: typeof api) => (await of.send('GET', '/.well-known/openid-configuration')).body
    expect(await said(api)).toMatchObject({ client_id_metadata_document_supported: true })
    expect(await said(off)).not.toHaveProperty('client_id_metadata_document_supported')
  })

  test('is not registered: it is in no list of apps, and nobody can change it', async () => {
    const id = await publish()
    await authorize(await open(), (await begin(asApp(id))).search)
    expect(await api.sql('SELECT name FROM oauth_clients WHERE id = ?', [id])).toEqual([{ name: host }])
    const { token } = await api.signIn(await somebody({ role: 'admin' }))
    const list = await api.send<{ data: { client_id: string }[] }>('GET', '/v1/oauth_clients', { token })
    expect(list.body.data.filter(({ client_id }) => client_id.startsWith('http'))).toEqual([])
    const path = `/v1/oauth_clients/${encodeURIComponent(id)}`
    for (const [method, body] of [['GET'], ['PATCH', { scopes: ['users:read'] }], ['DELETE']] as const)
      expect((await api.send(method, path, { token, ...(body && { body }) })).body.code).toBe(
        'client_not_found',
      )
  })

  test('is one of at most fifty that a user may give access to', async () => {
    const ada = await somebody()
    const browser = await openBrowser(api, ada)
    const id = await publish()
    await authorize(browser, (await begin(asApp(id))).search)
    for (let nth = 1; nth < 50; nth++)
      await api.sql(
        "INSERT INTO oauth_grants (id, user_id, client_id, scopes, created_at, updated_at, document) VALUES (?, ?, ?, '[]', 0, 0, '{}')",
        [crypto.randomUUID(), ada.id, `https://a.example/${nth}`],
      )
    const begun = await begin(asApp(await publish()))
    await expect(authorize(browser, begun.search)).rejects.toThrow(/^409/)
    // Existing consents can still be changed.
    const again = await begin(asApp(id), { scope: 'openid offline_access' })
    expect((await authorize(browser, again.search)).searchParams.has('code')).toBe(true)
  })
})

describe('An app that the settings block', () => {
  const real = globalThis.fetch
  const shutting = (entry: string) => {
    const shut = openApi({ ...bindings, CLIENT_METADATA_BLOCKED: `evil.example,${entry}` } as never)
    return { shut, ...visitorsOf(shut) }
  }

  test('cannot sign anybody in any more, nor use what it was given', async () => {
    const [id, other] = [await publish(), await publish()]
    const browser = await open()
    const begun = await begin(asApp(id))
    const { tokens } = await redeem(api, as, asApp(id), await authorize(browser, begun.search), begun)
    const again = await begin(asApp(id))
    const location = await authorize(browser, again.search)
    const { come: comeThere, post: postThere } = shutting(id)
    const { status, text, headers } = await comeThere(id)
    expect([status, text.includes('There is no such app'), headers.get('location')]).toEqual([
      400,
      true,
      null,
    ])
    const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token!, client_id: id }
    for (const [path, fields] of [
      ['/oauth/token', refresh],
      ['/oauth/token', redeeming(id, location, again)],
      ['/oauth/revoke', { client_id: id, token: tokens.access_token }],
    ] as const)
      expect([path, await postThere(path, fields)]).toMatchObject([
        path,
        { status: 401, body: { error: 'invalid_client' } },
      ])
    // No other app is affected, and nothing is lost: once it is unblocked, it continues.
    expect((await comeThere(other)).status).toBe(200)
    expect((await post('/oauth/token', refresh)).status).toBe(200)
  })

  test.each([
    ['https://evil.example/app', 'There is no such app'],
    ['https://a.b.evil.example/app', 'There is no such app'],
    ['https://one.example/app', 'There is no such app'],
    // These are requested, but do not exist.
    ['https://notevil.example/app', 'What the app says of itself'],
    ['https://evil.example.test/app', 'What the app says of itself'],
    ['https://one.example/app/more', 'What the app says of itself'],
  ])('%s: %s', async (id, said) => {
    const asked = vi.spyOn(globalThis, 'fetch').mockImplementation(async (to, init) => {
      const { hostname } = new URL(to instanceof Request ? to.url : String(to))
      return hostname.endsWith('.example') || hostname.endsWith('.test')
        ? new Response(null, { status: 404 })
        : real(to, init)
    })
    const { text } = await shutting('https://one.example/app').come(id)
    asked.mockRestore()
    expect(text).toContain(said)
  })
})

describe('A document that changes', () => {
  // Ids must be ascending, so time continues from one of these tests to the next.
  beforeAll(() => void vi.useFakeTimers({ toFake: ['Date'] }))
  afterAll(() => void vi.useRealTimers())
  const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)

  test('is read again after an hour; until users are asked again, the app is what it was when they gave consent', async () => {
    const id = await publish()
    const ada = await somebody()
    const browser = await openBrowser(api, ada)
    const begun = await begin(asApp(id))
    const location = await authorize(browser, begun.search)
    const { jwks, assert } = await keyOf(id)
    const path = id.slice(url.length)
    await publish(
      { client_name: 'Evil', jwks, token_endpoint_auth_method: 'private_key_jwt' },
      undefined,
      path,
    )
    // Between authorize and token the document in the grant counts, and is not read again.
    expect(
      (await post('/oauth/token', { ...redeeming(id, location, begun), ...(await assert()) })).status,
    ).toBe(401)
    const { tokens } = await redeem(api, as, asApp(id), location, begun)
    expect(await timesRead(id)).toBe(1)
    const later = await authorize(browser, (await begin(asApp(id))).search)
    expect(later.searchParams.has('code')).toBe(true)
    pass(3_601_000)
    const refresh = { client_id: id, grant_type: 'refresh_token', refresh_token: tokens.refresh_token! }
    const next = await post('/oauth/token', refresh)
    expect(next.status).toBe(200)
    // Everybody who comes is asked about what the app is by now; without a question there is no answer.
    const asked = await come(id, {}, browser)
    expect([
      asked.status,
      asked.text.includes('Evil wants to use your account'),
      await timesRead(id),
    ]).toEqual([200, true, 2])
    const silent = await come(id, { prompt: 'none' }, browser)
    expect(silent.headers.get('location')).toContain('error=consent_required')
    const again = await begin(asApp(id))
    const anew = await authorize(browser, again.search)
    expect((await post('/oauth/token', redeeming(id, anew, again))).status).toBe(401)
    expect((await post('/oauth/token', { ...redeeming(id, anew, again), ...(await assert()) })).status).toBe(
      200,
    )
  })

  test('while the user looks at the page is not what they consented to', async () => {
    const id = await publish()
    const browser = await open()
    const begun = await begin(asApp(id))
    const page = await browser('GET', `/oauth/authorize?${begun.search}`)
    pass(3_601_000)
    await publish({ client_name: 'Evil' }, undefined, id.slice(url.length))
    const [, action] = /<form method="post" action="(\/consent\?[^"]+)"/.exec(page.text)!
    const [, shown] = /name="shown" value="([^"]*)"/.exec(page.text)!
    const answer = await browser('POST', action!.replaceAll('&amp;', '&'), {
      decision: 'allow',
      shown: shown!,
    })
    expect([answer.status, answer.text.includes('Evil wants to use your account')]).toEqual([200, true])
  })
})
