import * as z from 'zod'
import { lazy, type Of } from '../values/lazy.ts'
import { faultOfDomain, faultOfName, faultOfToken, isLoopback } from './checks.ts'

/** Whoever people sign in with: a list in IDENTITY_PROVIDERS. */
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
    /** Of Microsoft, the beginning of what each tenant's is. */
    issuer: string
  }
>

/** What is wrong with the list, without what stands in it; or the providers. */
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
    const place = `(entry ${index + 1} of ${value.length})`
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

function faultOf(provider: IdentityProvider): string | undefined {
  const { kind, name, issuer, client_id, client_secret, domains, tenants } = provider
  if (faultOfName(name)) return 'has a bad name'
  if (issuer === '') return 'has no issuer'
  if (!URL.parse(issuer)) return 'has an issuer that is no URL'
  const { protocol, port, hostname } = new URL(issuer)
  if (!isLoopback(hostname) && (protocol !== 'https:' || port !== ''))
    return 'has an issuer that is not https:// on port 443'
  if (/[?#]/.test(issuer)) return 'has an issuer with more than an origin and a path'
  if (faultOfToken(client_id)) return 'has a bad client_id'
  if (client_secret !== undefined && faultOfToken(client_secret)) return 'has a bad client_secret'
  if (kind !== 'oidc' && kind !== 'apple' && client_secret === undefined) return 'has no client_secret'
  const isSigning = [provider.team_id, provider.key_id, provider.private_key].map((one) => one !== undefined)
  if (kind === 'apple' ? isSigning.includes(false) : isSigning.includes(true))
    return kind === 'apple'
      ? 'has no team_id, key_id or private_key'
      : 'has a team_id, key_id or private_key, which are Apple’s'
  if (provider.private_key !== undefined && !/-----BEGIN PRIVATE KEY-----/.test(provider.private_key))
    return 'has a private_key that is not PEM'
  if (kind === 'microsoft' && (!tenants || tenants.length === 0 || !tenants.every((one) => UUID.test(one))))
    return 'has no tenants, by their ids'
  if (kind !== 'microsoft' && tenants !== undefined) return 'has tenants, which are Microsoft’s'
  if (domains.some((domain) => faultOfDomain(domain))) return 'has a domain that can match no address'
  // Else whoever can have an address there written into a token has the account that is here.
  if (provider.trusted_for_linking && domains.length === 0)
    return 'has trusted_for_linking without the domains that it is trusted for'
  if (provider.trust_amr && kind === 'github') return 'has trust_amr, and GitHub says nothing of it'
  return undefined
}

/** Whether one of them is on this machine, which takes OUTBOUND_LOCAL. */
export const isLocalProvider = ({ issuer }: IdentityProvider) => isLoopback(new URL(issuer).hostname)
