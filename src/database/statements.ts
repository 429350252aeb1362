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

/** Nothing is run by Drizzle, so its builders get no session. */
const none = undefined as never

/**
 * Builds statements; runs none. Connections belong to a request, builders to nobody. These are what `drizzle()`
 * builds with; itself it would bring sessions, a cache and relations into the bundle.
 */
export const build = {
  select: queries.select.bind(queries) as typeof queries.select,
  insert: <T extends SQLiteTable>(table: T) => new SQLiteInsertBuilder<T, 'sync', void>(table, none, dialect),
  update: <T extends SQLiteTable>(table: T) => new SQLiteUpdateBuilder<T, 'sync', void>(table, none, dialect),
  delete: <T extends SQLiteTable>(table: T) => new SQLiteDeleteBase<T, 'sync', void>(table, none, dialect),
}

/** Anything of Drizzle that knows its SQL: a builder, or a `sql` template. */
export type Statement = { toSQL(): { sql: string; params: unknown[] } } | SQL

/** Statements by name, sent as one batch in the order in which they are named. A list of them gives no result. */
export type Batch = Readonly<Record<string, Statement | readonly Statement[]>>

/** The rows that a statement gives, as its builder's type says; a `sql<Row>` template says it itself. */
export type RowsOf<S> = S extends { _: { result: (infer Row)[] } }
  ? Row[]
  : S extends SQL<infer Row>
    ? Row[]
    : never[]

/** The rows of each statement, under its name. */
export type Results<B extends Batch> = { -readonly [Name in keyof B]: RowsOf<B[Name]> }

export const toQuery = (statement: Statement): { sql: string; params: unknown[] } =>
  'toSQL' in statement ? statement.toSQL() : dialect.sqlToQuery(statement)

/** Values, or the places that stand for them in a prepared statement. */
export type Given<T> = { readonly [K in keyof T]: T[K] | SQL }

export type Places<V> = { readonly [K in keyof V]: SQL }

/**
 * Statements that are sent all the time: Drizzle writes their SQL once per isolate, with a named place for each value,
 * and a request only fills in the values.
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
    // To `read` and `writeBatch` they are the statements that they were made from.
    const filled = queries.map(([name, { sql, params }]) => [
      name,
      { toSQL: () => ({ sql, params: fillPlaceholders(params, values as Record<string, unknown>) }) },
    ])
    return Object.fromEntries(filled) as B
  }
}

/**
 * `INSERT … SELECT … WHERE`: a row that comes to be only under a condition, decided inside the batch. `key` is what
 * makes it the same row: one that is there already stays as it is.
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

/** The database's clock (epoch ms): what one Worker writes and another compares goes by this one. */
export const databaseNow = sql<number>`CAST(unixepoch('subsec') * 1000 AS INTEGER)`

/** A condition: that the row with this id is there. Its key is probed, which is counted as no row read; `EXISTS` would be. */
export const rowExists = (table: Table, id: string): SQL => sql`${id} IN (SELECT id FROM ${table})`
