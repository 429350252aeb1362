import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { decodeJwt } from 'jose'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { stepOfCode } from '../../src/factors/totp.ts'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import { addTotp, challengeOf, codeOf, mailedCode, withinOneStep, wrongCodeOf } from '../support/factors.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let api: Api
beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})
afterEach(() => vi.useRealTimers())

const verified = (given = {}) => api.actor({ email_verified_at: 1, ...given })
const answerChallenge = (body: object) => api.send<Tokens>('POST', '/v1/auth/login/second_factor', { body })
const amrOf = (token: string) => decodeJwt<{ amr: string[] }>(token).amr

describe('MF1: codes are those of RFC 6238,', () => {
  /** Appendix B, SHA-1: the last six of eight digits. */
  test.each([
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130'],
  ])('at second %i', (second, code) => {
    const seed = new TextEncoder().encode('12345678901234567890')
    expect(stepOfCode(seed, code, second * 1000)).toBe(Math.floor(second / 30))
  })
})

test('MF3: codes of this step and the one before are accepted, and no others', () => {
  const seed = new TextEncoder().encode('12345678901234567890')
  const at = (second: number) => stepOfCode(seed, '050471', second * 1000)
  const step = 37_037_037
  expect([-1, 0, 1, 2, 3].map((steps) => at((step + steps) * 30))).toEqual([
    undefined,
    step,
    step,
    undefined,
    undefined,
  ])
})

