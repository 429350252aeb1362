import { beforeAll, describe, expect, test, vi } from 'vitest'
import { decryptJson, encryptJson } from '../../src/crypto/encryption.ts'
import { keyPrefixOf } from '../../src/database/redis.ts'
import { signAccessToken } from '../../src/sessions/access-tokens.ts'
import { profileColumns } from '../../src/users/models.ts'
import type { Actor, Api } from '../support/api.ts'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'
import { openJar } from '../support/jar.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
})

const read = ({ token }: { token: string }, headers: Record<string, string> = {}, by = api) =>
  by.send<{ name: string }>('GET', '/v1/users/me', { token, headers })
const rename = ({ token }: Actor, name: string) =>
  api.send('PATCH', '/v1/users/me', { token, body: { name } })
const sidOf = ({ token }: { token: string }): string =>
  JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).sid
const key = (name: string) => keyPrefixOf(api.config().ISSUER) + name

/** The answer and its calls, including those after it. */
async function measure(request: () => ReturnType<typeof read>) {
  const { result, calls } = await own.measure(request)
  const of = (upstream: string) => calls.filter((call) => call.upstream === upstream).length
  const depth = Number(/depth;desc="(\d+)"/.exec(result.headers.get('server-timing') ?? '')?.[1] ?? 0)
  return { status: result.status, name: result.body.name, depth, libsql: of('libsql'), redis: of('redis') }
}

describe('Who somebody is', () => {
  testOfRedis('HX8: is read from libSQL once, and then only from the nearest Redis', async () => {
    const ada = await api.quickActor({ name: 'Ada' })
    const [first, second] = [await measure(() => read(ada)), await measure(() => read(ada))]
    // Read from libSQL, and copied after the answer.
    expect(first).toEqual({ status: 200, name: 'Ada', depth: 2, libsql: 1, redis: 2 })
    expect(second).toEqual({ status: 200, name: 'Ada', depth: 1, libsql: 0, redis: 1 })
  })

  testOfRedis('is read from libSQL if the caller wants no copy, or if copies are off', async () => {
    const ada = await api.quickActor()
    await read(ada)
    const fresh = await measure(() => read(ada, { 'cache-control': 'max-age=0, no-cache' }))
    expect([fresh.libsql, fresh.redis]).toEqual([1, 0])
    const without = openApi({ ...own.bindings, NEAR_READ_SECONDS: '0' })
    const { calls } = await own.measure(() => read(ada, {}, without))
    expect(calls.map(({ upstream }) => upstream)).toEqual(['libsql'])
  })

  testOfRedis('HX8, RV1: is up to date at once after a change, whoever makes it', async () => {
    const [admin, ada] = [await api.quickActor({ role: 'admin' }), await api.quickActor()]
    await read(ada)
    await rename(ada as Actor, 'Grace')
    expect((await read(ada)).body.name).toBe('Grace')
    await api.send('PATCH', `/v1/users/${ada.id}`, { token: admin.token, body: { name: 'Joan' } })
    expect((await read(ada)).body.name).toBe('Joan')
  })
})

