import { AppError, invalidInput, type Refusal } from '../http/problem.ts'

export const wrongPassword = (cause?: Refusal) =>
  new AppError(403, 'wrong_password', 'The current password is not right.', { cause })

/** A new password that equals the old one: a thief of the old one would know it. */
export const unchangedPassword = () =>
  invalidInput([{ pointer: '/new_password', code: 'unchanged', detail: 'This is already the password.' }])
