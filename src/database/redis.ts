import { createHash } from 'node:crypto'
import { log } from '../http/log.ts'
import type { Meter } from './meter.ts'

/**
 * Reads go to the nearest region. Marks, and puts of what is only cached, go to the primary, which may be far away, so
 * they may take longer.
 */
const TIMEOUT_MS = { reads: 250, puts: 2000, marks: 2000 }
type Kind = keyof typeof TIMEOUT_MS

/** After this many failures in a row, reads or puts skip Redis for a while instead of waiting for it. */
const FAILURES_TO_REST = 5
const REST_MS = 5000
/** Per isolate, endpoint and kind. These are plain numbers, so they may outlive a request. */
const health = new Map<string, { failures: number; restsUntil: number }>()

/**
 * What Roster asks of Redis. The type of every reply is checked, as `null` means "not there". A failure is `undefined`, and
 * the caller decides what follows; so is what is skipped after several failures. Every key gets the prefix of this deployment.
 */
export interface NearStore {
  /** @param kind `marks` for the longer timeout, if nothing can go on without the answer. */
  mget(keys: string[], kind?: Kind): Promise<(string | null)[] | undefined>
  /** Stores a value for this long: after the answer. @param kind `marks` if it is to be tried in any case. */
  put(key: string, value: string, lifetimeMs: number, kind?: Kind): Promise<true | undefined>
  /** Sets keys whose mere presence matters, each for this long (0 deletes it). Tried even while reads are skipped. */
  mark(lifetimesMs: ReadonlyMap<string, number>): Promise<true | undefined>
  /**
   * Adds lines to a list sorted by score, removes those below `least`, sets marks, and moves the stored place on, all with
   * this lifetime. Does nothing and returns `false` if the place is no longer `from`.
   */
  enter(key: string, entry: ListEntry): Promise<boolean | undefined>
  /** Which of these lines such a list lacks. */
  lacking(key: string, lines: readonly string[]): Promise<string[] | undefined>
  /** The lines of such a list from one index to another; -1 is the last. */
  entered(key: string, from: number, to: number): Promise<string[] | undefined>
  /** Marks have failed several times in a row: they are still tried, but not waited for. */
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

type Command = readonly (string | number)[]

/**
 * Sends a command by Upstash's REST API: https://upstash.com/docs/redis/features/restapi. Without its client, which is a
 * method for each command and encoding of each reply: 77 KB of script, and a tenth of the time of a read by a copy.
 * Throws if there is no reply in time. Our values are ASCII, so replies need no base64.
 */
async function send(url: string, token: string, kind: Kind, command: Command): Promise<unknown> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(command),
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS[kind]),
  })
  if (answer.ok) return (await answer.json<{ result: unknown }>()).result
  await answer.body?.cancel()
  throw Object.assign(new Error('Redis refused the command'), { name: `HTTP ${answer.status}` })
}

/**
 * The prefix of each key: a digest of the issuer. Without it, a second deployment on the same Redis would mix up its
 * sessions with ours.
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

const evaluate = (script: string, keys: readonly string[], values: Command): Command => [
  'EVAL',
  script,
  keys.length,
  ...keys,
  ...values,
]

export function openRedis(url: string, token: string, meter: Meter, issuer: string): NearStore {
  const prefix = prefixes.get(issuer) ?? keyPrefixOf(issuer)
  prefixes.set(issuer, prefix)
  const ours = (keys: string[]) => keys.map((key) => prefix + key)
  const stateOf = (kind: Kind) => {
    const state = health.get(`${kind} ${url}`) ?? { failures: 0, restsUntil: 0 }
    health.set(`${kind} ${url}`, state)
    return state
  }
  /** The clock may be set back, so no rest counts that is longer than `REST_MS`. */
  const rests = (kind: Kind) => {
    const left = stateOf(kind).restsUntil - Date.now()
    return left > 0 && left <= REST_MS
  }

  async function ask<T>(
    kind: Kind,
    command: Command,
    isExpected: (reply: unknown) => reply is T,
  ): Promise<T | undefined> {
    if (kind !== 'marks' && rests(kind)) return undefined
    const state = stateOf(kind)
    try {
      const reply = await meter.time('redis', () => send(url, token, kind, command))
      if (isExpected(reply)) {
        state.failures = 0
        state.restsUntil = 0
        return reply
      }
      log('warn', { code: 'redis_unexpected_reply', kind })
    } catch (error) {
      // Only the name: the runtime's messages repeat the URL.
      log('warn', { code: 'redis_unavailable', kind, name: (error as Error).name })
    }
    state.failures += 1
    if (state.failures >= FAILURES_TO_REST) state.restsUntil = Date.now() + REST_MS
    return undefined
  }
  const does = async (kind: Kind, command: Command, expected: string | number) => {
    const isExpected = (reply: unknown): reply is unknown => String(reply) === String(expected)
    return (await ask(kind, command, isExpected)) === undefined ? undefined : true
  }

  return {
    get marksAreFailing() {
      return rests('marks')
    },
    mget: (keys, kind = 'reads') =>
      ask(
        kind,
        ['MGET', ...ours(keys)],
        (reply): reply is (string | null)[] =>
          Array.isArray(reply) &&
          reply.length === keys.length &&
          reply.every((value) => value === null || typeof value === 'string'),
      ),
    put: (key, value, lifetimeMs, kind = 'puts') =>
      does(kind, ['SET', prefix + key, value, 'PX', lifetimeMs], 'OK'),
    mark: (lifetimesMs) =>
      does('marks', evaluate(MARK, ours([...lifetimesMs.keys()]), [...lifetimesMs.values()]), 1),
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
        evaluate(ENTER, keys, values),
        (reply): reply is string | number => String(reply) === '0' || String(reply) === '1',
      )
      return said === undefined ? undefined : String(said) === '1'
    },
    lacking: async (key, lines) => {
      if (lines.length === 0) return []
      const scores = await ask(
        'marks',
        ['ZMSCORE', prefix + key, ...lines],
        (reply): reply is unknown[] => Array.isArray(reply) && reply.length === lines.length,
      )
      return scores && lines.filter((_, index) => scores[index] === null)
    },
    entered: (key, from, to) =>
      ask(
        'marks',
        ['ZRANGE', prefix + key, from, to],
        (reply): reply is string[] => Array.isArray(reply) && reply.every((line) => typeof line === 'string'),
      ),
    ping: () => does('reads', ['PING'], 'PONG'),
  }
}
