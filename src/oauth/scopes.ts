import { ALL_PERMISSIONS, hasPermission, type Permission } from '../access/permissions.ts'
import type { Role } from '../users/models.ts'

/** What every app may be given (OpenID Connect Core section 5.4); any other scope is the name of a permission. */
export const OPENID_SCOPES = ['openid', 'profile', 'email', 'offline_access', 'roles'] as const

export const SCOPES = [...OPENID_SCOPES, ...ALL_PERMISSIONS] as const

export const isPermission = (scope: string): scope is Permission =>
  (ALL_PERMISSIONS as readonly string[]).includes(scope)

/** The scopes of a request, each once (RFC 6749 section 3.3). */
export const scopesIn = (text: string | null | undefined): string[] => [
  ...new Set((text ?? '').split(' ').filter(Boolean)),
]

/** What of it somebody of this role can let an app do: a permission that they lack themselves is none of theirs to give. */
export const scopesWithin = (scopes: readonly string[], role: Role): string[] =>
  scopes.filter((scope) => !isPermission(scope) || hasPermission(role, scope))
