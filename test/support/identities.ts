import { generateKeyPairSync } from 'node:crypto'
import { inject } from 'vitest'
import { type Api, openApi } from './api.ts'
import { openJar } from './jar.ts'
import type { Say } from './provider.ts'

export const TENANT = '11111111-2222-4333-8444-555555555555'
export const OTHER_TENANT = '99999999-2222-4333-8444-555555555555'
const secret = (name: string) => ({
  client_id: `client-${name}`,
  client_secret: `${name} s3cr3t`.replace(' ', '-'),
})

/** The key that signs requests to Apple is ours. */
export const APPLE_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
}) as string

/** One provider of each kind, all at the tests' provider. */
export function providersAt(url: string) {
  return [
    {
      id: 'corp',
      kind: 'oidc',
      name: 'Fjord',
      issuer: `${url}/corp`,
      domains: ['fjord.test'],
      ...secret('corp'),
    },
    { id: 'informs', kind: 'oidc', issuer: `${url}/informs`, domains: ['fjord.test'], ...secret('informs') },
    { id: 'any', kind: 'oidc', issuer: `${url}/any`, ...secret('any') },
    { id: 'iss', kind: 'oidc', issuer: `${url}/iss`, domains: ['fjord.test'], ...secret('iss') },
    {
      id: 'deny',
      kind: 'oidc',
      issuer: `${url}/deny`,
      domains: ['fjord.test'],
      signup: 'deny',
      ...secret('deny'),
    },
    {
      id: 'trusted',
      kind: 'oidc',
      issuer: `${url}/trusted`,
      domains: ['fjord.test'],
      trusted_for_linking: true,
      trust_amr: true,
      ...secret('trusted'),
    },
    { id: 'google', kind: 'google', issuer: `${url}/google`, ...secret('google') },
    {
      id: 'microsoft',
      kind: 'microsoft',
      issuer: `${url}/microsoft`,
      tenants: [TENANT],
      ...secret('microsoft'),
    },
    {
      id: 'tenants',
      kind: 'microsoft',
      issuer: `${url}/tenants`,
      tenants: [TENANT, '11111111-2222-4333-8444-666666666666'],
      ...secret('tenants'),
    },
    { id: 'github', kind: 'github', issuer: `${url}/github`, ...secret('github') },
    {
      id: 'apple',
      kind: 'apple',
      issuer: `${url}/apple`,
      client_id: 'client-apple',
      team_id: 'TEAM',
      key_id: 'KEY',
      private_key: APPLE_KEY,
    },
    ...['other_issuer', 'no_token_endpoint', 'elsewhere', 'moves', 'rekeyed', 'stale'].map((id) => ({
      id,
      kind: 'oidc',
      issuer: `${url}/${id}`,
      ...secret(id),
    })),
  ]
}

export const withProviders = (more: Record<string, string | undefined> = {}) => ({
  IDENTITY_PROVIDERS: JSON.stringify(providersAt(inject('providerUrl'))),
  OUTBOUND_LOCAL: 'on',
  ...more,
})
export const openWithProviders = (more: Record<string, string | undefined> = {}) =>
  openApi(withProviders(more))

type Jar = ReturnType<typeof openJar>

/** Goes to a provider from the sign-in page, as its button does. */
export async function goTo(jar: Jar, provider: string, on: Record<string, string> = {}) {
  const sure = await jar.tokenOf('/signin')
  const { to, status, text } = await jar.open(
    `/signin/with/${provider}?${new URLSearchParams({ sure, ...on })}`,
  )
  if (!to) throw new Error(`${status} ${text}`)
  return comingFrom(provider, to)
}

/** What the provider was asked, and how the browser comes back from it. */
export function comingFrom(provider: string, place: string) {
  const asked = new URL(place).searchParams
  const issuer = place.slice(0, place.indexOf('/authorize'))
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: issuer,
    aud: asked.get('client_id'),
    nonce: asked.get('nonce'),
    iat: now,
    exp: now + 300,
  }
  const codeOf = ({ claims: more, ...say }: Say) => {
    const said: Say = {
      challenge: asked.get('code_challenge')!,
      ...(more && { claims: { ...claims, ...more } }),
      ...say,
    }
    return Buffer.from(JSON.stringify(said)).toString('base64url')
  }
  // GitHub names its issuer (RFC 9207), without metadata that says so.
  const iss = { ...(issuer.endsWith('/login/oauth') && { iss: issuer }) }
  const back = (say: Say, more: Record<string, string> = {}) =>
    `/signin/with/${provider}/callback?${new URLSearchParams({ code: codeOf(say), state: asked.get('state')!, ...iss, ...more })}`
  return { asked, claims, back, codeOf, issuer }
}

/** The address of the button of a page that leads to a provider. */
export const placeIn = ({ text }: { text: string }) =>
  /href="(\/signin\/with\/[^"]+)"/.exec(text)![1]!.replaceAll('&amp;', '&')

/** The whole way, in one browser, as the person at the provider with these claims. */
export async function comeFrom(
  jar: Jar,
  provider: string,
  claims: Record<string, unknown>,
  on: Record<string, string> = {},
) {
  const { back } = await goTo(jar, provider, on)
  return jar.open(back({ claims }))
}

/** Submits the page that asks for a name. */
export const joinAs = (jar: Jar, provider: string, name = 'Ada', more: Record<string, string> = {}) =>
  jar.submit(`/signin/with/${provider}/join`, `/signin/with/${provider}/join`, { name, ...more })

export const newJar = (api: Api) => openJar(api)
export const isSignedIn = ({ jar }: Jar) => jar.has('__Host-roster')
export const identitiesOf = (api: Api, userId: string) =>
  api.sql('SELECT provider, subject, email FROM identities WHERE user_id = ? ORDER BY id', [userId])
