import { type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { rowExists, type Statement } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { Refusal } from '../http/problem.ts'
import { counterKey, secondsUntil } from '../throttle/counters.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { RANGE_FACTOR } from '../throttle/limits.ts'
import { throttles } from '../throttle/models.ts'
import { networkOf, rangeOf } from '../throttle/networks.ts'
import { DAY_MS, HOUR_MS } from '../values/durations.ts'
import { withoutSubaddress } from '../values/email.ts'
import type { MailKind } from './kinds.ts'
import { outbox } from './models.ts'

/**
 * Mails of one kind to a mailbox per hour, if asked for; and as many more from a device that the account
 * knows.
 */
export const MAILS_TO_ADDRESS = 3
/**
 * Mails per hour that somebody may ask for: as who manages others, for their own account, or as whoever holds a
 * link. Each is counted by itself: invitations use up nothing of one's own, and a stranger nothing of the owner's.
 */
const MAILS_OF_ACTOR = { manager: 1000, self: 30, link: 30 } as const
/** Codes per hour to one's own mailbox, each valid in the session that asks: for all sessions together. */
const OWN_MAILS_TO_ADDRESS = 30
/**
 * How often per hour a user is told the same about one manager's changes, or about one of their own sessions.
 */
export const NOTICES_ALIKE = 3
/** Factors, or secrets of keys, that a session may add per hour: each is reported to the user. */
const ADDED = 20
/** How often per day a user is told of a new device: from clients that use device tokens, and from others. */
const NEW_DEVICES = { known: 10, unknown: 1 } as const

export interface MailRequest {
  kind: MailKind
  emailNormalized: string
  /** Who asks: the signed-in user, or the link that somebody followed. If absent, the network is counted. */
  actor?: { as: keyof typeof MAILS_OF_ACTOR; id: string }
  /**
   * A session that asks for a code to its own user's mailbox. Each has its own limit: a thief's uses up no
   * other's.
   */
  ownSession?: string
  /** A condition: that the caller's device is known to the account. */
  isKnownDevice?: SQL | undefined
  /** A condition without which no mail is asked for, so nothing is counted. */
  isAsked?: SQL
  /** Only the mailbox is counted: the caller's remaining mails must not reveal whether one was sent. */
  isNobodys?: boolean
}

interface Counter {
  key: SQL
  limit: number
}

/** The argument of `enqueueAsked`: mails that are asked for can be made in no other way. */
export type MailRequested = ReturnType<typeof openMailRequest>

/**
 * Counts requests for a mail, by caller, by mailbox and kind, and for the deployment: each in an hour that
 * begins with the first. `count` goes first in the batch, `verdict` after what is made, for `assertAllowed`,
 * and `countMade` last; `isAllowed` is the condition of the mail.
 *
 * Whether there is an account does not affect any counter, so answers and costs are alike.
 */
export function openMailRequest(
  resources: Resources,
  {
    kind,
    emailNormalized,
    actor,
    ownSession,
    isKnownDevice,
    isAsked = sql`1`,
    isNobodys = false,
  }: MailRequest,
) {
  const { config, now, origin, send } = resources
  const counter = (what: string, name: string, limit: number): Counter => ({
    key: counterKey(resources, 'mail', what, name),
    limit,
  })
  const range = rangeOf(origin.ip, { ofIpv4: true })
  const { NETWORK_MAILS_PER_HOUR: ofNetwork } = config
  const networks = [
    counter('network', networkOf(origin.ip), ofNetwork),
    ...(range
      ? [counter('range', range, ofNetwork * RANGE_FACTOR[range.includes(':') ? 'ipv6' : 'ipv4'])]
      : []),
  ]
  const isSignedIn = actor !== undefined || ownSession !== undefined
  const askers = actor
    ? [counter(`actor as ${actor.as}`, actor.id, MAILS_OF_ACTOR[actor.as])]
    : ownSession !== undefined
      ? [counter(`to ${kind} by session`, ownSession, MAILS_TO_ADDRESS)]
      : isNobodys
        ? []
        : networks
  const toMailbox = ownSession === undefined ? MAILS_TO_ADDRESS : OWN_MAILS_TO_ADDRESS
  const mailbox = counter(`to ${kind}`, withoutSubaddress(emailNormalized), toMailbox)
  const device = counter(`to ${kind} by device`, withoutSubaddress(emailNormalized), MAILS_TO_ADDRESS)
  const all = allOf(resources)

  const isKnown = isKnownDevice ?? sql`0`
  const askersMay = sql.join([sql`1`, ...askers.map(isWithin)], sql` AND `)
  // The deployment's own limit is for strangers, not for signed-in users or known devices.
  const isAllowed = isSignedIn
    ? sql`(${askersMay} AND ${isWithin(mailbox)})`
    : sql`(${askersMay} AND ((${isWithin(mailbox)} AND (${hasLeft(all, now)} OR ${isKnown}))
    OR (${isKnown} AND ${isWithin(device)})))`
  return {
    count: [
      ...askers.map(({ key }) => countUp(key, now, isAsked)),
      // Without a mailer no mailbox gets anything; whoever asks is counted all the same.
      ...(send ? [countUp(mailbox.key, now, sql`${isAsked} AND ${askersMay}`)] : []),
      ...(send && isKnownDevice
        ? [countUp(device.key, now, sql`${isKnown} AND NOT ${isWithin(mailbox)}`)]
        : []),
    ] as Statement[],
    isAllowed,
    countMade: (mailId: string) => countUp(all.key, now, rowExists(outbox, mailId)) as Statement,
    /** A condition for writes that must not happen if the answer is a 429. */
    mayAsk: isSignedIn ? isAllowed : askersMay,
    verdict: sql<Verdict>`SELECT (SELECT max(expires_at) FROM ${throttles} WHERE ${anyOf(
      [...askers, ...(isSignedIn ? [mailbox] : [])].map((counter) => isOver(counter, now)),
    )}) AS refused_until, (SELECT expires_at FROM ${throttles} WHERE key = ${all.key} AND NOT ${hasLeft(all, now)}) AS used_up_until`,
    /**
     * For a read before costly work, and before anything is counted: until when the caller would be refused.
     */
    spent: sql<Pick<Verdict, 'refused_until'>>`SELECT max(expires_at) AS refused_until FROM ${throttles}
      WHERE ${anyOf(askers.map((counter) => isSpent(counter, now)))}`,
    /** Throws 429 `too_many_attempts`, as `assertAllowed` would. */
    assertMayAsk: ([spent]: Pick<Verdict, 'refused_until'>[]) => refuseUntil(spent!.refused_until, now),
    /**
     * Throws 429 `too_many_attempts` if the caller has reached their limit. Only a signed-in user is told
     * that the mailbox has reached its own, as others could guess something from it.
     */
    assertAllowed([verdict]: Verdict[]) {
      const { refused_until, used_up_until } = verdict!
      if (used_up_until !== null) logUsedUp(all.limit)
      refuseUntil(refused_until, now)
    },
  }
}

/** Counts notices. */
export interface Notices {
  count: (condition: SQL) => Statement
  /** A condition: that the notice is due. After `count`. */
  isDue: SQL
}

/**
 * A change is reported however many mails somebody has asked for. But a manager could disable and enable a
 * user without end, and a thief renew recovery codes: so three mails of a kind go out per hour, and the
 * history has the rest. This uses up nobody else's notices, and no other session's.
 *
 * @param by the manager, or the session in which users change something of their own.
 * @param whom the user, or the address where that is what changes.
 */
export function openNotices(resources: Resources, kind: MailKind, by: string, whom: string): Notices {
  return noticesOf(resources, {
    key: counterKey(resources, 'mail', `told ${kind} by ${by}`, whom),
    limit: NOTICES_ALIKE,
  })
}

/**
 * The same for factors or keys that a session adds, and for its changes of services and webhooks. A way into an account is
 * never added unreported, so beyond the limit it is not added: `mayAdd` is a condition of the change, and
 * `spent` is for a read before it and for `assertMayAdd`, which throws 429 `too_many_attempts`.
 */
export function openAddedNotices(
  resources: Resources,
  what: 'factors added' | 'keys made' | 'services changed' | 'webhooks changed',
  sessionId: string,
  userId: string,
) {
  const { now } = resources
  const added = {
    key: counterKey(resources, 'mail', `${what} by ${sessionId}`, userId),
    limit: ADDED,
  }
  return {
    told: noticesOf(resources, added),
    mayAdd: hasLeft(added, now),
    /** The same for a change of a user. */
    obstacle: {
      is: sql`coalesce((SELECT expires_at FROM ${throttles} WHERE ${isSpent(added, now)}), 0)`,
      refused: (end: number) => limitReached(end, now),
    },
    spent: sql<Pick<Verdict, 'refused_until'>>`SELECT max(expires_at) AS refused_until FROM ${throttles}
      WHERE ${isSpent(added, now)}`,
    assertMayAdd: ([spent]: Pick<Verdict, 'refused_until'>[]) => refuseUntil(spent!.refused_until, now),
  }
}

/** A sign-in from a new device is reported, but nobody with the password can fill a mailbox that way. */
export function openDeviceNotices(
  resources: Resources,
  userId: string,
  { knowsTokens }: { knowsTokens: boolean },
) {
  const client = knowsTokens ? 'known' : 'unknown'
  const told = {
    key: counterKey(resources, 'mail', `new device of ${client}`, userId),
    limit: NEW_DEVICES[client],
  }
  return noticesOf(resources, told, DAY_MS)
}

const noticesOf = ({ now }: Resources, told: Counter, lastsMs = HOUR_MS): Notices => ({
  count: (condition) => countUp(told.key, now, condition, lastsMs),
  isDue: isWithin(told),
})

/** Each condition by its own index: with a constant beside it, SQLite would read the whole table. */
const anyOf = (conditions: SQL[]) => (conditions.length > 0 ? sql.join(conditions, sql` OR `) : sql`0`)

function refuseUntil(end: number | null, now: number): void {
  if (end !== null) throw limitReached(end, now)
}

const limitReached = (end: number, now: number) =>
  tooManyAttempts(secondsUntil(end, now), new Refusal('limit_mails'))

interface Verdict {
  refused_until: number | null
  used_up_until: number | null
}

const logUsedUp = (limit: number) => log('error', { code: 'mails_per_hour_reached', limit })

/** All mails of the deployment that were asked for. */
const allOf = (resources: Pick<Resources, 'config'>): Counter => ({
  key: counterKey(resources, 'mail', 'all', ''),
  limit: resources.config.MAILS_PER_HOUR,
})

/**
 * For `/ready`: whether the deployment has reached its limit of this hour, so strangers get no more mails.
 */
export const mailsAreUsedUp = (resources: Pick<Resources, 'config' | 'now'>) => {
  const all = allOf(resources)
  return sql<{ is_used_up: 0 | 1 }>`SELECT NOT ${hasLeft(all, resources.now)} AS is_used_up`
}

/** Adds one in a window that begins with the first, if `condition` holds. */
const countUp = (key: SQL, now: number, condition: SQL, lastsMs = HOUR_MS) =>
  sql`INSERT INTO ${throttles} (key, attempts, blocked_until, expires_at)
    SELECT ${key}, 1, 0, ${now + lastsMs} WHERE ${condition}
    ON CONFLICT (key) DO UPDATE SET
      attempts = CASE WHEN expires_at <= ${now} THEN 1 ELSE attempts + 1 END,
      expires_at = CASE WHEN expires_at <= ${now} THEN ${now + lastsMs} ELSE expires_at END`

/** A condition: within the limit. After this request is counted. */
const isWithin = ({ key, limit }: Counter) =>
  sql`coalesce((SELECT attempts FROM ${throttles} WHERE key = ${key}), 0) <= ${limit}`

/** A condition on a counter's row: over the limit. */
const isOver = ({ key, limit }: Counter, now: number) =>
  sql`(key = ${key} AND expires_at > ${now} AND attempts > ${limit})`

/** The same before this request is counted. */
const isSpent = ({ key, limit }: Counter, now: number) =>
  sql`(key = ${key} AND expires_at > ${now} AND attempts >= ${limit})`

/** A condition: one more is allowed. Before this request is counted. */
const hasLeft = ({ key, limit }: Counter, now: number) =>
  sql`coalesce((SELECT attempts FROM ${throttles} WHERE key = ${key} AND expires_at > ${now}), 0) < ${limit}`
