import { expect, test } from 'vitest'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'

const api = openApi()
const NEW_PASSWORD = 'nine green bears run'

const forgot = (email: string, headers = {}) =>
  api.send('POST', '/v1/auth/forgot_password', { body: { email }, headers })
const reset = (body: object) => api.send('POST', '/v1/auth/reset_password', { body })
const logIn = (email: string, password: string) =>
  api.send('POST', '/v1/auth/login', { body: { email, password } })
const linkFor = async (email: string) => {
  await forgot(email)
  return linkIn((await api.mailsTo(email))[0]!)
}

test('RS4: a reset sets the password, ends every session, tells the owner and does not log in', async () => {
  const ada = await api.actor()
  const { token } = await linkFor(ada.email)
  const answer = await reset({ token, new_password: NEW_PASSWORD })
  expect([answer.status, answer.text]).toEqual([204, ''])
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
  const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: ada.refreshToken },
  })
  expect(refreshed.body.code).toBe('session_revoked')
  expect((await logIn(ada.email, PASSWORD)).status).toBe(401)
  expect((await logIn(ada.email, NEW_PASSWORD)).status).toBe(200)
  const subjects = (await api.mailsTo(ada.email)).map(({ subject }) => subject)
  expect(subjects).toContain('Your password at Roster was changed')
  expect(await api.historyOf(ada.id)).toEqual([
    'session.started',
    'password.reset_requested',
    'password.reset',
    'login.failed',
    'session.started',
  ])
})

test('RS4, PW6: a reset does not accept the account’s present password, and its link stays valid', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const { token } = await linkFor(ada.email)
  for (const new_password of [PASSWORD, PASSWORD.normalize('NFD')]) {
    const answer = await reset({ token, new_password })
    expect([answer.status, answer.body.errors]).toEqual([
      422,
      [{ pointer: '/new_password', code: 'unchanged', detail: 'This is already the password.' }],
    ])
  }
  expect((await reset({ token, new_password: NEW_PASSWORD })).status).toBe(204)

  // A hash whose key is gone is no reason to lock anybody out.
  const hash = '$scrypt$ln=10,r=8,p=1,k=00000000$AAAAAAAAAAAAAAAAAAAAAA$' + 'A'.repeat(43)
  const eve = await api.person({ email_verified_at: 1, password_hash: hash })
  const link = await linkFor(eve.email)
  expect((await reset({ token: link.token, new_password: PASSWORD })).status).toBe(204)

  // Somebody who signed up may enter the same password again; one that somebody else typed must be replaced.
  for (const [password_is_given, status] of [
    [0, 204],
    [1, 422],
  ] as const) {
    const { email } = await api.person({ password_is_given })
    await api.send('POST', '/v1/auth/resend_verification', { body: { email } })
    const verification = linkIn((await api.mailsTo(email))[0]!)
    const body = { token: verification.token, new_password: PASSWORD }
    expect((await api.send('POST', '/v1/auth/verify_email', { body })).status).toBe(status)
  }
})

test('The code in the mail resets too, with the token of whoever asked', async () => {
  const ada = await api.person()
  const { request_token } = (await forgot(ada.email)).body
  const { code } = linkIn((await api.mailsTo(ada.email))[0]!)
  const body = { code, new_password: NEW_PASSWORD }
  expect((await reset(body)).body.code).toBe('invalid_link')
  expect((await reset({ ...body, request_token })).status).toBe(204)
  expect((await logIn(ada.email, NEW_PASSWORD)).status).toBe(200)
})

test('RS1: of eight who use one link at once exactly one succeeds, and its password is set', async () => {
  const ada = await api.person()
  const { token } = await linkFor(ada.email)
  const passwords = Array.from({ length: 8 }, (_, i) => `nine green bears run ${i}`)
  const answers = await Promise.all(passwords.map((new_password) => reset({ token, new_password })))
  const winners = passwords.filter((_, i) => answers[i]!.status === 204)
  expect(winners).toHaveLength(1)
  for (const { status, body } of answers) {
    if (status !== 204) expect(['invalid_link', 'write_conflict', 'hashing_busy']).toContain(body.code)
  }
  expect((await logIn(ada.email, winners[0]!)).status).toBe(200)
  expect((await api.historyOf(ada.id)).filter((action) => action === 'password.reset')).toHaveLength(1)
})

test('RS1: neither the link nor the code is in the database', async () => {
  const ada = await api.person()
  const { token, code } = await linkFor(ada.email)
  const mac = token.split('.').at(-1)!
  const rows = [
    ...(await api.sql('SELECT * FROM one_time_tokens WHERE subject_id = ?', [ada.id])),
    ...(await api.sql('SELECT * FROM outbox WHERE user_id = ?', [ada.id])),
    ...(await api.sql('SELECT * FROM user_activity_logs WHERE user_id = ?', [ada.id])),
  ]
  expect(rows.length).toBeGreaterThanOrEqual(3)
  expect(JSON.stringify(rows)).not.toContain(mac)
  expect(JSON.stringify(rows)).not.toContain(code)
})

