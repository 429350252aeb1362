import * as oauth from 'oauth4webapi'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import {
  openProvider,
  openUser,
  type Provider,
  refusalIn,
  requestOf,
  signIn,
  type User,
  userInfo,
} from './conformance.ts'
import { authOf, ISSUER, optionsOf } from './support.ts'

/*
 * The clauses behind the modules of the OpenID conformance suite, one test each, named after the module, over HTTP
 * only. Their table is in docs/openid.md.
 */

let provider: Provider
let user: User

beforeAll(async () => {
  provider = await openProvider()
  user = await openUser(provider.api)
})
afterEach(() => {
  vi.useRealTimers()
})

const flow = (given: Record<string, string | undefined> = {}) => signIn(provider, user, given)
/** Somebody who authenticated a minute ago. */
const longSignedIn = async () => {
  const one = await openUser(provider.api)
  await provider.api.sql('UPDATE sessions SET created_at = created_at - 60000 WHERE user_id = ?', [one.id])
  return one
}
const plain = (claims: object) => Buffer.from(JSON.stringify(claims)).toString('base64url')
const unsigned = (claims: object) => `${plain({ alg: 'none' })}.${plain(claims)}.`
const userinfoBy = (token: string, how: 'header' | 'body') =>
  how === 'header'
    ? provider.api.send('POST', '/oauth/userinfo', { token })
    : provider.api.send('POST', '/oauth/userinfo', { raw: new URLSearchParams({ access_token: token }) })

describe('Config', () => {
  test('oidcc-discovery-endpoint-verification', async () => {
    const answer = await provider.api.send('GET', '/.well-known/openid-configuration')
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
    const { body } = answer
    expect(body).toMatchObject({
      issuer: ISSUER,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: expect.arrayContaining(['RS256']),
      scopes_supported: expect.arrayContaining(['openid']),
      claims_parameter_supported: false,
      request_parameter_supported: false,
      request_uri_parameter_supported: false,
    })
    for (const [name, value] of Object.entries(body))
      if (/_(endpoint|uri)$/.test(name))
        expect([name, value]).toEqual([name, expect.stringMatching(/^https:/)])
    const { pathname } = new URL(String(body.jwks_uri))
    const keys = (await provider.api.send('GET', pathname)).body.keys as Record<string, string>[]
    expect(keys.map(({ alg }) => alg)).toEqual(expect.arrayContaining(['RS256', 'ES256']))
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length)
    for (const key of keys) expect(Object.keys(key)).not.toContain('d')
  })
})

