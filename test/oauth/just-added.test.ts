import { createExecutionContext } from 'cloudflare:test'
import { beforeAll, expect, test, vi } from 'vitest'
import { SCRIPTS_CLIENT_ID } from '../../scripts/sign-in.ts'
import { openForCron } from '../../src/context.ts'
import { clientWithPrimaryFallback } from '../../src/oauth/clients/listing.ts'
import { introspect } from '../../src/oauth/introspection/service.ts'
import { verifyFor } from '../../src/oauth/introspection/workers.ts'
import { push } from '../../src/oauth/pushed.ts'
import { answerToken } from '../../src/oauth/tokens/token.ts'
import { type ClientClaims, verifyAccessToken } from '../../src/sessions/access-tokens.ts'
import { findServiceScopes } from '../../src/sessions/client-tokens.ts'
import { openApi } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** Whoever adds an app uses it at once, but a replica may learn of it a moment later. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: ReturnType<typeof openApi>

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
})

/** The resources of a Worker whose replica does not know any client yet. */
const lagging = () => {
  const resources = openForCron(api.bindings as never, createExecutionContext())
  const read: typeof resources.db.read = async (batch) => {
    const found = await resources.db.read(batch)
    return { ...found, ...('client' in found && { client: [] }), ...('service' in found && { service: [] }) }
  }
  return { ...resources, db: { ...resources.db, read } }
}
const aMinuteLater = async <T>(action: () => Promise<T>): Promise<T> => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
  try {
    return await action()
  } finally {
    vi.useRealTimers()
  }
}

test('HX8, RV1: a lagging replica does not make us refuse a service that was just added, nor its token', async () => {
  const { token: admin } = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const service = await addApp(api, {
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['users:read', 'tokens:introspect'],
  })
  const { client_id: id, client_secret: proof = '' } = service
  const given = { id, proof, method: 'client_secret_basic' } as const
  const fields = { grant_type: 'client_credentials' }
  const { access_token: token } = await answerToken(lagging(), given, fields)
  const said = { active: true, client_id: id, scope: 'users:read tokens:introspect' }
  expect(await introspect(lagging(), given, token, { isFresh: true })).toMatchObject(said)
  expect(await verifyFor(lagging(), token, { isFresh: true })).toMatchObject(said)
  const claims = await verifyAccessToken(token, api.config(), Date.now())
  expect(await findServiceScopes(lagging(), claims as ClientClaims)).toEqual(said.scope.split(' '))
  // Once a replica must know it, an unknown client does not exist.
  expect((await api.send('DELETE', `/v1/oauth_clients/${id}`, { token: admin })).status).toBe(204)
  expect(await findServiceScopes(lagging(), claims as ClientClaims)).toBeUndefined()
  const refused = { code: 'invalid_client' }
  await expect(answerToken(lagging(), given, fields)).rejects.toMatchObject(refused)
  const later = async () => {
    const { result, calls } = await own.measure(() =>
      api.send('POST', '/oauth/token', {
        headers: { authorization: `Basic ${btoa(`${id}:${proof}`)}` },
        raw: new URLSearchParams(fields),
      }),
    )
    return [result.status, calls.length]
  }
  expect([await later(), await aMinuteLater(later)]).toEqual([
    [401, 2],
    [401, 1],
  ])
})

test('HX8, RV1: nor an app that was just added: its authorization and pushed requests are answered', async () => {
  const app = await addApp(api, { type: 'public', scopes: ['openid'] })
  const query = {
    client_id: app.client_id,
    redirect_uri: REDIRECT,
    response_type: 'code',
    scope: 'openid',
    code_challenge: 'c'.repeat(43),
    code_challenge_method: 'S256',
  }
  const given = { id: app.client_id, proof: '', method: 'none' } as const
  expect(await push(lagging(), given, query)).toMatchObject({ expires_in: 90 })
  expect(await clientWithPrimaryFallback(lagging(), undefined, app.client_id)).toMatchObject({
    id: app.client_id,
  })
  await api.sql('DELETE FROM oauth_clients WHERE id = ?', [app.client_id])
  const ask = async () => {
    const { result, calls } = await own.measure(() =>
      api.send('GET', `/oauth/authorize?${new URLSearchParams(query)}`),
    )
    return [result.status, calls.length]
  }
  expect([await ask(), await aMinuteLater(ask)]).toEqual([
    [400, 2],
    [400, 1],
  ])
})

test('Nor the app of the scripts, whose id does not say when it was added', async () => {
  const { client_id } = await addApp(api, { type: 'public', scopes: ['openid'] })
  await api.sql('UPDATE oauth_clients SET id = ? WHERE id = ?', [SCRIPTS_CLIENT_ID, client_id])
  const found = () => clientWithPrimaryFallback(lagging(), undefined, SCRIPTS_CLIENT_ID)
  expect(await found()).toMatchObject({ id: SCRIPTS_CLIENT_ID })
  await api.sql('DELETE FROM oauth_clients WHERE id = ?', [SCRIPTS_CLIENT_ID])
  expect(await found()).toBeUndefined()
})
