import { AppError, type Refusal } from '../http/problem.ts'

export const tooManyAttempts = (retryAfterSeconds: number, cause?: Refusal) =>
  new AppError(429, 'too_many_attempts', 'Too many failed attempts. Wait as long as Retry-After says.', {
    cause,
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
