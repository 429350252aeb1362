import { AppError, unavailable } from '../http/problem.ts'

const challenge = (params: string) => ({ headers: { 'www-authenticate': `Bearer realm="roster"${params}` } })

export const unauthenticated = () =>
  new AppError(
    401,
    'unauthenticated',
    'This needs an access token: Authorization: Bearer <token>.',
    challenge(''),
  )
/** One answer for every token that is not good: which check failed is nobody's business but the log's. */
export const invalidToken = (cause?: unknown) =>
  new AppError(401, 'invalid_token', 'The access token is expired, revoked or not valid.', {
    cause,
    ...challenge(', error="invalid_token"'),
  })
export const invalidCredentials = () =>
  new AppError(401, 'invalid_credentials', 'E-mail address or password are not right.', challenge(''))
export const invalidRefreshToken = () =>
  new AppError(
    401,
    'invalid_refresh_token',
    'The refresh token is expired or not valid. Log in again.',
    challenge(''),
  )
export const sessionRevoked = () =>
  new AppError(401, 'session_revoked', 'The session has been ended. Log in again.', challenge(''))
export const forbidden = () => new AppError(403, 'forbidden', 'Your role does not allow this.')
export const reauthenticationRequired = () =>
  new AppError(403, 'reauthentication_required', 'Log in again: this needs a login of the last ten minutes.')
export const wrongPassword = () => new AppError(403, 'wrong_password', 'The current password is not right.')
export const tooManyAttempts = (retryAfterSeconds: number) =>
  new AppError(429, 'too_many_attempts', 'Too many failed attempts. Wait as long as Retry-After says.', {
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
export const sessionNotFound = () => new AppError(404, 'session_not_found', 'There is no such session.')
export const idempotencyKeyReused = () =>
  new AppError(422, 'idempotency_key_reused', 'This Idempotency-Key has been used for a different request.')
/** One answer for every link and code that is not good: unknown, used, expired, or for something else. */
export const invalidLink = () =>
  new AppError(400, 'invalid_link', 'The link or code is not valid, has been used, or has expired.')
export const emailNotVerified = () =>
  new AppError(403, 'email_not_verified', 'Confirm your e-mail address first: a link is in your mail.')
export const signupClosed = () => new AppError(403, 'signup_closed', 'Accounts are made by invitation only.')
export const signupDomainRefused = () =>
  new AppError(403, 'signup_domain_refused', 'Accounts are not made for this mail domain.')
export const mailNotConfigured = () =>
  unavailable('mail_not_configured', 'This needs mail, and none is configured.', undefined, 60)
