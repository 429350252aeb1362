import { and, asc, eq, lte, type SQL, type SQLWrapper } from 'drizzle-orm'
import type { SQLiteColumn, SQLiteTable } from 'drizzle-orm/sqlite-core'
import { HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import { build, type Statement } from './statements.ts'

/**
 * Outbox rows for somebody outside. They are written in the same batch as the change that they report, and
 * delivered afterwards, by the request or by the cron job. A Worker claims a row before it sends: it moves
 * the row's next attempt, on condition that nobody has moved it, and reads the row back by the new time. So
 * only one of two Workers gets it, and a result is recorded only for the attempt that it belongs to.
 */

/** A Worker may have six open connections, and needs one for the database. */
export const MAX_CONCURRENT = 5
const PER_RUN = 200
const RUN_MS = 40_000
/** The pause after the first failure; it doubles after each. */
const FIRST_PAUSE_MS = MINUTE_MS
const LONGEST_PAUSE_MS = 6 * HOUR_MS

/** An outbox table. */
export type Owed = SQLiteTable & { id: SQLiteColumn; attempts: SQLiteColumn; next_attempt_at: SQLiteColumn }

/** What a claim is conditional on. */
export interface Due<Id extends string | number = string> {
  id: Id
  attempts: number
  next_attempt_at: number
}

type AnyDue = Due<string | number>

const pauseAfter = (attempts: number) =>
  Math.round(
    Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempts, 20)) * (0.8 + Math.random() * 0.4),
  )

/** A query for the rows that are due, longest overdue first, as many as are sent at a time. */
export const selectDue = (table: Owed, now: number | SQL, isWaiting?: SQL) =>
  build
    .select({ id: table.id, attempts: table.attempts, next_attempt_at: table.next_attempt_at })
    .from(table)
    .where(and(isWaiting, lte(table.next_attempt_at, now)))
    .orderBy(asc(table.next_attempt_at))
    .limit(MAX_CONCURRENT)

/** A condition on a row: nobody has claimed or finished it since it was read. */
export const isAttempt = (table: Owed, { id, next_attempt_at }: Pick<AnyDue, 'id' | 'next_attempt_at'>) =>
  and(eq(table.id, id), eq(table.next_attempt_at, next_attempt_at))

/**
 * For each due row: its new time, the statement that claims it, and a condition by which it is read back.
 *
 * @param pauseOf how long it is left alone if nothing more is heard of this attempt (ms). No two attempts
 *   have the same.
 */
export const claiming = (
  table: Owed,
  due: readonly AnyDue[],
  now: number,
  mayBe: SQL,
  { also = {}, pauseOf = pauseAfter }: { also?: object; pauseOf?: (attempts: number) => number } = {},
) =>
  due.map((row) => {
    const next = now + pauseOf(row.attempts)
    const set: Record<string, SQLWrapper | number> = { attempts: row.attempts + 1, next_attempt_at: next }
    return {
      claim: build
        .update(table)
        .set({ ...set, ...also } as never)
        .where(and(isAttempt(table, row), mayBe)) as Statement,
      isClaimed: isAttempt(table, { id: row.id, next_attempt_at: next }),
    }
  })

interface Work<Row, D extends AnyDue> {
  /** Rows that are due now, at most `MAX_CONCURRENT`. */
  readDue(): Promise<D[]>
  /** Those that this Worker has claimed, and how many were given up. */
  claim(due: D[]): Promise<{ claimed: Row[]; dead: number }>
  /** One attempt. It is independent: its failure affects no other. */
  deliver(row: Row): Promise<void>
}

/** How much one run delivers. By default, as much as a run of the cron job may. */
interface Share {
  atATime?: number
  perRun?: number
  runMs?: number
}

/**
 * How much each caller delivers. A request sends one at a time, so that a receiver that hangs takes no
 * connection that its mails and the database need.
 */
export const SHARES = {
  request: { atATime: 1, perRun: 20, runMs: 15_000 },
  cron: { atATime: MAX_CONCURRENT, perRun: PER_RUN, runMs: RUN_MS },
} as const satisfies Record<string, Share>

/** Delivers what is due, five at a time, for as long as a run of the cron job may take. */
export async function deliverAllDue<Row, D extends AnyDue>(
  work: Work<Row, D>,
  { atATime = MAX_CONCURRENT, perRun = PER_RUN, runMs = RUN_MS }: Share = {},
): Promise<{ due: number; dead: number }> {
  const counts = { due: 0, dead: 0 }
  const startedAt = Date.now()
  const waiting: Row[] = []
  let taken = 0
  let claiming: Promise<void> | undefined

  async function claimMore(): Promise<void> {
    const due = taken < perRun && Date.now() - startedAt < runMs ? await work.readDue() : []
    taken = due.length === 0 ? perRun : taken + due.length
    const { claimed, dead } = due.length === 0 ? { claimed: [], dead: 0 } : await work.claim(due)
    counts.due += due.length
    counts.dead += dead
    waiting.push(...claimed)
  }

  async function deliverOneByOne(): Promise<void> {
    for (;;) {
      while (waiting.length === 0 && taken < perRun) {
        claiming ??= claimMore().finally(() => {
          claiming = undefined
        })
        await claiming
      }
      const row = waiting.shift()
      if (!row) return
      await work.deliver(row)
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: atATime }, () => deliverOneByOne()))
  const failed = ended.find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
  return counts
}
