import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from '@libsql/client/web'
import { migrate as migrateByDrizzle } from 'drizzle-orm/libsql/migrator'
import { drizzle } from 'drizzle-orm/libsql/web'
import { beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../scripts/migrate.ts'
import { findFaults, freeze, MIGRATIONS, readMigrations } from '../../scripts/migrations.ts'
import { openDatabases } from '../support/databases.ts'
import { type Mode, startProxy } from '../support/proxy.ts'

const OLDER = join(import.meta.dirname, 'older-migrations')
const all = readMigrations(MIGRATIONS).map(({ name }) => name)
const { home, startDatabase } = openDatabases('migrations')

/** A copy of the migrations, to be spoilt. */
function copyMigrations() {
  const folder = mkdtempSync(join(home, 'migrations-'))
  cpSync(MIGRATIONS, folder, { recursive: true })
  const journal = join(folder, 'meta/_journal.json')
  return {
    folder,
    editJournal(edit: (entries: { tag: string; when: number }[]) => object[]) {
      const { entries, ...rest } = JSON.parse(readFileSync(journal, 'utf8'))
      writeFileSync(journal, JSON.stringify({ ...rest, entries: edit(entries) }))
    },
    write: (name: string, sql: string) => writeFileSync(join(folder, `${name}.sql`), sql),
    /** Adds one that is not among the product's. */
    add(name: string, sql: string, when: number, at = Number.POSITIVE_INFINITY) {
      writeFileSync(join(folder, `${name}.sql`), sql)
      this.editJournal((entries) => entries.toSpliced(at, 0, { tag: name, when }))
    },
  }
}

const schemaOf = async (db: Client) =>
  (
    await db.execute(
      `SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY type, name`,
    )
  ).rows.map((row) => ({ ...row }))

describe('committed migrations', () => {
  test('Fault 31: a committed migration is frozen: npm run check names the file that differs, is missing or out of place', () => {
    expect(findFaults(MIGRATIONS)).toEqual([])
    const { folder, write, editJournal, add } = copyMigrations()
    write('0002_mail', `${readFileSync(join(folder, '0002_mail.sql'), 'utf8')}\n`)
    rmSync(join(folder, '0003_cleanup_holder.sql'))
    write('0099_orphan', 'SELECT 1')
    expect(findFaults(folder)).toEqual([
      expect.stringMatching(/0002_mail\.sql was changed/),
      expect.stringMatching(/0003_cleanup_holder\.sql is missing/),
      expect.stringMatching(/0099_orphan\.sql has no entry/),
      expect.stringMatching(/names 0003_cleanup_holder/),
    ])
    add.call({ editJournal }, '0100_early', 'SELECT 1', 1)
    expect(findFaults(folder).at(-1)).toMatch(/0100_early does not come after/)
  })

  test('Fault 31: freezing records what is new, and changes no existing entry; a dry run writes nothing', () => {
    const copy = copyMigrations()
    copy.add('9000_later', 'SELECT 1', 4e12)
    expect(findFaults(copy.folder)).toEqual([expect.stringContaining('npm run db:freeze')])
    copy.write('0002_mail', 'SELECT 2')
    const before = findFaults(copy.folder)
    expect(freeze(copy.folder, true)).toEqual(['9000_later'])
    expect(findFaults(copy.folder)).toEqual(before)
    expect(freeze(copy.folder)).toEqual(['9000_later'])
    expect(findFaults(copy.folder)).toEqual([expect.stringMatching(/0002_mail\.sql was changed/)])
  })
})

describe('the runner', () => {
  test('Fault 31: a migration from a branch is applied, although a newer one was before it', async () => {
    const { url, db } = await startDatabase()
    await migrate(url)
    const copy = copyMigrations()
    const [first] = readMigrations(MIGRATIONS)
    copy.add('0000_branch', 'CREATE TABLE branch (id text)', first!.when + 1, 1)
    expect(await migrate(url, undefined, copy.folder)).toEqual(['0000_branch'])
    expect(await migrate(url, undefined, copy.folder)).toEqual([])
    expect((await db.execute('SELECT * FROM branch')).rows).toEqual([])
  })

  test('Fault 31: a migration that differs from what was applied, or is missing, is refused by name, and nothing is applied', async () => {
    const { url, db } = await startDatabase()
    const copy = copyMigrations()
    copy.add('9000_later', 'CREATE TABLE later (id text)', 4e12)
    await migrate(url, undefined, copy.folder)
    await expect(migrate(url)).rejects.toThrow('9000_later was applied to this database, but is missing here')
    copy.write('9000_later', 'CREATE TABLE later (id text, more text)')
    copy.add('9001_last', 'CREATE TABLE last (id text)', 5e12)
    await expect(migrate(url, undefined, copy.folder)).rejects.toThrow('9000_later.sql differs')
    await expect(db.execute('SELECT * FROM last')).rejects.toThrow('no such table')
  })

  test('Fault 31: a migration that fails is named, and leaves nothing behind', async () => {
    const { url, db } = await startDatabase()
    const copy = copyMigrations()
    copy.add('9000_wrong', 'CREATE TABLE fine (id text)--> statement-breakpoint\nDROP TABLE nowhere', 4e12)
    await expect(migrate(url, undefined, copy.folder)).rejects.toThrow(
      /^No migration was applied: 9000_wrong: .*nowhere/,
    )
    copy.write('9000_wrong', 'CREATE TABEL wrong')
    await expect(migrate(url, undefined, copy.folder)).rejects.toThrow(/^No migration was applied: .*TABEL/)
    expect(await schemaOf(db)).toEqual([])
  })

  test('Fault 31: two runs at once apply each migration once', async () => {
    const { url, db } = await startDatabase()
    const names = await Promise.all([migrate(url), migrate(url)])
    expect(names.flat()).toEqual(expect.arrayContaining(all))
    const { rows } = await db.execute('SELECT name, hash FROM __drizzle_migrations ORDER BY created_at')
    expect(rows.map(({ name }) => name)).toEqual(all)
  })

  test('Fault 31: --dry-run says what would be applied, and applies nothing', async () => {
    const { url, db } = await startDatabase()
    expect(await run(['--dry-run'], url)).toEqual({
      code: 0,
      output: all.map((name) => `would apply ${name}\n`).join(''),
    })
    expect((await db.execute('SELECT name FROM sqlite_master')).rows).toEqual([])
    expect(await run(['--help'], url)).toEqual({ code: 0, output: expect.stringContaining('--dry-run') })
    expect(await run(['--dryrun'], url)).toEqual({ code: 1, output: expect.stringContaining('--dryrun') })
    expect((await db.execute('SELECT name FROM sqlite_master')).rows).toEqual([])
  })
})

describe('a lost answer', () => {
  let proxyUrl: string
  let libsql: string
  beforeAll(async () => {
    const database = await startDatabase()
    libsql = database.url
    const shared = { libsql, redis: libsql, mail: libsql }
    const startFresh = async () => ({ ...shared, libsql: (await startDatabase()).url })
    const proxy = await startProxy({ shared, startFresh, redisMode: 'pass', redisToken: '' })
    proxyUrl = proxy.url
    return proxy.close
  })
  async function startLane() {
    const answer = await fetch(`${proxyUrl}/__fresh`, { method: 'POST', body: '{}' })
    const { label } = (await answer.json()) as { label: string }
    return {
      url: `${proxyUrl}/${label}/libsql/`,
      setMode: (mode: Mode) =>
        fetch(`${proxyUrl}/${label}/libsql/__mode`, { method: 'PUT', body: JSON.stringify(mode) }),
    }
  }

  test('Fault 31: after a lost answer the runner reads what is applied, and says so', async () => {
    const { url, setMode } = await startLane()
    await setMode({ mode: 'reset-after', next: 1, only: 'CREATE TABLE' })
    expect(await migrate(url)).toEqual(all)
    expect(await migrate(url)).toEqual([])
  })

  test('Fault 31: a request that did not arrive is not reported as applied, nor as never applied', async () => {
    const { url, setMode } = await startLane()
    await setMode({ mode: 'reset-before', next: 1, only: 'CREATE TABLE' })
    await expect(migrate(url)).rejects.toThrow(/^No migration is applied so far/)
    expect(await migrate(url)).toEqual(all)
  })

  test('Fault 31: if the database stops answering, nothing is claimed', async () => {
    const { url, setMode } = await startLane()
    await setMode({ mode: 'reset-after', only: 'BEGIN IMMEDIATE' })
    // An empty database is read without a transaction; from then on nothing comes back.
    await expect(migrate(url)).rejects.toThrow(/is not known/)
    await setMode({ mode: 'pass' })
    expect(await migrate(url)).toEqual([])
  })
})

/** Every state that a commit of this repository left a database in. */
const STATES = [
  { tables: 'older', triggers: 'first', count: 2 },
  { tables: 'older', triggers: 'second', count: 2 },
  { tables: 'older', triggers: 'newest', count: 2 },
  { tables: 'older', triggers: 'first', count: 3 },
  { tables: 'older', triggers: 'newest', count: 3 },
  { tables: 'newest', triggers: 'newest', count: 3 },
  { tables: 'newest', triggers: 'newest', count: 4 },
  // Begun by an earlier commit, and brought on by a later one.
  { tables: 'older', triggers: 'first', count: 4 },
  { tables: 'older', triggers: 'second', count: 4 },
] as const

describe('databases made by earlier commits', () => {
  let newest: unknown[]
  beforeAll(async () => {
    const { url, db } = await startDatabase()
    await migrate(url)
    newest = await schemaOf(db)
  })

  test.each(STATES)(
    'Fault 31: a database made by the $tables tables, the $triggers triggers and $count migrations ends where a new one does, with every row',
    async ({ tables, triggers, count }) => {
      const { url, db } = await startDatabase()
      const copy = copyMigrations()
      copy.editJournal((entries) => entries.slice(0, count))
      if (tables === 'older') copy.write('0000_tables', readOlder('0000_tables.1'))
      if (triggers !== 'newest')
        copy.write(
          '0001_search_totals_history',
          readOlder(`0001_search_totals_history.${triggers === 'first' ? 1 : 2}`),
        )
      await migrateByDrizzle(drizzle({ client: db }), { migrationsFolder: copy.folder })

      for (const name of ['Ada', 'Bob', 'Cleo']) {
        await db.execute({
          sql: `INSERT INTO users (id, email, email_normalized, name, role, status, version, token_epoch, failed_logins,
            created_at, updated_at) VALUES (?, ?, ?, ?, 'user', 'active', 1, 0, 0, 1, 1)`,
          args: [name, `${name}@people.test`, `${name}@people.test`, name],
        })
      }
      await db.execute("UPDATE users SET name = 'Adelaide' WHERE id = 'Ada'")
      await db.execute("DELETE FROM users WHERE id = 'Bob'")
      await db.execute("INSERT INTO user_activity_logs (id, action) VALUES ('0', 'user.created')")
      const counters = tables === 'older' ? 'login_throttles' : 'throttles'
      await db.execute(`INSERT INTO ${counters} VALUES ('somebody', 7, 2, 3)`)

      expect(await migrate(url)).toEqual(all.slice(count))
      expect(await schemaOf(db)).toEqual(newest)
      const rows = async (sql: string) => (await db.execute(sql)).rows.map((row) => Object.values(row))
      expect(await rows('SELECT id FROM users')).toEqual([['Ada'], ['Cleo']])
      expect(await rows('SELECT key, attempts, blocked_until, expires_at FROM throttles')).toEqual([
        ['somebody', 7, 2, 3],
      ])
      expect(await rows("SELECT total FROM user_totals WHERE role = 'user' AND state = 'active'")).toEqual([
        [2],
      ])
      await db.execute("INSERT INTO users_fts(users_fts, rank) VALUES ('integrity-check', 1)")
      await db.execute("UPDATE users SET name = 'Adelheid' WHERE id = 'Ada'")
      await db.execute("INSERT INTO users_fts(users_fts, rank) VALUES ('integrity-check', 1)")
      expect(await rows("SELECT rowid FROM users_fts('delhei')")).toHaveLength(1)
      await db.execute("REPLACE INTO user_activity_logs (id, action) VALUES ('0', 'another')")
      expect(await rows('SELECT action FROM user_activity_logs')).toEqual([['user.created']])
    },
  )
})

const readOlder = (file: string) => readFileSync(join(OLDER, `${file}.sql`), 'utf8')

const run = (args: string[], url: string) =>
  new Promise<{ code: number; output: string }>((resolve) => {
    const path = join(import.meta.dirname, '../../scripts/migrate.ts')
    execFile(
      process.execPath,
      [path, ...args],
      { env: { TURSO_DATABASE_URL: url } },
      (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr })
      },
    )
  })