describe('MF6: enrolling', () => {
  test('has no effect until a code confirms it, needs a mailed code, and gives ten recovery codes', async () => {
    await withinOneStep()
    const ada = await verified()
    const other = await api.signIn(ada)
    const begun = await api.send<{ secret: string; uri: string }>('POST', '/v1/auth/factors/totp', {
      token: ada.token,
    })
    expect(begun.status).toBe(201)
    const { secret, uri } = begun.body
    expect(uri).toMatch(/^otpauth:\/\/totp\/Roster:/)
    expect(uri).toContain(`secret=${secret}`)
    const seed = decodeBase32IgnorePadding(secret)
    expect(seed).toHaveLength(20)
    await api.logIn(ada) // without effect

    const confirm = (body: object) =>
      api.send<{ recovery_codes: string[] }>('POST', '/v1/auth/factors/totp/confirm', {
        token: ada.token,
        body,
      })
    const without = await confirm({ code: codeOf(seed, -1) })
    expect([without.status, without.body]).toEqual([
      403,
      expect.objectContaining({ code: 'mail_code_required' }),
    ])
    const proof = await mailedCode(api, ada)
    const wrong = await confirm({ code: wrongCodeOf(seed), ...proof })
    expect([wrong.status, wrong.body]).toEqual([403, expect.objectContaining({ code: 'wrong_code' })])
    const wrongMail = await confirm({ code: codeOf(seed, -1), ...proof, mail_code: '00000000' })
    expect(wrongMail.status).toBe(400)

    const confirmed = await confirm({ code: codeOf(seed, -1), ...proof })
    expect(confirmed.status, confirmed.text).toBe(200)
    expect(new Set(confirmed.body.recovery_codes).size).toBe(10)
    // This session continues, and its level is raised; the others have ended.
    const mine = await api.send('GET', '/v1/auth/factors', { token: ada.token })
    expect(mine.body).toEqual({
      totp: { confirmed_at: expect.any(String) },
      recovery_codes_left: 10,
      passkeys: [],
    })
    expect((await api.send('GET', '/v1/users/me', { token: other.token })).status).toBe(401)
    const refreshed = await api.send<Tokens>('POST', '/v1/auth/refresh_token', {
      body: { refresh_token: ada.refreshToken },
    })
    expect(amrOf(refreshed.body.access_token)).toEqual(['pwd', 'otp', 'mfa'])
    expect(await api.historyOf(ada.id)).toContain('factor.added')
    expect((await api.mailsTo(ada.email))[0]!.subject).toContain('authenticator app was added')

    // The code that confirmed it is used up; the next one signs in.
    const { challenge } = await challengeOf(api, ada)
    expect((await answerChallenge({ challenge, code: codeOf(seed, -1) })).status).toBe(401)
    expect((await answerChallenge({ challenge, code: codeOf(seed) })).status).toBe(200)
  })

  test('RS2: wrong codes of the app use up no tries of the mailed code, and right ones as before', async () => {
    await withinOneStep()
    const ada = await verified()
    const begun = await api.send<{ secret: string }>('POST', '/v1/auth/factors/totp', { token: ada.token })
    const seed = decodeBase32IgnorePadding(begun.body.secret)
    const proof = await mailedCode(api, ada)
    const wrongMail = { ...proof, mail_code: proof.mail_code === '00000000' ? '11111111' : '00000000' }
    const confirm = async (body: object) => {
      const path = '/v1/auth/factors/totp/confirm'
      const { status, body: said } = await api.send('POST', path, { token: ada.token, body })
      return [status, said.code]
    }
    // The wrong code of the app is all that is said, whatever the mailed code is.
    for (let i = 0; i < 6; i++)
      for (const mailed of [proof, wrongMail])
        expect(await confirm({ code: wrongCodeOf(seed), ...mailed })).toEqual([403, 'wrong_code'])
    for (let i = 0; i < 4; i++)
      expect(await confirm({ code: codeOf(seed), ...wrongMail })).toEqual([400, 'invalid_link'])
    expect(await confirm({ code: codeOf(seed), ...proof })).toEqual([200, undefined])
  })

  test('does not overwrite an active factor', async () => {
    const ada = await verified()
    const { seed } = await addTotp(api, ada)
    const again = await api.send('POST', '/v1/auth/factors/totp', { token: ada.token })
    expect([again.status, again.body.code]).toEqual([409, 'totp_exists'])
    await withinOneStep()
    const { challenge } = await challengeOf(api, ada)
    expect((await answerChallenge({ challenge, code: codeOf(seed) })).status).toBe(200)
  })

  test('SE3: confirming without beginning changes nothing', async () => {
    const ada = await verified()
    const proof = await mailedCode(api, ada)
    const body = { code: '123456', ...proof }
    const answer = await api.send('POST', '/v1/auth/factors/totp/confirm', { token: ada.token, body })
    expect([answer.status, answer.body.code]).toEqual([409, 'nothing_to_confirm'])
    await api.logIn(ada)
  })

  test('does not accept a code mailed for another session or user', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const proof = await mailedCode(api, eve)
    const { body } = await api.send<{ secret: string }>('POST', '/v1/auth/factors/totp', { token: ada.token })
    const code = codeOf(decodeBase32IgnorePadding(body.secret))
    const answer = await api.send('POST', '/v1/auth/factors/totp/confirm', {
      token: ada.token,
      body: { code, ...proof },
    })
    expect([answer.status, answer.body.code]).toEqual([400, 'invalid_link'])
  })

  test('waits until the address is proved', async () => {
    const ada = await api.actor()
    const asked = await api.send('POST', '/v1/auth/factors/mail_code', { token: ada.token })
    expect([asked.status, asked.body.code]).toEqual([409, 'address_not_verified'])
  })

  test('SE1: needs a login of the last ten minutes, and so does removing', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { token } = await api.signIn(ada, Date.now() - 11 * 60_000)
    for (const [method, path] of [
      ['POST', '/totp'],
      ['POST', '/mail_code'],
      ['POST', '/recovery_codes'],
      ['DELETE', '/totp'],
    ] as const) {
      const answer = await api.send(method, `/v1/auth/factors${path}`, { token })
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, 'reauthentication_required'])
      expect(answer.headers.get('www-authenticate')).toContain(
        'error="insufficient_user_authentication", max_age=600',
      )
    }
  })

  test('removing ends the other sessions and deletes the recovery codes', async () => {
    const ada = await verified()
    await addTotp(api, ada)
    const other = await api.signIn(ada)
    expect((await api.send('DELETE', '/v1/auth/factors/totp', { token: ada.token })).status).toBe(204)
    expect((await api.send('DELETE', '/v1/auth/factors/totp', { token: ada.token })).status).toBe(404)
    expect((await api.send('GET', '/v1/users/me', { token: other.token })).status).toBe(401)
    expect(await api.sql('SELECT * FROM recovery_codes WHERE user_id = ?', [ada.id])).toEqual([])
    expect((await api.mailsTo(ada.email))[0]!.subject).toContain('was removed')
    await api.logIn(ada)
  })
})

