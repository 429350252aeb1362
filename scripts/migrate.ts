import {
  type Client,
  createClient,
  type InStatement,
  LibsqlBatchError,
  LibsqlError,
} from '@libsql/client/web'
import { readArguments, runCommand } from './command.ts'
import { findFaults, freeze, MIGRATIONS, type Migration, readMigrations } from './migrations.ts'
import { emptyOldTables, isLarge, moveInSteps, moveOf } from './moves.ts'

const USAGE = `npm run db:migrate [-- --dry-run]

Applies the migrations that the database does not have yet: all of them or, when one fails, none. Where one moves a large
table, those before it are applied first, and it in steps, while the deployment goes on. May be repeated, and goes on
where it stopped. It needs TURSO_DATABASE_URL, and TURSO_AUTH_TOKEN where the database asks for one.

  --dry-run   says what would be applied or frozen, and does nothing
  --check     compares the files with the digests that were committed, and asks no database
  --freeze    writes down the digests of new migrations: from then on they are not changed (npm run db:freeze)`

/** Drizzle's own table and columns, so that either tool can go on where the other stopped. `name` is our addition. */
const APPLIED = '__drizzle_migrations'

interface Applied {
  /** Null in rows that are older than this column. */
  name: string | null
  when: number
  digest: string
}

/**
 * Applies the migrations that the database does not have yet, in the journal's order and in one transaction, except
 * that a large table is moved separately, in steps (moves.ts). It compares sets of migrations, not only the newest.
 * Returns the names of those it applied, or would apply.
 *
 * @param isWanted limits the migrations: a dump of an earlier version has fewer.
 */
export async function migrate(
  url: string,
  authToken?: string,
  folder = MIGRATIONS,
  isDryRun = false,
  isWanted: (name: string) => boolean = () => true,
): Promise<string[]> {
  const client = createClient(authToken ? { url, authToken } : { url })
  try {
    const migrations = readMigrations(folder).filter(({ name }) => isWanted(name))
    const applied = await readApplied(client)
    const faults = compare(migrations, applied.rows)
    if (faults.length) throw new Error(`Nothing was applied.\n${faults.join('\n')}`)
    const pending = migrations.filter((migration) => !applied.rows.some((row) => isOf(migration, row)))
    if (!isDryRun) {
      await applyAll(client, migrations, pending)
      await emptyOldTables(client, migrations)
    }
    return pending.map(({ name }) => name)
  } finally {
    client.close()
  }
}

const isOf = (migration: Migration, row: Applied) =>
  row.name === null ? row.when === migration.when : row.name === migration.name

async function readApplied(client: Client): Promise<{ rows: Applied[]; hasNames: boolean }> {
  const [found] = (
    await client.execute({ sql: 'SELECT sql FROM sqlite_master WHERE name = ?', args: [APPLIED] })
  ).rows
  if (!found) return { rows: [], hasNames: false }
  const hasNames = /\bname\b/.test(String(found.sql))
  // A write transaction, so that it waits for one that is still running.
  const [read] = await client.batch(
    [`SELECT ${hasNames ? 'name' : 'NULL'} AS name, created_at, hash FROM ${APPLIED}`],
    'write',
  )
  const rows = (read?.rows ?? []).map(({ name, created_at, hash }) => ({
    name: name === null ? null : String(name),
    when: Number(created_at),
    digest: String(hash),
  }))
  return { rows, hasNames }
}

/** Why these files and that database do not belong together, as sentences. */
function compare(migrations: Migration[], rows: Applied[]): string[] {
  return rows.flatMap((row) => {
    const migration = migrations.find((one) => isOf(one, row))
    if (!migration) {
      const name = row.name ?? `A migration of ${new Date(row.when).toISOString()}`
      return [
        `${name} was applied to this database, but is missing here. Is this an older version, or another branch?`,
      ]
    }
    if ([migration.digest, ...migration.olderForms].includes(row.digest)) return []
    return [`drizzle/${migration.name}.sql differs from what was applied to this database under that name.`]
  })
}

