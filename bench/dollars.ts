import { PRICES } from './prices.ts'
import type { Results } from './results.ts'

interface Dollars {
  workers: number
  rowsRead: number
  rowsWritten: number
  redis: number
  together: number
}

/** A read of oneself without a cached copy. Only its trips are measured; its CPU time is taken from the read with one. */
export const WITHOUT_COPY = 'read of oneself, no copy'

/** The price of a million of an operation beyond what the plans include; undefined if it was not measured. */
export function dollarsPerMillion({ ratios, trips }: Results, operation: string): Dollars | undefined {
  const { workers, turso, upstash } = PRICES
  const trip = trips.find((it) => it.operation === operation)
  // The first match has the fewest connections.
  const ratio = ratios.find(
    (it) => it.operation === (operation === WITHOUT_COPY ? 'read of oneself' : operation),
  )
  if (!trip || !ratio) return undefined
  const parts = {
    workers: workers.perMillionRequests + ratio.roster.cpuMs * workers.perMillionCpuMs,
    rowsRead: (trip.rowsRead / 1000) * turso.perBillionRowsRead,
    rowsWritten: trip.rowsWritten * turso.perMillionRowsWritten,
    redis: trip.redis * 10 * upstash.per100kCommands,
  }
  return { ...parts, together: Object.values(parts).reduce((all, part) => all + part, 0) }
}

/**
 * Prices before near reads and the cut in writes (commit 126f9db), at the same list prices. Each signed-in read asked
 * both Redis and libSQL then, so one figure covers all reads.
 */
export const BEFORE: Record<string, number> = {
  'read of oneself': 2.32,
  [WITHOUT_COPY]: 2.32,
  'read of a person': 2.32,
  login: 22.8,
  refresh: 9.34,
}
