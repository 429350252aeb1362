import { expect, test } from 'vitest'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { TYPED } from '../../src/users/models.ts'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'
import { codeIn } from '../support/mails.ts'

const api = openApi({ EMAIL_VERIFICATION: 'required' })
const NEW_PASSWORD = 'nine green bears run'

const newAddress = () => `${crypto.randomUUID()}@people.test`
const post = (path: string, body: object, more: { token?: string; headers?: Record<string, string> } = {}) =>
  api.send('POST', `/v1/auth/${path}`, { body, ...more })
const signUp = (email: string, headers = {}) =>
  post('signup', { email, password: PASSWORD, name: 'Mallory' }, { headers })
const newest = async (email: string) => linkIn((await api.mailsTo(email))[0]!)
const stateOf = async (email: string) =>
  (await api.sql('SELECT email_verified_at, password_hash, version FROM users WHERE email = ?', [email]))[0]

test('HX5: pressing the button in a mail that one did not ask for opens nothing', async () => {
  const email = newAddress()
  const { signup_token } = (await signUp(email)).body
  const { token } = await newest(email)
  const before = await stateOf(email)
  const others = (await signUp(newAddress())).body.signup_token
  for (const proof of [{}, { signup_token: others }, { signup_token: 'x' }]) {
    const answer = await post('verify_email', { token, ...proof })
    expect([answer.status, answer.body.code]).toEqual([422, 'proof_needed'])
  }
  expect(await stateOf(email)).toEqual(before)
  expect((await post('verify_email', { token, signup_token })).status).toBe(204)
})

test('HX5, HX2: a new password voids every way in that a squatter had', async () => {
  const email = newAddress()
  const squatted = await api.person({ email })
  const squatter = await api.signIn(squatted)
  await post('resend_verification', { email })
  const { token } = await newest(email)
  expect((await post('verify_email', { token, new_password: NEW_PASSWORD })).status).toBe(204)
  expect((await api.send('GET', '/v1/users/me', { token: squatter.token })).status).toBe(401)
  expect((await post('login', { email, password: PASSWORD })).status).toBe(401)
  expect((await post('login', { email, password: NEW_PASSWORD })).status).toBe(200)
})

test('HX5: a squatter cannot prevent those who manage from making or moving an account, and a disabled account is not proved', async () => {
  const admin = await api.quickActor({ role: 'admin' })
  const manage = (method: string, path: string, body?: object) =>
    api.send(method, `/v1${path}`, { token: admin.token, ...(body && { body }) })
  const squat = async (email: string, isDisabled = false) => {
    await signUp(email)
    const [row] = await api.sql('SELECT id FROM users WHERE email = ? AND deleted_at IS NULL', [email])
    if (isDisabled) await manage('POST', `/users/${row!.id}/disable`, { reason: 'squats' })
    return row!.id as string
  }
  const lastOf = async (id: string) =>
    (
      await api.sql('SELECT details FROM user_activity_logs WHERE user_id = ? ORDER BY id DESC LIMIT 1', [id])
    )[0]
  const create = (email: string) => manage('POST', '/users', { email, name: 'Ada' })

  for (const isDisabled of [false, true]) {
    const made = newAddress()
    const squatter = await squat(made, isDisabled)
    expect((await create(made)).status).toBe(201)
    expect(await lastOf(squatter)).toEqual({ details: '{"reason":"address_given_to_another"}' })
    // A user made by somebody who manages stays, and so does one who has used or proved their account.
    expect((await create(made)).body.code).toBe('email_taken')

    const moved = newAddress()
    await squat(moved, isDisabled)
    const ada = await api.person({ email_verified_at: 1 })
    expect((await manage('PATCH', `/users/${ada.id}`, { email: moved })).status).toBe(200)
    expect((await create(moved)).body.code).toBe('email_taken')

    const invited = newAddress()
    await squat(invited, isDisabled)
    expect((await manage('POST', '/invitations', { email: invited })).status).toBe(201)
    const body = { token: (await newest(invited)).token, password: NEW_PASSWORD, name: 'Ada' }
    expect((await post('accept_invitation', body)).status).toBe(201)
  }
  for (const column of ['last_login_at', 'email_verified_at']) {
    const email = newAddress()
    await api.sql(`UPDATE users SET ${column} = 1 WHERE id = ?`, [await squat(email)])
    expect((await create(email)).body.code).toBe('email_taken')
  }
})

test('HX5, SE2: a disabled squatter does not keep an owner from undoing a change of address', async () => {
  const ada = await api.actor({ email_verified_at: 1 })
  const [evil, admin] = [newAddress(), await api.quickActor({ role: 'admin' })]
  const body = { new_email: evil, current_password: PASSWORD }
  await post('change_email', body, ada)
  const undo = (await newest(ada.email)).token
  await post('confirm_email_change', { token: (await newest(evil)).token }, ada)
  await signUp(ada.email)
  const [squatter] = await api.sql('SELECT id FROM users WHERE email = ?', [ada.email])
  const disable = { token: admin.token, body: { reason: 'squats' } }
  await api.send('POST', `/v1/users/${squatter!.id}/disable`, disable)
  expect((await post('undo_email_change', { token: undo })).status).toBe(204)
})

