import { createPublicKey, type JsonWebKey } from 'node:crypto'
import * as z from 'zod'
import { formerSecretSeconds } from '../../access/former-secrets.ts'
import { listOf, pageQuery } from '../../http/pagination.ts'
import { DisplayName, Role } from '../../users/schemas.ts'
import { Id, Time, toTime, toTimeOrNull } from '../../values/ids.ts'
import { lazy, type Of } from '../../values/lazy.ts'
import { text } from '../../values/text.ts'
import {
  ASSERTION_ALGORITHMS,
  AUTH_METHODS,
  CLIENT_TYPES,
  type Client as ClientRow,
  GRANT_TYPES,
  ID_TOKEN_ALGORITHMS,
} from '../models.ts'
import { faultOfUri, MAX_URI_LENGTH } from '../redirects.ts'
import { SCOPES } from '../scopes.ts'

const uri = (faultOf: (value: string) => string | undefined) =>
  text(MAX_URI_LENGTH, 1).superRefine((value, context) => {
    const fault = faultOf(value)
    if (fault) context.addIssue({ code: 'custom', message: fault, params: { code: 'invalid_uri' } })
  })
const AppUri = lazy(() => uri((value) => faultOfUri(value, { takesSchemes: true })))
/** Inline images only: the Content-Security-Policy of pages allows none from third parties. */
export const Logo = lazy(() =>
  text(8192, 1).refine(
    (value) => /^data:image\/(png|svg\+xml|webp|jpeg);base64,[A-Za-z0-9+/]+=*$/.test(value),
    {
      message: 'Is not a picture as a base64 data: URL.',
      params: { code: 'invalid_uri' },
    },
  ),
)
/**
 * Why a key could never verify an assertion. Told here, because a failed assertion only says that the client
 * is not proved.
 */
function faultOfKey({ kty, use, alg, key_ops, ...rest }: Record<string, unknown>): string | undefined {
  if (use !== undefined && use !== 'sig') return 'Is not for signatures (use).'
  if (key_ops !== undefined && !(Array.isArray(key_ops) && key_ops.includes('verify')))
    return 'Is not for verifying (key_ops).'
  const taken = ASSERTION_ALGORITHMS.filter((one) => one.startsWith('ES') === (kty === 'EC'))
  if (alg !== undefined && !taken.includes(alg as never)) return `Has another alg than ${taken.join(' or ')}.`
  if (kty === 'EC' && rest.crv !== 'P-256') return 'Is of another curve than P-256.'
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key: { kty, ...rest } as JsonWebKey, format: 'jwk' })
    const bits = asymmetricKeyDetails?.modulusLength
    return kty === 'RSA' && bits !== undefined && bits < 2048 ? 'Is shorter than 2048 bits.' : undefined
  } catch {
    return 'Is not a readable public key.'
  }
}
export const Jwks = lazy(() =>
  z.strictObject({
    keys: z
      .array(
        z
          .looseObject({ kty: z.enum(['RSA', 'EC']) })
          .refine((key) => !('d' in key) && !('k' in key), 'Has a private part, which only the app may have.')
          .superRefine((key, context) => {
            const fault = faultOfKey(key)
            if (fault) context.addIssue({ code: 'custom', message: fault, params: { code: 'invalid_key' } })
          }),
      )
      .min(1)
      .max(8),
  }),
)
const set = <T extends z.ZodType>(item: T, most: number) =>
  z
    .array(item)
    .max(most)
    .refine((items) => new Set(items).size === items.length, 'Has a duplicate.')

