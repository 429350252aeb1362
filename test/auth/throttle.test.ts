import { createHmac, randomBytes } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { newSecret } from '../../scripts/keys.ts'
import { makeApiKey } from '../../src/access/key-tokens.ts'
import type { Config } from '../../src/config/main.ts'
import { makeLinkToken } from '../../src/links/service.ts'
import * as passwords from '../../src/passwords/hashing.ts'
import { makeRefreshToken } from '../../src/sessions/refresh-tokens.ts'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { networkOf } from '../../src/throttle/networks.ts'
import { DAY_MS } from '../../src/values/durations.ts'
import { firstIdAt } from '../../src/values/ids.ts'
import { type Api, linkIn, openApi, PASSWORD } from '../support/api.ts'
import { limiter } from '../support/limiter.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const WRONG_PASSWORD = 'nine green bears run'
const [HERE, ELSEWHERE] = ['192.0.2.1', '198.51.100.1']
const MINUTE_MS = 60_000

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
})

/** Passes through, and counts how often a password was compared with a stored hash. */
const check = vi.spyOn(passwords, 'checkPassword')
const guesses = () =>
  check.mock.calls.filter(
    ([, stored], i) => stored !== null && check.mock.settledResults[i]?.type === 'fulfilled',
  )
beforeEach(() => void check.mockClear())

