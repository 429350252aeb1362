import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import fc from 'fast-check'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { ACTIONS } from '../src/activity/models.ts'
import { SCHEDULE } from '../src/cleanup/schedule.ts'
import { cleanUp } from '../src/cleanup/service.ts'
import { openForCron, type Resources } from '../src/context.ts'
import type { Database } from '../src/database/main.ts'
import worker from '../src/index.ts'
import { firstIdAt, toTime } from '../src/values/ids.ts'
import { type Actor, type Api, openApi } from './support/api.ts'
import { rounds } from './support/rounds.ts'
import { freshUpstreams } from './support/upstreams.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const DAY_MS = 1440 * MINUTE_MS
/** Long enough for any lease to have expired. */
const LATER_MS = 5 * MINUTE_MS

let api: Api
let admin: Actor

beforeAll(async () => {
  // Sealing has its own tests (seals.test.ts): only the other tasks are counted here.
  api = openApi({ ...(await freshUpstreams()).bindings, HISTORY_KEY: '' })
  admin = await api.actor({ role: 'admin' })
})
/** What one test leaves could become due in the next. */
beforeEach(async () => {
  for (const table of ['cleanup_runs', 'idempotency_keys', 'throttles']) await api.sql(`DELETE FROM ${table}`)
  await api.sql("DELETE FROM sessions WHERE user_agent LIKE 'mark-%'")
  await api.sql("DELETE FROM users WHERE email LIKE 'mark-%'")
})

/** One run, at a time that may differ from now, with a database that may be faulty. */
async function run(aheadMs = 0, misbehave: (db: Database) => Partial<Database> = () => ({})): Promise<void> {
  const context = createExecutionContext()
  const resources: Resources = openForCron(api.bindings, context)
  const db = { ...resources.db, ...misbehave(resources.db) }
  await cleanUp({ ...resources, db, now: resources.now + aheadMs })
}
const runs = () => api.sql('SELECT finished_at, counts, failed FROM cleanup_runs ORDER BY id')
const removed = async () => (await runs()).map(({ counts }) => JSON.parse(counts as string))
const count = async (table: string, where = '1') =>
  Number((await api.sql(`SELECT count(*) AS n FROM ${table} WHERE ${where}`))[0]!.n)

