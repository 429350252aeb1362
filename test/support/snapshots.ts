import type { Api } from './api.ts'

/** Everything in the database, table by table. */
export async function dump(api: Api): Promise<Record<string, Record<string, unknown>[]>> {
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
  )
  const rows = await Promise.all(
    tables.map(async ({ name }) => [name, await api.sql(`SELECT * FROM "${name}"`)]),
  )
  return Object.fromEntries(rows)
}