/** Applies as many at once as possible. Each large move comes between those before it and those after it. */
async function applyAll(client: Client, all: Migration[], pending: Migration[]): Promise<void> {
  let together: Migration[] = []
  const done: string[] = []
  try {
    for (const migration of pending) {
      const move = moveOf(migration)
      if (!move || !(await isLarge(client, migration.name, move))) {
        together.push(migration)
        continue
      }
      if (together.length) await apply(client, all, together)
      done.push(...together.map(({ name }) => name))
      together = []
      const { hasNames } = await readApplied(client)
      await moveInSteps(client, migration.name, move, [...keepNames(all, hasNames), asApplied(migration)])
      done.push(migration.name)
    }
    if (together.length) await apply(client, all, together)
  } catch (error) {
    if (done.length) throw new Error(`Applied: ${done.join(', ')}. Then: ${(error as Error).message}`)
    throw error
  }
}

/** Creates the table of applied migrations, or extends the one that Drizzle made. */
const keepNames = (all: Migration[], hasNames: boolean): InStatement[] => [
  `CREATE TABLE IF NOT EXISTS ${APPLIED} (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)`,
  ...(hasNames ? [] : [`ALTER TABLE ${APPLIED} ADD COLUMN name text`]),
  ...all.map(({ name, when }) => ({
    sql: `UPDATE ${APPLIED} SET name = ? WHERE created_at = ? AND name IS NULL`,
    args: [name, when],
  })),
  // Two runs at once, or a request that is sent twice, apply a migration only once: the second finds the name taken,
  // and fails as a whole.
  `CREATE UNIQUE INDEX IF NOT EXISTS ${APPLIED}_name ON ${APPLIED} (name)`,
]

const asApplied = ({ name, digest, when }: Migration): InStatement => ({
  sql: `INSERT INTO ${APPLIED} (name, hash, created_at) VALUES (?, ?, ?)`,
  args: [name, digest, when],
})

async function apply(client: Client, all: Migration[], pending: Migration[]): Promise<void> {
  const { hasNames } = await readApplied(client)
  const steps: { of?: string; statement: InStatement }[] = [
    ...keepNames(all, hasNames).map((statement) => ({ statement })),
    ...pending.flatMap((migration) => [
      { of: migration.name, statement: asApplied(migration) },
      ...migration.statements.map((statement) => ({ of: migration.name, statement })),
    ]),
  ]
  try {
    await client.batch(
      steps.map(({ statement }) => statement),
      'write',
    )
  } catch (error) {
    const at = error instanceof LibsqlBatchError ? steps[error.statementIndex]?.of : undefined
    await sayWhatIsTrue(client, pending, error as Error, at)
  }
}

/** An answer may be lost after the work was done. So the database is asked before anything is reported. */
async function sayWhatIsTrue(client: Client, pending: Migration[], error: Error, at: string | undefined) {
  const why = `${at ? `${at}: ` : ''}${error.message}`
  const applied = await readApplied(client).catch(() => undefined)
  if (!applied) {
    throw new Error(
      `Whether ${pending.map(({ name }) => name).join(', ')} was applied is not known: the database stopped answering. ` +
        `Run this again: nothing is applied twice. (${why})`,
    )
  }
  if (pending.every((migration) => applied.rows.some((row) => isOf(migration, row)))) return
  const wasRefused = error instanceof LibsqlError && error.code.startsWith('SQL')
  throw new Error(
    wasRefused
      ? `No migration was applied: ${why}`
      : `No migration is applied so far, and one that is still on its way may be: run this again. (${why})`,
  )
}

async function main() {
  const options = { check: { type: 'boolean' }, freeze: { type: 'boolean' } } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options, ofDeployment: true })
  if (values.freeze)
    return print(freeze(MIGRATIONS, isDryRun), isDryRun ? 'would freeze' : 'frozen', 'nothing to freeze')
  if (values.check) {
    const faults = findFaults(MIGRATIONS)
    if (faults.length) throw new Error(faults.join('\n'))
    return
  }
  const { TURSO_DATABASE_URL: url, TURSO_AUTH_TOKEN: authToken } = process.env
  if (!url) {
    throw new Error(
      'TURSO_DATABASE_URL is missing: where is the database? (TURSO_AUTH_TOKEN, too, unless it asks for none.)',
    )
  }
  const names = await migrate(url, authToken, MIGRATIONS, isDryRun)
  print(names, isDryRun ? 'would apply' : 'applied', 'nothing to apply')
}

const print = (names: string[], verb: string, none: string) =>
  console.log(names.length ? names.map((name) => `${verb} ${name}`).join('\n') : none)

if (import.meta.main) runCommand(main)
