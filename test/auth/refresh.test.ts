import { describe, expect, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import type { SessionList as SessionListSchema } from '../../src/sessions/schemas.ts'
import type { Of } from '../../src/values/lazy.ts'
import { openApi } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams, upstreams } from '../support/upstreams.ts'

const api = openApi()
type SessionList = Of<typeof SessionListSchema>
const DAY_MS = 86_400_000

test('RT1: each use gives a new token, and reusing a token ends the session and all tokens it issued', async () => {
  const ada = await api.actor()
  const first = await refresh(ada.refreshToken)
  const second = await refresh(first.body.refresh_token)
  expect([first.status, second.status]).toEqual([200, 200])
  expect(new Set([ada.refreshToken, first.body.refresh_token, second.body.refresh_token]).size).toBe(3)
  expect(await me(second.body.access_token)).toBe(200)

  expect(await codeOf(refresh(ada.refreshToken))).toBe('session_revoked')
  expect(await codeOf(refresh(second.body.refresh_token))).toBe('session_revoked')
  expect(await me(second.body.access_token)).toBe(401)
  expect(await me(ada.token)).toBe(401)
  expect((await api.historyOf(ada.id)).at(-1)).toBe('session.reuse_detected')
})

test('RT2: fifty requests with one token at once get the same successor, and one of them rotates', async () => {
  const ada = await api.actor()
  let token = ada.refreshToken
  const count = rounds(3, 50)
  for (let round = 1; round <= count; round++) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(token)))
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200))
    const successors = new Set(answers.map(({ body }) => body.refresh_token))
    expect(successors.size).toBe(1)
    ;[token] = [...successors] as [string]
    expect(await api.sql('SELECT counter, revoked_at FROM sessions WHERE user_id = ?', [ada.id])).toEqual([
      { counter: round, revoked_at: null },
    ])
  }
})

test('RT3: within the grace a token gives the same successor, as long as that is unused', async () => {
  const ada = await api.actor()
  const { body: first } = await refresh(ada.refreshToken)
  for (const ms of [0, 15_000, 14_000]) {
    await passTime(ada, ms)
    expect((await refresh(ada.refreshToken)).body.refresh_token).toBe(first.refresh_token)
  }
  const { body: second } = await refresh(first.refresh_token)
  expect((await refresh(first.refresh_token)).body.refresh_token).toBe(second.refresh_token)
  expect(await codeOf(refresh(ada.refreshToken))).toBe('session_revoked')
})

test('RT3: after the grace a reused token ends the session, and repeats do not extend the grace', async () => {
  const ada = await api.actor()
  await refresh(ada.refreshToken)
  await passTime(ada, 20_000)
  expect((await refresh(ada.refreshToken)).status).toBe(200)
  await passTime(ada, 11_000)
  expect(await codeOf(refresh(ada.refreshToken))).toBe('session_revoked')
})

test('RT3: a token that is hundreds of rotations old ends the session, even right after the last one', async () => {
  const ada = await api.actor()
  await refresh(ada.refreshToken)
  await api.sql('UPDATE sessions SET counter = 700 WHERE user_id = ?', [ada.id])
  expect(await codeOf(refresh(ada.refreshToken))).toBe('session_revoked')
  expect((await api.historyOf(ada.id)).at(-1)).toBe('session.reuse_detected')
})