/** Inserts a row of each kind with the time `at`; `mark` finds it again. */
const KINDS = {
  users: (mark: string, at: number) =>
    api.person({ password_hash: null, email: `${mark}@clean.test`, deleted_at: at }).then(() => {}),
  sessions_expired: (mark: string, at: number) => addSession(mark, { expires_at: at }),
  idempotency_keys: (mark: string, at: number) =>
    api.sql(
      `INSERT INTO idempotency_keys (principal, route, key, body_hash, status, response, subject_id, created_at)
        VALUES ('p', 'r', ?, 'hash', 201, '{}', 's', ?)`,
      [mark, at],
    ),
  throttles: (mark: string, at: number) =>
    api.sql('INSERT INTO throttles (key, attempts, blocked_until, expires_at) VALUES (?, 1, 0, ?)', [
      mark,
      at,
    ]),
  one_time_tokens: (mark: string, at: number) =>
    api.sql(
      `INSERT INTO one_time_tokens (id, purpose, subject_id, email, email_normalized, code_tries, created_at, expires_at)
        VALUES (?, 'verify_email', 's', ?, 'e', 0, 0, ?)`,
      [idAt(at), mark, at + DAY_MS],
    ),
  api_keys: (mark: string, at: number) =>
    api.sql(
      `INSERT INTO api_keys (id, user_id, name, permissions, secret_hash, session_id, amr, created_at, rotated_at, expires_at)
        VALUES (?, 'u', 'n', '[]', 'x', 's', '[]', 0, 0, ?)`,
      [mark, at],
    ),
  invitations: (mark: string, at: number) =>
    api.sql(
      `INSERT INTO invitations (id, email, email_normalized, role, invited_by, created_at, expires_at)
        VALUES (?, 'e', 'e', 'user', 'a', 0, ?)`,
      [mark, at],
    ),
  mails: (mark: string, at: number) =>
    api.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at, sent_at)
        VALUES (?, 'verify_email', ?, 'e', ?, 0, 0, 0, 1)`,
      [idAt(at), mark, at],
    ),
  webhook_deliveries: async (mark: string, at: number) => {
    await api.sql(
      `INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version)
        VALUES ('kept', 'https://a.example', '[]', 's', 0, 0, 0) ON CONFLICT DO NOTHING`,
    )
    // The newest always stays, so each is inserted before the existing ones.
    await addDelivery('newest', Date.now(), 1_000_000)
    await addDelivery(mark, at, '(SELECT min(id) - 1 FROM webhook_deliveries)')
  },
  activity_noise: (mark: string, at: number) => addHistory(mark, at, 'login.failed'),
  activity_security: (mark: string, at: number) => addHistory(mark, at, 'user.updated'),
} satisfies Record<string, (mark: string, at: number) => Promise<unknown>>
type Kind = keyof typeof KINDS

/** How long each kind is kept after its time. */
const KEPT_MS: Record<Kind, number> = {
  users: 30 * DAY_MS,
  sessions_expired: DAY_MS,
  idempotency_keys: DAY_MS,
  throttles: 0,
  one_time_tokens: 10 * DAY_MS + 20 * MINUTE_MS,
  api_keys: 30 * DAY_MS,
  invitations: 30 * DAY_MS,
  mails: 14 * DAY_MS,
  webhook_deliveries: 33 * DAY_MS,
  activity_noise: 90 * DAY_MS,
  activity_security: 400 * DAY_MS,
}
const PLACES: Record<Kind, string> = {
  users: "SELECT replace(email, '@clean.test', '') AS mark FROM users WHERE email LIKE '%@clean.test'",
  sessions_expired: 'SELECT user_agent AS mark FROM sessions WHERE user_agent IS NOT NULL',
  idempotency_keys: 'SELECT key AS mark FROM idempotency_keys',
  throttles: "SELECT key AS mark FROM throttles WHERE key LIKE 'mark%'",
  one_time_tokens: 'SELECT email AS mark FROM one_time_tokens',
  api_keys: 'SELECT id AS mark FROM api_keys',
  invitations: 'SELECT id AS mark FROM invitations',
  mails: 'SELECT recipient AS mark FROM outbox',
  webhook_deliveries: "SELECT event_id AS mark FROM webhook_deliveries WHERE event_id <> 'newest'",
  activity_noise: "SELECT user_agent AS mark FROM user_activity_logs WHERE action = 'login.failed'",
  activity_security: "SELECT user_agent AS mark FROM user_activity_logs WHERE action = 'user.updated'",
}

let serial = 0
const newMark = () => `mark-${++serial}`
const uuid = () => crypto.randomUUID()
const addSession = (
  mark: string,
  given: { idle_expires_at?: number; expires_at?: number; revoked_at?: number },
) => {
  const far = Date.now() + 20 * DAY_MS
  return api.sql(
    `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at, revoked_at, user_agent, ip)
    VALUES (?, ?, 0, 0, 0, 0, ?, ?, ?, ?, '192.0.2.1')`,
    [uuid(), uuid(), given.idle_expires_at ?? far, given.expires_at ?? far, given.revoked_at ?? null, mark],
  )
}
const idAt = (at: number) => firstIdAt(at).slice(0, 24) + uuid().slice(24)
/** A delivery that succeeded at once. */
const addDelivery = (mark: string, at: number, id: string | number = 'NULL') =>
  api.sql(
    `INSERT INTO webhook_deliveries (id, webhook_id, event_id, type, owed_at, next_attempt_at, delivered_at, is_fixed)
      VALUES (${id}, 'kept', ?1, 'user.updated', ?2, ?2, ?2, 1) ON CONFLICT DO NOTHING`,
    [mark, at],
  )
const addHistory = (mark: string, at: number, action: string) =>
  api.sql(
    "INSERT INTO user_activity_logs (id, user_id, action, user_agent, ip) VALUES (?, ?, ?, ?, '192.0.2.1')",
    [idAt(at), uuid(), action, mark],
  )

test('The cron trigger of the Worker runs clean-up, and the run can be read', async () => {
  const mark = newMark()
  await KINDS.idempotency_keys(mark, Date.now() - 2 * DAY_MS)
  const context = createExecutionContext()
  await worker.scheduled(createScheduledController({ cron: '*/15 * * * *' }), api.bindings, context)
  await waitOnExecutionContext(context)
  const { body } = await api.send('GET', '/v1/cleanup/runs', { token: admin.token })
  expect(body.data).toEqual([
    {
      id: expect.any(Number),
      started_at: expect.any(String),
      finished_at: expect.any(String),
      removed: { idempotency_keys: 1 },
    },
  ])
  const history = await api.send('GET', '/v1/activity?action=cleanup.ran&limit=1', { token: admin.token })
  expect(history.body.data).toEqual([
    expect.objectContaining({
      user_id: null,
      actor_id: null,
      details: { run: expect.any(Number), removed: { idempotency_keys: 1 } },
    }),
  ])
})

test('The numbers of deliveries never go back: the newest one is kept until there is a newer one', async () => {
  const old = Date.now() - 40 * DAY_MS
  await api.sql('DELETE FROM webhook_deliveries')
  const left = async () => (await api.sql('SELECT id, event_id FROM webhook_deliveries')) as { id: number }[]
  // Of a webhook that does not exist, and too old besides.
  await addDelivery('first', old)
  await addDelivery('second', old)
  await run()
  const [newest, ...others] = await left()
  expect([newest, others]).toEqual([expect.objectContaining({ event_id: 'second' }), []])
  await addDelivery('third', Date.now() + DAY_MS)
  await run()
  const after = await left()
  expect(after).toEqual([expect.objectContaining({ event_id: 'third' })])
  expect(after[0]!.id).toBeGreaterThan(newest!.id)
  await api.sql('DELETE FROM webhook_deliveries')
})

test('The newest delivery, which is kept for its number, loses its content after 30 days', async () => {
  await api.sql('DELETE FROM webhook_deliveries')
  await addDelivery('newest', Date.now() - 33 * DAY_MS + 60 * MINUTE_MS)
  await api.sql(`UPDATE webhook_deliveries SET snapshot = '{"name":"Ada"}', event_details = '{}'`)
  const left = async () =>
    (await api.sql('SELECT id, event_id, snapshot, event_details FROM webhook_deliveries'))[0]!
  const before = await left()
  await run()
  expect(await left()).toEqual(before)
  await api.sql('UPDATE webhook_deliveries SET owed_at = owed_at - ?', [120 * MINUTE_MS])
  await run()
  expect((await removed()).at(-1)).toMatchObject({ webhook_delivery_emptied: 1 })
  expect(await left()).toEqual({ ...before, snapshot: null, event_details: null })
  await run()
  expect((await removed()).at(-1)).not.toHaveProperty('webhook_delivery_emptied')
  await api.sql('DELETE FROM webhook_deliveries')
})

test('CR3: it cannot be started over HTTP', async () => {
  for (const path of [
    '/__scheduled',
    '/cdn-cgi/handler/scheduled',
    '/cdn-cgi/mf/scheduled',
    '/v1/cleanup/runs',
  ]) {
    for (const method of ['GET', 'POST'])
      expect([401, 404, 405]).toContain((await api.send(method, path)).status)
  }
  expect(await runs()).toEqual([])
})

test('CR3, LG4: what has expired is removed, and all the rest stays, to the millisecond', async () => {
  const offset = fc.oneof(
    fc.integer({ min: -5, max: 5 }).map((n) => n * SECOND_MS),
    fc.integer({ min: -3, max: 3 }),
    fc.integer({ min: -DAY_MS, max: 20 * DAY_MS }),
  )
  const rows = fc.array(fc.tuple(fc.constantFrom(...(Object.keys(KINDS) as Kind[])), offset), {
    minLength: 1,
    maxLength: 25,
  })
  await fc.assert(
    fc.asyncProperty(rows, async (planned) => {
      // The run's own clock, so that the exact cut-off is known.
      const resources = openForCron(api.bindings, createExecutionContext())
      const expected = new Map<string, 'stays' | 'goes'>()
      for (const [kind, beyondMs] of planned) {
        const mark = newMark()
        await KINDS[kind](mark, resources.now - KEPT_MS[kind] - beyondMs)
        expected.set(mark, beyondMs > 0 ? 'goes' : 'stays')
      }
      await cleanUp(resources)
      const left = await marks()
      for (const [mark, fate] of expected)
        expect([mark, left.includes(mark) ? 'stays' : 'goes']).toEqual([mark, fate])
    }),
    { numRuns: rounds(8, 200) },
  )
})

const marks = async (): Promise<string[]> => {
  const found = []
  for (const place of Object.values(PLACES))
    found.push(...(await api.sql(place)).map(({ mark }) => String(mark)))
  return found
}

test('Every action of the history is removed after its time, and none before', async () => {
  for (const [action, kind] of Object.entries(ACTIONS)) {
    const keptDays = kind === 'noise' ? 90 : 400
    await addHistory(`old ${action}`, Date.now() - (keptDays + 1) * DAY_MS, action)
    await addHistory(`young ${action}`, Date.now() - (keptDays - 1) * DAY_MS, action)
  }
  await run()
  const left = await api.sql(
    "SELECT user_agent FROM user_activity_logs WHERE user_agent LIKE 'old %' OR user_agent LIKE 'young %'",
  )
  expect(left.map(({ user_agent }) => user_agent).sort()).toEqual(
    Object.keys(ACTIONS)
      .map((action) => `young ${action}`)
      .sort(),
  )
})

test('CR3: it never touches anything that is still in use', async () => {
  const ada = await api.actor()
  const disabled = await api.person({ password_hash: null, status: 'disabled', disabled_reason: 'left' })
  const until = await api.person({
    password_hash: null,
    status: 'disabled',
    disabled_until: Date.now() + LATER_MS,
  })
  const rowsOf = () =>
    api.sql('SELECT * FROM users WHERE id IN (?, ?, ?) ORDER BY id', [ada.id, disabled.id, until.id])
  const before = await rowsOf()
  await run()
  expect(await rowsOf()).toEqual(before)
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
  const refreshed = await api.send('POST', '/v1/auth/refresh_token', {
    body: { refresh_token: ada.refreshToken },
  })
  expect(refreshed.status).toBe(200)
})

test('A user who was disabled until now is enabled, with a row of history', async () => {
  const given = {
    password_hash: null,
    status: 'disabled',
    disabled_reason: 'left',
    disabled_until: Date.now() - 1,
  } as const
  const ada = await api.person(given)
  await run()
  const [row] = await api.sql(
    'SELECT status, disabled_reason, disabled_until, version FROM users WHERE id = ?',
    [ada.id],
  )
  expect(row).toEqual({ status: 'active', disabled_reason: null, disabled_until: null, version: 2 })
  expect(await api.historyOf(ada.id)).toEqual(['user.enabled'])
})

test('CR1: a statement removes at most 500 rows, and a run continues until all are gone', async () => {
  const rows = rounds(1_201, 200_000)
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
    SELECT 'bulk-' || i, 'nobody', 0, 0, 0, 0, 0, 0 FROM n`,
  )
  /** How many had been removed after each batch. */
  const totals: number[] = []
  const watch = (db: Database): Partial<Database> => ({
    writeBatch: async (batch, marker) => {
      const results = await db.writeBatch(batch, marker)
      const [run] = ((results as Record<string, unknown>).after ?? []) as { counts: string }[]
      totals.push(run ? (JSON.parse(run.counts).sessions_expired ?? 0) : 0)
      return results
    },
  })
  for (let i = 0; i < 50 && (await count('sessions', "id LIKE 'bulk-%'")) > 0; i++)
    await run(i * LATER_MS, watch)
  expect(Math.max(...totals.map((total, index) => total - (totals[index - 1] ?? 0)))).toBe(500)
  expect((await removed()).reduce((sum, { sessions_expired = 0 }) => sum + sessions_expired, 0)).toBe(rows)
})

