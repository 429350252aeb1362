import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { type Answer, linkIn, openApi, PASSWORD, randomIp } from '../support/api.ts'
import { addTotp, codeOf, withinOneStep } from '../support/factors.ts'
import { codeIn } from '../support/mails.ts'
import { newPerson } from '../support/requests.ts'

const api = openApi({ EMAIL_CODE_SIGNIN: 'on' })
const closed = openApi({ EMAIL_CODE_SIGNIN: 'on', SIGNUP: 'closed' })

const newAddress = () => newPerson().email
const ask = (email: string, by = api) =>
  by.send<{ login_token: string; code?: string }>('POST', '/v1/auth/login/email_code', { body: { email } })
const confirm = (body: object, by = api) =>
  by.send<Tokens & { code?: string; challenge?: string }>('POST', '/v1/auth/login/email_code/confirm', {
    body,
  })

/** Asks for a code, and reads it. */
async function mailed(email: string, by = api) {
  const { status, body, text } = await ask(email, by)
  expect(status, text).toBe(202)
  return { login_token: body.login_token, code: codeIn((await by.mailsTo(email))[0]!) }
}
const codes = (answers: Answer<{ code?: string }>[]) => answers.map(({ status, body }) => [status, body.code])

describe('A mailed code', () => {
  test('SE1: signs in with one factor, once, and does not confirm a confirmed address again', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const proof = await mailed(ada.email)
    const answers = await Promise.all(Array.from({ length: 4 }, () => confirm(proof)))
    const right = answers.filter(({ status }) => status === 200)
    expect(right).toHaveLength(1)
    expect(decodeJwt(right[0]!.body.access_token)).toMatchObject({ sub: ada.id, amr: ['email'] })
    expect(codes(await Promise.all([confirm(proof)]))).toEqual([[400, 'invalid_link']])
    // The password stays: the address was already its owner's.
    expect((await api.logIn(ada)).user.id).toBe(ada.id)
  })

  test('only works with the token of whoever asked, for five attempts and ten minutes', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { code, login_token } = await mailed(ada.email)
    const theirs = (await ask(ada.email)).body.login_token
    const wrong = code === '00000000' ? '00000001' : '00000000'
    const refused = await Promise.all([
      confirm({ login_token: theirs, code }),
      confirm({ login_token: 'x', code }),
      ...Array.from({ length: 5 }, () => confirm({ login_token, code: wrong })),
    ])
    expect(codes(refused)).toEqual(refused.map(() => [400, 'invalid_link']))
    expect((await confirm({ login_token, code })).status).toBe(400)
    expect((await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).length).toBe(0)
    const eve = await api.person({ email_verified_at: 1 })
    const late = await mailed(eve.email)
    await api.ages(11 * 60_000)
    expect((await confirm(late)).status).toBe(400)
  })

  test('MF3: asks for the second factor of an account that has one, and is used up by that', async () => {
    await withinOneStep()
    const ada = await api.person({ email_verified_at: 1 })
    const { seed } = await addTotp(api, ada)
    const proof = await mailed(ada.email)
    const due = await confirm(proof)
    expect([due.status, due.body.code]).toEqual([403, 'second_factor_required'])
    expect((await confirm(proof)).body.code).toBe('invalid_link')
    const body = { challenge: due.body.challenge, code: codeOf(seed) }
    const answer = await api.send<Tokens>('POST', '/v1/auth/login/second_factor', { body })
    expect(decodeJwt(answer.body.access_token).amr).toEqual(['email', 'otp', 'mfa'])
  })

  test('SE1: that was mailed before a new password does not sign in, whichever way that was set', async () => {
    const ways = {
      change_password: async ({ email }: { email: string }) => {
        const { access_token } = await api.logIn({ email, password: PASSWORD })
        const body = { current_password: PASSWORD, new_password: 'nine green bears run' }
        return (await api.send('POST', '/v1/auth/change_password', { token: access_token, body })).status
      },
      reset_password: async ({ email }: { email: string }) => {
        await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
        const { token } = linkIn((await api.mailsTo(email))[0]!)
        const body = { token, new_password: 'nine green bears run' }
        return (await api.send('POST', '/v1/auth/reset_password', { body })).status
      },
    }
    for (const [way, set] of Object.entries(ways)) {
      const ada = await api.person({ email_verified_at: 1 })
      const proof = await mailed(ada.email)
      expect([way, Math.floor((await set(ada)) / 100)]).toEqual([way, 2])
      const sessions = () => api.sql('SELECT id FROM sessions WHERE user_id = ? ORDER BY id', [ada.id])
      const before = await sessions()
      expect([way, ...codes([await confirm(proof)])]).toEqual([way, [400, 'invalid_link']])
      expect(await sessions()).toEqual(before)
      expect((await confirm(await mailed(ada.email))).status).toBe(200)
    }
  })

  test('tells users that they are disabled, but only after the correct code', async () => {
    const ada = await api.person({ email_verified_at: 1, status: 'disabled' })
    const proof = await mailed(ada.email)
    expect(codes([await confirm({ ...proof, code: '00000000' }), await confirm(proof)])).toEqual([
      [400, 'invalid_link'],
      [403, 'account_disabled'],
    ])
  })

  test('does not exist if the deployment has it turned off', async () => {
    const off = openApi()
    expect((await ask(newAddress(), off)).status).toBe(404)
    const body = { login_token: 'x', code: '00000000' }
    expect((await confirm(body, off)).status).toBe(404)
  })
})