describe('RT4: a repeat within the grace', () => {
  const HOME = { ip: '10.1.1.1', headers: { 'user-agent': 'Owner/1' } }
  const from = (refresh_token: string, options: object = {}) =>
    api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', {
      body: { refresh_token },
      ...HOME,
      ...options,
    })
  const markOf = async ({ id }: { id: string }) =>
    (await api.sql('SELECT repeated_at, revoked_reason FROM sessions WHERE user_id = ?', [id]))[0]
  const ROAD = { ip: '10.2.2.2' }
  const THIEF = { headers: { 'user-agent': 'Thief/1' } }

  test('from where the rotation came leaves no row', async () => {
    const ada = await api.quickActor()
    const { body } = await from(ada.refreshToken)
    expect((await from(ada.refreshToken)).body.refresh_token).toBe(body.refresh_token)
    expect(await markOf(ada)).toEqual({ repeated_at: null, revoked_reason: null })
    expect(await api.historyOf(ada.id)).toEqual([])
  })

  test.each([
    ['network', ROAD],
    ['client', THIEF],
  ])('from another %s leaves a row with its origin, once per rotation, and a mark', async (_, elsewhere) => {
    const ada = await api.quickActor()
    const { body } = await from(ada.refreshToken)
    for (let i = 0; i < 2; i++)
      expect((await from(ada.refreshToken, elsewhere)).body.refresh_token).toBe(body.refresh_token)
    const rows = await api.sql(
      "SELECT ip, user_agent FROM user_activity_logs WHERE user_id = ? AND action = 'session.repeated'",
      [ada.id],
    )
    const { ip, headers } = { ...HOME, ...elsewhere }
    expect(rows).toEqual([{ ip, user_agent: headers['user-agent'] }])
    const { data } = (await api.send<SessionList>('GET', '/v1/auth/sessions', { token: body.access_token }))
      .body
    expect(data[0]!.repeated_at).toMatch(/^20/)
  })

  test('from another network and another client is a theft, and ends the session', async () => {
    const ada = await api.quickActor()
    const { body } = await from(ada.refreshToken)
    expect(await codeOf(from(ada.refreshToken, { ...ROAD, ...THIEF }))).toBe('session_revoked')
    expect(await markOf(ada)).toMatchObject({ revoked_reason: 'reuse_detected' })
    expect((await api.send('GET', '/v1/users/me', { token: body.access_token })).status).toBe(401)
    expect(await api.historyOf(ada.id)).toEqual(['session.reuse_detected'])
  })

  test('from a second tab is no theft for two Workers whose clocks are 29 s apart', async () => {
    const ada = await api.quickActor()
    const at = async (offsetMs: number) => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offsetMs })
      try {
        return (await from(ada.refreshToken)).status
      } finally {
        vi.useRealTimers()
      }
    }
    expect([await at(-29_000), await at(29_000), await at(0)]).toEqual([200, 200, 200])
  })
})

test('RT4: a client that never got the answer sends its token again and stays logged in', async () => {
  const own = upstreams()
  const ada = await api.actor()
  await own.behave('libsql', { mode: 'reset-after', next: 2 })
  const lost = await openApi(own.bindings).send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: ada.refreshToken },
  })
  expect(lost.status).toBe(503)
  const again = await refresh(ada.refreshToken)
  expect(again.status).toBe(200)
  expect((await refresh(again.body.refresh_token)).status).toBe(200)
})

test('RT5: a session ends after 14 days unused, and after 30 days however much it is used', async () => {
  const idle = await api.actor()
  await passTime(idle, 14 * DAY_MS + 1000)
  expect(await codeOf(refresh(idle.refreshToken))).toBe('invalid_refresh_token')
  expect(await me(idle.token)).toBe(401)

  const busy = await api.actor()
  let { refreshToken } = busy
  for (let day = 1; day < 30; day++) {
    await passTime(busy, DAY_MS)
    const answer = await refresh(refreshToken)
    expect(answer.status).toBe(200)
    expect(answer.body.refresh_expires_in).toBeLessThanOrEqual(Math.min(14, 30 - day) * 86_400)
    refreshToken = answer.body.refresh_token
  }
  await passTime(busy, DAY_MS)
  expect(await codeOf(refresh(refreshToken))).toBe('invalid_refresh_token')
  expect(await me(busy.token)).toBe(401)
})