test('CR1: a run ends after 20 seconds; what is left waits for the next', async () => {
  const mark = newMark()
  await KINDS.idempotency_keys(mark, Date.now() - 2 * DAY_MS)
  await run(-21 * SECOND_MS)
  expect(await marks()).toContain(mark)
  expect(await runs()).toEqual([{ finished_at: expect.any(Number), counts: '{}', failed: '[]' }])
  await run()
  expect(await marks()).not.toContain(mark)
})

/** Some of everything that is due. Returns the ids of the people. */
async function addDue(people: number): Promise<string[]> {
  const ids = []
  for (const kind of Object.keys(KINDS) as Kind[]) {
    if (kind !== 'users') await KINDS[kind](newMark(), Date.now() - KEPT_MS[kind] - DAY_MS)
  }
  for (let i = 0; i < people; i++)
    ids.push((await api.person({ password_hash: null, deleted_at: Date.now() - 31 * DAY_MS })).id)
  return ids
}
/** How much of it is left. It was due a day ago; what has become due meanwhile is not counted. */
async function due(): Promise<number> {
  const cutOff = (kind: Kind) => Date.now() - KEPT_MS[kind] - DAY_MS / 2
  return (
    (await count('users', `deleted_at < ${cutOff('users')}`)) +
    (await count('sessions', `expires_at < ${cutOff('sessions_expired')}`)) +
    (await count('idempotency_keys', `created_at < ${cutOff('idempotency_keys')}`)) +
    (await count('user_activity_logs', `id < '${firstIdAt(cutOff('activity_security'))}'`))
  )
}
const purgesOf = async (ids: string[]) =>
  (await Promise.all(ids.map(api.historyOf))).map(
    (actions) => actions.filter((action) => action === 'user.purged').length,
  )

