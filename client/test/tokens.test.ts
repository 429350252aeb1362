import { afterEach, describe, expect, test, vi } from 'vitest'
import { dataOf, RosterError } from '../src/main.ts'
import { goOn, keptIn, LATER_MS, openRoster, PASSWORD, until } from './support.ts'

const roster = openRoster()
afterEach(() => vi.useRealTimers())
const REFRESH = '/v1/auth/refresh_token'

async function signedIn(options: Parameters<typeof roster.client>[0] = {}) {
  const ada = await roster.person()
  const client = roster.client(options)
  await client.signIn(ada)
  return { client, ada, lane: client.lane }
}

test('Somebody signs up, signs in, is known, and signs out', async () => {
  const client = roster.client()
  const events: string[] = []
  client.on('signed_in', ({ name }) => events.push(`in ${name}`))
  client.on('signed_out', ({ name }) => events.push(`out ${name}`))
  const stop = client.on('user', (user) => events.push(user ? user.name : 'nobody'))
  expect([client.user, await client.load(), client.user]).toEqual([undefined, null, null])

  const email = `${crypto.randomUUID()}@people.test`
  await client.signUp({ email, password: PASSWORD, name: 'Ada' })
  expect(client.user).toBeNull()
  const { user } = await client.signIn({ email, password: PASSWORD })
  expect([user?.email, client.user?.email]).toEqual([email, email])
  expect((await dataOf(client.api.GET('/v1/users/me'))).email).toBe(email)
  await dataOf(client.api.PATCH('/v1/users/me', { body: { name: 'Countess' } }))
  expect(client.user?.name).toBe('Countess')

  const token = await client.accessToken()
  await client.signOut()
  expect([client.user, await client.accessToken()]).toEqual([null, undefined])
  // The server knows of it.
  const headers = { authorization: `Bearer ${token}`, 'cache-control': 'no-cache' }
  expect((await fetch(`${roster.url()}/v1/users/me`, { headers })).status).toBe(401)
  expect((await client.api.GET('/v1/users/me')).error?.code).toBe('unauthenticated')
  expect(events).toEqual(['nobody', 'in Ada', 'Ada', 'Countess', 'out Countess', 'nobody'])
  stop()
  await client.signIn({ email, password: PASSWORD })
  expect(events.at(-1)).toBe('in Countess')
})

test('Twenty calls at once wait for one refresh, before the token is over', async () => {
  const { client, lane } = await signedIn()
  goOn(LATER_MS - 30_000)
  const before = await client.accessToken()
  expect(await roster.asked(lane, REFRESH)).toBe(1)
  goOn(LATER_MS)
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.api.GET('/v1/users/me')))
  expect(answers.map(({ response }) => response.status)).toEqual(Array(20).fill(200))
  expect(await roster.asked(lane, REFRESH)).toBe(2)
  expect(await client.accessToken()).not.toBe(before)
})

test('A token that ends before its time is renewed, and the call repeated with its body', async () => {
  const { client, ada, lane } = await signedIn()
  await roster.sql('UPDATE users SET token_epoch = token_epoch + 1 WHERE email = ?', [ada.email])
  const me = await dataOf(client.api.PATCH('/v1/users/me', { body: { name: 'Grace' } }))
  expect([me.name, client.user?.name]).toEqual(['Grace', 'Grace'])
  expect(await roster.asked(lane, REFRESH)).toBe(1)
})

