import * as z from 'zod'
import type { Own } from '../../config/checks.ts'
import type { Config } from '../../config/main.ts'
import { faultOfOutboundUrl } from '../../http/outbound.ts'
import { Refusal } from '../../http/problem.ts'
import { DisplayName } from '../../users/schemas.ts'
import { lazy } from '../../values/lazy.ts'
import { Jwks, Logo } from '../clients/schemas.ts'
import { type Client, ID_TOKEN_ALGORITHMS, SCOPES_BY_DOCUMENT } from '../models.ts'
import { faultOfUri, MAX_URI_LENGTH } from '../redirects.ts'

/**
 * What an app says about itself at the URL that is its id (OAuth Client ID Metadata Document). Nobody here vouches
 * for it, so only what is needed is taken: its redirect URIs, and how it authenticates.
 */

const MAX_REDIRECTS = 50

/** What is wrong with the URL that is an app's id; undefined if it is valid. Ids are compared as strings. */
export function faultOfId(id: string, own: Own): string | undefined {
  if (!/^https?:\/\/[^/?#]+\//.test(id)) return 'Has no path.'
  // With a query, text that another site's page merely reflects could pass as the app's document.
  if (id.includes('?')) return 'Has a query.'
  return faultOfUri(id) ?? faultOfOutboundUrl(id, own)
}

/** Whether apps of this id may sign users in: the setting is on, and does not block this one. */
export function isAllowedClient(
  { CLIENT_METADATA, CLIENT_METADATA_BLOCKED }: Pick<Config, 'CLIENT_METADATA' | 'CLIENT_METADATA_BLOCKED'>,
  id: string,
): boolean {
  const host = URL.parse(id)?.hostname ?? ''
  const isBlocked = (entry: string) => entry === id || entry === host || host.endsWith(`.${entry}`)
  return CLIENT_METADATA === 'on' && !CLIENT_METADATA_BLOCKED.some(isBlocked)
}

const Document = lazy(() =>
  z.object({
    client_id: z.string(),
    client_name: z.unknown().optional(),
    logo_uri: z.unknown().optional(),
    redirect_uris: z.array(z.string()).max(500),
    grant_types: z.array(z.string()).default(['authorization_code']),
    response_types: z.array(z.string()).default(['code']),
    token_endpoint_auth_method: z.enum(['none', 'private_key_jwt']).default('private_key_jwt'),
    jwks: z.unknown().optional(),
    id_token_signed_response_alg: z.enum(ID_TOKEN_ALGORITHMS).default('RS256'),
    // A secret that anybody can read is not a secret.
    client_secret: z.undefined().optional(),
  }),
)

/** The part of a document that is stored, as columns of a client. */
type Kept = Pick<
  Client,
  | 'name'
  | 'type'
  | 'token_endpoint_auth_method'
  | 'grants'
  | 'redirect_uris'
  | 'id_token_signed_response_alg'
  | 'logo_uri'
  | 'jwks'
>

/** The relevant part of a document, as canonical text: equal content gives equal text. Throws a `Refusal`. */
export function readDocument(id: string, text: string, { ISSUER }: Pick<Own, 'ISSUER'>): string {
  const document = Document().safeParse(parse(text)).data
  if (!document) throw new Refusal('document_form')
  // RFC 3986 section 6.2.1: string comparison.
  if (document.client_id !== id) throw new Refusal('document_id')
  const { token_endpoint_auth_method: method, grant_types, response_types } = document
  const isPublic = method === 'none'
  const jwks = isPublic ? undefined : Jwks().safeParse(document.jwks).data
  if (!isPublic && !jwks) throw new Refusal('document_keys')
  const redirects = document.redirect_uris.filter(
    (uri) => uri.length <= MAX_URI_LENGTH && !faultOfUri(uri, { takesSchemes: isPublic }),
  )
  const isWhole = grant_types.includes('authorization_code') && response_types.includes('code')
  if (redirects.length === 0 || redirects.length > MAX_REDIRECTS || !isWhole)
    throw new Refusal('document_form')
  const kept: Kept = {
    name: DisplayName().safeParse(document.client_name).data ?? new URL(id).host,
    type: isPublic ? 'public' : 'confidential',
    token_endpoint_auth_method: method,
    grants: JSON.stringify(
      (['authorization_code', 'refresh_token'] as const).filter((grant) => grant_types.includes(grant)),
    ),
    redirect_uris: JSON.stringify([...new Set(redirects)]),
    id_token_signed_response_alg: document.id_token_signed_response_alg,
    logo_uri: logoOf(document.logo_uri, ISSUER),
    jwks: jwks ? JSON.stringify(jwks) : null,
  }
  return JSON.stringify(kept)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal('document_form')
  }
}

/** An inline image, or a file of ours. Any other would tell the app who views our page, and is not shown. */
function logoOf(given: unknown, issuer: string): string | null {
  const own = typeof given === 'string' && given.startsWith(`${issuer}/`) ? given.slice(issuer.length) : ''
  // Only a static file: other paths of ours may have effects when they are requested.
  if (/^(\/[\w-]+)+\.(png|svg|webp|jpe?g|ico)$/.test(own) && own.length <= MAX_URI_LENGTH) return own
  return Logo().safeParse(given).data ?? null
}

/** What all clients that are known by a document have in common. */
const OF_ALL = {
  post_logout_redirect_uris: '[]',
  backchannel_logout_uri: null,
  scopes: JSON.stringify(SCOPES_BY_DOCUMENT),
  allowed_roles: null,
  first_party: 0,
  require_pkce: 1,
  resources: '[]',
  secret_hash: null,
  secret_by: null,
  former_secret_hash: null,
  former_secret_until: null,
  epoch: 0,
  owner_id: null,
  created_by: null,
  created_at: 0,
  updated_at: 0,
  last_used_at: null,
  version: 1,
} satisfies Partial<Client>

/** A client as its document describes it. */
export const clientOf = (id: string, document: string): Client => ({
  id,
  ...OF_ALL,
  ...(JSON.parse(document) as Kept),
})

/**
 * A stand-in for the row of a registered client, for look-ups. It proves nothing: what counts is the document stored
 * with the user's grant.
 */
export const rowOf = (id: string): Client => ({
  id,
  ...OF_ALL,
  name: new URL(id).host,
  type: 'confidential',
  token_endpoint_auth_method: 'private_key_jwt',
  grants: '[]',
  redirect_uris: '[]',
  id_token_signed_response_alg: 'RS256',
  logo_uri: null,
  jwks: null,
})
