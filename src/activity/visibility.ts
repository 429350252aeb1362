import { allows, hasPermission, outranks } from '../access/permissions.ts'
import type { Role } from '../users/models.ts'
import { membersOf } from './details.ts'
import type { ActivityLog } from './models.ts'

/**
 * Who reads: the caller of a list, with the role in their token; or the subject of an export, with the role
 * `user`.
 */
export interface Reader {
  id: string
  role: Role
  /** Whether they may know of deleted users. */
  seesDeleted: boolean
}

/** The part of the caller's token that is needed. */
export interface Asking {
  sub: string
  role: Role
  client?: { scopes: readonly string[] }
}

/**
 * The caller of a list. Deleted users are visible only to those who may delete and restore: by their rank;
 * and an app or a service, which has the lowest rank for the route, by its scopes. No key may.
 */
export const readerOf = (actor: Asking): Reader => ({
  id: actor.sub,
  role: actor.role,
  seesDeleted:
    hasPermission(actor.role, 'users:delete') ||
    (actor.client !== undefined && allows(actor, 'users:delete')),
})

/** Somebody who reads what is about themselves, or the subject of an export: as any user. */
export const ownReader = (id: string): Reader => ({ id, role: 'user', seesDeleted: false })

/** The current data of the subject and the actor of a row. No role: they have been purged. */
export interface Known {
  subject_role: Role | null
  subject_deleted_at: number | null
  actor_role: Role | null
}

/** For a reader who is not a manager, it does not matter who the others are. */
const NOTHING_KNOWN: Known = { subject_role: null, subject_deleted_at: null, actor_role: null }

export const NO_ORIGIN = { ip: null, user_agent: null, country: null } as const

/** Whether a reader may know of a user. */
export const seesUser = ({ seesDeleted }: Reader, user: { deleted_at: number | null }): boolean =>
  user.deleted_at === null || seesDeleted

/**
 * Whether a reader may see from where a user acts: only their own origin, and that of users whom they
 * outrank.
 */
export const seesOriginOf = (
  reader: Pick<Reader, 'id' | 'role'>,
  user: { id: string; role: Role },
): boolean => user.id === reader.id || outranks(reader.role, user.role)

/** Columns that identify people. */
const PERSONAL = ['email', 'email_normalized', 'name', 'new_email', 'new_email_normalized']

/** What an export keeps of a row about somebody else: that it exists, its time, and the id. */
export const withoutOthers = (row: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, PERSONAL.includes(name) ? null : value]),
  )

/**
 * What a reader sees of a row of history, by their relation to it. Lists, exports and pages all ask here.
 *
 * - Managers see the rows about users whom they may see: those about deleted users need the permission to see
 *   these.
 * - The subject sees the row; but of a disabling neither the reason nor the actor, unless they outrank the
 *   actor.
 * - An actor who is not a manager (any more) sees that they did it, when, and to which id.
 * - The origin (network, device, country) is for the actor, and for those who outrank them.
 *
 * @returns undefined for a row that the reader must not know of.
 */
export function visibleTo(
  reader: Reader,
  row: ActivityLog,
  known: Known = NOTHING_KNOWN,
): ActivityLog | undefined {
  const isSubject = row.user_id === reader.id
  const isActor = row.actor_id !== null && row.actor_id === reader.id
  const reads = hasPermission(reader.role, 'activity:read')
  // Nothing is known of purged users, and they count as deleted.
  const isGone = row.user_id !== null && known.subject_role === null
  const manages = reads && seesUser(reader, { deleted_at: isGone ? 0 : known.subject_deleted_at })
  if (!isSubject && !manages && (reads || !isActor)) return undefined

  const seen = manages && outranksWhoever(reader, row, known)
  const origin = isActor || seen ? {} : NO_ORIGIN
  if (!isSubject && !manages) return { ...row, ...origin, details: null }
  if (isSubject && !isActor && !seen && row.action === 'user.disabled') {
    return { ...row, ...origin, actor_id: null, details: withoutReason(row) }
  }
  return { ...row, ...origin }
}

/**
 * Whether a reader outranks the actor; if that is the system, the subject. Purged users may have had any
 * role.
 */
function outranksWhoever(reader: Reader, row: ActivityLog, { subject_role, actor_role }: Known): boolean {
  const id = row.actor_id ?? row.user_id
  const role = (row.actor_id === null ? subject_role : actor_role) ?? 'admin'
  return id === null || outranks(reader.role, role)
}

function withoutReason(row: ActivityLog): string | null {
  if (row.details === null) return null
  const { reason: _, ...others } = membersOf(row) ?? {}
  return JSON.stringify(others)
}
