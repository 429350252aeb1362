import { createExecutionContext } from 'cloudflare:test'
import * as oauth from 'oauth4webapi'
import { beforeAll, describe, expect, test } from 'vitest'
import { createVerifier } from '../../client/src/verify.ts'
import { openForCron } from '../../src/context.ts'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { verifyFor } from '../../src/oauth/introspection/workers.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authorize, type Begun, begin, discover, fetchOf, redeem } from './support.ts'

/** Tokens for other services (RFC 8707). */

const URL_OF_NOTES = 'https://notes.example/api'
let api: ReturnType<typeof openApi>
let as: oauth.AuthorizationServer
/** The service that the tokens are for, and an app that asks for them. */
let notes: ClientWithSecret
let app: ClientWithSecret

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  as = await discover(api)
  notes = await addService('Notes', [{ url: URL_OF_NOTES, scopes: ['notes:read', 'notes:write'] }])
  app = await addApp(api, { scopes: ['openid', 'profile', 'email', 'offline_access', 'users:read'] })
})

const addService = (name: string, resources: object[]) =>
  addApp(api, { name, grants: ['client_credentials'], redirect_uris: [], scopes: [], resources })
const somebody = (given: object = {}) =>
  api.person({ email_verified_at: Date.now(), password_hash: null, ...given })
const askFor = (given: object = {}) =>
  begin(app, { resource: URL_OF_NOTES, scope: 'openid notes:read', ...given })
const basic = (client: ClientWithSecret) => ({
  authorization: `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}`,
})
const post = async (path: string, fields: Record<string, string>, client = app) => {
  const raw = new URLSearchParams(fields)
  const { status, body } = await api.send('POST', path, { raw, headers: basic(client) })
  return { status, body: body as Record<string, string> }
}
const introspect = async (token: string, by: ClientWithSecret) =>
  (await post('/oauth/introspect', { token }, by)).body