test('CR2: of five runs at once only one works, and every row is handled once', async () => {
  for (let round = 0; round < rounds(3, 50); round++) {
    await api.sql('DELETE FROM cleanup_runs')
    const people = await addDue(25)
    await Promise.all([1, 2, 3, 4, 5].map(() => run()))
    expect(await runs()).toHaveLength(1)
    expect(await removed()).toEqual([
      expect.objectContaining({ users: 25, sessions_expired: 1, idempotency_keys: 1 }),
    ])
    expect(await purgesOf(people)).toEqual(people.map(() => 1))
    expect(await due()).toBe(0)
  }
})

test('CR2: a run that was overtaken writes nothing more, wherever it paused', async () => {
  for (let pause = 1; ; pause++) {
    await api.sql('DELETE FROM cleanup_runs')
    const people = await addDue(2)
    let calls = 0
    let hasPaused = false
    await run(0, (db) => ({
      writeBatch: async (batch, marker) => {
        if (++calls === pause + 1) {
          hasPaused = true
          await run(LATER_MS)
          expect(await due()).toBe(0)
          // What only became due now is not handled by the run that was overtaken.
          await KINDS.idempotency_keys(`late-${pause}`, Date.now() - 2 * DAY_MS)
        }
        return db.writeBatch(batch, marker)
      },
    }))
    if (!hasPaused) break
    expect(await marks()).toContain(`late-${pause}`)
    expect(await purgesOf(people)).toEqual([1, 1])
    const [overtaken, second] = await runs()
    expect([overtaken!.finished_at, second!.finished_at]).toEqual([null, expect.any(Number)])
    expect(
      await count(
        'user_activity_logs',
        `action = 'cleanup.ran' AND details LIKE '{"run":' || (SELECT min(id) FROM cleanup_runs) || ',%'`,
      ),
    ).toBe(0)
    await api.sql('DELETE FROM idempotency_keys')
  }
})

