import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { keyPrefixOf } from '../../src/database/redis.ts'
import { signAccessToken } from '../../src/sessions/access-tokens.ts'
import { type Actor, type Api, openApi } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin' })
})

/** What ends a person's tokens, and whether their refresh token dies too. */
const ENDINGS: Record<string, { end(person: Actor): Promise<unknown>; endsSession: boolean }> = {
  'logging out': { end: (ada) => as(ada, 'POST', '/v1/auth/logout'), endsSession: true },
  'logging out everywhere': { end: (ada) => as(ada, 'POST', '/v1/auth/logout_all'), endsSession: true },
  'a new password': {
    end: (ada) =>
      as(ada, 'POST', '/v1/auth/change_password', {
        current_password: ada.password,
        new_password: 'nine green bears run',
      }),
    // It continues with the tokens in the answer.
    endsSession: true,
  },
  'being disabled': {
    end: ({ id }) => as(admin, 'POST', `/v1/users/${id}/disable`, { reason: 'left' }),
    endsSession: true,
  },
  'soft deletion': { end: ({ id }) => as(admin, 'DELETE', `/v1/users/${id}`), endsSession: true },
  'hard deletion': { end: ({ id }) => as(admin, 'DELETE', `/v1/users/${id}?hard=true`), endsSession: true },
  leaving: { end: (ada) => as(ada, 'DELETE', '/v1/users/me', { password: ada.password }), endsSession: true },
  demotion: { end: ({ id }) => as(admin, 'PATCH', `/v1/users/${id}`, { role: 'user' }), endsSession: false },
  'an administrator ending the sessions': {
    end: ({ id }) => as(admin, 'DELETE', `/v1/users/${id}/sessions`),
    endsSession: true,
  },
}

describe.each(Object.entries(ENDINGS))(
  'RV1, RV2, RV5, DL1: %s ends the tokens',
  (_, { end, endsSession }) => {
    test('at the next request, even with Redis emptied, stopped or hanging', async () => {
      const ada = await api.actor({ role: 'manager' })
      expect(await statusOf(ada)).toBe(200)
      await end(ada)
      expect(await statusOf(ada)).toBe(401)
      for (const mode of ['pass', 'down', 'hang'] as const) {
        await api.redis('FLUSHALL')
        await own.behave('redis', { mode })
        expect(await statusOf(ada)).toBe(401)
        await own.behave('redis', { mode: 'pass' })
      }
      const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
        body: { refresh_token: ada.refreshToken },
      })
      expect(refreshed.status).toBe(endsSession ? 401 : 200)
    })

    test('even if Redis was unavailable at that moment', async () => {
      const ada = await api.actor({ role: 'manager' })
      await own.behave('redis', { mode: 'down' })
      await end(ada)
      expect(await statusOf(ada)).toBe(401)
      await own.behave('redis', { mode: 'pass' })
      expect(await statusOf(ada)).toBe(401)
    })
  },
)

const ENDINGS_OF_ALL = Object.entries(ENDINGS).filter(([name]) => name !== 'logging out')
test.each(ENDINGS_OF_ALL)('RV2: %s ends twenty sessions at once', async (_, { end }) => {
  const ada = await api.actor({ role: 'manager' })
  const others = []
  for (let i = 1; i < 20; i++) others.push(await api.signIn(ada))
  for (const other of others) expect(await statusOf(other)).toBe(200)
  await end(ada)
  for (const other of others) expect(await statusOf(other)).toBe(401)
})

test('RV2: a login at the same moment as the end of all sessions is valid', async () => {
  const ada = await api.actor()
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(Date.now())
  await as(ada, 'POST', '/v1/auth/logout_all')
  const again = await api.logIn(ada)
  expect([await statusOf(ada), await statusOf({ token: again.access_token })]).toEqual([401, 200])
  vi.useRealTimers()
})

test.each([
  // who, whose sessions, status of reading, status of ending
  ['user', 'user', 403, 403],
  ['manager', 'user', 200, 204],
  ['manager', 'manager', 200, 403],
  ['manager', 'admin', 200, 403],
  ['admin', 'user', 200, 204],
  ['admin', 'manager', 200, 204],
  ['admin', 'admin', 200, 204],
] as const)('RV3: a %s and the sessions of a %s', async (role, ofRole, reading, ending) => {
  const [actor, ada] = [await api.person({ role }), await api.person({ role: ofRole })]
  const [{ token }, first, second] = [await api.signIn(actor), await api.signIn(ada), await api.signIn(ada)]
  const path = `/v1/users/${ada.id}/sessions`
  const list = await api.send<{ data: { id: string }[] }>('GET', path, { token })
  expect(list.status).toBe(reading)
  if (reading === 200) {
    expect(list.body.data.map(({ id }) => id)).toEqual([second.sessionId, first.sessionId])
    for (const secret of [first.token, first.refreshToken, first.refreshToken.split('.')[2]!])
      expect(list.text).not.toContain(secret)
  }
  expect((await api.send('DELETE', path, { token })).status).toBe(ending)
  const left = ending === 204 ? 401 : 200
  expect([await statusOf(first), await statusOf(second)]).toEqual([left, left])
})

