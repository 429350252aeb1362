import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test, vi } from 'vitest'
import { Roster } from '../src/index.ts'
import { openApi } from './support/api.ts'
import { addApp } from './support/oauth.ts'
import { testOfRedis } from './support/upstreams.ts'

/** As Workers Analytics Engine receives them; how it aggregates them is not tested. */
function countedApi() {
  const points: AnalyticsEngineDataPoint[] = []
  const METRICS = { writeDataPoint: (point?: AnalyticsEngineDataPoint) => void points.push(point!) }
  return { api: openApi({ METRICS }), points }
}

test('Each request is one data point: its route, its answer, its duration, and how a session began', async () => {
  const { api, points } = countedApi()
  const { email, password } = await api.person()
  points.length = 0
  const login = (word: string) => api.send('POST', '/v1/auth/login', { body: { email, password: word } })
  const { body } = await login(password)
  await login('nine green bears run')
  await api.send('GET', '/nowhere')
  const { id } = body.user as { id: string }
  const token = body.access_token as string
  await api.send('GET', `/v1/users/${id}`, { token })
  const number = expect.any(Number)
  expect(points).toEqual([
    {
      indexes: ['/v1/auth/login'],
      blobs: ['/v1/auth/login', 'POST', '200', '', 'pwd', expect.any(String)],
      doubles: [number, 2, 2, number],
    },
    {
      indexes: ['/v1/auth/login'],
      blobs: ['/v1/auth/login', 'POST', '401', 'invalid_credentials', '', expect.any(String)],
      doubles: [number, number, number, number],
    },
    { indexes: [''], blobs: ['', 'GET', '404', 'not_found', '', ''], doubles: [number, 0, 0, 0] },
    {
      indexes: ['/v1/users/:id'],
      blobs: ['/v1/users/:id', 'GET', '403', 'forbidden', '', expect.any(String)],
      doubles: [number, number, number, number],
    },
  ])
  // No name, address, id or token of anybody.
  for (const secret of [email, id, token]) expect(JSON.stringify(points)).not.toContain(secret)
})

testOfRedis('A read of oneself says whether it was answered by a copy', async () => {
  const { api, points } = countedApi()
  const { token } = await api.actor()
  const read = async () => {
    points.length = 0
    await api.send('GET', '/v1/users/me', { token })
    return points[0]!.blobs![5]
  }
  expect(await read()).toBe('miss')
  // The copy is stored after the answer.
  await vi.waitFor(async () => expect(await read()).toBe('hit'), { timeout: 60_000 })
})

testOfRedis('So does an answer about a token, by introspection and to another Worker', async () => {
  const { api, points } = countedApi()
  const { client_id, client_secret } = await addApp(api, {
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['tokens:introspect'],
  })
  const { token } = await api.quickActor()
  const introspect = () =>
    api.send('POST', '/oauth/introspect', {
      headers: { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
      raw: new URLSearchParams({ token }),
    })
  const binding = {
    METRICS: { writeDataPoint: (point: AnalyticsEngineDataPoint) => void points.push(point) },
  }
  const call = async (work: (roster: Roster) => Promise<unknown>, bindings: object = {}) => {
    const context = createExecutionContext()
    await work(new Roster(context, { ...env, ...binding, ...bindings } as never))
    await waitOnExecutionContext(context)
  }
  const number = expect.any(Number)
  const ways = [
    ['/oauth/introspect', 'POST', introspect],
    ['rpc verify', 'RPC', () => call((roster) => roster.verify(token))],
  ] as const
  for (const [route, method, ask] of ways) {
    await vi.waitFor(
      async () => {
        points.length = 0
        await ask()
        expect(points).toEqual([
          { indexes: [route], blobs: [route, method, '200', '', '', 'hit'], doubles: [number, 1, 0, 1] },
        ])
      },
      { timeout: 60_000 },
    )
  }
  points.length = 0
  await call((roster) => roster.verify(token, { isFresh: true }))
  await call((roster) => roster.getUser(crypto.randomUUID()))
  const failed = vi.spyOn(console, 'error').mockImplementation(() => {})
  await call((roster) => roster.verify(token).catch(() => {}), { JWT_KEYS: 'none' })
  failed.mockRestore()
  expect(points.map(({ blobs }) => blobs)).toEqual([
    ['rpc verify', 'RPC', '200', '', '', ''],
    ['rpc get_user', 'RPC', '200', '', '', ''],
    ['rpc verify', 'RPC', '503', 'rpc_failed', '', ''],
  ])
  expect(JSON.stringify(points)).not.toContain(token)
})

test('Without a binding nothing is counted, and if counting fails the answer is the same', async () => {
  const METRICS = {
    writeDataPoint() {
      throw new TypeError('too long')
    },
  }
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {})
  for (const api of [openApi(), openApi({ METRICS })])
    expect((await api.send('GET', '/health')).status).toBe(200)
  expect(String(warned.mock.calls)).toContain('metrics_failed')
  warned.mockRestore()
})
