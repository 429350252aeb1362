import { hasPermission, outranks } from '../access/permissions.ts'
import type { Role } from '../users/models.ts'
import { membersOf } from './details.ts'
import type { ActivityLog } from './models.ts'

/** Who reads: in a list whoever asks, with the role they ask by; in an export the user it is about, as any user. */
export interface Reader {
  id: string
  role: Role
}

/** What is known now of the two users in a row: whom it happened to, and who did it. No role: they are gone. */
export interface Known {
  subject_role: Role | null
  subject_deleted_at: number | null
  actor_role: Role | null
}

/** To a reader who manages nobody, it makes no difference who the others are. */
const NOTHING_KNOWN: Known = { subject_role: null, subject_deleted_at: null, actor_role: null }

export const NO_ORIGIN = { ip: null, user_agent: null, country: null } as const

/** Whether a reader may know of a user: the deleted are there for those who may delete and restore, and nobody else. */
export const seesUser = ({ role }: Pick<Reader, 'role'>, user: { deleted_at: number | null }): boolean =>
  user.deleted_at === null || hasPermission(role, 'users:delete')

/** Whether a reader may see from where a user acts: their own origin, and that of those whom they outrank. */
export const seesOriginOf = (reader: Reader, user: { id: string; role: Role }): boolean =>
  user.id === reader.id || outranks(reader.role, user.role)

/** What stands in rows about people, by which they are known. */
const PERSONAL = ['email', 'email_normalized', 'name', 'new_email', 'new_email_normalized']

/** What an export keeps of a row about somebody else: that it is there, when, and to which id. */
export const withoutOthers = (row: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, PERSONAL.includes(name) ? null : value]),
  )

/**
 * What a reader sees of a row of history, by who they are to it. Lists, exports and pages all ask here.
 *
 * - Who manages sees the rows of whoever they may see: those of the deleted are for those who may see the deleted.
 * - Whom it happened to sees it, but of a disabling neither the reason nor who gave it, unless they outrank them.
 * - Who did it, but does not manage (any more), sees that they did it, when, and to which id.
 * - From where it was done (network, device, country) is for whoever did it, and for those who outrank them.
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
  // Of the purged nothing is known, and they are no less gone.
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

/** Whether a reader outranks who acted; where the system did, whom it happened to. Those who are gone had any rank. */
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
