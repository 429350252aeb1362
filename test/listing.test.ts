import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { firstIdAt } from '../src/values/ids.ts'
import { type Answer, type Api, openApi, PASSWORD } from './support/api.ts'
import { rounds } from './support/rounds.ts'
import { freshUpstreams } from './support/upstreams.ts'

interface Person {
  id: string
  name: string
  email: string
  role: string
  status: string
}
interface Page {
  data: Person[]
  pagination: {
    limit: number
    next_cursor: string | null
    prev_cursor: string | null
    total: number | null
    page?: number
    pages?: number
  }
  code: string
}

const SORTS = ['created_at', '-created_at', 'email', '-email', 'name', '-name']
const ROLES = ['user', 'manager', 'admin'] as const

/** A separate database for each group, as a list contains everybody. */
async function openCity() {
  const api = openApi((await freshUpstreams()).bindings)
  const admin = await api.actor({ role: 'admin', name: 'Root' })
  const list = (
    query: Record<string, string | number> = {},
    by: { token: string } = admin,
  ): Promise<Answer<Page>> =>
    api.send<Page>('GET', `/v1/users?${new URLSearchParams(query as never)}`, { token: by.token })
  const person = (given: Parameters<Api['person']>[0] = {}) => api.person({ password_hash: null, ...given })

  /** A complete list, page by page; `between` is called after each. */
  async function all(
    query: Record<string, string | number> = {},
    between = async () => {},
  ): Promise<Person[]> {
    const people: Person[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { status, body }: Answer<Page> = await list({ ...query, ...(cursor && { cursor }) })
      expect(status).toBe(200)
      people.push(...body.data)
      cursor = body.pagination.next_cursor
      await between()
    }
    return people
  }
  const manage = (method: string, path: string, body?: unknown) =>
    api.send(method, `/v1/users${path}`, { token: admin.token, body })
  return { api, admin, list, person, all, manage }
}

type City = Awaited<ReturnType<typeof openCity>>
const ids = (people: { id: string }[]) => people.map(({ id }) => id)

