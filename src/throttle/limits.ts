import type { Resources } from '../context.ts'
import { Refusal, tooManyRequests, unavailable } from '../http/problem.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import type { KnownDevice } from './devices.ts'
import { networkOf, rangeOf } from './networks.ts'

/** The limits of requests and attempts, with their numbers and what they count. Mails have theirs in mail/limits.ts. */

/**
 * Counted by the platform, per location and minute. The numbers must be in wrangler.toml too; a test compares
 * them.
 */
export const PER_MINUTE = {
  /** Requests of a network to routes that take a password or a token. */
  RATE_LIMIT_BY_IP: 300,
  /** The same for an IPv6 /48. */
  RATE_LIMIT_BY_RANGE: 2400,
  /** The same for all requests without an address, together. */
  RATE_LIMIT_WITHOUT_IP: 60,
  /**
   * Requests with a token of ours (a session's, a device's, a link's) after their network has reached its
   * limit.
   */
  RATE_LIMIT_BY_TOKEN: 30,
  /** The same for all tokens of one user in that network: signing in again raises no limit. */
  RATE_LIMIT_BY_BEARER: 120,
  /** Hashes of a network, of an IPv6 /48, and of a session or a known device. */
  RATE_LIMIT_HASHES: 30,
  RATE_LIMIT_HASHES_BY_RANGE: 240,
  RATE_LIMIT_DEVICE_HASHES: 10,
  /** The same for all known devices of one user together, and for all their sessions. */
  RATE_LIMIT_HASHES_OF_DEVICES: 30,
  /** Writes of a session or a key, whatever they change. */
  RATE_LIMIT_WRITES: 120,
  /** Those of all logins of one user together. */
  RATE_LIMIT_WRITES_OF_USER: 240,
  /** Reads of a session, and those that may read a lot: lists, search and exports. */
  RATE_LIMIT_READS: 600,
  RATE_LIMIT_LISTS: 60,
  /** Export files that one signed-in user starts: each reads everything. */
  RATE_LIMIT_EXPORTS: 5,
  /** Refreshes of a session. */
  RATE_LIMIT_REFRESHES: 60,
  /** Polls of a device that waits for its user: every five seconds, and three more as clocks differ. */
  RATE_LIMIT_DEVICE_POLLS: 15,
  /** Metadata documents of apps that one user makes us fetch. */
  RATE_LIMIT_DOCUMENTS: 10,
} as const

export type LimitName = keyof typeof PER_MINUTE
export type RateLimits = { readonly [Name in LimitName]?: RateLimit }

/** Counted in libSQL, exactly. A kind is a field of its counter's digest, so no two kinds ever share a counter. */
const KINDS = [
  /** Wrong passwords for an address from a network. */
  'login',
  /** Wrong passwords of a session, and of a device that has signed in before. */
  'session',
  'device',
  /** Failed logins of a network, whatever the account. */
  'failures',
  /** Failures that share a row of history. */
  'unknown_address',
  'locked_account',
  'locked_factor',
  /** Wrong device codes that somebody has typed. */
  'user_code',
  /** Mails that a network has asked for. */
  'mail',
] as const
export type Kind = (typeof KINDS)[number]

/**
 * Ten failures of one account from one network are free within 15 minutes; then each costs a wait, which
 * doubles.
 */
export const FREE_FAILURES = 10
export const WINDOW_MS = 15 * MINUTE_MS
export const FIRST_WAIT_MS = MINUTE_MS
export const LONGEST_WAIT_MS = HOUR_MS

/**
 * After this many failures in a row an account takes no password any more, except from a device that it
 * knows.
 */
export const MAX_FAILURES_IN_A_ROW = 100

/**
 * A device, or a signed-in user, has ten failures in a quarter of an hour, and in total as many as an
 * account.
 */
export const FAILURES_PER_PAUSE = 10
export const FAILURES_PAUSE_MS = 15 * MINUTE_MS

/** An account knows only this many devices, the newest: signing in again and again gives no more tries. */
export const DEVICES_PER_ACCOUNT = 20

/** How many wrong device codes a signed-in user may type (RFC 8628 section 5.1). */
export const WRONG_USER_CODES = 5
export const USER_CODES_WINDOW_MS = HOUR_MS

/** The window of a network's failures; their limit is a setting. */
export const FAILURES_WINDOW_MS = HOUR_MS

/** How often failures that share a row of history write one. */
export const TOLD_EVERY_MS = {
  unknown_address: DAY_MS,
  locked_account: HOUR_MS,
  locked_factor: DAY_MS,
} as const

/**
 * How much more a wider network may do than one network: an IPv6 /48, and an IPv4 /24 where it costs money.
 */
export const RANGE_FACTOR = { ipv6: 8, ipv4: 16 } as const

export const rateLimitUnavailable = (cause?: unknown) =>
  unavailable('rate_limit_unavailable', 'Requests cannot be counted at the moment. Try again.', cause)

/**
 * @throws 429 `too_many_requests`; 503 where the binding is missing or does not answer: nothing is let
 *   through uncounted.
 */
