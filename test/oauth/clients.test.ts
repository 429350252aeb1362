import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { type Actor, openApi } from '../support/api.ts'
import { letApp } from '../support/oauth.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let api: ReturnType<typeof openApi>
let admin: Actor

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.quickActor({ role: 'admin', email_verified_at: 1 })
})

const REDIRECT = 'https://app.example/callback'
const anApp = (given: object = {}) => ({
  name: 'Wiki',
  type: 'confidential',
  redirect_uris: [REDIRECT],
  ...given,
})
const create = (given: object = {}, token = admin.token) =>
  api.send('POST', '/v1/oauth_clients', { token, body: anApp(given) })
const rowOf = async (id: unknown) =>
  (await api.sql('SELECT * FROM oauth_clients WHERE id = ?', [id as string]))[0]

describe('Apps', () => {
  test('an app gets a secret that is shown once, and only its digest is stored', async () => {
    const { status, body } = await create()
    expect(status).toBe(201)
    expect(body).toMatchObject({
      name: 'Wiki',
      type: 'confidential',
      grants: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: [REDIRECT],
      scopes: ['openid', 'profile', 'email'],
      require_pkce: true,
      created_by: admin.id,
      owner_id: null,
      client_secret: expect.stringMatching(/^cs_[\w-]{43}$/),
    })
    const { body: read } = await api.send('GET', `/v1/oauth_clients/${body.client_id}`, {
      token: admin.token,
    })
    expect({ ...read, client_secret: body.client_secret }).toEqual(body)
    expect(JSON.stringify(await dump(api))).not.toContain(body.client_secret)
    const { body: list } = await api.send('GET', '/v1/oauth_clients', { token: admin.token })
    expect(list.data).toContainEqual(read)
  })

  test('a public app has no secret', async () => {
    const { body } = await create({ type: 'public', redirect_uris: ['com.example.app:/callback'] })
    expect(body).toMatchObject({ token_endpoint_auth_method: 'none' })
    expect(body).not.toHaveProperty('client_secret')
    const rotated = await api.send('POST', `/v1/oauth_clients/${body.client_id}/secret`, {
      token: admin.token,
      body: {},
    })
    expect([rotated.status, rotated.body.code]).toEqual([409, 'client_has_no_secret'])
  })

  test.each([
    ['http://app.example/cb'],
    ['https://app.example/cb#x'],
    ['https://user@app.example/cb'],
    ['https://*.app.example/cb'],
    ['https:app.example/cb'],
    ['//app.example/cb'],
    ['https://app.example\\@evil.test'],
    ['https://APP.example/cb'],
    ['https://app.example/a/../cb'],
    ['https://app.example/c b'],
    ['https://app.example/\tcb'],
    ['javascript:alert(1)'],
    ['data:text/html,x'],
    ['myapp:/cb'],
    ['/callback'],
    [`https://app.example/${'x'.repeat(600)}`],
  ])('OA4: %s is not a valid redirect URI', async (uri) => {
    const { status, body } = await create({ type: 'public', redirect_uris: [uri] })
    expect([status, body.code]).toEqual([422, 'invalid_input'])
  })

  test.each([
    [{ type: 'public', token_endpoint_auth_method: 'client_secret_post' }],
    [{ token_endpoint_auth_method: 'none' }],
    [{ token_endpoint_auth_method: 'private_key_jwt' }],
    [{ jwks: { keys: [{ kty: 'EC' }] } }],
    [{ token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ kty: 'EC', d: 'x' }] } }],
    [{ token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ kty: 'RSA' }] } }],
    [{ type: 'public', require_pkce: false }],
    [{ redirect_uris: ['com.example.app:/cb'] }],
    [{ redirect_uris: [] }],
    [{ redirect_uris: [REDIRECT, REDIRECT] }],
    [{ grants: ['refresh_token'] }],
    [{ grants: ['client_credentials'] }],
    [{ grants: ['client_credentials', 'authorization_code'] }],
    [{ grants: ['client_credentials'], redirect_uris: [], type: 'public' }],
    [{ grants: ['password'] }],
    [{ scopes: ['everything'] }],
    [{ scopes: ['account'] }],
    [{ client_id: 'mine' }],
    [{ owner_id: crypto.randomUUID() }],
    [{ logo_uri: 'https://evil.test/pixel.png' }],
  ])('contradictory or unknown settings are refused: %j', async (given) => {
    const before = await dump(api)
    expect((await create(given)).body.code).toBe('invalid_input')
    expect((await dump(api)).oauth_clients).toEqual(before.oauth_clients)
  })

  test('a key that could never authenticate is refused with a sentence, at creation and at a change', async () => {
    const publicKey = async (algorithm: object, uses = ['sign', 'verify']) => {
      const pair = (await crypto.subtle.generateKey(algorithm as never, true, uses as never)) as CryptoKeyPair
      const {
        key_ops: _,
        ext: __,
        ...jwk
      } = (await crypto.subtle.exportKey('jwk', pair.publicKey)) as JsonWebKey & {
        key_ops?: unknown
        ext?: unknown
      }
      return jwk
    }
    const rsa = (modulusLength: number) =>
      publicKey({
        name: 'RSASSA-PKCS1-v1_5',
        hash: 'SHA-256',
        modulusLength,
        publicExponent: new Uint8Array([1, 0, 1]),
      })
    const ec = (namedCurve: string) => publicKey({ name: 'ECDSA', namedCurve })
    const [good, long] = [await ec('P-256'), await rsa(2048)]
    const withKey = (key: object) => ({
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [good, key] },
    })
    const { status, body: app } = await create(withKey(long))
    expect(status).toBe(201)
    for (const [key, detail] of [
      [{ kty: 'RSA' }, 'Is not a readable public key.'],
      [{ ...good, y: good.x }, 'Is not a readable public key.'],
      [await rsa(1024), 'Is shorter than 2048 bits.'],
      [await ec('P-521'), 'Is of another curve than P-256.'],
      [{ ...good, use: 'enc' }, 'Is not for signatures (use).'],
      [{ ...good, key_ops: ['sign'] }, 'Is not for verifying (key_ops).'],
      [{ ...long, alg: 'RSA-OAEP' }, 'Has another alg than RS256 or PS256.'],
    ] as const) {
      const { jwks } = withKey(key)
      const patched = await api.send('PATCH', `/v1/oauth_clients/${app.client_id}`, {
        token: admin.token,
        body: { jwks },
      })
      for (const answer of [await create(withKey(key)), patched])
        expect([answer.status, answer.body.errors]).toEqual([
          422,
          [{ pointer: '/jwks/keys/1', code: 'invalid_key', detail }],
        ])
    }
  })

  test.each([
    ['https://bücher.example/cb', 'Has to be written https://xn--bcher-kva.example/cb'],
    ['http://localhost:080/cb', 'Has to be written http://localhost/cb'],
    ['https://app.example/a b', 'Is not a URL.'],
  ])('%s: %s', async (uri, detail) => {
    const { body } = await create({ type: 'public', redirect_uris: [uri] })
    expect(body.errors).toMatchObject([{ detail }])
  })

  test('a service belongs to whoever made it, with permissions that they have', async () => {
    const given = { grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] }
    const { status, body } = await create(given)
    expect([status, body.owner_id, body.scopes]).toEqual([201, admin.id, ['users:read']])
  })

  test('every administrator is told of a service, and of whatever gives it power; twenty times an hour, and then it is refused', async () => {
    const boss = await api.quickActor({ role: 'admin', email_verified_at: 1 })
    const told = async () =>
      (
        await api.sql(
          `SELECT event.action FROM outbox JOIN user_activity_logs AS event ON event.id = outbox.event_id
            WHERE kind = 'service_changed' AND recipient_normalized = ? AND actor_id = ? ORDER BY outbox.id`,
          [admin.email, boss.id],
        )
      ).map(({ action }) => action)
    const given = { grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] }
    const { body: app } = await create(given, boss.token)
    const path = `/v1/oauth_clients/${app.client_id}`
    const change = (body: object, by: Actor = boss) => api.send('PATCH', path, { token: by.token, body })
    const rotate = () => api.send('POST', `${path}/secret`, { token: boss.token, body: {} })
    expect(await told()).toEqual(['client.created'])
    const [mail] = await api.mailsTo(admin.email)
    expect(mail!.text).toContain(`${boss.email} of Roster has added a service`)
    expect((await api.mailsTo(boss.email))[0]!.text).toContain('/admin/apps')

    await change({ scopes: ['users:read', 'users:create'] })
    await rotate()
    await change({ take_over: true }, admin)
    await change({ take_over: true })
    const all = ['client.created', 'client.updated', 'client.secret_rotated', 'client.updated']
    expect(await told()).toEqual(all)
    // What gives it nothing is in the history alone, and so is what needs its user's consent.
    await change({ name: 'Job', scopes: ['users:read'] })
    await create({}, boss.token)
    expect(await told()).toEqual(all)

    for (let more = all.length; more < 20; more++) expect((await rotate()).status).toBe(200)
    const before = await dump(api)
    const answers = [
      await rotate(),
      await change({ scopes: ['users:create'] }),
      await create(given, boss.token),
    ]
    expect(answers.map(({ status, body }) => [status, body.code])).toEqual(
      Array(3).fill([429, 'too_many_attempts']),
    )
    expect(await dump(api)).toEqual(before)
    expect((await change({ name: 'Its job' })).status).toBe(200)
  })

  test('AK1: all of this needs an administrator with a login of the last ten minutes', async () => {
    const { body: app } = await create()
    const path = `/v1/oauth_clients/${app.client_id}`
    const longAgo = await api.signIn(admin, Date.now() - 11 * 60_000)
    const manager = await api.quickActor({ role: 'manager' })
    for (const [method, where, body] of [
      ['POST', '/v1/oauth_clients', anApp()],
      ['PATCH', path, { name: 'Else' }],
      ['POST', `${path}/secret`, {}],
      ['DELETE', path, undefined],
    ] as const) {
      const codeFor = async ({ token }: { token: string }) =>
        (await api.send(method, where, { token, body })).body.code
      expect([await codeFor(manager), await codeFor(longAgo)]).toEqual([
        'forbidden',
        'reauthentication_required',
      ])
    }
    expect(await rowOf(app.client_id)).toMatchObject({ name: 'Wiki', version: 1 })
  })

  test('a change is reported, and what it does not name stays', async () => {
    const { body: app } = await create()
    const path = `/v1/oauth_clients/${app.client_id}`
    const { status, body } = await api.send('PATCH', path, {
      token: admin.token,
      body: { name: 'Notes', scopes: ['openid'], allowed_roles: ['manager', 'admin'] },
    })
    const { client_secret: _, ...before } = app
    expect([status, body]).toEqual([
      200,
      {
        ...before,
        name: 'Notes',
        scopes: ['openid'],
        allowed_roles: ['manager', 'admin'],
        updated_at: body.updated_at,
      },
    ])
    expect(
      await api.sql("SELECT actor_id, details FROM user_activity_logs WHERE action = 'client.updated'"),
    ).toContainEqual({
      actor_id: admin.id,
      details: JSON.stringify({ client_id: app.client_id, name: 'Wiki' }),
    })
    const wrong = await api.send('PATCH', path, { token: admin.token, body: { redirect_uris: [] } })
    expect(wrong.body.code).toBe('invalid_input')
  })

  test('a change that changes nothing leaves no row of history, nor another version', async () => {
    const { client_id } = (await create()).body
    const path = `/v1/oauth_clients/${client_id}`
    const change = { name: 'Notes', scopes: ['openid'], allowed_roles: ['manager'] }
    const ask = (body: object) => api.send('PATCH', path, { token: admin.token, body })
    const changed = await ask(change)
    const before = await dump(api)
    for (const body of [change, { name: 'Notes' }]) {
      const again = await ask(body)
      expect([again.status, again.body]).toEqual([200, changed.body])
    }
    expect(await dump(api)).toEqual(before)
    expect((await ask({ name: 'Wiki' })).body).toMatchObject({ name: 'Wiki', scopes: ['openid'] })
    expect(await rowOf(client_id)).toMatchObject({ version: 3 })
  })

  test('a secret is replaced with an overlap, or at once if it was stolen', async () => {
    const { body: app } = await create()
    const path = `/v1/oauth_clients/${app.client_id}/secret`
    const before = await rowOf(app.client_id)
    const { body } = await api.send('POST', path, { token: admin.token, body: {} })
    expect(body.client_secret).not.toBe(app.client_secret)
    expect(await rowOf(app.client_id)).toMatchObject({
      former_secret_hash: before!.secret_hash,
      former_secret_until: expect.any(Number),
      epoch: 0,
    })
    await api.send('POST', path, { token: admin.token, body: { keep_former_seconds: 0 } })
    expect(await rowOf(app.client_id)).toMatchObject({ former_secret_hash: null, epoch: 1 })
  })

  test('a secret that is replaced twice, as by reloading a page, keeps the one in use valid', async () => {
    const { body: app } = await create()
    const replace = (body: object = {}) =>
      api.send('POST', `/v1/oauth_clients/${app.client_id}/secret`, { token: admin.token, body })
    const inUse = await rowOf(app.client_id)
    await replace()
    const once = await rowOf(app.client_id)
    await replace()
    const twice = await rowOf(app.client_id)
    expect(twice!.secret_hash).not.toBe(once!.secret_hash)
    expect(twice).toMatchObject({
      former_secret_hash: inUse!.secret_hash,
      former_secret_until: once!.former_secret_until,
    })
    // With another overlap it is another change, and so it is after a while.
    await replace({ keep_former_seconds: 3600 })
    const other = await rowOf(app.client_id)
    expect(other!.former_secret_hash).toBe(twice!.secret_hash)
    await api.sql(
      'UPDATE oauth_clients SET former_secret_until = former_secret_until - 600001 WHERE id = ?',
      [String(app.client_id)],
    )
    await replace({ keep_former_seconds: 3600 })
    expect(await rowOf(app.client_id)).toMatchObject({ former_secret_hash: other!.secret_hash })
    await replace({ keep_former_seconds: 0 })
    expect(await rowOf(app.client_id)).toMatchObject({ former_secret_hash: null, epoch: 1 })
  })

  test('an app is removed once, and clean-up removes the consents to it', async () => {
    const { body: app } = await create()
    const path = `/v1/oauth_clients/${app.client_id}`
    expect((await api.send('DELETE', path, { token: admin.token })).status).toBe(204)
    expect((await api.send('DELETE', path, { token: admin.token })).body.code).toBe('client_not_found')
    expect((await api.send('GET', path, { token: admin.token })).body.code).toBe('client_not_found')
  })

  test('ten changes at once are all made, and none is lost', async () => {
    const { body: app } = await create({ scopes: ['openid'] })
    const path = `/v1/oauth_clients/${app.client_id}`
    const changes = [{ name: 'Notes' }, { first_party: true }, { allowed_roles: ['admin'] }]
    await Promise.all(changes.map((body) => api.send('PATCH', path, { token: admin.token, body })))
    const { body } = await api.send('GET', path, { token: admin.token })
    expect(body).toMatchObject({ name: 'Notes', first_party: true, allowed_roles: ['admin'] })
  })
})