test('RV2: an ended session keeps its time and reason, whatever ends the others', async () => {
  const ada = await api.actor()
  const other = await api.signIn(ada)
  const howItEnded = () =>
    api.sql('SELECT revoked_at, revoked_reason FROM sessions WHERE id = ?', [sidOf(ada)])
  await as(ada, 'POST', '/v1/auth/logout')
  const before = await howItEnded()
  expect(before).toEqual([{ revoked_at: expect.any(Number), revoked_reason: 'logged_out' }])
  await as({ ...ada, token: other.token }, 'POST', '/v1/auth/logout_all')
  expect(await statusOf(other)).toBe(401)
  expect(await howItEnded()).toEqual(before)
})

test('RV4: logging out can be repeated, even with an expired token', async () => {
  const ada = await api.actor()
  for (const _ of [1, 2, 3]) {
    const answer = await api.send('POST', '/v1/auth/logout', { token: ada.token })
    expect(answer.status).toBe(204)
    expect(answer.headers.get('clear-site-data')).toBe('"cache", "storage"')
  }
  expect((await api.historyOf(ada.id)).filter((action) => action === 'session.ended')).toHaveLength(1)

  const eve = await api.signIn(await api.person())
  const yesterday = Date.now() - 86_400_000
  const claims = JSON.parse(atob(eve.token.split('.')[1]!))
  const expired = await signAccessToken(api.config(), yesterday, {
    userId: claims.sub,
    sessionId: claims.sid,
    role: 'user',
    epoch: 0,
    authenticatedAt: yesterday,
  })
  expect(await statusOf({ token: expired })).toBe(401)
  expect((await api.send('POST', '/v1/auth/logout', { token: expired })).status).toBe(204)
  expect(await statusOf(eve)).toBe(401)
})

test('RV4: a foreign token writes nothing anywhere', async () => {
  const ada = await api.actor()
  const [header, payload] = ada.token.split('.')
  await api.redis('FLUSHALL')
  const forged = Array.from(
    { length: rounds(50, 10_000) },
    (_, i) => `${header}.${payload}.${btoa(`${i}`.repeat(40)).slice(0, 86).replaceAll('=', 'A')}`,
  )
  const { calls } = await own.measure(async () => {
    for (const token of forged)
      expect((await api.send('POST', '/v1/auth/logout', { token })).status).toBe(401)
  })
  expect(calls).toEqual([])
  expect(await statusOf(ada)).toBe(200)
})

testOfRedis('RV5, RT1: a theft that was detected is published', async () => {
  const ada = await api.actor()
  const refresh = (refresh_token: string) =>
    api.send<Tokens>('POST', '/v1/auth/refresh_token', { body: { refresh_token } })
  await refresh((await refresh(ada.refreshToken)).body.refresh_token)
  expect((await refresh(ada.refreshToken)).text).toContain('session_revoked')
  expect(await api.redis('GET', `${keyPrefixOf(api.config().ISSUER)}revoked:session:${sidOf(ada)}`)).toBe('1')
})

test('When the database is unavailable the answer is a 503, never a 401, and nothing is lost', async () => {
  const ada = await api.actor()
  for (const mode of [
    { mode: 'down' },
    { mode: 'status', status: 429 },
    { mode: 'status', status: 502, body: '<html>' },
  ] as const) {
    await own.behave('libsql', mode)
    const read = await api.send('GET', '/v1/auth/sessions', { token: ada.token })
    const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
      body: { refresh_token: ada.refreshToken },
    })
    const ready = await api.send('GET', '/ready')
    expect([read, refreshed, ready].map(({ status, body }) => [status, body.code])).toEqual(
      Array(3).fill([503, 'database_unavailable']),
    )
    expect((await api.send('GET', '/.well-known/jwks.json')).status).toBe(200)
    expect((await api.send('GET', '/health')).status).toBe(200)
    await own.behave('libsql', { mode: 'pass' })
  }
  expect(await statusOf(ada)).toBe(200)
  expect(
    (await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: ada.refreshToken } })).status,
  ).toBe(200)
})

test('An odd reply of Redis is not taken for an answer', async () => {
  const ada = await api.actor()
  await as(ada, 'POST', '/v1/auth/logout')
  for (const body of [
    '{"result":null}',
    '{"result":[null]}',
    '{"result":"OK"}',
    'not json',
    '{"error":"ERR"}',
  ]) {
    await own.behave('redis', { mode: 'status', status: 200, body })
    expect(await statusOf(ada)).toBe(401)
    expect(await statusOf(admin)).toBe(200)
  }
  await own.behave('redis', { mode: 'pass' })
})

const as = async (actor: Actor, method: string, path: string, body?: unknown) => {
  const answer = await api.send(method, path, { token: actor.token, body })
  expect(answer.status).toBeLessThan(300)
}
const sidOf = ({ token }: { token: string }): string =>
  JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).sid
const statusOf = async ({ token }: { token: string }) =>
  (await api.send('GET', '/v1/users/me', { token })).status
