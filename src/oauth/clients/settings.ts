import { ACCOUNT, isPermission } from '../../access/permissions.ts'
import type { Resources } from '../../context.ts'
import { type InputError, invalidInput } from '../../http/problem.ts'
import { type Client as ClientRow, DEVICE_CODE, OPENID_SCOPES } from '../models.ts'
import type { CreateClient, Settings } from './schemas.ts'

/** The settings of a new client, with defaults. Throws 422. */
export function settingsOf({ token_endpoint_auth_method, ...input }: CreateClient): Settings {
  const preset = input.type === 'public' ? 'none' : 'client_secret_basic'
  const isService = input.grants.includes('client_credentials')
  const openid = OPENID_SCOPES as readonly string[]
  const settings: Settings = {
    ...input,
    // By default, a service is given no scope that it cannot have.
    scopes: isService ? input.scopes.filter((scope) => !openid.includes(scope)) : input.scopes,
    token_endpoint_auth_method: token_endpoint_auth_method ?? preset,
  }
  assertCoherent(settings)
  return settings
}

/** Rejects settings that are valid by themselves but contradict each other. Throws 422. */
export function assertCoherent({
  type,
  grants,
  token_endpoint_auth_method: method,
  ...rest
}: Settings): void {
  const errors: InputError[] = []
  const say = (isWrong: boolean, pointer: string, detail: string) => {
    if (isWrong) errors.push({ pointer, code: 'contradiction', detail })
  }
  const isService = grants.includes('client_credentials')
  const goesByBrowser = grants.includes('authorization_code')
  say(
    (type === 'public') !== (method === 'none'),
    '/token_endpoint_auth_method',
    'A public client takes none; a confidential one needs another.',
  )
  say(
    (method === 'private_key_jwt') !== (rest.jwks !== null),
    '/jwks',
    'Required for private_key_jwt, and for nothing else.',
  )
  say(
    isService && grants.length > 1,
    '/grants',
    'A service acts for itself alone: give it a client of its own.',
  )
  say(
    isService && type === 'public',
    '/grants',
    'A public client cannot authenticate, so it cannot act for itself.',
  )
  say(
    !isService && !goesByBrowser && !grants.includes(DEVICE_CODE),
    '/grants',
    'Without authorization_code there is nothing to refresh.',
  )
  say(
    isService && rest.redirect_uris.length > 0,
    '/redirect_uris',
    'A service has nowhere to send a browser.',
  )
  say(
    goesByBrowser && rest.redirect_uris.length === 0,
    '/redirect_uris',
    'Is empty, so a browser could not be sent back.',
  )
  say(
    isService && rest.backchannel_logout_uri !== null,
    '/backchannel_logout_uri',
    'Nobody signs in to a service, so nobody signs out.',
  )
  say(
    isService && !rest.scopes.every(isPermission),
    '/scopes',
    'A service has permissions, not OpenID scopes.',
  )
  say(
    rest.scopes.includes(ACCOUNT) && !rest.first_party,
    '/scopes',
    'Only apps of your own (first_party) may act as somebody.',
  )
  say(
    type === 'public' && rest.resources.length > 0,
    '/resources',
    'A public client cannot authenticate, so it cannot ask about tokens.',
  )
  say(type === 'public' && !rest.require_pkce, '/require_pkce', 'A public client cannot do without it.')
  const takesScheme = (uri: string) => !/^https?:/.test(uri)
  say(
    type !== 'public' && rest.redirect_uris.some(takesScheme),
    '/redirect_uris',
    'A scheme of its own is for a native app, which is public.',
  )
  if (errors.length > 0) throw invalidInput(errors)
}

/** Tokens for other services must not be for an address of ours. Throws 422. */
export function assertElsewhere(
  { config }: Pick<Resources, 'config'>,
  resources: Settings['resources'] = [],
): void {
  const { ISSUER, AUDIENCE } = config
  const errors = resources.flatMap(({ url }, at) =>
    url === AUDIENCE || new URL(url).origin === new URL(ISSUER).origin
      ? [{ pointer: `/resources/${at}/url`, code: 'invalid_uri', detail: 'Is Roster itself.' }]
      : [],
  )
  if (errors.length > 0) throw invalidInput(errors)
}

export const columnsOf = (settings: Settings) => ({
  name: settings.name,
  type: settings.type,
  token_endpoint_auth_method: settings.token_endpoint_auth_method,
  grants: JSON.stringify(settings.grants),
  redirect_uris: JSON.stringify(settings.redirect_uris),
  post_logout_redirect_uris: JSON.stringify(settings.post_logout_redirect_uris),
  backchannel_logout_uri: settings.backchannel_logout_uri,
  scopes: JSON.stringify(settings.scopes),
  allowed_roles: settings.allowed_roles && JSON.stringify(settings.allowed_roles),
  first_party: settings.first_party ? 1 : 0,
  require_pkce: settings.require_pkce ? 1 : 0,
  id_token_signed_response_alg: settings.id_token_signed_response_alg,
  logo_uri: settings.logo_uri,
  jwks: settings.jwks && JSON.stringify(settings.jwks),
  resources: JSON.stringify(settings.resources),
})

export const hasSecret = ({
  token_endpoint_auth_method: method,
}: Pick<ClientRow, 'token_endpoint_auth_method'>) => method.startsWith('client_secret_')
