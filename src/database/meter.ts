type Upstream = 'db' | 'redis'

/** Counts the calls of one request: how many, how long, and how many had to wait for one another. */
export interface Meter {
  time<T>(upstream: Upstream, call: () => Promise<T>): Promise<T>
  /** One more attempt at a call that was counted already. */
  retried(): void
  /** Calls that waited for one another, and attempts that had to be repeated. */
  readonly spent: { trips: number; retries: number }
  /** How many there were, of each. */
  readonly calls: { db: number; redis: number }
  /** The value of a `Server-Timing` header (durations in ms). */
  toServerTiming(): string
}

export function openMeter(): Meter {
  const calls = { db: 0, redis: 0 }
  const spentMs = { db: 0, redis: 0 }
  // Finished calls only: an answer does not wait for what goes on after it.
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
