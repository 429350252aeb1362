import { setTimeout as pause } from 'node:timers/promises'
import type { Client, InStatement } from '@libsql/client/web'
import type { Migration } from './migrations.ts'

/**
 * Moves a table to another layout while the deployment keeps running. In one transaction this would be one
 * long write, and writers give up after three seconds. So a large table is moved in steps, each a short
 * transaction:
 *
 * 1. `begin`: the new table, and triggers that copy what is written meanwhile.
 * 2. `copy`: batches of rows, by key. A row that exists already came by a trigger, and is newer.
 * 3. `swap`: the new table takes the old one's name, if no row is missing.
 * 4. `empty`: the old table's rows are deleted in batches, then the table, because dropping a large table is
 * also a long write.
 *
 * Each batch records its progress in the database, so a second run of the migrations continues from there.
 *
 * Such a migration is plain SQL, which does all of this at once if the table is small (or if another tool
 * applies it). A comment marks its copying statement, `-- In steps: <table> by <key>`, to which each batch
 * adds its range of rows. Statements before it are the begin, those after it the swap, and the last one drops
 * the old table.
 */
export interface Move {
  table: string
  /** A text column that is never empty. */
  key: string
  /** The old table's name once the new one has taken its name. */
  before: string
  begin: string[]
  copy: string
  swap: string[]
}

type Stage = 'none' | 'copy' | 'empty' | 'done'

const MARK = /^-- In steps: (\w+) by (\w+)$/m
/** The table that records the progress of moves. */
const MOVES = '__moves'

/** Whether a table only serves moves: a dump may have it, and a database without a move under way needs none of it. */
export const isOfMove = (table: string) => table === MOVES || /^__\w+_(next|before)$/.test(table)

/** A table with no more rows than this is moved in one go. */
const SMALL = 5000
const MAX_ROWS = 5000
const FIRST_ROWS = 1000
/** Writers should wait no longer than a few of these. */
const LONG_MS = 200

export function moveOf({ name, statements }: Migration): Move | undefined {
  const at = statements.findIndex((statement) => MARK.test(statement))
  if (at < 0) return undefined
  const [, table, key] = MARK.exec(statements[at]!) as unknown as [string, string, string]
  const [, before] = /^\s*DROP TABLE `(\w+)`/.exec(statements.at(-1)!) ?? []
  if (before === undefined)
    throw new Error(`drizzle/${name}.sql moves a table, and does not drop it at last.`)
  return {
    table,
    key,
    before,
    begin: statements.slice(0, at),
    copy: statements[at]!,
    swap: statements.slice(at + 1, -1),
  }
}

/** Whether it must be done in steps: it has begun, or the table is large. */
export async function isLarge(client: Client, name: string, { table }: Move): Promise<boolean> {
  if (await stageOf(client, name)) return true
  if (!(await exists(client, table))) return false
  const { rows } = await client.execute(
    `SELECT count(*) AS count FROM (SELECT 1 FROM ${table} LIMIT ${SMALL + 1})`,
  )
  return Number(rows[0]!.count) > SMALL
}

/** Starts or continues a move, up to the swap. `applied` records the migration in the same transaction. */
export async function moveInSteps(
  client: Client,
  name: string,
  move: Move,
  applied: InStatement[],
): Promise<void> {
  const isAt = async (...stages: Stage[]) => stages.includes((await stageOf(client, name)) ?? 'none')
  if (await isAt('none'))
    await unlessDone(
      () => begin(client, name, move),
      () => isAt('copy', 'empty'),
    )
  const swap = [...applied, ...move.swap, setStage(name, 'empty')]
  await unlessDone(
    async () => {
      await inBatches((rows) => copyBatch(client, name, move, rows))
      await client.batch(swap, 'write')
    },
    () => isAt('empty'),
  )
}

/** Ignores an error if the work is done: its answer was lost, or another run has done it. */
async function unlessDone(work: () => Promise<unknown>, isDone: () => Promise<boolean>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(await isDone().catch(() => false))) throw error
  }
}

