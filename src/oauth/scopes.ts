import { ACCOUNT, ALL_PERMISSIONS } from '../access/permissions.ts'
import type { Config } from '../config/main.ts'
import { type Client, hasGrant } from './models.ts'

/** What every app may be given (OpenID Connect Core section 5.4); any other scope is the name of a permission, or `account`. */
export const OPENID_SCOPES = ['openid', 'profile', 'email', 'offline_access', 'roles'] as const

export const SCOPES = [...OPENID_SCOPES, ACCOUNT, ...ALL_PERMISSIONS] as const

/** The scopes of a request, each once (RFC 6749 section 3.3). */
export const scopesIn = (text: string | null | undefined): string[] => [
  ...new Set((text ?? '').split(' ').filter(Boolean)),
]

/**
 * What of a request's scopes its app may ask for; to go on without its user only where it could. Scopes that are not known
 * are passed over (OpenID Connect Core section 3.1.2.1), and so are the others.
 */
export function scopesToAsk(client: Pick<Client, 'scopes' | 'grants'>, text: string | undefined): string[] {
  const allowed = JSON.parse(client.scopes) as string[]
  return scopesIn(text).filter(
    (scope) =>
      allowed.includes(scope) &&
      (SCOPES as readonly string[]).includes(scope) &&
      (scope !== 'offline_access' || hasGrant(client, 'refresh_token')),
  )
}

/**
 * Whether a token is asked for to be used here (RFC 8707): nobody who means another service is given one that is good for
 * this, and for nothing there.
 */
export const isOurResource = ({ ISSUER }: Pick<Config, 'ISSUER'>, resource: string | undefined) =>
  resource === undefined || resource === ISSUER || resource === `${ISSUER}/`
