import { MINUTE_MS } from '../values/durations.ts'

/** How far a replica may lag. */
const LAG_MS = MINUTE_MS

/** Whether a replica may not have heard of it yet: then the primary is asked. Both in epoch ms. */
export const isYoung = (madeAt: number, now: number) => now - madeAt < LAG_MS