test('RS2: a link is valid for 30 minutes', async () => {
  const [ada, eve] = [await api.person(), await api.person()]
  const passTime = (minutes: number, { id }: { id: string }) =>
    api.sql('UPDATE one_time_tokens SET expires_at = expires_at - ? WHERE subject_id = ?', [
      minutes * 60_000,
      id,
    ])
  const links = [await linkFor(ada.email), await linkFor(eve.email)]
  const { text } = (await api.mailsTo(ada.email))[0]!
  expect(text).toContain('The link works once, for 30 minutes.')
  expect(text).toContain('Or type this code, valid for 10 minutes:')
  await passTime(29, ada)
  await passTime(31, eve)
  expect((await reset({ token: links[0]!.token, new_password: NEW_PASSWORD })).status).toBe(204)
  expect((await reset({ token: links[1]!.token, new_password: NEW_PASSWORD })).body.code).toBe('invalid_link')
})

test('RS2, PW6: a newer link, a new password, another address and a closed account void a link', async () => {
  const admin = await api.actor({ role: 'admin' })
  const kills: Record<string, (ada: Awaited<ReturnType<typeof api.actor>>) => Promise<unknown>> = {
    'a newer link': (ada) => forgot(ada.email),
    'a new password': (ada) =>
      api.send('POST', '/v1/auth/change_password', {
        token: ada.token,
        body: { current_password: PASSWORD, new_password: NEW_PASSWORD },
      }),
    'another address': (ada) =>
      api.send('PATCH', `/v1/users/${ada.id}`, {
        token: admin.token,
        body: { email: `${crypto.randomUUID()}@people.test` },
      }),
    'being disabled': (ada) =>
      api.send('POST', `/v1/users/${ada.id}/disable`, { token: admin.token, body: { reason: 'left' } }),
    'being deleted and restored': async (ada) => {
      await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })
      await api.send('POST', `/v1/users/${ada.id}/restore`, { token: admin.token })
    },
  }
  for (const kill of Object.values(kills)) {
    const ada = await api.actor()
    const { token } = await linkFor(ada.email)
    await kill(ada)
    const answer = await reset({ token, new_password: 'two purple owls sing' })
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_link'])
  }
})

test('RS3: where a link leads is a setting, whatever the request claims', async () => {
  const ada = await api.person()
  await forgot(ada.email, {
    host: 'evil.test',
    'x-forwarded-host': 'evil.test',
    'x-forwarded-proto': 'ftp',
    forwarded: 'host=evil.test',
    origin: 'https://evil.test',
  })
  expect(linkIn((await api.mailsTo(ada.email))[0]!).url.origin).toBe('https://roster.test')
  const configured = openApi({ LINK_ORIGIN: 'https://people.example.org' })
  await configured.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  expect(linkIn((await api.mailsTo(ada.email))[0]!).url.origin).toBe('https://people.example.org')
})

test('RL1: an account that is locked against passwords accepts the one that a reset has set', async () => {
  const ada = await api.person()
  await api.sql('UPDATE users SET failed_logins = 100 WHERE id = ?', [ada.id])
  expect((await logIn(ada.email, PASSWORD)).status).toBe(401)
  const { token } = await linkFor(ada.email)
  expect((await reset({ token, new_password: NEW_PASSWORD })).status).toBe(204)
  expect((await logIn(ada.email, NEW_PASSWORD)).status).toBe(200)
})

test('PW3: a weak password is refused by the reset too, and the link stays valid', async () => {
  const ada = await api.person()
  const { token } = await linkFor(ada.email)
  for (const new_password of ['password1234', 'short', '123456789012', 'x'.repeat(257)]) {
    expect((await reset({ token, new_password })).status).toBe(422)
  }
  expect((await reset({ token, new_password: NEW_PASSWORD })).status).toBe(204)
})

test('PW6: the owner is told about a changed password', async () => {
  const ada = await api.actor({ email_verified_at: 1 })
  const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
  expect((await api.send('POST', '/v1/auth/change_password', { token: ada.token, body })).status).toBe(200)
  expect((await api.mailsTo(ada.email)).map(({ subject }) => subject)).toEqual([
    'Your password at Roster was changed',
  ])
})

test('LE4: the mail goes to the stored address, never to another spelling', async () => {
  const stored = `mike-${crypto.randomUUID()}@people.test`
  await api.person({ email: stored })
  await forgot(stored.toUpperCase())
  expect(await api.mailsTo(stored)).toHaveLength(1)
  expect(await api.mailsTo(stored.toUpperCase())).toEqual([])
  const lookalike = stored.replace('mike', 'mıke')
  const answer = await forgot(lookalike)
  expect(answer.status).toBe(422)
  expect(await api.mailsTo(stored)).toHaveLength(1)
})