describe('By cookie, who somebody is', () => {
  const openBrowserOf = async (ada: { email: string }) => {
    const browser = openJar(api)
    await browser.signIn(ada.email)
    const me = (headers = {}) =>
      measure(() => browser.request<{ name: string }>('GET', '/v1/users/me', { headers }))
    return { ...browser, me }
  }

  testOfRedis(
    'HX8: is read from the nearest Redis as well, and from libSQL if the caller wants no copy',
    async () => {
      const browser = await openBrowserOf(await api.person({ name: 'Ada' }))
      expect(await browser.me()).toEqual({ status: 200, name: 'Ada', depth: 2, libsql: 1, redis: 2 })
      expect(await browser.me()).toEqual({ status: 200, name: 'Ada', depth: 1, libsql: 0, redis: 1 })
      expect(await browser.me({ 'cache-control': 'no-cache' })).toMatchObject({ libsql: 1, redis: 0 })
    },
  )

  testOfRedis(
    'HX8, RV1: is up to date at once after a change of the user, the role or the session',
    async () => {
      const [admin, ada] = [
        await api.quickActor({ role: 'admin' }),
        await api.person({ email_verified_at: 1 }),
      ]
      const browser = await openBrowserOf(ada)
      const change = (body: object) => api.send('PATCH', `/v1/users/${ada.id}`, { token: admin.token, body })
      await browser.me()
      await change({ name: 'Grace' })
      expect(await browser.me()).toMatchObject({ status: 200, name: 'Grace' })
      await change({ role: 'manager' })
      const before = browser.jar.get('__Host-roster')
      expect((await browser.me()).status).toBe(200)
      // The hint was wrong, so there is a cookie with the right one.
      expect(browser.jar.get('__Host-roster')).not.toBe(before)
      await api.send('POST', `/v1/users/${ada.id}/disable`, { token: admin.token, body: { reason: 'left' } })
      expect((await browser.me()).status).toBe(401)
    },
  )

  testOfRedis(
    'RV1, SE1: is not read from a copy for a cookie of a former turn, nor for one that has ended',
    async () => {
      const ada = await api.person()
      const browser = await openBrowserOf(ada)
      await browser.me()
      expect((await browser.me()).libsql).toBe(0)
      const former = browser.jar.get('__Host-roster')!
      expect((await browser.ask('POST', '/v1/auth/reauthenticate', { password: PASSWORD })).status).toBe(200)
      const present = browser.jar.get('__Host-roster')!
      browser.jar.set('__Host-roster', former)
      // It is valid for requests that were under way, but libSQL must say so.
      expect(await browser.me()).toMatchObject({ status: 200, libsql: 1 })
      await api.sql('UPDATE sessions SET proved_at = proved_at - 31000 WHERE user_id = ?', [ada.id])
      expect((await browser.me()).status).toBe(401)
      browser.jar.set('__Host-roster', present)
      await api.redis('DEL', key(`doubt:${ada.id}`))
      await browser.me()
      expect(await browser.me()).toMatchObject({ status: 200, libsql: 0 })
      // The copy is of the present turn: it says nothing about the former one.
      browser.jar.set('__Host-roster', former)
      expect((await browser.me()).status).toBe(401)
      browser.jar.set('__Host-roster', present)
      await browser.ask('POST', '/v1/auth/logout')
      browser.jar.set('__Host-roster', present)
      expect((await browser.me()).status).toBe(401)
    },
  )
})

testOfRedis(
  'LG1: copies reveal nothing to somebody who reads Redis, and none can replace another',
  async () => {
    const [ada, eve] = [await api.quickActor({ name: 'Ada' }), await api.quickActor({ name: 'Eve' })]
    await read(ada)
    await read(eve)
    const [adas, eves] = [ada, eve].map((one) => key(`copy:${sidOf(one)}`)) as [string, string]
    const copy = String(await api.redis('GET', adas))
    expect(copy).toMatch(/^[\w-]{11}\.[\w-]+$/)
    for (const bad of [copy, `${copy.slice(0, -2)}AA`, 'x', '', '{"name":"Mallory"}']) {
      await api.redis('SET', eves, bad, 'PX', 10_000)
      expect((await read(eve)).body.name).toBe('Eve')
    }
    // It is of the same session, but out of date.
    await api.sql("UPDATE users SET name = 'Grace', token_epoch = 1 WHERE id = ?", [ada.id])
    await api.redis('SET', adas, copy, 'PX', 10_000)
    const token = await signAccessToken(api.config(), Date.now(), {
      userId: ada.id,
      sessionId: sidOf(ada),
      role: 'user',
      epoch: 1,
      authenticatedAt: Date.now(),
    })
    expect((await read({ token })).body.name).toBe('Grace')
  },
)

testOfRedis('HX8: a copy in another form, from an earlier version, is not used', async () => {
  const ada = await api.quickActor({ name: 'Ada' })
  await read(ada)
  const { near_copy } = api.config().keys
  const at = key(`copy:${sidOf(ada)}`)
  const form = `copy ${sidOf(ada)} ${Object.keys(profileColumns).join()}`
  const copy = await decryptJson<{ profile: object }>(near_copy, String(await api.redis('GET', at)), form)
  const other = { ...copy, profile: { ...copy!.profile, name: 'Grace' } }
  for (const [about, told] of [
    [form.replace(',name', ''), 'Ada'],
    // In the present form it would be.
    [form, 'Grace'],
  ] as const) {
    await api.redis('SET', at, await encryptJson(near_copy, other, about), 'PX', 10_000)
    expect((await read(ada)).body.name).toBe(told)
  }
})

testOfRedis('RV5: Redis refuses nobody: what it says only leads to a read from libSQL', async () => {
  const ada = await api.quickActor()
  await read(ada)
  for (const name of [`revoked:session:${sidOf(ada)}`, `doubt:${ada.id}`]) {
    await api.redis('SET', key(name), '1', 'PX', 10_000)
    const found = await measure(() => read(ada))
    expect(found).toMatchObject({ status: 200, libsql: 1, redis: 1 })
    await api.redis('DEL', key(name))
  }
})