describe('A refresh', () => {
  test.each([
    ['was answered by a 503', { mode: 'status', status: 503, only: REFRESH, next: 1 }],
    ['was lost on the way', { mode: 'reset-before', only: REFRESH, next: 1 }],
    ['was done, and its answer lost', { mode: 'reset-after', only: REFRESH, next: 1 }],
    ['was answered by half', { mode: 'truncate', only: REFRESH, next: 1 }],
    ['was answered by a page', { mode: 'status', status: 200, body: '<html>', only: REFRESH, next: 1 }],
  ] as const)('that %s is asked for again', async (_, mode) => {
    const { client, lane } = await signedIn()
    await roster.break(lane, mode)
    goOn(LATER_MS)
    expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
    expect(await roster.asked(lane, REFRESH)).toBe(2)
  })

  test.each([
    ['503s', { mode: 'status', status: 503, only: REFRESH }, 503],
    ['a 401 of somebody on the way', { mode: 'status', status: 401, body: 'Log in', only: REFRESH }, 401],
    ['a 429', { mode: 'status', status: 429, only: REFRESH }, 429],
    ['broken connections', { mode: 'down', only: REFRESH }, 0],
  ] as const)('signs nobody out by %s', async (_, mode, status) => {
    const { client, lane } = await signedIn()
    await roster.break(lane, mode)
    goOn(LATER_MS)
    const failed = await client.api.GET('/v1/users/me').catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(RosterError)
    expect(failed).toMatchObject({ status })
    expect(client.user).toMatchObject({ name: 'Ada' })
    await roster.break(lane, { mode: 'pass' })
    expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
  })

  test('that fails leaves a token that is good still', async () => {
    const { client, lane } = await signedIn()
    await roster.break(lane, { mode: 'status', status: 503, only: REFRESH })
    goOn(LATER_MS - 30_000)
    expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
  })

  test.each([
    ['ended elsewhere', 'UPDATE sessions SET revoked_at = 1'],
    ['not used for too long', 'UPDATE sessions SET idle_expires_at = 1'],
  ])('of a session that was %s signs out', async (_, statement) => {
    const { client, ada } = await signedIn()
    await roster.sql(`${statement} WHERE user_id = (SELECT id FROM users WHERE email = ?)`, [ada.email])
    goOn(LATER_MS)
    const { error } = await client.api.GET('/v1/users/me')
    expect([error?.code, client.user]).toEqual(['unauthenticated', null])
  })

  test('that comes after its user has signed out brings nobody back', async () => {
    const { client, lane } = await signedIn()
    await roster.break(lane, { mode: 'latency', ms: 800, only: REFRESH })
    goOn(LATER_MS)
    const waiting = client.api.GET('/v1/users/me')
    await client.signOut()
    expect((await waiting).error?.code).toBe('unauthenticated')
    expect([client.user, await client.accessToken()]).toEqual([null, undefined])
  })

  test('that comes after another has signed in gives nobody a token of another', async () => {
    const { client, lane } = await signedIn()
    const grace = await roster.person('Grace')
    await roster.break(lane, { mode: 'latency', ms: 800, only: REFRESH })
    goOn(LATER_MS)
    const waiting = client.api.PATCH('/v1/users/me', { body: { name: 'Meant for Ada' } })
    await client.signIn(grace)
    expect((await waiting).error?.code).toBe('unauthenticated')
    expect(client.user?.name).toBe('Grace')
    expect((await dataOf(client.api.GET('/v1/users/me'))).name).toBe('Grace')
  })
})

test.each([
  ['a broken connection', { mode: 'down' }, { code: 'no_answer', status: 0 }],
  [
    'a 401 of somebody on the way',
    { mode: 'status', status: 401, body: 'Log in' },
    { code: 'unexpected_answer', status: 401 },
  ],
] as const)(
  'What Roster cannot be told of a sign-out for %s is said, and the tokens are gone all the same',
  async (_, mode, told) => {
    const { client, lane } = await signedIn()
    await roster.break(lane, mode)
    await expect(client.signOut()).rejects.toMatchObject(told)
    expect([client.user, await client.accessToken()]).toEqual([null, undefined])
  },
)

test('A new password keeps its user signed in, by the tokens that it brings', async () => {
  const { client, lane } = await signedIn()
  const body = { current_password: PASSWORD, new_password: 'ten purple herons sleep' }
  await dataOf(client.api.POST('/v1/auth/change_password', { body }))
  expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
  goOn(LATER_MS)
  expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
  expect(await roster.asked(lane, REFRESH)).toBe(1)
})

test('Whoever proves again who they are may do what needs it', async () => {
  const { client, ada } = await signedIn()
  await roster.sql(
    'UPDATE sessions SET created_at = created_at - 3600000 WHERE user_id = (SELECT id FROM users WHERE email = ?)',
    [ada.email],
  )
  goOn(LATER_MS)
  const asked = () => client.api.POST('/v1/auth/factors/totp')
  expect((await asked()).error?.code).toBe('reauthentication_required')
  await expect(client.reauthenticate({ password: 'not the password at all' })).rejects.toMatchObject({
    code: 'wrong_password',
  })
  await client.reauthenticate({ password: PASSWORD })
  expect((await asked()).data?.secret).toEqual(expect.any(String))
})

