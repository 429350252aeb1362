import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Resources } from '../context.ts'
import { countAttempt, counterKey, secondsUntil } from './counters.ts'
import { tooManyAttempts } from './errors.ts'
import { MAILS_PER_HOUR, MAILS_WINDOW_MS, RANGE_FACTOR } from './limits.ts'
import { throttles } from './models.ts'
import { networkOf, rangeOf } from './networks.ts'

/**
 * Counts what one network asks to be mailed, to whomever: 30 mails an hour, and more for the wider network around it.
 * `count` goes first in the batch, `isAllowed` is the condition of the mail, and `verdict` goes last, for
 * `assertAllowed`.
 */
export function openMailRequest(resources: Resources) {
  const { now, origin } = resources
  const attemptId = uuidv7()
  const range = rangeOf(origin.ip, { ofIpv4: true })
  const factor = RANGE_FACTOR[range?.includes('.') ? 'ipv4' : 'ipv6']
  const counters = [
    { key: counterKey(resources, 'mail', networkOf(origin.ip)), most: MAILS_PER_HOUR },
    ...(range ? [{ key: counterKey(resources, 'mail', range), most: MAILS_PER_HOUR * factor }] : []),
  ]
  const isOver = sql`expires_at <= ${now}`
  const tooMany = counters.map(
    ({ key, most }) => sql`(key = ${key} AND expires_at > ${now} AND attempts > ${most})`,
  )
  const isTooMuch = sql`FROM ${throttles} WHERE ${sql.join(tooMany, sql` OR `)}`
  return {
    count: counters.map(({ key }) =>
      countAttempt({
        key,
        attemptId,
        condition: sql`1`,
        first: { attempts: 1, blocked_until: 0, expires_at: now + MAILS_WINDOW_MS },
        next: {
          attempts: sql`CASE WHEN ${isOver} THEN 1 ELSE attempts + 1 END`,
          blocked_until: 0,
          expires_at: sql`CASE WHEN ${isOver} THEN ${now + MAILS_WINDOW_MS} ELSE expires_at END`,
        },
      }),
    ),
    isAllowed: sql`NOT EXISTS (SELECT 1 ${isTooMuch})`,
    verdict: sql<{ expires_at: number | null }>`SELECT max(expires_at) AS expires_at ${isTooMuch}`,
    /** Throws 429 `too_many_attempts`. */
    assertAllowed([verdict]: { expires_at: number | null }[]) {
      const end = verdict?.expires_at
      if (typeof end === 'number') throw tooManyAttempts(secondsUntil(end, now))
    },
  }
}
