import type { Config } from '../config/main.ts'
import { badAuthorizeRequest, NO_SUCH_TARGET } from './errors.ts'
import { type Client, hasGrant } from './models.ts'
import { isRegistered } from './redirects.ts'
import { type Resource, targetOf } from './resources.ts'
import { scopesIn, scopesToAsk } from './scopes.ts'

/** The limit for a request that travels in a browser's address. */
export const MAX_QUERY_LENGTH = 4000
/** The limit for what is carried along during sign-in, at worst in a cookie. */
export const MAX_KEPT_LENGTH = 1500
/** The same for a request that was pushed, and is sealed in the address. */
export const MAX_SEALED_LENGTH = 1800

/**
 * The errors that go back to the app instead of a code (RFC 6749 section 4.1.2.1, OpenID Connect Core section
 * 3.1.2.6).
 */
export type AuthorizeError =
  | 'invalid_request'
  | 'unsupported_response_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'unauthorized_client'
  | 'access_denied'
  | 'login_required'
  | 'interaction_required'
  | 'consent_required'
  | 'request_not_supported'
  | 'request_uri_not_supported'
  | 'invalid_request_uri'
  | 'registration_not_supported'

export class AuthorizeRefusal extends Error {
  readonly code: AuthorizeError
  constructor(code: AuthorizeError, description: string) {
    super(description)
    this.code = code
  }
}

export const MODES = ['query', 'form_post'] as const

/** Where an answer goes, a code or an error. */
export interface ReturnTo {
  redirectUri: string
  state: string | undefined
  mode: (typeof MODES)[number]
}

export interface AuthorizeRequest extends ReturnTo {
  scopes: string[]
  /** The service that the tokens are for; undefined for Roster itself. */
  resource: Resource | undefined
  nonce: string | null
  challenge: string | null
  prompts: Set<string>
  maxAge: number | undefined
  loginHint: string | undefined
  idTokenHint: string | undefined
  locales: string[]
  /** The configured provider that the user is to sign in with. */
  idp: string | undefined
}

/** The client id of a request. Throws 400 `bad_authorize_request`. */
export function clientIdIn(query: URLSearchParams): string {
  const [id, ...more] = query.getAll('client_id')
  if (id === undefined || more.length > 0) throw badAuthorizeRequest('client_id has to be given once.')
  return id
}

/** Where the answer goes. Until that is known, the browser is not redirected. Throws 400. */
export function readReturn(query: URLSearchParams, client: Client): ReturnTo {
  const [redirectUri, ...more] = query.getAll('redirect_uri')
  if (redirectUri === undefined || more.length > 0)
    throw badAuthorizeRequest('redirect_uri has to be given once.')
  if (!isRegistered(redirectUri, JSON.parse(client.redirect_uris)))
    throw badAuthorizeRequest('redirect_uri is not registered for this app.')
  const mode = MODES.find((one) => one === query.get('response_mode'))
  const states = query.getAll('state')
  return { redirectUri, state: states.length === 1 ? states[0] : undefined, mode: mode ?? 'query' }
}

/**
 * Reads the rest of the request. Throws an error that goes back to the app.
 *
 * @param resource the service at the URL that the request names.
 */
export function readAuthorizeRequest(
  { ISSUER }: Pick<Config, 'ISSUER'>,
  query: URLSearchParams,
  client: Client,
  to: ReturnTo,
  resource: Resource | undefined,
): AuthorizeRequest {
  const refuse = (code: AuthorizeError, description: string): never => {
    throw new AuthorizeRefusal(code, description)
  }
  for (const name of new Set(query.keys()))
    if (query.getAll(name).length > 1) refuse('invalid_request', 'A parameter is given more than once.')
  const get = (name: string) => query.get(name) || undefined
  if (get('request')) refuse('request_not_supported', 'Request objects are not supported.')
  if (get('request_uri')) refuse('request_uri_not_supported', 'Requests are not fetched from elsewhere.')
  if (get('registration')) refuse('registration_not_supported', 'Clients are registered beforehand.')
  if (targetOf({ ISSUER }, get('resource')) !== (resource?.url ?? null))
    refuse('invalid_target', NO_SUCH_TARGET)
  const type = get('response_type') ?? refuse('invalid_request', 'response_type is missing.')
  if (type !== 'code') refuse('unsupported_response_type', 'response_type has to be code.')
  if (get('response_mode') && !MODES.some((mode) => mode === get('response_mode')))
    refuse('invalid_request', 'response_mode has to be query or form_post.')
  if (!hasGrant(client, 'authorization_code'))
    refuse('unauthorized_client', 'The client is not registered for this.')
  return {
    ...to,
    scopes: readScopes(get('scope'), client, resource, refuse),
    resource,
    nonce: get('nonce') ?? null,
    challenge: readChallenge(get, client, refuse),
    prompts: readPrompts(get('prompt'), refuse),
    maxAge: readMaxAge(get('max_age'), refuse),
    loginHint: get('login_hint'),
    idTokenHint: get('id_token_hint'),
    idp: get('idp'),
    locales: (get('ui_locales') ?? '').split(' '),
  }
}

type Refuse = (code: AuthorizeError, description: string) => never

function readScopes(
  scope: string | undefined,
  client: Client,
  resource: Resource | undefined,
  refuse: Refuse,
): string[] {
  const scopes = scopesToAsk(client, scope, resource)
  return scopes.length > 0 ? scopes : refuse('invalid_scope', 'This app may ask for none of these scopes.')
}

/** RFC 7636, S256 alone: a plain challenge protects nothing, and none is a downgrade. */
function readChallenge(
  get: (name: string) => string | undefined,
  { require_pkce }: Client,
  refuse: Refuse,
): string | null {
  const challenge = get('code_challenge')
  if (challenge === undefined) {
    if (require_pkce || get('code_challenge_method')) refuse('invalid_request', 'code_challenge is missing.')
    return null
  }
  if (get('code_challenge_method') !== 'S256')
    refuse('invalid_request', 'code_challenge_method has to be S256.')
  return /^[\w-]{43}$/.test(challenge)
    ? challenge
    : refuse('invalid_request', 'code_challenge is not an S256 digest.')
}

const PROMPTS = ['none', 'login', 'consent', 'select_account']

function readPrompts(prompt: string | undefined, refuse: Refuse): Set<string> {
  const prompts = new Set(scopesIn(prompt))
  if ([...prompts].some((one) => !PROMPTS.includes(one))) refuse('invalid_request', 'prompt is not known.')
  if (prompts.has('none') && prompts.size > 1) refuse('invalid_request', 'prompt=none cannot be combined.')
  return prompts
}

function readMaxAge(maxAge: string | undefined, refuse: Refuse): number | undefined {
  if (maxAge === undefined) return undefined
  return /^\d{1,9}$/.test(maxAge)
    ? Number(maxAge)
    : refuse('invalid_request', 'max_age has to be a number of seconds.')
}
