import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { expect, test } from 'vitest'
import { type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { addPasskey, addTotp, answerOf, codeOf, withinOneStep } from '../support/factors.ts'
import { limiter } from '../support/limiter.ts'
import { freshUpstreams, readinessOf } from '../support/upstreams.ts'

/** Everybody who asks for a mail is counted, even those who manage, and no loop of changes is a mail cannon. */

const newAddress = () => `${crypto.randomUUID()}@people.test`
const manager = (api: Api) => api.quickActor({ role: 'manager', email_verified_at: 1 })

test('RL6, HX10: of twelve links that a manager has sent to one user, three are sent, and the rest change nothing', async () => {
  const api = openApi()
  const boss = await manager(api)
  for (const path of ['send_reset', 'send_verification']) {
    const ada = await api.person()
    const answers = []
    for (let i = 0; i < 12; i++)
      answers.push(await api.send('POST', `/v1/users/${ada.id}/${path}`, { token: boss.token }))
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204, ...Array(9).fill(429)])
    expect(answers[3]!.body.code).toBe('too_many_attempts')
    expect(await api.mailsTo(ada.email)).toHaveLength(3)
    expect(await api.historyOf(ada.id)).toHaveLength(3)
  }
})

test('RL6: strangers’ requests do not use up what a manager may send to a user', async () => {
  const api = openApi()
  const [boss, ada] = [await manager(api), await api.person({ email_verified_at: 1 })]
  for (let i = 0; i < 5; i++)
    await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  const sent = await api.send('POST', `/v1/users/${ada.id}/send_reset`, { token: boss.token })
  expect([sent.status, (await api.mailsTo(ada.email)).length]).toEqual([204, 4])
})

test('RL6, HX10: when a manager gives users addresses of one mailbox, the fourth within an hour stays unchanged', async () => {
  const api = openApi()
  const boss = await manager(api)
  const mailbox = crypto.randomUUID()
  const answers = []
  for (let i = 0; i < 4; i++) {
    const ada = await api.person({ email_verified_at: 1 })
    const email = `${mailbox}+${i}@people.test`
    const answer = await api.send('PATCH', `/v1/users/${ada.id}`, { token: boss.token, body: { email } })
    const [row] = await api.sql('SELECT email FROM users WHERE id = ?', [ada.id])
    answers.push([answer.status, row!.email === email, (await api.mailsTo(email)).length])
  }
  expect(answers).toEqual([
    [200, true, 1],
    [200, true, 1],
    [200, true, 1],
    [429, false, 0],
  ])
})

test('RL6: somebody who manages may cause a thousand mails an hour, of all kinds together', async () => {
  const api = openApi()
  const boss = await manager(api)
  await api.send('POST', `/v1/users/${(await api.person()).id}/send_reset`, { token: boss.token })
  // Raises whatever was counted just now, as if there had been this many more.
  await api.sql('UPDATE throttles SET attempts = attempts + 998 WHERE attempts < 900')
  const ask = async (path: string) =>
    (await api.send('POST', `/v1/users/${(await api.person()).id}/${path}`, { token: boss.token })).status
  expect([await ask('send_verification'), await ask('send_reset')]).toEqual([204, 429])
  const invited = await api.send('POST', '/v1/invitations', {
    token: boss.token,
    body: { email: newAddress() },
  })
  expect(invited.status).toBe(429)
})

test('RL6: neither invitations nor a stranger who was mailed by mistake use up the mails for one’s own change of address', async () => {
  const api = openApi()
  const boss = await manager(api)
  const mistyped = newAddress()
  const ask = async (new_email = newAddress()) => {
    const body = { new_email, current_password: PASSWORD }
    return (await api.send('POST', '/v1/auth/change_email', { token: boss.token, body })).status
  }
  expect(await ask(mistyped)).toBe(202)
  await api.send('POST', '/v1/invitations', { token: boss.token, body: { email: newAddress() } })
  const { token } = linkIn((await api.mailsTo(mistyped))[0]!)
  const answers = []
  for (let i = 0; i < 31; i++)
    answers.push((await api.send('POST', '/v1/auth/confirm_email_change', { body: { token } })).status)
  expect(answers).toEqual([202, 202, 202, ...Array(28).fill(429)])
  expect(await ask()).toBe(202)
  for (let i = 0; i < 30; i++)
    await api.send('POST', '/v1/invitations', { token: boss.token, body: { email: newAddress() } })
  expect(await ask()).toBe(202)
  const invited = { token: boss.token, body: { email: newAddress() } }
  expect((await api.send('POST', '/v1/invitations', invited)).status).toBe(201)
})

