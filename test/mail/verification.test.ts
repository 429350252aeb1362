import { expect, test } from 'vitest'
import { linkIn, openApi, PASSWORD, randomIp } from '../support/api.ts'

const optional = openApi()
const required = openApi({ EMAIL_VERIFICATION: 'required' })

const newAddress = () => `${crypto.randomUUID()}@people.test`
const signUp = (email: string, api = required) =>
  api.send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name: 'Ada' } })
const logIn = (email: string, password = PASSWORD, proof: object = {}) =>
  required.send('POST', '/v1/auth/login', { body: { email, password, ...proof } })
const verify = (body: object) => required.send('POST', '/v1/auth/verify_email', { body })

test('Somebody signs up, opens the link of the mail, and only then can log in', async () => {
  const email = newAddress()
  const answer = await signUp(email)
  expect([answer.status, answer.body]).toEqual([
    202,
    { status: 'accepted', signup_token: expect.stringMatching(/^su_/) },
  ])
  expect(await required.mailsTo(email)).toHaveLength(1)
  const { signup_token } = answer.body
  const early = await logIn(email, PASSWORD, { signup_token })
  expect([early.status, early.body.code]).toEqual([403, 'email_not_verified'])
  // A correct password sends the mail again.
  const [mail] = await required.mailsTo(email)
  expect((await verify({ token: linkIn(mail!).token, signup_token })).status).toBe(204)
  expect((await logIn(email, 'seven brown foxes hide')).body.code).toBe('invalid_credentials')
  const late = await logIn(email)
  expect(late.status).toBe(200)
  expect(late.body.user).toMatchObject({ email, email_verified: true })
  const { id } = late.body.user as { id: string }
  expect(await required.historyOf(id)).toEqual([
    'user.signed_up',
    'login.failed',
    'email.verified',
    'login.failed',
    'session.started',
  ])
})

test('The code in the mail works with the token of whoever asked, for five attempts and ten minutes', async () => {
  const begin = async () => {
    const email = newAddress()
    const { signup_token } = (await signUp(email)).body
    return { email, signup_token, code: linkIn((await required.mailsTo(email))[0]!).code }
  }
  const [typed, guessed, late] = [await begin(), await begin(), await begin()]
  expect((await verify({ code: typed.code, signup_token: typed.signup_token })).status).toBe(204)

  const { code: right, signup_token } = guessed
  const wrong = right === '00000000' ? '00000001' : '00000000'
  const guess = (code: string) => verify({ code, signup_token })
  const guesses = await Promise.all(Array.from({ length: 5 }, () => guess(wrong)))
  expect(guesses.map(({ body }) => body.code)).toEqual(Array(5).fill('invalid_link'))
  expect((await guess(right)).body.code).toBe('invalid_link')

  await required.sql(
    'UPDATE one_time_tokens SET created_at = created_at - 601000 WHERE email_normalized = ?',
    [late.email],
  )
  expect((await verify({ code: late.code, signup_token: late.signup_token })).body.code).toBe('invalid_link')
})

test('RL2: two hundred guesses at once count as no more than five', async () => {
  const email = newAddress()
  const { signup_token } = (await signUp(email)).body
  const { code } = linkIn((await required.mailsTo(email))[0]!)
  const guess = (i: number) =>
    verify({ signup_token, code: String((Number(code) + i) % 10 ** 8).padStart(8, '0') })
  await Promise.all(Array.from({ length: 200 }, (_, i) => guess(i + 1)))
  expect((await verify({ signup_token, code })).body.code).toBe('invalid_link')
  expect(
    await required.sql('SELECT code_tries FROM one_time_tokens WHERE email_normalized = ?', [email]),
  ).toEqual([{ code_tries: 6 }])
})

test('LE3: signing up with an address that is taken answers the same, and only its owner is told', async () => {
  const owner = await required.person({ email_verified_at: 1 })
  const before = await required.sql('SELECT * FROM users WHERE id = ?', [owner.id])
  const [taken, free] = [await signUp(owner.email.toUpperCase()), await signUp(newAddress())]
  const formOf = ({ status, body }: typeof taken) => [
    status,
    { ...body, signup_token: String(body.signup_token).length },
  ]
  expect(formOf(taken)).toEqual(formOf(free))
  const names = (headers: Headers) => [...headers.keys()].sort()
  expect(names(taken.headers)).toEqual(names(free.headers))
  expect(await required.sql('SELECT * FROM users WHERE id = ?', [owner.id])).toEqual(before)
  const [notice, ...others] = await required.mailsTo(owner.email)
  expect(others).toEqual([])
  expect(notice!.subject).toBe('You already have an account at Roster')
})

