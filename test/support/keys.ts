import type { ApiKeyWithSecret } from '../../src/api-keys/schemas.ts'
import type { Api } from './api.ts'

/** Makes a key for somebody, with a session of its own. */
export async function addKey(
  api: Api,
  somebody: { id: string },
  permissions: readonly string[] = [],
  given: object = {},
) {
  const { token } = await api.signIn(somebody)
  const body = { name: 'Report', permissions, ...given }
  const answer = await api.send<ApiKeyWithSecret>('POST', '/v1/api_keys', { token, body })
  if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`)
  return answer.body
}