describe('Filters and sorts', () => {
  let city: City
  /** Everybody, in the order in which they were made. */
  let everybody: (Person & { deleted: boolean })[]

  beforeAll(async () => {
    city = await openCity()
    const names = ['Same', 'same', 'Ångström', 'Zoe', 'adam']
    for (let i = 0; i < 36; i++) {
      await city.person({
        name: names[i % names.length]!,
        role: ROLES[i % 3]!,
        status: i % 4 === 1 ? 'disabled' : 'active',
        deleted_at: i % 4 === 2 ? Date.now() : null,
        email: `${'zyxwv'[i % 5]}${i}@people.test`,
      })
    }
    const rows = await city.api.sql(
      'SELECT id, name, email, role, state AS status, deleted_at IS NOT NULL AS deleted FROM users ORDER BY seq',
    )
    everybody = rows as never
  })

  /** Like SQLite's NOCASE: only ASCII letters are folded. */
  const folded = (name: string) => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
  const byText = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  const ORDER: Record<string, (a: Person, b: Person) => number> = {
    created_at: (a, b) => byText(a.id, b.id),
    email: (a, b) => byText(a.email, b.email) || byText(a.id, b.id),
    name: (a, b) => byText(folded(a.name), folded(b.name)) || byText(a.id, b.id),
  }
  function expected({ role, status, sort }: { role?: string; status?: string; sort: string }) {
    const order = ORDER[sort.replace('-', '')]!
    const found = everybody
      .filter((person) => (status === undefined ? !person.deleted : person.status === status))
      .filter((person) => role === undefined || person.role === role)
      .sort(order)
    return sort.startsWith('-') ? found.reverse() : found
  }

  test.each(SORTS)(
    'AZ8: sorted by %s, a page at a time or by number, for every role and status',
    async (sort) => {
      for (const role of [undefined, ...ROLES]) {
        for (const status of [undefined, 'active', 'disabled', 'deleted']) {
          const query = { sort, ...(role && { role }), ...(status && { status }) }
          const people = expected(query)
          expect(ids(await city.all({ ...query, limit: 4 }))).toEqual(ids(people))
          const { body } = await city.list({ ...query, limit: 3, page: 2 })
          expect(ids(body.data)).toEqual(ids(people.slice(3, 6)))
          const { length: total } = people
          expect(body.pagination).toMatchObject({ limit: 3, total, page: 2, pages: Math.ceil(total / 3) })
        }
      }
    },
  )

  test('By default the newest come first, twenty to a page', async () => {
    const { body } = await city.list()
    expect(ids(body.data)).toEqual(ids(expected({ sort: '-created_at' }).slice(0, 20)))
    expect(body.pagination).toMatchObject({ limit: 20, next_cursor: expect.any(String), total: 28 })
    expect(body.pagination).not.toHaveProperty('page')
  })

  test.each(['created_at', '-created_at', 'name', '-email'])(
    'By %s, paging forwards and back shows the same pages',
    async (sort) => {
      const forwards = []
      let page = await city.list({ sort, limit: 9 })
      expect(page.body.pagination.prev_cursor).toBeNull()
      for (;;) {
        forwards.push(ids(page.body.data))
        const { next_cursor } = page.body.pagination
        if (next_cursor === null) break
        page = await city.list({ sort, limit: 9, cursor: next_cursor })
      }
      const backwards = [forwards.at(-1)]
      while (page.body.pagination.prev_cursor) {
        page = await city.list({ sort, limit: 9, cursor: page.body.pagination.prev_cursor })
        backwards.unshift(ids(page.body.data))
      }
      expect(forwards.length).toBe(4)
      expect(backwards).toEqual(forwards)
      expect(page.body.pagination.next_cursor).not.toBeNull()
    },
  )

  test('A page beyond the last is empty, and a page number has a documented maximum', async () => {
    const { body } = await city.list({ page: 100, limit: 100 })
    expect(body).toEqual({
      data: [],
      pagination: { limit: 100, next_cursor: null, prev_cursor: null, total: 28, page: 100, pages: 1 },
    })
    const tooDeep = await city.list({ page: 101, limit: 100 })
    expect([tooDeep.status, tooDeep.body.code]).toEqual([400, 'page_too_deep'])
  })

  test('The last page has no next, even if it is full', async () => {
    expect((await city.list({ limit: 28 })).body.pagination.next_cursor).toBeNull()
    expect((await city.list({ limit: 27 })).body.pagination.next_cursor).not.toBeNull()
  })

  test('An address finds its person, however it is written, alone and with every other filter', async () => {
    const someone = everybody.find(({ status, role }) => status === 'active' && role === 'user')!
    for (const email of [someone.email, ` ${someone.email.toUpperCase()} `]) {
      const { body } = await city.list({ email })
      expect([ids(body.data), body.pagination.total]).toEqual([[someone.id], null])
    }
    for (const sort of SORTS) {
      expect(ids(await city.all({ email: someone.email, sort, role: 'user', status: 'active' }))).toEqual([
        someone.id,
      ])
      expect(await city.all({ email: someone.email, sort, role: 'admin' })).toEqual([])
    }
    expect(ids(await city.all({ email: someone.email, q: 'people' }))).toEqual([someone.id])
    expect(await city.all({ email: someone.email, q: 'elsewhere' })).toEqual([])
  })

  test('AZ8, IV4: any other query is refused, and nothing leaks', async () => {
    const refused: Record<string, string>[] = [
      { limit: '1e9' },
      { limit: '101' },
      { limit: '0' },
      { limit: '-1' },
      { limit: 'NaN' },
      { limit: '1.5' },
      { limit: '' },
      { page: '0' },
      { page: 'x' },
      { page: '1', cursor: 'x' },
      { sort: 'password_hash' },
      { sort: 'id; DROP TABLE users' },
      { sort: '--created_at' },
      { role: 'root' },
      { role: "user' OR '1'='1" },
      { status: 'gone' },
      { email: 'nobody' },
      { email: "x@y.test' OR 1=1 --" },
      { q: 'abc', sort: 'name' },
      { password_hash: 'x' },
      { __proto__x: '1' },
    ]
    for (const query of refused) {
      const answer = await city.list(query)
      expect([query, answer.status, answer.body.code]).toEqual([query, 422, 'invalid_input'])
    }
    const repeated = await city.api.send('GET', '/v1/users?role=user&role=admin', { token: city.admin.token })
    expect(repeated.body).toMatchObject({
      code: 'invalid_input',
      errors: [{ pointer: '/role', code: 'repeated' }],
    })
  })

  test('AZ8: a cursor only works for its own list, and no other text is accepted as one', async () => {
    const { body } = await city.list({ limit: 3 })
    const cursor = body.pagination.next_cursor!
    expect((await city.list({ limit: 50, cursor })).status).toBe(200)
    const forgeries = [
      'x',
      `${cursor}A`,
      `${cursor}=`,
      cursor.slice(0, -1),
      cursor.slice(1),
      Buffer.from('["x","y"]').toString('base64url'),
      Buffer.concat([Buffer.alloc(16), Buffer.from('["x"]')]).toString('base64url'),
      '%00',
      'A'.repeat(1024),
    ]
    const elsewhere: Record<string, string>[] = [
      { sort: 'name' },
      { role: 'user' },
      { status: 'active' },
      { q: 'people' },
    ]
    for (const query of [
      ...forgeries.map((forged) => ({ cursor: forged })),
      ...elsewhere.map((q) => ({ ...q, cursor })),
    ]) {
      const answer = await city.list(query)
      expect([query, answer.status, answer.body.code]).toEqual([query, 400, 'invalid_cursor'])
    }
    const history = await city.api.send('GET', `/v1/activity?cursor=${cursor}`, { token: city.admin.token })
    expect(history.body.code).toBe('invalid_cursor')
  })

  test('DL1: deleted users are only in their own list, which only those who may delete can see', async () => {
    const manager = await city.api.actor({ role: 'manager', deleted_at: null })
    expect((await city.list({ status: 'deleted' }, manager)).status).toBe(403)
    const deleted = everybody.find((person) => person.deleted)!
    for (const query of [{ q: deleted.email }, { email: deleted.email }]) {
      expect((await city.list(query)).body.data).toEqual([])
      expect((await city.list(query, manager)).body.data).toEqual([])
      expect(ids((await city.list({ ...query, status: 'deleted' })).body.data)).toEqual([deleted.id])
    }
    await city.api.sql('DELETE FROM users WHERE id = ?', [manager.id])
  })
})

