import { and, desc, eq, gte, is, lt, SQL } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { RequestOrigin, Resources } from '../context.ts'
import { build, type Given, insertWhere } from '../database/statements.ts'
import { type List, makeCursor, openCursor } from '../http/pagination.ts'
import { firstIdAt, timeOfId, toTime } from '../values/ids.ts'
import { type Action, type ActivityLog, activityLogs } from './models.ts'
import type { Activity, ListActivity } from './schemas.ts'

export interface Event {
  action: Action
  /** The person it happened to: an id, or the query that finds it. */
  userId: string | SQL | null
  /** Who did it; null: the system. */
  actorId: string | SQL | null
  /** What changed: names with old and new values. Never a secret. */
  details?: object | SQL
  /** Given by who wants to know later whether the change was made: the row is there if it was. */
  id?: string | SQL
}

/** A row of history, on the condition of the change that it tells of. */
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

/** Takes personal data out of the history of a person, and out of what they did to others. */
export const eraseHistory = (userId: string, condition: SQL) => [
  build
    .update(activityLogs)
    .set({ details: null, ip: null, user_agent: null, country: null })
    .where(and(eq(activityLogs.user_id, userId), condition)),
  build
    .update(activityLogs)
    .set({ ip: null, user_agent: null, country: null })
    .where(and(eq(activityLogs.actor_id, userId), condition)),
]

/**
 * A page of the history, newest first. Every combination of filters that the schema allows is the beginning of an
 * index, so a page reads its own rows and no others.
 */
export async function listActivity({ db, config }: Resources, filter: ListActivity): Promise<List<Activity>> {
  const { limit, cursor, ...filters } = filter
  const list = `activity ${JSON.stringify(filters)}`
  const end = filter.to === undefined ? undefined : firstIdAt(filter.to)
  // One upper bound, never two: SQLite would seek by one and pass over rows by the other. A cursor is the lower.
  const [before] = cursor === undefined ? [end] : (openCursor(config, list, cursor) as [string])
  const { rows } = await db.read({
    rows: build
      .select()
      .from(activityLogs)
      .where(
        and(
          filter.user_id === undefined ? undefined : eq(activityLogs.user_id, filter.user_id),
          filter.actor_id === undefined ? undefined : eq(activityLogs.actor_id, filter.actor_id),
          filter.action === undefined ? undefined : eq(activityLogs.action, filter.action),
          filter.from === undefined ? undefined : gte(activityLogs.id, firstIdAt(filter.from)),
          before === undefined ? undefined : lt(activityLogs.id, before),
        ),
      )
      .orderBy(desc(activityLogs.id))
      .limit(limit + 1),
  })
  const page = rows.slice(0, limit)
  const next_cursor = rows.length > limit ? makeCursor(config, list, [page.at(-1)!.id]) : null
  return { data: page.map(toActivity), pagination: { limit, next_cursor, total: null } }
}

/** From where somebody else acted is that person's own business. */
export const listOwnActivity = async (
  resources: Resources,
  filter: ListActivity,
): Promise<List<Activity>> => {
  const list = await listActivity(resources, filter)
  const blind = { ip: null, user_agent: null, country: null }
  return {
    ...list,
    data: list.data.map((row) => (row.actor_id === filter.user_id ? row : { ...row, ...blind })),
  }
}

function toActivity(row: ActivityLog): Activity {
  const details = row.details === null ? null : (JSON.parse(row.details) as Record<string, unknown>)
  return { ...row, details, created_at: toTime(timeOfId(row.id)) }
}
