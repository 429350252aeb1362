import { createHmac } from 'node:crypto'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { makeLinkToken } from '../../src/links/service.ts'
import { makeSignupToken } from '../../src/links/signup-tokens.ts'
import * as passwords from '../../src/passwords/hashing.ts'
import { MAX_FAILURES_IN_A_ROW } from '../../src/throttle/limits.ts'
import { type Api, linkIn, openApi, PASSWORD, randomIp } from '../support/api.ts'
import { addTotp } from '../support/factors.ts'
import { addKey } from '../support/keys.ts'
import { limiter } from '../support/limiter.ts'
import { letApp } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const WRONG_PASSWORD = 'nine green bears run'
const NEW_PASSWORD = 'six blue whales sing'
const [HERE, ELSEWHERE] = ['192.0.2.1', '198.51.100.1']

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
})

const check = vi.spyOn(passwords, 'checkPassword')
const hash = vi.spyOn(passwords, 'hashPassword')
const hashes = () => check.mock.calls.length + hash.mock.calls.length

interface Login {
  email: string
  password?: string
  device_token?: string | undefined
}
const logIn = ({ email, password = PASSWORD, device_token }: Login, ip?: string) =>
  api.send<Tokens & { code: string }>('POST', '/v1/auth/login', {
    body: { email, password, device_token },
    ...(ip && { ip }),
  })
const failuresOf = async ({ id }: { id: string }) =>
  (await api.sql('SELECT failed_logins FROM users WHERE id = ?', [id]))[0]!.failed_logins
const lock = ({ id }: { id: string }) =>
  api.sql('UPDATE users SET failed_logins = ? WHERE id = ?', [MAX_FAILURES_IN_A_ROW + 1, id])
const keyOf = (kind: string, ...about: string[]) =>
  createHmac('sha256', api.config().keys.throttle[0])
    .update(JSON.stringify([kind, ...about]))
    .digest('base64url')
const count = (attempts: number, kind: string, ...about: string[]) =>
  api.sql(
    'INSERT INTO throttles (key, attempts, blocked_until, expires_at) VALUES (?, ?, 0, ?) ON CONFLICT (key) DO UPDATE SET attempts = ?2',
    [keyOf(kind, ...about), attempts, Date.now() + 3_600_000],
  )
const failures = async (userId: string) => {
  const rows = await api.sql(
    "SELECT action, details FROM user_activity_logs WHERE user_id = ? AND action LIKE '%failed' ORDER BY id",
    [userId],
  )
  return rows.map(({ action, details }) => [action, JSON.parse(details as string)])
}

