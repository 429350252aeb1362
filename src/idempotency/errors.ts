import { AppError } from '../http/problem.ts'

export const idempotencyKeyReused = () =>
  new AppError(422, 'idempotency_key_reused', 'This Idempotency-Key has been used for a different request.')
