import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { RETRY_AFTER_SECONDS } from '../config/waits.ts'
import { inWords } from '../values/durations.ts'

/** One error in the input: where (RFC 6901), a stable code, and a sentence. */
export interface InputError {
  pointer: string
  code: string
  detail: string
}

interface Extras {
  headers?: Record<string, string>
  errors?: InputError[]
  /** Further members of the document (RFC 9457 section 3.2). */
  members?: Record<string, unknown>
  /** Answered in OAuth's own form (RFC 6749 section 5.2), at the OAuth endpoints. */
  isOAuth?: boolean
  /** What really happened, for the log only. Never a token, hash, password or address. */
  cause?: unknown
}

/** How old a login may be for actions that cannot be undone, or that grant power. */
export const RECENT_LOGIN_SECONDS = 600
export const RECENT_LOGIN = inWords(RECENT_LOGIN_SECONDS * 1000)

/**
 * The challenge of a 401 or 403 (RFC 6750 section 3, RFC 9470 section 3), by code. Every 401 has one, and
 * every 403 of a route that needs a token.
 */
const CHALLENGES: Record<string, string> = {
  invalid_token: ', error="invalid_token"',
  insufficient_scope: ', error="insufficient_scope"',
  forbidden: ', error="insufficient_scope"',
  outranked: ', error="insufficient_scope"',
  own_account: ', error="insufficient_scope"',
  reauthentication_required: `, error="insufficient_user_authentication", max_age=${RECENT_LOGIN_SECONDS}`,
  signup_domain_refused: ', error="insufficient_scope"',
  signup_blocked: ', error="insufficient_scope"',
  origin_not_allowed: ', error="invalid_request"',
  challenge_failed: ', error="insufficient_scope"',
  wrong_password: ', error="insufficient_user_authentication"',
  wrong_code: ', error="insufficient_user_authentication"',
  second_factor_required: ', error="insufficient_user_authentication"',
  mail_code_required: ', error="insufficient_user_authentication"',
  factor_enrolment_required: ', error="insufficient_user_authentication"',
}

function challengeOf(status: number, code: string): Record<string, string> {
  const parameters = CHALLENGES[code] ?? (status === 401 ? '' : undefined)
  return parameters === undefined ? {} : { 'www-authenticate': `Bearer realm="roster"${parameters}` }
}

/** A deliberate 4xx or 5xx answer. Anything else that is thrown becomes a bland 500. */
export class AppError extends Error {
  readonly status: ContentfulStatusCode
  readonly code: string
  readonly headers: Record<string, string>
  readonly errors: InputError[] | undefined
  readonly members: Record<string, unknown>
  readonly isOAuth: boolean

  constructor(status: ContentfulStatusCode, code: string, detail: string, extras: Extras = {}) {
    super(detail, { cause: extras.cause })
    this.status = status
    this.code = code
    this.headers = { ...challengeOf(status, code), ...extras.headers }
    this.errors = extras.errors
    this.members = extras.members ?? {}
    this.isOAuth = extras.isOAuth ?? false
  }
}

/**
 * Why a token, link or request was refused, for the log only: one word, where the answer is the same for all
 * reasons.
 */
export type Reason =
  | (
      | 'absent'
      | 'form'
      | 'header'
      | 'key'
      | 'algorithm'
      | 'type'
      | 'signature'
      | 'issuer'
      | 'audience'
      | 'claims'
    )
  | ('lifetime' | 'not_yet' | 'expired' | 'idle' | 'revoked' | 'epoch' | 'inactive' | 'used' | 'superseded')
  | ('unknown' | 'wrong_password' | 'wrong_code' | 'no_password' | 'locked' | 'meanwhile')
  | ('unknown_address' | 'other_address' | 'unverified' | 'tries' | 'inviter')
  | ('wrong_recovery_code' | 'challenge')
  /** What was wrong with a provider's answer. */
  | `provider_${string}`
  /** What was wrong with an app's metadata document. */
  | `document_${string}`
  /** What was wrong with a passkey's answer. */
  | `passkey_${string}`
  /** Which parameter of an app's authorization request was wrong. */
  | `param_${string}`
  /** Which limit it was. */
  | `limit_${string}`

/** The cause of a refusal: `throw invalidToken(new Refusal('expired'))`. */
export class Refusal extends Error {
  readonly reason: Reason
  constructor(reason: Reason, options?: ErrorOptions) {
    super(reason, options)
    this.reason = reason
  }
}

export const notFound = () => new AppError(404, 'not_found', 'There is nothing at this address.')
export const methodNotAllowed = (allowed: string[]) =>
  new AppError(405, 'method_not_allowed', 'This address does not take this method.', {
    headers: { allow: allowed.join(', ') },
  })
/** A client that sends thousands of unknown members only needs to be told of a few. */
export const MAX_ERRORS_NAMED = 20

export const invalidInput = (errors: InputError[]) =>
  new AppError(422, 'invalid_input', 'The request has members that are missing, wrong or unknown.', {
    errors,
  })
export const tooManyRequests = (retryAfterSeconds: number, cause?: Refusal) =>
  new AppError(429, 'too_many_requests', 'Too many requests. Wait as long as Retry-After says.', {
    cause,
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
export const internalError = (cause?: unknown) =>
  new AppError(500, 'internal_error', 'Something went wrong on our side.', { cause })
/** An upstream did not answer. Never a 401: a client would throw its session away for a hiccup. */
export const unavailable = (
  code: string,
  detail: string,
  cause?: unknown,
  retryAfterSeconds = RETRY_AFTER_SECONDS,
) => new AppError(503, code, detail, { headers: { 'retry-after': String(retryAfterSeconds) }, cause })

const TITLES: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}

/** The members of a problem document. */
export const problemOf = (error: AppError, requestId: string, issuer: string) => ({
  type: `${issuer}/problems/${error.code}`,
  title: TITLES[error.status] ?? 'Error',
  status: error.status,
  detail: error.message,
  code: error.code,
  request_id: requestId,
  ...error.members,
  ...(error.errors && { errors: error.errors.slice(0, MAX_ERRORS_NAMED) }),
  ...(error.errors &&
    error.errors.length > MAX_ERRORS_NAMED && { more_errors: error.errors.length - MAX_ERRORS_NAMED }),
})

/**
 * The one place where an error becomes a response: `application/problem+json` (RFC 9457). It depends on
 * nothing that can fail. The cause goes into the request's log line (log.ts), never into the answer.
 */
export function toProblem(error: unknown, c: Context): Response {
  const known = toAppError(error)
  const requestId: string = c.get('givenRequestId') ?? c.get('requestId') ?? ''
  // Without settings, `type` is relative (RFC 9457 section 3.1.1).
  const issuer: string = c.get('config')?.ISSUER ?? ''
  c.set('problem', known)
  if (known.isOAuth)
    return c.json({ error: known.code, error_description: known.message }, known.status, known.headers)
  return c.body(JSON.stringify(problemOf(known, requestId, issuer)), known.status, {
    'content-type': 'application/problem+json',
    ...known.headers,
  })
}

export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof HTTPException && error.status < 500) {
    return new AppError(error.status as ContentfulStatusCode, 'bad_request', 'The request cannot be read.')
  }
  return internalError(error)
}
