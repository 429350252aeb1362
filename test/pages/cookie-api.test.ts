import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { expect, test } from 'vitest'
import worker from '../../src/index.ts'
import { openApi, PASSWORD } from '../support/api.ts'
import { cookieIn, ORIGIN, openJar, SESSION } from '../support/jar.ts'

const APP = 'https://app.roster.test'
const api = openApi({ COOKIE_ORIGINS: APP, CORS_ORIGINS: 'https://tokens.test' })
const wrong = 'not the one that it is'

/** Somebody signed in by the API, with a cookie. */
async function signedIn(given: Parameters<typeof api.person>[0] = {}, more: object = {}) {
  const person = await api.person(given)
  const jar = openJar(api)
  const { email, password } = person
  const answer = await jar.ask('POST', '/v1/auth/login', { email, password, cookie: true, ...more })
  return { ...person, jar, answer }
}
const nameOf = async (id: string) => (await api.sql('SELECT name FROM users WHERE id = ?', [id]))[0]!.name

test('HD5: a login that asks for a cookie gets the user and the cookie, and no token', async () => {
  const { id, answer, jar } = await signedIn()
  expect([answer.status, Object.keys(answer.body)]).toEqual([200, ['user']])
  expect(answer.body).toMatchObject({ user: { id } })
  const cookie = cookieIn(answer.headers, SESSION)!
  for (const attribute of ['Path=/', 'HttpOnly', 'Secure', 'SameSite=Lax', 'Max-Age=2592000'])
    expect(cookie).toContain(attribute)
  expect(cookie).not.toMatch(/Domain/)
  expect((await jar.open('/v1/users/me')).body).toMatchObject({ id })
})

test('HD5: a session that is not to be remembered ends with the browser, and after twelve hours', async () => {
  const { id, answer, jar } = await signedIn({}, { remember: false })
  expect(cookieIn(answer.headers, SESSION)).not.toMatch(/Max-Age|Expires/)
  const [row] = await api.sql(
    'SELECT expires_at - created_at AS ms, idle_expires_at - created_at AS idle FROM sessions WHERE user_id = ?',
    [id],
  )
  expect(row).toEqual({ ms: 12 * 3_600_000, idle: 12 * 3_600_000 })
  await api.sql('UPDATE sessions SET idle_expires_at = 1 WHERE user_id = ?', [id])
  expect((await jar.open('/v1/users/me')).status).toBe(401)
})

test('With a header and a cookie, only the header counts', async () => {
  const { jar } = await signedIn()
  const other = await api.quickActor()
  expect((await jar.open('/v1/users/me', { authorization: `Bearer ${other.token}` })).body.id).toBe(other.id)
  expect((await jar.open('/v1/users/me', { authorization: 'Bearer nothing' })).status).toBe(401)
  expect((await jar.open('/v1/users/me', { authorization: 'Basic x' })).status).toBe(401)
})

test('A foreign or changed cookie is not accepted', async () => {
  const { jar } = await signedIn()
  const good = jar.jar.get(SESSION)!
  for (const bad of [good.replace('.user.', '.admin.'), `${good}x`, good.slice(0, -1), 'ck_', '']) {
    jar.jar.set(SESSION, bad)
    expect((await jar.open('/v1/users/me')).status).toBe(401)
  }
})