describe('A locked account', () => {
  test('RL3, HX7: opens for a known device, looks unknown to strangers, and a sign-in ends the lock', async () => {
    const ada = await api.person()
    const { device_token } = (await logIn(ada)).body
    await lock(ada)
    const stranger = await logIn(ada)
    expect([stranger.status, stranger.body.code]).toEqual([401, 'invalid_credentials'])
    expect((await logIn({ ...ada, device_token: `${device_token}x` })).status).toBe(401)
    expect((await logIn({ ...ada, device_token })).status).toBe(200)
    expect(await failuresOf(ada)).toBe(0)
    expect((await logIn(ada)).status).toBe(200)
  })

  test('RL3: a device is only known to one account, until a reset makes it a stranger', async () => {
    const [ada, eve] = [await api.person(), await api.person()]
    const { device_token } = (await logIn(eve)).body
    await lock(ada)
    await lock(eve)
    expect((await logIn({ ...ada, device_token })).status).toBe(401)
    await api.sql('UPDATE users SET device_epoch = 1 WHERE id = ?', [eve.id])
    expect((await logIn({ ...eve, device_token })).status).toBe(401)
  })

  test('RL3, HX7: accepts a new password from its owner: strangers guessed at the old one', async () => {
    const ada = await api.actor({ email_verified_at: 1 })
    await lock(ada)
    const body = { current_password: PASSWORD, new_password: 'eight blue boats sail' }
    const changed = await api.send('POST', '/v1/auth/change_password', { token: ada.token, body })
    expect([changed.status, await failuresOf(ada)]).toEqual([200, 0])
    expect((await logIn({ ...ada, password: body.new_password })).status).toBe(200)
  })

  test('RL1, HX7: a known device may fail ten times in a quarter of an hour, counted separately from everybody else', async () => {
    const ada = await api.person()
    const { device_token } = (await logIn(ada)).body
    const mine = { ...ada, device_token }
    expect((await logIn({ ...mine, password: WRONG_PASSWORD })).status).toBe(401)
    const deviceId = /^dt_([^.]+)/.exec(device_token!)![1]!
    await count(9, 'device', deviceId)
    expect((await logIn({ ...mine, password: WRONG_PASSWORD })).status).toBe(401)
    const early = await logIn(mine)
    expect([early.status, early.headers.get('retry-after')]).toEqual([
      429,
      expect.stringMatching(/^(900|8[89]\d)$/),
    ])
    expect(await failuresOf(ada)).toBe(0)
    await api.ages(901_000)
    await count(MAX_FAILURES_IN_A_ROW, 'device', deviceId)
    await lock(ada)
    // The hundredth was the last: from here on the device is a stranger.
    expect((await logIn(mine)).status).toBe(401)
  })

  test('RL3, HX7: its owner is told once, and the link in the mail unlocks it', async () => {
    const ada = await api.person({ failed_logins: MAX_FAILURES_IN_A_ROW - 1, email_verified_at: 1 })
    for (let i = 0; i < 3; i++) expect((await logIn({ ...ada, password: WRONG_PASSWORD })).status).toBe(401)
    expect((await logIn(ada)).status).toBe(401)
    const [mail, ...more] = await api.mailsTo(ada.email)
    expect([mail?.subject, more]).toEqual(['Signing in to Roster with your password is locked', []])
    expect(mail!.text).not.toMatch(/code/)
    const token = new URL(/^http\S+$/m.exec(mail!.text)![0]).searchParams.get('token')!
    const unlock = () => api.send('POST', '/v1/auth/unlock_account', { body: { token } })
    expect((await unlock()).status).toBe(204)
    expect([(await unlock()).status, await failuresOf(ada)]).toEqual([400, 0])
    expect((await logIn(ada)).status).toBe(200)
    expect(await api.historyOf(ada.id)).toEqual(expect.arrayContaining(['user.unlocked']))
    // Failures on a locked account leave one row an hour, with their number.
    const told = async () => (await failures(ada.id)).map(([, { reason, count }]) => [reason, count])
    expect(await told()).toEqual([
      ['wrong_password', 1],
      ['locked', 1],
    ])
    await lock(ada)
    await api.ages(61 * 60_000)
    await logIn(ada)
    expect((await told()).at(-1)).toEqual(['locked', 3])
  })

  test('RL3, HX7: its owner is told again, even if the first mail was written while they signed in, or its link has ended', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { device_token } = (await logIn(ada)).body
    const fails = (count: number) =>
      api.sql('UPDATE users SET failed_logins = ? WHERE id = ?', [count, ada.id])
    const isLockedByStranger = async () =>
      expect((await logIn({ ...ada, password: WRONG_PASSWORD }, randomIp())).status).toBe(401)
    const locks = async () =>
      (await api.mailsTo(ada.email)).filter(({ subject }) => subject.includes('is locked')).length
    await fails(MAX_FAILURES_IN_A_ROW - 1)
    const { result, wasHeld } = await own.between(() => logIn({ ...ada, device_token }), isLockedByStranger, {
      only: 'session.started',
    })
    expect([wasHeld, result.status, await failuresOf(ada), await locks()]).toEqual([true, 200, 0, 1])
    await fails(MAX_FAILURES_IN_A_ROW - 1)
    await isLockedByStranger()
    expect(await locks()).toBe(2)

    // A count that nobody has reset: the link has ended, and the account is told of another lock.
    await api.sql('UPDATE one_time_tokens SET expires_at = 1 WHERE subject_id = ?', [ada.id])
    await fails(MAX_FAILURES_IN_A_ROW - 1)
    await isLockedByStranger()
    expect(await locks()).toBe(3)
  })

  test('RL3, HX7: its owner is told at the account’s present address, and the link there unlocks it', async () => {
    const ada = await api.actor({ email_verified_at: 1 })
    await api.sql('UPDATE users SET failed_logins = ? WHERE id = ?', [MAX_FAILURES_IN_A_ROW - 1, ada.id])
    await logIn({ ...ada, password: WRONG_PASSWORD })
    const email = `${crypto.randomUUID()}@people.test`
    const ask = (path: string, body: object) =>
      api.send('POST', `/v1/auth/${path}`, { token: ada.token, body })
    await ask('change_email', { new_email: email, current_password: PASSWORD })
    const { token } = linkIn((await api.mailsTo(email))[0]!)
    expect((await ask('confirm_email_change', { token })).status).toBe(204)
    await logIn({ email, password: WRONG_PASSWORD })
    await logIn({ email, password: WRONG_PASSWORD })
    // The mail is owed once, and goes out with the next run of the cron job.
    const owed = await api.sql(
      "SELECT token_id FROM outbox WHERE kind = 'account_locked' AND recipient = ?",
      [email],
    )
    expect(owed).toHaveLength(1)
    const link = makeLinkToken(api.config(), 'unlock_account', String(owed[0]!.token_id))
    const unlocking = { body: { token: link } }
    expect((await api.send('POST', '/v1/auth/unlock_account', unlocking)).status).toBe(204)
    expect((await logIn({ email })).status).toBe(200)
  })

  test('HX7: is unlocked by somebody who manages its owner, and by nobody below', async () => {
    const ada = await api.person({ role: 'manager' })
    await lock(ada)
    const [manager, admin] = [
      await api.quickActor({ role: 'manager' }),
      await api.quickActor({ role: 'admin' }),
    ]
    const unlock = (token: string) => api.send('POST', `/v1/users/${ada.id}/unlock`, { token })
    expect([(await unlock(manager.token)).body.code, (await unlock(admin.token)).status]).toEqual([
      'outranked',
      200,
    ])
    expect(await failuresOf(ada)).toBe(0)
  })
})

