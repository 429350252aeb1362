import * as openid from 'openid-client'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { type Api, openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authorize, fetchOf, ISSUER } from './support.ts'

/** Every flow with the client that most of Node uses. It checks what it gets, and throws if something is wrong. */

const AFTER = 'https://app.example/signed-out'
let api: Api

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})

const discover = ({ client_id, client_secret, token_endpoint_auth_method: method }: ClientWithSecret) =>
  openid.discovery(
    new URL(ISSUER),
    client_id,
    {},
    client_secret === undefined
      ? openid.None()
      : method === 'client_secret_post'
        ? openid.ClientSecretPost(client_secret)
        : openid.ClientSecretBasic(client_secret),
    { [openid.customFetch]: fetchOf(api) as openid.CustomFetch },
  )

describe.each([
  ['confidential', {}],
  ['confidential, by its form', { token_endpoint_auth_method: 'client_secret_post' }],
  ['public', { type: 'public' }],
])('An app that is %s', (_, given) => {
  test('signs somebody in by code and PKCE, asks who it is, refreshes, and signs out', async () => {
    const scopes = ['openid', 'profile', 'email', 'offline_access']
    const app = await addApp(api, { ...given, scopes, post_logout_redirect_uris: [AFTER] })
    const config = await discover(app)
    const ada = await api.person({ email_verified_at: Date.now(), password_hash: null })
    const browser = await openBrowser(api, ada)
    const pkceCodeVerifier = openid.randomPKCECodeVerifier()
    const [expectedState, expectedNonce] = [openid.randomState(), openid.randomNonce()]
    const to = openid.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT,
      scope: scopes.join(' '),
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      nonce: expectedNonce,
    })
    expect(to.origin + to.pathname).toBe(`${ISSUER}/oauth/authorize`)
    const back = await authorize(browser, to.search.slice(1))
    const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
    const tokens = await openid.authorizationCodeGrant(config, back, checks)
    expect(tokens.claims()).toMatchObject({ sub: ada.id, aud: app.client_id })
    const who = await openid.fetchUserInfo(config, tokens.access_token, ada.id)
    expect(who).toMatchObject({ sub: ada.id, email: ada.email, email_verified: true })

    const next = await openid.refreshTokenGrant(config, tokens.refresh_token!)
    expect(next.claims()?.sub).toBe(ada.id)
    if (app.client_secret) {
      const about = await openid.tokenIntrospection(config, next.access_token)
      expect(about).toMatchObject({ active: true, sub: ada.id, client_id: app.client_id })
    }
    const out = openid.buildEndSessionUrl(config, {
      id_token_hint: next.id_token!,
      post_logout_redirect_uri: AFTER,
      state: 'bye',
    })
    const left = await browser('GET', out.pathname + out.search)
    expect(left.headers.get('location')).toBe(`${AFTER}?state=bye`)

    await openid.tokenRevocation(config, next.refresh_token!)
    await expect(openid.fetchUserInfo(config, next.access_token, ada.id)).rejects.toThrow()
    await expect(openid.refreshTokenGrant(config, next.refresh_token!)).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })
})

test('A service has tokens of its own, and asks about them', async () => {
  const service = await addApp(api, {
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['users:read'],
  })
  const config = await discover(service)
  const tokens = await openid.clientCredentialsGrant(config, { scope: 'users:read' })
  expect(await openid.tokenIntrospection(config, tokens.access_token)).toMatchObject({
    active: true,
    scope: 'users:read',
  })
  const { status } = await api.send('GET', '/v1/users', { token: tokens.access_token })
  expect(status).toBe(200)
  await expect(openid.clientCredentialsGrant(config, { scope: 'users:purge' })).rejects.toMatchObject({
    error: 'invalid_scope',
  })
})

test('A request that is pushed goes through, too', async () => {
  const app = await addApp(api)
  const config = await discover(app)
  const ada = await api.person({ email_verified_at: Date.now(), password_hash: null })
  const browser = await openBrowser(api, ada)
  const pkceCodeVerifier = openid.randomPKCECodeVerifier()
  const to = await openid.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: REDIRECT,
    scope: 'openid',
    code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  const back = await authorize(browser, to.search.slice(1))
  const tokens = await openid.authorizationCodeGrant(config, back, { pkceCodeVerifier })
  expect(tokens.claims()?.sub).toBe(ada.id)
})