describe('LE5: a right password of somebody with a factor', () => {
  test('gives a challenge, and nothing that opens anything', async () => {
    const ada = await verified()
    await addTotp(api, ada)
    const sessionsBefore = await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])
    const answer = await api.send('POST', '/v1/auth/login', {
      body: { email: ada.email, password: PASSWORD },
    })
    expect(answer.status).toBe(403)
    expect(answer.body).toMatchObject({
      code: 'second_factor_required',
      methods: ['totp', 'recovery_code'],
      expires_in: 300,
    })
    expect(answer.headers.getSetCookie()).toEqual([])
    expect(await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).toEqual(sessionsBefore)
    for (const value of Object.values(answer.body).filter((value) => typeof value === 'string')) {
      const asToken = await api.send('GET', '/v1/users/me', { token: value.replace(/[^\w.-]/g, '') || 'x' })
      expect(asToken.status).toBe(401)
      const asRefresh = await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: value } })
      expect(asRefresh.status).toBe(401)
    }
  })

  test('is neither a failure nor a sign-in that clears failures', async () => {
    const ada = await verified({ failed_logins: 7 })
    await api.sql('UPDATE users SET failed_logins = 7 WHERE id = ?', [ada.id])
    await addTotp(api, ada)
    await challengeOf(api, ada)
    expect(await api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_logins: 7 },
    ])
  })

  test('RT7: a session records the methods used, and a refresh keeps them', async () => {
    await withinOneStep()
    const ada = await verified()
    const { seed } = await addTotp(api, ada)
    const { challenge } = await challengeOf(api, ada)
    const { body } = await answerChallenge({ challenge, code: codeOf(seed) })
    expect(amrOf(body.access_token)).toEqual(['pwd', 'otp', 'mfa'])
    const next = await api.send<Tokens>('POST', '/v1/auth/refresh_token', {
      body: { refresh_token: body.refresh_token },
    })
    expect(amrOf(next.body.access_token)).toEqual(['pwd', 'otp', 'mfa'])
  })
})

describe('MF2, RL2: a code works once:', () => {
  test('it is refused when used again, and so is one of the step before', async () => {
    await withinOneStep()
    const ada = await verified()
    const { seed } = await addTotp(api, ada)
    const first = await challengeOf(api, ada)
    const code = codeOf(seed)
    expect((await answerChallenge({ challenge: first.challenge, code })).status).toBe(200)
    const { challenge } = await challengeOf(api, ada)
    for (const again of [code, codeOf(seed, -1)]) {
      const answer = await answerChallenge({ challenge, code: again })
      expect([answer.status, (answer.body as { code?: string }).code]).toEqual([401, 'invalid_second_factor'])
    }
  })

  test('of twenty uses at once, each with its own challenge, one signs in', async () => {
    await withinOneStep()
    const ada = await verified()
    const { seed } = await addTotp(api, ada)
    const challenges: string[] = []
    for (let i = 0; i < 5; i++) challenges.push((await challengeOf(api, ada)).challenge)
    const code = codeOf(seed)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => answerChallenge({ challenge: challenges[i % 5], code })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(19)
  })
})

describe('MF4: a challenge', () => {
  test('may be tried five times, and a correct sixth is refused', async () => {
    await withinOneStep()
    const ada = await verified()
    const { seed } = await addTotp(api, ada)
    const { challenge } = await challengeOf(api, ada)
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => answerChallenge({ challenge, code: wrongCodeOf(seed) })),
    )
    const codes = answers.map(({ body }) => (body as unknown as { code: string }).code).sort()
    expect(codes).toEqual([...Array(3).fill('challenge_spent'), ...Array(5).fill('invalid_second_factor')])
    expect((await answerChallenge({ challenge, code: codeOf(seed) })).status).toBe(401)
    // A new challenge does not reset the account's count.
    await challengeOf(api, ada)
    expect(await api.sql('SELECT failed_factors FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_factors: 5 },
    ])
  })

  test('works once, for five minutes, for its user, and until the password changes', async () => {
    await withinOneStep()
    const ada = await verified()
    const { recoveryCodes, seed } = await addTotp(api, ada)
    const { challenge } = await challengeOf(api, ada)
    expect((await answerChallenge({ challenge, code: codeOf(seed) })).status).toBe(200)
    const again = await answerChallenge({ challenge, recovery_code: recoveryCodes[0] })
    expect([again.status, (again.body as { code?: string }).code]).toEqual([401, 'challenge_spent'])

    const forged = challenge.replace(ada.id, (await verified()).id)
    expect((await answerChallenge({ challenge: forged, recovery_code: recoveryCodes[0] })).status).toBe(401)

    const old = await challengeOf(api, ada)
    await api.sql('UPDATE users SET token_epoch = token_epoch + 1 WHERE id = ?', [ada.id])
    const spent = await answerChallenge({ challenge: old.challenge, recovery_code: recoveryCodes[0] })
    expect((spent.body as { code?: string }).code).toBe('challenge_spent')

    const late = await challengeOf(api, ada)
    vi.useFakeTimers({ now: Date.now() + 301_000, toFake: ['Date'] })
    const expired = await answerChallenge({ challenge: late.challenge, recovery_code: recoveryCodes[0] })
    expect((expired.body as { code?: string }).code).toBe('challenge_spent')
  })
})