test('LE3: asking for a mail answers the same for nobody, somebody, and somebody shut out', async () => {
  const [ada, disabled, deleted] = [await required.person(), await required.person(), await required.person()]
  await required.sql("UPDATE users SET status = 'disabled' WHERE id = ?", [disabled.id])
  await required.sql('UPDATE users SET deleted_at = 1 WHERE id = ?', [deleted.id])
  for (const route of ['resend_verification', 'forgot_password']) {
    const emails = [newAddress(), ada.email, disabled.email, deleted.email]
    const answers = await Promise.all(
      emails.map((email) => required.send('POST', `/v1/auth/${route}`, { body: { email } })),
    )
    const forms = answers.map(({ status, body }) => {
      const { request_token, ...rest } = body
      return `${status} ${JSON.stringify(rest)} ${String(request_token).length}`
    })
    expect([...new Set(forms)]).toEqual(['202 {"status":"accepted"} 88'])
  }
  expect(await required.mailsTo(ada.email)).toHaveLength(2)
  for (const { email } of [disabled, deleted]) expect(await required.mailsTo(email)).toEqual([])
})

test('RL6: an address gets three mails of a kind per hour, whoever asks and however often', async () => {
  const ada = await required.person()
  const ask = () => required.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const answers = await Promise.all(Array.from({ length: 20 }, ask))
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(202))
  expect(await required.mailsTo(ada.email)).toHaveLength(3)
})

test('RL6: a network may ask for thirty mails an hour, and again after the wait in the answer', async () => {
  const ip = randomIp()
  const ask = () => required.send('POST', '/v1/auth/forgot_password', { body: { email: newAddress() }, ip })
  for (let i = 0; i < 30; i++) expect((await ask()).status).toBe(202)
  const refused = await ask()
  expect([refused.status, refused.body.code]).toEqual([429, 'too_many_attempts'])
  const waitMs = (Number(refused.headers.get('retry-after')) + 1) * 1000
  await required.sql('UPDATE throttles SET expires_at = expires_at - ?', [waitMs])
  expect((await ask()).status).toBe(202)
})

test('If verification is optional, signing up answers as usual, and the mail is sent all the same', async () => {
  const email = newAddress()
  const made = await signUp(email, optional)
  expect(made.status).toBe(201)
  const [mail] = await optional.mailsTo(email)
  const { signup_token } = made.body
  expect((await verify({ token: linkIn(mail!).token, signup_token })).status).toBe(204)
  expect((await logIn(email)).body.user).toMatchObject({ email_verified: true })
})

test('SE3: only the newest link is valid, once, and only for its purpose', async () => {
  const ada = await required.person()
  const ask = () => required.send('POST', '/v1/auth/resend_verification', { body: { email: ada.email } })
  await ask()
  await ask()
  const [newest, older] = (await required.mailsTo(ada.email)).map(linkIn)
  expect((await verify({ token: older!.token })).body.code).toBe('invalid_link')
  const elsewhere = [
    ['reset_password', { token: newest!.token, new_password: 'nine green bears run' }],
    ['confirm_email_change', { token: newest!.token }],
    ['undo_email_change', { token: newest!.token }],
    ['accept_invitation', { token: newest!.token, password: 'nine green bears run' }],
    ['refresh_token', { refresh_token: newest!.token }],
  ] as const
  for (const [route, body] of elsewhere) {
    expect((await required.send('POST', `/v1/auth/${route}`, { body })).status).toBeGreaterThanOrEqual(400)
  }
  const proof = { token: newest!.token, password: PASSWORD }
  expect((await verify(proof)).status).toBe(204)
  expect((await verify(proof)).body.code).toBe('invalid_link')
})

test('An ended session cannot use up attempts at its user’s codes', async () => {
  const api = openApi()
  const ada = await api.quickActor()
  await api.send('POST', '/v1/auth/resend_verification', { body: { email: ada.email } })
  const guess = () =>
    api.send('POST', '/v1/auth/verify_email', { token: ada.token, body: { code: '00000000' } })
  const tries = () => api.sql('SELECT code_tries FROM one_time_tokens WHERE subject_id = ?', [ada.id])
  await guess()
  expect(await tries()).toEqual([{ code_tries: 1 }])
  await api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [ada.sessionId])
  for (let i = 0; i < 3; i++) expect((await guess()).status).toBeGreaterThanOrEqual(400)
  expect(await tries()).toEqual([{ code_tries: 1 }])
})

test('A proof is a token, or a code with the token of whoever asked: nothing else is accepted', async () => {
  const malformed = [
    {},
    { request_token: 'x' },
    { token: 'x', code: '12345678' },
    { token: 'x', request_token: 'x' },
    { request_token: 'x', code: '1234567' },
    { email: 'a@b.test', code: '12345678' },
    { token: 1 },
  ]
  for (const body of malformed) expect((await verify(body)).status).toBe(422)
  for (const body of [{ code: '12345678' }, { code: '12345678', request_token: 'x' }]) {
    expect((await verify(body)).body.code).toBe('invalid_link')
  }
})

