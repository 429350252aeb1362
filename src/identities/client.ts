import { importPKCS8, SignJWT } from 'jose'
import * as oauth from 'oauth4webapi'
import type { IdentityProvider } from '../config/providers.ts'
import type { Resources } from '../context.ts'
import { notFound, Refusal } from '../http/problem.ts'
import { YEAR_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import { type Attempt, nonceOf, stateOf, verifierOf } from './attempts.ts'
import { providerFailed, providerRefused } from './errors.ts'
import { githubProfile } from './github.ts'
import {
  askFor,
  cacheMetadata,
  insecure,
  markDoubtful,
  type Published,
  readProviderMetadata,
} from './metadata.ts'
import { type Profile, profileIn } from './profiles.ts'

/** One of IDENTITY_PROVIDERS. Throws 404. */
export function requireProvider({ config }: Pick<Resources, 'config'>, id: string): IdentityProvider {
  const provider = config.IDENTITY_PROVIDERS.find((one) => one.id === id)
  if (!provider) throw notFound()
  return provider
}

const SCOPES: Record<IdentityProvider['kind'], string[]> = {
  google: ['openid', 'email', 'profile'],
  microsoft: ['openid', 'email', 'profile'],
  apple: ['openid', 'email', 'name'],
  github: ['read:user', 'user:email'],
  oidc: ['openid', 'email', 'profile'],
}

/**
 * Whether it can be told to ask for credentials again, and says when it did. Google ignores `prompt=login`;
 * GitHub has no such thing.
 */
export const canReauthenticate = ({ kind }: IdentityProvider) => kind !== 'google' && kind !== 'github'

/** Makes the provider say when it last authenticated the user (`auth_time`), without asking again. */
const WITH_AUTH_TIME: Partial<Record<IdentityProvider['kind'], Record<string, string>>> = {
  // https://developers.google.com/identity/siwg/security-bundle
  google: { claims: '{"id_token":{"auth_time":{"essential":true}}}' },
  // OpenID Connect Core section 2: with `max_age`, `auth_time` is required. A year forces no new login.
  oidc: { max_age: String(YEAR_MS / 1000) },
}

/** One for each provider, so that a response from one is worthless at another's (RFC 9700 section 4.4.2). */
const callbackOf = ({ config }: Pick<Resources, 'config'>, { id }: Pick<IdentityProvider, 'id'>) =>
  `${config.ISSUER}/signin/with/${id}/callback`

/**
 * The URL at which the provider authenticates somebody. Always with PKCE, state and nonce.
 *
 * @throws 502 `provider_failed`.
 */
export async function authorizationUrl(
  resources: Resources,
  provider: IdentityProvider,
  attempt: Attempt,
): Promise<string> {
  const { config } = resources
  const published = await readProviderMetadata(resources, provider).catch((cause) => {
    throw providerFailed(cause)
  })
  const { server } = published
  const url = URL.parse(server.authorization_endpoint ?? '')
  if (!url || !/^https?:$/.test(url.protocol)) {
    markDoubtful(provider, published)
    throw providerFailed(new Refusal('provider_metadata'))
  }
  const isOfGitHub = provider.kind === 'github'
  const parameters = {
    client_id: provider.client_id,
    redirect_uri: callbackOf(resources, provider),
    response_type: 'code',
    scope: (provider.scopes ?? SCOPES[provider.kind]).join(' '),
    state: stateOf(config, attempt),
    code_challenge: await oauth.calculatePKCECodeChallenge(verifierOf(config, attempt)),
    code_challenge_method: 'S256',
    ...(!isOfGitHub && { nonce: nonceOf(config, attempt) }),
    ...(provider.kind === 'apple' && { response_mode: 'form_post' }),
    ...(attempt.purpose === 'again' ? { max_age: '0', prompt: 'login' } : WITH_AUTH_TIME[provider.kind]),
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

/**
 * Who somebody is, by the response they came back with. Redeems the code once and checks the whole ID token.
 * The provider's own tokens are discarded.
 *
 * @throws 502 `provider_failed`, for anything invalid; 403 `provider_refused`.
 */
export async function profileOf(
  resources: Resources,
  provider: IdentityProvider,
  attempt: Attempt,
  answered: URLSearchParams,
): Promise<Profile> {
  let published: Published | undefined
  try {
    if (attempt.purpose === 'again' && !canReauthenticate(provider)) throw new Refusal('provider_auth_time')
    published = await readProviderMetadata(resources, provider)
    return await ask(resources, provider, attempt, answered, published)
  } catch (cause) {
    if (cause instanceof oauth.AuthorizationResponseError)
      throw providerRefused(new Refusal('provider_refused'))
    if (published) markDoubtful(provider, published)
    throw providerFailed(cause)
  }
}

async function ask(
  resources: Resources,
  provider: IdentityProvider,
  attempt: Attempt,
  answered: URLSearchParams,
  published: Published,
): Promise<Profile> {
  const { config } = resources
  const server = { ...published.server }
  const client = { client_id: provider.client_id, [oauth.clockTolerance]: 30 }
  const options = { [oauth.customFetch]: askFor(config), ...insecure(config) }
  const checked = oauth.validateAuthResponse(
    server,
    client,
    withoutOthers(answered),
    answered.get('state') ?? oauth.expectNoState,
  )
  const answer = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    await authenticationOf(provider),
    checked,
    callbackOf(resources, provider),
    verifierOf(config, attempt),
    options,
  )
  if (provider.kind === 'github') {
    const { access_token } = await oauth.processAuthorizationCodeResponse(server, client, answer)
    return githubProfile(config, provider, access_token)
  }
  // Each tenant has its own issuer, which the token names. It must be one that is allowed.
  if (provider.kind === 'microsoft') server.issuer = await issuerOfTenant(provider, answer)
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, {
    expectedNonce: nonceOf(config, attempt),
    requireIdToken: true,
    // They may stay there for a while, but must have been authenticated since they left, and counts as recent from now on.
    ...(attempt.purpose === 'again' && { maxAge: Math.min(secondsSince(attempt), LONGEST_STAY_SECONDS) }),
  })
  const keys = keysOf(published)
  const before = keys.jwks
  await oauth.validateApplicationLevelSignature(server, answer, { ...options, [oauth.jwksCache]: keys })
  if (keys.jwks !== before) cacheMetadata(resources, provider, { ...published, keys })
  const claims = oauth.getValidatedIdTokenClaims(tokens)!
  // OpenID Connect Core section 2.
  if (!/^[\x20-\x7e]{1,255}$/.test(claims.sub)) throw new Refusal('provider_subject')
  return profileIn(provider, await withAddress(provider, server, client, tokens, claims, options), answered)
}

const LONGEST_STAY_SECONDS = 300
const secondsSince = ({ id }: Attempt) => Math.max(0, Math.ceil((Date.now() - timeOfId(id)) / 1000))

/** Some providers give these claims only at the userinfo endpoint, not in the ID token (Core section 5.4). */
async function withAddress(
  { kind }: IdentityProvider,
  server: oauth.AuthorizationServer,
  client: oauth.Client,
  { access_token }: oauth.TokenEndpointResponse,
  claims: oauth.IDToken,
  options: object,
): Promise<oauth.IDToken> {
  if (kind !== 'oidc' || claims.email !== undefined || !server.userinfo_endpoint) return claims
  const answer = await oauth.userInfoRequest(server, client, access_token, options)
  const { email, email_verified, name } = await oauth.processUserInfoResponse(
    server,
    client,
    claims.sub,
    answer,
  )
  return { name, ...claims, email, email_verified }
}

/** The response without the parameters that are not part of it. */
const withoutOthers = (answered: URLSearchParams) => {
  const own = new URLSearchParams(answered)
  own.delete('user')
  return own
}

/**
 * The library accepts keys read within five minutes; ours are up to an hour old, and read again for an
 * unknown kid.
 */
function keysOf({ keys }: Published): oauth.JWKSCacheInput {
  if (!('jwks' in keys)) return {}
  return { jwks: keys.jwks, uat: Math.max(keys.uat as number, Math.floor(Date.now() / 1000) - 299) }
}

async function issuerOfTenant({ issuer, tenants = [] }: IdentityProvider, answer: Response): Promise<string> {
  const { id_token } = (await answer.clone().json()) as { id_token?: unknown }
  const claims = JSON.parse(Buffer.from(String(id_token).split('.')[1] ?? '', 'base64url').toString())
  if (!tenants.includes(claims.tid)) throw new Refusal('provider_tenant')
  return `${issuer}/${claims.tid}/v2.0`
}

/** Apple's client secret is a token, signed for each call. */
async function authenticationOf(provider: IdentityProvider): Promise<oauth.ClientAuth> {
  const { kind, client_id, client_secret, issuer } = provider
  if (kind !== 'apple')
    return client_secret === undefined ? oauth.None() : oauth.ClientSecretPost(client_secret)
  const secret = await new SignJWT()
    .setProtectedHeader({ alg: 'ES256', kid: provider.key_id! })
    .setIssuer(provider.team_id!)
    .setSubject(client_id)
    .setAudience(issuer)
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(await importPKCS8(provider.private_key!, 'ES256'))
  return oauth.ClientSecretPost(secret)
}