describe('Guessing a password', () => {
  test('RL1, RL6: is free ten times, then each guess costs a wait that doubles up to an hour, and really ends', async () => {
    const ada = await api.person()
    await burn(ada.email)
    // The failures that follow, at once, or after some others that are only recorded.
    for (const [skipped, waitSeconds] of [
      [0, 60],
      [0, 120],
      [3, 1920],
      [0, 3600],
      [0, 3600],
    ] as const) {
      if (waitSeconds > 60) {
        await addFailures(skipped, 'login', ada.email, HERE)
        expect((await logIn(ada.email, WRONG_PASSWORD)).status).toBe(401)
      }
      const early = await logIn(ada.email, PASSWORD)
      expect([early.status, early.body.code]).toEqual([429, 'too_many_attempts'])
      const left = Number(early.headers.get('retry-after'))
      expect(left).toBeLessThanOrEqual(waitSeconds)
      expect(left).toBeGreaterThan(waitSeconds - 20)
      await api.ages(left * 1000 + 1000)
    }
    expect(guesses()).toHaveLength(6)
    expect((await logIn(ada.email, PASSWORD)).status).toBe(200)
    expect((await logIn(ada.email, WRONG_PASSWORD)).status).toBe(401)
  })

  test('RL1: is counted for an unknown address as for a known one', async () => {
    const email = `${crypto.randomUUID()}@people.test`
    await burn(email)
    expect((await logIn(email, PASSWORD)).status).toBe(429)
  })

  test('RL1: is forgotten 15 minutes after the first failure', async () => {
    const ada = await api.person()
    await burn(ada.email, 9)
    await api.ages(15 * MINUTE_MS + 1000)
    for (let i = 0; i < 2; i++) expect((await logIn(ada.email, WRONG_PASSWORD)).status).toBe(401)
  })

  test('RL1: ends for good after a hundred failures in a row, wherever they came from', async () => {
    const left = rounds(3, MAX_FAILURES_IN_A_ROW)
    const ada = await api.person({ failed_logins: MAX_FAILURES_IN_A_ROW - left })
    for (let i = 0; i < left; i++)
      expect((await logIn(ada.email, WRONG_PASSWORD, randomIp())).status).toBe(401)
    expect(guesses()).toHaveLength(left)
    for (const password of [PASSWORD, WRONG_PASSWORD]) {
      const answer = await logIn(ada.email, password, randomIp())
      expect([answer.status, answer.body.code]).toEqual([401, 'invalid_credentials'])
    }
    expect(guesses()).toHaveLength(left)
  })

  test('RL1: starts again after a correct password', async () => {
    const ada = await api.person({ failed_logins: MAX_FAILURES_IN_A_ROW - 1 })
    expect((await logIn(ada.email, PASSWORD)).status).toBe(200)
    expect(await api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_logins: 0 },
    ])
  })

  test('RL1: … and for nobody else', async () => {
    const [ada, bo] = [await api.person(), await api.person()]
    await burn(bo.email)
    expect((await logIn(ada.email, PASSWORD)).status).toBe(200)
    expect((await logIn(bo.email, PASSWORD)).status).toBe(429)
  })

  test('RL1: counts nothing on the account while it has to wait', async () => {
    const ada = await api.person()
    await burn(ada.email)
    const counted = () => api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])
    const before = await counted()
    for (const password of [WRONG_PASSWORD, PASSWORD])
      expect((await logIn(ada.email, password)).status).toBe(429)
    expect(await counted()).toEqual(before)
  })

  test('RL1: is counted as well when signed-in users must enter theirs', async () => {
    const ada = await api.person()
    const { token, sessionId } = await api.signIn(ada)
    const leave = (password: string) =>
      api.send('DELETE', '/v1/users/me', { token, ip: HERE, body: { password } })
    const change = (current_password: string) =>
      api.send('POST', '/v1/auth/change_password', {
        token,
        ip: HERE,
        body: { current_password, new_password: 'six blue whales sing' },
      })
    expect((await leave(WRONG_PASSWORD)).body.code).toBe('wrong_password')
    await addFailures(8, 'session', sessionId)
    expect((await change(WRONG_PASSWORD)).body.code).toBe('wrong_password')
    expect([(await leave(PASSWORD)).status, (await change(PASSWORD)).status]).toEqual([429, 429])
  })

  test('RL1: ends for good in a session that has failed a hundred times in a row, and nowhere else', async () => {
    const ada = await api.quickActor()
    const other = await api.signIn(ada)
    const asks = (current_password: string): [string, string, object][] => [
      ['POST', '/v1/auth/change_password', { current_password, new_password: 'six blue whales sing' }],
      [
        'POST',
        '/v1/auth/change_email',
        { current_password, new_email: `${crypto.randomUUID()}@people.test` },
      ],
      ['DELETE', '/v1/users/me', { password: current_password }],
    ]
    const tryAll = async (token: string, password: string) => {
      const codes = []
      for (const [method, path, body] of asks(password)) {
        // As if each came after its wait.
        await api.sql('UPDATE throttles SET blocked_until = 0')
        codes.push((await api.send(method, path, { token, body })).body?.code)
      }
      return codes
    }
    const wrong = Array(3).fill('wrong_password')
    expect(await tryAll(ada.token, WRONG_PASSWORD)).toEqual(wrong)
    await addFailures(MAX_FAILURES_IN_A_ROW - 3, 'session', ada.sessionId)
    expect(await tryAll(ada.token, PASSWORD)).toEqual(wrong)
    expect(await api.sql('SELECT deleted_at, failed_logins FROM users WHERE id = ?', [ada.id])).toEqual([
      { deleted_at: null, failed_logins: 0 },
    ])
    expect(await api.sql('SELECT * FROM outbox WHERE user_id = ?', [ada.id])).toEqual([])
    const leave = { token: other.token, body: { password: PASSWORD } }
    expect((await api.send('DELETE', '/v1/users/me', leave)).status).toBe(204)
  })

  test('RL2: is counted exactly, however many come at once: from one network', async () => {
    const ada = await api.person()
    // At most eight may hash at once.
    for (let wave = 0; wave < rounds(3, 25); wave++) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => logIn(ada.email, WRONG_PASSWORD)))
      for (const { status } of answers) expect([401, 429, 503]).toContain(status)
    }
    expect(guesses().length).toBeLessThanOrEqual(10)
    expect((await logIn(ada.email, PASSWORD)).status).toBe(429)
  })

  test('RL2: … and from many', async () => {
    const ada = await api.person({ failed_logins: MAX_FAILURES_IN_A_ROW - 3 })
    await Promise.all(Array.from({ length: 8 }, () => logIn(ada.email, WRONG_PASSWORD, randomIp())))
    expect(guesses().length).toBeLessThanOrEqual(3)
    expect((await logIn(ada.email, PASSWORD)).status).toBe(401)
  })

  test('RL3: does not count as a failure when it is refused because eight are already being checked', async () => {
    const real = openApi({ ...own.bindings, PASSWORD_HASHES: 'full' })
    const ada = await real.person()
    await own.behave('libsql', { mode: 'latency', ms: 1000 })
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => logIn(ada.email, WRONG_PASSWORD, randomIp(), real)),
    )
    await own.behave('libsql', { mode: 'pass' })
    const sentAway = answers.filter(({ body }) => body.code === 'hashing_busy').length
    expect(sentAway).toBeGreaterThan(0)
    expect(await api.sql('SELECT failed_logins FROM users WHERE id = ?', [ada.id])).toEqual([
      { failed_logins: answers.length - sentAway },
    ])
    expect((await logIn(ada.email, PASSWORD, HERE, real)).status).toBe(200)
  })

  test('RL3: does not lock out users elsewhere, or users who are signed in', async () => {
    const ada = await api.actor()
    await burn(ada.email)
    expect((await logIn(ada.email, PASSWORD)).status).toBe(429)
    expect((await logIn(ada.email, PASSWORD, ELSEWHERE)).status).toBe(200)
    const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
      ip: HERE,
      body: { refresh_token: ada.refreshToken },
    })
    expect(refreshed.status).toBe(200)
    // The right password from elsewhere does not unblock the attacker's network either.
    expect((await logIn(ada.email, PASSWORD)).status).toBe(429)
  })
})

