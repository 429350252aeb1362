import { createHmac, randomBytes } from 'node:crypto'
import { getTableColumns, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Statement } from '../database/statements.ts'
import type { Kind } from './limits.ts'
import { throttles } from './models.ts'

/** Counters in libSQL: a key that tells nobody what it counts, and statements that count each attempt once. */

/**
 * The key of a counter: a MAC over its kind and whatever it is about, each in a field that no input can spell, so that
 * two that count different things are never one. A counter that was begun under a former key goes on under it.
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

/** With the time by which its own are to be judged. */
export const selectCounter = (...keys: SQL[]) =>
  build
    .select({ ...getTableColumns(throttles), now: databaseNow.as('now') })
    .from(throttles)
    .where(isOneOf(keys))

const isOneOf = (keys: SQL[]) => sql`${throttles.key} IN (${sql.join(keys, sql`, `)})`

/** Counts that begin anew, if `condition` holds. */
export const forgetCounters = (keys: SQL[], condition: SQL): Statement =>
  build.delete(throttles).where(sql`${isOneOf(keys)} AND ${condition}`)

export type Counter = typeof throttles.$inferSelect & { now: number }

/*
 * A counter remembers the attempts that it counted last, each as its id and a sign: whether it still counts, or was
 * taken back. So one that arrives twice is counted once and taken back once, whatever comes between; as a model of all
 * orders of events shows (test/auth/attempts.test.ts). Of more at a time than it remembers, one may count for good.
 */
const ID_BYTES = 9
const COUNTS = '+'
const TAKEN_BACK = '.'
/** As many as are let in at once, before one has to wait (`FREE_FAILURES`). */
const REMEMBERED = 10
const ENTRY_LENGTH = (ID_BYTES * 4) / 3 + 1

/** Neither sign is in it. */
export const newAttemptId = () => randomBytes(ID_BYTES).toString('base64url')

/** A counter's memory with one more attempt in it. */
export const remembering = (memory: SQLWrapper, attemptId: string): SQL<string> =>
  sql`substr(coalesce(${memory}, '') || ${attemptId + COUNTS}, ${-REMEMBERED * ENTRY_LENGTH})`

/** The same with an attempt taken back. */
export const takingBack = (memory: SQLWrapper, attemptId: string): SQL<string> =>
  sql`replace(${memory}, ${attemptId + COUNTS}, ${attemptId + TAKEN_BACK})`

/** The same where the count begins anew: none of them counts any more. */
export const takingAllBack = (memory: SQLWrapper): SQL<string> =>
  sql`replace(${memory}, ${COUNTS}, ${TAKEN_BACK})`

/** A condition on a memory: that an attempt is in it, and counts. */
export const isCountedIn = (memory: SQLWrapper, attemptId: string) =>
  sql`instr(coalesce(${memory}, ''), ${attemptId + COUNTS}) > 0`

/** A condition on a memory: that an attempt has never been counted. */
export const isNewTo = (memory: SQLWrapper, attemptId: string) =>
  sql`instr(coalesce(${memory}, ''), ${attemptId}) = 0`

/** Whether a counter, as it was read, has counted an attempt. */
export const hasCounted = (counter: Counter | undefined, attemptId: string) =>
  counter?.attempt_id?.includes(attemptId + COUNTS) === true

/** What an attempt makes of a counter; the first of them makes it. */
export interface Counting {
  key: SQL
  attemptId: string
  /** On which the attempt is counted at all. */
  condition: SQL
  /** Of a counter that is not there yet. */
  first: { attempts: number; blocked_until: SQL | number; expires_at: SQL | number }
  /** Of one that is. */
  next: { attempts: SQL; blocked_until: SQL | number; expires_at: SQL | number }
  /** A condition on the counter: that it counts. */
  counts?: SQL
}

/** Counts an attempt once, however often it is sent. */
export function countAttempt({ key, attemptId, condition, first, next, counts = sql`1` }: Counting) {
  const { attempts, blocked_until, expires_at } = first
  return sql<{ key: string }>`INSERT INTO ${throttles} (key, attempts, blocked_until, expires_at, attempt_id)
    SELECT ${key}, ${attempts}, ${blocked_until}, ${expires_at}, ${attemptId + COUNTS} WHERE ${condition}
    ON CONFLICT (key) DO UPDATE SET attempts = ${next.attempts}, blocked_until = ${next.blocked_until},
      expires_at = ${next.expires_at}, attempt_id = ${remembering(throttles.attempt_id, attemptId)}
    WHERE ${isNewTo(throttles.attempt_id, attemptId)} AND ${counts}`
}

/** How long is left of a wait, in whole seconds. */
export const secondsUntil = (end: number, now: number) => Math.max(1, Math.ceil((end - now) / 1000))
