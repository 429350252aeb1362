import { MINUTE_MS } from '../values/durations.ts'

/** The longest replica lag. */
const LAG_MS = MINUTE_MS

/**
 * Whether this is so recent that a replica may not have it yet, so the primary is asked. Both in epoch ms.
 */
export const replicaMayMiss = (madeAt: number, now: number) => now - madeAt < LAG_MS
