import { AppError, Refusal } from '../http/problem.ts'
import type { AuthorizeError } from './authorize-request.ts'

export const clientNotFound = () => new AppError(404, 'client_not_found', 'There is no such client.')
export const clientHasNoSecret = () =>
  new AppError(409, 'client_has_no_secret', 'This client does not use a secret.')
export const resourceTaken = () =>
  new AppError(409, 'resource_taken', 'Another client has one of these resources.')
export const tooManyClients = () =>
  new AppError(409, 'too_many_clients', 'There are 500 clients already. Remove one first.')

/** The error codes of OAuth and OpenID Connect at the endpoints that clients call (RFC 6749 section 5.2). */
export type OAuthCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'unsupported_token_type'
  | 'invalid_scope'
  // RFC 8628 section 3.5.
  | 'authorization_pending'
  | 'slow_down'
  | 'expired_token'
  | AuthorizeError

/** An answer at the endpoints that clients ask: `error` and `error_description`. */
export const oauthError = (code: OAuthCode, detail: string, cause?: unknown) =>
  new AppError(code === 'invalid_client' ? 401 : 400, code, detail, {
    isOAuth: true,
    cause,
    ...(code === 'invalid_client' && {
      headers: { 'www-authenticate': 'Basic realm="roster", charset="UTF-8"' },
    }),
  })

export const invalidClient = (cause?: unknown) =>
  oauthError(
    'invalid_client',
    'The client is unknown, or did not authenticate as it is registered to.',
    cause,
  )
export const invalidGrant = (cause?: unknown) =>
  oauthError(
    'invalid_grant',
    'The code or token is not valid, has been used, or was issued to somebody else.',
    cause,
  )

export const NO_SUCH_TARGET = 'There is no such service here, or the grant is for another.'
export const invalidTarget = () => oauthError('invalid_target', NO_SUCH_TARGET)

/** For requests whose browser cannot be redirected: no valid app, or none of its redirect URIs. */
export const badAuthorizeRequest = (detail: string, cause?: unknown) =>
  new AppError(400, 'bad_authorize_request', detail, { cause: cause ?? namedIn(detail) })

/** For the log: the parameter with which the sentence begins. */
const namedIn = (detail: string) => {
  const [name] = /^[a-z][a-z_]+(?= )/.exec(detail) ?? []
  return new Refusal(name === undefined ? 'form' : `param_${name}`)
}

/** For an invalid logout request: no session ends, and the browser is not redirected. */
export const badLogoutRequest = (detail: string, cause?: unknown) =>
  new AppError(400, 'bad_logout_request', detail, { cause: cause ?? namedIn(detail) })

export const tooManyApps = () =>
  new AppError(
    409,
    'too_many_apps',
    'You already let 50 unregistered apps use your account. Remove one first.',
  )
export const grantNotFound = () =>
  new AppError(404, 'grant_not_found', 'No such app has access to your account.')

export const scopeNotGranted = () =>
  new AppError(422, 'scope_not_granted', 'You have not granted that. Only the app can ask for more.')

export const wrongUserCode = (cause?: unknown) =>
  new AppError(422, 'wrong_user_code', 'No device is showing this code.', { cause })
export const deviceOver = () =>
  new AppError(409, 'device_over', 'This was already decided, or took too long. Start again on the device.')
export const mayNotUseApp = () => new AppError(403, 'may_not_use_app', 'This account may not use this app.')