/** A scope as in RFC 6749, short enough for twenty of them to fit in a token. */
const ResourceScope = lazy(() =>
  text(40, 1)
    .refine((scope) => /^[a-z][a-z0-9._:/-]*$/.test(scope), {
      message: 'Takes only a-z, digits and ._:/-, and begins with a letter.',
      params: { code: 'invalid_format' },
    })
    .refine((scope) => !(SCOPES as readonly string[]).includes(scope), {
      message: 'Means something at Roster itself.',
      params: { code: 'reserved' },
    }),
)
/** The greatest total length of the scopes of a token. */
const MAX_SCOPE_LENGTH = 400
const ResourceUrl = lazy(() =>
  uri((value) =>
    value.length > 200
      ? 'Is too long.'
      : /^https?:\/\/[^/?#]+\/$/.test(value)
        ? 'Ends with a slash too many.'
        : faultOfUri(value),
  ),
)
const Resources = lazy(() =>
  z
    .array(
      z.strictObject({
        url: ResourceUrl(),
        scopes: set(ResourceScope(), 20)
          .min(1)
          .refine((scopes) => scopes.join(' ').length <= MAX_SCOPE_LENGTH, 'Is too long.'),
      }),
    )
    .max(10)
    .refine((all) => new Set(all.map(({ url }) => url)).size === all.length, 'Has a duplicate.'),
)

const settings = () => ({
  name: DisplayName(),
  redirect_uris: set(AppUri(), 20).meta({
    description: 'Compared exactly. `https`, `http` on loopback, or a scheme of a native app’s own.',
  }),
  post_logout_redirect_uris: set(AppUri(), 20),
  backchannel_logout_uri: uri(faultOfUri).nullable().meta({
    description:
      'Told by POST when somebody has signed out, or their session with the app has ended (OpenID Connect Back-Channel Logout).',
  }),
  scopes: set(z.enum(SCOPES), SCOPES.length).meta({
    description: 'What it may ask for. With `client_credentials`: what it may do, as permissions.',
  }),
  first_party: z.boolean().meta({ description: 'One of your own: nobody is asked to consent.' }),
  allowed_roles: set(Role(), 3)
    .min(1)
    .nullable()
    .meta({ description: 'Who may use it; null for everybody.' }),
  logo_uri: Logo().nullable(),
  jwks: Jwks().nullable().meta({ description: 'Public keys, for `private_key_jwt`.' }),
  resources: Resources().meta({
    description:
      'Its own services that apps may get tokens for (RFC 8707), each with the scopes it knows. A token for one has only those scopes.',
  }),
  id_token_signed_response_alg: z.enum(ID_TOKEN_ALGORITHMS),
  require_pkce: z.boolean().meta({ description: 'Only a confidential client can do without it.' }),
})

const DEFAULTS = {
  redirect_uris: [],
  post_logout_redirect_uris: [],
  backchannel_logout_uri: null,
  scopes: ['openid', 'profile', 'email'],
  first_party: false,
  allowed_roles: null,
  logo_uri: null,
  jwks: null,
  resources: [],
  id_token_signed_response_alg: 'RS256',
  require_pkce: true,
} as const

export const CreateClient = lazy(() => {
  const given = settings()
  const withDefaults = Object.fromEntries(
    Object.entries(DEFAULTS).map(([name, preset]) => [
      name,
      (given[name as keyof typeof DEFAULTS] as z.ZodType).default(preset as never),
    ]),
  ) as { [N in keyof typeof DEFAULTS]: z.ZodDefault<(typeof given)[N]> }
  return z
    .strictObject({
      ...withDefaults,
      name: given.name,
      type: z.enum(CLIENT_TYPES),
      grants: set(z.enum(GRANT_TYPES), GRANT_TYPES.length)
        .min(1)
        .default(['authorization_code', 'refresh_token']),
      token_endpoint_auth_method: z.enum(AUTH_METHODS).optional(),
    })
    .meta({ id: 'CreateClient' })
})
export type CreateClient = Of<typeof CreateClient>

export const UpdateClient = lazy(() =>
  z
    .strictObject(settings())
    .partial()
    .extend({
      take_over: z.literal(true).optional().meta({
        description: 'Makes you its owner: for `client_credentials` whose owner is gone, or no longer may.',
      }),
    })
    .refine((value) => Object.keys(value).length > 0, { message: 'Changes nothing.' })
    .meta({ id: 'UpdateClient' }),
)
export type UpdateClient = Of<typeof UpdateClient>

export const RotateSecret = lazy(() =>
  z
    .strictObject({
      keep_former_seconds: formerSecretSeconds(
        'For how long the former secret works too',
        'it was stolen, and ends whatever the client has',
      ),
    })
    .meta({ id: 'RotateSecret' }),
)
export type RotateSecret = Of<typeof RotateSecret>

export const Client = lazy(() =>
  z
    .object({
      client_id: Id(),
      type: z.enum(CLIENT_TYPES),
      grants: z.array(z.enum(GRANT_TYPES)),
      token_endpoint_auth_method: z.enum(AUTH_METHODS),
      name: z.string(),
      redirect_uris: z.array(z.string()),
      post_logout_redirect_uris: z.array(z.string()),
      backchannel_logout_uri: z.string().nullable(),
      scopes: z.array(z.string()),
      first_party: z.boolean(),
      allowed_roles: z.array(Role()).nullable(),
      logo_uri: z.string().nullable(),
      jwks: z.looseObject({}).nullable(),
      resources: z.array(z.object({ url: z.string(), scopes: z.array(z.string()) })),
      id_token_signed_response_alg: z.enum(ID_TOKEN_ALGORITHMS),
      require_pkce: z.boolean(),
      owner_id: Id().nullable(),
      created_by: Id().nullable(),
      created_at: Time(),
      updated_at: Time(),
      last_used_at: Time().nullable(),
    })
    .meta({ id: 'Client' }),
)
export type Client = Of<typeof Client>

export const ClientWithSecret = lazy(() =>
  Client()
    .extend({
      client_secret: z.string().optional().meta({ description: 'Shown only once; we keep only its digest.' }),
    })
    .meta({ id: 'ClientWithSecret' }),
)
export type ClientWithSecret = Of<typeof ClientWithSecret>

export const ClientList = lazy(() => listOf(Client()).meta({ id: 'ClientList' }))
export const ListClients = lazy(() => z.strictObject(pageQuery()))

/** The API's view of a client, with its JSON lists parsed. */
export const toClient = (row: ClientRow): Client => ({
  client_id: row.id,
  type: row.type,
  grants: JSON.parse(row.grants),
  token_endpoint_auth_method: row.token_endpoint_auth_method,
  name: row.name,
  redirect_uris: JSON.parse(row.redirect_uris),
  post_logout_redirect_uris: JSON.parse(row.post_logout_redirect_uris),
  backchannel_logout_uri: row.backchannel_logout_uri,
  scopes: JSON.parse(row.scopes),
  first_party: row.first_party === 1,
  allowed_roles: row.allowed_roles === null ? null : JSON.parse(row.allowed_roles),
  logo_uri: row.logo_uri,
  jwks: row.jwks === null ? null : JSON.parse(row.jwks),
  resources: JSON.parse(row.resources),
  id_token_signed_response_alg: row.id_token_signed_response_alg,
  require_pkce: row.require_pkce === 1,
  // NOBODY_ANSWERS is null as well.
  owner_id: row.owner_id || null,
  created_by: row.created_by,
  created_at: toTime(row.created_at),
  updated_at: toTime(row.updated_at),
  last_used_at: toTimeOrNull(row.last_used_at),
})

/** The settings of a client, whoever makes or changes it. */
export type Settings = Pick<
  Client,
  | 'type'
  | 'grants'
  | 'token_endpoint_auth_method'
  | 'name'
  | 'redirect_uris'
  | 'post_logout_redirect_uris'
  | 'backchannel_logout_uri'
  | 'scopes'
  | 'first_party'
  | 'allowed_roles'
  | 'logo_uri'
  | 'jwks'
  | 'resources'
  | 'id_token_signed_response_alg'
  | 'require_pkce'
>
