import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { databaseNow } from '../database/statements.ts'
import { type Counter, countAttempt, counterKey, forgetCounters } from './counters.ts'
import { FAILURES_WINDOW_MS, RANGE_FACTOR, TOLD_EVERY_MS } from './limits.ts'
import { throttles } from './models.ts'
import { networkOf, rangeOf } from './networks.ts'

/** An IPv6 network has a range around it, any other has itself alone. */
function countersOf(resources: Resources) {
  const { ip } = resources.origin
  const most = resources.config.NETWORK_FAILURES_PER_HOUR
  const range = rangeOf(ip)
  return [
    { key: counterKey(resources, 'failures', networkOf(ip)), most },
    ...(range ? [{ key: counterKey(resources, 'failures', range), most: most * RANGE_FACTOR.ipv6 }] : []),
  ]
}

/**
 * Failed logins of a network, whatever the accounts: who tries one password on many is stopped by no counter of an
 * account. Written with the failure, and looked at before the next hash, so a right login costs no row more.
 */
export function openNetworkFailures(resources: Resources) {
  const now = databaseNow
  const counters = countersOf(resources)
  type Limit = (typeof counters)[number]
  const isOverIn = ({ key, most }: Limit) =>
    sql`(key = ${key} AND expires_at > ${now} AND attempts >= ${most})`
  const isOver = (limit: Limit) => sql`EXISTS (SELECT 1 FROM ${throttles} WHERE ${isOverIn(limit)})`
  return {
    /** A condition: that there have been too many. */
    areTooMany: sql`(${sql.join(counters.map(isOver), sql` OR `)})`,
    /** For when it holds: what says how long to wait. */
    select: sql<
      Pick<Counter, 'expires_at' | 'now'>
    >`SELECT max(expires_at) AS expires_at, ${now} AS now FROM ${throttles}
      WHERE ${sql.join(counters.map(isOverIn), sql` OR `)}`,
    /** Counts one. */
    count: (attemptId: string, condition: SQL) =>
      counters.map(({ key }) =>
        countAttempt({
          key,
          attemptId,
          condition,
          first: { attempts: 1, blocked_until: 0, expires_at: sql`${now} + ${FAILURES_WINDOW_MS}` },
          next: {
            attempts: sql`CASE WHEN expires_at <= ${now} THEN 1 ELSE attempts + 1 END`,
            blocked_until: 0,
            expires_at: sql`CASE WHEN expires_at <= ${now} THEN ${now} + ${FAILURES_WINDOW_MS} ELSE expires_at END`,
          },
        }),
      ),
  }
}

/**
 * Failures of which a stranger can cause any number, and which therefore leave one row of history for many: those of
 * a locked account one an hour, those of a locked second factor one a day, those for unknown addresses one a day and
 * network. The row says how many there were since the last.
 */
export function openTally(resources: Resources, kind: keyof typeof TOLD_EVERY_MS, about: string) {
  const now = databaseNow
  const key = counterKey(resources, kind, about)
  const tellAgainAt = sql`(${now} + ${TOLD_EVERY_MS[kind]})`
  const isDue = sql`blocked_until <= ${now}`
  return {
    /** A condition: that a row of history is due. */
    isDue: sql`NOT EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key} AND NOT ${isDue})`,
    /** How many failures it tells of, this one included. */
    count: sql`coalesce((SELECT attempts FROM ${throttles} WHERE key = ${key}), 0) + 1`,
    /** What they were failures of is open again: the next row is due at once. */
    forget: (condition: SQL) => forgetCounters([key], condition),
    /** To stand behind the row of history. It is kept for longer than until the next row, for the sake of its count. */
    add: (attemptId: string, condition: SQL) =>
      countAttempt({
        key,
        attemptId,
        condition,
        first: {
          attempts: 0,
          blocked_until: tellAgainAt,
          expires_at: sql`${tellAgainAt} + ${TOLD_EVERY_MS[kind]}`,
        },
        next: {
          attempts: sql`CASE WHEN ${isDue} THEN 0 ELSE attempts + 1 END`,
          blocked_until: sql`CASE WHEN ${isDue} THEN ${tellAgainAt} ELSE blocked_until END`,
          expires_at: sql`CASE WHEN ${isDue} THEN ${tellAgainAt} + ${TOLD_EVERY_MS[kind]} ELSE expires_at END`,
        },
      }),
  }
}