describe('What does not count as a failure', () => {
  test('RL3: a correct own password, whatever happens after it', async () => {
    const ada = await api.quickActor()
    const change = (new_password: string) =>
      api.send('POST', '/v1/auth/change_password', {
        token: ada.token,
        body: { current_password: PASSWORD, new_password },
      })
    const same = await change(PASSWORD)
    expect([same.status, (same.body.errors as { code: string }[])[0]!.code]).toEqual([422, 'unchanged'])
    expect(await api.sql('SELECT * FROM throttles WHERE key = ?', [keyOf('session', ada.sessionId)])).toEqual(
      [],
    )
  })

  test('RL2: a correct password that does not sign in takes back only its own attempt, and the answer says until when', async () => {
    const until = Date.now() + 3_600_000
    const ada = await api.person({
      status: 'disabled',
      disabled_reason: 'left',
      disabled_until: until,
      failed_logins: 7,
    })
    expect((await logIn({ ...ada, password: WRONG_PASSWORD }, HERE)).status).toBe(401)
    const answer = await logIn(ada, HERE)
    expect([answer.status, answer.body]).toMatchObject([
      403,
      { code: 'account_disabled', disabled_until: new Date(until).toISOString() },
    ])
    expect(answer.text).not.toContain('left')
    expect(await failuresOf(ada)).toBe(8)
    expect(await failures(ada.id)).toEqual([
      ['login.failed', { reason: 'wrong_password', count: 1 }],
      ['login.failed', { reason: 'disabled', count: 1 }],
    ])
  })

  test('CK2: a password whose key is missing, which is our fault (503)', async () => {
    const other = openApi({ ...own.bindings, SECRET_KEYS: 'q7LmWx2vRt9ZpKc4Hn6Jb8Ys1Fd3Ga5Tu0Ew-Vo_XiQ' })
    const ada = await api.person()
    const answer = await other.send('POST', '/v1/auth/login', {
      body: { email: ada.email, password: PASSWORD },
    })
    expect([answer.status, answer.body.code]).toEqual([503, 'misconfigured'])
    expect(await failuresOf(ada)).toBe(0)
  })

  test('RL2, RV1: a revoked token counts no failure, and a wrong own password leaves a row', async () => {
    const ada = await api.quickActor()
    const leave = () =>
      api.send('DELETE', '/v1/users/me', { token: ada.token, body: { password: WRONG_PASSWORD } })
    expect((await leave()).body.code).toBe('wrong_password')
    expect(await failures(ada.id)).toEqual([
      ['password.failed', { reason: 'wrong_password', session_id: ada.sessionId }],
    ])
    await api.sql('UPDATE sessions SET revoked_at = 1 WHERE id = ?', [ada.sessionId])
    expect((await leave()).status).toBe(401)
    expect(
      await api.sql('SELECT attempts FROM throttles WHERE key = ?', [keyOf('session', ada.sessionId)]),
    ).toEqual([{ attempts: 1 }])
    expect(await failures(ada.id)).toHaveLength(1)
  })
})

