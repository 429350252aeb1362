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
const OF_ADMINS = [
  ...OF_MANAGERS,
  'users:delete',
  'users:purge',
  'users:export',
  'users:import',
  'cleanup:read',
  'mails:manage',
  'clients:manage',
  'webhooks:manage',
  'signups:manage',
  'tokens:introspect',
] as const

export type Permission = (typeof OF_ADMINS)[number]

export const ALL_PERMISSIONS: readonly Permission[] = OF_ADMINS

const PERMISSIONS: Record<Role, readonly Permission[]> = {
  user: OF_USERS,
  manager: OF_MANAGERS,
  admin: OF_ADMINS,
}

export const hasPermission = (role: Role, permission: Permission) => PERMISSIONS[role].includes(permission)

/** Whether a scope of an app is a permission. */
export const isPermission = (scope: string): scope is Permission =>
  (ALL_PERMISSIONS as readonly string[]).includes(scope)

/**
 * What a key may be given. No key deletes anybody, or exports everybody: that takes a login of the last ten
 * minutes. And introspecting tokens is for clients, not for keys.
 */
export const KEY_PERMISSIONS = ALL_PERMISSIONS.filter(
  (permission) => !['users:delete', 'users:purge', 'users:export', 'tokens:introspect'].includes(permission),
)

/**
 * Which scopes somebody with this role can grant to an app. They cannot give a permission that they lack
 * themselves.
 */
export const scopesWithin = (scopes: readonly string[], role: Role): string[] =>
  scopes.filter((scope) => !isPermission(scope) || hasPermission(role, scope))

/** The scope of a first-party app that acts as its user. */
export const ACCOUNT = 'account'

/**
 * Whether the actor may do something: by their role or, for an app, by its scopes. A key is looked up
 * together with the request's query, so what it needs is noted here, and decided there and in the condition
 * of a write.
 */
export function allows(
  actor: { role: Role; client?: { scopes: readonly string[] }; key?: { needs: Set<Permission> } },
  permission: Permission,
): boolean {
  actor.key?.needs.add(permission)
  if (actor.key) return true
  return actor.client && actsByPermission(actor)
    ? actor.client.scopes.includes(permission)
    : hasPermission(actor.role, permission)
}

/** Whether an actor has only the permissions it was given: a key, a service, or an app that does not act as its user. */
export const actsByPermission = ({ client, key }: { client?: { scopes: readonly string[] }; key?: object }) =>
  key !== undefined || (client !== undefined && !client.scopes.includes(ACCOUNT))

/**
 * The lowest rank that has a permission. An app acts by this one, and sees nothing that is for higher ranks.
 */
export const rankFor = (permission: Permission): Role =>
  ROLES.find((role) => hasPermission(role, permission)) ?? 'admin'

const rank = (role: Role) => ROLES.indexOf(role)

/** Nobody but an admin manages a user of their own or a higher rank, or raises anybody to one. */
export const outranks = (actor: Role, other: Role) => actor === 'admin' || rank(actor) > rank(other)