test('RT6: the database alone detects reuse, after Redis was emptied', async () => {
  const own = await freshUpstreams()
  const lone = openApi(own.bindings)
  const ada = await lone.actor()
  const send = (token: string) =>
    lone.send<Tokens>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })
  const first = await send(ada.refreshToken)
  const second = await send(first.body.refresh_token)
  await lone.redis('FLUSHALL')
  expect((await send(ada.refreshToken)).status).toBe(401)
  await lone.redis('FLUSHALL')
  expect((await send(second.body.refresh_token)).status).toBe(401)
  expect((await lone.send('GET', '/v1/users/me', { token: second.body.access_token })).status).toBe(401)
})

test('RT7: no token is in the database, and a refresh reads the present role and status', async () => {
  const own = await freshUpstreams()
  const lone = openApi(own.bindings)
  const [admin, ada] = [await lone.actor({ role: 'admin' }), await lone.actor({ role: 'manager' })]
  const tables = await lone.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
  )
  for (const { name } of tables) {
    const dump = JSON.stringify(await lone.sql(`SELECT * FROM "${name}"`))
    for (const token of [ada.token, ada.refreshToken, ada.refreshToken.split('.')[2]!])
      expect(dump).not.toContain(token)
  }
  expect((await lone.redis('KEYS', '*')) as string[]).toEqual([])

  await lone.send('PATCH', `/v1/users/${ada.id}`, { token: admin.token, body: { role: 'user' } })
  const refreshed = await lone.send<Tokens>('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: ada.refreshToken },
  })
  expect(refreshed.body.user.role).toBe('user')
  expect((await lone.send('GET', '/v1/users', { token: refreshed.body.access_token })).status).toBe(403)

  await lone.send('POST', `/v1/users/${ada.id}/disable`, { token: admin.token, body: { reason: 'left' } })
  const refused = await lone.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: refreshed.body.refresh_token },
  })
  expect(refused.status).toBe(401)
})

test('RT7: a refresh token is a MAC of 256 bits, and each of its parts is checked', async () => {
  const ada = await api.actor()
  expect(ada.refreshToken).toMatch(/^rt_[0-9a-f-]{36}\.0\.[\w-]{43}$/)
  const [name, , mac] = ada.refreshToken.split('.') as [string, string, string]
  const other = (await api.signIn(ada)).refreshToken
  const forged = [
    `${name}.1.${mac}`,
    `${name}.00.${mac}`,
    `${other.split('.')[0]}.0.${mac}`,
    `${name}.0.${mac.slice(0, -1)}${mac.endsWith('A') ? 'B' : 'A'}`,
    `${name.toUpperCase()}.0.${mac}`,
    ` ${ada.refreshToken}`,
    `${ada.refreshToken}=`,
  ]
  for (const token of forged) expect(await codeOf(refresh(token))).toBe('invalid_refresh_token')
  expect((await refresh(ada.refreshToken)).status).toBe(200)
})

test('RT7, SE1: a refresh is not a login, so it does not make a login recent', async () => {
  const ada = await api.actor()
  await passTime(ada, 11 * 60_000)
  const { body } = await refresh(ada.refreshToken)
  const age = ({ iat, auth_time }: { iat: number; auth_time: number }) => iat - auth_time
  expect(age(JSON.parse(atob(body.access_token.split('.')[1]!)))).toBeGreaterThanOrEqual(660)
})

const refresh = (token: string) =>
  api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })
const codeOf = async (answer: ReturnType<typeof refresh>) => (await answer).body.code
const me = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status

/** Lets time pass for all sessions of a person, by moving the times in their rows back. */
const passTime = (person: { id: string }, ms: number) =>
  api.sql(
    `UPDATE sessions SET rotated_at = rotated_at - ?1, created_at = created_at - ?1, last_seen_at = last_seen_at - ?1,
      idle_expires_at = idle_expires_at - ?1, expires_at = expires_at - ?1 WHERE user_id = ?2`,
    [ms, person.id],
  )
