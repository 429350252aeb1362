import { Hono } from 'hono'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import {
  createVerifier,
  protect,
  type VerificationError,
  type Verifier,
  type VerifierOptions,
} from '../../client/src/verify.ts'
import { signAccessToken } from '../../src/sessions/access-tokens.ts'
import { type Api, openApi } from '../support/api.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** `@roster/client/verify`, with Roster itself behind its `fetch`. */

let api: Api
let issuer: string
let audience: string
let client: { id: string; secret: string }

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  const { ISSUER, AUDIENCE } = api.config()
  issuer = ISSUER
  audience = AUDIENCE
  const made = await addApp(api, {
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['tokens:introspect'],
  })
  client = { id: made.client_id, secret: made.client_secret! }
})

/** The requests to Roster. */
let asked: string[]
async function ask(url: string, { method = 'GET', headers = {}, body }: RequestInit = {}) {
  expect(url.startsWith(issuer)).toBe(true)
  const path = url.slice(issuer.length)
  asked.push(path)
  const raw = typeof body === 'string' ? { raw: body } : {}
  const answer = await api.send(method, path, { headers: headers as Record<string, string>, ...raw })
  return new Response(answer.text, { status: answer.status, headers: { 'content-type': 'application/json' } })
}
const open = (given: Partial<VerifierOptions> = {}): Verifier => {
  asked = []
  return createVerifier({ issuer, audience, fetch: ask, ...given })
}
const refused = (verifying: Promise<unknown>) =>
  verifying.then(
    () => 'good',
    (error: VerificationError) => error.code,
  )