describe('Search', () => {
  let city: City
  beforeAll(async () => {
    city = await openCity()
  })
  const find = async (q: string, query: Record<string, string> = {}) =>
    ids((await city.list({ q, ...query })).body.data)

  test.each([
    ['Zoë Müller', ['zoë', 'MÜLL', 'oë m', 'Zoe\u0308']],
    ['李小龙长名字', ['李小龙', '长名字']],
    ['Ναυσικά', ['ναυ', 'ΝΑΥ']],
    ['👩‍🚀 Ada 🚀🚀🚀', ['🚀🚀🚀', '👩‍🚀']],
    ['O\'Hara "the" Great', ["o'h", '"the"', 'a "t', "'hara"]],
    ['100%_of*all', ['0%_', '%_o', '_of*a', 'f*a']],
    ['a AND b OR NOT c', ['AND', 'or not', 'b OR NOT c']],
    ['name:x ^y -z (w) {v}', ['name:', '^y -z', '(w)', '{v}', '-z (']],
    ['\\back\\slash', ['\\ba', 'k\\s']],
  ])('%s is found by any three of its characters', async (name, searches) => {
    const { id } = await city.person({ name: name.normalize('NFC') })
    for (const q of searches) expect([q, await find(q)]).toEqual([q, [id]])
  })

  test('Wildcards of other languages are plain characters here', async () => {
    for (const q of [
      '%%%',
      '___',
      '***',
      '""""',
      "'''",
      'a*z',
      'zo_ m',
      'NEAR(ada)',
      'email_normalized',
      '---',
      'abc"def',
    ])
      expect([q, await find(q)]).toEqual([q, []])
  })

  test('A search needs three to a hundred characters', async () => {
    const name = '🌲'.repeat(50) + 'x'.repeat(50)
    const { id } = await city.person({ name })
    expect(await find(name)).toEqual([id])
    expect(await find(`  ${name.slice(-3)} `)).toEqual([id])
    for (const q of ['', 'xx', '🌲🌲', '  x  ', `${name}x`, 'a\0bc', 'a\nbc', '\u001b[31mred'])
      expect([q, (await city.list({ q })).status]).toEqual([q, 422])
  })

  test('It also finds addresses, within a role and a status, in order of creation', async () => {
    const make = (n: number, role: (typeof ROLES)[number], status: 'active' | 'disabled') =>
      city.person({ role, status, email: `findme-${n}@search.test` })
    const people = []
    for (let n = 0; n < 12; n++) people.push(await make(n, ROLES[n % 3]!, n % 2 ? 'disabled' : 'active'))
    expect(ids(await city.all({ q: 'FINDME-', limit: 5, sort: 'created_at' }))).toEqual(ids(people))
    expect(ids(await city.all({ q: 'findme-', limit: 5 }))).toEqual(ids(people).reverse())
    const managers = people.filter((_, n) => n % 3 === 1)
    expect(await find('findme', { role: 'manager', sort: 'created_at' })).toEqual(ids(managers))
    const disabled = people.filter((_, n) => n % 3 === 1 && n % 2)
    expect(await find('findme', { role: 'manager', status: 'disabled', sort: 'created_at' })).toEqual(
      ids(disabled),
    )
    const { body } = await city.list({ q: 'findme', page: '2', limit: '5' })
    expect([body.data.length, body.pagination.total, body.pagination.pages]).toEqual([5, null, undefined])
  })

  test('It follows every change of a person', async () => {
    const { id, email } = await city.person({ name: 'Before Change' })
    await city.manage('PATCH', `/${id}`, { name: 'After Change' })
    expect([await find('Before'), await find('After')]).toEqual([[], [id]])
    await city.manage('PATCH', `/${id}`, { email: 'moved-house@people.test' })
    expect([await find(email), await find('moved-house')]).toEqual([[], [id]])
    await city.api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [id])
    await city.manage('PATCH', `/${id}`, { role: 'manager' })
    expect([await find('After', { role: 'user' }), await find('After', { role: 'manager' })]).toEqual([
      [],
      [id],
    ])
    await city.manage('POST', `/${id}/disable`, { reason: 'left' })
    expect([await find('After', { status: 'active' }), await find('After')]).toEqual([[], [id]])
    await city.manage('DELETE', `/${id}`)
    expect([await find('After'), await find('After', { status: 'deleted' })]).toEqual([[], [id]])
    await city.manage('POST', `/${id}/restore`)
    expect(await find('After')).toEqual([id])
    await city.manage('DELETE', `/${id}?hard=true`)
    expect([await find('After'), await find('After', { status: 'deleted' })]).toEqual([[], []])
    await city.api.sql("INSERT INTO users_fts(users_fts, rank) VALUES ('integrity-check', 1)")
  })

  test('An address in an international domain is found by its letters', async () => {
    const { id } = await city.person({ email: 'zed-of-bücher@bücher.example', name: 'Zed' })
    for (const q of ['bücher', 'BÜCHER.example', 'zed-of-bücher@bücher', 'xn--bcher', 'zed-of-b'])
      expect([q, await find(q)]).toEqual([q, [id]])
  })

  test('IV4: any text is found where it occurs, and never breaks the search', async () => {
    const { id } = await city.person({ name: 'changes' })
    const line = fc
      .string({ unit: 'binary', minLength: 3, maxLength: 60 })
      .map((text) => text.trim().normalize('NFC'))
      .filter((text) => text.isWellFormed() && !/\p{Cc}/u.test(text) && [...text].length >= 3)
    await fc.assert(
      fc.asyncProperty(line, async (name) => {
        await city.api.sql('UPDATE users SET name = ? WHERE id = ?', [name, id])
        expect(await find([...name].slice(0, 100).join(''))).toContain(id)
      }),
      { numRuns: rounds(50, 2_000) },
    )
  })
})

