import { AppError } from '../http/problem.ts'

export const tooManyAttempts = (retryAfterSeconds: number) =>
  new AppError(429, 'too_many_attempts', 'Too many failed attempts. Wait as long as Retry-After says.', {
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
