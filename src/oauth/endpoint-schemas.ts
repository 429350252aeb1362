import * as z from 'zod'
import { lazy } from '../values/lazy.ts'
import { MODES } from './authorize-request.ts'
import { CREDENTIALS } from './clients/authenticate.ts'
import { GRANT_TYPES } from './models.ts'

/*
 * What the endpoints take and answer, by their standards. Forms are described for the document alone: whoever uses a
 * field checks it, and reports its errors in OAuth's format.
 */

/** Fields that may be left out. */
const texts = (...names: string[]) => Object.fromEntries(names.map((name) => [name, z.string().optional()]))
/** RFC 6749 section 2.3.1, RFC 7523 section 2.2; a secret may come by HTTP Basic instead. */
const ofClient = () => texts('client_id', ...CREDENTIALS)

export const TokenForm = lazy(() =>
  z
    .object({
      grant_type: z.enum(GRANT_TYPES),
      ...texts('code', 'redirect_uri', 'code_verifier', 'refresh_token', 'device_code', 'scope', 'resource'),
      ...ofClient(),
    })
    .meta({ id: 'TokenForm', description: 'What the grant takes, and what proves the client.' }),
)
/** The parameters of /oauth/authorize. */
export const PushedForm = lazy(() =>
  z
    .object({
      response_type: z.literal('code'),
      redirect_uri: z.string(),
      response_mode: z.enum(MODES).optional(),
      code_challenge_method: z.literal('S256').optional(),
      ...texts('scope', 'resource', 'state', 'nonce', 'code_challenge', 'prompt', 'max_age'),
      ...texts('login_hint', 'id_token_hint', 'idp', 'ui_locales'),
      ...ofClient(),
    })
    .meta({ id: 'PushedForm' }),
)
export const DeviceForm = lazy(() =>
  z.object({ ...texts('scope', 'resource'), ...ofClient() }).meta({ id: 'DeviceForm' }),
)
/** The hint is not needed here, and ignored (RFC 7009 section 2.1, RFC 7662 section 2.1). */
export const OneTokenForm = lazy(() =>
  z.object({ token: z.string(), ...texts('token_type_hint'), ...ofClient() }).meta({ id: 'OneTokenForm' }),
)
/** RFC 6750 section 2.2; the token may come in the `Authorization` header instead. */
export const UserInfoForm = lazy(() => z.object(texts('access_token')).optional())

export const TokenAnswer = lazy(() =>
  z
    .object({
      access_token: z.string(),
      token_type: z.literal('Bearer'),
      expires_in: z.int(),
      scope: z.string(),
      refresh_token: z.string().optional(),
      id_token: z.string().optional(),
    })
    .meta({ id: 'OAuthTokens' }),
)
export const PushedRequest = lazy(() =>
  z.object({ request_uri: z.string(), expires_in: z.int() }).meta({ id: 'PushedRequest' }),
)
export const DeviceAuthorization = lazy(() =>
  z
    .object({
      device_code: z.string(),
      user_code: z.string(),
      verification_uri: z.string(),
      expires_in: z.int(),
      interval: z.int(),
    })
    .meta({ id: 'DeviceAuthorization', description: 'RFC 8628 section 3.2.' }),
)
export const OAuthError = lazy(() =>
  z
    .object({ error: z.string(), error_description: z.string() })
    .meta({ id: 'OAuthError', description: 'RFC 6749 section 5.2.' }),
)
export const Introspection = lazy(() =>
  z.looseObject({ active: z.boolean() }).meta({ id: 'Introspection', description: 'RFC 7662 section 2.2.' }),
)
export const UserInfo = lazy(() =>
  z
    .looseObject({ sub: z.string() })
    .meta({ id: 'UserInfo', description: 'OpenID Connect Core section 5.1, by scope.' }),
)
export const Metadata = lazy(() =>
  z
    .looseObject({
      issuer: z.string(),
      jwks_uri: z.string(),
      response_types_supported: z.array(z.string()),
      service_documentation: z.string(),
    })
    .meta({ id: 'IssuerMetadata' }),
)
