import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import {
  addPasskey,
  addTotp,
  answerOf,
  challengeOf,
  codeOf,
  withinOneStep,
  wrongCodeOf,
} from '../support/factors.ts'
import { codeIn } from '../support/mails.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let api: Api
beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ISSUER: 'https://roster.test' })
})

const HOUR_MS = 3_600_000
/** Somebody whose login was an hour ago. */
async function longSignedIn() {
  const person = await api.person({ email_verified_at: 1 })
  return { ...person, ...(await api.signIn(person, Date.now() - HOUR_MS)) }
}
type Fresh = { access_token: string; code?: string; methods?: string[] }
const prove = (token: string, body: object) =>
  api.send<Fresh>('POST', '/v1/auth/reauthenticate', { token, body })
const password = PASSWORD

describe('SE1, MF6: somebody with a factor reauthenticates', () => {
  test('with password and code: the password alone is not enough, and a code works once', async () => {
    await withinOneStep()
    const ada = await longSignedIn()
    const { seed } = await addTotp(api, ada)
    const alone = await prove(ada.token, { password })
    expect([alone.status, alone.body.code, alone.body.methods]).toEqual([
      403,
      'second_factor_required',
      ['totp', 'recovery_code'],
    ])
    const code = codeOf(seed)
    const answers = await Promise.all(Array.from({ length: 8 }, () => prove(ada.token, { password, code })))
    const right = answers.filter(({ status }) => status === 200)
    expect(right).toHaveLength(1)
    const { amr, auth_time } = decodeJwt<{ amr: string[]; auth_time: number }>(right[0]!.body.access_token)
    expect(amr).toEqual(['pwd', 'otp', 'mfa'])
    expect(auth_time).toBeGreaterThan(Date.now() / 1000 - 60)
    expect((await api.send('POST', '/v1/auth/factors/recovery_codes', { token: ada.token })).status).toBe(403)
    const fresh = right[0]!.body.access_token
    expect((await api.send('POST', '/v1/auth/factors/recovery_codes', { token: fresh })).status).toBe(200)
    // The code cannot be used to sign in either.
    const { challenge } = await challengeOf(api, ada)
    const body = { challenge, code }
    expect((await api.send('POST', '/v1/auth/login/second_factor', { body })).status).toBe(401)
  })

  test('with password and recovery code, which is then used up', async () => {
    const ada = await longSignedIn()
    const { recoveryCodes } = await addTotp(api, ada)
    const body = { password, recovery_code: recoveryCodes[3] }
    expect((await prove(ada.token, body)).status).toBe(200)
    const again = await prove(ada.token, body)
    expect([again.status, again.body.code]).toEqual([403, 'wrong_code'])
    expect(await api.historyOf(ada.id)).toContain('recovery_code.used')
  })

  test('RL2: after ten wrong codes the session must wait, even with the correct password', async () => {
    const ada = await longSignedIn()
    const { seed } = await addTotp(api, ada)
    for (let i = 0; i < 10; i++)
      expect((await prove(ada.token, { password, code: wrongCodeOf(seed) })).status).toBe(403)
    expect((await prove(ada.token, { password, code: codeOf(seed) })).status).toBe(429)
    // It is independent of the counts of strangers' attempts.
    expect(await api.sql('SELECT failed_factors FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_factors: 0 },
    ])
  })

  test('with only a passkey, their own and for this session', async () => {
    const [ada, eve] = [await longSignedIn(), await longSignedIn()]
    const [mine, theirs] = [await addPasskey(api, ada), await addPasskey(api, eve)]
    const options = '/v1/auth/reauthenticate/options'
    expect((await prove(ada.token, { password })).body.methods).toEqual(['passkey'])
    const answer = await answerOf(api, mine, options, { token: ada.token })
    const elsewhere = await api.signIn(ada)
    expect((await prove(elsewhere.token, answer)).status).toBe(400)
    const foreign = await answerOf(api, theirs, options, { token: ada.token })
    expect((await prove(ada.token, foreign)).status).toBe(400)
    const answers = await Promise.all(Array.from({ length: 8 }, () => prove(ada.token, answer)))
    const right = answers.filter(({ status }) => status === 200)
    expect(right).toHaveLength(1)
    expect(decodeJwt<{ amr: string[] }>(right[0]!.body.access_token).amr).toEqual(['pop', 'user', 'mfa'])
  })
})

test('SE1: the page asks for a password only where the account has one', async () => {
  const [ada, eve] = [
    await api.person({ email_verified_at: 1, password_hash: null }),
    await api.person({ email_verified_at: 1 }),
  ]
  for (const [person, hasPassword] of [
    [ada, false],
    [eve, true],
  ] as const) {
    await addPasskey(api, person)
    const { text } = await (await openBrowser(api, person))('GET', '/signin/again')
    expect([text.includes('name="password"'), text.includes('data-passkey="get"')]).toEqual([
      hasPassword,
      true,
    ])
    expect(text.includes('<p class="or">')).toBe(hasPassword)
  }
})

