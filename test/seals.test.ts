import { createExecutionContext } from 'cloudflare:test'
import { beforeEach, describe, expect, test } from 'vitest'
import { verifyHistory } from '../scripts/history-verify.ts'
import { newSecret } from '../scripts/keys.ts'
import {
  HEAD_KEY,
  hashOfDetails,
  hashOfOrigin,
  OPEN_MEMBERS,
  publishHead,
  sealRestore,
} from '../src/activity/seals.ts'
import { cleanUp } from '../src/cleanup/service.ts'
import { openForCron, type Resources } from '../src/context.ts'
import { IMPERSONAL } from '../src/users/erasure.ts'
import { firstIdAt } from '../src/values/ids.ts'
import { type Actor, type Api, openApi } from './support/api.ts'
import { freshUpstreams, testOfRedis } from './support/upstreams.ts'

const MINUTE_MS = 60_000
const DAY_MS = 1440 * MINUTE_MS
/** When every row is old enough to be sealed, and the lease of the previous run has ended. */
const LATER_MS = 5 * MINUTE_MS

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor
let ahead: number
beforeEach(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, HISTORY_KEY: newSecret() })
  admin = await api.actor({ role: 'admin' })
  ahead = 0
})

const open = (env: object = api.bindings): Resources => openForCron(env as never, createExecutionContext())
/** Runs of clean-up, five minutes apart. */
async function seal(times = 1) {
  for (let i = 0; i < times; i++) {
    ahead += LATER_MS
    const resources = open()
    await cleanUp({ ...resources, now: resources.now + ahead })
  }
}
const verify = (heads: string[] = [], env: object = api.bindings) => verifyHistory(open(env), heads)
const rows = async () => Number((await api.sql('SELECT count(*) AS n FROM user_activity_logs'))[0]!.n)