describe('While people come and go', () => {
  test('AZ8: pages by cursor return everybody who stays exactly once, whatever the sort', async () => {
    const city = await openCity()
    const staying = []
    for (let i = 0; i < 24; i++) staying.push(await city.person({ name: i % 2 ? 'Same' : `Name ${i % 5}` }))
    for (const sort of SORTS) {
      let coming = 0
      const seen = await city.all({ sort, limit: 5 }, async () => {
        coming++
        const going = await city.person({ name: 'A first', email: `a${coming}${sort}@people.test` })
        await city.person({ name: 'Same', email: `m${coming}${sort}@people.test` })
        await city.person({ name: 'Z last', email: `z${coming}${sort}@people.test` })
        await city.api.sql('DELETE FROM users WHERE id = ?', [going.id])
        // The row that the cursor points to may be one of those deleted.
        await city.api.sql("DELETE FROM users WHERE name = 'Same' AND email LIKE 'm%' AND random() % 2")
        if (coming > 30) throw new Error('The list never ends.')
      })
      expect(new Set(ids(seen)).size).toBe(seen.length)
      expect(ids(seen)).toEqual(expect.arrayContaining(ids(staying)))
      await city.api.sql("DELETE FROM users WHERE email LIKE 'm%' OR email LIKE 'z%'")
    }
  })

  test('AZ8, HX11: nobody can take a name after which a list by name cannot be continued', async () => {
    const city = await openCity()
    // Of the first, a letter becomes eighteen; the key of the second is the longest that there is.
    for (const name of ['\ufdfa'.repeat(30), `a${'\u3316'.repeat(99)}`])
      for (let n = 0; n < 2; n++) {
        const { token } = await city.api.quickActor({ password_hash: null })
        const renamed = await city.api.send('PATCH', '/v1/users/me', { token, body: { name } })
        expect(renamed.status).toBe(200)
      }
    for (const sort of ['name', '-name']) {
      const people = await city.all({ sort, limit: 1 })
      expect(people).toHaveLength((await city.list({ limit: 1 })).body.pagination.total!)
      let page = await city.list({ sort, limit: 1, page: people.length })
      let turned = 1
      for (; page.body.pagination.prev_cursor; turned++) {
        page = await city.list({ sort, limit: 1, cursor: page.body.pagination.prev_cursor })
        expect(page.status).toBe(200)
      }
      expect(turned).toBe(people.length)
    }
  })

  test('A cursor whose person is gone still continues where they were', async () => {
    const city = await openCity()
    for (let i = 0; i < 6; i++) await city.person({ name: 'Same' })
    const before = await city.all({ sort: 'name' })
    const first = await city.list({ sort: 'name', limit: 3 })
    await city.manage('DELETE', `/${first.body.data[2]!.id}?hard=true`)
    const second = await city.list({ sort: 'name', limit: 3, cursor: first.body.pagination.next_cursor! })
    expect(ids(second.body.data)).toEqual(ids(before.slice(3, 6)))
  })

  test('Totals are right after every kind of change, and never count rows', async () => {
    const city = await openCity()
    const totals = async () => {
      const kept = await city.api.sql(
        'SELECT role, state, total FROM user_totals WHERE total <> 0 ORDER BY role, state',
      )
      const counted = await city.api.sql(
        'SELECT role, state, count(*) AS total FROM users GROUP BY role, state ORDER BY role, state',
      )
      expect(kept).toEqual(counted)
      return (await city.list()).body.pagination.total
    }
    expect(await totals()).toBe(1)
    const body = { email: 'new@people.test', password: PASSWORD, name: 'New' }
    const { body: made } = await city.manage('POST', '', body)
    expect(await totals()).toBe(2)
    expect((await city.manage('POST', '', body)).status).toBe(409)
    expect(await totals()).toBe(2)
    await city.api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [made.id as string])
    const steps: [string, string, unknown, number][] = [
      ['PATCH', `/${made.id}`, { role: 'manager' }, 2],
      ['PATCH', `/${made.id}`, { name: 'Newer' }, 2],
      ['POST', `/${made.id}/disable`, { reason: 'left' }, 2],
      ['POST', `/${made.id}/enable`, undefined, 2],
      ['DELETE', `/${made.id}`, undefined, 1],
      ['DELETE', `/${made.id}`, undefined, 1],
      ['POST', `/${made.id}/restore`, undefined, 2],
      ['POST', `/${made.id}/disable`, { reason: 'left' }, 2],
      ['DELETE', `/${made.id}`, undefined, 1],
      ['DELETE', `/${made.id}?hard=true`, undefined, 1],
    ]
    for (const [method, path, change, total] of steps) {
      expect((await city.manage(method, path, change)).status).toBeLessThan(300)
      expect([method, path, await totals()]).toEqual([method, path, total])
    }
  })
})

