import type { Resources } from '../context.ts'
import { Refusal, tooManyRequests, unavailable } from '../http/problem.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import type { KnownDevice } from './devices.ts'
import { networkOf, rangeOf } from './networks.ts'

/** Every limit there is, with its number and what it counts. */

/** A device is known for so long, and its failures are. */
export const YEAR_MS = 366 * DAY_MS

/**
 * Counted by the platform, per location and minute. The numbers have to stand in wrangler.toml too, and a test compares.
 */
export const PER_MINUTE = {
  /** Requests of a network to what takes a password or a token. */
  RATE_LIMIT_BY_IP: 300,
  /** The same of an IPv6 /48. */
  RATE_LIMIT_BY_RANGE: 2400,
  /** The same of all who come without an address. */
  RATE_LIMIT_WITHOUT_IP: 60,
  /** Of whoever brings a token of ours (a session's, a device's, a link's), once their network has asked too often. */
  RATE_LIMIT_BY_TOKEN: 30,
  /** The same for everything that one user brings from there: signing in again and again gives nobody more. */
  RATE_LIMIT_BY_BEARER: 120,
  /** Hashes of a network, an IPv6 /48, and a device that has signed in before, or a session. */
  RATE_LIMIT_HASHES: 30,
  RATE_LIMIT_HASHES_BY_RANGE: 240,
  RATE_LIMIT_DEVICE_HASHES: 10,
  /** The same of all such devices of one user, and of all their sessions. */
  RATE_LIMIT_HASHES_OF_DEVICES: 30,
  /** Changes of a session, whatever they change. */
  RATE_LIMIT_WRITES: 120,
  /** Reads of a session, and those that may read a lot: lists, search and exports. */
  RATE_LIMIT_READS: 600,
  RATE_LIMIT_LISTS: 60,
  /** Files that one signed-in user begins: each reads all there is. */
  RATE_LIMIT_EXPORTS: 5,
  /** Refreshes of a session. */
  RATE_LIMIT_REFRESHES: 60,
  /** What a device asks that waits for its user: every five seconds, and three more for clocks that differ. */
  RATE_LIMIT_DEVICE_POLLS: 15,
  /** Documents of apps that one user has us ask for. */
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
  /** Failures that leave one row of history for many. */
  'unknown_address',
  'locked_account',
  'locked_factor',
  /** Codes of devices that somebody has typed wrong. */
  'user_code',
  /** Mails that a network asks for. */
  'mail',
] as const
export type Kind = (typeof KINDS)[number]

/** Ten failures of one account from one network are free within 15 minutes; then each costs a wait, which doubles. */
export const FREE_FAILURES = 10
export const WINDOW_MS = 15 * MINUTE_MS
export const FIRST_WAIT_MS = MINUTE_MS
export const LONGEST_WAIT_MS = HOUR_MS

/** After so many failures in a row an account takes no password any more, but from a device that it knows. */
export const MAX_FAILURES_IN_A_ROW = 100

/** A device, or somebody signed in, has ten failures in a quarter of an hour, and as many in all as an account. */
export const FAILURES_PER_PAUSE = 10
export const PAUSE_MS = 15 * MINUTE_MS

/** An account knows so many devices, the newest: whoever signs in again and again gets no more tries by it. */
export const DEVICES_PER_ACCOUNT = 20

/** Wrong codes of devices that somebody signed in may type (RFC 8628 section 5.1). */
export const WRONG_USER_CODES = 5
export const USER_CODES_WINDOW_MS = HOUR_MS

/** What a network's failures are counted in; how many may be is a setting. */
export const FAILURES_WINDOW_MS = HOUR_MS

/** How often failures that are told together leave a row of history. */
export const TOLD_EVERY_MS = {
  unknown_address: DAY_MS,
  locked_account: HOUR_MS,
  locked_factor: DAY_MS,
} as const

/** How much more a wider network may than one network: an IPv6 /48, and an IPv4 /24 where it costs money. */
export const RANGE_FACTOR = { ipv6: 8, ipv4: 16 } as const

export const rateLimitUnavailable = (cause?: unknown) =>
  unavailable('rate_limit_unavailable', 'Requests cannot be counted at the moment. Try again.', cause)

/**
 * @throws 429 `too_many_requests`; 503 where the binding is missing or does not answer: nothing is ever let through
 *   uncounted.
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

/**
 * Each change of somebody signed in. Counted by session, as it is before the token is looked up: whoever has stolen a
 * token, even one that has ended, must not use up what its owner needs to end that.
 */
export const assertMayWrite = (resources: Pick<Resources, 'rateLimits'>, sessionId: string) =>
  assertWithin(resources, 'RATE_LIMIT_WRITES', sessionId)

/** Each request of somebody signed in, as what it is. */
export const assertMayAsk = (
  resources: Pick<Resources, 'rateLimits'>,
  sessionId: string,
  { isRead }: { isRead: boolean },
) => (isRead ? assertWithin(resources, 'RATE_LIMIT_READS', sessionId) : assertMayWrite(resources, sessionId))

/** The changes that one request brings, of which its guard has counted the first: all of them, or none are made. */
export const assertMayWriteAll = (
  resources: Pick<Resources, 'rateLimits'>,
  sessionId: string,
  changes: number,
) => Promise.all(Array.from({ length: Math.max(0, changes - 1) }, () => assertMayWrite(resources, sessionId)))

/** Each file, which may read all there is. */
export const assertMayExport = (resources: Pick<Resources, 'rateLimits'>, userId: string) =>
  assertWithin(resources, 'RATE_LIMIT_EXPORTS', userId)

/** Each document of an app that is asked for because somebody came with its address. */
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
 * Whoever brings a token of ours from a network that has asked too often.
 *
 * @param bearer names of the token, and of its user; or of a service's secret, as it asks about many. A user's is counted
 *   by network: a copy of a token elsewhere uses nothing up here.
 */
export async function assertBearerWithin(
  resources: Resources,
  { id, of, isService = false }: { id: string; of?: string; isService?: boolean },
) {
  await assertWithin(resources, isService ? 'RATE_LIMIT_READS' : 'RATE_LIMIT_BY_TOKEN', id)
  if (of) await assertWithin(resources, 'RATE_LIMIT_BY_BEARER', `${networkOf(resources.origin.ip)} ${of}`)
}

/** Whom hashes are counted for, where it is not their network: a device that is known, or a session. */
export interface Hasher {
  id: string
  /** Whose others are counted with it. */
  of: string
}
export const hasherOfDevice = ({ deviceId, userId }: KnownDevice): Hasher => ({ id: deviceId, of: userId })
export const hasherOfSession = ({ sid, sub }: { sid: string; sub: string }): Hasher => ({
  id: `session ${sid}`,
  of: `sessions ${sub}`,
})

/** Asked when a hash is due, and not before. */
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
