import { and, gt, isNull, lte, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Statement } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { users } from '../users/models.ts'
import { YEAR_MS } from '../values/durations.ts'
import {
  type Counter,
  countAttempt,
  counterKey,
  forgetCounters,
  hasCounted,
  isCountedIn,
  newAttemptId,
  remembering,
  secondsUntil,
  selectCounter,
  takingAllBack,
  takingBack,
  wasNeverCounted,
} from './counters.ts'
import { type KnownDevice, knowsDevice } from './devices.ts'
import { tooManyAttempts } from './errors.ts'
import { openNetworkFailures } from './failures.ts'
import {
  FAILURES_PAUSE_MS,
  FAILURES_PER_PAUSE,
  FIRST_WAIT_MS,
  FREE_FAILURES,
  LONGEST_WAIT_MS,
  MAX_FAILURES_IN_A_ROW,
  RANGE_FACTOR,
  WINDOW_MS,
} from './limits.ts'
import { throttles } from './models.ts'
import { networkOf, rangeOf } from './networks.ts'

/** What the queries of an attempt return. */
interface Counted {
  known: { is_known: 0 | 1 }[]
  device: Counter[]
  network: Counter[]
  networkFailures: Pick<Counter, 'expires_at' | 'now'>[]
}

/**
 * Counts guesses of a password exactly, however many come at once: an attempt is counted as a failure
 * *before* the password is checked, and taken back, or cleared with all others, if it was right.
 *
 * A device that has signed in to the account before has a counter of its own, so strangers cannot keep it
 * out. Everybody else is counted by account and network, by account, and by network, in libSQL, in the batch
 * that reads the account anyway. Unknown accounts are counted like known ones, so that the answers are alike.
 *
 * @param email the normalised address that was entered.
 * @param account the condition that selects the account.
 */
