import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { databaseNow } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import {
  type Counter,
  countAttempt,
  counterKey,
  newAttemptId,
  secondsUntil,
  selectCounter,
} from './counters.ts'
import { tooManyAttempts } from './errors.ts'
import { USER_CODES_WINDOW_MS, WRONG_USER_CODES } from './limits.ts'
import { throttles } from './models.ts'
import { takeBackAt } from './service.ts'

/**
 * Counts wrong device codes exactly: each is counted before it is looked up, and taken back if it was right.
 *
 * @param isAsked a condition without which no code is tried, so nothing is counted.
 */
export function openUserCodeTry(resources: Resources, userId: string, isAsked: SQL) {
  const attemptId = newAttemptId()
  const key = counterKey(resources, 'user_code', userId)
  const [now, end] = [databaseNow, sql`${databaseNow} + ${USER_CODES_WINDOW_MS}`]
  const isOver = sql`expires_at <= ${now}`
  return {
    count: countAttempt({
      key,
      attemptId,
      condition: isAsked,
      counts: sql`(${isOver} OR attempts < ${WRONG_USER_CODES})`,
      first: { attempts: 1, blocked_until: 0, expires_at: end },
      next: {
        attempts: sql`CASE WHEN ${isOver} THEN 1 ELSE attempts + 1 END`,
        blocked_until: 0,
        expires_at: sql`CASE WHEN ${isOver} THEN ${end} ELSE expires_at END`,
      },
    }),
    counter: selectCounter(key),
    /** A condition: that it was counted, so that its code may be looked up. */
    isCounted: sql`EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key} AND instr(coalesce(attempt_id, ''), ${attemptId}) > 0)`,
    /** Throws 429 `too_many_attempts` if it was not counted. */
    assertCounted([counter]: Counter[]) {
      if (!counter?.attempt_id?.includes(attemptId))
        throw tooManyAttempts(
          secondsUntil(counter?.expires_at ?? 0, counter?.now ?? 0),
          new Refusal('limit_user_code'),
        )
    },
    takeBack: (wasRight: SQL) => takeBackAt(sql`key = ${key} AND ${wasRight}`, attemptId),
  }
}
