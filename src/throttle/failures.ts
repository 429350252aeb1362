import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { databaseNow } from '../database/statements.ts'
import { type Counter, countAttempt, counterKey, forgetCounters } from './counters.ts'
import { FAILURES_WINDOW_MS, RANGE_FACTOR, TOLD_EVERY_MS } from './limits.ts'
import { throttles } from './models.ts'
import { networkOf, rangeOf } from './networks.ts'

/** An IPv6 network also counts for the range around it, an IPv4 address only for itself. */
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
 * Failed logins of a network, whatever the accounts: no counter of an account stops somebody who tries one
 * password on many. Written with the failure, and read before the next hash, so a right login writes no
 * further row.
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
    /** For when it holds: selects how long to wait. */
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
 * Failures that a stranger can cause in any number, and which therefore share a row of history: one an hour
 * for a locked account, one a day for a locked second factor, and one a day and network for unknown
 * addresses. The row says how many there were since the last.
 */
export function openTally(resources: Resources, kind: keyof typeof TOLD_EVERY_MS, about: string) {
  const now = databaseNow
  const key = counterKey(resources, kind, about)
  const tellAgainAt = sql`(${now} + ${TOLD_EVERY_MS[kind]})`
  const isDue = sql`blocked_until <= ${now}`
  return {
    /** A condition: that a row of history is due. */
    isDue: sql`NOT EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key} AND NOT ${isDue})`,
    /** How many failures the row reports, including this one. */
    count: sql`coalesce((SELECT attempts FROM ${throttles} WHERE key = ${key}), 0) + 1`,
    /** Resets the tally when what failed is open again: the next row is due at once. */
    forget: (condition: SQL) => forgetCounters([key], condition),
    /** Goes after the row of history. Kept until after the next row is due, for the sake of its count. */
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
