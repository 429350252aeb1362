import { inject, test } from 'vitest'
import type { Resources } from '../../src/context.ts'
import type { LogEntry, Mode, Upstream } from './proxy.ts'

/**
 * A separate path to the upstreams, for a test that counts calls or breaks something. `bindings` go into the Worker's
 * env. The database and Redis behind it are shared by all tests, unless made by `freshUpstreams`.
 */
export function upstreams(label: string = crypto.randomUUID()) {
  const base = `${inject('proxyUrl')}/${label}`
  return {
    bindings: {
      ...(inject('bindings') as Record<'UPSTASH_REDIS_REST_TOKEN', string>),
      TURSO_DATABASE_URL: `${base}/libsql/`,
      UPSTASH_REDIS_REST_URL: `${base}/redis/`,
      RESEND_URL: `${base}/mail`,
    },
    /** How the next requests fare: `{ mode: 'down' }`, `{ mode: 'latency', ms: 300, next: 1 }`… */
    async behave(upstream: Upstream, mode: Mode) {
      const answer = await fetch(`${base}/${upstream}/__mode`, { method: 'PUT', body: JSON.stringify(mode) })
      if (!answer.ok) throw new Error(await answer.text())
    },
    /**
     * Runs `request`, and `meanwhile` before its `nth` write arrives (of those with the text `only`), so that what
     * the request has read is out of date. `wasHeld` is false if it made no such write.
     */
    async between<T>(
      request: () => Promise<T>,
      meanwhile: () => Promise<unknown>,
      { nth = 1, only = 'BEGIN IMMEDIATE' } = {},
    ): Promise<{ result: T; wasHeld: boolean }> {
      const held: Mode = { mode: 'held', next: 1, after: nth - 1, only }
      const set = (mode: Mode) =>
        fetch(`${base}/libsql/__mode`, { method: 'PUT', body: JSON.stringify(mode) })
      await fetch(`${base}/__log`, { method: 'DELETE' })
      await set(held)
      const running = request()
      let isRunning = true
      const ended = running
        .catch(() => {})
        .then(() => {
          isRunning = false
        })
      const isHeld = async () => {
        const calls = (await (await fetch(`${base}/__log`)).json()) as LogEntry[]
        return calls.some(({ mode, endMs }) => mode === 'held' && endMs === null)
      }
      let wasHeld = false
      while (isRunning && !wasHeld) {
        await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 10))])
        wasHeld = await isHeld()
      }
      if (wasHeld) await meanwhile()
      await set({ mode: 'pass' })
      return { result: await running, wasHeld }
    },
    /**
     * Runs `action` while libSQL's replica lags: reads find everything as it was before, unless they ask the primary.
     * Only for upstreams made by `freshUpstreams`.
     */
    async whileLagging<T>(action: () => Promise<T>): Promise<T> {
      const lag = async (method: 'POST' | 'DELETE') => {
        const answer = await fetch(`${base}/__lag`, { method })
        if (!answer.ok) throw new Error(await answer.text())
      }
      await lag('POST')
      try {
        return await action()
      } finally {
        await lag('DELETE')
      }
    },
    /** Lets requests arrive that are adrift, or that come once more, and waits for them. Returns how many. */
    async land(): Promise<number> {
      const log = async () => (await (await fetch(`${base}/__log`)).json()) as LogEntry[]
      const before = await log()
      const count = (entries: LogEntry[], mode: string) => entries.filter((entry) => entry.mode === mode)
      const expected = count(before, 'adrift').length + count(before, 'echo').length
      await fetch(`${base}/libsql/__mode`, { method: 'PUT', body: JSON.stringify({ mode: 'pass' }) })
      for (;;) {
        const now = await log()
        const echoes = count(now, 'echo').slice(count(before, 'echo').length)
        const landed = [...count(now, 'adrift'), ...echoes].filter(({ statements }) => statements.length > 0)
        if (landed.length >= expected) return expected
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    },
    /** The calls since `between` or `measure` began. */
    calls: async () => (await (await fetch(`${base}/__log`)).json()) as LogEntry[],
    /** The calls made while `action` ran, in order, and their depth: the longest chain of calls that waited for another. */
    async measure<T>(action: () => Promise<T>) {
      await fetch(`${base}/__log`, { method: 'DELETE' })
      const result = await action()
      const calls = (await (await fetch(`${base}/__log`)).json()) as LogEntry[]
      return { result, calls, depth: depthOf(calls) }
    },
  }
}

/** Those of this test file. */
const fresh: string[] = []

/** Ends them: hundreds that wait for nothing would slow down the rest of a run. */
export const closeFreshUpstreams = () =>
  Promise.all(fresh.map((label) => fetch(`${inject('proxyUrl')}/${label}/__fresh`, { method: 'DELETE' })))

/**
 * Upstreams that nobody else uses: a migrated database without people (`migrations`: only that many) and an empty
 * Redis. Takes about a second.
 */
export async function freshUpstreams(schema: { migrations?: number } = {}) {
  const answer = await fetch(`${inject('proxyUrl')}/__fresh`, {
    method: 'POST',
    body: JSON.stringify(schema),
  })
  if (!answer.ok) throw new Error(await answer.text())
  const { label } = (await answer.json()) as { label: string }
  fresh.push(label)
  return upstreams(label)
}

/** Does something right after the first read with these resources, so that what the read did not find exists from then on. */
export function behindFirstRead(resources: Resources, act: () => Promise<unknown>): void {
  const { db } = resources
  let isFirst = true
  resources.db = {
    ...db,
    async read(batch) {
      const read = await db.read(batch)
      if (isFirst) {
        isFirst = false
        await act()
      }
      return read
    },
  }
}

/** For tests about Redis itself, which cannot pass when the suite runs without Redis. */
export const testOfRedis = test.skipIf(inject('redisMode') !== 'pass')

/**
 * What `/ready` said: a problem's code, or `ready` or `degraded`. If the suite runs without Redis, what it would have
 * said with Redis.
 */
export function readinessOf(body: { [member: string]: unknown }): unknown {
  if (body.code !== undefined || inject('redisMode') === 'pass') return body.code ?? body.status
  const checks = body.checks as { name: string; status: string }[]
  return checks.every(({ name, status }) => name === 'redis' || status === 'ok') ? 'ready' : body.status
}

function depthOf(calls: LogEntry[]): number {
  let depth = 0
  let waveEndsMs = Number.NEGATIVE_INFINITY
  for (const { startMs, endMs } of calls) {
    // Calls run in waves. A call that began after one of the wave had ended may have waited for it; a call that
    // overlaps all of them did not.
    if (startMs >= waveEndsMs) {
      depth += 1
      waveEndsMs = Number.POSITIVE_INFINITY
    }
    waveEndsMs = Math.min(waveEndsMs, endMs ?? Number.POSITIVE_INFINITY)
  }
  return depth
}
