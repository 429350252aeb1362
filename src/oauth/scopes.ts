import { ACCOUNT, ALL_PERMISSIONS } from '../access/permissions.ts'
import { type Client, hasGrant, isOfOpenId, OPENID_SCOPES } from './models.ts'

export const SCOPES = [...OPENID_SCOPES, ACCOUNT, ...ALL_PERMISSIONS] as const

/** The scopes of a request, without duplicates (RFC 6749 section 3.3). */
export const scopesIn = (text: string | null | undefined): string[] => [
  ...new Set((text ?? '').split(' ').filter(Boolean)),
]

/** OpenID scopes that matter beyond userinfo, which does not accept tokens for another service. */
const BESIDE_RESOURCE = ['openid', 'offline_access', 'roles']

/** The scopes that an app may ask for; for a resource, those it defines. */
export function scopesOf(client: Pick<Client, 'scopes'>, resource?: { scopes: readonly string[] }): string[] {
  const own = JSON.parse(client.scopes) as string[]
  return resource
    ? [...own.filter((scope) => BESIDE_RESOURCE.includes(scope)), ...resource.scopes]
    : own.filter((scope) => (SCOPES as readonly string[]).includes(scope))
}

/**
 * The requested scopes that the app may ask for; `offline_access` only if it can use it. Unknown scopes are
 * ignored (OpenID Connect Core section 3.1.2.1), and so are those not allowed. Empty for a resource if no
 * scope of its own is left.
 */
export function scopesToAsk(
  client: Pick<Client, 'scopes' | 'grants'>,
  text: string | undefined,
  resource?: { scopes: readonly string[] },
): string[] {
  const allowed = scopesOf(client, resource)
  const scopes = scopesIn(text).filter(
    (scope) => allowed.includes(scope) && (scope !== 'offline_access' || hasGrant(client, 'refresh_token')),
  )
  return resource && scopes.every(isOfOpenId) ? [] : scopes
}
