import { type SQL, sql } from 'drizzle-orm'
import * as z from 'zod'
import type { Resources } from '../context.ts'
import type { Statement } from '../database/statements.ts'
import { systemState } from '../system/models.ts'
import { ROLES, type Role, STATES, type State, userTotals } from '../users/models.ts'
import { DAY_MS, YEAR_MS } from '../values/durations.ts'
import { firstIdAt, Time, timeOfId, toTime, toTimeOrNull } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { type Action, activityLogs, dailyTotals, HAS_TIME } from './models.ts'

const MAX_DAYS = YEAR_MS / DAY_MS
const USUAL_DAYS = 30
/** A row of history may be written a minute after the time of its id. */
const LATE_MS = 120_000
/** The first run counts everything that can be asked for. */
const DAYS_PER_BATCH = 40
const BATCHES_PER_RUN = 10
/**
 * What is not counted yet is counted when somebody asks: at most this many days, and this many rows of each
 * action.
 */
const UNCOUNTED_DAYS = 2
const MAX_COUNTED = 10_000
/** How far counting has got, in `system_state`: everything before that time is counted. */
const COUNTED = 'daily_totals'

/** The actions that are counted, and their names in the answer. */
const COUNTS = {
  'user.signed_up': 'signed_up',
  'invitation.accepted': 'signed_up',
  'session.started': 'logged_in',
  'login.failed': 'failed',
  'user.deleted': 'deleted',
} as const satisfies Partial<Record<Action, string>>
type Counted = keyof typeof COUNTS
const ACTIONS_COUNTED = Object.keys(COUNTS) as Counted[]

const startOfDay = (at: number) => at - (at % DAY_MS)

const selectCountedTo = () => sql<{ at: number }>`SELECT at FROM ${systemState} WHERE name = ${COUNTED}`

/**
 * Counts the history into `daily_totals`, some days a batch; run by the cron job. The batch also moves the
 * time up to which all is counted, so a batch that is sent twice, or by two runs at once, counts once. What
 * is left waits for the next run.
 */
export async function countDays({ db, now }: Resources): Promise<void> {
  const end = now - LATE_MS
  for (let batch = 0; batch < BATCHES_PER_RUN; batch++) {
    const { state, oldest } = await db.read({
      state: selectCountedTo(),
      oldest: sql<{ id: string | null }>`SELECT min(id) AS id FROM ${activityLogs}
        WHERE id >= ${firstIdAt(0)} AND ${HAS_TIME}`,
    })
    const begin = oldest[0]?.id ? timeOfId(oldest[0].id) : end
    const from = state[0]?.at ?? Math.max(begin, end - MAX_DAYS * DAY_MS)
    if (from >= end && state.length > 0) return
    const days = daysFrom(from, end).slice(0, DAYS_PER_BATCH)
    const to = Math.min(end, (days.at(-1) ?? startOfDay(end)) + DAY_MS)
    const isFrom = sql`coalesce((SELECT at FROM ${systemState} WHERE name = ${COUNTED}), ${from}) = ${from}`
    await db.writeBatch({
      days: days.flatMap((day) =>
        ACTIONS_COUNTED.map((action) =>
          countInto(day, action, [Math.max(day, from), Math.min(day + DAY_MS, to)], isFrom),
        ),
      ),
      state: sql`INSERT INTO ${systemState} (name, at) SELECT ${COUNTED}, ${to} WHERE ${isFrom}
        ON CONFLICT (name) DO UPDATE SET at = excluded.at`,
    })
  }
}

const countInto = (
  day: number,
  action: Counted,
  [from, before]: [number, number],
  condition: SQL,
): Statement =>
  sql`INSERT INTO ${dailyTotals} (day, action, total) SELECT ${day}, ${action}, total
    FROM (SELECT count(*) AS total FROM ${activityLogs}
      WHERE action = ${action} AND id >= ${firstIdAt(from)} AND id < ${firstIdAt(before)})
    WHERE total > 0 AND ${condition} ON CONFLICT (day, action) DO UPDATE SET total = total + excluded.total`

/** The starts of the days between two times. */
function daysFrom(from: number, to: number): number[] {
  const first = startOfDay(from)
  const count = Math.max(0, Math.floor((startOfDay(to) - first) / DAY_MS) + 1)
  return Array.from({ length: count }, (_, index) => first + index * DAY_MS)
}

const Day = lazy(() => z.iso.date().meta({ example: '2026-11-24' }))
const dayOf = (at: number) => toTime(at).slice(0, 10)