test('RL6: somebody who is signed in may cause thirty mails an hour to any addresses, and the next changes nothing', async () => {
  const api = openApi((await freshUpstreams()).bindings)
  const ada = await api.quickActor({ email_verified_at: 1 })
  const move = async () => {
    const new_email = newAddress()
    const body = { new_email, current_password: PASSWORD }
    const { status } = await api.send('POST', '/v1/auth/change_email', { token: ada.token, body })
    return { status, mails: (await api.mailsTo(new_email)).length }
  }
  expect(await move()).toEqual({ status: 202, mails: 1 })
  // Raises whatever was counted just now, as if there had been this many more.
  await api.sql('UPDATE throttles SET attempts = attempts + 28')
  expect(await move()).toEqual({ status: 202, mails: 1 })
  const rows = () =>
    api.sqlAll(['SELECT * FROM one_time_tokens', 'SELECT * FROM outbox', 'SELECT * FROM user_activity_logs'])
  const before = await rows()
  expect(await move()).toEqual({ status: 429, mails: 0 })
  expect(await rows()).toEqual(before)
})

test('RL6: disabling and enabling a user in a loop sends three notices of each an hour, and does not use up those of others', async () => {
  const api = openApi()
  const [boss, other] = [await manager(api), await manager(api)]
  const ada = await api.person({ email_verified_at: 1 })
  const toggle = async (token: string) => {
    for (const path of ['disable', 'enable']) {
      const body = path === 'disable' ? { reason: 'test' } : undefined
      const { status } = await api.send('POST', `/v1/users/${ada.id}/${path}`, { token, body })
      expect(status).toBe(200)
    }
  }
  for (let i = 0; i < 5; i++) await toggle(boss.token)
  expect(await api.mailsTo(ada.email)).toHaveLength(6)
  expect((await api.historyOf(ada.id)).filter((action) => action === 'user.enabled')).toHaveLength(5)
  await toggle(other.token)
  expect(await api.mailsTo(ada.email)).toHaveLength(8)
})

test('RL6: changes that a session makes to its account in a loop are reported three times per hour and kind, and do not use up those of other sessions', async () => {
  const api = openApi()
  const ada = await api.actor({ email_verified_at: 1 })
  const other = (await api.logIn(ada)).access_token
  await addTotp(api, ada)
  const told = async (subject: RegExp) =>
    (await api.mailsTo(ada.email)).filter((mail) => subject.test(mail.subject)).length
  const send = (path: string, token: string, body?: object) =>
    api.send<{ access_token: string }>('POST', `/v1/auth/${path}`, { token, ...(body && { body }) })
  const renew = async (token: string) =>
    expect((await send('factors/recovery_codes', token)).status).toBe(200)
  const move = async (token: string) => {
    const body = { new_email: newAddress(), current_password: PASSWORD }
    expect((await send('change_email', token, body)).status).toBe(202)
  }
  for (const [change, subject, action] of [
    [renew, /recovery codes/i, 'recovery_codes.renewed'],
    [move, /address/i, 'email.change_requested'],
  ] as const) {
    await change(ada.token)
    expect(await told(subject)).toBe(1)
    for (let i = 0; i < 4; i++) await change(ada.token)
    expect(await told(subject)).toBe(3)
    await change(other)
    expect(await told(subject)).toBe(4)
    expect((await api.historyOf(ada.id)).filter((name) => name === action)).toHaveLength(6)
    await api.ages(3_600_001)
  }
  let [token, password] = [ada.token, PASSWORD]
  for (let i = 0; i < 5; i++) {
    const body = { current_password: password, new_password: `nine green bears run ${i}` }
    const changed = await send('change_password', token, body)
    expect(changed.status).toBe(200)
    ;[token, password] = [changed.body.access_token, body.new_password]
  }
  expect(await told(/password/i)).toBe(3)
})