test.each(['before', 'after'] as const)(
  'CR1: killed %s any of its writes, the next run finishes the work, once',
  async (when) => {
    for (let kill = 1; ; kill++) {
      await api.sql('DELETE FROM cleanup_runs')
      const people = await addDue(2)
      let calls = 0
      const killed = run(0, (db) => ({
        writeBatch: async (batch, marker) => {
          calls += 1
          if (calls > kill || (calls === kill && when === 'before')) throw new Error('killed')
          const results = await db.writeBatch(batch, marker)
          if (calls === kill) throw new Error('killed')
          return results
        },
        read: async (batch) => {
          if (calls >= kill) throw new Error('killed')
          return db.read(batch)
        },
      })).then(
        () => false,
        () => true,
      )
      if (!(await killed)) break
      await run(LATER_MS)
      expect(await due()).toBe(0)
      expect(await purgesOf(people)).toEqual([1, 1])
      expect((await runs()).at(-1)!.finished_at).not.toBeNull()
    }
  },
)

test('CR1, HX11: a task that always fails is recorded, and all others continue', async () => {
  await api.sql(`CREATE TRIGGER broken BEFORE DELETE ON throttles BEGIN SELECT RAISE(ABORT, 'broken'); END`)
  try {
    const people = await addDue(2)
    await run()
    expect(await purgesOf(people)).toEqual([1, 1])
    expect(await due()).toBe(0)
    const [last] = await runs()
    expect(last!.finished_at).not.toBeNull()
    const { body } = await api.send('GET', '/v1/cleanup/runs', { token: admin.token })
    expect((body.data as { failed?: string[] }[])[0]!.failed).toEqual(['throttles'])
    const history = await api.send('GET', '/v1/activity?action=cleanup.ran&limit=1', { token: admin.token })
    expect((history.body.data as { details: object }[])[0]!.details).toMatchObject({ failed: ['throttles'] })
  } finally {
    await api.sql('DROP TRIGGER broken')
  }
  await run(LATER_MS)
  expect(await count('throttles', "key LIKE 'mark%'")).toBe(0)
  expect((await runs()).at(-1)!.failed).toBe('[]')
})

