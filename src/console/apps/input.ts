import { invalidInput } from '../../http/problem.ts'
import { validate } from '../../http/validate.ts'
import { type Client, CreateClient, UpdateClient } from '../../oauth/clients/schemas.ts'
import { ROLES } from '../../users/models.ts'

/** What an app can be, as those who add one think of it. */
export const KINDS = ['web', 'public', 'service'] as const
export type Kind = (typeof KINDS)[number]
export const isKind = (kind: string | undefined): kind is Kind => KINDS.some((one) => one === kind)

export const kindOf = ({ type, grants }: Pick<Client, 'type' | 'grants'>): Kind =>
  grants.includes('client_credentials') ? 'service' : type === 'public' ? 'public' : 'web'

type Fields = Record<string, string>

const linesOf = (text = '') =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean)

/** The rest of the names of those boxes that were ticked: `scope.openid`. */
const ticked = (fields: Fields, prefix: string) =>
  Object.keys(fields).flatMap((name) =>
    name.startsWith(`${prefix}.`) ? [name.slice(prefix.length + 1)] : [],
  )

/** Throws 422. */
function readKeys(text = ''): unknown {
  if (text.trim() === '') return null
  try {
    return JSON.parse(text)
  } catch {
    throw invalidInput([{ pointer: '/jwks', code: 'invalid_format', detail: 'Is no JSON.' }])
  }
}

/** A line each: the URL, and its scopes. */
const resourcesIn = (text?: string) =>
  linesOf(text).map((line) => {
    const [url, ...scopes] = line.split(/\s+/)
    return { url, scopes }
  })

/** What a form says of an app; of a service there is less. */
function settingsIn(fields: Fields, kind: Kind, takesKeys: boolean) {
  const roles = ticked(fields, 'role')
  const common = {
    name: fields.name ?? '',
    scopes: ticked(fields, 'scope'),
    ...(takesKeys && { jwks: readKeys(fields.jwks) }),
    ...(kind !== 'public' && { resources: resourcesIn(fields.resources) }),
  }
  if (kind === 'service') return common
  return {
    ...common,
    redirect_uris: linesOf(fields.redirect_uris),
    post_logout_redirect_uris: linesOf(fields.post_logout_redirect_uris),
    backchannel_logout_uri: fields.backchannel_logout_uri?.trim() || null,
    first_party: 'first_party' in fields,
    allowed_roles: roles.length === ROLES.length ? null : roles,
    logo_uri: fields.logo_uri?.trim() || null,
    id_token_signed_response_alg: fields.id_token_signed_response_alg,
    ...(kind === 'web' && { require_pkce: !('without_pkce' in fields) }),
  }
}

/** What a new app is. Throws 422. */
export function readNew(fields: Fields, kind: Kind): CreateClient {
  const method = kind === 'public' ? 'none' : fields.token_endpoint_auth_method
  return validate(CreateClient(), {
    ...settingsIn(fields, kind, method === 'private_key_jwt'),
    type: kind === 'public' ? 'public' : 'confidential',
    ...(kind === 'service' && { grants: ['client_credentials'] }),
    token_endpoint_auth_method: method,
  })
}

/** What is changed about one. Throws 422. */
export const readChange = (fields: Fields, app: Client): UpdateClient =>
  validate(
    UpdateClient(),
    settingsIn(fields, kindOf(app), app.token_endpoint_auth_method === 'private_key_jwt'),
  )

/** What is wrong with each field of the form, where the API speaks of one of several in it. */
export function byFieldOf(errors: Record<string, string> = {}): Record<string, string> {
  const faults: Record<string, string> = {}
  for (const [name, text] of Object.entries(errors)) {
    const [field, index] = name.split('/')
    faults[field!] ??= index === undefined ? text : `${Number(index) + 1}: ${text}`
  }
  return faults
}