testOfRedis('RV5: entries of another deployment in the same Redis have no effect on this one', async () => {
  const ada = await api.quickActor()
  await read(ada)
  const other = keyPrefixOf('https://staging.roster.test')
  await api.redis('SET', `${other}doubt:${ada.id}`, '1', 'PX', 10_000)
  expect((await measure(() => read(ada))).libsql).toBe(0)
})

testOfRedis('RV5: every key in Redis expires by itself', async () => {
  const ada = (await api.quickActor()) as Actor
  await read(ada)
  await rename(ada, 'Grace')
  await api.send('POST', '/v1/auth/logout', { token: ada.token })
  const keys = (await api.redis('KEYS', '*')) as string[]
  const longest = { copy: 60_000, 'revoked:session': 660_000, doubt: 180_000 }
  for (const one of keys) {
    const [, kind] = /^[\w-]{8}:(copy|revoked:session|doubt):[0-9a-f-]{36}$/.exec(one) ?? []
    const lifeMs = Number(await api.redis('PTTL', one))
    expect([one, lifeMs > 0 && lifeMs <= longest[kind as keyof typeof longest]]).toEqual([one, true])
  }
  expect(Number(await api.redis('PTTL', key(`revoked:session:${sidOf(ada)}`)))).toBeGreaterThan(630_000)
})

describe('HX8: when Redis could not be told of a change', () => {
  testOfRedis('a copy is used for at most NEAR_READ_SECONDS, by the reader’s clock', async () => {
    const ada = (await api.quickActor({ name: 'Ada' })) as Actor
    await read(ada)
    const readAt = Date.now()
    await own.behave('redis', { mode: 'down', only: 'doubt' })
    await rename(ada, 'Grace')
    await own.behave('redis', { mode: 'pass' })
    expect((await read(ada)).body.name).toBe('Ada')
    vi.useFakeTimers({ toFake: ['Date'], now: readAt + 56_000 })
    try {
      expect((await read(ada)).body.name).toBe('Grace')
      // A clock that is far behind accepts none either.
      vi.setSystemTime(readAt - 6_000)
      await api.redis('DEL', key(`copy:${sidOf(ada)}`))
    } finally {
      vi.useRealTimers()
    }
  })

  testOfRedis('the change is made all the same, and Redis is told when it is repeated', async () => {
    const ada = (await api.quickActor({ name: 'Ada' })) as Actor
    await read(ada)
    await own.behave('redis', { mode: 'down', only: 'doubt' })
    expect((await rename(ada, 'Grace')).status).toBe(200)
    await own.behave('redis', { mode: 'pass' })
    expect((await rename(ada, 'Grace')).status).toBe(200)
    expect((await read(ada)).body.name).toBe('Grace')
  })

  testOfRedis('no answer waits long, and after five failures none waits at all', async () => {
    const lone = await freshUpstreams()
    const at = openApi(lone.bindings)
    const ada = await at.quickActor()
    await lone.behave('redis', { mode: 'down' })
    const told = async (name: string) => {
      const { result, calls } = await lone.measure(() =>
        at.send('PATCH', '/v1/users/me', { token: ada.token, body: { name } }),
      )
      expect(result.status).toBe(200)
      return calls.filter(({ upstream }) => upstream === 'redis').length
    }
    // Always tried, even when nobody waits for it.
    for (let i = 0; i < 7; i++) expect(await told(`Ada ${i}`)).toBe(1)
    await lone.behave('redis', { mode: 'pass' })
    expect(await told('Grace')).toBe(1)
  })
})

testOfRedis(
  'Fault 12: a Redis that failed to be read is left alone for five seconds, and then asked again',
  async () => {
    const lone = await freshUpstreams()
    const at = openApi(lone.bindings)
    const ada = await at.quickActor()
    const asked = async () => {
      const { calls } = await lone.measure(() => read(ada, {}, at))
      return calls.filter(({ upstream }) => upstream === 'redis').length
    }
    await lone.behave('redis', { mode: 'down' })
    for (let i = 0; i < 5; i++) expect(await asked()).toBe(1)
    expect(await asked()).toBe(0)
    await lone.behave('redis', { mode: 'pass' })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 5001 })
    try {
      expect(await asked()).toBe(2)
      expect(await asked()).toBe(1)
      // A clock that was set back does not prolong its rest.
      await lone.behave('redis', { mode: 'down' })
      for (let i = 0; i < 6; i++) await asked()
      await lone.behave('redis', { mode: 'pass' })
      vi.setSystemTime(Date.now() - 20_000)
      expect(await asked()).toBeGreaterThan(0)
    } finally {
      vi.useRealTimers()
    }
  },
)

