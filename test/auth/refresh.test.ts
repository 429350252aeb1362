import { expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { type Actor, openApi } from '../support/api.ts'
import { freshUpstreams, upstreams } from '../support/upstreams.ts'

const api = openApi()
const DAY_MS = 86_400_000

test('RT1: each use gives a new token, and a token used again ends the session and all it gave out', async () => {
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

test('RT2: twenty who bring one token at once get the same successor, and one row of history is written', async () => {
  for (let round = 0; round < 10; round++) {
    const ada = await sharedActor()
    const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(ada.refreshToken)))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1)
    const rows = await api.sql(
      "SELECT count(*) AS n FROM user_activity_logs WHERE user_id = ? AND action = 'session.refreshed'",
      [ada.id],
    )
    expect(rows).toEqual([{ n: round + 1 }])
    current = { ...ada, refreshToken: answers[0]!.body.refresh_token }
  }
  // The one before the last has a successor that is spent, so it was stolen or replayed.
})

test('RT3: within the grace a token gives the same successor, while that is unspent', async () => {
  const ada = await api.actor()
  const { body: first } = await refresh(ada.refreshToken)
  await passTime(ada, 29_000)
  expect((await refresh(ada.refreshToken)).body.refresh_token).toBe(first.refresh_token)
  const { body: second } = await refresh(first.refresh_token)
  expect((await refresh(first.refresh_token)).body.refresh_token).toBe(second.refresh_token)
  expect(await codeOf(refresh(ada.refreshToken))).toBe('session_revoked')
})

test('RT3: after the grace a token used again ends the session, and repeating does not lengthen the grace', async () => {
  const ada = await api.actor()
  await refresh(ada.refreshToken)
  await passTime(ada, 20_000)
  expect((await refresh(ada.refreshToken)).status).toBe(200)
  await passTime(ada, 11_000)
  expect(await codeOf(refresh(ada.refreshToken))).toBe('session_revoked')
})

test('RT4: a client that never got the answer brings its token again and stays logged in', async () => {
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
  let token = busy.refreshToken
  for (const _ of [1, 2, 3]) {
    await passTime(busy, 9.9 * DAY_MS)
    const answer = await refresh(token)
    expect(answer.status).toBe(200)
    token = answer.body.refresh_token
  }
  await passTime(busy, 0.4 * DAY_MS)
  expect(await codeOf(refresh(token))).toBe('invalid_refresh_token')
})

test('RT6: reuse is detected by the database alone, after Redis was emptied', async () => {
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

test('RT7: no token stands in the database, and a refresh reads role and status anew', async () => {
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

const refresh = (token: string) =>
  api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })
const codeOf = async (answer: ReturnType<typeof refresh>) => (await answer).body.code
const me = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status

let current: Actor | undefined
const sharedActor = async (): Promise<Actor> => (current ??= await api.actor())

/** Time passes for all sessions of a person: what the rows say lies further back. */
const passTime = (person: { id: string }, ms: number) =>
  api.sql(
    `UPDATE sessions SET rotated_at = rotated_at - ?1, created_at = created_at - ?1, last_seen_at = last_seen_at - ?1,
      idle_expires_at = idle_expires_at - ?1, expires_at = expires_at - ?1 WHERE user_id = ?2`,
    [ms, person.id],
  )