describe('MF5: recovery codes', () => {
  test('each work once, even for twenty at once, and the user is told when few are left', async () => {
    const ada = await verified()
    const { recoveryCodes } = await addTotp(api, ada)
    const use = async (recovery_code: string) => {
      const { challenge } = await challengeOf(api, ada)
      return answerChallenge({ challenge, recovery_code })
    }
    expect((await use(recoveryCodes[0]!.toUpperCase().replaceAll('-', ' '))).status).toBe(200)
    expect((await use(recoveryCodes[0]!)).status).toBe(401)
    const challenges: string[] = []
    for (let i = 0; i < 4; i++) challenges.push((await challengeOf(api, ada)).challenge)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        answerChallenge({ challenge: challenges[i % 4], recovery_code: recoveryCodes[1] }),
      ),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    await api.sql(
      `DELETE FROM recovery_codes WHERE user_id = ?1 AND hash IN
        (SELECT hash FROM recovery_codes WHERE user_id = ?1 LIMIT 5)`,
      [ada.id],
    )
    const [last] = await api.sql('SELECT count(*) AS left FROM recovery_codes WHERE user_id = ?', [ada.id])
    expect(last).toEqual({ left: 3 })
    let told = false
    for (const code of recoveryCodes.slice(2)) {
      if ((await use(code)).status !== 200) continue
      told = (await api.mailsTo(ada.email)).some(({ subject }) => subject.includes('running out'))
      break
    }
    expect(told).toBe(true)
  })

  test('work while the app is locked, which a hundred wrong codes cause, and only a sign-in or a manager ends', async () => {
    await withinOneStep()
    const ada = await verified()
    const { seed, recoveryCodes } = await addTotp(api, ada)
    await api.sql('UPDATE users SET failed_factors = 99 WHERE id = ?', [ada.id])
    const first = await challengeOf(api, ada)
    await answerChallenge({ challenge: first.challenge, code: wrongCodeOf(seed) })
    const { challenge, methods } = await challengeOf(api, ada)
    expect(methods).toEqual(['recovery_code'])
    expect((await answerChallenge({ challenge, code: codeOf(seed) })).status).toBe(401)
    expect((await answerChallenge({ challenge, recovery_code: recoveryCodes[0] })).status).toBe(200)
    expect((await challengeOf(api, ada)).methods).toEqual(['totp', 'recovery_code'])

    await api.sql('UPDATE users SET failed_factors = 100 WHERE id = ?', [ada.id])
    const admin = await api.actor({ role: 'admin' })
    const unlocked = await api.send('POST', `/v1/users/${ada.id}/unlock`, { token: admin.token })
    expect(unlocked.status).toBe(200)
    expect((await challengeOf(api, ada)).methods).toEqual(['totp', 'recovery_code'])
  })

  test('MF3, HX2: somebody whose app a hundred wrong codes have locked is told by mail, and can sign in on a known device', async () => {
    await withinOneStep()
    const ada = await verified()
    const { device_token } = await api.logIn(ada)
    const { seed } = await addTotp(api, ada)
    const told = async () =>
      (await api.mailsTo(ada.email)).filter(({ subject }) =>
        subject.startsWith('Somebody got your second factor wrong'),
      )
    const guess = async () => {
      const { challenge } = await challengeOf(api, ada)
      expect((await answerChallenge({ challenge, code: wrongCodeOf(seed) })).status).toBe(401)
    }
    const rows = async () =>
      (await api.historyOf(ada.id)).filter((action) => action === 'factor.failed').length
    await api.sql('UPDATE users SET failed_factors = 98 WHERE id = ?', [ada.id])
    await guess()
    expect(await told()).toHaveLength(0)
    for (let i = 0; i < 4; i++) await guess()
    expect([(await told()).length, await rows()]).toEqual([1, 2])

    // One of the two devices belongs to another account.
    const asked = await api.send<{ challenge: string; methods: string[] }>('POST', '/v1/auth/login', {
      body: { email: ada.email, password: PASSWORD, device_token },
    })
    expect(asked.body.methods).toContain('totp')
    const { challenge } = asked.body
    const eve = await api.logIn(await verified())
    const strange = { challenge, code: codeOf(seed), device_token: eve.device_token }
    expect((await answerChallenge(strange)).status).toBe(401)
    const wrong = { challenge, code: wrongCodeOf(seed), device_token }
    expect((await answerChallenge(wrong)).status).toBe(401)
    expect(await api.sql('SELECT failed_factors FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_factors: 101 },
    ])
    expect((await answerChallenge({ challenge, code: codeOf(seed), device_token })).status).toBe(200)
    expect((await challengeOf(api, ada)).methods).toContain('totp')

    // If somebody is locked again, they are told again.
    await api.sql('UPDATE users SET failed_factors = 99 WHERE id = ?', [ada.id])
    await guess()
    expect(await told()).toHaveLength(2)
  })

  test('MF3: a device that an account knows has ten wrong codes in a quarter of an hour before it is a stranger', async () => {
    await withinOneStep()
    const ada = await verified()
    const { device_token } = await api.logIn(ada)
    const { seed } = await addTotp(api, ada)
    await api.sql('UPDATE users SET failed_factors = 101 WHERE id = ?', [ada.id])
    let last = ''
    for (let i = 0; i < 10; i++) {
      if (i % 5 === 0) last = (await challengeOf(api, ada)).challenge
      await answerChallenge({ challenge: last, code: wrongCodeOf(seed), device_token })
    }
    const right = async () => {
      const { challenge } = await challengeOf(api, ada)
      return (await answerChallenge({ challenge, code: codeOf(seed), device_token })).status
    }
    expect(await right()).toBe(401)
    await api.ages(15 * 60_000)
    expect(await right()).toBe(200)
  })

  test('are renewed, and the former ones become void', async () => {
    const ada = await verified()
    const { recoveryCodes } = await addTotp(api, ada)
    const renewed = await api.send<{ recovery_codes: string[] }>('POST', '/v1/auth/factors/recovery_codes', {
      token: ada.token,
    })
    expect(renewed.body.recovery_codes).toHaveLength(10)
    const { challenge } = await challengeOf(api, ada)
    expect((await answerChallenge({ challenge, recovery_code: recoveryCodes[0] })).status).toBe(401)
    const answer = await answerChallenge({ challenge, recovery_code: renewed.body.recovery_codes[9] })
    expect(answer.status).toBe(200)
  })

  test('and seeds are nowhere in plain text, and a seed that is moved to another user cannot be decrypted', async () => {
    const [ada, eve] = [await verified(), await verified()]
    const [mine, theirs] = [await addTotp(api, ada), await addTotp(api, eve)]
    const [row] = await api.sql('SELECT seed, key_id FROM factors WHERE user_id = ?', [eve.id])
    const stored = JSON.stringify(await api.sql('SELECT * FROM factors JOIN recovery_codes USING (user_id)'))
    for (const seed of [mine.seed, theirs.seed])
      expect(stored).not.toContain(Buffer.from(seed).toString('base64url'))
    for (const code of mine.recoveryCodes) expect(stored).not.toContain(code.slice(0, 11))
    await api.sql('UPDATE factors SET seed = ?, key_id = ? WHERE user_id = ?', [
      row!.seed as string,
      row!.key_id as string,
      ada.id,
    ])
    const { challenge } = await challengeOf(api, ada)
    for (let i = 0; i < 6; i++) {
      const answer = await answerChallenge({ challenge, code: codeOf(theirs.seed) })
      // Our fault, so it is not counted as an attempt.
      expect([answer.status, (answer.body as { code?: string }).code]).toEqual([503, 'misconfigured'])
    }
    expect((await answerChallenge({ challenge, recovery_code: mine.recoveryCodes[0] })).status).toBe(200)
  })
})

