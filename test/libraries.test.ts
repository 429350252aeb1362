import { createExecutionContext } from 'cloudflare:test'
import * as oauth from 'oauth4webapi'
import { beforeAll, expect, test } from 'vitest'
import worker from '../src/index.ts'
import { type Actor, openApi } from './support/api.ts'

/* What we publish about ourselves, read by somebody else's library: what it refuses, conforming servers refuse. */

const api = openApi()
let ada: Actor
beforeAll(async () => {
  ada = await api.actor()
})

/** The library's requests go to the Worker. */
const through = {
  [oauth.customFetch]: (url: string, init: object) =>
    worker.fetch(
      new Request(url, init),
      api.bindings as never,
      createExecutionContext(),
    ) as Promise<Response>,
}

async function discover(): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(api.config().ISSUER)
  const answer = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...through })
  return oauth.processDiscoveryResponse(issuer, answer)
}

/** The answers to a GET without parameters; the others are 200. */
const STATUS: Record<string, number> = {
  authorization_endpoint: 400,
  pushed_authorization_request_endpoint: 405,
  device_authorization_endpoint: 405,
  token_endpoint: 405,
  introspection_endpoint: 405,
  revocation_endpoint: 405,
  userinfo_endpoint: 401,
  end_session_endpoint: 303,
}

test('AT6: the metadata are where they belong, and everything they name works', async () => {
  const server = await discover()
  expect(server.issuer).toBe(api.config().ISSUER)
  for (const [name, value] of Object.entries(server)) {
    if (!/_(endpoint|uri)$|^service_documentation$/.test(name)) continue
    const answer = await api.send('GET', new URL(value as string).pathname)
    expect([name, answer.status]).toEqual([name, STATUS[name] ?? 200])
  }
})

test('AT5, CK1: a resource server accepts an access token, with the keys that the metadata lead to', async () => {
  const server = await discover()
  const { AUDIENCE } = api.config()
  const { token } = ada
  const asking = (text: string) =>
    new Request('https://resource.test/', { headers: { authorization: `Bearer ${text}` } })
  const claims = await oauth.validateJwtAccessToken(server, asking(token), AUDIENCE, through)
  expect(claims).toMatchObject({ sub: ada.id, iss: server.issuer, aud: AUDIENCE })
  const forged = token.slice(0, -4) + (token.endsWith('AAAA') ? 'BBBA' : 'AAAA')
  await expect(oauth.validateJwtAccessToken(server, asking(forged), AUDIENCE, through)).rejects.toThrow()
})

test('ER1: the library learns from a refusal what to do about it', async () => {
  const url = new URL(`${api.config().ISSUER}/v1/users`)
  const refusal = await oauth
    .protectedResourceRequest(ada.token, 'GET', url, undefined, undefined, through)
    .catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(oauth.WWWAuthenticateChallengeError)
  const [challenge] = (refusal as oauth.WWWAuthenticateChallengeError).cause
  expect(challenge).toMatchObject({ scheme: 'bearer', parameters: { error: 'insufficient_scope' } })
})
