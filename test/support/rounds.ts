import { inject } from 'vitest'

/** How many rounds a long test has: `npm test` runs a sample, `npm run test:faults` all. */
export const rounds = (sample: number, whole: number) => (inject('whole') ? whole : sample)