describe('Failures of a network', () => {
  test('RL1, RL6: stop one guess over many accounts for an hour, but do not stop known devices', async () => {
    const [ada, network] = [await api.person(), '203.0.113.77']
    const { device_token } = (await logIn(ada, network)).body
    const fail = async () => (await logIn({ email: 'nobody@people.test' }, network)).status
    expect(await fail()).toBe(401)
    await api.ages(600_000)
    expect(await fail()).toBe(401)
    await count(30, 'failures', network)
    const [eve, before] = [await api.person(), hashes()]
    const answer = await logIn(eve, network)
    expect([answer.status, answer.body.code, hashes() - before]).toEqual([429, 'too_many_attempts', 0])
    expect(await failuresOf(eve)).toBe(0)
    expect((await logIn({ ...ada, device_token }, network)).status).toBe(200)
    expect((await logIn(eve, ELSEWHERE)).status).toBe(200)
    // The hour began with the first failure, ten minutes ago.
    const seconds = Number(answer.headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(2900)
    expect(seconds).toBeLessThanOrEqual(3000)
    await api.ages(3_000_001)
    expect((await logIn(eve, network)).status).toBe(200)
  })

  test('RL4, HX19: are also counted per IPv6 /48, with eight times the limit', async () => {
    const ada = await api.person()
    await logIn({ ...ada, password: WRONG_PASSWORD }, '2001:db8:77:1::1')
    await count(8 * 30, 'failures', '2001:db8:77::/48')
    expect((await logIn(ada, '2001:db8:77:2::1')).status).toBe(429)
    expect((await logIn(ada, '2001:db8:78:2::1')).status).toBe(200)
  })

  test('RL3, HX19: on one account from an IPv6 /48 cost a wait after eighty, long before the account is locked', async () => {
    const ada = await api.person()
    await logIn({ ...ada, password: WRONG_PASSWORD }, '2001:db8:79:1::1')
    await count(79, 'login', ada.email, '2001:db8:79::/48')
    expect((await logIn({ ...ada, password: WRONG_PASSWORD }, '2001:db8:79:2::1')).status).toBe(401)
    const [failed, before] = [await failuresOf(ada), hashes()]
    const answer = await logIn(ada, '2001:db8:79:3::1')
    expect([answer.status, answer.body.code, hashes() - before]).toEqual([429, 'too_many_attempts', 0])
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(50)
    expect(await failuresOf(ada)).toBe(failed)
    expect((await logIn(ada, '2001:db8:7a:1::1')).status).toBe(200)
  })

  test('RL2, HX19: make somebody wait for the later of their network and its /48; a reset ends both waits', async () => {
    const [ada, ip] = [await api.person({ email_verified_at: 1 }), '2001:db8:7b:1::1']
    await logIn({ ...ada, password: WRONG_PASSWORD }, ip)
    for (const [about, seconds] of [
      ['2001:db8:7b:1::/64', 60],
      ['2001:db8:7b::/48', 300],
    ] as const) {
      await count(100, 'login', ada.email, about)
      const end = Date.now() + seconds * 1000
      await api.sql('UPDATE throttles SET blocked_until = ? WHERE key = ?', [
        end,
        keyOf('login', ada.email, about),
      ])
    }
    const early = await logIn(ada, ip)
    expect([early.status, early.headers.get('retry-after')]).toEqual([
      429,
      expect.stringMatching(/^(300|29\d)$/),
    ])
    await api.send('POST', '/v1/auth/forgot_password', { body: { email: ada.email } })
    const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
    const body = { token, new_password: NEW_PASSWORD }
    expect((await api.send('POST', '/v1/auth/reset_password', { body, ip })).status).toBe(204)
    expect((await logIn({ ...ada, password: NEW_PASSWORD }, ip)).status).toBe(200)
  })

  test('HX11: on addresses without an account leave one row a day', async () => {
    const network = '203.0.113.78'
    const rows = () =>
      api.sql(
        "SELECT details FROM user_activity_logs WHERE action = 'login.failed' AND user_id IS NULL AND ip = ?",
        [network],
      )
    for (let i = 0; i < 2; i++) await logIn({ email: `nobody-${i}@people.test` }, network)
    expect(await rows()).toHaveLength(1)
    await api.ages(25 * 3_600_000)
    await logIn({ email: 'nobody@people.test' }, network)
    expect(JSON.parse((await rows())[1]!.details as string)).toEqual({ reason: 'unknown_address', count: 2 })
  })

  test('RL2: are never mixed up with counters of another kind, whatever the names', async () => {
    await count(30, 'mail', HERE)
    const answer = await logIn({ email: 'mail' }, HERE)
    expect(answer.status).toBe(401)
    const [row] = await api.sql('SELECT attempts FROM throttles WHERE key = ?', [keyOf('mail', HERE)])
    expect(row).toEqual({ attempts: 30 })
  })
})

const shieldOf = (name: string, success: boolean) => {
  const asked: string[] = []
  const limiter = {
    limit: async ({ key }: { key: string }) => ({ success: asked.push(key) > 0 && success }),
  }
  return { asked, api: openApi({ ...own.bindings, [name]: limiter }) }
}

describe('A hash', () => {
  test('HX3: is counted by network before it takes a turn', async () => {
    const shield = shieldOf('RATE_LIMIT_HASHES', true)
    const ada = await api.person()
    for (let i = 0; i < 20; i++) {
      const body = new URLSearchParams({ token: 'x', new_password: NEW_PASSWORD })
      await shield.api.send('POST', '/links/reset_password', { raw: body, ip: HERE })
    }
    expect(shield.asked).toEqual([])
    const answer = await shield.api.send('POST', '/v1/auth/login', {
      body: ada && { email: ada.email, password: PASSWORD },
      ip: HERE,
    })
    expect([answer.status, shield.asked]).toEqual([200, [HERE]])
  })

  test('HX3: over the limit gets a 429, and is no failure', async () => {
    const shield = shieldOf('RATE_LIMIT_HASHES', false)
    const ada = await api.person()
    const before = hashes()
    const answer = await shield.api.send('POST', '/v1/auth/login', {
      body: { email: ada.email, password: PASSWORD },
    })
    expect([answer.status, answer.body.code, hashes() - before]).toEqual([429, 'too_many_requests', 0])
    expect(await failuresOf(ada)).toBe(0)
  })

  test.each([
    ['RATE_LIMIT_HASHES_BY_RANGE', 'hashes'],
    ['RATE_LIMIT_BY_RANGE', 'requests'],
  ])('RL4, HX3: %s counts the %s of an IPv6 /48, but nothing like it for IPv4', async (name) => {
    const shield = shieldOf(name, false)
    const [ada, before] = [await api.person(), hashes()]
    const from = (ip: string) =>
      shield.api.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD }, ip })
    const answers = [await from('2001:db8:50:1::1'), await from('2001:db8:50:2::1')]
    expect(answers.map(({ status, body }) => [status, body.code])).toEqual(
      Array(2).fill([429, 'too_many_requests']),
    )
    expect([shield.asked, hashes() - before]).toEqual([Array(2).fill('2001:db8:50::/48'), 0])
    expect((await from(ELSEWHERE)).status).toBe(200)
  })

  test('HX19, RL3: signed-in users are counted by session, whatever their network does', async () => {
    const ada = await api.quickActor()
    const spent = openApi({ ...own.bindings, RATE_LIMIT_HASHES: limiter(0) })
    const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
    const { status } = await spent.send('POST', '/v1/auth/change_password', { token: ada.token, body })
    expect(status).toBe(200)
    // All of their sessions together are limited as well.
    const shield = shieldOf('RATE_LIMIT_HASHES_OF_DEVICES', false)
    const eve = await api.quickActor()
    const refused = await shield.api.send('POST', '/v1/auth/change_password', { token: eve.token, body })
    expect([refused.status, shield.asked]).toEqual([429, [`sessions ${eve.id}`]])
  })

  test('HX3, HX19: a sign-up from a network that has used up its mails costs no hash', async () => {
    const few = openApi({ ...own.bindings, NETWORK_MAILS_PER_HOUR: '2' })
    const signUp = (headers = {}, email = `${crypto.randomUUID()}@people.test`) =>
      few.send('POST', '/v1/auth/signup', {
        body: { email, password: PASSWORD, name: 'Ada' },
        headers,
        ip: '192.0.2.77',
      })
    const email = `${crypto.randomUUID()}@people.test`
    const key = { 'idempotency-key': crypto.randomUUID() }
    const first = await signUp(key, email)
    expect([first.status, (await signUp()).status]).toEqual([201, 201])
    const before = hashes()
    const refused = await signUp()
    expect([refused.status, refused.body.code, hashes() - before]).toEqual([429, 'too_many_attempts', 0])
    // A repeat gets the same answer again.
    const again = await signUp(key, email)
    expect([again.status, again.body.id]).toEqual([201, first.body.id])
  })
})

