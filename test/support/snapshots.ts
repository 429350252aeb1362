import type { Api } from './api.ts'

export type Dump = Record<string, Record<string, unknown>[]>

/** Everything in the database, table by table. */
export async function dump(api: Api): Promise<Dump> {
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
  )
  const names = tables.map(({ name }) => name as string)
  const rows = await api.sqlAll(names.map((name) => `SELECT * FROM "${name}"`))
  return Object.fromEntries(names.map((name, index) => [name, rows[index]!]))
}

const COUNTERS = { failed_logins: undefined, failed_attempts: undefined, failed_factors: undefined }

/**
 * The differences of two dumps: `users: {…}` for a row that is in only one of them. Counters are left out, as a
 * refusal may be counted.
 */
export function differences(before: Dump, after: Dump): string[] {
  const rowsOf = (tables: Dump) =>
    Object.entries(tables)
      .filter(([table]) => !['throttles', 'challenges'].includes(table) && !table.includes('_fts'))
      .flatMap(([table, rows]) => rows.map((row) => `${table}: ${JSON.stringify({ ...row, ...COUNTERS })}`))
  const [old, now] = [new Set(rowsOf(before)), new Set(rowsOf(after))]
  return [...[...old].filter((row) => !now.has(row)), ...[...now].filter((row) => !old.has(row))]
}