test('HX5: the account’s password or session proves it too, and a wrong one does not', async () => {
  for (const by of ['password', 'session'] as const) {
    const ada = await api.person()
    await post('resend_verification', { email: ada.email })
    const { token } = await newest(ada.email)
    const wrong = await post('verify_email', { token, password: 'not the password' })
    expect([wrong.status, wrong.body.code]).toEqual([403, 'wrong_password'])
    const eve = await api.signIn(await api.person())
    expect((await post('verify_email', { token }, eve)).body.code).toBe('proof_needed')
    const proved =
      by === 'password'
        ? await post('verify_email', { token, password: PASSWORD })
        : await post('verify_email', { token }, await api.signIn(ada))
    expect(proved.status).toBe(204)
  }
})

test('A code works with the token of whoever asked, and a later request neither uses it up nor hides it', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const mine = (await post('forgot_password', { email: ada.email })).body.request_token as string
  const { code } = await newest(ada.email)
  const theirs = (await post('forgot_password', { email: ada.email })).body.request_token as string
  const reset = (request_token: string, code: string) =>
    post('reset_password', { code, request_token, new_password: NEW_PASSWORD })
  for (let i = 0; i < 6; i++) expect((await reset(theirs, code)).body.code).toBe('invalid_link')
  expect((await reset(mine, code)).status).toBe(204)
})

test('RL2, HX5: somebody who signed up with an address cannot use up a code that its owner has asked for', async () => {
  const email = newAddress()
  const { signup_token } = (await signUp(email)).body
  const { request_token } = (await post('resend_verification', { email })).body
  const { code } = await newest(email)
  const wrong = code === '00000000' ? '11111111' : '00000000'
  for (let i = 0; i < 7; i++)
    expect((await post('verify_email', { code: wrong, signup_token })).body.code).toBe('invalid_link')
  expect((await post('verify_email', { code, signup_token })).body.code).toBe('invalid_link')
  const claiming = { code, request_token, new_password: NEW_PASSWORD }
  expect((await post('verify_email', claiming)).status).toBe(204)
  expect((await post('login', { email, password: NEW_PASSWORD })).status).toBe(200)
})

test('HX13: no answer reveals what account an address has, whatever is asked and in which order', async () => {
  const person = async (given = {}) => (await api.person({ email_verified_at: 1, ...given })).email
  const admin = await api.quickActor({ role: 'admin' })
  const invited = newAddress()
  await api.send('POST', '/v1/invitations', { token: admin.token, body: { email: invited } })
  const addresses = {
    free: newAddress(),
    taken: await person(),
    'taken and unverified': await person({ email_verified_at: null }),
    invited,
    disabled: await person({ status: 'disabled' }),
    deleted: await person({ deleted_at: Date.now() }),
  }
  const formOf = ({ status, body }: Awaited<ReturnType<typeof post>>) =>
    JSON.stringify([status, body], (name, value) =>
      /_token$/.test(name) ? String(value).length : name === 'request_id' ? undefined : value,
    )
  const answers: [what: string, forms: string[]][] = []
  // One after another: a full queue would change the answers.
  for (const [what, email] of Object.entries(addresses)) {
    const key = { 'idempotency-key': crypto.randomUUID() }
    const asked = [
      await post('resend_verification', { email }),
      await post('forgot_password', { email }),
      await signUp(email, key),
      await signUp(email, key),
      await signUp(email),
      await post('login', { email, password: NEW_PASSWORD }),
      await post('resend_verification', { email }),
    ]
    answers.push([what, asked.map(formOf)])
  }
  const free = answers[0]![1]
  for (const [what, forms] of answers) expect([what, forms]).toEqual([what, free])
})

test('SE2: without the session that asked, a new address needs a click in the old mailbox as well', async () => {
  const ada = await api.actor({ email_verified_at: 1 })
  const email = newAddress()
  await post('change_email', { new_email: email, current_password: PASSWORD }, ada)
  const { token } = await newest(email)
  const clicked = await post('confirm_email_change', { token })
  expect([clicked.status, (await stateOf(ada.email))?.email_verified_at]).toEqual([202, 1])
  const approval = await newest(ada.email)
  expect((await post('approve_email_change', { token: approval.token })).status).toBe(204)
  expect(await stateOf(email)).toBeDefined()
})

test('SE2: if the old address is not proved, only the session that asked can confirm, and nobody can undo', async () => {
  const ada = await api.actor({ email_verified_at: null }).catch(() => api.quickActor())
  const email = newAddress()
  await post('change_email', { new_email: email, current_password: PASSWORD }, ada)
  expect(await api.mailsTo(ada.email)).toEqual([])
  const { token } = await newest(email)
  expect((await post('confirm_email_change', { token })).body.code).toBe('proof_needed')
  expect((await post('confirm_email_change', { token }, ada)).status).toBe(204)
})

