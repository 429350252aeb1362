import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Client, createClient } from '@libsql/client/web'
import { expect, onTestFinished, test, vi } from 'vitest'
import { restoreDump } from '../../scripts/db-restore.ts'
import { migrate } from '../../scripts/migrate.ts'
import { MIGRATIONS, readMigrations } from '../../scripts/migrations.ts'
import { moveInSteps, moveOf } from '../../scripts/moves.ts'
import { openDatabases } from '../support/databases.ts'
import { firstOf } from '../support/older-schema.ts'
import { type LogEntry, startProxy } from '../support/proxy.ts'
import { rounds } from '../support/rounds.ts'

vi.setConfig({ testTimeout: rounds(300_000, 3_600_000) })

const { home, startDatabase } = openDatabases('moves')

/** How many migrations the commit before the first move had. */
const BEFORE = readMigrations(MIGRATIONS).findIndex((migration) => moveOf(migration))
/** A million: `WHOLE=1 ROWS=1000000 NODE_OPTIONS=--max-old-space-size=12000 vitest run test/scripts/moves.test.ts`. */
const ROWS = Number(process.env.ROWS ?? rounds(15_000, 100_000))
const TABLES = { sessions: 'id', throttles: 'key', user_activity_logs: 'id' } as const
type Table = keyof typeof TABLES

