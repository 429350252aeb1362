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

/** One mailbox gets so many mails of a kind an hour that somebody asks for, and as many more by a device it knows. */
const MAILS_TO_ADDRESS = 3
/** What somebody who is signed in asks for in an hour, and somebody who makes accounts for others. */
export const MAILS_OF_ACTOR = 30
export const MAILS_OF_MANAGER = 1000
/** The same of codes to one's own mailbox, each good in the session that asks: of all sessions together. */
const OWN_MAILS_TO_ADDRESS = 30
/** How often in an hour a user is told the same of what one who manages does to them, or a session of theirs does. */
const NOTICES_ALIKE = 3
/** How many factors, or secrets of keys, one session adds in an hour: each is told. */
const ADDED = 20
/** How often in a day a user is told of a new device: of clients that know of device tokens, and of those that do not. */
const NEW_DEVICES = { known: 10, unknown: 1 } as const

export interface MailRequest {
  kind: MailKind
  emailNormalized: string
  /** Somebody who is signed in, and how many mails they may ask for in an hour; else the network is counted. */
  actor?: { id: string; mailsPerHour: number }
  /** A session that asks for a code to its own user's mailbox. Each has its few: a thief's uses up no other's. */
  ownSession?: string
  /** A condition: whoever asks brings a device that the account knows. */
  isKnownDevice?: SQL | undefined
  /** A condition without which nothing is asked for, so that nothing is counted either. */
  isAsked?: SQL
  /** Nobody is counted for it but the mailbox: what it is mailed for must not show by what its asker has left. */
  isNobodys?: boolean
}

interface Counter {
  key: SQL
  limit: number
}

/** What `enqueueAsked` takes: no mail that somebody asks for is made by anything else. */
export type MailRequested = ReturnType<typeof openMailRequest>

/**
 * Counts what asks for a mail, by who asks, by mailbox and kind, and for the deployment: each in an hour that begins
 * with its first. `count` goes first in the batch, `verdict` behind what is made, for `assertAllowed`, and `countMade`
 * last; `isAllowed` is the condition of the mail.
 *
 * Whether there is an account is nothing to a counter, so answers and costs are alike.
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
  const { config, now, origin } = resources
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
    ? [counter('actor', actor.id, actor.mailsPerHour)]
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
  // The deployment's own limit is for strangers: somebody who is signed in is not one, nor is a known device.
  const isAllowed = isSignedIn
    ? sql`(${askersMay} AND ${isWithin(mailbox)})`
    : sql`(${askersMay} AND ((${isWithin(mailbox)} AND (${hasLeft(all, now)} OR ${isKnown}))
    OR (${isKnown} AND ${isWithin(device)})))`
  return {
    count: [
      ...askers.map(({ key }) => countUp(key, now, isAsked)),
      countUp(mailbox.key, now, sql`${isAsked} AND ${askersMay}`),
      ...(isKnownDevice ? [countUp(device.key, now, sql`${isKnown} AND NOT ${isWithin(mailbox)}`)] : []),
    ] as Statement[],
    isAllowed,
    countMade: (mailId: string) => countUp(all.key, now, rowExists(outbox, mailId)) as Statement,
    /** A condition for what is refused with a 429, where nothing else may be done either. */
    mayAsk: isSignedIn ? isAllowed : askersMay,
    verdict: sql<Verdict>`SELECT (SELECT max(expires_at) FROM ${throttles} WHERE ${anyOf(
      [...askers, ...(isSignedIn ? [mailbox] : [])].map((counter) => isOver(counter, now)),
    )}) AS refused_until, (SELECT expires_at FROM ${throttles} WHERE key = ${all.key} AND NOT ${hasLeft(all, now)}) AS used_up_until`,
    /** For a read before what costs much, and before anything is counted: until when who asks would be refused. */
    spent: sql<Pick<Verdict, 'refused_until'>>`SELECT max(expires_at) AS refused_until FROM ${throttles}
      WHERE ${anyOf(askers.map((counter) => isSpent(counter, now)))}`,
    /** Throws 429 `too_many_attempts`, as `assertAllowed` would. */
    assertMayAsk: ([spent]: Pick<Verdict, 'refused_until'>[]) => refuseUntil(spent!.refused_until, now),
    /**
     * Throws 429 `too_many_attempts` where who asks has had their share. That the mailbox has had its own is only told
     * where nothing can be guessed by it: to somebody who is signed in.
     */
    assertAllowed([verdict]: Verdict[]) {
      const { refused_until, used_up_until } = verdict!
      if (used_up_until !== null) logUsedUp(all.limit)
      refuseUntil(refused_until, now)
    },
  }
}