describe('RS4: a reset of the password', () => {
  test('only sets the password: the factor is still asked for', async () => {
    const ada = await verified()
    await addTotp(api, ada)
    await api.sql('UPDATE users SET failed_factors = 40 WHERE id = ?', [ada.id])
    await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
    const [mail] = await api.mailsTo(ada.email)
    const token = new URL(/^http\S+$/m.exec(mail!.text)![0]).searchParams.get('token')
    const new_password = 'nine green bears run'
    const reset = await api.send('POST', '/v1/auth/reset_password', { body: { token, new_password } })
    expect(reset.status).toBe(204)
    await challengeOf(api, { email: ada.email, password: new_password })
    expect(await api.sql('SELECT failed_factors FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_factors: 40 },
    ])
  })
})

describe('MF6: somebody who manages', () => {
  test('removes factors of those they outrank, which ends their sessions and is reported', async () => {
    const [manager, admin, ada] = [
      await api.actor({ role: 'manager' }),
      await api.actor({ role: 'admin' }),
      await verified(),
    ]
    await addTotp(api, ada)
    const reset = (id: string, token: string) => api.send('DELETE', `/v1/users/${id}/factors`, { token })
    expect((await reset(admin.id, manager.token)).body.code).toBe('outranked')
    expect((await reset(manager.id, manager.token)).body.code).toBe('own_account')
    const old = await api.signIn({ id: manager.id }, Date.now() - 11 * 60_000)
    expect((await reset(ada.id, old.token)).body.code).toBe('reauthentication_required')
    expect((await reset(ada.id, manager.token)).status).toBe(204)
    expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
    const [notice] = await api.mailsTo(ada.email)
    expect(notice!.subject).toContain('were reset')
    const { id } = ada
    expect(await api.historyOf(id)).toContain('factors.reset')
    const again = await api.logIn(ada)
    // There is nothing left to remove, so nobody is signed out, and nobody is told.
    const before = await api.historyOf(id)
    const mails = (await api.mailsTo(ada.email)).length
    expect((await reset(id, manager.token)).status).toBe(204)
    expect([await api.historyOf(id), (await api.mailsTo(ada.email)).length]).toEqual([before, mails])
    expect((await api.send('GET', '/v1/users/me', { token: again.access_token })).status).toBe(200)
  })
})

