import { createHash } from 'node:crypto'
import { Redis } from '@upstash/redis/cloudflare'
import { log } from '../http/log.ts'
import type { Meter } from './meter.ts'

const TIMEOUT_MS = 250

/** After so many failures in a row Redis is left alone for a while: waiting for it helps nobody. */
const FAILURES_TO_REST = 5
const REST_MS = 5000
/** Per isolate and endpoint. Plain numbers, so they may outlive a request. */
const health = new Map<string, { failures: number; restsUntil: number }>()

/**
 * What Roster asks of Redis, with every reply's type checked: after a timeout the client may answer `null` where
 * it should throw, and `null` would read as "not revoked". A failure is `undefined`, for the caller to decide on;
 * so is a Redis that rests after several. Keys are those of this deployment: a prefix is put before each.
 */
export interface BlocklistStore {
  mget(keys: string[]): Promise<(string | null)[] | undefined>
  /** Runs a script that answers 1. */
  run(script: string, keys: string[], args: string[]): Promise<true | undefined>
  ping(): Promise<true | undefined>
}

/** A client is settings and a method for each command: dear to make, and nothing of a request is left in it. */
const clients = new Map<string, Redis>()

function clientOf(url: string, token: string): Redis {
  const key = `${url} ${token}`
  const client =
    clients.get(key) ??
    new Redis({
      url,
      token,
      retry: { retries: 0 },
      // The function form: a signal made once would be spent by the first request.
      signal: () => AbortSignal.timeout(TIMEOUT_MS),
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

export function openRedis(url: string, token: string, meter: Meter, issuer: string): BlocklistStore {
  const redis = clientOf(url, token)
  const prefix = prefixes.get(issuer) ?? keyPrefixOf(issuer)
  prefixes.set(issuer, prefix)
  const ours = (keys: string[]) => keys.map((key) => prefix + key)

  const state = health.get(url) ?? { failures: 0, restsUntil: 0 }
  health.set(url, state)

  async function ask<T>(call: () => Promise<unknown>, isExpected: (reply: unknown) => reply is T) {
    if (Date.now() < state.restsUntil) return undefined
    try {
      const reply = await meter.time('redis', call)
      if (isExpected(reply)) {
        state.failures = 0
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

  return {
    mget: (keys) =>
      ask(
        () => redis.mget<unknown[]>(...ours(keys)),
        (reply): reply is (string | null)[] =>
          Array.isArray(reply) &&
          reply.length === keys.length &&
          reply.every((value) => value === null || typeof value === 'string'),
      ),
    run: async (script, keys, args) =>
      (await ask(
        () => redis.eval(script, ours(keys), args),
        (reply): reply is 1 => Number(reply) === 1,
      )) && true,
    ping: async () =>
      (await ask(
        () => redis.ping(),
        (reply): reply is 'PONG' => reply === 'PONG',
      )) && true,
  }
}
