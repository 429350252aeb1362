import { Redis } from '@upstash/redis/cloudflare'
import type { Meter } from './meter.ts'

const TIMEOUT_MS = 250

/**
 * What Roster asks of Redis, with every reply's type checked: after a timeout the client may answer `null` where
 * it should throw, and `null` would read as "not revoked". A failure is `undefined`, for the caller to decide on.
 */
export interface BlocklistStore {
  mget(keys: string[]): Promise<(string | null)[] | undefined>
  /** Runs a script that answers 1. */
  run(script: string, keys: string[], args: string[]): Promise<true | undefined>
  ping(): Promise<true | undefined>
}

export function openRedis(url: string, token: string, meter: Meter): BlocklistStore {
  const redis = new Redis({
    url,
    token,
    retry: { retries: 0 },
    // The function form: a signal made once would be spent by the first request.
    signal: () => AbortSignal.timeout(TIMEOUT_MS),
    enableAutoPipelining: false,
    automaticDeserialization: false,
    enableTelemetry: false,
    readYourWrites: false,
  })

  async function ask<T>(call: () => Promise<unknown>, isExpected: (reply: unknown) => reply is T) {
    try {
      const reply = await meter.time('redis', call)
      if (isExpected(reply)) return reply
      console.warn(JSON.stringify({ level: 'warn', code: 'redis_unexpected_reply' }))
    } catch (error) {
      // Only the name: the message repeats the whole command, and the token with it.
      console.warn(JSON.stringify({ level: 'warn', code: 'redis_unavailable', cause: (error as Error).name }))
    }
    return undefined
  }

  return {
    mget: (keys) =>
      ask(
        () => redis.mget<unknown[]>(...keys),
        (reply): reply is (string | null)[] =>
          Array.isArray(reply) &&
          reply.length === keys.length &&
          reply.every((value) => value === null || typeof value === 'string'),
      ),
    run: async (script, keys, args) =>
      (await ask(
        () => redis.eval(script, keys, args),
        (reply): reply is 1 => Number(reply) === 1,
      )) && true,
    ping: async () =>
      (await ask(
        () => redis.ping(),
        (reply): reply is 'PONG' => reply === 'PONG',
      )) && true,
  }
}
