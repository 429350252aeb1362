import { createHmac } from 'node:crypto'
import { eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow } from '../database/statements.ts'
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
export const selectCounter = (key: SQL) =>
  build
    .select({ ...getTableColumns(throttles), now: databaseNow.as('now') })
    .from(throttles)
    .where(eq(throttles.key, key))

export type Counter = typeof throttles.$inferSelect & { now: number }

/** What an attempt is called once it was taken back, so that it is not counted when it arrives again. */
export const takenBack = (attemptId: string) => `${attemptId}-`

/** A condition on a counter: that this attempt has not been counted in it, last. */
export const isNewTo = (attemptId: string) =>
  sql`coalesce(${throttles.attempt_id}, '') NOT IN (${attemptId}, ${takenBack(attemptId)})`

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
    SELECT ${key}, ${attempts}, ${blocked_until}, ${expires_at}, ${attemptId} WHERE ${condition}
    ON CONFLICT (key) DO UPDATE SET attempts = ${next.attempts}, blocked_until = ${next.blocked_until},
      expires_at = ${next.expires_at}, attempt_id = ${attemptId}
    WHERE ${isNewTo(attemptId)} AND ${counts}`
}

/** How long is left of a wait, in whole seconds. */
export const secondsUntil = (end: number, now: number) => Math.max(1, Math.ceil((end - now) / 1000))
