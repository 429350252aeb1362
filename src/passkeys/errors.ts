import { AppError, type Refusal } from '../http/problem.ts'

export const invalidPasskey = (cause?: Refusal) =>
  new AppError(400, 'invalid_passkey', 'That passkey is not accepted here, or it took too long.', {
    cause,
  })
export const passkeyExists = () =>
  new AppError(409, 'passkey_exists', 'This passkey is on an account already.')
export const tooManyPasskeys = () =>
  new AppError(409, 'too_many_passkeys', 'An account has at most 20 passkeys. Remove one first.')
export const passkeyNotFound = () => new AppError(404, 'passkey_not_found', 'There is no such passkey.')
