import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Api, openApi } from '../support/api.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

/** How long a token counts, and how long Redis remembers that it does not. */

const TOKEN_MS = 600_000
const TOLERANCE_MS = 30_000
let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
})
afterEach(() => vi.useRealTimers())

const statusOf = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status
const at = (ms: number) => {
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(ms)
}

test('AT4: a token counts for 630 seconds, its ten minutes and the tolerance, and not a second longer', async () => {
  const { token } = await api.quickActor()
  const issuedAt = JSON.parse(atob(token.split('.')[1]!)).iat * 1000
  at(issuedAt + TOKEN_MS + TOLERANCE_MS - 1)
  expect(await statusOf(token)).toBe(200)
  at(issuedAt + TOKEN_MS + TOLERANCE_MS)
  expect(await statusOf(token)).toBe(401)
})

describe('What Redis is told', () => {
  const aboutSession = ({ sessionId }: { sessionId: string }) =>
    expect.stringMatching(new RegExp(`revoked:session:${sessionId}$`))
  const lifeMs = async (key: string) => Number(await api.redis('PTTL', key))

  testOfRedis('RV5: is kept at least as long as a token counts', async () => {
    const [ada, eve] = [await api.quickActor(), await api.quickActor()]
    await api.redis('FLUSHALL')
    await api.send('POST', '/v1/auth/logout', { token: ada.token })
    await api.send('POST', '/v1/auth/logout_all', { token: eve.token })
    const keys = (await api.redis('KEYS', '*')) as string[]
    expect(keys).toContainEqual(aboutSession(ada))
    for (const key of keys.filter((key) => key.includes('revoked:session:'))) {
      expect(await lifeMs(key)).toBeGreaterThan(TOKEN_MS + TOLERANCE_MS - 5000)
    }
  })

  testOfRedis('RT1, RV1: is that a stolen refresh token was found out', async () => {
    const ada = await api.quickActor()
    const refresh = (refresh_token: string) =>
      api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token } })
    const first = await refresh(ada.refreshToken)
    await refresh(first.body.refresh_token as string)
    await api.redis('FLUSHALL')
    expect((await refresh(ada.refreshToken)).status).toBe(401)
    expect(await api.redis('KEYS', '*')).toContainEqual(aboutSession(ada))
  })
})
