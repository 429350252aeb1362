import { ACCOUNT, ALL_PERMISSIONS } from '../access/permissions.ts'
import type { Config } from '../config/main.ts'

/** What every app may be given (OpenID Connect Core section 5.4); any other scope is the name of a permission, or `account`. */
export const OPENID_SCOPES = ['openid', 'profile', 'email', 'offline_access', 'roles'] as const

export const SCOPES = [...OPENID_SCOPES, ACCOUNT, ...ALL_PERMISSIONS] as const

/** The scopes of a request, each once (RFC 6749 section 3.3). */
export const scopesIn = (text: string | null | undefined): string[] => [
  ...new Set((text ?? '').split(' ').filter(Boolean)),
]

/**
 * Whether a token is asked for to be used here (RFC 8707): nobody who means another service is given one that is good for
 * this, and for nothing there.
 */
export const isOurResource = ({ ISSUER }: Pick<Config, 'ISSUER'>, resource: string | undefined) =>
  resource === undefined || resource === ISSUER || resource === `${ISSUER}/`
