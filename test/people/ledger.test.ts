import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { afterEach, beforeAll, beforeEach, describe, expect, vi } from 'vitest'
import { readLedger, updateLedger } from '../../src/activity/ledger.ts'
import type { ImportResult } from '../../src/bulk/import/schemas.ts'
import { SCHEDULE } from '../../src/cleanup/schedule.ts'
import { openForCron } from '../../src/context.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/values/durations.ts'
import { firstIdAt } from '../../src/values/ids.ts'
import { type Actor, type Api, openApi, PASSWORD } from '../support/api.ts'
import { addTotp } from '../support/factors.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor
beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})
afterEach(() => {
  vi.useRealTimers()
  return own.behave('redis', { mode: 'pass' })
})

const cron = async () => {
  const context = createExecutionContext()
  const done = await SCHEDULE['* * * * *']!.work(openForCron(api.bindings, context))
  await waitOnExecutionContext(context)
  return done as { ledger?: { told: number } }
}
const cleanUp = async (bindings = api.bindings) => {
  const context = createExecutionContext()
  await SCHEDULE['*/15 * * * *']!.work(openForCron(bindings, context))
  await waitOnExecutionContext(context)
}
const erase = (id: string) => api.send('DELETE', `/v1/users/${id}?hard=true`, { token: admin.token })
const owed = async () => (await api.sql('SELECT * FROM ledger_owed')).length
const send = (lines: object[], query = '') =>
  api.send<ImportResult & { code?: string }>('POST', `/v1/users/import${query}`, {
    token: admin.token,
    raw: lines.map((line) => JSON.stringify(line)).join('\n'),
    headers: { 'content-type': 'application/x-ndjson' },
  })
/** Of each line; if the whole import was refused, its status and code. */
const codes = ({ status, body }: Awaited<ReturnType<typeof send>>) =>
  status === 200
    ? body.data.map((line) => line.errors?.map(({ code }) => code).join() ?? line.status)
    : [`${status} ${body.code}`]
/** Unused, also by an earlier attempt. */
const fresh = () => `${crypto.randomUUID()}@old.test`
const entries = async () => (await readLedger(openForCron(api.bindings, createExecutionContext())))!
const entriesOf = async (id: string) =>
  (await entries())
    .filter(({ userId }) => userId === id)
    .map(({ action, kind }) => `${action} ${kind}`.trim())

