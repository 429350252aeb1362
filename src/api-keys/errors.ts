import { AppError } from '../http/problem.ts'

export const apiKeyNotFound = () => new AppError(404, 'api_key_not_found', 'You have no such key.')

export const tooManyApiKeys = () =>
  new AppError(409, 'too_many_api_keys', 'You have 50 keys already. Revoke one first.')

export const apiKeyExpired = () =>
  new AppError(409, 'api_key_expired', 'This key has expired: make another one.')
