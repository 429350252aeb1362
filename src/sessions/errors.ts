import { AppError, Refusal } from '../http/problem.ts'

export const unauthenticated = () =>
  new AppError(401, 'unauthenticated', 'This needs an access token: Authorization: Bearer <token>.', {
    cause: new Refusal('absent'),
  })

/** One answer for every invalid token: only the log says which check failed. */
export const invalidToken = (cause?: unknown) =>
  new AppError(401, 'invalid_token', 'The access token is expired, revoked or not valid.', {
    cause,
  })

export const invalidRefreshToken = (cause?: unknown) =>
  new AppError(401, 'invalid_refresh_token', 'The refresh token is expired or not valid. Log in again.', {
    cause,
  })

export const sessionRevoked = (cause?: unknown) =>
  new AppError(401, 'session_revoked', 'The session has been ended. Log in again.', {
    cause,
  })

export const sessionNotFound = () => new AppError(404, 'session_not_found', 'There is no such session.')