describe('Requests of somebody who is signed in', () => {
  test('HX19: reads, changes and refreshes of a session have separate limits', async () => {
    const ada = await api.quickActor()
    const ask: [string, string, string, object?][] = [
      ['RATE_LIMIT_READS', 'GET', '/v1/users/me'],
      ['RATE_LIMIT_READS', 'GET', '/v1/auth/sessions'],
      ['RATE_LIMIT_LISTS', 'GET', '/v1/users/me/activity'],
      ['RATE_LIMIT_LISTS', 'GET', '/v1/users/me/export'],
      ['RATE_LIMIT_WRITES', 'PATCH', '/v1/users/me', { name: 'Grace' }],
      ['RATE_LIMIT_REFRESHES', 'POST', '/v1/auth/refresh_token', { refresh_token: ada.refreshToken }],
    ]
    for (const [name, method, path, body] of ask) {
      const shield = shieldOf(name, false)
      const answer = await shield.api.send(method, path, { token: ada.token, body })
      expect([path, answer.status, answer.headers.get('retry-after')]).toEqual([path, 429, '60'])
      expect(shield.asked).toEqual([ada.sessionId])
    }
  })

  test('HX19, RL3: somebody with a stolen token cannot lock its owner out, neither while it is valid nor after', async () => {
    const shield = openApi({ ...own.bindings, RATE_LIMIT_WRITES: limiter(5) })
    const [ada, stolen] = [await shield.quickActor(), { token: '', sessionId: '' }]
    Object.assign(stolen, await shield.signIn(ada))
    const flood = async () => {
      const statuses = []
      for (let i = 0; i < 6; i++)
        statuses.push((await shield.send('PATCH', '/v1/users/me', { token: stolen.token, body: {} })).status)
      return statuses.at(-1)
    }
    const as = (method: string, path: string, body?: object, token = ada.token) =>
      shield.send(method, path, { token, body })
    expect(await flood()).toBe(429)
    expect((await as('DELETE', `/v1/auth/sessions/${stolen.sessionId}`)).status).toBe(204)
    expect(await flood()).toBe(429)
    expect((await as('POST', '/v1/auth/reauthenticate', { password: PASSWORD })).status).toBe(200)
    const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
    const changed = await as('POST', '/v1/auth/change_password', body)
    expect(changed.status).toBe(200)
    const token = changed.body.access_token as string
    expect((await as('POST', '/v1/auth/logout_all', undefined, token)).status).toBe(204)
  })

  test('HX19: all sessions of one person share a limit of changes, which affects nobody else', async () => {
    const shield = openApi({ ...own.bindings, RATE_LIMIT_WRITES_OF_USER: limiter(3) })
    const ada = await shield.quickActor({ role: 'admin', email_verified_at: 1 })
    const [eve, bob] = [await shield.quickActor(), await shield.person()]
    const { key } = await addKey(shield, ada, ['users:update'])
    const rename = async (token: string, id: string, name: string) =>
      (await shield.send('PATCH', `/v1/users/${id}`, { token, body: { name } })).status
    const another = async () => (await shield.signIn(ada)).token
    // Making the key was the first.
    expect(await rename(await another(), bob.id, 'One')).toBe(200)
    // A key has a limit of its own: what somebody stole, or an app, never uses up what its owner has.
    const app = await letApp(shield, ada, { scope: 'users:read users:update' })
    const ids = [await shield.person(), await shield.person()].map(({ id }) => id)
    for (const token of [key, app.token]) {
      for (const name of ['Two', 'Three', 'Four', 'Five']) expect(await rename(token, bob.id, name)).toBe(200)
      const body = { action: 'disable', reason: 'left', ids }
      expect((await shield.send('POST', '/v1/users/bulk', { token, body })).status).toBe(200)
    }
    const inBulk = await shield.send('POST', '/v1/users/bulk', {
      token: await another(),
      body: { action: 'disable', reason: 'left', ids },
    })
    expect(inBulk.status).toBe(429)
    const [visit, tokens] = [await openBrowser(shield, ada), [ada.token, await another()]]
    const before = await dump(shield)
    for (const token of tokens) expect(await rename(token, bob.id, 'Six')).toBe(429)
    expect((await visit('POST', '/account', { name: 'Grace' })).status).toBe(429)
    expect(await dump(shield)).toEqual(before)
    const me = await shield.send('PATCH', '/v1/users/me', { token: eve.token, body: { name: 'Eve' } })
    expect(me.status).toBe(200)
  })

  test('HX19, RL3: tokens and cookies of before a new password use up no changes', async () => {
    const shield = openApi({ ...own.bindings, RATE_LIMIT_WRITES_OF_USER: limiter(3) })
    const ada = await shield.quickActor()
    const [visit, stolen] = [await openBrowser(shield, ada), await shield.signIn(ada)]
    const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
    const changed = await shield.send('POST', '/v1/auth/change_password', { token: ada.token, body })
    const rename = (token: string, name: string) =>
      shield.send('PATCH', '/v1/users/me', { token, body: { name } })
    // They have a count of their own, which ends.
    expect((await visit('POST', '/account', { name: 'Mallory' })).status).toBe(303)
    for (const status of [401, 401, 429]) expect((await rename(stolen.token, 'Mallory')).status).toBe(status)
    expect((await rename(changed.body.access_token as string, 'Grace')).body).toMatchObject({ name: 'Grace' })
  })

  test('HX19, RL3: whoever has used up all of their changes can still end a theft', async () => {
    const shield = openApi({ ...own.bindings, RATE_LIMIT_WRITES_OF_USER: limiter(0) })
    const ada = await shield.quickActor()
    const stolen = await shield.signIn(ada)
    const as = async (method: string, path: string, body?: object, token = ada.token) =>
      shield.send(method, path, { token, body })
    expect((await as('PATCH', '/v1/users/me', { name: 'Grace' })).status).toBe(429)
    expect((await as('DELETE', `/v1/auth/sessions/${stolen.sessionId}`)).status).toBe(204)
    expect((await as('POST', '/v1/auth/reauthenticate/options')).status).toBe(200)
    expect((await as('POST', '/v1/auth/reauthenticate', { password: PASSWORD })).status).toBe(200)
    const body = { current_password: PASSWORD, new_password: NEW_PASSWORD }
    const token = (await as('POST', '/v1/auth/change_password', body)).body.access_token as string
    expect((await as('POST', '/v1/auth/logout_all', undefined, token)).status).toBe(204)
    const last = await shield.signIn(ada)
    expect((await as('POST', '/v1/auth/logout', undefined, last.token)).status).toBe(204)

    const visit = await openBrowser(shield, ada)
    const { sessionId: id } = await shield.signIn(ada)
    expect((await visit('POST', '/account', { name: 'Grace' })).status).toBe(429)
    const done = async (path: string, fields: Record<string, string> = {}) => {
      const { status, headers } = await visit('POST', path, fields)
      return [status, headers.get('location')]
    }
    expect(await done('/signin/again', { password: NEW_PASSWORD, to: '/account/sessions' })).toEqual([
      303,
      '/account/sessions',
    ])
    expect(await done('/account/sessions/end', { id })).toEqual([303, '/account/sessions?done=ended'])
    expect(await done('/account/sessions/others')).toEqual([303, '/account/sessions?done=all'])
    const passwords = { current_password: NEW_PASSWORD, new_password: 'seven red foxes run' }
    expect(await done('/account/password', passwords)).toEqual([303, '/account/security?done=changed'])
    expect(await done('/signout')).toEqual([303, '/signin?done=signed_out'])
    const [row] = await shield.sql('SELECT name FROM users WHERE id = ?', [ada.id])
    expect(row).toEqual({ name: 'Somebody' })
  })
})