describe('Basic', () => {
  test('oidcc-server', async () => {
    const { answer, tokens, claims } = await flow()
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(tokens).toMatchObject({ token_type: 'bearer', expires_in: expect.any(Number), scope: 'openid' })
    const [header] = tokens.id_token!.split('.')
    expect(JSON.parse(Buffer.from(header!, 'base64url').toString())).toMatchObject({
      alg: 'RS256',
      kid: expect.any(String),
    })
    expect(claims).toMatchObject({ iss: ISSUER, sub: user.id, aud: provider.app.client_id })
    // Claims that were not requested are not given.
    expect(Object.keys(claims)).not.toEqual(expect.arrayContaining(['email']))
  })

  test('oidcc-response-type-missing', async () => {
    const asked = requestOf(provider.app, { response_type: undefined })
    const refused = refusalIn(await user.visit('/oauth/authorize', asked))
    expect(refused).toEqual({ error: 'invalid_request', state: asked.state, iss: ISSUER })
  })

  test('oidcc-userinfo-get', async () => {
    const signedIn = await flow()
    expect((await userInfo(provider, signedIn)).sub).toBe(signedIn.claims.sub)
  })

  test.each([
    ['oidcc-userinfo-post-header', 'header'],
    ['oidcc-userinfo-post-body', 'body'],
  ] as const)('%s', async (_, how) => {
    const { tokens, claims } = await flow()
    const { status, body } = await userinfoBy(tokens.access_token, how)
    expect([status, body.sub]).toEqual([200, claims.sub])
  })

  test('oidcc-ensure-request-without-nonce-succeeds-for-code-flow', async () => {
    expect((await flow({ nonce: undefined })).claims).not.toHaveProperty('nonce')
  })

  test('oidcc-scope-profile', async () => {
    const signedIn = await flow({ scope: 'openid profile' })
    const info = await userInfo(provider, signedIn)
    expect(info).toEqual({ sub: user.id, name: 'Somebody', updated_at: expect.any(Number) })
    expect(signedIn.claims).not.toHaveProperty('name')
  })

  test('oidcc-scope-email', async () => {
    const signedIn = await flow({ scope: 'openid email' })
    expect(await userInfo(provider, signedIn)).toEqual({
      sub: user.id,
      email: user.email,
      email_verified: true,
    })
    expect(signedIn.claims).not.toHaveProperty('email')
  })

  // Not in scopes_supported, so the suite skips these three, and so do we.
  test.each([
    ['oidcc-scope-address', 'openid address'],
    ['oidcc-scope-phone', 'openid phone'],
  ])('%s', async (_, scope) => {
    const signedIn = await flow({ scope })
    expect(signedIn.tokens.scope).toBe('openid')
    expect(await userInfo(provider, signedIn)).toEqual({ sub: user.id })
  })

  test('oidcc-scope-all', async () => {
    const signedIn = await flow({ scope: 'openid profile email address phone' })
    expect(signedIn.tokens.scope).toBe('openid profile email')
    expect(Object.keys(await userInfo(provider, signedIn)).sort()).toEqual([
      'email',
      'email_verified',
      'name',
      'sub',
      'updated_at',
    ])
  })

  test('oidcc-alternate-happy-flow', async () => {
    const { app } = provider
    const reversed = Object.fromEntries(
      Object.entries(requestOf(app, { scope: 'email openid' })).reverse(),
    ) as Record<string, string>
    const { location } = await user.visit('/oauth/authorize', reversed)
    expect(location!.searchParams.get('state')).toBe(reversed.state)
    expect((await flow({ scope: 'email openid' })).claims.sub).toBe(user.id)
  })

  test.each([
    ['oidcc-display-page', { display: 'page' }],
    ['oidcc-display-popup', { display: 'popup' }],
    ['oidcc-ensure-request-with-unknown-parameter-succeeds', { extra: 'foobar' }],
    ['oidcc-login-hint', { login_hint: 'somebody@people.test' }],
    ['oidcc-ui-locales', { ui_locales: 'se de' }],
    ['oidcc-claims-locales', { claims_locales: 'se' }],
    ['oidcc-ensure-request-with-acr-values-succeeds', { acr_values: '1 2' }],
  ])('%s', async (_, given) => {
    const { claims } = await flow(given)
    expect(claims).toMatchObject({ sub: user.id, acr: '1' })
  })

  test('oidcc-prompt-login', async () => {
    const one = await longSignedIn()
    const first = await signIn(provider, one)
    const second = await signIn(provider, one, { prompt: 'login' })
    expect([first.wasProved, second.wasProved]).toEqual([false, true])
    expect(second.claims.sub).toBe(first.claims.sub)
    expect(second.claims.auth_time).toBeGreaterThan(first.claims.auth_time!)
  })

  test('oidcc-prompt-none-not-logged-in', async () => {
    const nobody = await openBrowser(provider.api)
    const asked = requestOf(provider.app, { prompt: 'none' })
    const answer = await nobody('GET', `/oauth/authorize?${new URLSearchParams(asked as never)}`)
    const location = new URL(answer.headers.get('location')!)
    expect(location.origin + location.pathname).toBe(REDIRECT)
    expect(Object.fromEntries(location.searchParams)).toMatchObject({
      error: 'login_required',
      state: asked.state,
    })
  })

  test('oidcc-prompt-none-logged-in', async () => {
    const first = await flow()
    const second = await flow({ prompt: 'none' })
    expect([second.wasProved, second.claims.sub]).toEqual([false, first.claims.sub])
    expect(second.claims.auth_time).toBe(first.claims.auth_time)
  })

  test('oidcc-max-age-1', async () => {
    const one = await longSignedIn()
    const first = await signIn(provider, one)
    const second = await signIn(provider, one, { max_age: '1' })
    expect([first.wasProved, second.wasProved]).toEqual([false, true])
    expect(second.claims.auth_time).toBeGreaterThan(first.claims.auth_time!)
  })

  test('oidcc-max-age-10000', async () => {
    const one = await longSignedIn()
    const [first, second] = [await signIn(provider, one), await signIn(provider, one, { max_age: '10000' })]
    expect([second.wasProved, second.claims.auth_time]).toEqual([false, first.claims.auth_time])
  })

  test('oidcc-id-token-hint', async () => {
    const first = await flow()
    const second = await flow({ prompt: 'none', id_token_hint: first.tokens.id_token })
    expect([second.wasProved, second.claims.sub]).toEqual([false, first.claims.sub])
  })

  test('oidcc-codereuse', async () => {
    const { trade } = await flow()
    const again = await trade()
    expect([again.status, (await again.json()) as object]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_grant' }),
    ])
  })

  test('oidcc-codereuse-30seconds', async () => {
    const { trade, tokens } = await flow()
    expect((await userinfoBy(tokens.access_token, 'header')).status).toBe(200)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 30_000 })
    const again = await trade()
    expect([again.status, (await again.json()) as object]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_grant' }),
    ])
    // RFC 6749 section 4.1.2: the tokens it gave are revoked.
    expect((await userinfoBy(tokens.access_token, 'header')).status).toBe(401)
  })

  test('oidcc-ensure-registered-redirect-uri', async () => {
    const asked = requestOf(provider.app, { redirect_uri: `${REDIRECT}/else` })
    const shown = await user.visit('/oauth/authorize', asked)
    expect([shown.location, shown.status]).toEqual([undefined, 400])
  })

  test('oidcc-ensure-post-request-succeeds', async () => {
    const asked = requestOf(provider.app) as Record<string, string>
    const posted = await user.browser('POST', '/oauth/authorize', asked)
    expect(posted.status).toBe(303)
    const to = new URL(posted.headers.get('location')!, ISSUER)
    const { location } = await user.visit(to.pathname, Object.fromEntries(to.searchParams))
    expect(Object.fromEntries(location!.searchParams)).toMatchObject({
      code: expect.any(String),
      state: asked.state,
    })
  })

  test('oidcc-server-client-secret-post', async () => {
    expect((await signIn(provider, user, {}, provider.byForm)).claims.sub).toBe(user.id)
  })

  test('oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported', async () => {
    const asked = requestOf(provider.app)
    const refused = refusalIn(await user.visit('/oauth/authorize', { ...asked, request: unsigned(asked) }))
    expect(refused).toEqual({ error: 'request_not_supported', state: asked.state, iss: ISSUER })
  })

  test('oidcc-claims-essential', async () => {
    // Discovery says that it is not supported, so it is ignored.
    const claims = JSON.stringify({ userinfo: { name: { essential: true } } })
    expect((await flow({ claims })).claims.sub).toBe(user.id)
  })

  test('oidcc-ensure-request-object-with-redirect-uri', async () => {
    const { redirect_uri, ...asked } = requestOf(provider.app)
    const request = unsigned({ ...asked, redirect_uri })
    const elsewhere = { ...asked, redirect_uri: 'https://evil.test/callback', request }
    for (const given of [{ ...asked, request }, elsewhere]) {
      const shown = await user.visit('/oauth/authorize', given as never)
      expect([shown.location, shown.status]).toEqual([undefined, 400])
    }
  })

  test('oidcc-refresh-token', async () => {
    const { client, tokens, claims } = await flow({ scope: 'openid offline_access' })
    const { as, api, app, other } = provider
    const refresh = (by: typeof app) =>
      oauth.refreshTokenGrantRequest(
        as,
        { client_id: by.client_id },
        authOf(by),
        tokens.refresh_token!,
        optionsOf(api),
      )
    const wrong = await refresh(other)
    expect([wrong.status, (await wrong.json()) as object]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_grant' }),
    ])
    const renewed = await oauth.processRefreshTokenResponse(as, client, await refresh(app))
    const { iss, sub, aud, auth_time, sid } = claims
    expect(oauth.getValidatedIdTokenClaims(renewed)).toMatchObject({ iss, sub, aud, auth_time, sid })
    expect((await userinfoBy(renewed.access_token, 'header')).status).toBe(200)
  })

  test('oidcc-ensure-request-with-valid-pkce-succeeds', async () => {
    const { claims } = await flow({ code_challenge: 'made below', code_challenge_method: 'S256' })
    expect(claims.sub).toBe(user.id)
  })
})