test('LE1, LE2: everybody who asks gets the same answer, for the same work, whatever account the address has', async () => {
  const timed = openApi({ EMAIL_CODE_SIGNIN: 'on', DEBUG_TIMING: 'on' })
  const timedClosed = openApi({ EMAIL_CODE_SIGNIN: 'on', DEBUG_TIMING: 'on', SIGNUP: 'closed' })
  const seen = []
  for (const given of [
    undefined,
    {},
    { email_verified_at: 1 },
    { email_verified_at: 1, status: 'disabled' as const },
    { deleted_at: Date.now() },
  ]) {
    const email = given ? (await api.person(given)).email : newAddress()
    for (const by of [timed, timedClosed]) {
      const { status, headers, body } = await ask(email, by)
      expect(body.login_token).toMatch(/^request\.[0-9a-f-]{36}\.[\w-]{43}$/)
      const said = [...headers].filter(([name]) => name !== 'x-request-id')
      seen.push(JSON.stringify([status, Object.keys(body), said]).replaceAll(/dur=\d+/g, ''))
      // A wrong code reveals as little.
      const wrong = await confirm({ login_token: body.login_token, code: '00000000' }, by)
      expect([wrong.status, wrong.body.code]).toEqual([400, 'invalid_link'])
      expect(wrong.headers.get('server-timing')).toMatch(/depth;desc="1"$/)
    }
  }
  expect(new Set(seen).size).toBe(1)
  expect(seen[0]).toContain('depth;desc=\\"1\\"')
})

test('A network may ask for a limited number of mails, and an address gets three an hour', async () => {
  const few = openApi({ EMAIL_CODE_SIGNIN: 'on', NETWORK_MAILS_PER_HOUR: '3' })
  const ada = await few.person({ email_verified_at: 1 })
  const body = { email: ada.email }
  const ip = randomIp()
  const by = () => few.send('POST', '/v1/auth/login/email_code', { body, ip })
  for (let i = 0; i < 3; i++) expect((await by()).status).toBe(202)
  expect((await by()).status).toBe(429)
  expect((await ask(ada.email)).status).toBe(202)
  expect(await few.mailsTo(ada.email)).toHaveLength(3)
})

test('A stranger who uses up an address’s codes leaves those for its known devices, and password links', async () => {
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  const first = await confirm(await mailed(ada.email))
  const { device_token } = first.body
  for (let i = 0; i < 3; i++) await ask(ada.email)
  const before = (await api.mailsTo(ada.email)).length
  await ask(ada.email)
  expect(await api.mailsTo(ada.email)).toHaveLength(before)
  const body = { email: ada.email, device_token }
  const asked = await api.send('POST', '/v1/auth/login/email_code', { body })
  const code = codeIn((await api.mailsTo(ada.email))[0]!)
  expect((await confirm({ login_token: asked.body.login_token, code })).status).toBe(200)
  await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
  expect((await api.mailsTo(ada.email))[0]!.text).toContain('/links/reset_password')
})