describe('With the keys alone', () => {
  test('an issuer with a slash at the end is the same', async () => {
    const ada = await api.quickActor()
    const url = 'https://notes.example/notes'
    const { verify, metadataFor } = open({ issuer: `${issuer}/`, resource: { url } })
    expect(await verify(ada.token)).toMatchObject({ sub: ada.id })
    const place = 'https://notes.example/.well-known/oauth-protected-resource/notes'
    expect(await metadataFor(new Request(place))!.json()).toMatchObject({ authorization_servers: [issuer] })
  })

  test('tokens of a login and of an app are recognised, with one trip for the keys', async () => {
    const ada = await api.quickActor({ role: 'manager' })
    const { token, client: app } = await letApp(api, ada, { scope: 'openid users:read' })
    const { verify } = open()
    expect(await verify(ada.token)).toMatchObject({
      sub: ada.id,
      clientId: 'roster',
      role: 'manager',
      scopes: [],
    })
    expect(await verify(token, { scopes: ['users:read'] })).toMatchObject({
      sub: ada.id,
      clientId: app.client_id,
      scopes: ['openid', 'users:read'],
    })
    expect(await refused(verify(token, { scopes: ['users:update'] }))).toBe('insufficient_scope')
    expect(asked).toEqual(['/.well-known/jwks.json'])
  })

  test('AT1: many tokens at once are verified while the keys are still being fetched', async () => {
    const ada = await api.quickActor()
    const { verify } = open()
    const several = await Promise.all(Array.from({ length: 5 }, () => refused(verify(ada.token))))
    expect(several).toEqual(Array.from({ length: 5 }, () => 'good'))
  })

  test('AT1, AT2: an altered, foreign or expired token is refused', async () => {
    const ada = await api.quickActor()
    const [head, body, signature] = ada.token.split('.') as [string, string, string]
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
    const { verify } = open()
    const claims = decode(body)
    const headed = (given: object) => `${encode({ ...decode(head), ...given })}.${body}.${signature}`
    for (const token of [
      '',
      'x.y.z',
      `${ada.token} `,
      `${ada.token}==`,
      `${head}.${body}.${signature.slice(0, -1)}B`,
      `${head}.${encode({ ...claims, role: 'admin' })}.${signature}`,
      headed({ alg: 'none' }),
      headed({ alg: 'HS256' }),
      headed({ typ: 'JWT' }),
      headed({ kid: 'other' }),
      headed({ jwk: {} }),
      `${head}.${body}.`,
      'a'.repeat(5000),
    ])
      expect([token, await refused(verify(token))]).toEqual([token, 'invalid_token'])
    expect(await refused(open({ audience: 'https://other.test' }).verify(ada.token))).toBe('invalid_token')
    expect(asked).toEqual(['/.well-known/jwks.json'])
    const subject = {
      userId: ada.id,
      sessionId: ada.sessionId,
      role: 'user',
      epoch: 0,
      authenticatedAt: 0,
    } as const
    for (const [now, lifetimeSeconds] of [
      [Date.now() - 700_000, 600],
      [Date.now() + 60_000, 600],
      [Date.now(), 3600],
    ] as const) {
      const token = await signAccessToken(api.config(), now, { ...subject, lifetimeSeconds })
      expect([now, await refused(verify(token))]).toEqual([now, 'invalid_token'])
    }
    expect(await refused(verify(ada.token))).toBe('good')
  })

  test('invented tokens do not cause a request for unknown keys each', async () => {
    const ada = await api.quickActor()
    const { verify } = open()
    await verify(ada.token)
    const other = ada.token.replace(/^[^.]+/, (head) =>
      Buffer.from(
        JSON.stringify({ ...JSON.parse(Buffer.from(head, 'base64url').toString()), kid: 'x' }),
      ).toString('base64url'),
    )
    for (let tried = 0; tried < 5; tried++) expect(await refused(verify(other))).toBe('invalid_token')
    expect(asked).toHaveLength(1)
  })

  test('if Roster does not answer, the result is an error, and known keys still work', async () => {
    const ada = await api.quickActor()
    let isDown = true
    const { verify } = open({
      fetch: async (url, init) => {
        if (isDown) throw new Error('down')
        return ask(url, init)
      },
    })
    expect(await refused(verify(ada.token))).toBe('unavailable')
    isDown = false
    expect(await refused(verify(ada.token))).toBe('good')
    isDown = true
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 599_000 })
    try {
      expect(await refused(verify(ada.token))).toBe('good')
    } finally {
      vi.useRealTimers()
    }
  })

  test.each([
    ['an object without keys', {}],
    ['null', null],
    ['null for keys', { keys: null }],
    ['no keys', { keys: [] }],
    ['a key that is null', { keys: [null] }],
    ['keys for something else', { keys: [{ kty: 'RSA', kid: 'x' }] }],
    ['a key that is on no curve', { keys: [{ kty: 'EC', crv: 'P-256', kid: 'x', x: 'AA', y: 'AA' }] }],
  ])('a 200 with %s is an error, and known keys still work', async (_, body) => {
    const ada = await api.quickActor()
    let isOther = true
    const { verify } = open({ fetch: async (url, init) => (isOther ? Response.json(body) : ask(url, init)) })
    expect(await refused(verify(ada.token))).toBe('unavailable')
    isOther = false
    expect(await refused(verify(ada.token))).toBe('good')
    isOther = true
    // The keys must be renewed, but the token is still valid, as clocks may differ.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 600_000 })
    try {
      for (let tried = 0; tried < 2; tried++) expect(await refused(verify(ada.token))).toBe('good')
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('With Roster’s answer', () => {
  test('RV1: a logged-out token is refused, at once if freshness is required, else soon', async () => {
    const ada = await api.quickActor()
    const { verify } = open({ client, maxAgeSeconds: 30 })
    await verify(ada.token)
    await verify(ada.token)
    expect(asked).toEqual(['/.well-known/jwks.json', '/oauth/introspect'])
    await api.send('POST', '/v1/auth/logout', { token: ada.token })
    expect(await refused(verify(ada.token))).toBe('good')
    expect(await refused(verify(ada.token, { maxAgeSeconds: 0 }))).toBe('invalid_token')
    expect(await refused(verify(ada.token))).toBe('invalid_token')
  })

  test('a withdrawn scope is gone', async () => {
    const ada = await api.quickActor({ role: 'manager' })
    const { token, grantId } = await letApp(api, ada, { scope: 'openid users:read' })
    const { verify } = open({ client, maxAgeSeconds: 0 })
    const wanted = { scopes: ['users:read'] }
    expect(await refused(verify(token, wanted))).toBe('good')
    await api.send('PATCH', `/v1/auth/grants/${grantId}`, { token: ada.token, body: { scopes: ['openid'] } })
    expect(await refused(verify(token, wanted))).toBe('insufficient_scope')
  })

  test('an unknown client, or an unavailable Roster, lets nobody in', async () => {
    const ada = await api.quickActor()
    const stranger = open({ client: { ...client, secret: 'cs_wrong' }, maxAgeSeconds: 0 })
    expect(await refused(stranger.verify(ada.token))).toBe('unavailable')
    const fetch = async (url: string, init?: RequestInit) =>
      url.endsWith('/introspect') ? Response.json(null) : ask(url, init)
    expect(await refused(open({ client, maxAgeSeconds: 0, fetch }).verify(ada.token))).toBe('unavailable')
  })
})

describe('For Hono', () => {
  const resource = { url: 'https://api.test/notes', scopes: ['users:read'], name: 'Notes' }
  const openApp = () => {
    const verifier = open({ resource })
    return new Hono()
      .use('*', protect(verifier, { scopes: ['users:read'] }))
      .get('/notes', (c) => c.json({ sub: c.get('token').sub }))
  }

  test('lets in requests with a valid token, and tells all others where to get one (RFC 9728)', async () => {
    const ada = await api.quickActor({ role: 'manager' })
    const { token } = await letApp(api, ada, { scope: 'openid users:read' })
    const other = await letApp(api, ada, { scope: 'openid' })
    const app = openApp()
    const get = (authorization?: string) =>
      app.request('https://api.test/notes', { headers: authorization ? { authorization } : {} })
    const good = await get(`Bearer ${token}`)
    expect([good.status, await good.json()]).toEqual([200, { sub: ada.id }])
    const metadata = 'https://api.test/.well-known/oauth-protected-resource/notes'
    for (const [authorization, status, said] of [
      [undefined, 401, ''],
      ['Bearer x', 401, 'error="invalid_token"'],
      ['Basic x', 401, 'error="invalid_token"'],
      [`Bearer ${other.token}`, 403, 'error="insufficient_scope"'],
    ] as const) {
      const answer = await get(authorization)
      const challenge = answer.headers.get('www-authenticate')
      expect([authorization, answer.status]).toEqual([authorization, status])
      expect(challenge).toContain(`resource_metadata="${metadata}"`)
      expect(challenge).toContain(said)
    }
    const answer = await app.request(metadata)
    expect([answer.status, await answer.json()]).toEqual([
      200,
      {
        resource: resource.url,
        authorization_servers: [issuer],
        bearer_methods_supported: ['header'],
        scopes_supported: ['users:read'],
        resource_name: 'Notes',
      },
    ])
    // A proxy that ends TLS changes the URL to http://, and perhaps to another host.
    for (const [url, method] of [
      [metadata.replace('https://api.test', 'http://10.0.0.7:8080'), 'GET'],
      [`${metadata}?v=2`, 'GET'],
      [metadata, 'HEAD'],
    ] as const) {
      const same = await app.request(url, { method })
      const said = [same.status, same.headers.get('content-type'), await same.text()]
      const text = method === 'HEAD' ? '' : expect.stringContaining(`"resource":"${resource.url}"`)
      expect([url, ...said]).toEqual([url, 200, 'application/json', text])
    }
    const asked = await app.request(metadata, {
      method: 'OPTIONS',
      headers: { origin: 'https://inspector.test', 'access-control-request-headers': 'mcp-protocol-version' },
    })
    const allows = ['origin', 'methods', 'headers'].map((one) =>
      asked.headers.get(`access-control-allow-${one}`),
    )
    expect([asked.status, ...allows]).toEqual([204, '*', 'GET', '*'])
    expect((await app.request(`${metadata}/x`)).status).toBe(401)
  })
})
