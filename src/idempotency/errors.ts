import { AppError } from '../http/problem.ts'

export const idempotencyKeyReused = () =>
  new AppError(422, 'idempotency_key_reused', 'This Idempotency-Key has been used for a different request.')

export const answerGone = () =>
  new AppError(410, 'gone', 'What this Idempotency-Key created is gone, and so is its answer.')
