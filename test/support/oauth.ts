import { v7 as uuidv7 } from 'uuid'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { signClientToken } from '../../src/sessions/access-tokens.ts'
import { makeRefreshToken } from '../../src/sessions/refresh-tokens.ts'
import type { Api } from './api.ts'

/** Who gets through the routes of apps; see WHO. */
export const WHO_OF_APPS = {
  'GET /.well-known/openid-configuration': 'anyone',
  'GET /oauth/userinfo': 'anyone',
  'POST /oauth/userinfo': 'anyone',
  'POST /oauth/par': 'anyone',
  'POST /oauth/device_authorization': 'anyone',
  'POST /oauth/token': 'anyone',
  'POST /oauth/introspect': 'anyone',
  'POST /oauth/revoke': 'anyone',
  'GET /v1/auth/grants': 'signed in',
  'PATCH /v1/auth/grants/:id': 'signed in',
  'DELETE /v1/auth/grants/:id': 'signed in',
  'GET /v1/api_keys': 'signed in',
  'POST /v1/api_keys': 'signed in',
  'POST /v1/api_keys/:id/rotate': 'signed in',
  'DELETE /v1/api_keys/:id': 'signed in',
  'GET /v1/oauth_clients': 'admin',
  'POST /v1/oauth_clients': 'admin',
  'GET /v1/oauth_clients/:id': 'admin',
  'PATCH /v1/oauth_clients/:id': 'admin',
  'POST /v1/oauth_clients/:id/secret': 'admin',
  'GET /v1/oauth_clients/:id/logouts': 'admin',
  'POST /v1/oauth_clients/:id/logouts/retry': 'admin',
  'DELETE /v1/oauth_clients/:id': 'admin',
} as const

export const REDIRECT = 'https://app.example/callback'

/** An app, made with this token or, without one, by an administrator of its own. */
export async function addApp(
  api: Api,
  { by, ...given }: Record<string, unknown> & { by?: string } = {},
): Promise<ClientWithSecret> {
  const token = by ?? (await api.signIn(await api.person({ role: 'admin', password_hash: null }))).token
  const body = { name: 'Wiki', type: 'confidential', redirect_uris: [REDIRECT], ...given }
  const answer = await api.send<ClientWithSecret & { code?: string }>('POST', '/v1/oauth_clients', {
    token,
    body,
  })
  if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`)
  return answer.body
}

/** One good request of each of those routes. */
export const requestsOfApps = (open: () => Api) => {
  const path = async () => `/v1/oauth_clients/${(await addApp(open())).client_id}`
  const service = { grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] }
  const form = async (fields: Record<string, string>) => {
    const { client_id, client_secret } = await addApp(open(), {
      ...service,
      token_endpoint_auth_method: 'client_secret_post',
    })
    return new URLSearchParams({ client_id, client_secret: client_secret!, ...fields })
  }
  return {
    'GET /.well-known/openid-configuration': async () => ['/.well-known/openid-configuration'],
    'POST /oauth/par': async () => [
      '/oauth/par',
      new URLSearchParams({
        client_id: (await addApp(open(), { type: 'public' })).client_id,
        redirect_uri: REDIRECT,
        response_type: 'code',
        scope: 'openid',
        code_challenge: 'c'.repeat(43),
        code_challenge_method: 'S256',
      }),
    ],
    'POST /oauth/device_authorization': async () => [
      '/oauth/device_authorization',
      new URLSearchParams({
        client_id: (await addApp(open(), { type: 'public', grants: [DEVICE_CODE], redirect_uris: [] }))
          .client_id,
        scope: 'openid',
      }),
    ],
    'POST /oauth/token': async () => ['/oauth/token', await form({ grant_type: 'client_credentials' })],
    'POST /oauth/introspect': async () => ['/oauth/introspect', await form({ token: 'x' })],
    'POST /oauth/revoke': async () => ['/oauth/revoke', await form({ token: 'x' })],
    'GET /v1/auth/grants': async () => ['/v1/auth/grants'],
    'GET /v1/api_keys': async () => ['/v1/api_keys'],
    'GET /v1/oauth_clients': async () => ['/v1/oauth_clients'],
    'POST /v1/oauth_clients': async () => [
      '/v1/oauth_clients',
      { name: 'Wiki', type: 'public', redirect_uris: [REDIRECT] },
    ],
    'GET /v1/oauth_clients/:id': async () => [await path()],
    'PATCH /v1/oauth_clients/:id': async () => [await path(), { name: 'Notes' }],
    'POST /v1/oauth_clients/:id/secret': async () => [`${await path()}/secret`, {}],
    'GET /v1/oauth_clients/:id/logouts': async () => [`${await path()}/logouts`],
    'POST /v1/oauth_clients/:id/logouts/retry': async () => [`${await path()}/logouts/retry`],
    'DELETE /v1/oauth_clients/:id': async () => [await path()],
  } satisfies Record<string, () => Promise<[path: string, body?: unknown]>>
}

/** An app's session below a user's, and an access token for it, as if the user had given consent. */
export async function letApp(
  api: Api,
  somebody: { id: string },
  { scope, app, parent }: { scope: string; app?: { client_id: string }; parent?: string },
) {
  const scopes = scope.split(' ')
  const client = app ?? (await addApp(api, { scopes, first_party: scopes.includes('account') }))
  const parentId = parent ?? (await api.signIn(somebody)).sessionId
  const sid = uuidv7()
  await api.sql(
    `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at, parent_id, client_id, client_epoch, scope)
      SELECT ?1, user_id, 0, created_at, created_at, created_at, idle_expires_at, expires_at, id, ?3, 0, ?4 FROM sessions WHERE id = ?2`,
    [sid, parentId, client.client_id, scope],
  )
  await api.sql(
    `INSERT INTO oauth_grants (id, user_id, client_id, scopes, created_at, updated_at) VALUES (?, ?, ?, ?, 0, 0)
      ON CONFLICT (user_id, client_id) DO UPDATE SET scopes = excluded.scopes`,
    [uuidv7(), somebody.id, client.client_id, JSON.stringify(scope.split(' '))],
  )
  const [grant] = await api.sql('SELECT id FROM oauth_grants WHERE user_id = ? AND client_id = ?', [
    somebody.id,
    client.client_id,
  ])
  const [row] = await api.sql('SELECT token_epoch FROM users WHERE id = ?', [somebody.id])
  const claims = {
    sub: somebody.id,
    sid,
    client_id: client.client_id,
    scope,
    epoch: Number(row!.token_epoch),
  }
  return {
    client,
    parentId,
    sessionId: sid,
    grantId: String(grant!.id),
    token: await signClientToken(api.config(), Date.now(), claims),
    refreshToken: makeRefreshToken(api.config().keys.refresh_token, sid, 0),
  }
}
