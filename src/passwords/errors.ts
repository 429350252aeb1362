import { AppError } from '../http/problem.ts'

export const wrongPassword = () => new AppError(403, 'wrong_password', 'The current password is not right.')
