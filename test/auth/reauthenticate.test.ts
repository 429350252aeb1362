import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import type { Claims } from '../../src/sessions/access-tokens.ts'
import { type Actor, openApi, PASSWORD } from '../support/api.ts'
import { addTotp, codeOf, withinOneStep } from '../support/factors.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const api = openApi()
const HOUR_MS = 3_600_000

const ask = (token: string, body: unknown = { password: PASSWORD }) =>
  api.send('POST', '/v1/auth/reauthenticate', { token, body })
const timeOf = (token: unknown) => decodeJwt<Claims>(token as string).auth_time!
const exportsWith = async (token: string) => (await api.send('GET', '/v1/users/me/export', { token })).status

/** Somebody whose login was an hour ago. */
async function longSignedIn(): Promise<
  Pick<Actor, 'id' | 'email' | 'token' | 'refreshToken'> & { sessionId: string }
> {
  const person = await api.person()
  return { ...person, ...(await api.signIn(person, Date.now() - HOUR_MS)) }
}

test('SE1: reauthenticating gives one access token that counts as a recent login', async () => {
  const ada = await longSignedIn()
  expect(await exportsWith(ada.token)).toBe(403)
  const { status, body } = await ask(ada.token)
  expect([status, Object.keys(body).sort()]).toEqual([200, ['access_token', 'expires_in', 'token_type']])
  expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 600 })
  expect(timeOf(body.access_token)).toBeGreaterThan(Date.now() / 1000 - 60)
  expect(decodeJwt(body.access_token as string)).toMatchObject({ sid: ada.sessionId, amr: ['pwd'] })
  expect(await exportsWith(body.access_token as string)).toBe(200)
  expect(await exportsWith(ada.token)).toBe(403)
})

test('SE1: reauthenticating does not change the session: its refresh gives the old time', async () => {
  const ada = await longSignedIn()
  const before = await api.sql('SELECT proved_at, turn FROM sessions WHERE id = ?', [ada.sessionId])
  await ask(ada.token)
  expect(await api.sql('SELECT proved_at, turn FROM sessions WHERE id = ?', [ada.sessionId])).toEqual(before)
  const { body } = await api.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: ada.refreshToken },
  })
  expect(timeOf(body.access_token)).toBe(timeOf(ada.token))
  expect(await exportsWith(body.access_token as string)).toBe(403)
})

test('SE1: a wrong password, another member and a session that has ended prove nothing', async () => {
  const ada = await longSignedIn()
  const wrong = await ask(ada.token, { password: 'not the one that it is' })
  expect([wrong.status, wrong.body.code]).toEqual([403, 'wrong_password'])
  expect((await ask(ada.token, { password: PASSWORD, role: 'admin' })).status).toBe(422)
  expect((await ask(ada.token, {})).status).toBe(422)
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [ada.sessionId])
  const ended = await ask(ada.token)
  expect([ended.status, ended.body.code]).toEqual([401, 'invalid_token'])
})

test('RL1: wrong passwords are only counted by session, and a correct one resets the count', async () => {
  const ada = await longSignedIn()
  for (let tries = 0; tries < 9; tries++) await ask(ada.token, { password: 'not the one that it is' })
  expect((await ask(ada.token)).status).toBe(200)
  for (let tries = 0; tries < 10; tries++) await ask(ada.token, { password: 'not the one that it is' })
  const spent = await ask(ada.token)
  expect([spent.status, spent.body.code]).toEqual([429, 'too_many_attempts'])
  const elsewhere = await api.signIn(ada, Date.now() - HOUR_MS)
  expect((await ask(elsewhere.token)).status).toBe(200)
  expect(
    (await api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } })).status,
  ).toBe(200)
})

test('MF3: a proof that arrives again does not restore a code that was used since', async () => {
  const own = await freshUpstreams()
  const lone = openApi(own.bindings)
  const ada = await lone.person()
  const { seed } = await addTotp(lone, ada)
  const { token } = await lone.signIn(ada)
  await withinOneStep()
  await own.behave('libsql', { mode: 'echo', next: 1, only: 'is_done' })
  const body = { password: PASSWORD, code: codeOf(seed, -1) }
  expect((await lone.send('POST', '/v1/auth/reauthenticate', { token, body })).status).toBe(200)
  const later = await lone.send('POST', '/v1/auth/reauthenticate', {
    token: (await lone.signIn(ada)).token,
    body: { password: PASSWORD, code: codeOf(seed) },
  })
  expect(later.status).toBe(200)
  const step = () => lone.sql('SELECT last_step FROM factors WHERE user_id = ?', [ada.id])
  const moved = await step()
  expect(await own.land()).toBe(1)
  expect(await step()).toEqual(moved)
})
