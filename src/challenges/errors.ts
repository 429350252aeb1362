import { AppError, type Refusal } from '../http/problem.ts'

/** One answer for every invalid challenge: somebody else's, expired, used, or tried too often. */
export const challengeSpent = (cause?: Refusal) =>
  new AppError(401, 'challenge_spent', 'That took too long, or too many tries. Start again.', { cause })
