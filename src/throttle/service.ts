import { and, gt, isNull, lte, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Statement } from '../database/statements.ts'
import { users } from '../users/models.ts'
import { type Counter, countAttempt, counterKey, secondsUntil, selectCounter, takenBack } from './counters.ts'
import { tooManyAttempts } from './errors.ts'
import { openNetworkFailures } from './failures.ts'
import {
  FAILURES_PER_PAUSE,
  FIRST_WAIT_MS,
  FREE_FAILURES,
  LONGEST_WAIT_MS,
  MAX_FAILURES_IN_A_ROW,
  PAUSE_MS,
  WINDOW_MS,
} from './limits.ts'
import { throttles } from './models.ts'
import { networkOf } from './networks.ts'

export { MAX_FAILURES_IN_A_ROW } from './limits.ts'
export { networkOf } from './networks.ts'

const YEAR_MS = 366 * 86_400_000

/** A device that has signed in to an account before. */
export interface KnownDevice {
  deviceId: string
  userId: string
  /** The account's `device_epoch` when it became known: reset, undo and ending all sessions raise it. */
  epoch: number
}

/** What the queries of an attempt say. */
interface Counted {
  known: { is_known: 0 | 1 }[]
  device: Counter[]
  network: Counter[]
  networkFailures: Pick<Counter, 'expires_at' | 'now'>[]
}

/**
 * Counts guesses of a password, exactly, however many come at once: an attempt is counted as a failure *before* the
 * password is looked at, and taken back, or forgotten with all others, when it was right.
 *
 * A device that has signed in to the account before is counted for itself, so that nobody is kept out by what
 * strangers do. Everybody else is counted by account and network, by account, and by network, in libSQL, in the batch
 * that reads the account anyway. Unknown accounts are counted like known ones, so that the answers are alike.
 *
 * @param email the normalised address that was given.
 * @param account the condition that selects the account.
 */
export function openAttempt(resources: Resources, email: string, account: SQL, device?: KnownDevice) {
  const { origin } = resources
  const attemptId = uuidv7()
  const deviceKey = counterKey(resources, 'device', device?.deviceId ?? '')
  const networkKey = counterKey(resources, 'login', email, networkOf(origin.ip))
  const failures = openNetworkFailures(resources)
  const isCountedAt = (key: SQL) =>
    sql`EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key} AND attempt_id = ${attemptId})`
  const isKnown = device
    ? sql`(EXISTS (SELECT 1 FROM ${users} WHERE ${account} AND id = ${device.userId} AND device_epoch = ${device.epoch})
        AND NOT EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${deviceKey}
          AND attempts >= ${MAX_FAILURES_IN_A_ROW} AND attempt_id IS NOT ${attemptId}))`
    : sql`0`
  const isLive = and(account, isNull(users.deleted_at))
  const ownCounters = sql`key IN (${deviceKey}, ${networkKey})`
  return {
    attemptId,
    /** To be put first in the batch that reads the account. */
    count: {
      known: sql<{ is_known: 0 | 1 }>`SELECT ${isKnown} AS is_known`,
      ofDevice: countLasting({ key: deviceKey, attemptId, condition: isKnown }),
      ofNetwork: countInWindow({
        key: networkKey,
        attemptId,
        condition: sql`NOT ${isKnown} AND NOT ${failures.areTooMany}`,
      }),
      // One more than there may be says that the account was locked before this attempt.
      ofAccount: build
        .update(users)
        .set({ failed_logins: sql`${users.failed_logins} + 1` })
        .where(
          and(
            isLive,
            lte(users.failed_logins, MAX_FAILURES_IN_A_ROW),
            sql`changes() > 0`,
            isCountedAt(networkKey),
          ),
        ),
      device: selectCounter(deviceKey),
      network: selectCounter(networkKey),
      networkFailures: failures.select,
    },
    /**
     * Whether the account knows the device. Throws 429 `too_many_attempts` when whoever tries has to wait; nothing was
     * counted then.
     */
    isFromKnownDevice({
      known: [known],
      device: [ofDevice],
      network: [ofNetwork],
      networkFailures,
    }: Counted) {
      if (ofDevice?.attempt_id === attemptId) return true
      if (ofNetwork?.attempt_id === attemptId) return false
      const blocking = known?.is_known ? ofDevice : ofNetwork
      const [failures] = networkFailures
      const end =
        blocking && blocking.blocked_until > blocking.now ? blocking.blocked_until : failures?.expires_at
      const now = blocking?.now ?? failures?.now ?? 0
      throw tooManyAttempts(secondsUntil(end ?? now, now))
    },
    /** It was no failure, and no sign-in either: this attempt is taken back, and no other. */
    takeBack: [
      ...takingBack(ownCounters, attemptId),
      build
        .update(users)
        .set({ failed_logins: sql`${users.failed_logins} - 1` })
        .where(
          and(
            isLive,
            gt(users.failed_logins, 0),
            sql`changes() > 0`,
            sql`EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${networkKey} AND attempt_id = ${takenBack(attemptId)})`,
          ),
        ),
    ] as readonly Statement[],
    /** Only the account's count; for a batch with a marker, as it is not told apart when sent twice. */
    takeBackOfAccount: [
      build
        .update(users)
        .set({ failed_logins: sql`${users.failed_logins} - 1` })
        .where(
          and(
            isLive,
            gt(users.failed_logins, 0),
            sql`EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${networkKey} AND attempt_id = ${attemptId})`,
          ),
        ),
    ] as readonly Statement[],
    /** A sign-in was complete: the counts of this network and device begin anew, and the account's. */
    clear: (condition: SQL): readonly Statement[] => [
      build.delete(throttles).where(and(ownCounters, condition)),
      build
        .update(users)
        .set({ failed_logins: 0 })
        .where(and(isLive, gt(users.failed_logins, 0), condition)),
    ],
    /** For the batch that records a failure. */
    countFailureOfNetwork: (isFromKnownDevice: boolean) =>
      failures.count(attemptId, isFromKnownDevice ? sql`0` : sql`1`),
  }
}