const begin = (client: Client, name: string, move: Move) =>
  client.batch(
    [
      `CREATE TABLE IF NOT EXISTS ${MOVES} (name text PRIMARY KEY NOT NULL, stage text NOT NULL, cursor text NOT NULL)`,
      { sql: `INSERT INTO ${MOVES} (name, stage, cursor) VALUES (?, 'copy', '')`, args: [name] },
      ...move.begin,
    ],
    'write',
  )

/**
 * Returns whether there was anything left. The batch itself reads and advances the cursor, so sending it twice copies
 * two pages.
 */
async function copyBatch(
  client: Client,
  name: string,
  { table, key, copy }: Move,
  rows: number,
): Promise<boolean> {
  const cursor = `(SELECT cursor FROM ${MOVES} WHERE name = '${name}')`
  const next = `WHERE ${key} > ${cursor} ORDER BY ${key} LIMIT ${rows}`
  const page = `SELECT ${key} FROM ${table} ${next}`
  const [left] = await client.batch(
    [
      `SELECT 1 FROM (${page}) LIMIT 1`,
      `${copy.trimEnd()} ${next}`,
      `UPDATE ${MOVES} SET cursor = coalesce((SELECT max(${key}) FROM (${page})), cursor) WHERE name = '${name}'`,
    ],
    'write',
  )
  return left!.rows.length > 0
}

const setStage = (name: string, stage: Stage): InStatement => ({
  sql: `UPDATE ${MOVES} SET stage = ? WHERE name = ?`,
  args: [stage, name],
})

/** Removes the old tables that moves have left behind. By now all writes go to the new tables. */
export async function emptyOldTables(client: Client, migrations: Migration[]): Promise<void> {
  for (const migration of migrations) {
    const move = moveOf(migration)
    if (!move || (await stageOf(client, migration.name)) !== 'empty') continue
    await unlessDone(
      async () => {
        await emptyTable(client, move)
        await client.batch([`DROP TABLE IF EXISTS ${move.before}`, setStage(migration.name, 'done')], 'write')
      },
      async () => (await stageOf(client, migration.name)) === 'done',
    )
  }
}

async function emptyTable(client: Client, { before, key }: Move): Promise<void> {
  if (!(await exists(client, before))) return
  const indexes = await client.execute({
    sql: "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
    args: [before],
  })
  for (const { name } of indexes.rows) {
    await client.batch([`DROP INDEX IF EXISTS ${name}`], 'write')
    await pause(LONG_MS)
  }
  await inBatches(async (rows) => {
    const page = `SELECT ${key} FROM ${before} ORDER BY ${key} LIMIT ${rows}`
    const [gone] = await client.batch([`DELETE FROM ${before} WHERE ${key} IN (${page})`], 'write')
    return gone!.rowsAffected > 0
  })
}

/**
 * Runs batches until one says that nothing is left. Each is as large as stays short, and batches take about half of
 * the time.
 */
async function inBatches(batch: (rows: number) => Promise<boolean>): Promise<void> {
  for (let rows = FIRST_ROWS; ; ) {
    const began = performance.now()
    if (!(await batch(rows))) return
    const ms = performance.now() - began
    rows = ms > LONG_MS ? Math.max(100, Math.floor(rows / 2)) : Math.min(MAX_ROWS, rows + 500)
    await pause(Math.min(ms, 1000))
  }
}

async function stageOf(client: Client, name: string): Promise<Stage | undefined> {
  if (!(await exists(client, MOVES))) return undefined
  const { rows } = await client.execute({ sql: `SELECT stage FROM ${MOVES} WHERE name = ?`, args: [name] })
  return rows[0]?.stage as Stage | undefined
}

const exists = async (client: Client, table: string) =>
  (
    await client.execute({
      sql: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
      args: [table],
    })
  ).rows.length > 0
