import type { ClientWithSecret } from '../../src/oauth/client-schemas.ts'
import type { Api } from './api.ts'

/** Who gets through the routes of apps, as WHO says of all. */
export const WHO_OF_APPS = {
  'GET /v1/oauth_clients': 'admin',
  'POST /v1/oauth_clients': 'admin',
  'GET /v1/oauth_clients/:id': 'admin',
  'PATCH /v1/oauth_clients/:id': 'admin',
  'POST /v1/oauth_clients/:id/secret': 'admin',
  'DELETE /v1/oauth_clients/:id': 'admin',
} as const

export const REDIRECT = 'https://app.example/callback'

/** An app, made by an administrator of its own. */
export async function addApp(api: Api, given: object = {}): Promise<ClientWithSecret> {
  const { token } = await api.signIn(await api.person({ role: 'admin', password_hash: null }))
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
  return {
    'GET /v1/oauth_clients': async () => ['/v1/oauth_clients'],
    'POST /v1/oauth_clients': async () => [
      '/v1/oauth_clients',
      { name: 'Wiki', type: 'public', redirect_uris: [REDIRECT] },
    ],
    'GET /v1/oauth_clients/:id': async () => [await path()],
    'PATCH /v1/oauth_clients/:id': async () => [await path(), { name: 'Notes' }],
    'POST /v1/oauth_clients/:id/secret': async () => [`${await path()}/secret`, {}],
    'DELETE /v1/oauth_clients/:id': async () => [await path()],
  } satisfies Record<string, () => Promise<[path: string, body?: unknown]>>
}