describe('The network of a caller', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2:FFFF:ffff:ffff:ffff', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002:0000:0000:0000:0001', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['', 'none'],
    ['unknown', 'none'],
    ['192.0.2.1, 198.51.100.1', 'none'],
    ['2001:db8::1%eth0', 'none'],
    [null, 'none'],
  ])('RL4: of %j is %s', (ip, network) => {
    expect(networkOf(ip)).toBe(network)
  })

  test('RL4: is a whole /64, in which each address adds to the failures', async () => {
    const ada = await api.person()
    await logIn(ada.email, WRONG_PASSWORD, '2001:db8:1:2::1')
    await addFailures(8, 'login', ada.email, '2001:db8:1:2::/64')
    expect((await logIn(ada.email, WRONG_PASSWORD, '2001:db8:1:2:3::4')).status).toBe(401)
    expect((await logIn(ada.email, PASSWORD, '2001:DB8:1:2:ffff::1')).status).toBe(429)
    expect((await logIn(ada.email, PASSWORD, '2001:db8:1:3::1')).status).toBe(200)
  })

  test('RL4: is counted first, is only taken from one header, and is shared by all without one', async () => {
    const shield = shieldThat({ success: true })
    const send = (headers: Record<string, string>, ip: string | null) =>
      shield.api.send('POST', '/v1/auth/refresh_token', { headers, ip, body: { refresh_token: 'rt_x' } })
    for (const name of ['x-forwarded-for', 'x-real-ip', 'forwarded', 'true-client-ip', 'x-client-ip']) {
      await send({ [name]: '203.0.113.9' }, HERE)
      await send({ [name]: '203.0.113.9' }, null)
    }
    for (let i = 0; i < 300; i++) await send({}, `2001:db8:7:7::${i.toString(16)}`)
    expect([...new Set(shield.byIp)]).toEqual([HERE, '2001:db8:7:7::/64'])
    expect([...new Set(shield.withoutIp)]).toEqual(['none'])
    expect([shield.byIp.length, shield.withoutIp.length]).toEqual([305, 5])
  })

  test('RL6: gets a 429 with the time to wait if it asks too often, which costs nothing', async () => {
    const shield = shieldThat({ success: false })
    const body = { email: 'ada@people.test', password: PASSWORD }
    const { result, calls } = await own.measure(() => shield.api.send('POST', '/v1/auth/login', { body }))
    expect([result.status, result.body.code, result.headers.get('retry-after')]).toEqual([
      429,
      'too_many_requests',
      '60',
    ])
    expect([calls.length, check.mock.calls.length]).toEqual([0, 0])
  })

  test('HX19: does not affect sessions, known devices and mailed links if it asks too often: they are counted separately', async () => {
    const crowded = openApi({ ...own.bindings, RATE_LIMIT_BY_IP: limiter(0) })
    const post = (path: string, body: object, more = {}, by = crowded) =>
      by.send('POST', `/v1/auth/${path}`, { body, ip: HERE, ...more })
    const ada = await api.person({ email_verified_at: 1 })
    const { email } = ada
    const { refresh_token, device_token, access_token } = await api.logIn(ada)
    await api.send('POST', '/v1/auth/forgot_password', { body: { email } })
    const { token } = linkIn((await api.mailsTo(email))[0]!)
    const page = `/links/reset_password?${new URLSearchParams({ token })}`
    const forged = (given: string) => given.replace(/.{5}$/, 'AAAAA')

    expect((await post('refresh_token', { refresh_token })).status).toBe(200)
    expect((await post('login', { email, password: PASSWORD, device_token })).status).toBe(200)
    const form = new URLSearchParams({ username: email, password: PASSWORD }).toString()
    const headers = { cookie: `__Host-roster-device=${device_token}` }
    const byForm = { ...headers, 'content-type': 'application/x-www-form-urlencoded' }
    const formed = await crowded.send('POST', '/v1/auth/login', { raw: form, headers: byForm, ip: HERE })
    expect(formed.status).toBe(200)
    const sessions = { token: access_token, ip: HERE }
    expect((await crowded.send('GET', '/v1/auth/sessions', sessions)).status).toBe(200)
    expect((await crowded.send('GET', page, { ip: HERE })).status).toBe(200)
    expect((await post('reset_password', { token, new_password: 'nine green bears run' })).status).toBe(204)

    for (const refused of [
      await post('login', { email, password: PASSWORD }),
      await post('login', { email, password: PASSWORD, device_token: forged(device_token!) }),
      await post('refresh_token', { refresh_token: forged(refresh_token) }),
      await post('refresh_token', { refresh_token: { x: 1 } }),
      await post('refresh_token', {
        refresh_token: { toString: 1 },
        token: [[]],
        device_token: { toString: 1 },
      }),
      await post('reset_password', { token: forged(token), new_password: 'nine green bears run' }),
      await crowded.send('GET', '/v1/auth/sessions', { ...sessions, token: forged(access_token) }),
      await crowded.send('POST', '/v1/auth/login', { raw: '{', ip: HERE }),
    ])
      expect([refused.status, refused.body.code]).toEqual([429, 'too_many_requests'])

    // A key opens no such route, but its requests are its own: a made-up one is a stranger's.
    const made = (config: Config) => makeApiKey(config, crypto.randomUUID(), ada.id).key
    const byKey = async (key: string) =>
      (await crowded.send('GET', '/v1/auth/sessions', { token: key, ip: HERE })).status
    expect(await byKey(made(api.config()))).toBe(403)
    expect(
      await byKey(made({ ...api.config(), keys: { ...api.config().keys, api_key: [randomBytes(32)] } })),
    ).toBe(429)

    const few = openApi({
      ...own.bindings,
      RATE_LIMIT_BY_IP: limiter(0),
      RATE_LIMIT_BY_TOKEN: limiter(2),
    })
    const refreshes = async (given: string) =>
      (await post('refresh_token', { refresh_token: given }, {}, few)).status
    const [eve, bob] = [await api.logIn(await api.person()), await api.logIn(await api.person())]
    expect([await refreshes(eve.refresh_token), await refreshes(eve.refresh_token)]).toEqual([200, 200])
    expect([await refreshes(eve.refresh_token), await refreshes(bob.refresh_token)]).toEqual([429, 200])
  })

  test('HX19: gives nobody more attempts for signing in again, or for sessions that have ended long ago', async () => {
    const crowded = openApi({
      ...own.bindings,
      RATE_LIMIT_BY_IP: limiter(0),
      RATE_LIMIT_BY_BEARER: limiter(4),
    })
    const statusFor = async (path: string, more: object) =>
      (await crowded.send('POST', `/v1/auth/${path}`, { ip: HERE, ...more })).status
    const reset = (more: object) =>
      statusFor('forgot_password', { body: { email: 'a@people.test' }, ...more })
    const ada = await api.person()
    const [one, two, ended] = [await api.logIn(ada), await api.logIn(ada), await api.logIn(ada)]
    await api.send('POST', '/v1/auth/logout', { token: ended.access_token })
    const ofAda = { body: { email: ada.email, password: 'nine green bears run' } }
    expect([
      await reset({ token: ended.access_token }),
      await statusFor('refresh_token', { body: { refresh_token: ended.refresh_token } }),
      await statusFor('login', { body: { ...ofAda.body, device_token: ended.device_token } }),
      await reset({ token: one.access_token }),
    ]).toEqual([202, 401, 401, 202])
    expect([
      await reset({ token: two.access_token }),
      await statusFor('refresh_token', { body: { refresh_token: two.refresh_token } }),
      await statusFor('login', { body: { ...ofAda.body, device_token: two.device_token } }),
    ]).toEqual([429, 429, 429])
    const bob = await api.logIn(await api.person())
    expect(await reset({ token: bob.access_token })).toBe(202)
    expect(await reset({ token: two.access_token, ip: ELSEWHERE })).toBe(202)

    const { keys } = api.config()
    const aged = (days: number) => firstIdAt(Date.now() - days * DAY_MS)
    const refresh = async (days: number) =>
      statusFor('refresh_token', {
        body: { refresh_token: makeRefreshToken(keys.refresh_token, aged(days), 0) },
      })
    expect([await refresh(29), await refresh(31)]).toEqual([401, 429])
    const press = (days: number) =>
      statusFor('unlock_account', {
        body: { token: makeLinkToken(api.config(), 'unlock_account', aged(days)) },
      })
    expect([await press(9), await press(9.1)]).toEqual([400, 429])
  })

  test('RL4: is named by a trusted server only; invalid names share one counter', async () => {
    const [secret, next] = [newSecret(), newSecret()]
    const proxied = openApi({ ...own.bindings, TRUSTED_PROXY_SECRET: `${secret},${next}` })
    const originOf = async (headers: Record<string, string>) => {
      const ada = await proxied.quickActor()
      await proxied.send('PATCH', '/v1/users/me', {
        ...{ token: ada.token, body: { name: 'Grace' }, ip: HERE },
        headers: { 'user-agent': 'Server/1', 'roster-client-user-agent': 'Client/1', ...headers },
      })
      const [row] = await proxied.sql(
        "SELECT ip, user_agent FROM user_activity_logs WHERE user_id = ? AND action = 'user.updated'",
        [ada.id],
      )
      return [row!.ip, row!.user_agent]
    }
    const named = { 'roster-client-ip': ELSEWHERE }
    for (const given of [secret, next])
      expect(await originOf({ ...named, 'roster-proxy-secret': given })).toEqual([ELSEWHERE, 'Client/1'])
    expect(await originOf(named)).toEqual([HERE, 'Server/1'])
    expect(await originOf({ ...named, 'roster-proxy-secret': newSecret() })).toEqual([HERE, 'Server/1'])
    expect(await originOf({ 'roster-proxy-secret': secret })).toEqual([null, 'Client/1'])
    expect(await originOf({ 'roster-client-ip': 'not an address', 'roster-proxy-secret': secret })).toEqual([
      null,
      'Client/1',
    ])
  })

  test('RL4: cannot go uncounted because a binding is missing', async () => {
    const bare = openApi({ ...own.bindings, RATE_LIMIT_BY_IP: undefined, RATE_LIMIT_WITHOUT_IP: undefined })
    for (const ip of [HERE, null]) {
      const answer = await bare.send('POST', '/v1/auth/login', { ip, body: {} })
      expect([answer.status, answer.body.code]).toEqual([503, 'misconfigured'])
    }
  })
})

