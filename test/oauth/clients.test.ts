import { beforeAll, describe, expect, test } from 'vitest'
import { type Actor, openApi } from '../support/api.ts'
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
  test('an app is made with a secret that is shown once, and of which the digest is kept alone', async () => {
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
  ])('OA4: %s is no address to be sent back to', async (uri) => {
    const { status, body } = await create({ type: 'public', redirect_uris: [uri] })
    expect([status, body.code]).toEqual([422, 'invalid_input'])
  })

  test.each([
    [{ type: 'public', token_endpoint_auth_method: 'client_secret_post' }],
    [{ token_endpoint_auth_method: 'none' }],
    [{ token_endpoint_auth_method: 'private_key_jwt' }],
    [{ jwks: { keys: [{ kty: 'EC' }] } }],
    [{ token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ kty: 'EC', d: 'x' }] } }],
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
  ])('what contradicts itself, or is not known, is refused: %j', async (given) => {
    const before = await dump(api)
    expect((await create(given)).body.code).toBe('invalid_input')
    expect((await dump(api)).oauth_clients).toEqual(before.oauth_clients)
  })

  test('a service belongs to whoever made it, with permissions that they have', async () => {
    const given = { grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] }
    const { status, body } = await create(given)
    expect([status, body.owner_id, body.scopes]).toEqual([201, admin.id, ['users:read']])
  })

  test('AK1: all of it takes a login of the last ten minutes, and an administrator', async () => {
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

  test('what is changed is told, and what is not named stays', async () => {
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

  test('a secret is replaced with an overlap, or at once where it was stolen', async () => {
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

  test('replaced twice, as by a page loaded again, the secret in use is still the one that goes on', async () => {
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
    // For another time it is another change, and so it is after a while.
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

  test('an app is removed once, and what people let it do goes by clean-up', async () => {
    const { body: app } = await create()
    const path = `/v1/oauth_clients/${app.client_id}`
    expect((await api.send('DELETE', path, { token: admin.token })).status).toBe(204)
    expect((await api.send('DELETE', path, { token: admin.token })).body.code).toBe('client_not_found')
    expect((await api.send('GET', path, { token: admin.token })).body.code).toBe('client_not_found')
  })

  test('ten changes at once are ten changes, and none is lost', async () => {
    const { body: app } = await create({ scopes: ['openid'] })
    const path = `/v1/oauth_clients/${app.client_id}`
    const changes = [{ name: 'Notes' }, { first_party: true }, { allowed_roles: ['admin'] }]
    await Promise.all(changes.map((body) => api.send('PATCH', path, { token: admin.token, body })))
    const { body } = await api.send('GET', path, { token: admin.token })
    expect(body).toMatchObject({ name: 'Notes', first_party: true, allowed_roles: ['admin'] })
  })
})