/** The first and the last day asked for (epoch ms): by default, the thirty days up to today. */
function boundsOf({ from, to }: { from?: string | undefined; to?: string | undefined }, now: number) {
  const last = to ? Date.parse(to) : startOfDay(now)
  return { first: from ? Date.parse(from) : last - (USUAL_DAYS - 1) * DAY_MS, last }
}

export const AskForStats = lazy(() =>
  z
    .strictObject({
      from: Day()
        .optional()
        .meta({ description: `The first day; without it, ${USUAL_DAYS} days are shown.` }),
      to: Day().optional().meta({ description: 'The last day; without it, today.' }),
    })
    .refine((asked) => {
      const { first, last } = boundsOf(asked, Date.now())
      return first <= last && last - first < MAX_DAYS * DAY_MS
    }, `${MAX_DAYS} days at most, from the first to the last.`),
)

const count = () => z.int()
export const Stats = lazy(() =>
  z
    .object({
      data: z.array(
        z.object({ day: Day(), signed_up: count(), logged_in: count(), failed: count(), deleted: count() }),
      ),
      totals: z.object({
        by_role: z.record(z.enum(ROLES), count()).meta({ description: 'Without deleted users.' }),
        by_status: z.record(z.enum(STATES), count()),
      }),
      counted_until: Time()
        .nullable()
        .meta({
          description: `Later events are counted live, up to ${MAX_COUNTED.toLocaleString('en')} a day and kind.`,
        }),
    })
    .meta({ id: 'Stats' }),
)
export type Stats = Of<typeof Stats>

/** The statements for the numbers, to be sent with others; `toStats` evaluates their rows. */
export function openStats({ now }: Pick<Resources, 'now'>, asked: Of<typeof AskForStats> = {}) {
  const { first, last } = boundsOf(asked, now)
  const days = daysFrom(first, last)
  const uncounted = days.filter((day) => day > now - UNCOUNTED_DAYS * DAY_MS && day <= now)
  const at = sql`(SELECT coalesce(max(at), 0) FROM ${systemState} WHERE name = ${COUNTED})`
  const hex = sql`printf('%012x', ${at})`
  const firstUncounted = sql`(substr(${hex}, 1, 8) || '-' || substr(${hex}, 9, 4) || '-7000-8000-000000000000')`
  const counts = uncounted.flatMap((day) =>
    ACTIONS_COUNTED.map(
      (
        action,
      ) => sql`SELECT ${day} AS day, ${action} AS action, (SELECT count(*) FROM (SELECT 1 FROM ${activityLogs}
        WHERE action = ${action} AND id >= max(${firstIdAt(day)}, ${firstUncounted}) AND id < ${firstIdAt(day + DAY_MS)}
        LIMIT ${MAX_COUNTED})) AS total`,
    ),
  )
  interface Row {
    day: number
    action: Counted
    total: number
  }
  const statements = {
    counted: sql<Row>`SELECT day, action, total FROM ${dailyTotals} WHERE day >= ${first} AND day <= ${last}`,
    latest: sql<Row>`${sql.join(counts.length > 0 ? counts : [sql`SELECT 0 AS day, '' AS action, 0 AS total`], sql` UNION ALL `)}`,
    state: selectCountedTo(),
    totals: sql<{ role: Role; state: State; total: number }>`SELECT role, state, total FROM ${userTotals}`,
  }
  const toStats = (rows: {
    counted: Row[]
    latest: Row[]
    state: { at: number }[]
    totals: { role: Role; state: State; total: number }[]
  }): Stats => {
    const byDay = new Map(
      days.map((day) => [day, { day: dayOf(day), signed_up: 0, logged_in: 0, failed: 0, deleted: 0 }]),
    )
    for (const { day, action, total } of [...rows.counted, ...rows.latest]) {
      const counts = byDay.get(day)
      if (counts) counts[COUNTS[action]] += total
    }
    const sumOf = (isMeant: (row: { role: Role; state: State }) => boolean) =>
      rows.totals.filter(isMeant).reduce((sum, { total }) => sum + total, 0)
    return {
      data: [...byDay.values()],
      totals: {
        by_role: Object.fromEntries(
          ROLES.map((role) => [role, sumOf((row) => row.role === role && row.state !== 'deleted')]),
        ) as Record<Role, number>,
        by_status: Object.fromEntries(
          STATES.map((state) => [state, sumOf((row) => row.state === state)]),
        ) as Record<State, number>,
      },
      counted_until: toTimeOrNull(rows.state[0]?.at ?? null),
    }
  }
  return { statements, toStats }
}

/** Events by day, and the number of users, in one trip. */
export async function readStats(resources: Resources, asked: Of<typeof AskForStats>): Promise<Stats> {
  const { statements, toStats } = openStats(resources, asked)
  return toStats(await resources.db.read(statements))
}