test.each([
  ['POST', '//v1/auth/login'],
  ['POST', '/v1//auth/login'],
  ['POST', '/v1/auth/login/'],
  ['POST', '/V1/AUTH/LOGIN'],
  ['POST', '/v1/auth/%6cogin'],
  ['POST', '/v1/%61uth/login'],
  ['POST', '/v1%2fauth%2flogin'],
  ['POST', '/v1/auth/./login'],
  ['POST', '/v1/x/../auth/login'],
  ['POST', '/v1/auth/%2e/login'],
  ['POST', '/v1/auth/login;x'],
  ['POST', '/v1/auth/login%00'],
  ['POST', '/v1/auth/login?x=1'],
  ['POST', '/v1/auth/login?lang=de'],
  ['POST', '/v1/auth/login#x'],
  ['GET', '/v1/auth/login'],
  ['HEAD', '/v1/auth/login'],
  ['PUT', '/v1/auth/login'],
  ['post', '/v1/auth/login'],
  ['OPTIONS', '/v1/auth/login'],
])('RL5: %s %s is refused, or is counted', async (method, path) => {
  const ada = await api.person()
  const shield = shieldThat({ success: true })
  const hasBody = method.toUpperCase() === 'POST' || method === 'PUT'
  const answer = await shield.api.send(method, path, {
    headers: { 'x-http-method-override': 'POST', 'x-original-url': '/v1/auth/login' },
    ...(hasBody && { body: { email: ada.email, password: WRONG_PASSWORD } }),
  })
  const isCounted = shield.byIp.length === 1 && guesses().length === 1
  if (answer.status === 401) expect(isCounted).toBe(true)
  else expect([204, 404, 405, 422]).toContain(answer.status)
  expect(guesses().length).toBe(answer.status === 401 ? 1 : 0)
})

