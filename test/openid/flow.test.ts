import * as oauth from 'oauth4webapi'
import { beforeAll, describe, expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authOf, authorize, begin, discover, optionsOf, redeem } from './support.ts'

/** Every flow with somebody else's client, oauth4webapi, which checks what it gets. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>
let as: oauth.AuthorizationServer

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  as = await discover(api)
})

const somebody = () => api.person({ email_verified_at: Date.now(), password_hash: null })

describe.each([
  ['confidential, by Basic', {}],
  ['confidential, by its form', { token_endpoint_auth_method: 'client_secret_post' }],
  ['public', { type: 'public' }],
  ['which asks for ES256', { id_token_signed_response_alg: 'ES256' }],
])('An app that is %s', (_, given) => {
  test('signs somebody in, reads who it is, refreshes, and revokes', async () => {
    const app = await addApp(api, { ...given, scopes: ['openid', 'profile', 'email', 'roles'] })
    const ada = await somebody()
    const browser = await openBrowser(api, ada)
    const begun = await begin(app, { scope: 'openid profile email roles' })
    const location = await authorize(browser, begun.search)
    expect(location.origin + location.pathname).toBe(REDIRECT)
    const { client, tokens, claims } = await redeem(api, as, app, location, begun)
    expect(claims).toMatchObject({
      sub: ada.id,
      aud: app.client_id,
      nonce: begun.nonce,
      amr: ['pwd'],
      acr: '1',
      sid: expect.any(String),
      at_hash: expect.any(String),
      roles: ['user'],
    })
    expect(tokens.scope).toBe('openid profile email roles')

    const info = await oauth.userInfoRequest(as, client, tokens.access_token, optionsOf(api))
    const who = await oauth.processUserInfoResponse(as, client, ada.id, info)
    expect(who).toEqual({
      sub: ada.id,
      name: 'Somebody',
      updated_at: expect.any(Number),
      email: ada.email,
      email_verified: true,
      roles: ['user'],
    })
    expect(who.updated_at).toBeLessThan(1e11)

    const next = await oauth.refreshTokenGrantRequest(
      as,
      client,
      authOf(app),
      tokens.refresh_token!,
      optionsOf(api),
    )
    const renewed = await oauth.processRefreshTokenResponse(as, client, next)
    const again = oauth.getValidatedIdTokenClaims(renewed)!
    expect(again).toMatchObject({
      sub: ada.id,
      auth_time: claims.auth_time,
      amr: claims.amr,
      sid: claims.sid,
    })
    expect(again).not.toHaveProperty('nonce')

    const ended = await oauth.revocationRequest(
      as,
      client,
      authOf(app),
      renewed.refresh_token!,
      optionsOf(api),
    )
    await oauth.processRevocationResponse(ended)
    const after = await oauth.userInfoRequest(as, client, renewed.access_token, optionsOf(api))
    expect(after.status).toBe(401)
  })
})

test('is not asked again for what was granted, only for more', async () => {
  const app = await addApp(api, { scopes: ['openid', 'profile', 'email'] })
  const browser = await openBrowser(api, await somebody())
  await authorize(browser, (await begin(app, { scope: 'openid email' })).search)
  const same = await browser('GET', `/oauth/authorize?${(await begin(app, { scope: 'openid' })).search}`)
  expect([same.status, same.headers.get('location')]).toEqual([
    303,
    expect.stringContaining(`${REDIRECT}?code=`),
  ])
  const more = await browser('GET', `/oauth/authorize?${(await begin(app)).search}`)
  expect(more.status).toBe(200)
  expect(more.text).toContain('Wiki wants to use your account')
})

test('needs no consent if it is a first-party app', async () => {
  const app = await addApp(api, { first_party: true })
  const browser = await openBrowser(api, await somebody())
  const begun = await begin(app)
  const { claims } = await redeem(api, as, app, await authorize(browser, begun.search), begun)
  expect(claims.aud).toBe(app.client_id)
})

test('authenticates with an assertion by its own key, once', async () => {
  const pair = await oauth.generateKeyPair('ES256', { extractable: true })
  const jwk = { ...(await crypto.subtle.exportKey('jwk', pair.publicKey)), kid: 'one' } as Record<
    string,
    unknown
  >
  const { key_ops: _, ext: __, ...publicKey } = jwk
  const app = await addApp(api, {
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [publicKey] },
    first_party: true,
  })
  const browser = await openBrowser(api, await somebody())
  const begun = await begin(app)
  const client = { client_id: app.client_id }
  const params = oauth.validateAuthResponse(as, client, await authorize(browser, begun.search), begun.state)
  let sent = ''
  const key = oauth.PrivateKeyJwt({ key: pair.privateKey, kid: 'one' })
  const keeping: oauth.ClientAuth = async (...given) => {
    await key(...given)
    sent = String(given[2].get('client_assertion'))
  }
  const answer = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    keeping,
    params,
    REDIRECT,
    begun.verifier,
    optionsOf(api),
  )
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, {
    expectedNonce: begun.nonce,
  })
  const again = (body: Record<string, string>) =>
    api.send('POST', '/oauth/token', {
      raw: new URLSearchParams({
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: sent,
        grant_type: 'refresh_token',
        refresh_token: tokens.refresh_token!,
        ...body,
      }),
    })
  const replayed = await again({})
  expect([replayed.status, replayed.body.error]).toEqual([401, 'invalid_client'])
})

test('RFC 6749 3.2: treats empty parameters as if they were left out', async () => {
  const app = await addApp(api, { type: 'public' })
  const old = await addApp(api, { require_pkce: false })
  const browser = await openBrowser(api, await somebody())
  const post = async (fields: Record<string, string>, headers = {}) => {
    const answer = await api.send('POST', '/oauth/token', { headers, raw: new URLSearchParams(fields) })
    return answer.body as Record<string, string>
  }
  const of = (location: URL) => ({
    grant_type: 'authorization_code',
    code: location.searchParams.get('code')!,
    redirect_uri: REDIRECT,
    resource: '',
    scope: '',
  })
  const begun = await begin(app)
  const more = { client_id: app.client_id, client_secret: '', client_assertion: '' }
  const location = await authorize(browser, begun.search)
  const tokens = await post({ ...of(location), ...more, code_verifier: begun.verifier })
  const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token! }
  expect((await post({ ...refresh, ...more, scope: '' })).scope).toBe('openid profile email')
  expect((await post({ ...refresh, ...more, grant_type: '' })).error).toBe('invalid_request')
  const plain = await begin(old, { code_challenge: undefined, code_challenge_method: undefined })
  const basic = { authorization: `Basic ${btoa(`${old.client_id}:${old.client_secret}`)}` }
  const there = of(await authorize(browser, plain.search))
  expect(await post({ ...there, code_verifier: '', client_id: '' }, basic)).toHaveProperty('access_token')
})

test('An assertion is valid with either of two keys without a kid, and with no third', async () => {
  const keys = await Promise.all(
    Array.from({ length: 3 }, () => oauth.generateKeyPair('ES256', { extractable: true })),
  )
  const [first, second] = await Promise.all(
    keys.map(async ({ publicKey }) => {
      const { kty, crv, x, y } = (await crypto.subtle.exportKey('jwk', publicKey)) as JsonWebKey
      return { kty, crv, x, y }
    }),
  )
  const app = await addApp(api, {
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['users:read'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [first, second] },
  })
  const statuses = await Promise.all(
    keys.map(async ({ privateKey }) => {
      const client = { client_id: app.client_id }
      const by = oauth.PrivateKeyJwt(privateKey)
      return (await oauth.clientCredentialsGrantRequest(as, client, by, {}, optionsOf(api))).status
    }),
  )
  expect(statuses).toEqual([200, 200, 401])
})

describe('A service', () => {
  test('acts for itself, with its permissions, and is in the history', async () => {
    const app = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['users:read', 'users:update'],
    })
    const client = { client_id: app.client_id }
    const answer = await oauth.clientCredentialsGrantRequest(as, client, authOf(app), {}, optionsOf(api))
    const { access_token: token, scope } = await oauth.processClientCredentialsResponse(as, client, answer)
    expect(scope).toBe('users:read users:update')
    expect((await api.send('GET', '/v1/users', { token })).status).toBe(200)
    expect((await api.send('GET', '/v1/users/me', { token })).body.code).toBe('insufficient_scope')
    const eve = await api.person()
    expect((await api.send('PATCH', `/v1/users/${eve.id}`, { token, body: { name: 'Grace' } })).status).toBe(
      200,
    )
    expect(await api.sql('SELECT actor_id FROM user_activity_logs WHERE user_id = ?', [eve.id])).toEqual([
      { actor_id: app.client_id },
    ])
  })

  test('is told that its token has no session to end', async () => {
    const app = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['users:read'],
    })
    const client = { client_id: app.client_id }
    const answer = await oauth.clientCredentialsGrantRequest(as, client, authOf(app), {}, optionsOf(api))
    const { access_token: token } = await oauth.processClientCredentialsResponse(as, client, answer)
    const revoking = async (by: typeof app) => {
      const asked = { client_id: by.client_id }
      const ended = await oauth.revocationRequest(as, asked, authOf(by), token, optionsOf(api))
      return [ended.status, ended.status === 400 && ((await ended.json()) as { error: string }).error]
    }
    expect(await revoking(app)).toEqual([400, 'unsupported_token_type'])
    expect(await revoking(await addApp(api))).toEqual([200, false])
  })

  test.each([
    ['demoted', "UPDATE users SET role = 'user', token_epoch = token_epoch + 1 WHERE id = ?"],
    ['disabled', "UPDATE users SET status = 'disabled' WHERE id = ?"],
    ['deleted', 'UPDATE users SET deleted_at = 1 WHERE id = ?'],
  ])('whose owner is %s no longer works', async (_, end) => {
    const app = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['users:read'],
    })
    const client = { client_id: app.client_id }
    const ask = () => oauth.clientCredentialsGrantRequest(as, client, authOf(app), {}, optionsOf(api))
    const { access_token: token } = await oauth.processClientCredentialsResponse(as, client, await ask())
    await api.sql(end, [app.owner_id])
    const refused = await ask()
    expect([refused.status, ((await refused.json()) as { error: string }).error]).toEqual([
      401,
      'invalid_client',
    ])
    expect((await api.send('GET', '/v1/users', { token })).status).toBeGreaterThanOrEqual(401)
  })
})

describe('Introspection', () => {
  test('is for an app’s own tokens, for all tokens by a service with the permission, and for nobody else', async () => {
    const [app, other] = [await addApp(api, { first_party: true }), await addApp(api)]
    const service = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['tokens:introspect'],
    })
    const ada = await somebody()
    const begun = await begin(app)
    const { tokens } = await redeem(
      api,
      as,
      app,
      await authorize(await openBrowser(api, ada), begun.search),
      begun,
    )
    const ask = async (by: typeof app, token: string) => {
      const client = { client_id: by.client_id }
      const answer = await oauth.introspectionRequest(as, client, authOf(by), token, optionsOf(api))
      return oauth.processIntrospectionResponse(as, client, answer)
    }
    expect(await ask(app, tokens.access_token)).toMatchObject({
      active: true,
      sub: ada.id,
      client_id: app.client_id,
      scope: 'openid profile email',
      token_type: 'Bearer',
      iss: 'https://roster.test',
      aud: 'roster',
    })
    expect(await ask(app, tokens.refresh_token!)).toMatchObject({ active: true, sub: ada.id })
    expect(await ask(other, tokens.access_token)).toEqual({ active: false })
    expect(await ask(other, tokens.refresh_token!)).toEqual({ active: false })
    expect(await ask(service, tokens.access_token)).toMatchObject({ active: true })
    const own = await api.signIn(ada)
    expect(await ask(app, own.token)).toEqual({ active: false })
    expect(await ask(service, own.token)).toMatchObject({ active: true, sub: ada.id })
    await api.send('POST', '/v1/auth/logout_all', { token: own.token })
    expect(await ask(service, own.token)).toEqual({ active: false })
    expect(await ask(app, tokens.access_token)).toEqual({ active: false })
    expect(await ask(app, 'x')).toEqual({ active: false })
  })

  test('does not answer about a token when the database is unavailable', async () => {
    const service = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['tokens:introspect'],
    })
    const { token } = await api.signIn(await somebody())
    const ask = () =>
      api.send('POST', '/oauth/introspect', {
        headers: { authorization: `Basic ${btoa(`${service.client_id}:${service.client_secret}`)}` },
        raw: new URLSearchParams({ token }),
      })
    // The caller is still read, but not what it asks about.
    await own.behave('libsql', { mode: 'reset-before', after: 1 })
    try {
      expect((await ask()).status).toBe(503)
    } finally {
      await own.behave('libsql', { mode: 'pass' })
    }
    expect((await ask()).body.active).toBe(true)
  })

  test('shows a refresh token as active until only its successor is valid', async () => {
    const app = await addApp(api, { first_party: true })
    const begun = await begin(app)
    const location = await authorize(await openBrowser(api, await somebody()), begun.search)
    const { tokens, client } = await redeem(api, as, app, location, begun)
    const first = tokens.refresh_token!
    const next = await oauth.refreshTokenGrantRequest(as, client, authOf(app), first, optionsOf(api))
    const { refresh_token: second } = await oauth.processRefreshTokenResponse(as, client, next)
    await api.sql('UPDATE sessions SET rotated_at = rotated_at - 60000 WHERE client_id = ?', [app.client_id])
    const isActive = async (token: string) => {
      const answer = await oauth.introspectionRequest(as, client, authOf(app), token, optionsOf(api))
      return (await oauth.processIntrospectionResponse(as, client, answer)).active
    }
    expect([await isActive(first), await isActive(second!)]).toEqual([false, true])
  })

  describe('says no more than what is true at /v1', () => {
    const word = async (token: string) => {
      const service = await addApp(api, {
        grants: ['client_credentials'],
        redirect_uris: [],
        scopes: ['tokens:introspect'],
      })
      const client = { client_id: service.client_id }
      const answer = await oauth.introspectionRequest(as, client, authOf(service), token, optionsOf(api))
      const { active, scope } = await oauth.processIntrospectionResponse(as, client, answer)
      return [active, scope]
    }

    test('of an app whose person was demoted; nor does a refresh', async () => {
      const scopes = ['openid', 'users:read', 'users:update']
      const app = await addApp(api, { first_party: true, scopes })
      const ada = await api.person({ role: 'manager', email_verified_at: Date.now(), password_hash: null })
      const begun = await begin(app, { scope: scopes.join(' ') })
      const location = await authorize(await openBrowser(api, ada), begun.search)
      const { tokens, client } = await redeem(api, as, app, location, begun)
      expect(await word(tokens.access_token)).toEqual([true, scopes.join(' ')])
      const { token } = await api.quickActor({ role: 'admin' })
      await api.send('PATCH', `/v1/users/${ada.id}`, { token, body: { role: 'user' } })
      const answer = await oauth.refreshTokenGrantRequest(
        as,
        client,
        authOf(app),
        tokens.refresh_token!,
        optionsOf(api),
      )
      const next = await oauth.processRefreshTokenResponse(as, client, answer)
      expect([next.scope, await word(next.access_token)]).toEqual(['openid', [true, 'openid']])
    })

    test.each([
      [
        'that may do less',
        'UPDATE oauth_clients SET scopes = \'["users:read"]\' WHERE id = ?1 AND ?2 <> ?1',
        [true, 'users:read'],
      ],
      [
        'whose owner was demoted',
        "UPDATE users SET role = 'user' WHERE id = ?2 AND ?1 <> ?2",
        [false, undefined],
      ],
    ])('of a service %s', async (_, change, expected) => {
      const scopes = ['users:read', 'users:delete']
      const app = await addApp(api, { grants: ['client_credentials'], redirect_uris: [], scopes })
      const client = { client_id: app.client_id }
      const answer = await oauth.clientCredentialsGrantRequest(as, client, authOf(app), {}, optionsOf(api))
      const { access_token: token } = await oauth.processClientCredentialsResponse(as, client, answer)
      expect(await word(token)).toEqual([true, scopes.join(' ')])
      await api.sql(change, [app.client_id, app.owner_id])
      expect(await word(token)).toEqual(expected)
    })
  })
})
