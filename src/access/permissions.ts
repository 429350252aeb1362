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
  'cleanup:read',
  'mails:manage',
  'clients:manage',
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

const rank = (role: Role) => ROLES.indexOf(role)

/** Nobody manages a person of their own or a higher rank, nor lifts one there; admins excepted. */
export const outranks = (actor: Role, other: Role) => actor === 'admin' || rank(actor) > rank(other)