export async function assertWithin(
  { rateLimits }: Pick<Resources, 'rateLimits'>,
  name: LimitName,
  key: string,
): Promise<void> {
  const limiter = rateLimits[name]
  if (!limiter) throw unavailable('misconfigured', 'The rate limit bindings are missing.')
  const { success } = await limiter.limit({ key }).catch((cause) => {
    throw rateLimitUnavailable(cause)
  })
  if (!success)
    throw tooManyRequests(60, new Refusal(`limit_${name.slice('RATE_LIMIT_'.length).toLowerCase()}`))
}

/** What a signed-in request is counted for: a session or a key, and the user if it is a login's. */
interface Asker {
  sid: string
  sub?: string
  epoch?: number
  key?: unknown
  client?: unknown
}
type Counting = Pick<Resources, 'rateLimits' | 'endsTheft'>

/**
 * Counts each write of a signed-in user, before the token is looked up. By session first, so a stolen token uses up half
 * of what its owner has. All logins of an epoch are counted together: a new password, or signing out everywhere, leaves
 * whatever was stolen before in a count of its own. Keys and apps never use up what their owner has.
 */
export async function assertMayWrite(
  resources: Counting,
  { sid, sub, epoch, key, client }: Asker,
): Promise<void> {
  await assertWithin(resources, 'RATE_LIMIT_WRITES', sid)
  const isLogin = epoch !== undefined && !key && !client
  if (isLogin && !resources.endsTheft)
    await assertWithin(resources, 'RATE_LIMIT_WRITES_OF_USER', `${sub} ${epoch}`)
}

/** Counts each request of a signed-in user, as a read or a write. */
export const assertMayAsk = (resources: Counting, asker: Asker, { isRead }: { isRead: boolean }) =>
  isRead ? assertWithin(resources, 'RATE_LIMIT_READS', asker.sid) : assertMayWrite(resources, asker)

/**
 * Counts the changes of one request, the first of which its guard has counted: either all are allowed, or
 * none is made.
 */
export const assertMayWriteAll = (resources: Counting, asker: Asker, changes: number) =>
  Promise.all(Array.from({ length: Math.max(0, changes - 1) }, () => assertMayWrite(resources, asker)))

/** Counts each export file, which may read everything. */
export const assertMayExport = (resources: Pick<Resources, 'rateLimits'>, userId: string) =>
  assertWithin(resources, 'RATE_LIMIT_EXPORTS', userId)

/** Counts each metadata document of an app that is fetched because somebody came with its address. */
export const assertMayFetch = (resources: Pick<Resources, 'rateLimits'>, userId: string) =>
  assertWithin(resources, 'RATE_LIMIT_DOCUMENTS', userId)

/** The first shield of everything that takes a password or a token. */
export async function assertNetworkWithin(resources: Pick<Resources, 'rateLimits'>, ip: string | null) {
  const network = networkOf(ip)
  await assertWithin(resources, network === 'none' ? 'RATE_LIMIT_WITHOUT_IP' : 'RATE_LIMIT_BY_IP', network)
  const range = rangeOf(ip)
  if (range) await assertWithin(resources, 'RATE_LIMIT_BY_RANGE', range)
}

/**
 * Limits requests with a token of ours from a network that has reached its limit.
 *
 * @param bearer names the token and its user; or a service's secret, as a service asks about many. A user is
 *   counted by network: a copy of a token elsewhere uses nothing up here.
 */
export async function assertBearerWithin(
  resources: Resources,
  { id, of, isService = false }: { id: string; of?: string; isService?: boolean },
) {
  await assertWithin(resources, isService ? 'RATE_LIMIT_READS' : 'RATE_LIMIT_BY_TOKEN', id)
  if (of) await assertWithin(resources, 'RATE_LIMIT_BY_BEARER', `${networkOf(resources.origin.ip)} ${of}`)
}

/** Who a hash is counted for, if not their network: a known device, or a session. */
export interface Hasher {
  id: string
  /** The user, whose other devices or sessions are counted with it. */
  of: string
}
export const hasherOfDevice = ({ deviceId, userId }: KnownDevice): Hasher => ({ id: deviceId, of: userId })
export const hasherOfSession = ({ sid, sub }: { sid: string; sub: string }): Hasher => ({
  id: `session ${sid}`,
  of: `sessions ${sub}`,
})

/** Call when a hash is due, and not before. */
export async function assertMayHash(resources: Resources, hasher?: Hasher): Promise<void> {
  if (hasher) {
    await assertWithin(resources, 'RATE_LIMIT_DEVICE_HASHES', hasher.id)
    return assertWithin(resources, 'RATE_LIMIT_HASHES_OF_DEVICES', hasher.of)
  }
  const { ip } = resources.origin
  const range = rangeOf(ip)
  await assertWithin(resources, 'RATE_LIMIT_HASHES', networkOf(ip))
  if (range) await assertWithin(resources, 'RATE_LIMIT_HASHES_BY_RANGE', range)
}
