import { describe, expect, inject, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { isEmail, normalizeEmail } from '../../src/values/email.ts'
import { type Answer, openApi, PASSWORD } from '../support/api.ts'
import { limiter } from '../support/limiter.ts'
import { freshUpstreams, upstreams } from '../support/upstreams.ts'

const api = openApi()
const WRONG_PASSWORD = 'nine green bears run'

test('LE6: somebody signs up and logs in, and each login has its own session', async () => {
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

test('No password is hashed for somebody who signs up with an address that is taken, and the try is counted', async () => {
  const ada = await api.person()
  const full = openApi({ ...api.bindings, RATE_LIMIT_HASHES: limiter(0), NETWORK_MAILS_PER_HOUR: '2' })
  const signUp = (email: string) =>
    full.send('POST', '/v1/auth/signup', {
      body: { email, password: PASSWORD, name: 'Eve' },
      ip: '203.0.113.77',
    })
  expect((await signUp(`${crypto.randomUUID()}@people.test`)).body.code).toBe('too_many_requests')
  for (const code of ['email_taken', 'email_taken', 'too_many_attempts'])
    expect((await signUp(ada.email)).body.code).toBe(code)
  expect(await api.historyOf(ada.id)).toEqual([])
})

test('LE4: four sign-ups with one address at once make one account', async () => {
  const email = `${crypto.randomUUID()}@people.test`
  const bodies = Array.from({ length: 4 }, (_, i) => ({
    email: i % 2 ? email.toUpperCase() : email,
    password: PASSWORD,
    name: `${i}`,
  }))
  const answers = await Promise.all(bodies.map((body) => api.send('POST', '/v1/auth/signup', { body })))
  // On a slow machine, one may get a 503 because the others are hashing, but never a wrong answer.
  for (const { status } of answers) expect([201, 409, 503]).toContain(status)
  expect(answers.filter(({ status }) => status === 201).length).toBeLessThanOrEqual(1)
  expect(await api.sql('SELECT count(*) AS n FROM users WHERE email_normalized = ?', [email])).toEqual([
    { n: 1 },
  ])
})

/** Who is turned away, and the credentials they use. */
const TURNED_AWAY: Record<string, () => Promise<{ email: string; password: string }>> = {
  'an unknown address': async () => ({ email: `${crypto.randomUUID()}@people.test`, password: PASSWORD }),
  'no address at all': async () => ({ email: 'nobody', password: PASSWORD }),
  'a wrong password': async () => ({ ...(await api.person()), password: WRONG_PASSWORD }),
  'a soft-deleted person': () => api.person({ deleted_at: Date.now() }),
  'a person without a password': () => api.person({ password_hash: null }),
  'a person whose password is locked': () => api.person({ failed_logins: MAX_FAILURES_IN_A_ROW }),
}

test('LE1, LE2: everybody who is turned away gets the same answer, for the same work', async () => {
  const own = upstreams()
  const counted = openApi(own.bindings)
  // Hashing begins with normalising the password, and nothing else in a login does that.
  const normalize = vi.spyOn(String.prototype, 'normalize')
  const hashes = () => normalize.mock.calls.filter(([form]) => form === 'NFKC').length
  const seen = []
  for (const [who, make] of Object.entries(TURNED_AWAY)) {
    const body = await make()
    normalize.mockClear()
    const { email, password } = body
    const { result, calls, depth } = await own.measure(() =>
      counted.send('POST', '/v1/auth/login', { body: { email, password } }),
    )
    seen.push({
      who,
      answer: withoutTheMoment(result),
      hashes: hashes(),
      calls: calls.length,
      statements: calls.flatMap((call) => call.statements.map(({ sql }) => sql)),
      depth,
    })
  }
  const [first] = seen
  expect(first).toMatchObject({ hashes: 1, calls: 2, depth: 2, answer: { status: 401 } })
  expect(seen).toEqual(seen.map(({ who }) => ({ ...first, who })))
  normalize.mockRestore()
})

/** Two equal answers may only differ in their id, and in how long the upstreams took. */
const withoutTheMoment = ({ status, headers, text }: Answer) => ({
  status,
  text: text.replace(/"request_id":"[^"]+"/, ''),
  headers: [...headers]
    .filter(([name]) => name !== 'x-request-id')
    .map(([name, value]) => [name, name === 'server-timing' ? value.replaceAll(/dur=\d+/g, '') : value]),
})

test.runIf(inject('whole'))('LE2: an unknown address takes as long as a wrong password', async () => {
  const real = openApi({ PASSWORD_HASHES: 'full' })
  const ada = await real.person()
  const timed = async (email: string) => {
    const startedAt = performance.now()
    await real.send('POST', '/v1/auth/login', { body: { email, password: WRONG_PASSWORD } })
    return performance.now() - startedAt
  }
  const times = { known: [] as number[], unknown: [] as number[] }
  for (let pair = 0; pair < 60; pair++) {
    times.known.push(await timed(ada.email))
    times.unknown.push(await timed(`${crypto.randomUUID()}@people.test`))
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!
  const [known, unknown] = [median(times.known), median(times.unknown)]
  expect(Math.abs(known - unknown)).toBeLessThan(0.2 * known)
})

describe('LE4: an address', () => {
  const local = (length: number) => 'a'.repeat(length)
  const longest = `${local(64)}@${'x'.repeat(61)}.${'y'.repeat(61)}.${'z'.repeat(60)}.test`

  test.each([
    ['A@X.Test', 'a@x.test'],
    [' a@x.test\t', 'a@x.test'],
    ["o'hara+list@x.test", "o'hara+list@x.test"],
    [`${local(64)}@x.test`, `${local(64)}@x.test`],
    [longest, longest],
    ['ada@BÜCHER.example', 'ada@xn--bcher-kva.example'],
    ['ada@bu\u0308cher.example', 'ada@xn--bcher-kva.example'],
    ['ada@xn--bcher-kva.example', 'ada@xn--bcher-kva.example'],
    ['ada@x.ＴＥＳＴ', 'ada@x.test'],
  ])('%j is %j', (typed, normalized) => {
    expect(isEmail(typed)).toBe(true)
    expect(normalizeEmail(typed)).toBe(normalized)
    expect(normalizeEmail(normalized)).toBe(normalized)
  })

  const refused = [
    ...[
      '',
      ' ',
      'a',
      '@',
      'a@',
      '@x.test',
      'x.test',
      'a.b.com',
      'a@b@x.test',
      'a@x,b@y.test',
      'a@x.test,b@y.test',
    ],
    ...[
      'a＠x.test',
      'mıke@x.test',
      'K\u0131m@x.test',
      '\u212aim@x.test',
      'ſam@x.test',
      'ada\u200b@x.test',
      'аda@x.test',
    ],
    ...[
      '"a b"@x.test',
      '"a"@x.test',
      'a b@x.test',
      'a\0@x.test',
      'a(b)@x.test',
      '<a@x.test>',
      'Ada <a@x.test>',
    ],
    ...['a\r\nBcc: b@x.test', 'a@x.test\r\nBcc: b@y.test', 'a@x.te\nst', 'a\ud800@x.test', 'a@x\ud800.test'],
    ...['.a@x.test', 'a.@x.test', 'a..b@x.test', `${local(65)}@x.test`, longest.replace('.test', 'z.test')],
    ...[
      'a@localhost',
      'a@x.test.',
      'a@x..test',
      'a@-x.test',
      'a@x-.test',
      `a@${'x'.repeat(64)}.test`,
      'a@x_y.test',
    ],
    ...[
      'a@127.0.0.1',
      'a@[127.0.0.1]',
      'a@x.test:25',
      'a@x.test/b',
      'a@x%2etest',
      'a@x.test#',
      'a@user:pw@x.test',
    ],
  ]
  test.each(refused.map((email) => [email]))('%j is not an address', async (email) => {
    expect(isEmail(email)).toBe(false)
    const answer = await api.send('POST', '/v1/auth/signup', {
      body: { email, password: PASSWORD, name: 'Ada' },
    })
    expect([answer.status, answer.body.code]).toEqual([422, 'invalid_input'])
  })

  test('that only looks like another logs nobody in', async () => {
    const mike = await api.person({ email: `mike.${crypto.randomUUID()}@people.test` })
    for (const email of [mike.email.replace('i', 'ı'), mike.email.replace('@', '＠'), `"${mike.email}"`]) {
      const answer = await api.send('POST', '/v1/auth/login', { body: { email, password: PASSWORD } })
      expect(answer.body.code).toBe('invalid_credentials')
    }
  })
})

/** States of an account, set in its row only: each way in must notice them by itself. */
const SHUT = {
  disabled: "status = 'disabled', disabled_reason = 'left'",
  'soft-deleted': 'deleted_at = 1',
}

test.each(Object.entries(SHUT))('LE6: nobody who is %s can get in', async (_, state) => {
  const ada = await api.actor()
  await api.sql(`UPDATE users SET ${state} WHERE id = ?`, [ada.id])
  const { email, password } = ada
  const form = new URLSearchParams({ username: email, password })
  const answers = [
    await api.send('POST', '/v1/auth/login', { body: { email, password } }),
    await api.send('POST', '/v1/auth/login', { raw: form }),
    await refresh(ada.refreshToken),
    await api.send('GET', '/v1/users/me', { token: ada.token }),
    await api.send('POST', '/v1/auth/change_password', {
      token: ada.token,
      body: { current_password: password, new_password: WRONG_PASSWORD },
    }),
  ]
  // Only the right password may learn why.
  const atLogin = state.startsWith('status') ? 403 : 401
  expect(answers.map(({ status }) => status)).toEqual([atLogin, atLogin, 401, 401, 401])
  const sessions = await api.sql('SELECT counter FROM sessions WHERE user_id = ?', [ada.id])
  expect(sessions).toEqual([{ counter: 0 }])
})

test('LE6: a user whose disabling has ended can log in again, and the history says why', async () => {
  const past = { status: 'disabled', disabled_reason: 'holiday', disabled_until: Date.now() - 1000 } as const
  const ada = await api.person(past)
  const { user } = await api.logIn(ada)
  expect(user.status).toBe('active')
  expect(await api.historyOf(ada.id)).toEqual(['session.started', 'user.enabled'])
})

test('LE6: a fresh deployment has no account of anybody', async () => {
  const own = await freshUpstreams()
  expect(await openApi(own.bindings).sql('SELECT count(*) AS n FROM users')).toEqual([{ n: 0 }])
})

test('The form of OAuth2 password clients logs in too', async () => {
  const ada = await api.person()
  const form = { username: ada.email, password: PASSWORD, grant_type: 'password', scope: '', client_id: 'x' }
  const answer = await api.send('POST', '/v1/auth/login', { raw: new URLSearchParams(form) })
  expect(answer.status).toBe(200)
  const unknown = await api.send<Tokens>('POST', '/v1/auth/login', {
    raw: new URLSearchParams({ ...form, role: 'admin' }),
  })
  expect([unknown.status, unknown.body.user.role]).toEqual([200, 'user'])
})

test('… and refreshes by form', async () => {
  const { refreshToken } = await api.actor()
  const ask = (fields: Record<string, string>) =>
    api.send<Tokens>('POST', '/v1/auth/refresh_token', { raw: new URLSearchParams(fields) })
  const form = { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'x', scope: '' }
  const answer = await ask(form)
  expect([answer.status, answer.body.refresh_token === refreshToken]).toEqual([200, false])
  expect((await ask({ ...form, grant_type: 'password' })).status).toBe(422)
  expect((await ask({ grant_type: 'refresh_token' })).status).toBe(422)
})

test('RV3: users see their sessions without tokens, with the current one marked, and can end one', async () => {
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
    'repeated_at',
    'user_agent',
  ])
  const ended = await api.send('DELETE', `/v1/auth/sessions/${sessionOf(other)}`, { token: ada.token })
  expect(ended.status).toBe(204)
  expect((await api.send('GET', '/v1/users/me', { token: other.access_token })).status).toBe(401)
  expect((await refresh(other.refresh_token)).body.code).toBe('session_revoked')
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
})

test('AZ2: nobody can end somebody else’s session', async () => {
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
      INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
      SELECT 'ffffffff-0000-7000-8000-' || substr(?, 1, 8) || printf('%04d', i), user_id, 0, rotated_at, created_at,
        last_seen_at, idle_expires_at, expires_at FROM n, sessions WHERE id = ?`,
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

test('RV3: an expired session does not count among the fifty, and pushes out none', async () => {
  const ada = await api.actor()
  const oldest = sessionOf({ access_token: ada.token })
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
      INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
      SELECT 'ffffffff-0000-7000-8000-' || substr(?, 1, 8) || printf('%04d', i), user_id, 0, rotated_at, created_at,
        last_seen_at, ?, expires_at FROM n, sessions WHERE id = ?`,
    [ada.id.slice(-8), Date.now() - 1, oldest],
  )
  await api.logIn(ada)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
})

test('Logging in with an address or a password of an absurd kind is a 401 or a 422, never more', async () => {
  const bodies = [
    { email: 'nobody', password: PASSWORD },
    { email: '@', password: PASSWORD },
    { email: `${'a'.repeat(300)}@x.test`, password: PASSWORD },
    { email: 'a@b@c', password: PASSWORD },
    { email: 'a\0@x.test', password: PASSWORD },
  ]
  for (const body of bodies) {
    const answer = await api.send('POST', '/v1/auth/login', { body })
    expect([answer.status, answer.body.code]).toEqual([401, 'invalid_credentials'])
  }
  const halfACharacter = { email: 'a\ud800@x.test', password: PASSWORD }
  expect((await api.send('POST', '/v1/auth/login', { body: halfACharacter })).status).toBe(422)
})

const logIn = (email: string) => api.logIn({ email, password: PASSWORD })
const refresh = (token: string) =>
  api.send<Tokens & { code: string }>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })
const sessionOf = ({ access_token }: { access_token: string }): string =>
  JSON.parse(atob(access_token.split('.')[1]!)).sid