test('The last use of an app is recorded with any token it gets, once in five minutes', async () => {
  const app = (await create()).body as unknown as ClientWithSecret
  const service = { grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] }
  const other = (await create(service)).body as unknown as ClientWithSecret
  const ada = await api.quickActor({ email_verified_at: 1 })
  const { refreshToken } = await letApp(api, ada, { scope: 'openid', app })
  const usedAt = async (of: ClientWithSecret) => Number((await rowOf(of.client_id))!.last_used_at)
  for (const [of, fields] of [
    [app, { grant_type: 'refresh_token', refresh_token: refreshToken }],
    [other, { grant_type: 'client_credentials' }],
  ] as const) {
    const ask = async () => {
      const headers = { authorization: `Basic ${btoa(`${of.client_id}:${of.client_secret}`)}` }
      expect(
        (await api.send('POST', '/oauth/token', { headers, raw: new URLSearchParams(fields) })).status,
      ).toBe(200)
      return usedAt(of)
    }
    await api.sql('UPDATE oauth_clients SET last_used_at = NULL WHERE id = ?', [of.client_id])
    const first = await ask()
    expect(Date.now() - first).toBeLessThan(60_000)
    expect(await ask()).toBe(first)
    await api.sql('UPDATE oauth_clients SET last_used_at = last_used_at - 300001 WHERE id = ?', [
      of.client_id,
    ])
    expect(await ask()).toBeGreaterThanOrEqual(first)
  }
})
