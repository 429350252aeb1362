import { AppError, type Refusal } from '../http/problem.ts'

/** One answer for every invalid link and code: unknown, used, expired, or for something else. */
export const invalidLink = (cause?: Refusal) =>
  new AppError(400, 'invalid_link', 'The link or code is not valid, has been used, or has expired.', {
    cause,
  })