/** Of a session, which strangers' failures are nothing to, and which is counted for nobody but itself. */
export function openOwnAttempt(resources: Resources, sessionId: string, tokenIsLive: SQL) {
  const attemptId = uuidv7()
  const key = counterKey(resources, 'session', sessionId)
  return {
    count: {
      counted: countLasting({ key, attemptId, condition: tokenIsLive }),
      ofSession: selectCounter(key),
      token: sql<{ is_live: 0 | 1 }>`SELECT ${tokenIsLive} AS is_live`,
    },
    /** False when the session takes no password any more. Throws 429 `too_many_attempts` when it has to wait. */
    isOpen({ ofSession: [counter] }: { ofSession: Counter[] }) {
      if (counter?.attempt_id !== attemptId)
        throw tooManyAttempts(secondsUntil(counter?.blocked_until ?? 0, counter?.now ?? 0))
      return counter.attempts <= MAX_FAILURES_IN_A_ROW
    },
    takeBack: takingBack(sql`key = ${key}`, attemptId) as readonly Statement[],
    clear: [build.delete(throttles).where(sql`${throttles.key} = ${key}`)] as readonly Statement[],
  }
}

/** A reset begins a new count for the network it came from: the wait was for the old password. */
export function forgetAttempts(resources: Resources, emailNormalized: string, condition: SQL): Statement {
  const key = counterKey(resources, 'login', emailNormalized, networkOf(resources.origin.ip))
  return build.delete(throttles).where(sql`${throttles.key} = ${key} AND ${condition}`)
}

const takingBack = (which: SQL, attemptId: string) => [
  build
    .update(throttles)
    .set({ attempts: sql`${throttles.attempts} - 1`, blocked_until: 0, attempt_id: takenBack(attemptId) })
    .where(sql`${which} AND attempt_id = ${attemptId}`),
]

type Which = Pick<Parameters<typeof countAttempt>[0], 'key' | 'attemptId' | 'condition'>

/** Ten are free within a quarter of an hour; then each costs a wait, doubling from 1 to 60 minutes. */
function countInWindow(which: Which) {
  const now = databaseNow
  const attempts = sql`CASE WHEN expires_at <= ${now} THEN 1 ELSE attempts + 1 END`
  const wait = sql`min(${LONGEST_WAIT_MS}, ${FIRST_WAIT_MS} << min(6, ${attempts} - ${FREE_FAILURES}))`
  const isNowFree = sql`${attempts} < ${FREE_FAILURES}`
  return countAttempt({
    ...which,
    first: { attempts: 1, blocked_until: 0, expires_at: sql`${now} + ${WINDOW_MS}` },
    next: {
      attempts,
      blocked_until: sql`CASE WHEN ${isNowFree} THEN 0 ELSE ${now} + ${wait} END`,
      expires_at: sql`CASE WHEN expires_at <= ${now} THEN ${now} + ${WINDOW_MS}
        WHEN ${isNowFree} THEN expires_at ELSE ${now} + ${wait} + ${WINDOW_MS} END`,
    },
    counts: sql`blocked_until <= ${databaseNow}`,
  })
}

/** Ten in a quarter of an hour, and never forgotten: the hundredth in a row is the last. */
const countLasting = (which: Which) =>
  countAttempt({
    ...which,
    first: { attempts: 1, blocked_until: 0, expires_at: sql`${databaseNow} + ${YEAR_MS}` },
    next: {
      attempts: sql`attempts + 1`,
      blocked_until: sql`CASE WHEN (attempts + 1) % ${FAILURES_PER_PAUSE} = 0 THEN ${databaseNow} + ${PAUSE_MS} ELSE 0 END`,
      expires_at: sql`${databaseNow} + ${YEAR_MS}`,
    },
    counts: sql`blocked_until <= ${databaseNow}`,
  })