const numbers = (rows: number) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})`
/** An id of long ago, as a UUIDv7 is. */
const id = (n: string) => `printf('01000000-%04x-7%03x-8000-%012x', ${n} >> 8, ${n} & 255, ${n})`

/** As the version before fills them: each column is empty now and then. */
async function fill(db: Client, rows: number) {
  const maybe = (value: string, n: number) => `CASE WHEN i % ${n} = 0 THEN NULL ELSE ${value} END`
  const user = "printf('user-%d', i % 997)"
  await db.execute(`${numbers(rows)} INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at,
    idle_expires_at, expires_at, revoked_at, revoked_reason, ip, user_agent, country, turn, proved_at, amr, repeated_at)
    SELECT ${id('i')}, ${user}, i, i + 1, i + 2, i + 3, i + 4, i + 5, ${maybe('i', 3)}, ${maybe("'ended'", 3)},
      ${maybe("'192.0.2.1'", 5)}, 'Agent ' || i, ${maybe("'DE'", 7)}, i % 3, ${maybe('i', 2)}, '["otp"]', ${maybe('i', 4)} FROM n`)
  await db.execute(`${numbers(rows)} INSERT INTO throttles (key, attempts, blocked_until, expires_at, attempt_id)
    SELECT hex(i * 7919), i, i % 2, i, ${maybe("'abc+'", 2)} FROM n`)
  await db.execute(`${numbers(rows)} INSERT INTO user_activity_logs (id, user_id, actor_id, action, details, ip, user_agent,
    country, request_id) SELECT ${id('i')}, ${maybe(user, 11)}, ${maybe("printf('user-%d', i % 993)", 3)},
    CASE i % 50 WHEN 0 THEN 'user.disabled' ELSE 'session.started' END, json_object('reason', 'word' || i), '192.0.2.1', NULL, 'DE', i FROM n`)
}

/** What a later migration has added to a table that moved: empty, and no part of the move. */
const ADDED_LATER = 'resource'

/** All rows by their key, read page by page. */
async function rowsOf(db: Client, table: Table) {
  const key = TABLES[table]
  const found = new Map<string, Record<string, unknown>>()
  for (let last = ''; ; ) {
    const sql = `SELECT * FROM ${table} WHERE ${key} > ? ORDER BY ${key} LIMIT 5000`
    const { rows } = await db.execute({ sql, args: [last] })
    if (rows.length === 0) return found
    for (const row of rows) {
      const { [ADDED_LATER]: added = null, ...moved } = row
      found.set(String(row[key]), added === null ? moved : { ...row })
    }
    last = String(rows.at(-1)![key])
  }
}
type Rows = Awaited<ReturnType<typeof rowsOf>>

/** What the version before writes meanwhile, and what has to stand there then. Answers the longest that it waited. */
function writeMeanwhile(url: string, expected: Record<Table, Rows>) {
  const db = createClient({ url })
  let goesOn = true
  let longestMs = 0
  let writes = 0
  const [sessions, history] = [[...expected.sessions.keys()], [...expected.user_activity_logs.keys()]]
  const pick = (keys: string[]) => keys[Math.floor(Math.random() * keys.length)]!
  async function write() {
    const [refreshed, ended, gone, erased, old] = [sessions, sessions, sessions, history, history].map(
      pick,
    ) as [string, string, string, string, string]
    const fresh = crypto.randomUUID()
    const now = Date.now()
    await db.batch(
      [
        {
          sql: 'UPDATE sessions SET counter = counter + 1, idle_expires_at = ? WHERE id = ?',
          args: [now, refreshed],
        },
        {
          sql: "UPDATE sessions SET revoked_at = ?, revoked_reason = 'late' WHERE id = ?",
          args: [now, ended],
        },
        { sql: 'DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE id = ?)', args: [gone] },
        {
          sql: `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
            SELECT ?, 'fresh', 0, 0, 0, 0, 0, 0 WHERE true ON CONFLICT (id) DO NOTHING`,
          args: [fresh],
        },
        {
          sql: `INSERT INTO throttles (key, attempts, blocked_until, expires_at, attempt_id) SELECT 'one', 1, 0, 0, NULL WHERE true
            ON CONFLICT (key) DO UPDATE SET attempts = attempts + 1`,
          args: [],
        },
        {
          sql: "INSERT INTO user_activity_logs (id, action, user_id) VALUES (?, 'login.failed', 'fresh')",
          args: [fresh],
        },
        { sql: 'UPDATE user_activity_logs SET ip = NULL, details = NULL WHERE id = ?', args: [erased] },
        { sql: 'DELETE FROM user_activity_logs WHERE id = ?', args: [old] },
      ],
      'write',
    )
    const change = (table: Table, key: string, changes: object) => {
      const row = expected[table].get(key)
      if (row) Object.assign(row, changes)
    }
    change('sessions', refreshed, {
      counter: Number(expected.sessions.get(refreshed)?.counter) + 1,
      idle_expires_at: now,
    })
    change('sessions', ended, { revoked_at: now, revoked_reason: 'late' })
    expected.sessions.delete(gone)
    const nothing = Object.fromEntries(
      Object.keys(expected.sessions.values().next().value!).map((name) => [name, null]),
    )
    expected.sessions.set(fresh, {
      ...nothing,
      ...{
        id: fresh,
        user_id: 'fresh',
        counter: 0,
        rotated_at: 0,
        created_at: 0,
        last_seen_at: 0,
        idle_expires_at: 0,
      },
      ...{ expires_at: 0, turn: 0, amr: '["pwd"]' },
    })
    const counted = expected.throttles.get('one')
    const attempts = Number(counted?.attempts ?? 0) + 1
    expected.throttles.set('one', { key: 'one', attempts, blocked_until: 0, expires_at: 0, attempt_id: null })
    const action = {
      id: fresh,
      user_id: 'fresh',
      actor_id: null,
      action: 'login.failed',
      details: null,
      ip: null,
    }
    expected.user_activity_logs.set(fresh, { ...action, user_agent: null, country: null, request_id: null })
    change('user_activity_logs', erased, { ip: null, details: null })
    expected.user_activity_logs.delete(old)
  }
  const running = (async () => {
    while (goesOn) {
      const began = performance.now()
      await write()
      longestMs = Math.max(longestMs, performance.now() - began)
      writes += 1
      await delay(5)
    }
  })()
  return async () => {
    goesOn = false
    await running
    return { longestMs, writes }
  }
}

const startRunner = (url: string) => {
  const path = join(import.meta.dirname, '../../scripts/migrate.ts')
  return spawn(process.execPath, [path], {
    env: { TURSO_DATABASE_URL: url },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}
const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) => {
    child.on('exit', (code) => resolve(code))
  })

/** A way to a database, and what share of all that is copied of a table, or taken out of the old one, went in one write at most. */
async function watched(libsql: string) {
  const shared = { libsql, redis: libsql, mail: libsql }
  const startFresh = async () => shared
  const { url, close } = await startProxy({ shared, startFresh, redisMode: 'pass', redisToken: '' })
  onTestFinished(close)
  return {
    url: `${url}/moves/libsql/`,
    async shares() {
      const log = (await (await fetch(`${url}/moves/__log`)).json()) as LogEntry[]
      const writes = log.flatMap(({ statements }) => statements).filter(({ rowsWritten }) => rowsWritten > 0)
      const byMove = Map.groupBy(
        writes,
        ({ sql }) => /(?<=-- In steps: )\w+|(?<=DELETE FROM )__\w+_before/.exec(sql)?.[0] ?? '',
      )
      byMove.delete('')
      return new Map(
        [...byMove].map(([name, written]) => {
          const rows = written.map(({ rowsWritten }) => rowsWritten)
          return [name, Math.max(...rows) / rows.reduce((sum, one) => sum + one, 0)]
        }),
      )
    },
  }
}

test(`Fault 31: ${ROWS} rows a table move in steps, beside what is written, whenever the runner is killed: none is lost, and no writer waits`, async () => {
  const { url, db } = await startDatabase()
  await migrate(url, undefined, firstOf(BEFORE, mkdtempSync(join(home, 'older-'))))
  await fill(db, ROWS)
  const expected = {
    sessions: await rowsOf(db, 'sessions'),
    throttles: await rowsOf(db, 'throttles'),
    user_activity_logs: await rowsOf(db, 'user_activity_logs'),
  }
  const stop = writeMeanwhile(url, expected)
  const { url: way, shares } = await watched(url)
  const moves = readMigrations(MIGRATIONS).filter((migration) => moveOf(migration))

  // Killed while it copies each of the tables, and while it empties the first of the old ones.
  for (const [name, stage] of [
    ...moves.map((move) => [move.name, 'copy'] as const),
    [moves[0]!.name, 'empty'] as const,
  ]) {
    const runner = startRunner(way)
    const isOver = ended(runner)
    const isThere = async () => {
      const hasBegun =
        stage === 'copy' ? "cursor > ''" : `(SELECT min(id) FROM __sessions_before) > ${id('100')}`
      const sql = `SELECT 1 FROM __moves WHERE name = ? AND stage = ? AND ${hasBegun}`
      const found = await db.execute({ sql, args: [name, stage] }).catch(() => undefined)
      return (found?.rows.length ?? 0) > 0
    }
    while (!(await isThere()) && runner.exitCode === null) await delay(5)
    runner.kill('SIGKILL')
    expect(await isOver, `${name} ${stage}`).toBe(null)
  }
  expect(await ended(startRunner(way))).toBe(0)

  const { longestMs, writes } = await stop()
  expect(writes).toBeGreaterThan(50)
  for (const table of Object.keys(TABLES) as Table[]) {
    const found = await rowsOf(db, table)
    expect([table, found.size]).toEqual([table, expected[table].size])
    const wrong = [...expected[table]].filter(
      ([key, row]) => JSON.stringify(inOrder(row)) !== JSON.stringify(inOrder(found.get(key) ?? {})),
    )
    expect([table, wrong.slice(0, 3)]).toEqual([table, []])
  }
  const left = await db.execute(
    "SELECT name FROM sqlite_master WHERE name LIKE '%\\_before' ESCAPE '\\' OR name LIKE '%\\_next' ESCAPE '\\'",
  )
  expect(left.rows).toEqual([])
  const reasons = await db.execute('SELECT count(*) AS n FROM reasons_fts')
  const disabled = await db.execute(
    "SELECT count(*) AS n FROM user_activity_logs WHERE action = 'user.disabled' AND details IS NOT NULL",
  )
  expect(reasons.rows[0]!.n).toBe(disabled.rows[0]!.n)
  console.log(`${writes} writes meanwhile, the longest ${Math.round(longestMs)} ms`)
  // Each write is short: the rows of a table go in many. How long one takes is the machine's.
  const most = await shares()
  expect([...most.keys()].sort()).toEqual(
    Object.keys(TABLES)
      .flatMap((table) => [`__${table}_before`, table])
      .sort(),
  )
  for (const [name, share] of most) expect([name, share < 0.4]).toEqual([name, true])
  await expectSameSchema(db)
})

const inOrder = (row: object) => Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))

/** However it was made, a database ends where a new one does. */
async function expectSameSchema(db: Client) {
  const fresh = await startDatabase()
  await migrate(fresh.url)
  const schemaOf = async (client: Client) =>
    (
      await client.execute(
        `SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE '\\_\\_%' ESCAPE '\\' AND tbl_name <> '__moves' ORDER BY type, name`,
      )
    ).rows.map((row) => ({ ...row }))
  expect(await schemaOf(db)).toEqual(await schemaOf(fresh.db))
}

test('Fault 31: a large move that fails leaves the old table, and says what was applied before it', async () => {
  const { url, db } = await startDatabase()
  const names = readMigrations(MIGRATIONS).map(({ name }) => name)
  await migrate(url, undefined, firstOf(BEFORE - 1, mkdtempSync(join(home, 'older-'))))
  await fill(db, 5001)
  const before = await rowsOf(db, 'sessions')
  // Something that has its name is in the way.
  await db.execute('CREATE TABLE __sessions_next (id text)')
  await expect(migrate(url)).rejects.toThrow(`Applied: ${names[BEFORE - 1]}. Then: `)
  expect(await rowsOf(db, 'sessions')).toEqual(before)
  await db.execute('DROP TABLE __sessions_next')
  expect(await migrate(url)).toEqual(names.slice(BEFORE))
  expect(await rowsOf(db, 'sessions')).toEqual(before)
  expect(await migrate(url)).toEqual([])
})

test('Fault 31: two runners at once move a large table once', async () => {
  const { url, db } = await startDatabase()
  await migrate(url, undefined, firstOf(BEFORE, mkdtempSync(join(home, 'older-'))))
  await fill(db, 6000)
  const before = await rowsOf(db, 'user_activity_logs')
  const codes = await Promise.all([startRunner(url), startRunner(url)].map(ended))
  expect(codes).toContain(0)
  expect(await migrate(url)).toEqual([])
  expect(await rowsOf(db, 'user_activity_logs')).toEqual(before)
  await expectSameSchema(db)
})

test('A dump of a database whose tables move in steps, or did once, is restored whole', async () => {
  const { url, db } = await startDatabase()
  await migrate(url, undefined, firstOf(BEFORE, mkdtempSync(join(home, 'older-'))))
  await fill(db, 5001)
  const expected = await Promise.all((Object.keys(TABLES) as Table[]).map((table) => rowsOf(db, table)))

  const expectRestored = async (when: string) => {
    const dump = join(mkdtempSync(join(home, 'dump-')), 'dump.sql')
    writeFileSync(dump, await (await fetch(`${url}/dump`)).text())
    const empty = await startDatabase()
    const counts = await restoreDump(dump, empty.url)
    expect([when, await restoreDump(dump, empty.url, undefined, true)]).toEqual([when, counts])
    expect([when, [...counts.keys()].filter((table) => table.startsWith('__'))]).toEqual([when, []])
    for (const [index, table] of (Object.keys(TABLES) as Table[]).entries())
      expect([when, await rowsOf(empty.db, table)]).toEqual([when, expected[index]])
    expect([when, await migrate(empty.url)]).toEqual([when, []])
    await expectSameSchema(empty.db)
  }

  const [migration] = readMigrations(MIGRATIONS).slice(BEFORE)
  const { name, digest, when } = migration!
  const move = moveOf(migration!)!
  await expect(moveInSteps(db, name, { ...move, copy: 'SELECT stopped' }, [])).rejects.toThrow('stopped')
  await expectRestored('begun')
  const args = [name, digest, when]
  const sql = 'INSERT INTO __drizzle_migrations (name, hash, created_at) VALUES (?, ?, ?)'
  await moveInSteps(db, name, move, [{ sql, args }])
  await expectRestored('swapped')
  await migrate(url)
  await expectRestored('done')
})

test('A dump with rows of a table that is not of Roster is refused before anything is loaded, in a dry run as well', async () => {
  const { url, db } = await startDatabase()
  await migrate(url)
  await db.batch(['CREATE TABLE guests (name text)', "INSERT INTO guests VALUES ('Ada')"], 'write')
  const dump = join(mkdtempSync(join(home, 'dump-')), 'dump.sql')
  writeFileSync(dump, await (await fetch(`${url}/dump`)).text())
  const empty = await startDatabase()
  const why = 'The dump has rows of guests, which is not a table of Roster.'
  await expect(restoreDump(dump, empty.url, undefined, true)).rejects.toThrow(why)
  await expect(restoreDump(dump, empty.url)).rejects.toThrow(why)
  expect((await empty.db.execute('SELECT name FROM sqlite_master')).rows).toEqual([])
})
