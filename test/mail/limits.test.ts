import { afterEach, expect, test, vi } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const MINUTE_MS = 60_000
afterEach(() => vi.useRealTimers())

test('RL6: what a network may ask to be mailed is counted from the first, not from the last that was refused', async () => {
  const api = openApi((await freshUpstreams()).bindings)
  const ip = '10.77.0.1'
  const startedAt = Date.now()
  const askAfter = async (minutes: number) => {
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.setSystemTime(startedAt + minutes * MINUTE_MS)
    const body = { email: `${crypto.randomUUID()}@people.test` }
    return (await api.send('POST', '/v1/auth/forgot_password', { body, ip })).status
  }
  for (let i = 0; i < 30; i++) expect(await askAfter(0)).toBe(202)
  for (const minutes of [0, 20, 40, 59]) expect(await askAfter(minutes)).toBe(429)
  expect(await askAfter(61)).toBe(202)
})

test('LE3, RL6: who owns an address that is signed up for again and again gets three mails an hour', async () => {
  const api = openApi({ ...(await freshUpstreams()).bindings, EMAIL_VERIFICATION: 'required' })
  const ada = await api.person({ email_verified_at: 1 })
  for (let i = 0; i < 5; i++) {
    const body = { email: ada.email, password: PASSWORD, name: 'Eve' }
    expect((await api.send('POST', '/v1/auth/signup', { body })).status).toBe(202)
  }
  expect(await api.mailsTo(ada.email)).toHaveLength(3)
})

test('RL6: whoever uses up the mails of an address leaves three an hour to a device that the account knows', async () => {
  const api = openApi((await freshUpstreams()).bindings)
  const [ada, eve] = [await api.person({ email_verified_at: 1 }), await api.person({ email_verified_at: 1 })]
  const deviceOf = async ({ email }: { email: string }) =>
    (await api.logIn({ email, password: PASSWORD })).device_token
  const [known, ofAnother] = [await deviceOf(ada), await deviceOf(eve)]
  const mailed = async (times: number, device_token?: string) => {
    const before = (await api.mailsTo(ada.email)).length
    for (let i = 0; i < times; i++) {
      const body = { email: ada.email, ...(device_token && { device_token }) }
      expect((await api.send('POST', '/v1/auth/forgot_password', { body })).status).toBe(202)
    }
    return (await api.mailsTo(ada.email)).length - before
  }
  expect(await mailed(5)).toBe(3)
  expect(await mailed(1, ofAnother)).toBe(0)
  expect(await mailed(5, known)).toBe(3)
})

test('LE3: an address without an account is mailed no link, and nothing is owed to it', async () => {
  const api = openApi((await freshUpstreams()).bindings)
  const email = `${crypto.randomUUID()}@people.test`
  for (const path of ['forgot_password', 'resend_verification']) {
    expect((await api.send('POST', `/v1/auth/${path}`, { body: { email } })).status).toBe(202)
  }
  expect(await api.mailsTo(email)).toEqual([])
  expect(await api.sql('SELECT * FROM outbox')).toEqual([])
  expect(await api.sql('SELECT * FROM one_time_tokens')).toEqual([])
})