test('HX11: tasks take turns, so what is due in one starves no other', async () => {
  const rows = rounds(1_600, 200_000)
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
    SELECT 'turn-' || i, 'nobody', 0, 0, 0, 0, 0, 0 FROM n`,
  )
  const mark = newMark()
  await KINDS.invitations(mark, Date.now() - 31 * DAY_MS)
  let left: number | undefined
  await run(0, (db) => ({
    writeBatch: async (batch, marker) => {
      const results = await db.writeBatch(batch, marker)
      if (left === undefined && !(await marks()).includes(mark))
        left = await count('sessions', "id LIKE 'turn-%'")
      return results
    },
  }))
  expect(left).toBe(rows - 500)
  await api.sql("DELETE FROM sessions WHERE id LIKE 'turn-%'")
})

test('HX20, CR2: a batch of clean-up that arrives twice, late, counts and removes once', async () => {
  const mark = newMark()
  await KINDS.idempotency_keys(mark, Date.now() - 2 * DAY_MS)
  const again: (() => Promise<unknown>)[] = []
  await run(0, (db) => ({
    writeBatch: async (batch, marker) => {
      const results = await db.writeBatch(batch, marker)
      // Without the guard of a send, as if this one were the first.
      again.push(() => db.writeBatch(batch, marker))
      return results
    },
  }))
  const [before] = await runs()
  const late = newMark()
  await KINDS.idempotency_keys(late, Date.now() - 2 * DAY_MS)
  for (const send of again.slice(1)) await send()
  expect(await runs()).toEqual([before])
  expect(before).toMatchObject({ counts: '{"idempotency_keys":1}' })
  expect(await marks()).toContain(late)
})

test('CR3: an account that nobody proved or used is erased after 30 days, with a row that names no actor', async () => {
  const at = (days: number) => {
    const then = Date.now() - days * DAY_MS
    return { password_hash: null, created_at: then, updated_at: then }
  }
  const gone = await api.person(at(31))
  const staying = await Promise.all([
    api.person(at(29)),
    api.person({ ...at(31), email_verified_at: 1 }),
    api.person({ ...at(31), last_login_at: 1 }),
    api.person({ ...at(31), updated_at: Date.now() }),
    api.person({ ...at(31), role: 'manager' }),
  ])
  await run()
  expect(await count('users', `id = '${gone.id}'`)).toBe(0)
  const [row] = await api.sql('SELECT action, actor_id, details FROM user_activity_logs WHERE user_id = ?', [
    gone.id,
  ])
  expect(row).toEqual({ action: 'user.purged', actor_id: null, details: '{"reason":"unverified"}' })
  for (const { id } of staying) expect([id, await count('users', `id = '${id}'`)]).toEqual([id, 1])
})

test('Every cron expression in wrangler.toml has a job, and none is missing', () => {
  const texts = import.meta.glob<string>('../wrangler.toml', {
    query: '?raw',
    import: 'default',
    eager: true,
  })
  const named = (text: string) =>
    [...text.matchAll(/['"]([\d*/,-]+(?: [\d*/,-]+){4})['"]/g)].map(([, cron]) => cron)
  const expected = Object.keys(SCHEDULE).sort()
  expect(named(/^crons = .*$/m.exec(texts['../wrangler.toml']!)![0]).sort()).toEqual(expected)
})

test('A running clean-up keeps its lease; one that died does not delay the next beyond it', async () => {
  const now = Date.now()
  const lease = (endsAt: number) =>
    api.sql("INSERT INTO cleanup_runs (id, started_at, lease_expires_at, counts) VALUES (?, ?, ?, '{}')", [
      (now - 1) * 1000,
      now - 1,
      endsAt,
    ])
  await lease(now + MINUTE_MS)
  await run()
  expect(await runs()).toHaveLength(1)
  await api.sql('DELETE FROM cleanup_runs')
  await lease(now - 1)
  await run()
  expect((await runs()).map(({ finished_at }) => finished_at !== null)).toEqual([false, true])
})

test('Runs are kept for 90 days, and listed newest first, a page at a time', async () => {
  const now = Date.now()
  for (const daysAgo of [200, 91, 89, 1]) {
    const at = now - daysAgo * DAY_MS
    await api.sql(
      "INSERT INTO cleanup_runs (id, started_at, finished_at, lease_expires_at, counts) VALUES (?, ?, ?, ?, '{}')",
      [at * 1000, at, at, at],
    )
  }
  await run()
  const list = (query: string) => api.send('GET', `/v1/cleanup/runs?${query}`, { token: admin.token })
  const first = await list('limit=2')
  const { next_cursor } = first.body.pagination as { next_cursor: string }
  const second = await list(`limit=2&cursor=${next_cursor}`)
  const started = [first, second].flatMap(({ body }) =>
    (body.data as { started_at: string }[]).map((run) => run.started_at),
  )
  expect(started.slice(1)).toEqual([toTime(now - DAY_MS), toTime(now - 89 * DAY_MS)])
  expect((await list(`limit=2&cursor=${next_cursor}x`)).body.code).toBe('invalid_cursor')
})
