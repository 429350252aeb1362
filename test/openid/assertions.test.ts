import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { ISSUER } from './support.ts'

/** What authenticates a client by its key (RFC 7523), and what does not. */

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const PKCE = { code_challenge: 'c'.repeat(43), code_challenge_method: 'S256' }
const pair = await generateKeyPair('ES256', { extractable: true })
let api: ReturnType<typeof openApi>
let app: ClientWithSecret
let other: ClientWithSecret

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  const { kty, crv, x, y } = await exportJWK(pair.publicKey)
  const ofKey = {
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ kty, crv, x, y }] },
    grants: ['authorization_code', 'refresh_token', DEVICE_CODE],
  }
  app = await addApp(api, ofKey)
  other = await addApp(api, ofKey)
})

const seconds = () => Math.floor(Date.now() / 1000)
/** `undefined` leaves a claim out. */
async function sign(given: Record<string, unknown> = {}): Promise<string> {
  const claims = {
    iss: app.client_id,
    sub: app.client_id,
    aud: ISSUER,
    jti: crypto.randomUUID(),
    exp: seconds() + 120,
    ...given,
  }
  return new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).sign(pair.privateKey)
}
const send = async (path: string, fields: Record<string, string>) => {
  const { status, body } = await api.send('POST', path, { raw: new URLSearchParams(fields) })
  return { status, error: body?.error }
}
const prove = (client_assertion: string, more: Record<string, string> = {}) =>
  send('/oauth/token', {
    client_assertion_type: TYPE,
    client_assertion,
    grant_type: 'refresh_token',
    refresh_token: 'x',
    ...more,
  })
/** The client authenticated, but what it sent is invalid. */
const KNOWN = { status: 400, error: 'invalid_grant' }
const NOBODY = { status: 401, error: 'invalid_client' }

test.each([
  ['/oauth/token', { grant_type: 'refresh_token', refresh_token: 'x' }, 400],
  ['/oauth/par', { redirect_uri: REDIRECT, response_type: 'code', scope: 'openid', ...PKCE }, 201],
  ['/oauth/device_authorization', { scope: 'openid' }, 200],
  ['/oauth/introspect', { token: 'x' }, 200],
  ['/oauth/revoke', { token: 'x' }, 200],
] as const)('%s: it proves its client, once, and nothing less does', async (path, fields, status) => {
  const proof = { client_assertion_type: TYPE, client_assertion: await sign() }
  expect(await send(path, { ...fields, ...proof })).toMatchObject({ status })
  for (const less of [
    proof,
    { client_id: app.client_id },
    { client_id: app.client_id, client_secret: 'cs_x' },
    { ...proof, client_assertion: await sign({ aud: `${ISSUER}/oauth/token` }) },
  ])
    expect([path, await send(path, { ...fields, ...less })]).toEqual([path, NOBODY])
})

describe('It is refused', () => {
  test.each<[string, () => Record<string, unknown>]>([
    ['for the token endpoint', () => ({ aud: `${ISSUER}/oauth/token` })],
    ['for us among others', () => ({ aud: [ISSUER, 'https://other.example'] })],
    ['for us with a slash', () => ({ aud: `${ISSUER}/` })],
    ['for nobody', () => ({ aud: undefined })],
    ['of another client', () => ({ iss: other.client_id })],
    ['about another client', () => ({ sub: other.client_id })],
    ['of nobody', () => ({ iss: undefined })],
    ['after its end', () => ({ exp: seconds() - 31 })],
    ['without an end', () => ({ exp: undefined })],
    ['for longer than five minutes', () => ({ exp: seconds() + 340 })],
    ['before it begins', () => ({ nbf: seconds() + 60 })],
    ['without an id', () => ({ jti: undefined })],
    ['with an id that is no text', () => ({ jti: 7 })],
    ['with an id that is too long', () => ({ jti: 'x'.repeat(256) })],
  ])('%s', async (_, given) => {
    expect(await prove(await sign(given()))).toEqual(NOBODY)
  })

  test('beside another name, or of another type', async () => {
    expect(await prove(await sign(), { client_id: other.client_id })).toEqual(NOBODY)
    expect(await prove(await sign(), { client_assertion_type: 'x' })).toEqual(NOBODY)
  })

  test('AT1: without a signature, or with the public key used as a secret', async () => {
    const [, body] = (await sign()).split('.')
    const head = (alg: string) => Buffer.from(JSON.stringify({ alg })).toString('base64url')
    for (const none of [`${head('none')}.${body}.`, `${head('ES256')}.${body}.`])
      expect(await prove(none)).toEqual(NOBODY)
    const key = new TextEncoder().encode(await exportSPKI(pair.publicKey))
    const claims = { iss: app.client_id, sub: app.client_id, aud: ISSUER, jti: crypto.randomUUID() }
    const forged = new SignJWT({ ...claims, exp: seconds() + 120 }).setProtectedHeader({ alg: 'HS256' })
    expect(await prove(await forged.sign(key))).toEqual(NOBODY)
  })
})

test('It is accepted with an audience list of us only, for five minutes, and beside its own client id', async () => {
  expect(await prove(await sign({ aud: [ISSUER] }))).toEqual(KNOWN)
  expect(await prove(await sign({ exp: seconds() + 300 }))).toEqual(KNOWN)
  expect(await prove(await sign(), { client_id: app.client_id })).toEqual(KNOWN)
})

test('Of ten identical ones at once, one is accepted; another client’s with the same id is a different one', async () => {
  const jti = crypto.randomUUID()
  const one = await sign({ jti })
  const answers = await Promise.all(Array.from({ length: 10 }, () => prove(one)))
  expect(answers.filter(({ error }) => error === 'invalid_grant')).toHaveLength(1)
  expect(answers.filter(({ error }) => error === 'invalid_client')).toHaveLength(9)
  const another = await sign({ jti, iss: other.client_id, sub: other.client_id })
  expect(await prove(another)).toEqual(KNOWN)
})
