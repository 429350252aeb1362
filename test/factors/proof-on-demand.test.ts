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

describe('SE1, MF6: whoever has a factor proves again who they are', () => {
  test('by password and code: the password alone is not enough, and a code counts once', async () => {
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
    // For signing in, the code is used up as well.
    const { challenge } = await challengeOf(api, ada)
    const body = { challenge, code }
    expect((await api.send('POST', '/v1/auth/login/second_factor', { body })).status).toBe(401)
  })

  test('by password and recovery code, which is gone then', async () => {
    const ada = await longSignedIn()
    const { recoveryCodes } = await addTotp(api, ada)
    const body = { password, recovery_code: recoveryCodes[3] }
    expect((await prove(ada.token, body)).status).toBe(200)
    const again = await prove(ada.token, body)
    expect([again.status, again.body.code]).toEqual([403, 'wrong_code'])
    expect(await api.historyOf(ada.id)).toContain('recovery_code.used')
  })

  test('RL2: ten wrong codes, and the session has to wait, however right its password is', async () => {
    const ada = await longSignedIn()
    const { seed } = await addTotp(api, ada)
    for (let i = 0; i < 10; i++)
      expect((await prove(ada.token, { password, code: wrongCodeOf(seed) })).status).toBe(403)
    expect((await prove(ada.token, { password, code: codeOf(seed) })).status).toBe(429)
    // Strangers' counts are nothing to it, nor its to them.
    expect(await api.sql('SELECT failed_factors FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_factors: 0 },
    ])
  })

  test('by a passkey alone, of their own and for this session', async () => {
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
