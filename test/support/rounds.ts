import { inject } from 'vitest'

/** How often a long test goes round: `npm test` takes the sample, `npm run test:faults` the whole. */
export const rounds = (sample: number, whole: number) => (inject('whole') ? whole : sample)
