import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import type { Received } from '../support/receiver.ts'
import { openProvider, openUser, type Provider, refusalIn, requestOf, signIn } from './conformance.ts'
import { fetchOf } from './support.ts'

/* Like conformance.test.ts, for the plan for back-channel logout. */

const AFTER = 'https://app.example/signed-out'
const NAME = crypto.randomUUID()
const receiver = inject('receiverUrl').replace('127.0.0.1', 'localhost')
/** The receiver is on this machine, and so is a provider that may call it. */
const ISSUER = 'http://localhost:8787'
let provider: Provider

beforeAll(async () => {
  provider = await openProvider(
    { post_logout_redirect_uris: [AFTER], backchannel_logout_uri: `${receiver}/${NAME}/200` },
    { ISSUER, LINK_ORIGIN: ISSUER, OUTBOUND_LOCAL: 'on', PASSWORD_HASHES: 'full' } as object,
  )
})

const received = async () => (await (await fetch(`${receiver}/__of/${NAME}`)).json()) as Received[]

describe('Back-channel logout', () => {
  test('oidcc-backchannel-logout-discovery-endpoint-verification', () => {
    expect(provider.as).toMatchObject({
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
      end_session_endpoint: `${ISSUER}/oauth/logout`,
    })
  })

  test('oidcc-backchannel-rp-initiated-logout', async () => {
    const user = await openUser(provider.api)
    const { app, tokens, claims } = await signIn(provider, user)
    const state = crypto.randomUUID()
    const fields = { id_token_hint: tokens.id_token!, post_logout_redirect_uri: AFTER, state }
    const { location } = await user.visit('/oauth/logout', fields)
    expect(location?.href).toBe(`${AFTER}?state=${state}`)

    await expect.poll(async () => (await received()).length).toBe(1)
    const [told] = await received()
    expect([told!.method, told!.type]).toEqual([
      'POST',
      expect.stringMatching(/^application\/x-www-form-urlencoded/),
    ])
    const form = new URLSearchParams(told!.body)
    expect([...form.keys()]).toEqual(['logout_token'])
    const jwks = createRemoteJWKSet(new URL(provider.as.jwks_uri!), { [customFetch]: fetchOf(provider.api) })
    const { payload, protectedHeader } = await jwtVerify(form.get('logout_token')!, jwks, {
      issuer: ISSUER,
      audience: app.client_id,
      typ: 'logout+jwt',
      maxTokenAge: 60,
      requiredClaims: ['iat', 'exp', 'jti'],
    })
    expect(protectedHeader.alg).toBe(app.id_token_signed_response_alg)
    expect(payload).toMatchObject({ sub: claims.sub, sid: claims.sid })
    expect(payload.events).toEqual({ 'http://schemas.openid.net/event/backchannel-logout': {} })
    expect(payload).not.toHaveProperty('nonce')

    const asked = requestOf(app, { prompt: 'none' })
    const after = await user.visit('/oauth/authorize', asked)
    expect(refusalIn(after)).toEqual({
      error: 'login_required',
      state: asked.state,
      iss: ISSUER,
      code: undefined,
    })
  })
})