testOfRedis(
  'HX8, RV1: a session that a login pushed out ends at once, even if its answer was lost',
  async () => {
    const ada = await api.person()
    const oldest = await api.signIn(ada)
    for (let newer = 1; newer < 50; newer++) await api.signIn(ada)
    await read(oldest)
    expect((await measure(() => read(oldest))).libsql).toBe(0)
    await own.behave('libsql', { mode: 'reset-after', only: 'session.started' })
    const login = { email: ada.email, password: PASSWORD }
    expect((await api.send('POST', '/v1/auth/login', { body: login })).status).toBe(503)
    await own.behave('libsql', { mode: 'pass' })
    expect((await read(oldest)).status).toBe(401)
  },
)

testOfRedis.for(['invites', 'moves'])(
  'HX8, HX5: an unconfirmed account ends at once when it gives way to one that somebody %s',
  async (how) => {
    const [admin, ada] = [await api.quickActor({ role: 'admin' }), await api.person({ email_verified_at: 1 })]
    const email = `${crypto.randomUUID()}@people.test`
    const signedUp = { email, password: PASSWORD, name: 'Mallory' }
    await api.send('POST', '/v1/auth/signup', { body: signedUp })
    const [row] = await api.sql('SELECT id FROM users WHERE email = ?', [email])
    const squatter = await api.signIn({ id: String(row!.id) })
    await read(squatter)
    expect((await measure(() => read(squatter))).libsql).toBe(0)
    const moved = { token: admin.token, body: { email } }
    if (how === 'moves') expect((await api.send('PATCH', `/v1/users/${ada.id}`, moved)).status).toBe(200)
    if (how === 'invites') {
      await api.send('POST', '/v1/invitations', { token: admin.token, body: { email, role: 'user' } })
      const { token } = linkIn((await api.mailsTo(email)).at(0)!)
      const accepted = { token, password: 'nine green bears run', name: 'Ada' }
      expect((await api.send('POST', '/v1/auth/accept_invitation', { body: accepted })).status).toBe(201)
    }
    expect((await read(squatter)).status).toBe(401)
  },
)

testOfRedis('HX8: a copy made from a replica that lagged is used for at most NEAR_READ_SECONDS', async () => {
  const ada = (await api.quickActor()) as Actor
  await own.whileLagging(async () => {
    await api.send('POST', '/v1/auth/logout', { token: ada.token })
    await api.redis('DEL', key(`doubt:${ada.id}`), key(`revoked:session:${sidOf(ada)}`))
    expect((await read(ada)).status).toBe(200)
  })
  const readAt = Date.now()
  expect(await measure(() => read(ada))).toMatchObject({ status: 200, libsql: 0 })
  vi.useFakeTimers({ toFake: ['Date'], now: readAt + 56_000 })
  try {
    expect((await read(ada)).status).toBe(401)
  } finally {
    vi.useRealTimers()
  }
})

describe('Storing a copy', () => {
  /** Lines about Redis while something is done. */
  const linesOf = async (act: () => Promise<unknown>) => {
    const lines: unknown[] = []
    const spy = vi.spyOn(console, 'warn').mockImplementation((line) => void lines.push(JSON.parse(line)))
    await act().finally(() => spy.mockRestore())
    return lines
  }

  testOfRedis('may take as long as a doubt, as the primary may be far away', async () => {
    const lone = await freshUpstreams()
    const at = openApi(lone.bindings)
    const ada = await at.quickActor()
    await lone.behave('redis', { mode: 'late', ms: 600, only: '["SET"' })
    expect(await linesOf(() => read(ada, {}, at))).toEqual([])
    const { calls } = await lone.measure(() => read(ada, {}, at))
    expect(calls.map(({ upstream }) => upstream)).toEqual(['redis'])
  })

  testOfRedis(
    'Fault 12: if it fails, has a line in the log; if it fails repeatedly, rests, and neither reads nor doubts do',
    async () => {
      const lone = await freshUpstreams()
      const at = openApi(lone.bindings)
      const ada = await at.quickActor()
      const eve = await at.quickActor({ name: 'Eve' })
      await read(eve, {}, at)
      await lone.behave('redis', { mode: 'down', only: '["SET"' })
      const lines = await linesOf(async () => {
        for (let i = 0; i < 6; i++) await read(ada, {}, at)
      })
      const line = { level: 'warn', code: 'redis_unavailable', kind: 'puts', name: expect.any(String) }
      expect(lines).toEqual(Array(5).fill(line))
      // Reads are answered by copies, and doubts are waited for.
      const { calls } = await lone.measure(() => read(eve, {}, at))
      expect(calls.map(({ upstream }) => upstream)).toEqual(['redis'])
      const body = { name: 'Grace' }
      await lone.behave('redis', { mode: 'late', ms: 600, only: 'doubt' })
      await at.send('PATCH', '/v1/users/me', { token: eve.token, body })
      expect((await read(eve, {}, at)).body.name).toBe('Grace')
    },
  )

  testOfRedis('Fault 12: what could not be asked of Redis, or told it, has a line in the log', async () => {
    const lone = await freshUpstreams()
    const at = openApi(lone.bindings)
    const ada = await at.quickActor()
    await lone.behave('redis', { mode: 'down' })
    const kinds = async (act: () => Promise<unknown>) =>
      (await linesOf(act)).map((line) => [(line as { code: string }).code, (line as { kind: string }).kind])
    expect(await kinds(() => read(ada, {}, at))).toEqual([['redis_unavailable', 'reads']])
    const body = { name: 'Grace' }
    expect(await kinds(() => at.send('PATCH', '/v1/users/me', { token: ada.token, body }))).toEqual([
      ['redis_unavailable', 'marks'],
    ])
  })
})

