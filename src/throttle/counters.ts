import { createHmac, randomBytes } from 'node:crypto'
import { getTableColumns, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Statement } from '../database/statements.ts'
import type { Kind } from './limits.ts'
import { throttles } from './models.ts'

/**
 * Counters in libSQL: a key that does not reveal what it counts, and statements that count each attempt once.
 */

/**
 * The key of a counter: a MAC over its kind and what it is about, each in a field that no input can forge, so
 * two different counters never share a key. A counter that began under a former key goes on under it.
 */
export function counterKey({ config }: Pick<Resources, 'config'>, kind: Kind, ...about: string[]): SQL {
  const [newest, ...former] = config.keys.throttle.map((key) =>
    createHmac('sha256', key)
      .update(JSON.stringify([kind, ...about]))
      .digest('base64url'),
  )
  if (former.length === 0) return sql`${newest}`
  return sql`coalesce((SELECT key FROM ${throttles} WHERE key IN ${former} LIMIT 1), ${newest})`
}

/** With the database's time, by which to judge its times. */
export const selectCounter = (...keys: SQL[]) =>
  build
    .select({ ...getTableColumns(throttles), now: databaseNow.as('now') })
    .from(throttles)
    .where(isOneOf(keys))

const isOneOf = (keys: SQL[]) => sql`${throttles.key} IN (${sql.join(keys, sql`, `)})`

/** Resets counters, if `condition` holds. */
export const forgetCounters = (keys: SQL[], condition: SQL): Statement =>
  build.delete(throttles).where(sql`${isOneOf(keys)} AND ${condition}`)

export type Counter = typeof throttles.$inferSelect & { now: number }

/*
 * A counter remembers its latest attempts, each as its id and a sign: whether it still counts, or was taken
 * back. So an attempt that arrives twice is counted once and taken back once, whatever comes between; a model
 * of all orders of events shows it (test/auth/attempts.test.ts). If more come at once than it remembers, one
 * may count for good.
 */
const ID_BYTES = 9
const COUNTS = '+'
const TAKEN_BACK = '.'
/** As many as may come at once before one has to wait (`FREE_FAILURES`). */
const REMEMBERED = 10
const ENTRY_LENGTH = (ID_BYTES * 4) / 3 + 1

/** Contains neither sign. */
export const newAttemptId = () => randomBytes(ID_BYTES).toString('base64url')

/** A counter's memory with one more attempt in it. */
export const remembering = (memory: SQLWrapper, attemptId: string): SQL<string> =>
  sql`substr(coalesce(${memory}, '') || ${attemptId + COUNTS}, ${-REMEMBERED * ENTRY_LENGTH})`

/** The same with an attempt taken back. */
export const takingBack = (memory: SQLWrapper, attemptId: string): SQL<string> =>
  sql`replace(${memory}, ${attemptId + COUNTS}, ${attemptId + TAKEN_BACK})`

/** The same when the count is reset: none of them counts any more. */
export const takingAllBack = (memory: SQLWrapper): SQL<string> =>
  sql`replace(${memory}, ${COUNTS}, ${TAKEN_BACK})`

/** A condition on a memory: that an attempt is in it, and counts. */
export const isCountedIn = (memory: SQLWrapper, attemptId: string) =>
  sql`instr(coalesce(${memory}, ''), ${attemptId + COUNTS}) > 0`

/** A condition on a memory: that an attempt has never been counted. */
export const wasNeverCounted = (memory: SQLWrapper, attemptId: string) =>
  sql`instr(coalesce(${memory}, ''), ${attemptId}) = 0`

/** Whether a counter, as it was read, has counted an attempt. */
export const hasCounted = (counter: Counter | undefined, attemptId: string) =>
  counter?.attempt_id?.includes(attemptId + COUNTS) === true

/** What an attempt does to a counter; the first attempt makes it. */
export interface Counting {
  key: SQL
  attemptId: string
  /** Whether the attempt is counted at all. */
  condition: SQL
  /** For a counter that does not exist yet. */
  first: { attempts: number; blocked_until: SQL | number; expires_at: SQL | number }
  /** For one that does. */
  next: { attempts: SQL; blocked_until: SQL | number; expires_at: SQL | number }
  /** A condition on the counter: that it counts. */
  counts?: SQL
  /** A condition on the counter: that it begins anew, so that no earlier attempt can be taken back from it. */
  beginsAnew?: SQL
}

/** Counts an attempt once, however often it is sent. */
export function countAttempt({
  key,
  attemptId,
  condition,
  first,
  next,
  counts = sql`1`,
  beginsAnew,
}: Counting) {
  const { attempts, blocked_until, expires_at } = first
  const before = beginsAnew
    ? sql`CASE WHEN ${beginsAnew} THEN ${takingAllBack(throttles.attempt_id)} ELSE ${throttles.attempt_id} END`
    : throttles.attempt_id
  return sql<{ key: string }>`INSERT INTO ${throttles} (key, attempts, blocked_until, expires_at, attempt_id)
    SELECT ${key}, ${attempts}, ${blocked_until}, ${expires_at}, ${attemptId + COUNTS} WHERE ${condition}
    ON CONFLICT (key) DO UPDATE SET attempts = ${next.attempts}, blocked_until = ${next.blocked_until},
      expires_at = ${next.expires_at}, attempt_id = ${remembering(before, attemptId)}
    WHERE ${wasNeverCounted(throttles.attempt_id, attemptId)} AND ${counts}`
}

/** What is left of a wait, in whole seconds. */
export const secondsUntil = (end: number, now: number) => Math.max(1, Math.ceil((end - now) / 1000))
