import type { Api } from './api.ts'

export type Dump = Record<string, Record<string, unknown>[]>

/** Of each table at once: libSQL answers no more than 10 MB. */
const PAGE = 500

/** Everything in the database, table by table. */
export async function dump(api: Api): Promise<Dump> {
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
  )
  const whole: Dump = {}
  let left = tables.map(({ name }) => name as string)
  for (let page = 0; left.length > 0; page++) {
    const rows = await api.sqlAll(
      left.map((name) => `SELECT * FROM "${name}" LIMIT ${PAGE} OFFSET ${page * PAGE}`),
    )
    for (const [index, name] of left.entries()) whole[name] = [...(whole[name] ?? []), ...rows[index]!]
    left = left.filter((_, index) => rows[index]!.length === PAGE)
  }
  return whole
}

const COUNTERS = {
  failed_logins: undefined,
  failed_attempts: undefined,
  failed_factors: undefined,
  code_tries: undefined,
}

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