test('A storage of the app’s keeps somebody signed in beyond the process, and may be full or broken', async () => {
  const kept = new Map<string, string>()
  const { client, ada, lane } = await signedIn({ storage: keptIn(kept) })
  const again = roster.client({ storage: keptIn(kept), lane })
  expect((await again.load())?.email).toBe(ada.email)
  goOn(LATER_MS)
  await again.api.GET('/v1/users/me')
  // The first one looks there before it refreshes.
  expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
  expect(await roster.asked(lane, REFRESH)).toBe(1)
  await client.signOut()
  expect([...kept.keys()].filter((name) => !name.endsWith(' device'))).toEqual([])

  for (const value of ['not json', 'null', '[]', '{"refresh":1}', '{"refresh":"x"}']) {
    const odd = { getItem: () => value, setItem: () => {}, removeItem: () => {} }
    expect(await roster.client({ storage: odd }).load()).toBeNull()
  }
  const refuses = () => {
    throw new DOMException('full', 'QuotaExceededError')
  }
  const broken = await signedIn({ storage: { getItem: refuses, setItem: refuses, removeItem: refuses } })
  expect((await broken.client.api.GET('/v1/users/me')).response.status).toBe(200)
  await broken.client.signOut()
})

test('Who has another name has it for whoever is given the tokens next, by storage or in another tab', async () => {
  const kept = new Map<string, string>()
  const { client, lane } = await signedIn({ storage: keptIn(kept), tabs: true })
  await dataOf(client.api.PATCH('/v1/users/me', { body: { name: 'Grace' } }))
  const names = [client.user?.name]
  for (const options of [
    { storage: keptIn(kept), lane },
    { tabs: true, lane },
  ])
    names.push((await roster.client(options).load())?.name)
  expect(names).toEqual(['Grace', 'Grace', 'Grace'])
  expect(await roster.asked(lane, REFRESH)).toBe(0)
})

test('Who hears of a new name late leaves the tokens that another has stored meanwhile, and adds the name', async () => {
  const kept = new Map<string, string>()
  const answered = Promise.withResolvers<void>()
  const delivered = Promise.withResolvers<void>()
  const { client: late, lane } = await signedIn({
    storage: keptIn(kept),
    fetch: async (request) => {
      const answer = await fetch(request)
      if (request.url.endsWith('/v1/users/me')) {
        answered.resolve()
        await delivered.promise
      }
      return answer
    },
  })
  const other = roster.client({ storage: keptIn(kept), lane })
  await other.load()
  const [key = ''] = [...kept.keys()].filter((name) => !name.endsWith(' device'))
  const stored = () => JSON.parse(kept.get(key)!)
  const first = stored()
  await roster.sql('UPDATE users SET name = ?, version = version + 1 WHERE id = ?', ['Grace', first.user.id])
  const heard = late.api.GET('/v1/users/me')
  await answered.promise
  goOn(LATER_MS)
  await other.accessToken()
  const renewed = stored()
  expect(renewed.refresh).not.toBe(first.refresh)
  // As if it had been refreshed right before the change.
  kept.set(key, JSON.stringify({ ...renewed, user: first.user }))
  delivered.resolve()
  await heard
  expect([late.user?.name, stored().refresh, stored().user.name]).toEqual(['Grace', renewed.refresh, 'Grace'])
})

test('Who has another name has it in every tab, and whoever is opened by one that lives', async () => {
  const { client, lane } = await signedIn({ tabs: true })
  const other = roster.client({ tabs: true, lane })
  await other.load()
  await dataOf(client.api.PATCH('/v1/users/me', { body: { name: 'Grace' } }))
  client.close()
  await until(() => other.user?.name === 'Grace')
  expect((await roster.client({ tabs: true, lane }).load())?.name).toBe('Grace')
})

test('Without a storage, nothing is stored: a second client of the same process knows nobody', async () => {
  const { lane } = await signedIn()
  // One process may serve many users, so only pages exchange messages between tabs.
  expect(await roster.client({ lane }).load()).toBeNull()
})

test('What has not changed is no failure', async () => {
  const { client } = await signedIn()
  const { response } = await client.api.GET('/v1/users/me')
  const headers = { 'if-none-match': response.headers.get('etag') ?? '' }
  const again = await client.api.GET('/v1/users/me', { headers } as object)
  expect([again.response.status, client.user?.name]).toEqual([304, 'Ada'])
})

test('A client that was closed goes on by itself, and keeps what it is given', async () => {
  const kept = new Map<string, string>()
  const { client } = await signedIn({ storage: keptIn(kept), tabs: true })
  const refreshes = () => [...kept.values()].flatMap((value) => /"refresh":"([^"]+)"/.exec(value)?.[1] ?? [])
  const before = refreshes()
  client.close()
  goOn(LATER_MS)
  expect((await client.api.GET('/v1/users/me')).response.status).toBe(200)
  expect(refreshes()).toHaveLength(1)
  expect(refreshes()).not.toEqual(before)
})