describe('AC3: when the policy requires a factor,', () => {
  test('somebody without one sees and changes only what adding one needs', async () => {
    const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'managers' })
    await withinOneStep()
    const [ada, boss] = [await verified(), await verified({ role: 'manager' })]
    expect((await strict.send('GET', '/v1/auth/sessions', { token: ada.token })).status).toBe(200)
    const status = async (method: string, path: string, token = boss.token, body?: object) => {
      const answer = await strict.send(method, path, { token, ...(body && { body }) })
      return [answer.status, answer.body?.code]
    }
    const owed = [403, 'factor_enrolment_required']
    expect(await status('GET', '/v1/users')).toEqual(owed)
    expect(await status('PATCH', '/v1/users/me', boss.token, { name: 'X' })).toEqual(owed)
    expect(await status('GET', '/v1/users/me')).toEqual([200, undefined])
    expect(await status('GET', '/v1/auth/factors')).toEqual([200, undefined])
    const { body } = await strict.send<{ secret: string }>('POST', '/v1/auth/factors/totp', {
      token: boss.token,
    })
    const code = codeOf(decodeBase32IgnorePadding(body.secret))
    const proof = await mailedCode(strict, boss)
    const confirmed = await strict.send('POST', '/v1/auth/factors/totp/confirm', {
      token: boss.token,
      body: { code, ...proof },
    })
    expect(confirmed.status).toBe(200)
    // The session's level was raised, so its earlier token may do everything.
    expect(await status('GET', '/v1/users')).toEqual([200, undefined])
  })

  test('the session counts, not the account', async () => {
    const strict = openApi({ ...api.bindings, SECOND_FACTOR: 'everybody' })
    const ada = await verified()
    await addTotp(api, ada)
    const answer = await strict.send('GET', '/v1/auth/sessions', { token: ada.token })
    expect([answer.status, answer.body.code]).toEqual([403, 'factor_enrolment_required'])
  })
})