test('Where no mail is configured, the page offers no mailed code, and says so if nothing else is left', async () => {
  const silent = openApi({ ...api.bindings, MAIL_FROM: undefined, RESEND_API_KEY: undefined })
  const ada = await silent.person({ email_verified_at: 1, password_hash: null })
  const visit = await openBrowser(silent, ada)
  const { status, text } = await visit('GET', '/signin/again')
  expect([status, text.includes('/signin/again/mail'), text.includes('name="password"')]).toEqual([
    200,
    false,
    false,
  ])
  expect(text).toContain('No mail is set up here.')
  const asked = await visit('POST', '/signin/again/mail')
  expect([asked.status, asked.text.includes('No mail is set up here.')]).toEqual([503, true])
})

describe('SE1: somebody with neither a password nor a passkey reauthenticates with a mailed code', () => {
  const ask = (token: string) =>
    api.send<{ request_token: string; code?: string }>('POST', '/v1/auth/reauthenticate/mail_code', { token })
  /** Somebody who came from an identity provider, for example. */
  async function withoutPassword() {
    const ada = await longSignedIn()
    await api.sql('UPDATE users SET password_hash = NULL WHERE id = ?', [ada.id])
    return ada
  }
  async function mailed({ token, email }: { token: string; email: string }) {
    const { status, body, text } = await ask(token)
    expect(status, text).toBe(202)
    return { request_token: body.request_token, mail_code: codeIn((await api.mailsTo(email))[0]!) }
  }

  test('which works once, only for the session that asked', async () => {
    const ada = await withoutPassword()
    const other = await api.signIn(ada, Date.now() - HOUR_MS)
    const proof = await mailed(ada)
    expect((await prove(other.token, proof)).status).toBe(400)
    const answers = await Promise.all(Array.from({ length: 4 }, () => prove(ada.token, proof)))
    const right = answers.filter(({ status }) => status === 200)
    expect(right).toHaveLength(1)
    const { amr, auth_time } = decodeJwt<{ amr: string[]; auth_time: number }>(right[0]!.body.access_token)
    expect(amr).toEqual(['email'])
    expect(auth_time).toBeGreaterThan(Date.now() / 1000 - 60)
    expect((await prove(ada.token, proof)).body.code).toBe('invalid_link')
  })

  test('with an authenticator app beside it', async () => {
    await withinOneStep()
    const ada = await withoutPassword()
    const { seed } = await addTotp(api, ada)
    const proof = await mailed(ada)
    const alone = await prove(ada.token, proof)
    expect([alone.status, alone.body.code]).toEqual([403, 'second_factor_required'])
    expect((await prove(ada.token, { ...proof, code: wrongCodeOf(seed) })).body.code).toBe('wrong_code')
    const both = await prove(ada.token, { ...proof, code: codeOf(seed) })
    expect(both.status, both.text).toBe(200)
    expect(decodeJwt<{ amr: string[] }>(both.body.access_token).amr).toEqual(['email', 'otp', 'mfa'])
  })

  test('which may be tried five times', async () => {
    const ada = await withoutPassword()
    const proof = await mailed(ada)
    const wrong = { ...proof, mail_code: proof.mail_code === '00000000' ? '11111111' : '00000000' }
    for (let i = 0; i < 5; i++) expect((await prove(ada.token, wrong)).status).toBe(400)
    expect((await prove(ada.token, proof)).status).toBe(400)
  })

  test('which wrong codes of the app beside it do not use up', async () => {
    await withinOneStep()
    const ada = await withoutPassword()
    const { seed } = await addTotp(api, ada)
    const proof = await mailed(ada)
    for (let i = 0; i < 5; i++) {
      const { status, body } = await prove(ada.token, { ...proof, code: wrongCodeOf(seed) })
      expect([status, body.code]).toEqual([403, 'wrong_code'])
    }
    expect(
      await api.sql(
        "SELECT code_tries FROM one_time_tokens WHERE subject_id = ? AND purpose = 'reauthenticate'",
        [ada.id],
      ),
    ).toEqual([{ code_tries: 0 }])
    expect((await prove(ada.token, { ...proof, code: codeOf(seed) })).status).toBe(200)
  })

  test('which another session of theirs can neither use up nor void', async () => {
    const ada = await withoutPassword()
    const thief = await api.signIn(ada, Date.now() - HOUR_MS)
    const proof = await mailed(ada)
    const asked = []
    for (let i = 0; i < 34; i++) asked.push((await ask(thief.token)).status)
    expect(asked).toEqual([202, 202, 202, ...Array(31).fill(429)])
    expect((await prove(ada.token, proof)).status).toBe(200)
    const again = [await ask(ada.token), await ask(ada.token), await ask(ada.token)]
    expect(again.map(({ status }) => status)).toEqual([202, 202, 429])
  })

  test('of which a mailbox gets thirty an hour, from however many sessions', async () => {
    const ada = await withoutPassword()
    const asked = []
    for (let i = 0; i < 11; i++) {
      const { token } = await api.signIn(ada, Date.now() - HOUR_MS)
      for (let j = 0; j < 3; j++) asked.push((await ask(token)).status)
    }
    expect(asked).toEqual([...Array(30).fill(202), 429, 429, 429])
  })

  test('and nobody else can: a mailbox is no way around a password or a passkey', async () => {
    const [ada, eve] = [await longSignedIn(), await withoutPassword()]
    const proof = await mailed(eve)
    await addPasskey(api, eve)
    for (const { token } of [ada, eve]) {
      const { status, body } = await ask(token)
      expect([status, body.code]).toEqual([409, 'other_proof_needed'])
    }
    expect((await prove(eve.token, proof)).body.code).toBe('other_proof_needed')
    const unproved = await withoutPassword()
    await api.sql('UPDATE users SET email_verified_at = NULL WHERE id = ?', [unproved.id])
    expect((await ask(unproved.token)).body.code).toBe('address_not_verified')
  })

  test('also on the page', async () => {
    const ada = await withoutPassword()
    const visit = await openBrowser(api, ada)
    const first = await visit('GET', '/signin/again')
    expect([first.text.includes('name="password"'), first.text.includes('/signin/again/mail')]).toEqual([
      false,
      true,
    ])
    const asked = await visit('POST', '/signin/again/mail', {})
    expect(asked.text).toContain('name="mail_code"')
    const code = codeIn((await api.mailsTo(ada.email))[0]!)
    const request_token = /name="request_token" value="([^"]+)"/.exec(asked.text)![1]!
    const wrong = await visit('POST', '/signin/again', { request_token, mail_code: '1234 5678' })
    expect([wrong.status, wrong.text.includes('name="mail_code"')]).toEqual([400, true])
    // Its code may have expired, or all attempts may be used up: the page offers to send another.
    expect(wrong.text).toMatch(/<button [^>]*formaction="\/signin\/again\/mail" formnovalidate/)
    const right = await visit('POST', '/signin/again', {
      request_token,
      mail_code: `${code.slice(0, 4)} ${code.slice(4)}`,
      to: '/account',
    })
    expect([right.status, right.headers.get('location')]).toEqual([303, '/account'])
  })
})