describe('HX5, OA3: an account whose address nobody has proved', () => {
  test('belongs to the mailbox’s owner from then on, and nothing of whoever made it opens it', async () => {
    const email = newAddress()
    await api.send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name: 'Mallory' } })
    const mallory = await api.logIn({ email, password: PASSWORD })
    await api.sql('INSERT INTO recovery_codes (user_id, hash, created_at) VALUES (?, ?, 1)', [
      mallory.user.id,
      'x',
    ])
    const proof = await mailed(email)
    const { status, body } = await confirm(proof)
    expect(status).toBe(200)
    expect(body.user).toMatchObject({ id: mallory.user.id, email_verified: true })
    expect((await api.send('GET', '/v1/users/me', { token: mallory.access_token })).status).toBe(401)
    const refreshed = { refresh_token: mallory.refresh_token }
    expect((await api.send('POST', '/v1/auth/refresh_token', { body: refreshed })).status).toBe(401)
    expect((await api.send('POST', '/v1/auth/login', { body: { email, password: PASSWORD } })).status).toBe(
      401,
    )
    expect(await api.sql('SELECT hash FROM recovery_codes WHERE user_id = ?', [mallory.user.id])).toEqual([])
  })

  test('stays as it is for somebody who proves that they made it', async () => {
    const email = newAddress()
    const { body } = await api.send('POST', '/v1/auth/signup', {
      body: { email, password: PASSWORD, name: 'Ada' },
    })
    const proof = await mailed(email)
    expect((await confirm({ ...proof, signup_token: body.signup_token })).status).toBe(200)
    expect((await api.logIn({ email, password: PASSWORD })).user.email_verified).toBe(true)
  })
})

describe('Somebody without an account', () => {
  test('makes one with a code and a name, once', async () => {
    const email = newAddress()
    const proof = await mailed(email)
    expect(codes([await confirm(proof)])).toEqual([[422, 'name_needed']])
    expect(await api.sql('SELECT id FROM users WHERE email = ?', [email])).toEqual([])
    const answers = await Promise.all([1, 2, 3].map(() => confirm({ ...proof, name: 'Ada' })))
    const right = answers.filter(({ status }) => status === 200)
    expect(right).toHaveLength(1)
    const { user } = right[0]!.body
    expect(user).toMatchObject({ email, name: 'Ada', role: 'user', email_verified: true })
    expect(await api.historyOf(user.id)).toEqual(['user.signed_up', 'email.verified', 'session.started'])
  })

  test('gets no mail if sign-up is by invitation, or for other domains', async () => {
    const domains = openApi({
      EMAIL_CODE_SIGNIN: 'on',
      SIGNUP_DOMAINS: 'other.test',
      EMAIL_VERIFICATION: 'required',
    })
    for (const by of [closed, domains]) {
      const email = newAddress()
      expect((await ask(email, by)).status).toBe(202)
      expect(await by.mailsTo(email)).toEqual([])
    }
  })

  test('must accept their invitation if they have one, as it may give a role', async () => {
    const admin = await api.quickActor({ role: 'admin' })
    const email = newAddress()
    await api.send('POST', '/v1/invitations', { token: admin.token, body: { email, role: 'manager' } })
    const proof = await mailed(email)
    expect(codes([await confirm({ ...proof, name: 'Ada' })])).toEqual([[409, 'invitation_open']])
    expect(await api.sql('SELECT id FROM users WHERE email = ?', [email])).toEqual([])
  })

  test('HX5: replaces a squatter who signed up in between', async () => {
    const email = newAddress()
    const proof = await mailed(email)
    const body = { email, password: PASSWORD, name: 'Mallory' }
    const squatter = await api.send('POST', '/v1/auth/signup', { body })
    const answer = await confirm({ ...proof, name: 'Ada' })
    expect(answer.status).toBe(200)
    expect(answer.body.user.id).not.toBe(squatter.body.id)
    expect((await api.send('POST', '/v1/auth/login', { body: { email, password: PASSWORD } })).status).toBe(
      401,
    )
  })
})
