import { createExecutionContext } from 'cloudflare:test'
import { beforeEach, describe, expect, test } from 'vitest'
import { verifyHistory } from '../scripts/history-verify.ts'
import { newSecret } from '../scripts/keys.ts'
import { HEAD_KEY, OPEN_MEMBERS, tellHead } from '../src/activity/seals.ts'
import { cleanUp } from '../src/cleanup/service.ts'
import { openForCron, type Resources } from '../src/context.ts'
import { IMPERSONAL } from '../src/users/erasure.ts'
import { firstIdAt } from '../src/values/ids.ts'
import { type Actor, type Api, openApi } from './support/api.ts'
import { freshUpstreams, testOfRedis } from './support/upstreams.ts'

const MINUTE_MS = 60_000
const DAY_MS = 1440 * MINUTE_MS
/** When everything that stands is old enough to be sealed, and the lease of the run before has ended. */
const LATER_MS = 5 * MINUTE_MS

let api: Api
let admin: Actor
let ahead: number
beforeEach(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, HISTORY_KEY: newSecret() })
  admin = await api.actor({ role: 'admin' })
  ahead = 0
})

const open = (env: object = api.bindings): Resources => openForCron(env as never, createExecutionContext())
/** Runs of clean-up, each five minutes on. */
async function seal(times = 1) {
  for (let i = 0; i < times; i++) {
    ahead += LATER_MS
    const resources = open()
    await cleanUp({ ...resources, now: resources.now + ahead })
  }
}
const verify = (heads: string[] = [], env: object = api.bindings) => verifyHistory(open(env), heads)
const rows = async () => Number((await api.sql('SELECT count(*) AS n FROM user_activity_logs'))[0]!.n)

/** Past the triggers, as somebody does who has the whole database. */
async function tamper(...statements: string[]) {
  const triggers = await api.sql(
    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND (tbl_name LIKE 'activity_%' OR tbl_name = 'user_activity_logs')",
  )
  for (const { name } of triggers) await api.sql(`DROP TRIGGER ${name}`)
  for (const statement of statements) await api.sql(statement)
  for (const trigger of triggers) await api.sql(trigger.sql as string)
}

/** Somebody who was changed, disabled with a reason and enabled: history of both kinds. */
async function someHistory() {
  const person = await api.actor()
  const path = `/v1/users/${person.id}`
  const changes = [
    await api.send('PATCH', path, { token: admin.token, body: { name: 'Another Name' } }),
    await api.send('POST', `${path}/disable`, { token: admin.token, body: { reason: 'Spam' } }),
    await api.send('POST', `${path}/enable`, { token: admin.token }),
  ]
  expect(changes.map(({ status }) => status)).toEqual([200, 200, 200])
  return person
}
const rowOf = async (userId: string, action: string) =>
  (await api.sql('SELECT id FROM user_activity_logs WHERE user_id = ? AND action = ?', [userId, action]))[0]!
    .id as string
const addRow = (at: number, action = 'user.updated') =>
  api.sql('INSERT INTO user_activity_logs (id, user_id, action) VALUES (?, ?, ?)', [
    `${firstIdAt(at).slice(0, 14)}7${crypto.randomUUID().slice(15)}`,
    'somebody',
    action,
  ])