test('RL6, MF6: each factor that a session adds is reported, up to twenty an hour; then only another session can add one', async () => {
  const api = openApi()
  const ada = await api.actor({ email_verified_at: 1 })
  const passkey = await addPasskey(api, ada)
  const add = async (token: string) => {
    const begun = await api.send<{ secret: string }>('POST', '/v1/auth/factors/totp', { token })
    expect(begun.status).toBe(201)
    await withinOneStep()
    const code = codeOf(decodeBase32IgnorePadding(begun.body.secret))
    return api.send('POST', '/v1/auth/factors/totp/confirm', { token, body: { code } })
  }
  const told = async (word: string) =>
    (await api.mailsTo(ada.email)).filter(({ subject }) => subject.includes(`app was ${word}`)).length
  for (let i = 0; i < 20; i++) {
    expect((await add(ada.token)).status).toBe(200)
    const removed = await api.send('DELETE', '/v1/auth/factors/totp', { token: ada.token })
    expect(removed.status).toBe(204)
  }
  expect([await told('added'), await told('removed')]).toEqual([20, 3])
  const before = await api.historyOf(ada.id)
  const refused = await add(ada.token)
  expect([refused.status, refused.body.code]).toEqual([429, 'too_many_attempts'])
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3000)
  expect(await api.historyOf(ada.id)).toEqual(before)
  expect(await api.sql('SELECT 1 FROM factors WHERE user_id = ? AND confirmed_at > 0', [ada.id])).toEqual([])
  const body = await answerOf(api, passkey, '/v1/auth/login/passkey/options')
  const mine = await api.send<{ access_token: string }>('POST', '/v1/auth/login/passkey', { body })
  expect((await add(mine.body.access_token)).status).toBe(200)
  expect(await told('added')).toBe(21)
})

test('RL6: above MAILS_PER_HOUR only signed-in users cause mails', async () => {
  const api = openApi({ ...(await freshUpstreams()).bindings, MAILS_PER_HOUR: '1' })
  const boss = await manager(api)
  const stranger = await api.person({ email_verified_at: 1 })
  const [ada, eve] = [await api.quickActor({ email_verified_at: 1 }), await api.person()]
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: eve.email } })
  const email = newAddress()
  const asks = [
    await api.send('POST', '/v1/invitations', { token: boss.token, body: { email } }),
    await api.send('POST', `/v1/users/${eve.id}/send_reset`, { token: boss.token }),
    await api.send('POST', '/v1/auth/change_email', {
      token: ada.token,
      body: { new_email: `x${email}`, current_password: PASSWORD },
    }),
    await api.send('POST', '/v1/auth/forgot_password', { body: { email: stranger.email } }),
  ]
  expect(asks.map(({ status }) => status)).toEqual([201, 204, 202, 202])
  const counts = await Promise.all(
    [email, eve.email, `x${email}`, stranger.email].map(async (to) => (await api.mailsTo(to)).length),
  )
  expect(counts).toEqual([1, 2, 1, 0])
  const { token } = await api.quickActor({ role: 'admin' })
  expect(readinessOf((await api.send('GET', '/ready', { token })).body)).toBe('degraded')
})

test('RL6: if the old mailbox has reached its limit, confirming a new address says so, and writes nothing', async () => {
  const api = openApi()
  const ada = await api.quickActor({ email_verified_at: 1 })
  const email = newAddress()
  const body = { new_email: email, current_password: PASSWORD }
  await api.send('POST', '/v1/auth/change_email', { token: ada.token, body })
  const { token } = linkIn((await api.mailsTo(email))[0]!)
  const confirm = () => api.send('POST', '/v1/auth/confirm_email_change', { body: { token } })
  const answers = []
  for (let i = 0; i < 4; i++) answers.push(await confirm())
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 429])
  const approvals = (await api.mailsTo(ada.email)).filter(({ subject }) => subject.startsWith('Approve'))
  expect(approvals).toHaveLength(3)
  // The last link that was sent still works.
  const approve = linkIn(approvals[0]!).token
  const approved = await api.send('POST', '/v1/auth/approve_email_change', { body: { token: approve } })
  expect(approved.status).toBe(204)
})

test('HX10: a mail sent by a manager says that an administrator asked for it, and not from where', async () => {
  const api = openApi()
  const boss = await manager(api)
  const ada = await api.person()
  const headers = { 'user-agent': 'Mozilla/5.0 (Windows NT 10.0) Firefox/130.0' }
  for (const path of ['send_reset', 'send_verification'])
    await api.send('POST', `/v1/users/${ada.id}/${path}`, { token: boss.token, headers })
  const mails = await api.mailsTo(ada.email)
  expect(mails).toHaveLength(2)
  for (const { text } of mails) {
    expect(text).toContain('An administrator of')
    expect(text).not.toMatch(/Firefox|Windows|Asked for on|perhaps you/)
  }
  const { token } = linkIn(mails[1]!)
  const reset = { token, new_password: 'nine green bears run' }
  expect((await api.send('POST', '/v1/auth/reset_password', { body: reset })).status).toBe(204)
})

