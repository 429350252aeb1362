type Upstream = 'db' | 'redis'

/** Counts the calls of one request: how many, how long they took, and how many were sequential. */
export interface Meter {
  time<T>(upstream: Upstream, call: () => Promise<T>): Promise<T>
  /** One more attempt at a call that was already counted. */
  retried(): void
  /** Sequential calls, and attempts that were retries. */
  readonly spent: { trips: number; retries: number }
  /** How many calls there were of each. */
  readonly calls: { db: number; redis: number }
  /** The value of a `Server-Timing` header (durations in ms). */
  toServerTiming(): string
}

export function openMeter(): Meter {
  const calls = { db: 0, redis: 0 }
  const spentMs = { db: 0, redis: 0 }
  // Only finished calls: an answer does not wait for work that goes on after it.
  let depthFinished = 0
  let retries = 0
  return {
    async time(upstream, call) {
      const depth = depthFinished + 1
      calls[upstream]++
      const startedAt = Date.now()
      try {
        return await call()
      } finally {
        spentMs[upstream] += Date.now() - startedAt
        depthFinished = Math.max(depthFinished, depth)
      }
    },
    retried: () => void retries++,
    get spent() {
      return { trips: depthFinished, retries }
    },
    calls,
    toServerTiming: () =>
      [
        `db;dur=${spentMs.db};desc="${calls.db}"`,
        `redis;dur=${spentMs.redis};desc="${calls.redis}"`,
        `depth;desc="${depthFinished}"`,
      ].join(', '),
  }
}