test('HX8, RV1: what a lagging replica may not know is read from the primary', async () => {
  const ada = await api.quickActor()
  const asked = async (token: string, path = '/v1/auth/sessions') => {
    const { result, calls } = await own.measure(() => api.send('GET', path, { token }))
    return [result.status, calls.filter(({ upstream }) => upstream === 'libsql').length]
  }
  expect(await asked(ada.token)).toEqual([200, 1])
  // A session that is not there yet, as it is young.
  await api.sql('DELETE FROM sessions WHERE id = ?', [ada.sessionId])
  expect(await asked(ada.token)).toEqual([401, 2])
  // An epoch from a change that has not arrived yet.
  const eve = await api.person({ token_epoch: 1 })
  const { token } = await api.signIn(eve)
  await api.sql('UPDATE users SET token_epoch = 0 WHERE id = ?', [eve.id])
  expect(await asked(token)).toEqual([401, 2])
  expect(await asked(token, '/v1/users/me')).toEqual([401, 2])
  // An epoch below the row's has ended.
  await api.sql('UPDATE users SET token_epoch = 2 WHERE id = ?', [eve.id])
  expect(await asked(token)).toEqual([401, 1])
})

test('HX8, RV1: a cookie that a replica does not know is looked up on the primary before anybody is signed out', async () => {
  const ada = await api.person({ token_epoch: 1 })
  const browser = openJar(api)
  await browser.signIn(ada.email)
  const asked = async (path = '/account') => {
    const { result, calls } = await own.measure(() => browser.open(path))
    return [result.status, calls.filter(({ upstream }) => upstream === 'libsql').length]
  }
  const libsql = async (path: string) => (await asked(path))[1]
  expect(await asked()).toEqual([200, 1])
  // The turn and the epoch went up: this row is older than both.
  await api.sql('UPDATE sessions SET turn = -2 WHERE user_id = ?', [ada.id])
  expect(await asked()).toEqual([303, 2])
  await api.sql('UPDATE sessions SET turn = 0 WHERE user_id = ?', [ada.id])
  await browser.signIn(ada.email)
  await api.sql('UPDATE users SET token_epoch = 0 WHERE id = ?', [ada.id])
  expect(await libsql('/v1/users/me')).toBeGreaterThanOrEqual(2)
  // A session that is not there yet, as it is young; and one that is not young any more.
  await browser.signIn(ada.email)
  await api.sql('DELETE FROM sessions WHERE user_id = ?', [ada.id])
  const before = new Map(browser.jar)
  expect(await asked()).toEqual([303, 2])
  for (const [name, value] of before) browser.jar.set(name, value)
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
  try {
    expect(await asked()).toEqual([303, 1])
  } finally {
    vi.useRealTimers()
  }
})

testOfRedis('DL3: an erased user’s copies are erased too', async () => {
  const [admin, ada] = [await api.quickActor({ role: 'admin' }), await api.quickActor()]
  await read(ada)
  expect(await api.redis('EXISTS', key(`copy:${sidOf(ada)}`))).toBe(1)
  await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token: admin.token })
  expect(await api.redis('EXISTS', key(`copy:${sidOf(ada)}`))).toBe(0)
})