describe('The list by when somebody was made', () => {
  let city: Awaited<ReturnType<typeof openCity>>
  beforeAll(async () => {
    city = await openCity()
  })
  const DAY_MS = 86_400_000
  const at = (ms: number) => new Date(ms).toISOString()

  test('has those from one time to another, in either order and page by page', async () => {
    const began = Date.UTC(2031, 4, 1)
    const made = [0, 1, 2, 3].map((day) => ({
      id: `${firstIdAt(began + day * DAY_MS).slice(0, 24)}${crypto.randomUUID().slice(24)}`,
      created_at: began + day * DAY_MS,
    }))
    for (const row of made) await city.person(row)
    const [, first, second] = made.map(({ id }) => id)
    const range = { created_from: at(began + DAY_MS), created_to: at(began + 3 * DAY_MS) }
    const pageOf = async (query: Record<string, string | number>) => {
      const { body } = await city.list({ ...range, ...query })
      return { ids: body.data.map(({ id }) => id), ...body.pagination }
    }
    expect(await pageOf({ sort: 'created_at' })).toMatchObject({ ids: [first, second], total: null })
    const page = await pageOf({ limit: 1 })
    expect(page.ids).toEqual([second])
    const next = await pageOf({ limit: 1, cursor: page.next_cursor! })
    expect([next.ids, next.next_cursor]).toEqual([[first], null])
    expect((await pageOf({ limit: 1, cursor: next.prev_cursor! })).ids).toEqual([second])
  })

  test.each([
    [{ sort: 'name' }, 'created_from'],
    [{ sort: '-email' }, 'created_to'],
    [{ q: 'made' }, 'created_from'],
  ])('only works in order of creation: %s is 422', async (query, name) => {
    const refused = await city.list({ ...(query as object), [name]: at(0) })
    expect([refused.status, refused.body]).toMatchObject([422, { errors: [{ pointer: `/${name}` }] }])
  })
})

