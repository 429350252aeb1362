import { createReadStream } from 'node:fs'
import { type Client, createClient } from '@libsql/client/web'
import { readArguments, runCommand } from './command.ts'
import { migrate } from './migrate.ts'
import { MIGRATIONS, type Migration, readMigrations } from './migrations.ts'
import { isOfMove } from './moves.ts'
import { linesOf } from './people-export.ts'

const USAGE = `npm run db:restore -- dump.sql

Loads a dump (SQL, as sqld's /dump or sqlite3's .dump writes it) into an empty database: migrates it as far as the dump was,
loads the rows of ordinary tables, from which the search and the totals are rebuilt, and applies the migrations since. Then:
npm run db:restored. It needs TURSO_DATABASE_URL, and TURSO_AUTH_TOKEN where the database asks for one.

  --dry-run   says what the dump has, and loads nothing`

/** Rows of `system_state`: `db:restored` has begun, has ended what ends for everybody, and has finished. */
export const RESTORE_STATES = ['restoring', 'restoring_ended', 'restored'] as const

const APPLIED = '__drizzle_migrations'
const ROWS_PER_BATCH = 200
const BYTES_PER_BATCH = 512 * 1024
/**
 * These tables are loaded before those whose triggers look for their rows. Webhooks come after the history, or each
 * of its rows would be delivered to them. Triggers maintain the rest as always: totals, and the search tables.
 */
const FIRST = ['users', 'user_activity_logs']
const LAST = ['webhooks', 'webhook_deliveries']
/** Filled by triggers. */
const MADE = ['user_totals']

interface Row {
  table: string
  statement: string
}

const IS_END = /^COMMIT;$/i

/** The text of a dump. A last line without a line break counts as a line. */
async function* textOf(path: string): AsyncGenerator<string> {
  yield* createReadStream(path, 'utf8')
  yield '\n'
}

/** SQLite ends a statement at a NUL, which can only be inside a text. */
const withoutNul = (statement: string) => statement.replaceAll('\0', "'||char(0)||'")

