import { createHmac } from 'node:crypto'
import { and, eq, gt, isNull, lt, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { users } from '../users/models.ts'
import { tooManyAttempts } from './errors.ts'
import { throttles } from './models.ts'

const MINUTE_MS = 60_000
const FREE_FAILURES = 10
const WINDOW_MS = 15 * MINUTE_MS
const FIRST_WAIT_MS = MINUTE_MS
const LONGEST_WAIT_MS = 60 * MINUTE_MS

/** After so many failures in a row an account takes no password any more, until it is reset. */
export const MAX_FAILURES_IN_A_ROW = 100

/**
 * Counts guesses of a password, exactly, however many come at once: an attempt is counted as a failure *before*
 * the password is looked at, and a right one clears the count afterwards. Ten failures within 15 minutes of one
 * account from one network are free; then each costs a wait, doubling from 1 to 60 minutes.
 *
 * The counts are in libSQL, in the batch that reads the account anyway: no further trip, and no other rules for
 * the time when Redis is away. Unknown accounts are counted like known ones, so that the answers are alike.
 *
 * @param name what the caller calls the account: an address or an id.
 * @param account the condition that selects it.
 */
export function openAttempt(resources: Resources, name: string, account: SQL) {
  const { now } = resources
  const key = keyOf(resources, name)
  const isThisKey = eq(throttles.key, key)
  const attempts = sql`CASE WHEN ${throttles.expires_at} <= ${now} THEN 1 ELSE ${throttles.attempts} + 1 END`
  const wait = sql`min(${LONGEST_WAIT_MS}, ${FIRST_WAIT_MS} << min(6, ${attempts} - ${FREE_FAILURES}))`
  const isNowFree = sql`${attempts} < ${FREE_FAILURES}`
  return {
    /** To be put first in the batch that reads the account. */
    count: {
      counted: build
        .insert(throttles)
        .values({ key, attempts: 1, blocked_until: 0, expires_at: now + WINDOW_MS })
        .onConflictDoUpdate({
          target: throttles.key,
          set: {
            attempts,
            blocked_until: sql`CASE WHEN ${isNowFree} THEN 0 ELSE ${now} + ${wait} END`,
            expires_at: sql`CASE WHEN ${throttles.expires_at} <= ${now} THEN ${now + WINDOW_MS}
              WHEN ${isNowFree} THEN ${throttles.expires_at} ELSE ${now} + ${wait} + ${WINDOW_MS} END`,
          },
          setWhere: sql`${throttles.blocked_until} <= ${now}`,
        })
        .returning({ key: throttles.key }),
      account: build
        .update(users)
        .set({ failed_logins: sql`${users.failed_logins} + 1` })
        .where(
          and(
            account,
            isNull(users.deleted_at),
            lt(users.failed_logins, MAX_FAILURES_IN_A_ROW),
            sql`changes() > 0`,
          ),
        )
        .returning({ id: users.id }),
      throttle: build.select({ blocked_until: throttles.blocked_until }).from(throttles).where(isThisKey),
    },
    /**
     * From the results of `count`: false when the account takes no password any more. Throws 429
     * `too_many_attempts` when it has to wait.
     */
    isOpen({
      counted,
      account,
      throttle,
    }: {
      counted: unknown[]
      account: unknown[]
      throttle: { blocked_until: number }[]
    }) {
      if (counted.length > 0) return account.length > 0
      const waitMs = (throttle[0]?.blocked_until ?? now) - now
      throw tooManyAttempts(Math.max(1, Math.ceil(waitMs / 1000)))
    },
    /** For the batch after a right password: it was no failure, and the count in a row begins anew. */
    clear: [
      build.delete(throttles).where(isThisKey),
      build
        .update(users)
        .set({ failed_logins: 0 })
        .where(and(account, isNull(users.deleted_at), gt(users.failed_logins, 0))),
    ] as readonly Statement[],
  }
}

/** What is counted, and for which network: a MAC, as the name may be an address. */
const keyOf = ({ config, origin }: Resources, name: string) =>
  createHmac('sha256', config.keys.throttle[0])
    .update(`${name}\n${networkOf(origin.ip)}`)
    .digest('base64url')

const MAILS_PER_HOUR = 30
const HOUR_MS = 60 * MINUTE_MS

/**
 * Counts what one network asks to be mailed, to whomever: 30 mails an hour. `count` goes first in the batch,
 * `isAllowed` is the condition of the mail, and `verdict` goes last, for `assertAllowed`.
 */
export function openMailRequest(resources: Resources) {
  const { now } = resources
  const key = keyOf(resources, 'mail')
  const isOver = sql`${throttles.expires_at} <= ${now}`
  const isThisKey = eq(throttles.key, key)
  return {
    count: build
      .insert(throttles)
      .values({ key, attempts: 1, blocked_until: 0, expires_at: now + HOUR_MS })
      .onConflictDoUpdate({
        target: throttles.key,
        set: {
          attempts: sql`CASE WHEN ${isOver} THEN 1 ELSE ${throttles.attempts} + 1 END`,
          expires_at: sql`CASE WHEN ${isOver} THEN ${now + HOUR_MS} ELSE ${throttles.expires_at} END`,
        },
      }) as Statement,
    isAllowed: sql`(SELECT attempts FROM ${throttles} WHERE ${isThisKey}) <= ${MAILS_PER_HOUR}`,
    verdict: build.select().from(throttles).where(isThisKey),
    /** Throws 429 `too_many_attempts`. */
    assertAllowed([verdict]: (typeof throttles.$inferSelect)[]) {
      const { attempts, expires_at } = verdict!
      if (attempts > MAILS_PER_HOUR) throw tooManyAttempts(Math.max(1, Math.ceil((expires_at - now) / 1000)))
    },
  }
}

/**
 * The network an address belongs to, in one spelling: an IPv4 address itself, the /64 of an IPv6 address (one
 * household has that many). Without an address everybody shares one.
 */
export function networkOf(ip: string | null): string {
  if (ip === null) return 'none'
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(ip)) return ip
  const groups = expandIpv6(ip)
  if (!groups) return 'none'
  const isMappedIpv4 = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMappedIpv4)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 255])
      .join('.')
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}

function expandIpv6(ip: string): number[] | undefined {
  // The URL parser knows every spelling of an IPv6 address and gives the canonical one (WHATWG URL, host parsing).
  const canonical = URL.parse(`http://[${ip}]`)?.hostname.slice(1, -1)
  if (!canonical) return undefined
  const [head = '', tail] = canonical.split('::')
  const parse = (part: string) => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : [])
  const before = parse(head)
  const after = parse(tail ?? '')
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
}
