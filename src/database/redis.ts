import { createHash } from 'node:crypto'
import { Redis } from '@upstash/redis/cloudflare'
import { log } from '../http/log.ts'
import type { Meter } from './meter.ts'

/** Reads are asked of the nearest region; marks go to the primary, which may be far away: slow is not down. */
const TIMEOUT_MS = { reads: 250, marks: 2000 }
type Kind = keyof typeof TIMEOUT_MS

/** After so many failures in a row Redis is left alone for a while: waiting for it helps nobody. */
const FAILURES_TO_REST = 5
const REST_MS = 5000
/** Per isolate, endpoint and kind. Plain numbers, so they may outlive a request. */
const health = new Map<string, { failures: number; restsUntil: number }>()

/**
 * What Roster asks of Redis, with every reply's type checked: after a timeout the client may answer `null` where
 * it should throw, and `null` would read as "nothing is known". A failure is `undefined`, for the caller to decide on;
 * so is a Redis that rests after several. Keys are those of this deployment: a prefix is put before each.
 */
export interface NearStore {
  /** As `marks` it is waited for as long as for those, where without an answer nothing goes on. */
  mget(keys: string[], kind?: Kind): Promise<(string | null)[] | undefined>
  /** Keeps a value for so long. As `marks` it is waited for as long as for those. */
  put(key: string, value: string, lifetimeMs: number, kind?: Kind): Promise<true | undefined>
  /** Sets keys that say something by being there, each for so long (0: takes it away). Always tried, also while reads rest. */
  mark(lifetimesMs: ReadonlyMap<string, number>): Promise<true | undefined>
  /**
   * Adds lines to a list in the order of their scores, takes those below `least` away, marks, and moves a place on, each
   * for so long: all of it, or nothing and `false` where the place is not `from` any more.
   */
  enter(key: string, entry: ListEntry): Promise<boolean | undefined>
  /** Which of these lines such a list has not. */
  lacking(key: string, lines: readonly string[]): Promise<string[] | undefined>
  /** Lines of such a list, from one place to another; -1 is the last. */
  entered(key: string, from: number, to: number): Promise<string[] | undefined>
  /** Marks have failed several times in a row: they are still tried, but are not worth waiting for. */
  readonly marksAreFailing: boolean
  ping(): Promise<true | undefined>
}

interface ListEntry {
  lines: ReadonlyMap<string, number>
  least: number
  marks: readonly string[]
  place: { key: string; from: string; to: string }
  lifetimeMs: number
}

/** A client is settings and a method for each command. Making one is slow, and it keeps nothing of a request. */
const clients = new Map<string, Redis>()

function clientOf(url: string, token: string, kind: Kind): Redis {
  const key = `${kind} ${url} ${token}`
  const client =
    clients.get(key) ??
    new Redis({
      url,
      token,
      retry: { retries: 0 },
      // The function form: a signal made once would be spent by the first request.
      signal: () => AbortSignal.timeout(TIMEOUT_MS[kind]),
      enableAutoPipelining: false,
      automaticDeserialization: false,
      // Every value here is a number or a word.
      responseEncoding: false,
      enableTelemetry: false,
      readYourWrites: false,
    })
  clients.set(key, client)
  return client
}

/**
 * What each key begins with: a digest of the issuer. A copy of the deployment that was given the same Redis would else
 * shut people out of this one.
 */
export const keyPrefixOf = (issuer: string) =>
  `${createHash('sha256').update(issuer).digest('base64url').slice(0, 8)}:`
const prefixes = new Map<string, string>()

const MARK = `
for i, key in ipairs(KEYS) do
  if ARGV[i] == '0' then redis.call('DEL', key) else redis.call('SET', key, '1', 'PX', ARGV[i]) end
end
return 1`

const ENTER = `
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
for i = 3, #KEYS do redis.call('SET', KEYS[i], '1', 'PX', ARGV[4]) end
for i = 5, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])
return 1`

