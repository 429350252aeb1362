import { AppError, unavailable } from '../http/problem.ts'

export const mailNotConfigured = () =>
  unavailable('mail_not_configured', 'This needs mail, and none is configured.', undefined, 60)
export const mailNotFound = () => new AppError(404, 'mail_not_found', 'There is no such mail.')
export const mailEnded = () =>
  new AppError(409, 'mail_ended', 'This mail is out of date: what it says is no longer true.')
