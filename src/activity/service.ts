import { and, asc, type Column, desc, eq, gt, gte, is, lt, SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/sqlite-core'
import { v7 as uuidv7 } from 'uuid'
import { hasPermission } from '../access/permissions.ts'
import type { RequestOrigin, Resources } from '../context.ts'
import { build, type Given, insertWhere } from '../database/statements.ts'
import { type List, openPlace, toPage } from '../http/pagination.ts'
import { users } from '../users/models.ts'
import { firstIdAt, timeOfId, toTime } from '../values/ids.ts'
import { columnsAsBytes, membersOf, withTexts } from './details.ts'
import { type Action, type ActivityLog, activityLogs, HAS_TIME, IS_OF_OTHERS } from './models.ts'
import type { Activity, ListActivity } from './schemas.ts'
import { type Asking, type Known, ownReader, type Reader, readerOf, visibleTo } from './visibility.ts'

export interface Event {
  action: Action
  /** The user it happened to: an id, or a query for it. */
  userId: string | SQL | null
  /** The actor; null: the system. */
  actorId: string | SQL | null
  /** What changed: names with old and new values. Never a secret. */
  details?: object | SQL
  /** Given by callers that later ask whether the change was made: the row exists if it was. */
  id?: string | SQL
}

/** Writes a row of history, on the same condition as the change it describes. */
export function record({ origin }: { origin: Given<RequestOrigin> }, event: Event, condition: SQL): SQL {
  const { details = null } = event
  const row = {
    id: event.id ?? uuidv7(),
    user_id: event.userId,
    actor_id: event.actorId,
    action: event.action,
    details: details === null || is(details, SQL) ? details : JSON.stringify(details),
    ip: origin.ip,
    user_agent: origin.userAgent,
    country: origin.country,
    request_id: origin.requestId,
  } satisfies Record<keyof ActivityLog, unknown>
  return insertWhere(activityLogs, row, condition)
}

interface Each {
  /** The time of the rows (epoch ms). */
  now: number
  userId: SQL
  actorId?: string | null
  details: SQL
  /** The source rows; each gets one row of history. */
  from: SQL
}

/** A row of history for each of the rows that a query finds. */
export function recordEach({ origin }: { origin: RequestOrigin }, action: Action, each: Each): SQL {
  const random = (bytes: number) => sql`lower(hex(randomblob(${bytes})))`
  const id = sql`${firstIdAt(each.now).slice(0, 13)} || '-7' || substr(${random(2)}, 2) || '-8' || substr(${random(2)}, 2)
    || '-' || ${random(6)}`
  return sql`INSERT INTO ${activityLogs} (id, user_id, actor_id, action, details, request_id)
    SELECT ${id}, ${each.userId}, ${each.actorId ?? null}, ${action}, ${each.details}, ${origin.requestId} FROM ${each.from}`
}

const subject = alias(users, 'subject')
const actor = alias(users, 'actor')
const known = {
  subject_role: sql<Known['subject_role']>`${subject.role}`.as('subject_role'),
  subject_deleted_at: sql<Known['subject_deleted_at']>`${subject.deleted_at}`.as('subject_deleted_at'),
  actor_role: sql<Known['actor_role']>`${actor.role}`.as('actor_role'),
  /** For pages, which show the history in sentences. */
  subject_name: sql<string | null>`CASE WHEN ${subject.deleted_at} IS NULL THEN ${subject.name} END`.as(
    'subject_name',
  ),
  actor_name: sql<string | null>`CASE WHEN ${actor.deleted_at} IS NULL THEN ${actor.name} END`.as(
    'actor_name',
  ),
}

type Names = { subject_name: string | null; actor_name: string | null }
/** A row with its texts as bytes. */
export type Read = Pick<ActivityLog, 'id'> & Record<Exclude<keyof ActivityLog, 'id'>, ArrayBuffer | null>

/**
 * A page of the history, newest first. Every combination of filters that the schema allows is the prefix of
 * an index, so a page reads its own rows, the users in them, and no others. Rows that the reader must not see
 * are left out, so a page may have fewer rows than its limit.
 *
 * @returns the query, and the function that turns its rows into a page.
 */
export function pageOfHistory({ config }: Resources, reader: Reader, filter: ListActivity) {
  const { limit, cursor, ...filters } = filter
  const list = `activity ${JSON.stringify(filters)}`
  const place = openPlace(config, list, cursor)
  const [from, to] = [filter.from, filter.to].map((at) => (at === undefined ? undefined : firstIdAt(at)))
  const at = place?.position[0] as string | undefined
  // Only one bound on each side: given two, SQLite seeks by one and scans rows for the other. A cursor is
  // within both.
  const isBackwards = place?.isBackwards === true
  const before = isBackwards ? to : (at ?? to)
  // Only for managers does it matter who the other users are; for other readers they are not looked up.
  const named = (id: Column) => (hasPermission(reader.role, 'activity:read') ? id : sql`NULL`)
  return {
    rows: build
      .select({ id: activityLogs.id, ...columnsAsBytes, ...known })
      .from(activityLogs)
      .leftJoin(subject, eq(subject.id, named(activityLogs.user_id)))
      .leftJoin(actor, eq(actor.id, named(activityLogs.actor_id)))
      .where(
        and(
          filter.user_id === undefined ? undefined : eq(activityLogs.user_id, filter.user_id),
          filter.actor_id === undefined
            ? undefined
            : and(eq(activityLogs.actor_id, filter.actor_id), IS_OF_OTHERS),
          filter.action === undefined ? undefined : eq(activityLogs.action, filter.action),
          isBackwards ? gt(activityLogs.id, at!) : gte(activityLogs.id, from ?? firstIdAt(0)),
          before === undefined ? undefined : lt(activityLogs.id, before),
          HAS_TIME,
        ),
      )
      .orderBy(isBackwards ? asc(activityLogs.id) : desc(activityLogs.id))
      .limit(limit + 1),
    toPage(rows: (Read & Known & Names)[]): List<Activity> {
      const page = toPage(config, list, { read: rows, limit, place, positionOf: ({ id }) => [id] })
      const data = page.rows.flatMap(
        ({ subject_role, subject_deleted_at, actor_role, subject_name: _, actor_name: _name, ...read }) => {
          const seen = visibleTo(reader, decodeRow(read), { subject_role, subject_deleted_at, actor_role })
          return seen ? [toActivity(seen)] : []
        },
      )
      // Of one user all rows are hidden, or none. A cursor made from a hidden row would tell that there is one, and when.
      const isHidden = filter.user_id !== undefined && data.length === 0
      const cursors = isHidden ? { next_cursor: null, prev_cursor: null } : {}
      return { data, pagination: { ...page.pagination, ...cursors } }
    },
  }
}

/** Everybody's history, for managers. */
export async function listActivity(
  resources: Resources & { actor: Asking },
  filter: ListActivity,
): Promise<List<Activity>> {
  const page = pageOfHistory(resources, readerOf(resources.actor), filter)
  const { rows } = await resources.db.read({ rows: page.rows })
  return page.toPage(rows)
}

/** One's own history, as any user may see it. */
export async function listOwnActivity(
  resources: Resources & { actor: Asking },
  filter: Omit<ListActivity, 'user_id'>,
): Promise<List<Activity>> {
  const id = resources.actor.sub
  const page = pageOfHistory(resources, ownReader(id), { ...filter, user_id: id })
  const { rows } = await resources.db.read({ rows: page.rows })
  return page.toPage(rows)
}

/** Decodes a row whose texts were read as bytes. Invalid UTF-8 becomes replacement characters. */
export const decodeRow = (row: Read): ActivityLog =>
  Object.fromEntries(
    Object.entries(withTexts(row)).map(([name, text]) => [
      name,
      (text as string | null)?.toWellFormed() ?? null,
    ]),
  ) as ActivityLog

/** Details that are not JSON are shown as null. */
export function toActivity(row: ActivityLog): Activity {
  const details = row.details === null ? null : ((membersOf(row) as Activity['details']) ?? null)
  return { ...row, details, created_at: toTime(timeOfId(row.id)) }
}
