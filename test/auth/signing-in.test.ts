import { expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { openApi, PASSWORD } from '../support/api.ts'

const api = openApi()

test('LE6: somebody signs up, logs in, and each login is a session of its own', async () => {
  const email = `Ada.${crypto.randomUUID()}@Example.org`
  const signedUp = await api.send('POST', '/v1/auth/signup', {
    body: { email, password: PASSWORD, name: ' Ada ' },
  })
  expect(signedUp.status).toBe(201)
  expect(signedUp.headers.get('location')).toBe(`/v1/users/${signedUp.body.id}`)
  expect(signedUp.headers.get('etag')).toBe('"1"')
  expect(signedUp.body).toMatchObject({
    email,
    name: 'Ada',
    role: 'user',
    status: 'active',
    email_verified: false,
  })

  const [first, second] = [await logIn(email.toUpperCase()), await logIn(` ${email} `)]
  expect(first).toMatchObject({ token_type: 'Bearer', expires_in: 600, refresh_expires_in: 14 * 86_400 })
  expect(first.user.id).toBe(signedUp.body.id)
  expect(sessionOf(first)).not.toBe(sessionOf(second))
  const me = await api.send('GET', '/v1/users/me', { token: first.access_token })
  expect(me.body).toEqual(second.user)
  expect(await api.historyOf(first.user.id)).toEqual(['user.signed_up', 'session.started', 'session.started'])
})

test('Signing up with an address that is taken, in any spelling, answers 409 and changes nothing', async () => {
  const ada = await api.person()
  const [before] = await api.sql('SELECT * FROM users WHERE id = ?', [ada.id])
  for (const email of [ada.email, ada.email.toUpperCase(), ` ${ada.email} `]) {
    const answer = await api.send('POST', '/v1/auth/signup', {
      body: { email, password: PASSWORD, name: 'Eve' },
    })
    expect([answer.status, answer.body.code]).toEqual([409, 'email_taken'])
  }
  expect(await api.sql('SELECT * FROM users WHERE email_normalized = ?', [ada.email])).toEqual([before])
  expect(await api.historyOf(ada.id)).toEqual([])
})

test('LE4: twenty who sign up with one address at once make one account', async () => {
  const email = `${crypto.randomUUID()}@people.test`
  const bodies = Array.from({ length: 8 }, (_, i) => ({
    email: i % 2 ? email.toUpperCase() : email,
    password: PASSWORD,
    name: `${i}`,
  }))
  const answers = await Promise.all(bodies.map((body) => api.send('POST', '/v1/auth/signup', { body })))
  expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)])
  expect(await api.sql('SELECT count(*) AS n FROM users WHERE email_normalized = ?', [email])).toEqual([
    { n: 1 },
  ])
})

test('The form of OAuth2 password clients logs in too', async () => {
  const ada = await api.person()
  const form = { username: ada.email, password: PASSWORD, grant_type: 'password', scope: '', client_id: 'x' }
  const answer = await api.send('POST', '/v1/auth/login', { raw: new URLSearchParams(form) })
  expect(answer.status).toBe(200)
  const unknown = await api.send('POST', '/v1/auth/login', {
    raw: new URLSearchParams({ ...form, role: 'admin' }),
  })
  expect(unknown.status).toBe(422)
})

test('RV3: own sessions are listed without tokens, the current one is marked, and one can be ended', async () => {
  const ada = await api.actor()
  const other = await api.logIn(ada)
  const list = await api.send<{ data: { id: string; current: boolean }[] }>('GET', '/v1/auth/sessions', {
    token: ada.token,
  })
  expect(list.body.data.map(({ current }) => current)).toEqual([false, true])
  expect(Object.keys(list.body.data[0]!).sort()).toEqual([
    'country',
    'created_at',
    'current',
    'expires_at',
    'id',
    'ip',
    'last_seen_at',
    'user_agent',
  ])
  const ended = await api.send('DELETE', `/v1/auth/sessions/${sessionOf(other)}`, { token: ada.token })
  expect(ended.status).toBe(204)
  expect((await api.send('GET', '/v1/users/me', { token: other.access_token })).status).toBe(401)
  expect((await refresh(other.refresh_token)).body.code).toBe('session_revoked')
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
})

test('AZ2: nobody ends a session of somebody else', async () => {
  const [ada, eve] = [await api.actor(), await api.actor()]
  const session = sessionOf({ access_token: ada.token })
  for (const id of [session, crypto.randomUUID(), 'x', "' OR 1=1 --"]) {
    const answer = await api.send('DELETE', `/v1/auth/sessions/${encodeURIComponent(id)}`, {
      token: eve.token,
    })
    expect([answer.status, answer.body.code]).toEqual([404, 'session_not_found'])
  }
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
})

test('RV3: the session after the fiftieth ends the oldest', async () => {
  const ada = await api.actor()
  const oldest = sessionOf({ access_token: ada.token })
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 49)
      INSERT INTO sessions SELECT 'ffffffff-0000-7000-8000-' || substr(?, 1, 8) || printf('%04d', i), user_id, 0, rotated_at,
        created_at, last_seen_at, idle_expires_at, expires_at, NULL, NULL, NULL, NULL, NULL FROM n, sessions WHERE id = ?`,
    [ada.id.slice(-8), oldest],
  )
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
  await api.logIn(ada)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
  const [count] = await api.sql(
    'SELECT count(*) AS n FROM sessions WHERE user_id = ? AND revoked_at IS NULL',
    [ada.id],
  )
  expect(count).toEqual({ n: 50 })
  expect(await api.historyOf(ada.id)).toContain('sessions.ended')
})

test('Logging in with an address or a password of an absurd kind is a 401 or a 422, never more', async () => {
  const bodies = [
    { email: 'nobody', password: PASSWORD },
    { email: '@', password: PASSWORD },
    { email: `${'a'.repeat(300)}@x.test`, password: PASSWORD },
    { email: 'a@b@c', password: PASSWORD },
  ]
  for (const body of bodies) {
    const answer = await api.send('POST', '/v1/auth/login', { body })
    expect([answer.status, answer.body.code]).toEqual([401, 'invalid_credentials'])
  }
})

const logIn = (email: string) => api.logIn({ email, password: PASSWORD })
const refresh = (token: string) =>
  api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })
const sessionOf = ({ access_token }: { access_token: string }): string =>
  JSON.parse(atob(access_token.split('.')[1]!)).sid