test('RL5: an access token is required for every spelling of a path', async () => {
  for (const path of [
    '//v1/users',
    '/v1/users/',
    '/V1/users',
    '/v1/%75sers',
    '/v1/./users',
    '/v1/auth/../users',
  ])
    expect([401, 404]).toContain((await api.send('GET', path)).status)
})

const logIn = (email: string, password: string, ip = HERE, at = api) =>
  at.send('POST', '/v1/auth/login', { ip, body: { email, password } })

/** The state after this many failures from here; only the first of them costs a hash. */
async function burn(email: string, failures = 10) {
  expect((await logIn(email, WRONG_PASSWORD)).status).toBe(401)
  await addFailures(failures - 2, 'login', email, HERE)
  expect((await logIn(email, WRONG_PASSWORD)).status).toBe(401)
}
/** Adds to the counters of one kind, as if there had been this many more failures. */
const addFailures = (failures: number, kind: string, ...about: string[]) =>
  api.sql('UPDATE throttles SET attempts = attempts + ? WHERE key = ?', [
    failures,
    createHmac('sha256', api.config().keys.throttle[0])
      .update(JSON.stringify([kind, ...about]))
      .digest('base64url'),
  ])

/** The platform's limiters, with the test's answer, and a list of the keys that they counted. */
function shieldThat(outcome: { success: boolean }) {
  const [byIp, withoutIp]: [string[], string[]] = [[], []]
  const limiter = (seen: string[]) => ({
    limit: async ({ key }: { key: string }) => {
      seen.push(key)
      return outcome
    },
  })
  const bindings = { RATE_LIMIT_BY_IP: limiter(byIp), RATE_LIMIT_WITHOUT_IP: limiter(withoutIp) }
  return { api: openApi({ ...own.bindings, ...bindings }), byIp, withoutIp }
}

const randomIp = () => `203.0.113.${Math.floor(Math.random() * 256)}`