/** The rows of a dump, each as the statement that inserts it. Throws if the dump is cut off, even between two rows. */
async function* rowsOf(path: string): AsyncGenerator<Row> {
  let statement = ''
  let table: string | undefined
  let last = ''
  let isOver = false
  for await (const line of linesOf(textOf(path))) {
    if (isOver && line.trim() !== '')
      throw new Error('The dump goes on after its COMMIT;: give one dump, not a file of two.')
    last = line.trim() || last
    isOver ||= table === undefined && IS_END.test(line.trim())
    table ??= /^INSERT INTO ["'`]?(\w+)["'`]?\s*(\([^)]*\)\s*)?VALUES\s*\(/i.exec(line)?.[1]
    if (table === undefined) continue
    statement += statement === '' ? line : `\n${line}`
    // Inside a text or an identifier, a line may end with anything.
    const isWhole = /;\r?$/.test(line) && (statement.split("'").length - 1) % 2 === 0
    if (!isWhole) continue
    yield { table, statement: withoutNul(statement) }
    statement = ''
    table = undefined
  }
  if (table !== undefined) throw new Error(`The dump ends in the middle of a row of ${table}.`)
  if (!IS_END.test(last)) throw new Error('The dump breaks off: a whole one ends in COMMIT; alone.')
}

interface Contents {
  /** Those of our migrations that the dump had. */
  had: Migration[]
  /** The tables that rows are loaded into. */
  tables: string[]
  /** How many rows of them the dump has. */
  counts: Map<string, number>
}

/** What a dump has. Throws if it has migrations or tables that are not ours. */
async function contentsOf(path: string): Promise<Contents> {
  const known = readMigrations(MIGRATIONS)
  const names = new Set<string>()
  const counts = new Map<string, number>()
  for await (const { table, statement } of rowsOf(path)) {
    if (table !== APPLIED) {
      if (!isLeftOut(table)) counts.set(table, (counts.get(table) ?? 0) + 1)
      continue
    }
    const found = known.find(({ digest, olderForms }) =>
      [digest, ...olderForms].some((one) => statement.includes(`'${one}'`)),
    )
    if (!found)
      throw new Error(
        'The dump is from a newer version than this one, or from another: one of its migrations is missing here.',
      )
    names.add(found.name)
  }
  if (names.size === 0) throw new Error('The dump names no migration of Roster: is it whole, and of Roster?')
  const had = known.filter(({ name }) => names.has(name))
  const tables = tablesAfter(had)
  for (const table of counts.keys())
    if (!tables.includes(table))
      throw new Error(`The dump has rows of ${table}, which is not a table of Roster.`)
  return { had, tables, counts }
}

const TABLE_STEP =
  /^(?:CREATE TABLE (?:IF NOT EXISTS )?`(?<created>\w+)`|ALTER TABLE `(?<from>\w+)` RENAME TO `(?<to>\w+)`|DROP TABLE `(?<dropped>\w+)`)/m

/** The tables that are there after these migrations, as their text says: a dry run has no database to ask. */
function tablesAfter(migrations: Migration[]): string[] {
  const tables = new Set<string>()
  for (const statement of migrations.flatMap(({ statements }) => statements)) {
    const { created, from, to, dropped } = TABLE_STEP.exec(statement)?.groups ?? {}
    for (const gone of [from, dropped]) if (gone) tables.delete(gone)
    for (const name of [created, to]) if (name) tables.add(name)
  }
  return [...tables].filter((table) => !isLeftOut(table))
}

/** Not loaded: the search tables, SQLite's own, what triggers fill, and what a move needs while it lasts. */
const isLeftOut = (table: string) =>
  /_fts(_|$)/.test(table) || /^(sqlite|libsql)_/.test(table) || MADE.includes(table) || isOfMove(table)

/** Loads the dump's rows of these tables, in order. */
async function load(client: Client, path: string, these: readonly string[]) {
  let batch: string[] = []
  let bytes = 0
  const send = async () => {
    if (batch.length > 0) await client.batch(batch, 'write')
    batch = []
    bytes = 0
  }
  for await (const { table, statement } of rowsOf(path)) {
    if (!these.includes(table)) continue
    batch.push(statement)
    bytes += statement.length
    if (batch.length === ROWS_PER_BATCH || bytes > BYTES_PER_BATCH) await send()
  }
  await send()
}

/** Restores a dump. Returns how many rows of each table it has. */
export async function restoreDump(path: string, url: string, authToken?: string, isDryRun = false) {
  const { had, tables, counts } = await contentsOf(path)
  if (isDryRun) return counts
  const client = createClient(authToken ? { url, authToken } : { url })
  try {
    const [found] = (await client.execute("SELECT count(*) AS total FROM sqlite_master WHERE type = 'table'"))
      .rows
    if (Number(found!.total) > 0)
      throw new Error(
        'The database is not empty: a dump is loaded only into an empty one. If loading broke off, make another.',
      )
    await migrate(url, authToken, MIGRATIONS, false, (name) => had.some((one) => one.name === name))
    const between = tables.filter((table) => ![...FIRST, ...LAST].includes(table))
    // Rows that migrations have inserted, and that the dump has as well.
    await client.batch(
      between.map((table) => `DELETE FROM "${table}"`),
      'write',
    )
    for (const group of [...FIRST.map((table) => [table]), between, LAST]) await load(client, path, group)
    await keepSequences(client, path)
    for (const [table, expected] of counts) {
      const [row] = (await client.execute(`SELECT count(*) AS total FROM "${table}"`)).rows
      if (Number(row!.total) !== expected)
        throw new Error(
          `${table} has ${row!.total} rows, and the dump ${expected}: do not rely on any of it.`,
        )
    }
    await migrate(url, authToken)
    // That an earlier restore was handled says nothing about this one.
    const places = RESTORE_STATES.map(() => '?').join(', ')
    await client.execute({
      sql: `DELETE FROM system_state WHERE name IN (${places})`,
      args: [...RESTORE_STATES],
    })
    return counts
  } finally {
    client.close()
  }
}

/** No sequence number is given twice, not even that of a row that is gone. */
async function keepSequences(client: Client, path: string) {
  for await (const { table, statement } of rowsOf(path)) {
    const [, name, seq] =
      /VALUES\('(\w+)',(\d+)\);\r?$/.exec(table === 'sqlite_sequence' ? statement : '') ?? []
    if (name === undefined) continue
    const { rowsAffected } = await client.execute({
      sql: 'UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?',
      args: [Number(seq), name],
    })
    if (rowsAffected === 0)
      await client.execute({
        sql: 'INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)',
        args: [name, Number(seq)],
      })
  }
}

async function main() {
  const { words, isDryRun } = readArguments({ usage: USAGE, options: {}, words: 1, ofDeployment: true })
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: authToken } = process.env
  if (words[0] === undefined) throw new Error(USAGE)
  if (!url) throw new Error('TURSO_DATABASE_URL is missing: where is the empty database?')
  const counts = await restoreDump(words[0], url, authToken, isDryRun)
  for (const [table, total] of counts) console.log(`${table}: ${total}`)
  console.log(
    isDryRun
      ? 'Nothing was loaded.'
      : 'Everything is there. What was undone since the backup is not undone yet: npm run db:restored',
  )
}

if (import.meta.main) runCommand(main)
