import { ACCOUNT, ALL_PERMISSIONS } from '../access/permissions.ts'
import { type Client, hasGrant, isOfOpenId, OPENID_SCOPES } from './models.ts'

export const SCOPES = [...OPENID_SCOPES, ACCOUNT, ...ALL_PERMISSIONS] as const

/** The scopes of a request, each once (RFC 6749 section 3.3). */
export const scopesIn = (text: string | null | undefined): string[] => [
  ...new Set((text ?? '').split(' ').filter(Boolean)),
]

/** Of OpenID's scopes: those that say more than who somebody is at userinfo, which takes no token for another service. */
const BESIDE_RESOURCE = ['openid', 'offline_access', 'roles']

/** What an app may ask for; of a resource, what that defines. */
export function scopesOf(client: Pick<Client, 'scopes'>, resource?: { scopes: readonly string[] }): string[] {
  const own = JSON.parse(client.scopes) as string[]
  return resource
    ? [...own.filter((scope) => BESIDE_RESOURCE.includes(scope)), ...resource.scopes]
    : own.filter((scope) => (SCOPES as readonly string[]).includes(scope))
}

/**
 * What of a request's scopes its app may ask for; to go on without its user only where it could. Scopes that are not known
 * are passed over (OpenID Connect Core section 3.1.2.1), and so are the others. A token for a resource that may do nothing
 * there is none.
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