describe('Whoever was erased', () => {
  testOfRedis(
    'is in the ledger before the answer, found by address and external id, but with neither in plain text',
    async () => {
      const before = (await api.redis('KEYS', '*erased:*')) as string[]
      const external_id = crypto.randomUUID()
      const ada = await api.person({ external_id, email_verified_at: 1 })
      const eve = await api.person({ external_id: null })
      expect((await erase(ada.id)).status).toBe(204)
      const answer = await send([
        { email: ada.email.toUpperCase() },
        { email: fresh(), external_id },
        { email: fresh() },
        { email: eve.email },
      ])
      expect(codes(answer)).toEqual(['erased', 'erased', 'created', 'exists'])
      const keys = ((await api.redis('KEYS', '*erased:*')) as string[]).filter((key) => !before.includes(key))
      expect(keys).toHaveLength(3)
      expect(keys.join()).not.toMatch(new RegExp(`${ada.id}|${ada.email}|${external_id}`))
      const days = Number(await api.redis('PTTL', keys[0]!)) / 86_400_000
      expect(days).toBeGreaterThan(29.9)
      expect(days).toBeLessThanOrEqual(30)
      await cron()
      expect(await owed()).toBe(0)
      expect(codes(await send([{ email: ada.email }], '?dry_run=true'))).toEqual(['erased'])
      expect(codes(await send([{ email: ada.email }], '?include_erased=true'))).toEqual(['created'])
    },
  )

  testOfRedis(
    'only comes back through the import page if its box is ticked when the lines are checked',
    async () => {
      const ada = await api.person({ email: `${crypto.randomUUID()}@old.test`, email_verified_at: 1 })
      expect((await erase(ada.id)).status).toBe(204)
      const browser = await openBrowser(api, admin)
      const lines = `email\n${ada.email}`
      const post = (fields: object) => browser('POST', '/admin/people/import', { lines, ...fields })
      const checkedIn = (text: string) => /name="checked" value="([^"]+)"/.exec(text)?.[1] ?? ''
      const refused = await post({ act: 'check' })
      expect(refused.text).toContain('Tick the box to import them all the same')
      expect(checkedIn(refused.text)).toBe('')
      const looked = await post({ act: 'check', include_erased: 'on' })
      expect(looked.text).toMatch(/name="include_erased"[^>]*checked/)
      const checked = checkedIn(looked.text)
      // Lines that were checked with it are not imported without it.
      expect((await post({ act: 'import', checked })).text).toContain('1 refused')
      expect((await post({ act: 'import', checked, include_erased: 'on' })).text).toContain(
        '1 person imported',
      )
      expect(await api.sql('SELECT 1 FROM users WHERE email = ?', [ada.email])).toHaveLength(1)
    },
  )

  testOfRedis(
    'is recorded as owed while Redis is unavailable: imports respect that, and cron tells Redis once it is back',
    async () => {
      const ada = await api.person()
      await own.behave('redis', { mode: 'down' })
      expect((await erase(ada.id)).status).toBe(204)
      expect(codes(await send([{ email: ada.email }]))).toEqual(['503 ledger_unavailable'])
      expect(codes(await send([{ email: fresh() }], '?include_erased=true'))).toEqual(['created'])
      await cron()
      expect(await owed()).toBeGreaterThan(0)
      await own.behave('redis', { mode: 'pass' })
      // As many failures as make us stop asking Redis for a while.
      await new Promise((resolve) => setTimeout(resolve, 5500))
      expect(codes(await send([{ email: ada.email }]))).toEqual(['erased'])
      await cron()
      expect(await owed()).toBe(0)
      expect(codes(await send([{ email: ada.email }]))).toEqual(['erased'])
    },
  )

  testOfRedis('does not block other lines of the same list', async () => {
    const [external_id, another] = [crypto.randomUUID(), crypto.randomUUID()]
    const ada = await api.person({ external_id, email_verified_at: 1 })
    expect((await erase(ada.id)).status).toBe(204)
    const email = fresh()
    const answer = await send([
      { email: ada.email, external_id: another },
      { email: ada.email },
      { email, external_id },
      { email, external_id: another },
      { email: fresh(), external_id: another },
    ])
    expect(codes(answer)).toEqual(['erased', 'erased', 'erased', 'created', 'conflict'])
  })

  testOfRedis('by expiry is owed as well, by an address that they had proved', async () => {
    const ada = await api.person({ deleted_at: 1, email_verified_at: 1, external_id: crypto.randomUUID() })
    const unproved = { email_verified_at: null, external_id: crypto.randomUUID() }
    const left = await api.person({ ...unproved, deleted_at: 1 })
    const squatter = await api.person({ updated_at: 1, email_verified_at: null })
    const erasedByHand = await api.person({ email_verified_at: null })
    await cleanUp()
    expect((await erase(erasedByHand.id)).status).toBe(204)
    for (const { id } of [ada, left, squatter])
      expect(await api.sql('SELECT id FROM users WHERE id = ?', [id])).toEqual([])
    for (const isTold of [false, true]) {
      if (isTold) await cron()
      const answer = await send(
        [
          { email: ada.email },
          { email: fresh(), external_id: unproved.external_id },
          { email: left.email },
          { email: squatter.email },
          { email: erasedByHand.email },
        ],
        '?dry_run=true',
      )
      expect(codes(answer)).toEqual(['erased', 'erased', 'created', 'created', 'erased'])
    }
  })

  testOfRedis('is not recorded or looked up if no backups are kept', async () => {
    const without = openApi({ ...own.bindings, BACKUPS_KEPT_DAYS: '0' })
    const ada = await api.person()
    const path = `/v1/users/${ada.id}?hard=true`
    expect((await without.send('DELETE', path, { token: admin.token })).status).toBe(204)
    expect(await owed()).toBe(0)
    await own.behave('redis', { mode: 'down' })
    const answer = await without.send<ImportResult>('POST', '/v1/users/import', {
      token: admin.token,
      raw: JSON.stringify({ email: ada.email }),
      headers: { 'content-type': 'application/x-ndjson' },
    })
    expect(answer.body.data[0]).toMatchObject({ status: 'created' })
  })
})