/** Bypasses the triggers, like somebody who controls the whole database. */
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
  test('in a chain that matches its rows, each under one seal', async () => {
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

  test('in batches, and rows from before the first seal are sealed too', async () => {
    await api.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
      INSERT INTO user_activity_logs (id, action) SELECT printf('019a0000-0000-7000-8000-%012d', i), 'login.failed' FROM n`)
    await seal()
    expect((await verify()).findings).toEqual([])
    expect(await api.sql('SELECT rows FROM activity_seals ORDER BY number LIMIT 2')).toEqual([
      { rows: 500 },
      { rows: 500 },
    ])
  })

  test('with rows whose texts are not UTF-8: they stop neither seals nor verification, and match like all others', async () => {
    await someHistory()
    const id = `${firstIdAt(Date.now()).slice(0, 14)}7${crypto.randomUUID().slice(15)}`
    await api.sql(
      `INSERT INTO user_activity_logs (id, user_id, action, details, ip)
        VALUES (?, CAST(x'ff' AS TEXT), 'user.updated', CAST(x'7bff7d' AS TEXT), CAST(x'fe' AS TEXT))`,
      [id],
    )
    await seal(3)
    const proofs = async () => api.sql('SELECT 1 FROM activity_proofs WHERE id = ?', [id])
    expect(await proofs()).toHaveLength(1)
    const verdict = await verify()
    expect(verdict).toMatchObject({ findings: [], sealed: (await rows()) - 1, waiting: 1 })
    for (const other of ["CAST(x'7bfe7d' AS TEXT)", "'7BFF7D'", 'NULL']) {
      await tamper(`UPDATE user_activity_logs SET details = ${other} WHERE id = '${id}'`)
      expect((await verify()).findings).not.toEqual([])
    }
    await tamper(`UPDATE user_activity_logs SET details = CAST(x'7bff7d' AS TEXT) WHERE id = '${id}'`)
    expect((await verify()).findings).toEqual([])
  })

  test('with rows that have bytes for text, or an invalid id: those are found, and stop nothing', async () => {
    await someHistory()
    const id = `${firstIdAt(Date.now()).slice(0, 14)}7${crypto.randomUUID().slice(15)}`
    await api.sql(
      "INSERT INTO user_activity_logs (id, action, details, ip, country) VALUES (?, 'user.updated', x'616263', x'ff', '')",
      [id],
    )
    await seal(3)
    expect(await api.sql('SELECT 1 FROM activity_proofs WHERE id = ?', [id])).toHaveLength(1)
    expect((await verify()).findings).toEqual([])
    for (const other of ["CAST(x'00ff' AS TEXT)", "'00'", "x'00fe'"])
      await api.sql(`INSERT INTO user_activity_logs (id, action) VALUES (${other}, 'user.updated')`)
    await someHistory()
    await seal(3)
    const verdict = await verify()
    expect(verdict.findings).toHaveLength(3)
    for (const finding of verdict.findings) expect(finding).toMatch(/^Row \S+ was added: /)
    expect(verdict).toMatchObject({ sealed: (await rows()) - 4, waiting: 1 })
  })

  test('with late rows in the next seal; even later ones count as added', async () => {
    await seal()
    const until = Number((await api.sql('SELECT max(sealed_at) AS at FROM activity_seals'))[0]!.at)
    await addRow(until - 10 * MINUTE_MS)
    await seal(2)
    expect((await verify()).findings).toEqual([])
    await addRow(until - 60 * MINUTE_MS)
    await seal(2)
    expect((await verify()).findings).toEqual([expect.stringMatching(/was added/)])
  })

  test('only with a key; without one, rows age by their time', async () => {
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

  test('even during verification: rows sealed meanwhile do not count as added', async () => {
    await someHistory()
    await seal()
    await someHistory()
    const resources = open()
    let reads = 0
    const readOnce: Resources['db']['readOnce'] = async (batch, withinMs) => {
      if (reads++ === 1) await seal(2)
      return resources.db.readOnce(batch, withinMs)
    }
    const verdict = await verifyHistory({ ...resources, db: { ...resources.db, readOnce } }, [])
    expect([reads > 1, verdict.findings]).toEqual([true, []])
  })

  test('and verification waits for a slow page, and asks again for a lost one', async () => {
    await someHistory()
    await seal()
    await own.behave('libsql', { mode: 'latency', ms: 2500, next: 1, only: 'activity_seals' })
    expect((await verify()).findings).toEqual([])
    await own.behave('libsql', { mode: 'down', next: 2, only: 'details_salt' })
    const verdict = await verify()
    expect([verdict.sealed > 0, verdict.findings]).toEqual([true, []])
  })

  test('and rows that wait long for a seal are reported', async () => {
    await seal()
    expect((await verify(['1.x'])).warnings).toEqual([])
    await addRow(Date.now() - 1440 * MINUTE_MS)
    const env = { ...api.bindings, HISTORY_KEY: '' }
    expect((await verify([], env)).warnings).toContainEqual(expect.stringMatching(/No head/))
    await tamper('DELETE FROM activity_proofs', 'DELETE FROM activity_seals')
    expect((await verify(['1.x'])).warnings).toEqual([expect.stringMatching(/Rows wait for a seal since/)])
  })

  test('with seals that cannot be changed or removed', async () => {
    await seal()
    await expect(api.sql("UPDATE activity_seals SET note = 'x'")).rejects.toThrow('never changed')
    await expect(api.sql('DELETE FROM activity_seals')).rejects.toThrow('is kept')
  })
})

describe('LG3: somebody who controls the database cannot', () => {
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
      'write into it what is no JSON',
      (row) => [`UPDATE user_activity_logs SET details = 'x' WHERE id = '${row}'`],
      [/Row .* was altered/],
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
        `INSERT INTO activity_proofs (id, seal, details_salt, details_hash, origin_salt, origin_hash)
          SELECT '019a0000-0000-7000-8000-000000000001', seal, NULL, details_hash, NULL, origin_hash
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

  testOfRedis('cut the end off: the newest seal in Redis and in the log shows it', async () => {
    await someHistory()
    await seal(3)
    await publishHead(open())
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
      warnings: [expect.stringMatching(/cut off its end goes unseen/)],
    })
    expect((await verify([head!])).findings).toEqual([expect.stringMatching(/was cut off/)])
    // Nor does clean-up hide it: the seal that it makes instead is not the one that Redis knows.
    await seal(2)
    await publishHead(open())
    expect(await api.redis('GET', key!)).toBe(head)
    expect((await verify([head!])).findings).toContainEqual(expect.stringMatching(/was made anew/))
  })

  testOfRedis(
    'hide a restore: one that was interrupted continues, until Redis knows the new chain',
    async () => {
      await someHistory()
      await seal(2)
      const restore = () => sealRestore(open()).catch((error: Error) => error.message)
      const lost = `90.${'x'.repeat(43)}`
      expect(await open().redis.put(HEAD_KEY, lost, DAY_MS)).toBe(true)
      // The Worker is running, and seals between reading and writing.
      const { result, wasHeld } = await own.between(restore, () => seal(2), { only: "value ->> 'note'" })
      expect([wasHeld, result]).toEqual([true, expect.stringContaining('Run this again')])
      await own.behave('redis', { mode: 'down', next: 1, after: 1 })
      expect(await restore()).toContain('Run this again')
      await seal()
      expect(await restore()).toBe(lost)
      const { head, findings } = await verify([lost])
      expect(findings).toEqual([])
      expect(await open().redis.mget([HEAD_KEY])).toEqual([head])
      await seal()
      await publishHead(open())
      expect(await open().redis.mget([HEAD_KEY])).toEqual([(await verify()).head])
      expect(await restore()).toBeUndefined()
      const notes = await api.sql('SELECT note FROM activity_seals WHERE note IS NOT NULL')
      expect(notes).toEqual([{ note: lost }])
    },
  )

  test('pass verification because a head was only partly copied', async () => {
    await someHistory()
    await seal(3)
    const newest = Number((await verify()).head!.split('.')[0])
    for (const head of [`${newest}`, `${newest + 1}`, `${newest}.`])
      expect((await verify([head])).findings).toHaveLength(1)
  })

  test('write into rows that erasing has emptied', async () => {
    const person = await someHistory()
    await seal(2)
    await api.send('DELETE', `/v1/users/${person.id}?hard=true`, { token: admin.token })
    await seal(3)
    expect((await verify()).findings).toEqual([])
    await tamper(
      `UPDATE user_activity_logs SET details = '{"name":"Somebody"}' WHERE user_id = '${person.id}' AND action = 'user.updated'`,
    )
    expect((await verify()).findings).toEqual([expect.stringMatching(/was altered/)])
  })

  test('rebuild the chain, with their own key or with seals that the log does not know', async () => {
    await someHistory()
    await seal(3)
    const { head } = await verify()
    await tamper('DELETE FROM activity_proofs', 'DELETE FROM activity_seals')
    const env = { ...api.bindings, HISTORY_KEY: newSecret() }
    ahead += LATER_MS
    const resources = open(env)
    await cleanUp({ ...resources, now: resources.now + ahead })
    expect((await verify()).findings).toContainEqual(expect.stringMatching(/is not signed by a key/))
    // Somebody with the key as well is exposed by the head kept elsewhere.
    expect((await verify([head!], env)).findings).toContainEqual(expect.stringMatching(/made anew|cut off/))
  })
})