describe('A list has filters with an index of their own', () => {
  type Managed = Person & { locked: string | null; second_factor: string; needs_reset: boolean }
  let city: City
  /** In the order in which they were made; the administrator comes before them. */
  let everybody: Managed[]

  beforeAll(async () => {
    city = await openCity()
    for (let i = 0; i < 24; i++) {
      const { id } = await city.person({
        role: ROLES[i % 3]!,
        status: i % 5 ? 'active' : 'disabled',
        email_verified_at: i % 2 ? 1 : null,
        failed_logins: i % 4 === 1 ? 100 : 0,
        failed_factors: i % 3 === 1 ? 100 : 99,
        needs_reset: i % 3 === 2 ? 1 : 0,
      })
      if (i % 8 > 5)
        await city.api.sql(
          "INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at) VALUES (?, 's', 'k', 1, 1)",
          [id],
        )
      if (i % 8 === 0 || i % 8 === 7) await city.api.sql(passkeyOf(id))
    }
    everybody = (await city.all({ sort: 'created_at', limit: 100 })) as Managed[]
  })
  const passkeyOf = (
    id: string,
  ) => `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count,
    transports, aaguid, may_be_synced, is_synced, name, created_at)
    VALUES ('${crypto.randomUUID()}', '${id}', '${crypto.randomUUID()}', 'x', '{}', 0, '[]', '', 0, 0, 'x', 1)`
  const isOf: Record<string, (user: Managed & { email_verified?: boolean }) => boolean> = {
    'locked=true': ({ locked }) => locked !== null,
    'needs_reset=true': ({ needs_reset }) => needs_reset,
    'email_verified=true': (user) => user.email_verified === true,
    'email_verified=false': (user) => user.email_verified === false,
    'second_factor=none&role=manager': ({ second_factor, role }) =>
      second_factor === 'none' && role === 'manager',
    'second_factor=none&role=admin': ({ second_factor, role }) =>
      second_factor === 'none' && role === 'admin',
  }

  test.each(Object.keys(isOf))('%s: in either order, page by page, forwards and back', async (narrowed) => {
    const query = Object.fromEntries(new URLSearchParams(narrowed))
    const wanted = everybody.filter(isOf[narrowed]!)
    expect(wanted.length).toBeGreaterThan(3)
    expect(wanted.length).toBeLessThan(everybody.length)
    expect(ids(await city.all({ ...query, sort: 'created_at', limit: 2 }))).toEqual(ids(wanted))
    expect(ids(await city.all({ ...query, limit: 3 }))).toEqual(ids(wanted).reverse())
    const second = await city.list({ ...query, sort: 'created_at', limit: 2, page: 2 })
    expect(ids(second.body.data)).toEqual(ids(wanted.slice(2, 4)))
    expect(second.body.pagination.total).toBeNull()
    const back = await city.list({
      ...query,
      sort: 'created_at',
      limit: 2,
      cursor: second.body.pagination.prev_cursor!,
    })
    expect(ids(back.body.data)).toEqual(ids(wanted.slice(0, 2)))
    const disabled = wanted.filter(({ status }) => status === 'disabled')
    expect(ids(await city.all({ ...query, sort: 'created_at', status: 'disabled' }))).toEqual(ids(disabled))
    // With an address, only one person is looked at.
    const [one] = wanted
    expect(ids(await city.all({ ...query, email: one!.email }))).toEqual([one!.id])
  })

  test('Filters that cannot be combined are a 422 that names the field', async () => {
    const refused: [query: Record<string, string>, pointer: string][] = [
      [{ locked: 'true', email_verified: 'true' }, '/locked'],
      [{ needs_reset: 'true', locked: 'true' }, '/needs_reset'],
      [{ needs_reset: 'false' }, '/needs_reset'],
      [{ email_verified: 'false', second_factor: 'none', role: 'admin' }, '/second_factor'],
      [{ email_verified: 'true', sort: 'name' }, '/email_verified'],
      [{ email_verified: 'true', q: 'people' }, '/email_verified'],
      [{ second_factor: 'none' }, '/second_factor'],
      [{ second_factor: 'none', role: 'user' }, '/second_factor'],
      [{ second_factor: 'totp', role: 'admin' }, '/second_factor'],
      [{ email_verified: 'maybe' }, '/email_verified'],
    ]
    for (const [query, pointer] of refused) {
      const { status, body } = await city.list(query)
      expect([query, status, body]).toMatchObject([query, 422, { errors: [{ pointer }] }])
      const file = await city.manage('GET', `/export?${new URLSearchParams(query)}`)
      expect([query, file.status]).toEqual([query, 422])
    }
  })

  test('Those who manage see what factors somebody has, and what is locked', async () => {
    const [first] = everybody.filter(({ role }) => role === 'user')
    const seen = async () => {
      const { body } = await city.manage('GET', `/${first!.id}`)
      return body.second_factor
    }
    expect(new Set(everybody.map(({ second_factor }) => second_factor))).toEqual(
      new Set(['none', 'totp', 'passkey', 'both']),
    )
    expect(new Set(everybody.map(({ locked }) => locked))).toEqual(
      new Set([null, 'password', 'totp', 'both']),
    )
    await city.api.sql('DELETE FROM passkeys WHERE user_id = ?', [first!.id])
    expect(await seen()).toBe('none')
    // A seed that no code has confirmed is not a factor.
    await city.api.sql("INSERT INTO factors (user_id, seed, key_id, created_at) VALUES (?, 's', 'k', 1)", [
      first!.id,
    ])
    expect(await seen()).toBe('none')
    await city.api.sql('UPDATE factors SET confirmed_at = 1 WHERE user_id = ?', [first!.id])
    expect(await seen()).toBe('totp')
    for (let i = 0; i < 2; i++) await city.api.sql(passkeyOf(first!.id))
    expect(await seen()).toBe('both')
    await city.api.sql('DELETE FROM factors WHERE user_id = ?', [first!.id])
    await city.api.sql('DELETE FROM passkeys WHERE id = (SELECT min(id) FROM passkeys WHERE user_id = ?)', [
      first!.id,
    ])
    expect(await seen()).toBe('passkey')
    await city.api.sql('DELETE FROM passkeys WHERE user_id = ?', [first!.id])
    expect(await seen()).toBe('none')
  })
})
