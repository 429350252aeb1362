import { fillPlaceholders, type SQL, sql, type Table } from 'drizzle-orm'
import {
  QueryBuilder,
  SQLiteDeleteBase,
  SQLiteInsertBuilder,
  SQLiteSyncDialect,
  type SQLiteTable,
  SQLiteUpdateBuilder,
} from 'drizzle-orm/sqlite-core'

const dialect = new SQLiteSyncDialect()

const queries = new QueryBuilder(dialect)

/** Drizzle runs nothing here, so its builders get no session. */
const none = undefined as never

/**
 * Builds statements, and runs none. Connections belong to a request; builders are shared. These are the
 * builders that `drizzle()` uses; `drizzle()` itself would add sessions, a cache and relations to the bundle.
 */
export const build = {
  select: queries.select.bind(queries) as typeof queries.select,
  insert: <T extends SQLiteTable>(table: T) => new SQLiteInsertBuilder<T, 'sync', void>(table, none, dialect),
  update: <T extends SQLiteTable>(table: T) => new SQLiteUpdateBuilder<T, 'sync', void>(table, none, dialect),
  delete: <T extends SQLiteTable>(table: T) => new SQLiteDeleteBase<T, 'sync', void>(table, none, dialect),
}

/** Anything of Drizzle's with SQL: a builder, or a `sql` template. */
export type Statement = { toSQL(): { sql: string; params: unknown[] } } | SQL

/** Statements by name, sent as one batch in this order. A list of statements gives no result. */
export type Batch = Readonly<Record<string, Statement | readonly Statement[]>>

/** The rows of a statement, by its builder's type; a `sql<Row>` template names them itself. */
export type RowsOf<S> = S extends { _: { result: (infer Row)[] } }
  ? Row[]
  : S extends SQL<infer Row>
    ? Row[]
    : never[]

/** The rows of each statement, under its name. */
export type Results<B extends Batch> = { -readonly [Name in keyof B]: RowsOf<B[Name]> }

export const toQuery = (statement: Statement): { sql: string; params: unknown[] } =>
  'toSQL' in statement ? statement.toSQL() : dialect.sqlToQuery(statement)

/** Values, or their placeholders in a prepared statement. */
export type Given<T> = { readonly [K in keyof T]: T[K] | SQL }

export type Places<V> = { readonly [K in keyof V]: SQL }

/**
 * For frequent statements: Drizzle writes their SQL once per isolate, with a named placeholder for each
 * value, and a request only fills in the values.
 */
export function prepare<V extends object, const B extends Readonly<Record<string, Statement>>>(
  make: (places: Places<V>) => B,
): (values: V) => B {
  const places = new Proxy({}, { get: (_, name) => sql`${sql.placeholder(String(name))}` })
  let queries: [name: string, query: ReturnType<typeof toQuery>][] | undefined
  return (values) => {
    queries ??= Object.entries(make(places as Places<V>)).map(([name, statement]) => [
      name,
      toQuery(statement),
    ])
    // `read` and `writeBatch` see the type of the original statements.
    const filled = queries.map(([name, { sql, params }]) => [
      name,
      { toSQL: () => ({ sql, params: fillPlaceholders(params, values as Record<string, unknown>) }) },
    ])
    return Object.fromEntries(filled) as B
  }
}

/**
 * `INSERT … SELECT … WHERE`: inserts a row only under a condition, which is decided inside the batch. `key`
 * is what makes it the same row: one that is there already is left unchanged.
 */
export function insertWhere(
  table: Table,
  row: Record<string, unknown>,
  condition: SQL,
  key: readonly string[] = ['id'],
): SQL {
  const identifiers = (names: readonly string[]) => sql.join(names.map(sql.identifier), sql`, `)
  const values = sql.join(
    Object.values(row).map((value) => sql`${value}`),
    sql`, `,
  )
  return sql`INSERT INTO ${table} (${identifiers(Object.keys(row))}) SELECT ${values} WHERE ${condition}
    ON CONFLICT (${identifiers(key)}) DO NOTHING`
}

/** The database's clock (epoch ms), for times that one Worker writes and another compares. */
export const databaseNow = sql<number>`CAST(unixepoch('subsec') * 1000 AS INTEGER)`

/**
 * A condition: the row with this id exists. A probe of its key is not billed as a row read; `EXISTS` would
 * be.
 */
export const rowExists = (table: Table, id: string): SQL => sql`${id} IN (SELECT id FROM ${table})`