testOfRedis(
  'What makes an account safer is in the ledger within a minute, by id and time; the rest is left out',
  async () => {
    const ada = await api.actor({ role: 'manager', email_verified_at: 1 })
    const eve = await api.actor({ email_verified_at: 1 })
    const change = { current_password: PASSWORD, new_password: 'nine green bears run' }
    await api.send('POST', '/v1/auth/change_password', { token: eve.token, body: change })
    await addTotp(api, eve)
    const patch = (role: string) =>
      api.send('PATCH', `/v1/users/${ada.id}`, { token: admin.token, body: { role } })
    expect((await patch('admin')).status).toBe(200)
    expect((await patch('user')).status).toBe(200)
    await api.send('POST', `/v1/users/${ada.id}/disable`, { token: admin.token, body: { reason: 'left' } })
    await cron()
    expect(await entriesOf(eve.id)).toContain('password.changed')
    expect(await entriesOf(ada.id)).toEqual(['user.role_changed', 'user.disabled'])
    const all = await entries()
    // Reported again it repeats nothing; after Redis was emptied, everything in the history is reported.
    await cron()
    expect(await entries()).toEqual(all)
    await api.redis('FLUSHALL')
    await cron()
    expect(await entries()).toEqual(all)
  },
)

describe('The history continues to be read', () => {
  beforeEach(async () => {
    own = await freshUpstreams()
    api = openApi(own.bindings)
  })
  const someone = () => crypto.randomUUID()
  /** This many rows within one millisecond. */
  const happen = (atMs: number, userId: string, action = 'user.disabled', details: object = {}, count = 1) =>
    api.sql(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO user_activity_logs (id, user_id, action, details) SELECT ? || printf('%012x', i + ?), ?, ?, ? FROM n`,
      [
        count,
        firstIdAt(atMs).slice(0, 24),
        Math.floor(Math.random() * 2 ** 40),
        userId,
        action,
        JSON.stringify(details),
      ],
    )
  const logged = async (action: () => Promise<unknown>) => {
    const info = vi.spyOn(console, 'info')
    await action()
    const lines = info.mock.calls.map(([line]) => JSON.parse(String(line)) as Record<string, unknown>)
    info.mockRestore()
    return lines.flatMap(({ code, entries }) => (code === 'ledger' ? (entries as string[]) : []))
  }

  testOfRedis.for(['user.disabled', 'user.purged'])(
    'after 11000 rows of %s, reported or not, however fast they came',
    async (action) => {
      const ada = someone()
      const before = Date.now() - HOUR_MS
      await happen(before, someone(), action, {}, 11_000)
      await happen(before + 1, ada)
      for (let runs = 0; runs < 3; runs++) await cron()
      expect(await entriesOf(ada)).toEqual(['user.disabled'])
    },
  )

  testOfRedis.for(['null', '', '[1', '"x"', '{"role":null}', '{"role":"x"}'])(
    'after a row with foreign details: %j',
    async (details) => {
      const [ada, eve] = [someone(), someone()]
      await api.sql(
        "INSERT INTO user_activity_logs (id, user_id, action, details) VALUES (?, ?, 'user.role_changed', ?)",
        [firstIdAt(Date.now()), ada, details],
      )
      await happen(Date.now() + 1, eve)
      await cron()
      expect(await entriesOf(ada)).toEqual(['user.role_changed'])
      expect(await entriesOf(eve)).toEqual(['user.disabled'])
    },
  )

  testOfRedis('after rows of other programs, wherever they sort', async () => {
    const [ada, eve, dora] = [someone(), someone(), someone()]
    const own = () => firstIdAt(Date.now())
    for (const [id, userId, details] of [
      ['x', ada],
      ['0', ada],
      ['', ada],
      [`${own().slice(0, 13)} 7`, ada],
      ['019zzzzz-zzzz-7000-8000-000000000000', ada],
      ['--------------7000-8000-000000000000', ada],
      [`${own()} `, ada],
      [own(), `${ada} ${ada}`],
      [firstIdAt(Date.now() + 1), eve, { kind: 'a passkey', id: 'a b' }],
      [firstIdAt(Date.now() + 2), eve, { kind: {}, id: 7 }],
    ] as const)
      await api.sql(
        "INSERT INTO user_activity_logs (id, user_id, action, details) VALUES (?, ?, 'factor.removed', ?)",
        [id, userId, JSON.stringify(details ?? null)],
      )
    expect(await logged(cron)).toHaveLength(2)
    await happen(Date.now(), dora)
    expect(await logged(cron)).toEqual([expect.stringContaining(dora)])
    const told = (await entries()).map(({ id, ...entry }) => entry)
    expect(told).toHaveLength(3)
    const removed = { userId: eve, action: 'factor.removed', kind: '', about: '' }
    expect(told.filter(({ userId }) => userId === eve)).toEqual([removed, removed])
    expect(told.map(({ userId }) => userId)).not.toContain(ada)
  })

  testOfRedis('after a row whose details are not UTF-8, and so does the list of everybody', async () => {
    const [ada, eve] = [someone(), someone()]
    admin = await api.actor({ role: 'admin', email_verified_at: 1 })
    await api.sql(
      `INSERT INTO user_activity_logs (id, user_id, action, details)
        VALUES (?, ?, 'user.disabled', CAST(x'7b22726561736f6e223a22ff227d' AS TEXT))`,
      [firstIdAt(Date.now()), ada],
    )
    await happen(Date.now() + 1, eve)
    await cron()
    for (const one of [ada, eve]) expect(await entriesOf(one)).toEqual(['user.disabled'])
    const listed = await api.send<{ data: object[] }>('GET', '/v1/activity', { token: admin.token })
    expect(listed.status).toBe(200)
    expect(listed.body.data).toContainEqual(expect.objectContaining({ user_id: ada, details: null }))
    expect(listed.body.data).toContainEqual(expect.objectContaining({ user_id: eve, details: {} }))
  })

  testOfRedis('and only ids are taken from the details, into Redis and into the log', async () => {
    const [ada, id] = [someone(), someone()]
    const long = `https://app.test/${'a'.repeat(2000)}`
    for (const about of [
      'HTTPS://evil.test/x',
      'ada@people.test',
      'x'.repeat(5000),
      long,
      `${id} `,
      id.toUpperCase(),
    ])
      await happen(Date.now(), ada, 'consent.withdrawn', { client_id: about, kind: 'Ada' })
    await happen(Date.now(), ada, 'factor.removed', { id, kind: 'passkey' })
    const lines = await logged(cron)
    expect(lines).toHaveLength(7)
    for (const line of lines)
      expect(line).toMatch(
        /^[\da-f-]{36} [\da-f-]{36} (consent.withdrawn {2}|factor.removed passkey [\da-f-]{36})$/,
      )
    const abouts = (await entries()).map(({ kind, about }) => `${kind} ${about}`)
    expect([...new Set(abouts)].sort()).toEqual([' ', `passkey ${id}`])
  })

  const behind = async () => {
    const warn = vi.spyOn(console, 'warn')
    await cron().catch(() => {})
    const lines = warn.mock.calls.map(([line]) => JSON.parse(String(line)) as Record<string, unknown>)
    warn.mockRestore()
    return lines.filter(({ code }) => code === 'ledger_behind').map(({ minutes }) => minutes)
  }

  testOfRedis('and being an hour behind is reported, but not for a long history at first', async () => {
    const before = Date.now() - 2 * HOUR_MS
    await happen(before, someone(), 'user.disabled', {}, 20_001)
    expect(await behind()).toEqual([])
    expect(await behind()).toEqual([120])
    expect(await behind()).toEqual([])
    // Owed erasures have no time, and after a quiet day the first row is reported at once.
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.setSystemTime(Date.now() + DAY_MS)
    await api.sql(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
        INSERT INTO ledger_owed (digest) SELECT i FROM n`,
    )
    await happen(Date.now(), someone())
    expect(await behind()).toEqual([])
    expect(await owed()).toBe(1)
  })

  testOfRedis('and it is reported if Redis answers, but accepts nothing', async () => {
    await happen(Date.now() - MINUTE_MS, someone())
    await cron()
    const [place] = (await api.redis('KEYS', '*:ledger_place')) as string[]
    await api.redis('DEL', place!)
    // The caller gets none, and for the script it is an error.
    await api.redis('LPUSH', place!, 'x')
    expect(await behind()).toEqual([])
    await happen(Date.now() - 2 * HOUR_MS, someone())
    expect(await behind()).toEqual([120])
  })

  testOfRedis('and if the history cannot be read', async () => {
    await happen(Date.now() - 2 * HOUR_MS, someone())
    const fail = () => own.behave('libsql', { mode: 'status', status: 500, only: 'ledger_owed' })
    await fail()
    // Nothing is known about a ledger that has not begun; during its first pass it counts as behind.
    expect(await behind()).toEqual([])
    await happen(Date.now() - DAY_MS, someone(), 'user.disabled', {}, 1001)
    await own.behave('libsql', { mode: 'status', status: 500, only: 'ledger_owed', after: 1 })
    expect(await behind()).toEqual([])
    await own.behave('libsql', { mode: 'pass' })
    await cron()
    await fail()
    expect(await behind()).toEqual([120])
    await own.behave('libsql', { mode: 'pass' })
    expect(await behind()).toEqual([])
  })

  testOfRedis('after a row from a clock that is ahead', async () => {
    const [ada, eve] = [someone(), someone()]
    await happen(Date.now() + DAY_MS, ada)
    await cron()
    expect(await entriesOf(ada)).toEqual(['user.disabled'])
    await happen(Date.now(), eve)
    await cron()
    expect(await entriesOf(eve)).toEqual(['user.disabled'])
  })

  testOfRedis('and known rows are neither reported nor logged again, but late ones are', async () => {
    const [ada, eve, dora] = [someone(), someone(), someone()]
    const now = Date.now()
    await happen(now, ada)
    expect(await logged(cron)).toEqual([expect.stringContaining(ada)])
    expect(await logged(cron)).toEqual([])
    await happen(now - MINUTE_MS, eve)
    expect(await logged(cron)).toEqual([expect.stringContaining(eve)])
    vi.useFakeTimers({ toFake: ['Date'] })
    for (const minutes of [5, 10]) {
      vi.setSystemTime(now + minutes * MINUTE_MS)
      expect(await logged(cron)).toEqual([])
    }
    await happen(now - 4 * MINUTE_MS, dora)
    vi.setSystemTime(now + 12 * MINUTE_MS)
    expect(await logged(cron)).toEqual([expect.stringContaining(dora)])
    vi.setSystemTime(now + 16 * MINUTE_MS)
    expect(await logged(cron)).toEqual([])
    for (const one of [ada, eve, dora]) expect(await entriesOf(one)).toEqual(['user.disabled'])
  })

  testOfRedis('and what Redis was told is logged, even if its answer was lost', async () => {
    const ada = someone()
    await happen(Date.now(), ada)
    const resources = openForCron(api.bindings, createExecutionContext())
    const { redis } = resources
    const enter: typeof redis.enter = async (...given) => {
      await redis.enter(...given)
      return undefined
    }
    const lines = await logged(() => updateLedger({ ...resources, redis: { ...redis, enter } }))
    expect(lines).toEqual([expect.stringContaining(ada)])
    expect(await entriesOf(ada)).toEqual(['user.disabled'])
    expect(await logged(cron)).toEqual([])
  })

  testOfRedis('and readers of the ledger miss no entry while cron removes old ones', async () => {
    const now = Date.now()
    await happen(now - HOUR_MS, someone(), 'user.disabled', {}, 1500)
    for (let runs = 0; runs < 2; runs++) await cron()
    const resources = openForCron(api.bindings, createExecutionContext())
    const all = (await readLedger(resources))!
    expect(all).toHaveLength(1500)
    expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).sort())
    const { redis } = resources
    const [key] = (await api.redis('KEYS', '*:ledger')) as string[]
    const entered: typeof redis.entered = async (...given) => {
      const page = await redis.entered(...given)
      await api.redis('ZREMRANGEBYRANK', key!, '0', '99')
      return page
    }
    const read = (await readLedger({ ...resources, redis: { ...redis, entered } }))!
    expect(read).toEqual(all.slice(100))
  })

  testOfRedis('from the beginning, if Redis is emptied between its steps', async () => {
    const [ada, eve] = [someone(), someone()]
    await happen(Date.now() - HOUR_MS, ada)
    await cron()
    await happen(Date.now(), eve)
    const resources = openForCron(api.bindings, createExecutionContext())
    const { redis } = resources
    await updateLedger({
      ...resources,
      redis: {
        ...redis,
        enter: async (...given) => {
          await api.redis('FLUSHALL')
          return redis.enter(...given)
        },
      },
    })
    await cron()
    expect(await entriesOf(ada)).toEqual(['user.disabled'])
    expect(await entriesOf(eve)).toEqual(['user.disabled'])
  })

  testOfRedis('and a withdrawn consent names the app', async () => {
    const ada = someone()
    const [near, far] = [someone(), 'https://app.test/client.json']
    for (const client_id of [near, far])
      await happen(Date.now(), ada, 'consent.withdrawn', { client_id, scopes: [] })
    const lines = await logged(cron)
    const abouts = (await entries()).filter(({ userId }) => userId === ada).map(({ about }) => about)
    expect(abouts.sort()).toEqual([near, far].sort())
    // Somebody chose the words in a URL.
    expect(lines.join('\n')).toContain(near)
    expect(lines.join('\n')).not.toContain('https:')
  })

  testOfRedis('as long as backups are kept, and no longer', async () => {
    const ada = someone()
    await happen(Date.now(), ada)
    await cron()
    const key = (await api.redis('KEYS', '*:ledger')) as string[]
    expect(Number(await api.redis('PTTL', key[0]!)) / DAY_MS).toBeCloseTo(30, 1)
    const old = Date.now() - 31 * DAY_MS
    await api.redis('ZADD', key[0]!, String(old), `${firstIdAt(old)} ${ada} user.deleted  `)
    expect(await entriesOf(ada)).toEqual(['user.disabled'])
    await api.sql("INSERT INTO ledger_owed (digest) VALUES ('x')")
    await cleanUp()
    expect(await owed()).toBe(1)
    await cleanUp({ ...api.bindings, BACKUPS_KEPT_DAYS: '0' })
    expect(await owed()).toBe(0)
  })
})
