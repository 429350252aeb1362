import { createPrivateKey } from 'node:crypto'
import * as z from 'zod'
import { lazy, type Of } from '../values/lazy.ts'
import { faultOfDomain, faultOfName, faultOfToken, isLoopback } from './checks.ts'

/** The identity providers that people can sign in with, as listed in IDENTITY_PROVIDERS. */
const PROVIDER_KINDS = ['google', 'microsoft', 'apple', 'github', 'oidc'] as const
export type ProviderKind = (typeof PROVIDER_KINDS)[number]

const ISSUERS: Record<Exclude<ProviderKind, 'oidc'>, string> = {
  google: 'https://accounts.google.com',
  microsoft: 'https://login.microsoftonline.com',
  apple: 'https://appleid.apple.com',
  github: 'https://github.com',
}
const NAMES: Partial<Record<ProviderKind, string>> = {
  google: 'Google',
  microsoft: 'Microsoft',
  apple: 'Apple',
  github: 'GitHub',
}

const Provider = lazy(() =>
  z.strictObject({
    id: z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/),
    kind: z.enum(PROVIDER_KINDS),
    name: z.string().max(60).optional(),
    issuer: z.string().optional(),
    client_id: z.string(),
    client_secret: z.string().optional(),
    team_id: z.string().optional(),
    key_id: z.string().optional(),
    private_key: z.string().optional(),
    tenants: z.array(z.string()).optional(),
    scopes: z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/)).optional(),
    signup: z.enum(['allow', 'deny']).default('allow'),
    domains: z.array(z.string().toLowerCase()).default([]),
    trusted_for_linking: z.boolean().default(false),
    trust_amr: z.boolean().default(false),
  }),
)

export type IdentityProvider = Readonly<
  Omit<Of<typeof Provider>, 'name' | 'issuer'> & {
    name: string
    /** For Microsoft, the prefix that all tenants' issuers share. */
    issuer: string
  }
>

/** Which entry of a list, for a sentence. */
export const placeOf = (index: number, { length }: readonly unknown[]) => `(entry ${index + 1} of ${length})`

/** The providers; or what is wrong with the list, without quoting it. */
export function providersIn(json: string): IdentityProvider[] | string {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return 'is not JSON'
  }
  if (!Array.isArray(value)) return 'is not a list'
  const providers: IdentityProvider[] = []
  for (const [index, entry] of value.entries()) {
    const place = placeOf(index, value)
    const { success, data, error } = Provider().safeParse(entry)
    if (!success) {
      const at = error.issues[0]?.path.join('.')
      const keys = error.issues[0]?.code === 'unrecognized_keys' ? 'a member that is not known' : undefined
      return `has ${keys ?? `a bad ${at || 'entry'}`} ${place}`
    }
    const name = data.name ?? NAMES[data.kind] ?? data.id
    const issuer = data.issuer ?? (data.kind === 'oidc' ? '' : ISSUERS[data.kind])
    const fault = faultOf({ ...data, name, issuer })
    if (fault) return `${fault} ${place}`
    if (providers.some(({ id }) => id === data.id)) return `has an id twice ${place}`
    providers.push({ ...data, name, issuer })
  }
  return providers
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Without these scopes the provider does not say who somebody is; Apple always does. */
const NEEDED_SCOPES: Partial<Record<ProviderKind, string[]>> = {
  google: ['openid'],
  microsoft: ['openid'],
  github: ['user:email', 'user'],
  oidc: ['openid'],
}

function faultOf(provider: IdentityProvider): string | undefined {
  if (faultOfName(provider.name)) return 'has a bad name'
  return faultOfIssuer(provider) ?? faultOfClient(provider) ?? faultOfTrust(provider)
}

/**
 * What is wrong with the issuer as written. Whether it may be called is checked in main.ts, which knows our
 * own addresses.
 */
function faultOfIssuer(provider: IdentityProvider): string | undefined {
  const { kind, issuer } = provider
  if (issuer === '') return 'has no issuer'
  const url = /^https?:\/\/[\x21-\x7e]+$/.test(issuer) ? URL.parse(issuer) : null
  if (!url) return 'has an issuer that is not a URL'
  if (/[?#]/.test(issuer) || url.username || url.password)
    return 'has an issuer with more than an origin and a path'
  // What it says about addresses would be believed as if Google or Apple had said it.
  if ((kind === 'google' || kind === 'apple') && issuer !== ISSUERS[kind] && !isLocalProvider(provider))
    return `has an issuer, and ${NAMES[kind]} has only its own`
  // Paths are appended to it.
  if (kind !== 'oidc' && issuer.endsWith('/')) return 'has an issuer that ends in a slash'
  return undefined
}

/** What is wrong with the credentials for the provider, or with the scopes requested. */
function faultOfClient({ kind, scopes, ...provider }: IdentityProvider): string | undefined {
  const { client_id, client_secret, team_id, key_id, private_key } = provider
  if (faultOfToken(client_id)) return 'has a bad client_id'
  if (client_secret !== undefined && faultOfToken(client_secret)) return 'has a bad client_secret'
  if (kind === 'apple') {
    if (client_secret !== undefined) return 'has a client_secret, and Apple’s is made from its private_key'
    if (team_id === undefined || key_id === undefined || private_key === undefined)
      return 'has no team_id, key_id or private_key'
    if (faultOfToken(team_id) ?? faultOfToken(key_id)) return 'has a bad team_id or key_id'
    if (!isKeyOfApple(private_key)) return 'has a private_key that is not a P-256 key as PEM'
  } else {
    if (team_id !== undefined || key_id !== undefined || private_key !== undefined)
      return 'has a team_id, key_id or private_key, which are Apple’s'
    if (kind !== 'oidc' && client_secret === undefined) return 'has no client_secret'
  }
  const needed = NEEDED_SCOPES[kind]
  if (scopes && needed && !needed.some((one) => scopes.includes(one)))
    return `has scopes without ${needed[0]}`
  return undefined
}

/** A key that is cut off, or of another kind, would otherwise fail only when somebody signs in. */
function isKeyOfApple(pem: string): boolean {
  try {
    const { asymmetricKeyDetails } = createPrivateKey(pem)
    return pem.startsWith('-----BEGIN PRIVATE KEY-----') && asymmetricKeyDetails?.namedCurve === 'prime256v1'
  } catch {
    return false
  }
}

/** What is wrong with whose identities are trusted, and how far. */
function faultOfTrust({ kind, tenants, domains, ...provider }: IdentityProvider): string | undefined {
  if (kind === 'microsoft' && (!tenants || tenants.length === 0 || !tenants.every((one) => UUID.test(one))))
    return 'has no tenants, by their ids'
  if (kind !== 'microsoft' && tenants !== undefined) return 'has tenants, which are Microsoft’s'
  if (domains.some((domain) => faultOfDomain(domain))) return 'has a domain that can match no address'
  if (kind === 'microsoft' && domains.length > 0) return 'has domains, and Microsoft proves no address'
  // Otherwise anybody who can put any address into a token there could take over the account with that
  // address.
  if (provider.trusted_for_linking && domains.length === 0)
    return 'has trusted_for_linking without the domains that it is trusted for'
  if (provider.trust_amr && kind === 'github') return 'has trust_amr, and GitHub says nothing of it'
  return undefined
}

/** Whether the provider is on this machine, which requires OUTBOUND_LOCAL. */
export const isLocalProvider = ({ issuer }: IdentityProvider) => isLoopback(new URL(issuer).hostname)
