import { invalidInput } from '../../http/problem.ts'
import { validate } from '../../http/validate.ts'
import { type Client, CreateClient, UpdateClient } from '../../oauth/clients/schemas.ts'
import { ROLES } from '../../users/models.ts'

/** The kinds of app, as the form offers them. */
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

/** The names of the ticked boxes with this prefix, such as `scope.openid`, without the prefix. */
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
    throw invalidInput([{ pointer: '/jwks', code: 'invalid_format', detail: 'Is not JSON.' }])
  }
}

/** One resource per line: the URL, then its scopes. */
const resourcesIn = (text?: string) =>
  linesOf(text).map((line) => {
    const [url, ...scopes] = line.split(/\s+/)
    return { url, scopes }
  })

/** The settings in a form; a service has fewer. */
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

/** The input for a new app. Throws 422. */
export function readNew(fields: Fields, kind: Kind): CreateClient {
  const method = kind === 'public' ? 'none' : fields.token_endpoint_auth_method
  return validate(CreateClient(), {
    ...settingsIn(fields, kind, method === 'private_key_jwt'),
    type: kind === 'public' ? 'public' : 'confidential',
    ...(kind === 'service' && { grants: ['client_credentials'] }),
    token_endpoint_auth_method: method,
  })
}

/** The input for a change to an app. Throws 422. */
export const readChange = (fields: Fields, app: Client): UpdateClient =>
  validate(
    UpdateClient(),
    settingsIn(fields, kindOf(app), app.token_endpoint_auth_method === 'private_key_jwt'),
  )

/** Errors by form field, where the API names one entry of a field that holds several. */
export function byFieldOf(errors: Record<string, string> = {}): Record<string, string> {
  const faults: Record<string, string> = {}
  for (const [name, text] of Object.entries(errors)) {
    const [field, index] = name.split('/')
    faults[field!] ??= index === undefined ? text : `${Number(index) + 1}: ${text}`
  }
  return faults
}