const payloadOf = (token: string) =>
  JSON.parse(atob(token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/')))
const codeFields = (location: URL, { verifier }: Begun) => ({
  grant_type: 'authorization_code',
  code: location.searchParams.get('code') ?? '',
  redirect_uri: REDIRECT,
  code_verifier: verifier,
})

/** Tokens of a user who grants the app what it asks for. */
async function tokensFor(given: object = {}) {
  const ada = await somebody()
  const browser = await openBrowser(api, ada)
  const begun = await askFor(given)
  const { tokens } = await redeem(api, as, app, await authorize(browser, begun.search), begun)
  return { ada, browser, tokens }
}

test('A token for a resource is only for that, with only its scopes; it is accepted there, and refused here', async () => {
  const { ada, tokens } = await tokensFor({ scope: 'openid offline_access notes:read users:read email' })
  expect(payloadOf(tokens.access_token)).toMatchObject({
    aud: URL_OF_NOTES,
    scope: 'notes:read',
    sub: ada.id,
  })
  expect(tokens.scope).toBe('notes:read')
  expect(oauth.getValidatedIdTokenClaims(tokens)).toMatchObject({ sub: ada.id, aud: app.client_id })
  for (const path of ['/v1/users/me', '/v1/users', '/oauth/userinfo'])
    expect([path, (await api.send('GET', path, { token: tokens.access_token })).status]).toEqual([path, 401])
  expect(await introspect(tokens.access_token, notes)).toMatchObject({
    active: true,
    aud: URL_OF_NOTES,
    scope: 'notes:read',
    sub: ada.id,
    client_id: app.client_id,
  })
})

describe('The user who is asked', () => {
  test('is told which service, what, and for how long; and is asked once', async () => {
    const browser = await openBrowser(api, await somebody())
    const begun = await askFor()
    const { text } = await browser('GET', `/oauth/authorize?${begun.search}`)
    expect(text).toContain(`At Notes (${URL_OF_NOTES}) it will be able to:`)
    expect(text).toContain('<li>notes:read</li>')
    expect(text).toContain('It keeps this until you sign out here, or stop it.')
    await authorize(browser, begun.search)
    const again = await authorize(browser, (await askFor({ prompt: 'none' })).search)
    expect(again.searchParams.get('code')).toEqual(expect.any(String))
    const more = await authorize(
      browser,
      (await askFor({ scope: 'openid notes:read notes:write', prompt: 'none' })).search,
    )
    expect(more.searchParams.get('error')).toBe('consent_required')
  })

  test('grants one service nothing by what they granted another', async () => {
    await addService('Diary', [{ url: 'https://diary.example', scopes: ['notes:read'] }])
    const { browser } = await tokensFor()
    const other = await askFor({ resource: 'https://diary.example', prompt: 'none' })
    const location = await authorize(browser, other.search)
    expect(location.searchParams.get('error')).toBe('consent_required')
  })

  test('can withdraw it scope by scope, and its tokens end at once', async () => {
    const { ada, tokens } = await tokensFor({ scope: 'openid offline_access notes:read notes:write' })
    const { token } = await api.signIn(ada)
    const { body } = await api.send<{ data: { id: string; scopes: string[] }[] }>('GET', '/v1/auth/grants', {
      token,
    })
    const [grant] = body.data
    const write = `${URL_OF_NOTES}#notes:write`
    expect(grant!.scopes.toSorted()).toEqual([
      `${URL_OF_NOTES}#notes:read`,
      write,
      'offline_access',
      'openid',
    ])
    const page = await (await openBrowser(api, ada))('GET', '/account/apps')
    expect(page.text).toContain(`notes:write, at ${URL_OF_NOTES}`)
    const path = `/v1/auth/grants/${grant!.id}`
    const scopes = grant!.scopes.filter((scope) => scope !== write)
    expect((await api.send('PATCH', path, { token, body: { scopes } })).status).toBe(200)
    expect(await introspect(tokens.access_token, notes)).toMatchObject({ active: true, scope: 'notes:read' })
    expect(
      (await api.send('PATCH', path, { token, body: { scopes: ['openid', 'offline_access'] } })).status,
    ).toBe(200)
    expect(await introspect(tokens.access_token, notes)).toEqual({ active: false })
    const refreshed = await post('/oauth/token', {
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token!,
    })
    expect(refreshed).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
  })
})

describe('Any other resource is invalid_target', () => {
  test.each([
    ['one that no client owns', 'https://elsewhere.example'],
    ['a part of one', `${URL_OF_NOTES}/deeper`],
    ['no URL', 'notes'],
  ])('%s', async (_, resource) => {
    const browser = await openBrowser(api, await somebody())
    const location = await authorize(browser, (await askFor({ resource })).search)
    expect(location.searchParams.get('error')).toBe('invalid_target')
    const pushed = await post(
      '/oauth/par',
      Object.fromEntries(new URLSearchParams((await askFor({ resource })).search)),
    )
    expect(pushed).toMatchObject({ status: 400, body: { error: 'invalid_target' } })
  })

  test('at the token endpoint, one that was not granted, which does not use the code up', async () => {
    const browser = await openBrowser(api, await somebody())
    const begun = await askFor({ scope: 'openid offline_access notes:read' })
    const fields = codeFields(await authorize(browser, begun.search), begun)
    for (const resource of ['https://roster.test', 'https://elsewhere.example'])
      expect(await post('/oauth/token', { ...fields, resource })).toMatchObject({
        status: 400,
        body: { error: 'invalid_target' },
      })
    const { status, body } = await post('/oauth/token', { ...fields, resource: URL_OF_NOTES })
    expect([status, payloadOf(body.access_token!).aud]).toEqual([200, URL_OF_NOTES])
    const refresh = { grant_type: 'refresh_token', refresh_token: body.refresh_token! }
    expect(await post('/oauth/token', { ...refresh, resource: 'https://roster.test' })).toMatchObject({
      status: 400,
      body: { error: 'invalid_target' },
    })
    const next = await post('/oauth/token', refresh)
    expect(payloadOf(next.body.access_token!)).toMatchObject({ aud: URL_OF_NOTES, scope: 'notes:read' })
    const ours = await begin(app, {})
    const forUs = codeFields(await authorize(browser, ours.search), ours)
    expect((await post('/oauth/token', { ...forUs, resource: URL_OF_NOTES })).body.error).toBe(
      'invalid_target',
    )
  })

  test('for a service that acts for itself: nobody has granted it', async () => {
    const fields = { grant_type: 'client_credentials', resource: URL_OF_NOTES, scope: 'notes:read' }
    expect((await post('/oauth/token', fields, notes)).body.error).toBe('invalid_target')
  })

  test('without a scope that the service knows it is invalid_scope', async () => {
    const browser = await openBrowser(api, await somebody())
    for (const scope of ['openid', 'openid users:read', 'notes:delete']) {
      const location = await authorize(browser, (await askFor({ scope })).search)
      expect(location.searchParams.get('error')).toBe('invalid_scope')
    }
    // And a scope of a service is not one of Roster's.
    const location = await authorize(browser, (await begin(app, { scope: 'notes:read' })).search)
    expect(location.searchParams.get('error')).toBe('invalid_scope')
  })
})

describe('Introspection', () => {
  test('is for its owner and the app itself, and for no other service', async () => {
    const { tokens } = await tokensFor()
    const other = await addService('Tasks', [{ url: 'https://tasks.example', scopes: ['tasks:read'] }])
    expect(await introspect(tokens.access_token, app)).toMatchObject({ active: true })
    expect(await introspect(tokens.access_token, other)).toEqual({ active: false })
    expect(await introspect(tokens.access_token, notes)).toMatchObject({ active: true })
    // Roster's own scopes are not a service's.
    const browser = await openBrowser(api, await somebody())
    const begun = await begin(app, {})
    const ours = await redeem(api, as, app, await authorize(browser, begun.search), begun)
    expect(await introspect(ours.tokens.access_token, notes)).toEqual({ active: false })
  })

  test('follows what its owner defines at once, near or far', async () => {
    const shelf = await addService('Shelf', [
      { url: 'https://shelf.example', scopes: ['books:read', 'books:write'] },
    ])
    const given = { resource: 'https://shelf.example', scope: 'openid books:read books:write' }
    const { tokens } = await tokensFor(given)
    // From the second time on, by a copy in Redis.
    for (let time = 0; time < 3; time++)
      expect((await introspect(tokens.access_token, shelf)).scope).toBe('books:read books:write')
    const { token } = await api.signIn(await somebody({ role: 'admin' }))
    const change = (resources: object[]) =>
      api.send('PATCH', `/v1/oauth_clients/${shelf.client_id}`, { token, body: { resources } })
    expect((await change([{ url: 'https://shelf.example', scopes: ['books:read'] }])).status).toBe(200)
    expect((await introspect(tokens.access_token, shelf)).scope).toBe('books:read')
    expect((await change([])).status).toBe(200)
    expect(await introspect(tokens.access_token, shelf)).toEqual({ active: false })
    expect(await introspect(tokens.access_token, app)).toEqual({ active: false })
  })

  test('is for another Worker that names the service it asks for', async () => {
    const { ada, tokens } = await tokensFor()
    const resources = openForCron(api.bindings, createExecutionContext())
    const ask = (wanted: object) => verifyFor(resources, tokens.access_token, wanted)
    expect(await ask({ resource: URL_OF_NOTES, scope: 'notes:read' })).toMatchObject({
      active: true,
      sub: ada.id,
    })
    for (const wanted of [
      {},
      { resource: 'https://tasks.example' },
      { resource: URL_OF_NOTES, scope: 'notes:write' },
    ])
      expect(await ask(wanted)).toEqual({ active: false })
    const login = await api.signIn(ada)
    expect(await verifyFor(resources, login.token, { resource: URL_OF_NOTES })).toEqual({ active: false })
  })

  test('is what `@roster/client/verify` relies on, which tells where to get such a token', async () => {
    const { tokens } = await tokensFor()
    const verifier = createVerifier({
      issuer: 'https://roster.test',
      audience: URL_OF_NOTES,
      client: { id: notes.client_id, secret: notes.client_secret! },
      maxAgeSeconds: 0,
      resource: { url: URL_OF_NOTES, scopes: ['notes:read', 'notes:write'] },
      fetch: fetchOf(api) as never,
    })
    expect(await verifier.verify(tokens.access_token, { scopes: ['notes:read'] })).toMatchObject({
      clientId: app.client_id,
      scopes: ['notes:read'],
    })
    const refused = await verifier
      .verify(tokens.access_token, { scopes: ['notes:write'] })
      .catch((error) => error)
    const challenge = verifier.toResponse(refused).headers.get('www-authenticate')
    const metadata = 'https://notes.example/.well-known/oauth-protected-resource/api'
    expect(challenge).toContain(`resource_metadata="${metadata}"`)
    expect(await verifier.metadataFor(new Request(metadata))!.json()).toMatchObject({
      resource: URL_OF_NOTES,
      authorization_servers: ['https://roster.test'],
    })
  })

  test('ends when the user who granted it logs out', async () => {
    const { browser, tokens } = await tokensFor()
    expect(await introspect(tokens.access_token, notes)).toMatchObject({ active: true })
    await browser('POST', '/signout')
    expect(await introspect(tokens.access_token, notes)).toEqual({ active: false })
  })
})

describe('Each resource URL belongs to one client', () => {
  const add = async (resources: object[], given: object = {}) => {
    const { token } = await api.signIn(await somebody({ role: 'admin' }))
    const body = { name: 'Other', type: 'confidential', redirect_uris: [REDIRECT], resources, ...given }
    const answer = await api.send('POST', '/v1/oauth_clients', { token, body })
    return [answer.status, answer.body.code]
  }
  const one = (url: string, scopes = ['x:read']) => [{ url, scopes }]

  test('and no other, whoever is faster', async () => {
    expect(await add(one(URL_OF_NOTES))).toEqual([409, 'resource_taken'])
    const url = 'https://raced.example'
    const answers = await Promise.all([1, 2, 3].map(() => add(one(url))))
    expect(answers.map(([status]) => status).sort()).toEqual([201, 409, 409])
    expect(await api.sql('SELECT count(*) AS total FROM oauth_resources WHERE url = ?', [url])).toEqual([
      { total: 1 },
    ])
  })

  test('until the client is removed or gives it up', async () => {
    const url = 'https://given-up.example'
    const first = await addService('First', one(url))
    const { token } = await api.signIn(await somebody({ role: 'admin' }))
    await api.send('DELETE', `/v1/oauth_clients/${first.client_id}`, { token })
    expect(await add(one(url))).toEqual([201, undefined])
  })

  test.each([
    ['http', one('http://notes.example')],
    ['a fragment', one('https://notes.example/#a')],
    ['a slash at the end of nothing', one('https://slash.example/')],
    ['Roster itself', one('https://roster.test/notes')],
    ['no scope', one('https://none.example', [])],
    ['a scope of Roster’s', one('https://ours.example', ['users:read'])],
    ['a scope of OpenID', one('https://ours.example', ['email'])],
    ['a scope with a blank', one('https://ours.example', ['a b'])],
    ['twice the same', [...one('https://twice.example'), ...one('https://twice.example')]],
  ])('and not with %s', async (_, resources) => {
    expect((await add(resources))[0]).toBe(422)
  })

  test('and none belongs to a public client, which could not introspect a token', async () => {
    expect((await add(one('https://public.example'), { type: 'public' }))[0]).toBe(422)
  })
})

test('A device can get access to another service, too', async () => {
  const tv = await addApp(api, { type: 'public', grants: [DEVICE_CODE], redirect_uris: [] })
  const ask = async (fields: Record<string, string>) =>
    api.send('POST', '/oauth/device_authorization', {
      raw: new URLSearchParams({ client_id: tv.client_id, scope: 'openid notes:read', ...fields }),
    })
  expect((await ask({ resource: 'https://elsewhere.example' })).body.error).toBe('invalid_target')
  const { body } = await ask({ resource: URL_OF_NOTES })
  const browser = await openBrowser(api, await somebody())
  const { text } = await browser('POST', '/device', { code: String(body.user_code) })
  expect(text).toContain(`At Notes (${URL_OF_NOTES}) it will be able to:`)
  const field = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1] ?? ''
  await browser('POST', '/device', { device: field('device'), shown: field('shown'), decision: 'allow' })
  const answer = await api.send('POST', '/oauth/token', {
    raw: new URLSearchParams({
      client_id: tv.client_id,
      grant_type: DEVICE_CODE,
      device_code: String(body.device_code),
    }),
  })
  expect(payloadOf(String(answer.body.access_token))).toMatchObject({
    aud: URL_OF_NOTES,
    scope: 'notes:read',
  })
})
