import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { inject } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { type Begun, begin, ISSUER } from '../openid/support.ts'
import { type Api, openApi } from './api.ts'
import { limiter } from './limiter.ts'
import { REDIRECT } from './oauth.ts'
import { openBrowser } from './pages.ts'
import type { How } from './provider.ts'
import { freshUpstreams } from './upstreams.ts'

/** Unregistered apps: each describes itself at the URL that is its id. */

export const url = inject('providerUrl')
export const { host } = new URL(url)

/** Publishes a document, and returns its URL. */
export async function publish(given: object = {}, how?: How, path = `/apps/${crypto.randomUUID()}`) {
  const document = {
    client_id: `${url}${path}`,
    client_name: 'Scribe',
    redirect_uris: [REDIRECT],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
    ...given,
  }
  const body = JSON.stringify({ document, how })
  await fetch(`${url}/__app?${new URLSearchParams({ path })}`, { method: 'POST', body })
  return `${url}${path}`
}
export const timesRead = async (id: string) =>
  ((await (await fetch(`${url}/__asked`)).json()) as Record<string, number>)[id.slice(url.length)] ?? 0

export const asApp = (id: string) => ({ client_id: id }) as unknown as ClientWithSecret
export const redeeming = (id: string, location: URL, { verifier }: Begun) => ({
  client_id: id,
  grant_type: 'authorization_code',
  code: location.searchParams.get('code') ?? '',
  redirect_uri: REDIRECT,
  code_verifier: verifier,
})

/** The key that authenticates a confidential app. */
export async function keyOf(id: string) {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const assert = async (as = id) => ({
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await new SignJWT({ jti: crypto.randomUUID() })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(as)
      .setSubject(as)
      .setAudience(ISSUER)
      .setExpirationTime('2m')
      .sign(privateKey),
  })
  return { jwks: { keys: [await exportJWK(publicKey)] }, assert, privateJwk: await exportJWK(privateKey) }
}

/** A deployment that accepts such apps, and the people who use it. */
export async function takingApps() {
  const own = await freshUpstreams()
  const bindings: Record<string, unknown> = {
    ...own.bindings,
    CLIENT_METADATA: 'on',
    OUTBOUND_LOCAL: 'on',
    RATE_LIMIT_DOCUMENTS: limiter(1e6),
  }
  const api = openApi(bindings as never)
  return { bindings, api, ...visitorsOf(api) }
}

export function visitorsOf(api: Api) {
  const somebody = (given: object = {}) =>
    api.person({ email_verified_at: Date.now(), password_hash: null, ...given })
  const open = async () => openBrowser(api, await somebody())
  return {
    somebody,
    open,
    /** Somebody follows such an app's request. Returns the page that they see. */
    come: async (
      id: string,
      given: Record<string, string> = {},
      browser?: Awaited<ReturnType<typeof open>>,
    ) => (browser ?? (await open()))('GET', `/oauth/authorize?${(await begin(asApp(id), given)).search}`),
    post: async (path: string, fields: Record<string, string>) => {
      const { status, body } = await api.send('POST', path, { raw: new URLSearchParams(fields) })
      return { status, body: body as Record<string, string> }
    },
  }
}