describe('LG3: the history is sealed', () => {
  test('in a chain that fits its rows, each under one seal', async () => {
    await someHistory()
    await seal(3)
    const verdict = await verify()
    expect(verdict.findings).toEqual([])
    const kinds = await api.sql(
      'SELECT kind, sum(rows) AS rows FROM activity_seals GROUP BY kind ORDER BY kind',
    )
    // The last run's own row is younger than its seal.
    expect(kinds).toEqual([
      { kind: 'noise', rows: expect.any(Number) },
      { kind: 'security', rows: 3 },
    ])
    expect(verdict).toMatchObject({ sealed: (await rows()) - 1, waiting: 1 })
  })

  test('and a batch at a time: what there is before the first seal is sealed too', async () => {
    await api.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
      INSERT INTO user_activity_logs (id, action) SELECT printf('019a0000-0000-7000-8000-%012d', i), 'login.failed' FROM n`)
    await seal()
    expect((await verify()).findings).toEqual([])
    expect(await api.sql('SELECT rows FROM activity_seals ORDER BY number LIMIT 2')).toEqual([
      { rows: 500 },
      { rows: 500 },
    ])
  })

  test('what comes late is in the next seal, and what comes later still was added', async () => {
    await seal()
    const until = Number((await api.sql('SELECT max(sealed_at) AS at FROM activity_seals'))[0]!.at)
    await addRow(until - 10 * MINUTE_MS)
    await seal(2)
    expect((await verify()).findings).toEqual([])
    await addRow(until - 60 * MINUTE_MS)
    await seal(2)
    expect((await verify()).findings).toEqual([expect.stringMatching(/was added/)])
  })

  test('without a key nothing is, and the history ages by its time', async () => {
    const old = Date.now() - 500 * DAY_MS
    await addRow(old)
    const env = { ...api.bindings, HISTORY_KEY: '' }
    const resources = open(env)
    await cleanUp({ ...resources, now: resources.now + LATER_MS })
    expect(await api.sql('SELECT * FROM activity_seals')).toEqual([])
    expect(await api.sql('SELECT * FROM user_activity_logs WHERE id < ?', [firstIdAt(old + DAY_MS)])).toEqual(
      [],
    )
  })

  test('a seal is neither changed nor removed', async () => {
    await seal()
    await expect(api.sql("UPDATE activity_seals SET note = 'x'")).rejects.toThrow('never changed')
    await expect(api.sql('DELETE FROM activity_seals')).rejects.toThrow('is kept')
  })
})

describe('LG3: whoever has the database cannot', () => {
  test.for<[what: string, tampering: (row: string) => string[], found: RegExp[]]>([
    [
      'alter what a row says',
      (row) => [`UPDATE user_activity_logs SET details = '{"reason":"x"}' WHERE id = '${row}'`],
      [/Row .* was altered/],
    ],
    [
      'alter where it came from',
      (row) => [`UPDATE user_activity_logs SET ip = '1.2.3.4' WHERE id = '${row}'`],
      [/Row .* was altered/],
    ],
    [
      'alter whom it is about',
      (row) => [`UPDATE user_activity_logs SET actor_id = 'x' WHERE id = '${row}'`],
      [/Seal \d+ .* some were altered/],
    ],
    [
      'empty it, as if somebody had been erased',
      (row) => [
        `UPDATE user_activity_logs SET ip = NULL WHERE id = '${row}'`,
        `UPDATE activity_proofs SET origin_salt = NULL WHERE id = '${row}'`,
      ],
      [/was emptied, and nobody in it was erased/],
    ],
    [
      'remove one',
      (row) => [`DELETE FROM user_activity_logs WHERE id = '${row}'`],
      [/1 of \d+ were removed/],
    ],
    [
      'add one, under a seal that stands',
      (row) => [
        "INSERT INTO user_activity_logs (id, action) VALUES ('019a0000-0000-7000-8000-000000000001', 'user.updated')",
        `INSERT INTO activity_proofs SELECT '019a0000-0000-7000-8000-000000000001', seal, NULL, details_hash, NULL, origin_hash
          FROM activity_proofs WHERE id = '${row}'`,
      ],
      [/was emptied/, /1 were added/],
    ],
    [
      'change a seal',
      () => ['UPDATE activity_seals SET rows = rows + 1 WHERE number = 1'],
      [/Seal 1 does not follow/, /Seal 1 .* does not fit/],
    ],
    [
      'sign one',
      () => ["UPDATE activity_seals SET head = 'x', mac = 'y' WHERE number = 1"],
      [/Seal 1 is not signed/, /Seal 2 does not follow/],
    ],
    [
      'take one out of the middle',
      () => ['DELETE FROM activity_seals WHERE number = 2'],
      [/Seals 2 to 2 are missing/, /Seal 3 does not follow/],
    ],
    [
      'say that a row has aged',
      () => [
        'UPDATE activity_seals SET aged_security = 99 WHERE number = (SELECT max(number) FROM activity_seals)',
      ],
      [/does not follow/],
    ],
  ])('%s', async ([, tampering, found]) => {
    const person = await someHistory()
    await seal(3)
    expect((await verify()).findings).toEqual([])
    await tamper(...tampering(await rowOf(person.id, 'user.disabled')))
    const { findings } = await verify()
    for (const sentence of found) expect(findings).toContainEqual(expect.stringMatching(sentence))
  })

  testOfRedis('cut the end off, which the newest seal in Redis and in the log tells', async () => {
    await someHistory()
    await seal(3)
    await tellHead(open())
    const { head } = await verify()
    const [key] = (await api.redis('KEYS', `*:${HEAD_KEY}`)) as string[]
    expect(await api.redis('GET', key!)).toBe(head)
    expect((await verify([head!])).findings).toEqual([])
    const newest = Number(head!.split('.')[0])
    await tamper(
      `DELETE FROM user_activity_logs WHERE id IN (SELECT id FROM activity_proofs WHERE seal = ${newest})`,
      `DELETE FROM activity_seals WHERE number = ${newest}`,
    )
    expect(await verify()).toMatchObject({
      findings: [],
      warnings: [expect.stringMatching(/cut off its end is not seen/)],
    })
    expect((await verify([head!])).findings).toEqual([expect.stringMatching(/was cut off/)])
  })

  test('make the chain anew, with a key of their own or with what the log does not know', async () => {
    await someHistory()
    await seal(3)
    const { head } = await verify()
    await tamper('DELETE FROM activity_proofs', 'DELETE FROM activity_seals')
    const env = { ...api.bindings, HISTORY_KEY: newSecret() }
    ahead += LATER_MS
    const resources = open(env)
    await cleanUp({ ...resources, now: resources.now + ahead })
    expect((await verify()).findings).toContainEqual(expect.stringMatching(/is not signed by a key/))
    // Whoever has the key as well is told by the head that stands elsewhere.
    expect((await verify([head!], env)).findings).toContainEqual(expect.stringMatching(/made anew|cut off/))
  })
})

describe('LG3: what is erased, and what ages,', () => {
  test('leaves seals that fit, and no salt by which it could be tried out', async () => {
    const person = await someHistory()
    await seal(2)
    const purged = await api.send('DELETE', `/v1/users/${person.id}?hard=true`, { token: admin.token })
    expect(purged.status).toBe(204)
    await seal(3)
    const salts = await api.sql(
      `SELECT details IS NULL AS bare, details_salt, origin_salt FROM user_activity_logs AS row JOIN activity_proofs AS proof ON proof.id = row.id
        WHERE user_id = ? AND action = 'user.updated'`,
      [person.id],
    )
    expect(salts).toEqual([{ bare: 1, details_salt: null, origin_salt: expect.any(String) }])
    expect((await verify()).findings).toEqual([])
    expect(IMPERSONAL).toEqual(expect.arrayContaining([...OPEN_MEMBERS]))
  })

  test('a row that is erased while it is being sealed is sealed as it is then', async () => {
    const upstreams = await freshUpstreams()
    api = openApi({ ...upstreams.bindings, HISTORY_KEY: newSecret() })
    admin = await api.actor({ role: 'admin' })
    const person = await someHistory()
    const id = await rowOf(person.id, 'user.updated')
    const { wasHeld } = await upstreams.between(
      () => seal(),
      () => api.sql('UPDATE user_activity_logs SET details = NULL WHERE id = ?', [id]),
      { only: "value ->> 'note'" },
    )
    expect(wasHeld).toBe(true)
    expect(await api.sql('SELECT * FROM activity_seals')).toEqual([])
    await seal(2)
    expect((await verify()).findings).toEqual([])
  })

  test('goes by whole seals, when a seal has said so', async () => {
    const old = Date.now() - 500 * DAY_MS
    await addRow(old, 'user.updated')
    await addRow(old, 'login.failed')
    const isThere = () =>
      api.sql('SELECT action FROM user_activity_logs WHERE id < ? ORDER BY action', [firstIdAt(old + DAY_MS)])
    // So the first batch is old as a whole: a seal ages with its youngest row.
    await api.sql(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 498)
      INSERT INTO user_activity_logs (id, action) SELECT printf('%s-7000-8000-%012d', ?, i), 'login.failed' FROM n`,
      [firstIdAt(old - DAY_MS).slice(0, 13)],
    )
    await seal()
    expect(await isThere()).not.toEqual([])
    await seal(2)
    expect(await isThere()).toEqual([])
    expect((await verify()).findings).toEqual([])
    expect(await api.sql('SELECT min(number) AS first FROM activity_seals')).toEqual([{ first: 1 }])
  })
})