export function openAttempt(resources: Resources, email: string, account: SQL, device?: KnownDevice) {
  const { origin } = resources
  const attemptId = newAttemptId()
  const deviceKey = counterKey(resources, 'device', device?.deviceId ?? '')
  const networkKey = counterKey(resources, 'login', email, networkOf(origin.ip))
  const range = openRangeFailures(resources, email)
  const failures = openNetworkFailures(resources)
  const isCountedAt = (key: SQL) =>
    sql`EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key} AND ${isCountedIn(throttles.attempt_id, attemptId)})`
  const isKnown = device
    ? sql`(EXISTS (SELECT 1 FROM ${users} WHERE ${account} AND ${knowsDevice(device)})
        AND NOT EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${deviceKey}
          AND attempts >= ${MAX_FAILURES_IN_A_ROW} AND ${wasNeverCounted(throttles.attempt_id, attemptId)}))`
    : sql`0`
  const isOfAccount = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${account} AND id = ${device?.userId ?? ''})`
  const isLive = and(account, isNull(users.deleted_at))
  const ownCounters = sql`key IN (${deviceKey}, ${networkKey})`
  const ofAccountAlone = build
    .update(users)
    .set({
      failed_logins: sql`${users.failed_logins} - 1`,
      failed_attempts: takingBack(users.failed_attempts, attemptId),
    })
    .where(and(isLive, gt(users.failed_logins, 0), isCountedIn(users.failed_attempts, attemptId)))
  return {
    attemptId,
    /** Goes first in the batch that reads the account. */
    count: {
      known: sql<{ is_known: 0 | 1 }>`SELECT ${isKnown} AS is_known`,
      ofDevice: countLasting({ key: deviceKey, attemptId, condition: isKnown }),
      ofNetwork: countInWindow({
        key: networkKey,
        attemptId,
        condition: sql`NOT ${isKnown} AND NOT ${range.hasToWait} AND NOT ${failures.areTooMany}`,
      }),
      // A count of one above the limit says that the account was locked before this attempt.
      ofAccount: build
        .update(users)
        .set({
          failed_logins: sql`${users.failed_logins} + 1`,
          failed_attempts: remembering(users.failed_attempts, attemptId),
        })
        .where(
          and(
            isLive,
            lte(users.failed_logins, MAX_FAILURES_IN_A_ROW),
            wasNeverCounted(users.failed_attempts, attemptId),
            isCountedAt(networkKey),
          ),
        ),
      device: selectCounter(deviceKey),
      network: selectCounter(networkKey, ...range.keys),
      networkFailures: failures.select,
    },
    /**
     * Whether the account knows the device. Throws 429 `too_many_attempts` if the caller has to wait; then
     * nothing was counted.
     */
    isFromKnownDevice({ known: [known], device: [ofDevice], network, networkFailures }: Counted) {
      if (hasCounted(ofDevice, attemptId)) return true
      if (network.some((counter) => hasCounted(counter, attemptId))) return false
      // Of two waits, the longer one counts.
      const [ofNetwork] = network.toSorted((one, other) => other.blocked_until - one.blocked_until)
      const blocking = known?.is_known ? ofDevice : ofNetwork
      const [failures] = networkFailures
      const now = blocking?.now ?? failures?.now ?? 0
      const isOwn = blocking !== undefined && blocking.blocked_until > now
      const end = isOwn ? blocking.blocked_until : (failures?.expires_at ?? now)
      const what = isOwn ? (known?.is_known ? 'device' : 'login') : 'failures'
      throw tooManyAttempts(secondsUntil(end, now), new Refusal(`limit_${what}`))
    },
    /** The attempt was no failure, and no sign-in either: only this attempt is taken back. */
    takeBack: [takeBackAt(ownCounters, attemptId), ofAccountAlone] as readonly Statement[],
    /** Only the account's count. */
    takeBackOfAccount: [ofAccountAlone] as readonly Statement[],
    /**
     * A sign-in was completed: resets the counters of this network and device; `NO_FAILURES` resets the
     * account's. It never resets the counter of another account's device: a thief with its token could
     * reset it by signing in to their own account.
     */
    clear: (condition: SQL): readonly Statement[] => [
      forgetCounters([networkKey, ...range.keys], condition),
      ...(device ? [forgetCounters([deviceKey], sql`${condition} AND ${isOfAccount}`)] : []),
    ],
    /** For the batch that records a failure. */
    countFailureOfNetwork(isFromKnownDevice: boolean) {
      const condition = isFromKnownDevice ? sql`0` : sql`1`
      return [...range.count(attemptId, condition), ...failures.count(attemptId, condition)]
    },
  }
}

/** Attempts of a session: strangers' failures do not affect it, and it counts for nobody else. */
export function openOwnAttempt(resources: Resources, sessionId: string, tokenIsLive: SQL) {
  const attemptId = newAttemptId()
  const key = counterKey(resources, 'session', sessionId)
  return {
    count: {
      counted: countLasting({ key, attemptId, condition: tokenIsLive }),
      ofSession: selectCounter(key),
      token: sql<{ is_live: 0 | 1 }>`SELECT ${tokenIsLive} AS is_live`,
    },
    /** False if the session may try no more passwords. Throws 429 `too_many_attempts` if it has to wait. */
    isOpen({ ofSession: [counter] }: { ofSession: Counter[] }) {
      if (!counter || !hasCounted(counter, attemptId))
        throw tooManyAttempts(
          secondsUntil(counter?.blocked_until ?? 0, counter?.now ?? 0),
          new Refusal('limit_session'),
        )
      return counter.attempts <= MAX_FAILURES_IN_A_ROW
    },
    takeBack: [takeBackAt(sql`key = ${key}`, attemptId)] as readonly Statement[],
    clear: [forgetCounters([key], sql`1`)] as readonly Statement[],
  }
}

/**
 * Tries of a second factor from a device that the account knows. They count for the device alone: tries
 * elsewhere, by somebody who has the password, lock nothing here. After ten in a quarter of an hour, or a
 * hundred in total, the device counts as a stranger.
 */
export function openDeviceTry(resources: Resources, userId: string, brought: KnownDevice | undefined) {
  const attemptId = newAttemptId()
  // Another account's device is neither counted here nor reset.
  const device = brought?.userId === userId ? brought : undefined
  const key = counterKey(resources, 'device', device?.deviceId ?? '', 'factor')
  const isKnown = device
    ? sql`(EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${userId} AND ${knowsDevice(device)})
        AND NOT EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key}
          AND (attempts >= ${MAX_FAILURES_IN_A_ROW} OR blocked_until > ${databaseNow})))`
    : sql`0`
  return {
    /** A condition: that the device counts the try, and the account does not. Only before `count`. */
    isKnown,
    /** Counts it, if `condition` holds. */
    count: (condition: SQL) => countLasting({ key, attemptId, condition: sql`${isKnown} AND ${condition}` }),
    counter: selectCounter(key),
    /** Whether the device has counted it. */
    hasCounted: ([counter]: Counter[]) => hasCounted(counter, attemptId),
    takeBack: takeBackAt(sql`key = ${key}`, attemptId) as Statement,
    /** A sign-in was completed. */
    clear: (condition: SQL) => forgetCounters([key], condition),
  }
}

/** A reset clears the count of its network and range: the wait was for the old password. */
export function forgetAttempts(resources: Resources, emailNormalized: string, condition: SQL): Statement {
  const ofNetwork = counterKey(resources, 'login', emailNormalized, networkOf(resources.origin.ip))
  return forgetCounters([ofNetwork, ...openRangeFailures(resources, emailNormalized).keys], condition)
}

/** Resets an account's count. */
export const NO_FAILURES = {
  failed_logins: 0,
  failed_attempts: takingAllBack(users.failed_attempts),
} as const

/** Takes one attempt back, once. */
export const takeBackAt = (which: SQL, attemptId: string) =>
  build
    .update(throttles)
    .set({
      attempts: sql`${throttles.attempts} - 1`,
      blocked_until: 0,
      attempt_id: takingBack(throttles.attempt_id, attemptId),
    })
    .where(and(which, isCountedIn(throttles.attempt_id, attemptId)))

type Which = Pick<Parameters<typeof countAttempt>[0], 'key' | 'attemptId' | 'condition'>

/**
 * One account's failures from the range around an IPv6 network, as one host may have the whole range: eight
 * times the limit of a network. Written with the failure, so a right login writes no further row.
 */
function openRangeFailures(resources: Resources, email: string) {
  const range = rangeOf(resources.origin.ip)
  const key = range === undefined ? undefined : counterKey(resources, 'login', email, range)
  const free = FREE_FAILURES * RANGE_FACTOR.ipv6
  return {
    /** Empty if there is no range. */
    keys: key ? [key] : [],
    hasToWait: key
      ? sql`EXISTS (SELECT 1 FROM ${throttles} WHERE key = ${key} AND blocked_until > ${databaseNow})`
      : sql`0`,
    count: (attemptId: string, condition: SQL) =>
      key ? [countInWindow({ key, attemptId, condition }, free)] : [],
  }
}

/** Ten are free within a quarter of an hour; then each costs a wait, doubling from 1 to 60 minutes. */
function countInWindow(which: Which, free = FREE_FAILURES) {
  const now = databaseNow
  const beginsAnew = sql`expires_at <= ${now}`
  const attempts = sql`CASE WHEN ${beginsAnew} THEN 1 ELSE attempts + 1 END`
  const wait = sql`min(${LONGEST_WAIT_MS}, ${FIRST_WAIT_MS} << min(6, ${attempts} - ${free}))`
  const isNowFree = sql`${attempts} < ${free}`
  return countAttempt({
    ...which,
    first: { attempts: 1, blocked_until: 0, expires_at: sql`${now} + ${WINDOW_MS}` },
    next: {
      attempts,
      blocked_until: sql`CASE WHEN ${isNowFree} THEN 0 ELSE ${now} + ${wait} END`,
      expires_at: sql`CASE WHEN ${beginsAnew} THEN ${now} + ${WINDOW_MS}
        WHEN ${isNowFree} THEN expires_at ELSE ${now} + ${wait} + ${WINDOW_MS} END`,
    },
    counts: sql`blocked_until <= ${databaseNow}`,
    beginsAnew,
  })
}

/** Ten in a quarter of an hour, and never forgotten: after a hundred in a row there are no more. */
const countLasting = (which: Which) =>
  countAttempt({
    ...which,
    first: { attempts: 1, blocked_until: 0, expires_at: sql`${databaseNow} + ${YEAR_MS}` },
    next: {
      attempts: sql`attempts + 1`,
      blocked_until: sql`CASE WHEN (attempts + 1) % ${FAILURES_PER_PAUSE} = 0 THEN ${databaseNow} + ${FAILURES_PAUSE_MS} ELSE 0 END`,
      expires_at: sql`${databaseNow} + ${YEAR_MS}`,
    },
    counts: sql`blocked_until <= ${databaseNow}`,
  })