/** Counts what is told. */
export interface Notices {
  count: (condition: SQL) => Statement
  /** A condition, once it is counted. */
  isDue: SQL
}

/**
 * A change that was made is told, however many mails somebody has asked for. But who manages could disable and enable
 * somebody without end, and a thief renew recovery codes: three mails of a kind go out in an hour, and the history tells
 * the rest. Nobody else's notices are used up by it, and no other session's.
 *
 * @param by who manages, or the session in which users change something of their own.
 */
export function openNotices(resources: Resources, kind: MailKind, by: string, userId: string): Notices {
  return noticesOf(resources, {
    key: counterKey(resources, 'mail', `told ${kind} by ${by}`, userId),
    limit: NOTICES_ALIKE,
  })
}

/**
 * The same of factors, or keys, that a session adds, and of what it does to webhooks. What opens an account is never added untold, so one that would not be
 * is not added: `mayAdd` is a condition of the change, and `spent` is for a read before it, and for `assertMayAdd`, which
 * throws 429 `too_many_attempts`.
 */
export function openAddedNotices(
  resources: Resources,
  what: 'factors added' | 'keys made' | 'webhooks changed',
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
    spent: sql<Pick<Verdict, 'refused_until'>>`SELECT max(expires_at) AS refused_until FROM ${throttles}
      WHERE ${isSpent(added, now)}`,
    assertMayAdd: ([spent]: Pick<Verdict, 'refused_until'>[]) => refuseUntil(spent!.refused_until, now),
  }
}

/** A sign-in by a new device is told, but whoever has the password does not fill a mailbox by it. */
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

/** By each one's index: beside a constant, SQLite reads the whole table. */
const anyOf = (conditions: SQL[]) => (conditions.length > 0 ? sql.join(conditions, sql` OR `) : sql`0`)

function refuseUntil(end: number | null, now: number): void {
  if (end !== null) throw tooManyAttempts(secondsUntil(end, now), new Refusal('limit_mails'))
}

interface Verdict {
  refused_until: number | null
  used_up_until: number | null
}

const logUsedUp = (limit: number) => log('error', { code: 'mails_per_hour_reached', limit })

/** All mails of the deployment that somebody asked for. */
const allOf = (resources: Pick<Resources, 'config'>): Counter => ({
  key: counterKey(resources, 'mail', 'all', ''),
  limit: resources.config.MAILS_PER_HOUR,
})

/** For `/ready`: whether the deployment has sent so many mails this hour that it sends no more to strangers. */
export const mailsAreUsedUp = (resources: Pick<Resources, 'config' | 'now'>) => {
  const all = allOf(resources)
  return sql<{ is_used_up: 0 | 1 }>`SELECT NOT ${hasLeft(all, resources.now)} AS is_used_up`
}

/** One more in a time that begins with the first, if `condition` holds. */
const countUp = (key: SQL, now: number, condition: SQL, lastsMs = HOUR_MS) =>
  sql`INSERT INTO ${throttles} (key, attempts, blocked_until, expires_at)
    SELECT ${key}, 1, 0, ${now + lastsMs} WHERE ${condition}
    ON CONFLICT (key) DO UPDATE SET
      attempts = CASE WHEN expires_at <= ${now} THEN 1 ELSE attempts + 1 END,
      expires_at = CASE WHEN expires_at <= ${now} THEN ${now + lastsMs} ELSE expires_at END`

/** A condition, once this request is counted. */
const isWithin = ({ key, limit }: Counter) =>
  sql`coalesce((SELECT attempts FROM ${throttles} WHERE key = ${key}), 0) <= ${limit}`

/** A condition on a counter's row. */
const isOver = ({ key, limit }: Counter, now: number) =>
  sql`(key = ${key} AND expires_at > ${now} AND attempts > ${limit})`

/** The same before this request is counted. */
const isSpent = ({ key, limit }: Counter, now: number) =>
  sql`(key = ${key} AND expires_at > ${now} AND attempts >= ${limit})`

/** A condition, before this request is counted. */
const hasLeft = ({ key, limit }: Counter, now: number) =>
  sql`coalesce((SELECT attempts FROM ${throttles} WHERE key = ${key} AND expires_at > ${now}), 0) < ${limit}`