test('SIGNUP=closed and SIGNUP_DOMAINS keep others out', async () => {
  const closed = openApi({ SIGNUP: 'closed' })
  expect((await signUp(newAddress(), closed)).body.code).toBe('signup_closed')
  const domains = openApi({ SIGNUP_DOMAINS: 'example.com, People.test', EMAIL_VERIFICATION: undefined })
  expect((await signUp(`${crypto.randomUUID()}@elsewhere.test`, domains)).body.code).toBe(
    'signup_domain_refused',
  )
  expect((await signUp(`${crypto.randomUUID()}@evil-people.test`, domains)).body.code).toBe(
    'signup_domain_refused',
  )
  // Addresses of these domains must be proved, so the answer is that of required mode.
  expect((await signUp(newAddress(), domains)).status).toBe(202)
  const ada = await domains.actor({ email_verified_at: Date.now() })
  const change = (new_email: string) =>
    domains.send('POST', '/v1/auth/change_email', {
      token: ada.token,
      body: { new_email, current_password: ada.password },
    })
  expect((await change(`${crypto.randomUUID()}@elsewhere.test`)).body.code).toBe('signup_domain_refused')
  expect((await change(newAddress())).status).toBe(202)
})

test('SIGNUP_BLOCKED keeps out addresses, domains with their subdomains, and networks, by every way of joining and moving', async () => {
  const blocked = openApi({
    SIGNUP_BLOCKED:
      'Troll@people.test, bad.test, 192.0.2.0/25, 2001:db8:1::/48, 2001:db8:3::7, 2001:db8:4::7/128, 198.51.100.7',
    EMAIL_CODE_SIGNIN: 'on',
    EMAIL_VERIFICATION: 'required',
  })
  const join = async (email: string, ip?: string) => {
    const { status, body } = await blocked.send('POST', '/v1/auth/signup', {
      body: { email, password: 'seven brown foxes read', name: 'Ada' },
      ...(ip && { ip }),
    })
    return body.code ?? status
  }
  for (const email of [
    'troll@people.test',
    'TROLL@People.test',
    'troll+2@people.test',
    'a@bad.test',
    'a@much.more.bad.test',
  ])
    expect(await join(email), email).toBe('signup_blocked')
  for (const email of [
    newAddress(),
    `${crypto.randomUUID()}@not-bad.test`,
    `patroll+${Date.now()}@people.test`,
  ])
    expect(await join(email), email).toBe(202)
  for (const [ip, said] of [
    ['192.0.2.127', 'signup_blocked'],
    ['192.0.2.128', 202],
    ['::ffff:192.0.2.1', 'signup_blocked'],
    ['2001:db8:1:ffff::1', 'signup_blocked'],
    ['2001:DB8:0001:0::1', 'signup_blocked'],
    ['2001:db8:2::1', 202],
    // An IPv6 address stands for its whole network, unless the entry says otherwise.
    ['2001:db8:3:0:ffff::1', 'signup_blocked'],
    ['2001:db8:3:1::7', 202],
    ['2001:db8:4::7', 'signup_blocked'],
    ['2001:db8:4::8', 202],
    ['198.51.100.7', 'signup_blocked'],
    ['198.51.100.8', 202],
  ] as const)
    expect(await join(newAddress(), ip), ip).toBe(said)

  // A mailed code lets nobody in whom a form would not: no code is mailed, and the answer is the same.
  const code = await blocked.send('POST', '/v1/auth/login/email_code', { body: { email: 'a@bad.test' } })
  expect([code.status, await blocked.mailsTo('a@bad.test')]).toEqual([202, []])
  const ada = await blocked.actor({ email_verified_at: Date.now() })
  const moved = await blocked.send('POST', '/v1/auth/change_email', {
    token: ada.token,
    body: { new_email: 'ada@bad.test', current_password: ada.password },
  })
  expect([moved.status, moved.body.code]).toEqual([403, 'signup_blocked'])
  // Existing users stay, and can sign in from anywhere.
  const login = await blocked.send('POST', '/v1/auth/login', {
    body: { email: ada.email, password: ada.password },
    ip: '192.0.2.1',
  })
  expect(login.status).toBe(200)
})

test('Without mail, what needs it says so, and the rest works', async () => {
  const silent = openApi({ MAIL_FROM: undefined, RESEND_API_KEY: undefined })
  const asked = await silent.send('POST', '/v1/auth/forgot_password', { body: { email: newAddress() } })
  expect([asked.status, asked.body.code]).toEqual([503, 'mail_not_configured'])
  const email = newAddress()
  expect((await signUp(email, silent)).status).toBe(201)
  expect(await silent.sql('SELECT * FROM outbox WHERE recipient = ?', [email])).toEqual([])
})