test('HX5: a user made by an administrator chooses their own password, and notify: false mails nothing', async () => {
  const admin = await api.quickActor({ role: 'admin' })
  const make = (body: object) => api.send('POST', '/v1/users', { token: admin.token, body })
  const [email, silent] = [newAddress(), newAddress()]
  expect((await make({ email: silent, name: 'Ada', notify: false })).status).toBe(201)
  expect(await api.mailsTo(silent)).toEqual([])
  expect((await make({ email, name: 'Ada', password: PASSWORD })).status).toBe(201)
  const [mail] = await api.mailsTo(email)
  expect(mail!.text).toContain('An administrator has made an account')
  const { token } = linkIn(mail!)
  expect((await post('verify_email', { token, password: PASSWORD })).body.code).toBe('proof_needed')
  expect((await post('verify_email', { token, new_password: NEW_PASSWORD })).status).toBe(204)
  expect((await post('login', { email, password: NEW_PASSWORD })).status).toBe(200)
})

test('HX5: an unproved address cannot be changed while the password is one that somebody else typed', async () => {
  const ada = await api.quickActor({ password_is_given: TYPED })
  const email = newAddress()
  const ask = (token: string, current_password: string) =>
    post('change_email', { new_email: email, current_password }, { token })
  const refused = await ask(ada.token, PASSWORD)
  expect([refused.status, refused.body.code]).toEqual([409, 'address_not_verified'])
  expect([await api.mailsTo(email), await api.historyOf(ada.id)]).toEqual([[], []])
  // With a password that she has set herself, it can.
  const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
  const { access_token } = (await post('change_password', body, ada)).body
  expect((await ask(access_token as string, NEW_PASSWORD)).status).toBe(202)
})

test('A link is for the address it was mailed to: once the account has another, it confirms, sets and unlocks nothing', async () => {
  const almostLocked = { failed_logins: MAX_FAILURES_IN_A_ROW - 1, email_verified_at: 1 }
  const people = [await api.person(), await api.person(), await api.person(almostLocked)] as const
  await post('resend_verification', { email: people[0].email })
  await post('forgot_password', { email: people[1].email })
  await post('login', { email: people[2].email, password: NEW_PASSWORD })
  const links = await Promise.all(people.map(({ email }) => newest(email)))
  const moved = people.map(newAddress)
  for (const [index, { id }] of people.entries())
    await api.sql('UPDATE users SET email = ?1, email_normalized = ?1 WHERE id = ?2', [moved[index]!, id])
  const before = await Promise.all(moved.map(stateOf))
  const answers = [
    await post('verify_email', { token: links[0]!.token, password: PASSWORD }),
    await post('verify_email', { token: links[0]!.token, new_password: NEW_PASSWORD }),
    await post('reset_password', { token: links[1]!.token, new_password: NEW_PASSWORD }),
    await post('unlock_account', { token: links[2]!.token }),
  ]
  for (const { status, body } of answers) expect([status, body.code]).toEqual([400, 'invalid_link'])
  expect(await Promise.all(moved.map(stateOf))).toEqual(before)
})

test('HX5: once an address is proved, by whatever way, no mail that confirms it does anything', async () => {
  const byCode = openApi({ EMAIL_VERIFICATION: 'required', EMAIL_CODE_SIGNIN: 'on' })
  const codeTo = async (email: string) => codeIn((await byCode.mailsTo(email))[0]!)
  const ways: Record<string, (email: string, signup_token: unknown) => Promise<number>> = {
    'the code of another mail': async (email, signup_token) => {
      await post('resend_verification', { email })
      const { code } = await newest(email)
      await post('resend_verification', { email })
      return (await post('verify_email', { code, signup_token })).status
    },
    'a code that signs in': async (email, signup_token) => {
      const asked = await byCode.send('POST', '/v1/auth/login/email_code', { body: { email } })
      const proof = { login_token: asked.body.login_token, code: await codeTo(email), signup_token }
      return (await byCode.send('POST', '/v1/auth/login/email_code/confirm', { body: proof })).status
    },
    // As by an earlier version, which left the links as they were.
    'an earlier version': async (email) => {
      await api.sql('UPDATE users SET email_verified_at = 1 WHERE email = ?', [email])
      return 204
    },
  }
  for (const [way, prove] of Object.entries(ways)) {
    const email = newAddress()
    const { signup_token } = (await signUp(email)).body
    const links = [await newest(email)]
    expect([way, await prove(email, signup_token)]).toEqual([way, way.includes('signs in') ? 200 : 204])
    if (way.includes('another mail')) links.push(...(await api.mailsTo(email)).map(linkIn))
    const before = await stateOf(email)
    for (const { token, code } of links)
      for (const proof of [{ token }, { code, signup_token }])
        for (const more of [{ new_password: NEW_PASSWORD }, { password: PASSWORD }]) {
          const answer = await post('verify_email', { ...proof, ...more })
          expect([way, answer.status, answer.body?.code]).toEqual([way, 400, 'invalid_link'])
        }
    expect(await stateOf(email)).toEqual(before)
    expect((await post('login', { email, password: PASSWORD })).status).toBe(200)
  }
})
