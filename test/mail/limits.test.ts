import { afterEach, expect, test, vi } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const MINUTE_MS = 60_000
afterEach(() => vi.useRealTimers())

test('RL6: a network’s mails are counted from the first one, not from the last that was refused', async () => {
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

test.each([
  ['an IPv4 /24, with sixteen times the limit', 16, (i: number) => `10.78.1.${i}`, '10.78.2.1'],
  ['an IPv6 /48, with eight times the limit', 8, (i: number) => `2001:db8:7:${i}::1`, '2001:db8:8::1'],
])('RL4, RL6: mails are counted by %s', async (_, share, addressOf, elsewhere) => {
  const api = openApi({ ...(await freshUpstreams()).bindings, NETWORK_MAILS_PER_HOUR: '1' })
  const ask = async (path: string, ip: string) => {
    const about = { email: `${crypto.randomUUID()}@people.test` }
    const body = path === 'signup' ? { ...about, password: PASSWORD, name: 'Eve' } : about
    return (await api.send('POST', `/v1/auth/${path}`, { body, ip })).status
  }
  for (let i = 1; i <= share; i++) expect(await ask('forgot_password', addressOf(i))).toBe(202)
  for (const path of ['forgot_password', 'signup'])
    expect([path, await ask(path, addressOf(share + 1))]).toEqual([path, 429])
  expect(await ask('forgot_password', elsewhere)).toBe(202)
})

test('RL4, RL6: an IPv6 /48 may ask for eight times as many mails as a network, whichever of its networks ask', async () => {
  const api = openApi({ ...(await freshUpstreams()).bindings, NETWORK_MAILS_PER_HOUR: '1' })
  const askFrom = async (ip: string) => {
    const body = { email: `${crypto.randomUUID()}@people.test` }
    return (await api.send('POST', '/v1/auth/forgot_password', { body, ip })).status
  }
  for (let i = 0; i < 8; i++) expect(await askFrom(`2001:db8:48:${i}::1`)).toBe(202)
  expect(await askFrom('2001:db8:48:8::1')).toBe(429)
  expect(await askFrom('2001:db8:49:8::1')).toBe(202)
})

test('LE3, RL6: the owner of an address that others sign up with repeatedly gets three mails an hour', async () => {
  const api = openApi({ ...(await freshUpstreams()).bindings, EMAIL_VERIFICATION: 'required' })
  const ada = await api.person({ email_verified_at: 1 })
  for (let i = 0; i < 5; i++) {
    const body = { email: ada.email, password: PASSWORD, name: 'Eve' }
    expect((await api.send('POST', '/v1/auth/signup', { body })).status).toBe(202)
  }
  expect(await api.mailsTo(ada.email)).toHaveLength(3)
})

test('RL6: if somebody uses up an address’s mails, a known device still has three an hour', async () => {
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

test.each(['forgot_password', 'resend_verification'])(
  'RL6: a known browser still has three as well, by its cookie: %s',
  async (path) => {
    const api = openApi((await freshUpstreams()).bindings)
    const isVerified = path === 'forgot_password'
    const ada = await api.person({ email_verified_at: isVerified ? 1 : null })
    const { headers } = await api.send('POST', '/v1/auth/login', {
      body: { email: ada.email, password: PASSWORD, cookie: true },
    })
    const device = headers.getSetCookie().find((cookie) => cookie.startsWith('__Host-roster-device='))!
    const mailed = async (times: number, cookie?: string) => {
      const before = (await api.mailsTo(ada.email)).length
      for (let i = 0; i < times; i++)
        await api.send('POST', `/v1/auth/${path}`, {
          body: { email: ada.email },
          ...(cookie && { headers: { cookie } }),
        })
      return (await api.mailsTo(ada.email)).length - before
    }
    expect(await mailed(4)).toBe(3)
    expect(await mailed(4, device.split(';')[0])).toBe(3)
  },
)

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