test('HX13: in required mode only whoever signed up with an address learns that it is not confirmed', async () => {
  const required = openApi({ ...own.bindings, EMAIL_VERIFICATION: 'required' })
  const ada = await api.person()
  const signup_token = makeSignupToken(required.config(), { userId: ada.id, emailNormalized: ada.email })
  const login = (body: object) =>
    required.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD, ...body } })
  const answers = [
    await login({}),
    await login({ signup_token }),
    await login({ signup_token, password: WRONG_PASSWORD }),
    await login({ signup_token, email: 'other@people.test' }),
  ]
  expect(answers.map(({ status, body }) => [status, body.code])).toEqual([
    [401, 'invalid_credentials'],
    [403, 'email_not_verified'],
    [403, 'email_not_verified'],
    [401, 'invalid_credentials'],
  ])
  const subjects = async () => (await api.mailsTo(ada.email)).map(({ subject }) => subject)
  expect(await subjects()).toEqual(Array(2).fill('Confirm your e-mail address for Roster'))
  // These are counted, like everything else that needs them.
  for (let i = 0; i < 3; i++) await login({})
  expect(await subjects()).toHaveLength(3)
})

test('HX13, LE1: a network’s remaining attempts do not reveal whether an address it signed up with was free', async () => {
  const required = openApi({
    ...own.bindings,
    EMAIL_VERIFICATION: 'required',
    NETWORK_FAILURES_PER_HOUR: '10',
    NETWORK_MAILS_PER_HOUR: '5',
  })
  const taken = await required.person({ email_verified_at: 1 })
  const junk = () => `${crypto.randomUUID()}@people.test`
  /** The answers for somebody in one network who signs up, logs in with that password, and then looks at what is left. */
  const leftAfter = async (email: string, ip: string) => {
    const post = async (path: string, body: object) =>
      (await required.send('POST', `/v1/auth/${path}`, { ip, body })).status
    const answers = [await post('signup', { email, password: NEW_PASSWORD, name: 'Eve' })]
    for (let i = 0; i < 3; i++) answers.push(await post('login', { email, password: NEW_PASSWORD }))
    for (let i = 0; i < 5; i++) answers.push(await post('forgot_password', { email: junk() }))
    for (let i = 0; i < 8; i++) answers.push(await post('login', { email: junk(), password: NEW_PASSWORD }))
    return answers
  }
  const [free, notFree] = [
    await leftAfter(junk(), '203.0.113.5'),
    await leftAfter(taken.email, '203.0.113.6'),
  ]
  expect(free).toEqual(notFree)
  const wrong = (times: number) => Array(times).fill(401)
  expect(free).toEqual([202, ...wrong(3), 202, 202, 202, 202, 429, ...wrong(7), 429])
})