describe('LG3: what is erased, and what ages,', () => {
  test('leaves matching seals, and no salt with which it could be guessed', async () => {
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

  test('is sealed in its erased form if it is erased while being sealed', async () => {
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

  test('is removed by whole seals, once a seal has recorded that', async () => {
    const old = Date.now() - 500 * DAY_MS
    await addRow(old, 'user.updated')
    await addRow(old, 'login.failed')
    const isThere = () =>
      api.sql('SELECT action FROM user_activity_logs WHERE id < ? ORDER BY action', [firstIdAt(old + DAY_MS)])
    // So the whole first batch is old: a seal ages with its youngest row.
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

  /** Seals that clean-up might have made, and a row under one of them. */
  const addSeals = (first: number, count: number, kind: string, until: number) =>
    api.sql(
      `WITH RECURSIVE n (i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?)
      INSERT INTO activity_seals (number, kind, until, rows, root, aged_noise, aged_security, sealed_at, note, head, key_id, mac)
      SELECT i, ?, ?, 1, '', 0, 0, 0, NULL, '', '', '' FROM n`,
      [first, first + count - 1, kind, firstIdAt(until)],
    )
  async function addSealed(at: number, action: string, number: number) {
    const row = { details: null, ip: null, user_agent: null, country: null } as never
    await addRow(at, action)
    const [added] = await api.sql(
      'SELECT id FROM user_activity_logs WHERE user_id = ? AND id > ? AND id < ?',
      ['somebody', firstIdAt(at), firstIdAt(at + 1)],
    )
    const id = added!.id as string
    await api.sql(
      'INSERT INTO activity_proofs (id, seal, details_salt, details_hash, origin_salt, origin_hash) VALUES (?, ?, ?, ?, ?, ?)',
      [id, number, 'salt', hashOfDetails('salt', row), 'salt', hashOfOrigin('salt', row)],
    )
    return async () => (await api.sql('SELECT id FROM user_activity_logs WHERE id = ?', [id])).length === 1
  }

  test('does not stay for ever behind many seals of the other kind', async () => {
    const old = Date.now() - 500 * DAY_MS
    await addSeals(1, 1001, 'noise', old)
    await addSeals(1002, 1, 'security', old)
    const isThere = await addSealed(old, 'user.updated', 1002)
    await seal(14)
    expect(await isThere()).toBe(false)
  })

  test('is removed with its seal, whatever kind another version took it for', async () => {
    const [day, later] = [Date.now() - 120 * DAY_MS, Date.now() - 110 * DAY_MS]
    await addSeals(1, 1, 'security', day)
    await addSeals(2, 1, 'noise', later)
    const isThere = await addSealed(day, 'login.failed', 1)
    const goes = await addSealed(later, 'login.failed', 2)
    await seal(3)
    expect([await isThere(), await goes()]).toEqual([true, false])
  })

  test('does not take a row along that somebody has put under its seal', async () => {
    const old = Date.now() - 500 * DAY_MS
    await api.sql(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
      INSERT INTO user_activity_logs (id, action) SELECT printf('%s-7000-8000-%012d', ?, i), 'login.failed' FROM n`,
      [firstIdAt(old).slice(0, 13)],
    )
    await seal(3)
    expect((await verify()).findings).toEqual([])
    await addSealed(Date.now() - DAY_MS, 'user.role_changed', 1)
    expect((await verify()).findings).toEqual([expect.stringMatching(/was added/)])
  })
})
