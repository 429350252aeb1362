type Upstream = 'db' | 'redis'

/** Counts the calls of one request: how many, how long, and how many had to wait for one another. */
export interface Meter {
  time<T>(upstream: Upstream, call: () => Promise<T>): Promise<T>
  /** The value of a `Server-Timing` header (durations in ms). */
  toServerTiming(): string
}

export function openMeter(): Meter {
  const calls = { db: 0, redis: 0 }
  const spentMs = { db: 0, redis: 0 }
  let deepestFinished = 0
  let deepest = 0
  return {
    async time(upstream, call) {
      const depth = deepestFinished + 1
      deepest = Math.max(deepest, depth)
      calls[upstream]++
      const startedAt = Date.now()
      try {
        return await call()
      } finally {
        spentMs[upstream] += Date.now() - startedAt
        deepestFinished = Math.max(deepestFinished, depth)
      }
    },
    toServerTiming: () =>
      [
        `db;dur=${spentMs.db};desc="${calls.db}"`,
        `redis;dur=${spentMs.redis};desc="${calls.redis}"`,
        `depth;desc="${deepest}"`,
      ].join(', '),
  }
}