test('HD2: a change by cookie needs an allowed origin, and JSON', async () => {
  const { id, jar } = await signedIn()
  const patch = (headers: Record<string, string>) =>
    jar.request('PATCH', '/v1/users/me', { body: { name: 'Changed' }, headers })
  const refused = [
    {},
    { origin: 'null' },
    { origin: 'https://evil.test' },
    { origin: 'https://tokens.test' },
    { origin: 'http://sub.roster.test', 'sec-fetch-site': 'same-site' },
    { origin: 'https://evil.test', 'sec-fetch-site': 'same-origin' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'none' },
  ]
  for (const headers of refused) {
    const { status, body } = await patch(headers as never)
    expect([headers, status, body.code]).toEqual([headers, 403, 'origin_not_allowed'])
  }
  const here = { origin: ORIGIN }
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
    const raw = JSON.stringify({ name: 'Changed' })
    const headers = { ...here, 'content-type': type }
    expect((await jar.request('PATCH', '/v1/users/me', { raw, headers })).status).toBe(415)
    expect((await jar.request('POST', '/v1/auth/logout_all', { raw, headers })).status).toBe(415)
  }
  expect(await nameOf(id)).toBe('Somebody')
  for (const headers of [
    here,
    { origin: APP },
    { 'sec-fetch-site': 'same-origin' },
    { origin: 'null', 'sec-fetch-site': 'same-origin' },
  ])
    expect((await patch(headers as never)).status).toBe(200)
  expect(await nameOf(id)).toBe('Changed')
})

test('HD1: only COOKIE_ORIGINS may send credentials, and none may by default', async () => {
  const headersOf = async (origin: string, of = api) => {
    const { headers } = await of.send('GET', '/v1/users/me', { headers: { origin } })
    return [headers.get('access-control-allow-origin'), headers.get('access-control-allow-credentials')]
  }
  expect(await headersOf(APP)).toEqual([APP, 'true'])
  expect(await headersOf('https://tokens.test')).toEqual(['https://tokens.test', null])
  for (const origin of ['https://evil.test', 'null', `${APP}.evil.test`, APP.toUpperCase()])
    expect(await headersOf(origin)).toEqual([null, null])
  expect(await headersOf(APP, openApi())).toEqual([null, null])
  const asked = { origin: APP, 'access-control-request-method': 'PATCH' }
  const preflight = await api.send('OPTIONS', '/v1/users/me', { headers: asked })
  expect(preflight.headers.get('access-control-allow-credentials')).toBe('true')
  const { jar } = await signedIn()
  await jar.ask('POST', '/v1/auth/logout')
  const ended = await jar.open('/v1/users/me', { origin: APP })
  expect([ended.status, ended.headers.get('access-control-allow-credentials')]).toEqual([401, 'true'])
})

test('HD2: no page of another origin can sign its visitor in, whatever form it sends', async () => {
  const { email } = await api.person()
  const body = { email, password: PASSWORD, cookie: true }
  for (const headers of [
    { origin: 'https://evil.test' },
    { origin: 'https://tokens.test' },
    { origin: 'null' },
    { 'sec-fetch-site': 'same-site' },
  ]) {
    const answer = await api.send('POST', '/v1/auth/login', { body, headers: headers as never })
    expect([answer.status, answer.body.code, answer.headers.getSetCookie()]).toEqual([
      403,
      'origin_not_allowed',
      [],
    ])
  }
  const raw = JSON.stringify(body)
  const plain = await api.send('POST', '/v1/auth/login', { raw, headers: { 'content-type': 'text/plain' } })
  expect(plain.status).toBe(415)
  const form = new URLSearchParams({ username: email, password: PASSWORD, cookie: 'true' })
  const tokens = await api.send('POST', '/v1/auth/login', { raw: form })
  expect([tokens.status, tokens.headers.getSetCookie()]).toEqual([200, []])
})

