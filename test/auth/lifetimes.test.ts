import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import * as passwords from '../../src/passwords/hashing.ts'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

/** How long a token is valid, and how long Redis remembers that it is not. */

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

test('AT4: a token is valid for 630 seconds, its ten minutes and the tolerance, and not a second longer', async () => {
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

  testOfRedis('RV5: is kept at least as long as a token is valid', async () => {
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

  testOfRedis('RT1, RV1: includes that a stolen refresh token was detected', async () => {
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

test('RT4, RL1: times that others compare are written by the database’s clock, whatever the Worker’s clock says', async () => {
  const fast = 29_000
  const ada = await api.person({ email_verified_at: 1 })
  const realNow = Date.now()
  at(realNow + fast)
  await api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } })
  await api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: 'wrong' } })
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  vi.useRealTimers()
  const times = [
    await api.sql('SELECT created_at, rotated_at, last_seen_at FROM sessions WHERE user_id = ?', [ada.id]),
    await api.sql('SELECT created_at FROM one_time_tokens WHERE subject_id = ?', [ada.id]),
    await api.sql('SELECT min(expires_at) - 900000 AS began FROM throttles WHERE attempt_id IS NOT NULL'),
  ].flatMap((rows) => rows.flatMap((row) => Object.values(row).map(Number)))
  expect(times).toHaveLength(5)
  for (const time of times) expect(Math.abs(time - realNow)).toBeLessThan(fast - 5000)
})

test('A request’s time is updated after waiting for its hash, which may take twelve seconds', async () => {
  const hash = passwords.hashPassword
  const start = Date.now()
  at(start)
  const slowly = vi.spyOn(passwords, 'hashPassword').mockImplementation(async (...args) => {
    at(start + 12_000)
    return hash(...args)
  })
  const body = { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' }
  const made = await api.send('POST', '/v1/auth/signup', { body })
  slowly.mockRestore()
  expect(made.status).toBe(201)
  const [row] = await api.sql('SELECT created_at FROM users WHERE id = ?', [made.body.id as string])
  expect(row).toEqual({ created_at: start + 12_000 })
})

test('A request’s time is updated once its body has arrived, which may take ten seconds', async () => {
  const ada = await api.quickActor()
  const start = Date.now()
  at(start)
  const source = {
    pull(controller: ReadableStreamDefaultController) {
      at(start + 9000)
      controller.enqueue(new TextEncoder().encode('{"name":"Grace"}'))
      controller.close()
    },
  }
  // Asks for nothing before the Worker reads it.
  const slow = new ReadableStream(source, { highWaterMark: 0 })
  const headers = { 'content-type': 'application/json' }
  const named = await api.send('PATCH', '/v1/users/me', { token: ada.token, raw: slow, headers })
  expect(named.status).toBe(200)
  const [row] = await api.sql('SELECT updated_at FROM users WHERE id = ?', [ada.id])
  expect(row).toEqual({ updated_at: start + 9000 })
})

test('A hash that fails releases its turn', async () => {
  const full = openApi({ ...own.bindings, PASSWORD_HASHES: 'full' })
  const signUp = async () => {
    const body = { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' }
    const start = performance.now()
    const { status } = await full.send('POST', '/v1/auth/signup', { body })
    return { status, ms: performance.now() - start }
  }
  const { id } = await api.person()
  const [row] = await api.sql('SELECT password_hash FROM users WHERE id = ?', [id])
  const hash = String(row!.password_hash)
  const hashing = vi.spyOn(passwords, 'hashPassword')
  // A slow one: another one that is running is waited for as long.
  hashing.mockImplementationOnce(async () => {
    await new Promise((resolve) => setTimeout(resolve, 1900))
    return hash
  })
  expect((await signUp()).status).toBe(201)
  const silent = vi.spyOn(console, 'error').mockImplementation(() => {})
  hashing.mockRejectedValueOnce(new Error('no memory'))
  expect((await signUp()).status).toBe(500)
  silent.mockRestore()
  hashing.mockResolvedValueOnce(hash)
  const { status, ms } = await signUp()
  hashing.mockRestore()
  expect([status, ms < 1200]).toEqual([201, true])
})