test('Every notice has one link, to the page that does what the notice offers', async () => {
  const api = openApi({ EMAIL_VERIFICATION: 'required' })
  const ada = await api.quickActor({ email_verified_at: 1 })
  await api.send('POST', '/v1/auth/signup', { body: { email: ada.email, password: PASSWORD, name: 'Eve' } })
  const body = { current_password: PASSWORD, new_password: 'nine green bears run' }
  await api.send('POST', '/v1/auth/change_password', { token: ada.token, body })
  const links = (await api.mailsTo(ada.email)).map(({ text }) => text.match(/^http\S+$/gm))
  const { ISSUER } = api.config()
  expect(links).toEqual([[`${ISSUER}/forgot`], [`${ISSUER}/signin`]])
})

test('RL2: wrong passwords with a link use up no tries of its code, and wrong codes none of its passwords', async () => {
  const api = openApi()
  const ask = async () => {
    const { email } = await api.person()
    const { body } = await api.send('POST', '/v1/auth/resend_verification', { body: { email } })
    return { request_token: body.request_token, ...linkIn((await api.mailsTo(email))[0]!) }
  }
  const verify = async (body: object) => {
    const answer = await api.send('POST', '/v1/auth/verify_email', { body })
    return answer.body?.code ?? answer.status
  }
  const first = await ask()
  for (let i = 0; i < 6; i++)
    expect(await verify({ token: first.token, password: 'a wrong password' })).toBe('wrong_password')
  expect(await verify({ token: first.token, password: PASSWORD })).toBe('wrong_password')
  const { code, request_token } = first
  expect(await verify({ code, request_token, new_password: 'nine green bears run' })).toBe(204)

  const second = await ask()
  const wrong = second.code === '00000000' ? '00000001' : '00000000'
  for (let i = 0; i < 6; i++)
    expect(await verify({ code: wrong, request_token: second.request_token, password: PASSWORD })).toBe(
      'invalid_link',
    )
  expect(await verify({ token: second.token, password: PASSWORD })).toBe(204)
})

test('HX10: no mail repeats an address that a manager typed if it could become a link', async () => {
  const api = openApi()
  const [boss, ada] = [await manager(api), await api.person({ email_verified_at: 1 })]
  const email = `www.evil.example/login${Date.now()}@people.test`
  const moved = await api.send('PATCH', `/v1/users/${ada.id}`, { token: boss.token, body: { email } })
  const [notice] = await api.mailsTo(ada.email)
  expect([moved.status, notice!.text.includes('evil')]).toEqual([200, false])
})

const apiHere = openApi()

test('HX3, RS5: a password that could not be checked does not count among the five of its link', async () => {
  const none = openApi({ RATE_LIMIT_HASHES: limiter(0) })
  const ada = await apiHere.person()
  await apiHere.send('POST', '/v1/auth/resend_verification', { body: { email: ada.email } })
  const { token } = linkIn((await apiHere.mailsTo(ada.email))[0]!)
  const body = { token, password: PASSWORD }
  for (let i = 0; i < 6; i++)
    expect((await none.send('POST', '/v1/auth/verify_email', { body })).status).toBe(429)
  expect((await apiHere.send('POST', '/v1/auth/verify_email', { body })).status).toBe(204)
})

test.each([
  ['factors/mail_code', {}],
  ['change_email', { new_email: 'elsewhere@people.test', current_password: PASSWORD }],
])('RV1, RL6: a void token cannot use up its owner’s mails by %s', async (path, body) => {
  const ada = await apiHere.actor({ email_verified_at: 1 })
  await apiHere.send('POST', '/v1/auth/logout_all', { token: ada.token })
  const asked = async (token: string) =>
    (await apiHere.send('POST', `/v1/auth/${path}`, { token, ...(path === 'change_email' && { body }) }))
      .status
  for (let i = 0; i < 4; i++) expect(await asked(ada.token)).toBe(401)
  expect(await asked((await apiHere.logIn(ada)).access_token)).toBe(202)
})