test('A request that is repeated with the correct hint keeps its country', async () => {
  const { id, jar } = await signedIn()
  await api.sql("UPDATE users SET role = 'manager', token_epoch = token_epoch + 1 WHERE id = ?", [id])
  const cookie = [...jar.jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const request = new Request(`${ORIGIN}/v1/users/me`, {
    method: 'PATCH',
    headers: { cookie, origin: ORIGIN, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Grace' }),
    cf: { country: 'DE' } as RequestInitCfProperties,
  })
  const context = createExecutionContext()
  const answer = await worker.fetch(request, api.bindings, context)
  await waitOnExecutionContext(context)
  expect(answer.status).toBe(200)
  expect(
    await api.sql("SELECT country FROM user_activity_logs WHERE user_id = ? AND action = 'user.updated'", [
      id,
    ]),
  ).toEqual([{ country: 'DE' }])
})

test('A hint that was wrong costs a second trip and a new cookie, and no request fails for it', async () => {
  const { id, jar } = await signedIn({ role: 'admin' })
  const before = jar.jar.get(SESSION)
  await api.sql("UPDATE users SET role = 'manager', token_epoch = token_epoch + 1 WHERE id = ?", [id])
  const list = await jar.open('/v1/users')
  expect([list.status, list.headers.getSetCookie().length]).toEqual([200, 1])
  expect(jar.jar.get(SESSION)).not.toBe(before)
  expect((await jar.open('/v1/users')).headers.getSetCookie()).toEqual([])
  await api.sql("UPDATE users SET role = 'admin', token_epoch = token_epoch + 1 WHERE id = ?", [id])
  const changed = await jar.ask('PATCH', '/v1/users/me', { name: 'Changed' })
  expect([changed.status, changed.body.name]).toEqual([200, 'Changed'])
  await api.sql("UPDATE users SET role = 'user', token_epoch = token_epoch + 1 WHERE id = ?", [id])
  const refused = await jar.open('/v1/users')
  expect([refused.status, refused.body.code, refused.headers.getSetCookie().length]).toEqual([
    403,
    'forbidden',
    1,
  ])
  expect((await jar.open('/v1/users/me')).body.role).toBe('user')
})

test('A body that cannot be read is refused as usual if the hint was wrong, with the new cookie', async () => {
  const { id, jar } = await signedIn()
  await api.sql("UPDATE users SET role = 'manager', token_epoch = token_epoch + 1 WHERE id = ?", [id])
  const raw = new ReadableStream({
    start: (controller) => {
      controller.enqueue(new TextEncoder().encode(JSON.stringify({ name: 'x'.repeat(70_000) })))
      controller.close()
    },
  })
  const headers = { origin: ORIGIN, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' }
  const refused = await jar.request('PATCH', '/v1/users/me', { raw, headers })
  expect([refused.status, refused.body.code, refused.headers.getSetCookie().length]).toEqual([
    413,
    'body_too_large',
    1,
  ])
  expect(await nameOf(id)).toBe('Somebody')
  const changed = await jar.ask('PATCH', '/v1/users/me', { name: 'Changed' })
  expect([changed.status, changed.headers.getSetCookie()]).toEqual([200, []])
})

test('RV1: a disabled, deleted or logged-out user is out at once, by cookie too', async () => {
  for (const end of [
    "UPDATE users SET status = 'disabled', token_epoch = token_epoch + 1 WHERE id = ?",
    'UPDATE users SET deleted_at = 1 WHERE id = ?',
    'UPDATE sessions SET revoked_at = 1 WHERE user_id = ?',
  ]) {
    const { id, jar } = await signedIn()
    await api.sql(end, [id])
    expect((await jar.open('/v1/users/me')).status).toBe(401)
    expect((await jar.open('/v1/auth/sessions')).status).toBe(401)
    expect((await jar.ask('PATCH', '/v1/users/me', { name: 'Changed' })).status).toBe(401)
    expect(await nameOf(id)).toBe('Somebody')
  }
})

test('Logging out by cookie ends the session and clears the cookie, and can be repeated', async () => {
  for (const [method, path] of [
    ['POST', '/v1/auth/logout'],
    ['POST', '/v1/auth/logout_all'],
  ] as const) {
    const { jar } = await signedIn()
    const copy = jar.jar.get(SESSION)!
    const out = await jar.ask(method, path)
    expect([out.status, jar.jar.has(SESSION)]).toEqual([204, false])
    jar.jar.set(SESSION, copy)
    expect((await jar.open('/v1/users/me')).status).toBe(401)
    if (path === '/v1/auth/logout') expect((await jar.ask(method, path)).status).toBe(204)
  }
  const { jar } = await signedIn()
  const { body } = await jar.open('/v1/auth/sessions')
  const [session] = body.data as { id: string }[]
  expect((await jar.ask('DELETE', `/v1/auth/sessions/${session!.id}`)).status).toBe(204)
  expect(jar.jar.has(SESSION)).toBe(false)
})

test('SE1: reauthenticating gives a new cookie for the same session; the former one is never recent, and soon void', async () => {
  const { id, jar } = await signedIn()
  const former = openJar(api)
  former.jar.set(SESSION, jar.jar.get(SESSION)!)
  expect((await jar.ask('POST', '/v1/auth/reauthenticate', { password: wrong })).status).toBe(403)
  const again = await jar.ask('POST', '/v1/auth/reauthenticate', { password: PASSWORD })
  expect([again.status, Object.keys(again.body)]).toEqual([200, ['user']])
  expect(
    await api.sql('SELECT count(*) AS sessions, max(turn) AS turn FROM sessions WHERE user_id = ?', [id]),
  ).toEqual([{ sessions: 1, turn: 1 }])
  expect((await jar.open('/v1/users/me/export')).status).toBe(200)
  expect((await former.open('/v1/users/me')).status).toBe(200)
  expect((await former.ask('PATCH', '/v1/users/me', { name: 'On its way' })).status).toBe(200)
  const taken = await former.open('/v1/users/me/export')
  expect([taken.status, taken.body.code]).toEqual([403, 'reauthentication_required'])
  await api.sql('UPDATE sessions SET proved_at = proved_at - 31000 WHERE user_id = ?', [id])
  expect((await former.open('/v1/users/me')).status).toBe(401)
  expect((await former.ask('PATCH', '/v1/users/me', { name: 'Too late' })).status).toBe(401)
  expect((await jar.open('/v1/users/me')).body.name).toBe('On its way')
})

test('SE1: a cookie from before a reauthentication makes and invites no administrators, alone or in bulk', async () => {
  const { id, jar } = await signedIn({ role: 'admin', email_verified_at: 1 })
  const former = openJar(api)
  former.jar.set(SESSION, jar.jar.get(SESSION)!)
  await jar.ask('POST', '/v1/auth/reauthenticate', { password: PASSWORD })
  const somebody = (role: string) => ({ email: `${crypto.randomUUID()}@people.test`, role })
  const make = (one: typeof jar, role: string) =>
    one.ask('POST', '/v1/users', { ...somebody(role), name: 'Eve' })
  const invite = (one: typeof jar, role: string) => one.ask('POST', '/v1/invitations', somebody(role))
  const inviteAll = (one: typeof jar, ...roles: string[]) =>
    one.ask('POST', '/v1/invitations/bulk', { invitations: roles.map(somebody) })
  const refused = [
    await make(former, 'admin'),
    await make(former, 'manager'),
    await invite(former, 'admin'),
    await inviteAll(former, 'user', 'admin'),
  ]
  expect(refused.map(({ status, body }) => [status, body.code])).toEqual(
    Array(4).fill([403, 'reauthentication_required']),
  )
  expect(
    await api.sql(
      `SELECT action FROM user_activity_logs WHERE actor_id = ? AND action IN ('user.created', 'invitation.created')`,
      [id],
    ),
  ).toEqual([])
  // What gives no power away needs no recent login, so requests that were under way still pass.
  const passed = [
    await make(former, 'user'),
    await invite(former, 'user'),
    await make(jar, 'admin'),
    await invite(jar, 'admin'),
  ]
  expect(passed.map(({ status }) => status)).toEqual([201, 201, 201, 201])
  expect((await inviteAll(jar, 'user', 'admin')).body.data).toMatchObject(Array(2).fill({ status: 'done' }))
})

test('Two reauthentications with one cookie at once both succeed', async () => {
  const { jar } = await signedIn()
  const other = openJar(api)
  other.jar.set(SESSION, jar.jar.get(SESSION)!)
  const again = (one: typeof jar) => one.ask('POST', '/v1/auth/reauthenticate', { password: PASSWORD })
  expect((await Promise.all([again(jar), again(other)])).map(({ status }) => status)).toEqual([200, 200])
  expect(jar.jar.get(SESSION)).toBe(other.jar.get(SESSION))
  expect((await jar.open('/v1/users/me/export')).status).toBe(200)
})

test('PW6: a changed password ends a copied cookie of the same session for good', async () => {
  const { jar } = await signedIn()
  const thief = openJar(api)
  thief.jar.set(SESSION, jar.jar.get(SESSION)!)
  const body = { current_password: PASSWORD, new_password: 'nine green bears run' }
  const changed = await jar.ask('POST', '/v1/auth/change_password', body)
  expect([changed.status, Object.keys(changed.body)]).toEqual([200, ['user']])
  expect((await jar.open('/v1/users/me')).status).toBe(200)
  expect((await jar.ask('PATCH', '/v1/users/me', { name: 'Still here' })).status).toBe(200)
  const api401 = await thief.open('/v1/users/me')
  expect([api401.status, api401.headers.getSetCookie()]).toEqual([401, []])
  expect((await thief.ask('PATCH', '/v1/users/me', { name: 'Thief' })).status).toBe(401)
  thief.jar.set(SESSION, thief.jar.get(SESSION)!)
  const page = await thief.open('/account')
  expect([page.status, page.to]).toEqual([303, '/signin?to=%2Faccount'])
})

test('Ending all other sessions ends a copied cookie of this one too', async () => {
  const { email, jar } = await signedIn()
  const thief = openJar(api)
  thief.jar.set(SESSION, jar.jar.get(SESSION)!)
  const elsewhere = await api.logIn({ email, password: PASSWORD })
  expect((await jar.submit('/account/sessions', '/account/sessions/others')).status).toBe(303)
  expect((await jar.open('/account')).status).toBe(200)
  expect((await thief.open('/account')).to).toBe('/signin?to=%2Faccount')
  expect((await api.send('GET', '/v1/users/me', { token: elsewhere.access_token })).status).toBe(401)
})

test('After a reset, an undo or logging out everywhere no cookie is renewed', async () => {
  const { id, jar } = await signedIn()
  const admin = await api.quickActor({ role: 'admin' })
  await api.send('DELETE', `/v1/users/${id}/sessions`, { token: admin.token })
  expect((await jar.open('/v1/users/me')).status).toBe(401)
  expect((await jar.open('/account')).to).toBe('/signin?to=%2Faccount')
})

test('SE1: ending another session needs a recent login, ending the present one never does', async () => {
  const person = await api.person()
  const old = await api.signIn(person, Date.now() - 3_600_000)
  const other = await api.signIn(person)
  const end = (id: string, token = old.token) => api.send('DELETE', `/v1/auth/sessions/${id}`, { token })
  const refused = await end(other.sessionId)
  expect([refused.status, refused.body.code]).toEqual([403, 'reauthentication_required'])
  const { body } = await api.send('POST', '/v1/auth/reauthenticate', {
    token: old.token,
    body: { password: PASSWORD },
  })
  expect((await end(other.sessionId, body.access_token as string)).status).toBe(204)
  expect((await end(old.sessionId)).status).toBe(204)
})

test('Using a cookie extends its session’s idle time, and no other’s, at most once in five minutes', async () => {
  const { id, email, password, jar } = await signedIn()
  await openJar(api).ask('POST', '/v1/auth/login', { email, password, cookie: true })
  const seen = () =>
    api.sql('SELECT last_seen_at, idle_expires_at FROM sessions WHERE user_id = ? ORDER BY id', [id])
  const first = await seen()
  await jar.open('/v1/users/me')
  expect(await seen()).toEqual(first)
  await api.sql(
    'UPDATE sessions SET last_seen_at = last_seen_at - 301000, idle_expires_at = idle_expires_at - 301000 WHERE user_id = ?',
    [id],
  )
  const [, otherAged] = await seen()
  await jar.open('/v1/auth/sessions')
  const [own, other] = await seen()
  expect(Number(own!.idle_expires_at)).toBeGreaterThanOrEqual(Number(first[0]!.idle_expires_at))
  expect(other).toEqual(otherAged)
})
