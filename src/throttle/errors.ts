import { AppError, type Refusal, unavailable } from '../http/problem.ts'

export const tooManyAttempts = (retryAfterSeconds: number, cause?: Refusal) =>
  new AppError(429, 'too_many_attempts', 'Too many failed attempts. Wait as long as Retry-After says.', {
    cause,
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
export const challengeFailed = (cause?: Refusal) =>
  new AppError(403, 'challenge_failed', 'Signing up takes a fresh token from the bot challenge.', { cause })
export const challengeUnavailable = (cause?: unknown) =>
  unavailable('challenge_unavailable', 'The bot challenge cannot be checked now. Nothing was changed.', cause)
