import { AppError } from '../http/problem.ts'

export const clientNotFound = () => new AppError(404, 'client_not_found', 'There is no such client.')
export const clientHasNoSecret = () =>
  new AppError(409, 'client_has_no_secret', 'This client does not sign in by a secret.')
export const tooManyClients = () =>
  new AppError(409, 'too_many_clients', 'There are 500 clients already. Remove one first.')