describe('Somebody without a password changes their address, and leaves, with a recent login', () => {
  const asked = { new_email: 'elsewhere@people.test' }
  const changeEmail = (token: string, body: object) =>
    api.send('POST', '/v1/auth/change_email', { token, body })
  const leave = (token: string, body: object) => api.send('DELETE', '/v1/users/me', { token, body })
  const rowOf = (id: string) => api.sql('SELECT email, deleted_at FROM users WHERE id = ?', [id])

  test('and a login an hour ago is not recent', async () => {
    const ada = await api.person({ email_verified_at: 1, password_hash: null })
    const { token } = await api.signIn(ada, Date.now() - HOUR_MS)
    const before = await rowOf(ada.id)
    for (const answer of [await changeEmail(token, asked), await leave(token, {})])
      expect([answer.status, answer.body.code]).toEqual([403, 'reauthentication_required'])
    expect(await rowOf(ada.id)).toEqual(before)
    expect(await api.historyOf(ada.id)).toEqual([])
  })

  test('and a login a moment ago is', async () => {
    const ada = await api.person({ email_verified_at: 1, password_hash: null })
    const { token } = await api.signIn(ada)
    expect((await changeEmail(token, asked)).status).toBe(202)
    expect((await leave(token, {})).status).toBe(204)
    expect(await api.historyOf(ada.id)).toEqual(['email.change_requested', 'user.deleted'])
  })

  test('but an existing password cannot be left out, and none can be given if there is none', async () => {
    const [ada, eve] = [await api.person(), await api.person({ password_hash: null })]
    const { token } = await api.signIn(ada)
    for (const [answer, pointer] of [
      [await changeEmail(token, asked), '/current_password'],
      [await leave(token, {}), '/password'],
    ] as const)
      expect([answer.status, answer.body.errors]).toEqual([
        422,
        [{ pointer, code: 'invalid_type', detail: 'Is missing.' }],
      ])
    const guess = await leave((await api.signIn(eve)).token, { password })
    expect([guess.status, guess.body.code]).toEqual([403, 'wrong_password'])
    for (const { id } of [ada, eve]) expect(await rowOf(id)).toMatchObject([{ deleted_at: null }])
  })

  test('Their pages ask for none, and say how to get one', async () => {
    const ada = await api.person({ email_verified_at: 1, password_hash: null })
    const browser = await openBrowser(api, ada)
    for (const page of ['/account', '/account/data', '/account/security'])
      expect((await browser('GET', page)).text).not.toMatch(/name="(current_)?password"/)
    expect((await browser('GET', '/account/security')).text).toContain('href="/forgot"')
    const left = await browser('POST', '/account/data/leave')
    expect([left.status, left.headers.get('location')]).toEqual([303, '/signin?done=left'])
  })
})
