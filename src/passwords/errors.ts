import { AppError, type Refusal } from '../http/problem.ts'

export const wrongPassword = (cause?: Refusal) =>
  new AppError(403, 'wrong_password', 'The current password is not right.', { cause })