export function openRedis(url: string, token: string, meter: Meter, issuer: string): NearStore {
  const prefix = prefixes.get(issuer) ?? keyPrefixOf(issuer)
  prefixes.set(issuer, prefix)
  const ours = (keys: string[]) => keys.map((key) => prefix + key)
  const stateOf = (kind: Kind) => {
    const state = health.get(`${kind} ${url}`) ?? { failures: 0, restsUntil: 0 }
    health.set(`${kind} ${url}`, state)
    return state
  }
  /** By the clock, which may be set back: no rest is longer than a rest. */
  const rests = (kind: Kind) => {
    const left = stateOf(kind).restsUntil - Date.now()
    return left > 0 && left <= REST_MS
  }

  async function ask<T>(
    kind: Kind,
    call: (redis: Redis) => Promise<unknown>,
    isExpected: (reply: unknown) => reply is T,
  ): Promise<T | undefined> {
    if (kind === 'reads' && rests(kind)) return undefined
    const state = stateOf(kind)
    try {
      const reply = await meter.time('redis', () => call(clientOf(url, token, kind)))
      if (isExpected(reply)) {
        state.failures = 0
        state.restsUntil = 0
        return reply
      }
      log('warn', { code: 'redis_unexpected_reply' })
    } catch (error) {
      // Only the name: the message repeats the whole command, and the token with it.
      log('warn', { code: 'redis_unavailable', name: (error as Error).name })
    }
    state.failures += 1
    if (state.failures >= FAILURES_TO_REST) state.restsUntil = Date.now() + REST_MS
    return undefined
  }
  const does = async (kind: Kind, call: (redis: Redis) => Promise<unknown>, expected: string | number) => {
    const isExpected = (reply: unknown): reply is unknown => String(reply) === String(expected)
    return (await ask(kind, call, isExpected)) === undefined ? undefined : true
  }

  return {
    get marksAreFailing() {
      return rests('marks')
    },
    mget: (keys, kind = 'reads') =>
      ask(
        kind,
        (redis) => redis.mget<unknown[]>(...ours(keys)),
        (reply): reply is (string | null)[] =>
          Array.isArray(reply) &&
          reply.length === keys.length &&
          reply.every((value) => value === null || typeof value === 'string'),
      ),
    put: (key, value, lifetimeMs, kind = 'reads') =>
      does(kind, (redis) => redis.set(prefix + key, value, { px: lifetimeMs }), 'OK'),
    mark: async (lifetimesMs) => {
      const values = [...lifetimesMs.values()].map(String)
      return does('marks', (redis) => redis.eval(MARK, ours([...lifetimesMs.keys()]), values), 1)
    },
    enter: async (key, { lines, least, marks, place, lifetimeMs }) => {
      const keys = ours([key, place.key, ...marks])
      const values = [
        place.from,
        place.to,
        least,
        lifetimeMs,
        ...[...lines].flatMap(([line, score]) => [score, line]),
      ]
      const said = await ask(
        'marks',
        (redis) => redis.eval(ENTER, keys, values.map(String)),
        (reply): reply is string | number => String(reply) === '0' || String(reply) === '1',
      )
      return said === undefined ? undefined : String(said) === '1'
    },
    lacking: async (key, lines) => {
      if (lines.length === 0) return []
      const scores = await ask(
        'marks',
        (redis) => redis.zmscore(prefix + key, [...lines]),
        (reply): reply is unknown[] => Array.isArray(reply) && reply.length === lines.length,
      )
      return scores && lines.filter((_, index) => scores[index] === null)
    },
    entered: (key, from, to) =>
      ask(
        'marks',
        (redis) => redis.zrange<unknown[]>(prefix + key, from, to),
        (reply): reply is string[] => Array.isArray(reply) && reply.every((line) => typeof line === 'string'),
      ),
    ping: () => does('reads', (redis) => redis.ping(), 'PONG'),
  }
}