test.each([
  ['another password', 'password_hash = NULL'],
  ['another address', "email_normalized = id || '@moved.test'"],
  ['an address that is confirmed no more', 'email_verified_at = NULL'],
  ['a disabling', "status = 'disabled'"],
  ['the end of all tokens', 'token_epoch = token_epoch + 1'],
])('HX10: a login leaves no session if %s comes in between', async (_, change) => {
  const required = openApi({ ...own.bindings, EMAIL_VERIFICATION: 'required' })
  const ada = await api.person({ email_verified_at: 1 })
  const { result, wasHeld } = await own.between(
    () => required.send('POST', '/v1/auth/login', { body: { email: ada.email, password: PASSWORD } }),
    () => api.sql(`UPDATE users SET ${change} WHERE id = ?`, [ada.id]),
    { nth: 2 },
  )
  expect([wasHeld, result.status, result.body.code]).toEqual([true, 401, 'invalid_credentials'])
  expect(await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])).toEqual([])
})

test('AZ6: the last administrator is the last who can sign in, not the last who exists', async () => {
  const fresh = await freshUpstreams()
  const alone = openApi(fresh.bindings)
  const [admin, other] = [await alone.quickActor({ role: 'admin' }), await alone.person({ role: 'admin' })]
  const leave = () =>
    alone.send('DELETE', '/v1/users/me', { token: admin.token, body: { password: PASSWORD } })
  for (const state of [
    'password_hash = NULL',
    `failed_logins = ${MAX_FAILURES_IN_A_ROW}, password_hash = 'x'`,
    "status = 'disabled', failed_logins = 0",
  ]) {
    await alone.sql(`UPDATE users SET ${state} WHERE id = ?`, [other.id])
    expect([state, (await leave()).body?.code]).toEqual([state, 'last_admin'])
  }
  // A password is not enough if a second factor is required that nobody can show.
  await alone.sql("UPDATE users SET status = 'active' WHERE id = ?", [other.id])
  await addTotp(alone, other)
  await alone.sql('UPDATE users SET failed_factors = ? WHERE id = ?', [MAX_FAILURES_IN_A_ROW, other.id])
  const codes = await alone.sql('SELECT * FROM recovery_codes WHERE user_id = ?', [other.id])
  await alone.sql('DELETE FROM recovery_codes WHERE user_id = ?', [other.id])
  expect((await leave()).body?.code).toBe('last_admin')
  await alone.sql('DELETE FROM factors WHERE user_id = ?', [other.id])
  await alone.sql(
    `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced, is_synced, name, created_at)
      VALUES ('elsewhere', ?, 'c', 'elsewhere.test', 'k', 0, '[]', '', 0, 0, 'Phone', 1)`,
    [other.id],
  )
  expect((await leave()).body?.code).toBe('last_admin')
  const [code] = codes
  await alone.sql('INSERT INTO recovery_codes (user_id, hash, created_at) VALUES (?, ?, 1)', [
    other.id,
    String(code!.hash),
  ])
  await alone.sql("UPDATE users SET status = 'disabled' WHERE id = ?", [other.id])
  await alone.sql('UPDATE users SET disabled_until = 1 WHERE id = ?', [other.id])
  expect((await leave()).status).toBe(204)
})

test('PW6: a change of password answers with new tokens, as it voids those it was called with', async () => {
  const ada = await api.quickActor()
  const answer = await api.send<Tokens>('POST', '/v1/auth/change_password', {
    token: ada.token,
    body: { current_password: PASSWORD, new_password: NEW_PASSWORD },
  })
  expect(answer.status).toBe(200)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
  expect((await api.send('GET', '/v1/users/me', { token: answer.body.access_token })).status).toBe(200)
  const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: answer.body.refresh_token },
  })
  expect(refreshed.status).toBe(200)
})

test('PW3: new passwords that are hardly more than common guesses are refused', async () => {
  const org = openApi({ ...own.bindings, ORGANISATION: 'Zephyr Works' })
  const weak = [
    'P@ssw0rd1234',
    'password2025!',
    'abcdefghijkl',
    'correcthorsebatterystaple',
    '!!qwertyuiop',
    '!!!password1',
    'ZephyrWorks!1',
  ]
  for (const password of weak) {
    const body = { email: `${crypto.randomUUID()}@people.test`, password, name: 'Ada' }
    const answer = await org.send('POST', '/v1/auth/signup', { body })
    expect([password, answer.status]).toEqual([password, 422])
  }
})
