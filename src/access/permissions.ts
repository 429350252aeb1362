import { reauthenticationRequired } from '../auth/errors.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { ROLES, type Role } from '../users/models.ts'

const OF_USERS = [] as const
const OF_MANAGERS = [
  ...OF_USERS,
  'users:read',
  'users:create',
  'users:update',
  'sessions:manage',
  'activity:read',
] as const
const OF_ADMINS = [...OF_MANAGERS, 'users:delete', 'users:purge', 'users:export', 'cleanup:read'] as const

export type Permission = (typeof OF_ADMINS)[number]

const PERMISSIONS: Record<Role, readonly Permission[]> = {
  user: OF_USERS,
  manager: OF_MANAGERS,
  admin: OF_ADMINS,
}

export const hasPermission = (role: Role, permission: Permission) => PERMISSIONS[role].includes(permission)

const rank = (role: Role) => ROLES.indexOf(role)

/** Nobody manages a person of their own or a higher rank, nor lifts one there; admins excepted. */
export const outranks = (actor: Role, other: Role) => actor === 'admin' || rank(actor) > rank(other)

const RECENT_LOGIN_SECONDS = 600

/**
 * For what cannot be undone, or gives power away: a session left open, or a stolen token, is not enough. A refresh
 * is no login.
 *
 * @param now epoch ms.
 * @throws 403 `reauthentication_required`.
 */
export function requireRecentLogin(actor: Pick<Claims, 'auth_time'>, now: number): void {
  if (now / 1000 - actor.auth_time > RECENT_LOGIN_SECONDS) throw reauthenticationRequired()
}
