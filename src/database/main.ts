import { createClient, type InStatement, LibsqlError, type ResultSet } from '@libsql/client/http'
import { type SQL, sql, type Table } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/libsql/http'
import { SQLiteSyncDialect } from 'drizzle-orm/sqlite-core'
import { AppError, unavailable } from '../problem.ts'
import type { Meter } from './meter.ts'

/** Builds statements; runs none. Connections belong to a request, builders to nobody. */
export const build = drizzle.mock()

const READ_TIMEOUT_MS = 1500
const WRITE_TIMEOUT_MS = 3000
const BUSY_RETRIES = 3

/** Anything of Drizzle that knows its SQL: a builder, or a `sql` template. */
export type Statement = { toSQL(): { sql: string; params: unknown[] } } | SQL
/** The rows that a statement gives, as its builder's type says; a `sql<Row>` template says it itself. */
type RowsOf<S> = S extends { _: { result: (infer Row)[] } } ? Row[] : S extends SQL<infer Row> ? Row[] : never
type Rows<S extends readonly Statement[]> = { -readonly [I in keyof S]: RowsOf<S[I]> }

export interface Written {
  /** Rows that the statement changed. */
  changes: number
  rows: Record<string, unknown>[]
}

/**
 * libSQL for one request. Every call here is one HTTP request, and every failure that is not the statement's own
 * meaning (a constraint) is a 503: upstream trouble is never the caller's fault.
 */
export interface Database {
  /** Reads, in one snapshot. */
  read<const S extends readonly Statement[]>(...statements: S): Promise<Rows<S>>
  /**
   * Writes: all or nothing, and alone (`BEGIN IMMEDIATE`). The only way to write: a batch of Drizzle's own begins
   * deferred, and fails under contention as soon as it reads before it writes.
   */
  writeBatch(statements: readonly Statement[]): Promise<Written[]>
  /**
   * Puts a read into whichever call goes first, so that it costs no trip of its own. `settle` sends it alone if
   * none went.
   */
  rideAlong<S extends Statement>(statement: S): { rows: Promise<RowsOf<S>>; settle(): void }
}

export function openDatabase(url: string, authToken: string, meter: Meter): Database {
  // A client per request: one kept for longer queues across requests, and hangs when a caller goes away.
  const clientWithin = (timeoutMs: number) =>
    createClient({
      url,
      authToken,
      fetch: (request: Request) => fetch(request, { signal: AbortSignal.timeout(timeoutMs) }),
    })
  const readClient = clientWithin(READ_TIMEOUT_MS)
  const writeClient = clientWithin(WRITE_TIMEOUT_MS)
  let passenger: { statement: InStatement; board(result: Promise<ResultSet>): void } | undefined

  async function run(mode: 'read' | 'write', statements: InStatement[]): Promise<ResultSet[]> {
    const guest = passenger
    passenger = undefined
    const all = guest ? [guest.statement, ...statements] : statements
    const client = mode === 'read' ? readClient : writeClient
    const answer = meter.time('db', () =>
      all.length === 1 && mode === 'read'
        ? client.execute(all[0]!).then((result) => [result])
        : retryWhileBusy(() => client.batch(all, mode)),
    )
    guest?.board(answer.then((results) => results[0]!, translate))
    const results = await answer.catch(translate)
    return guest ? results.slice(1) : results
  }

  return {
    async read(...statements) {
      const results = await run('read', statements.map(toLibsql))
      return results.map((result) => result.rows) as never
    },
    async writeBatch(statements) {
      const results = await run('write', statements.map(toLibsql))
      return results.map((result) => ({ changes: result.rowsAffected, rows: result.rows as never }))
    },
    rideAlong(statement) {
      const { promise, resolve } = Promise.withResolvers<ResultSet>()
      promise.catch(() => {}) // Whoever waits for it hears of it; nobody else has to.
      passenger = { statement: toLibsql(statement), board: resolve }
      return {
        rows: promise.then((result) => result.rows) as never,
        settle: () => {
          if (passenger) void run('read', []).catch(() => {})
        },
      }
    },
  }
}

const dialect = new SQLiteSyncDialect()

function toLibsql(statement: Statement): InStatement {
  const query = 'toSQL' in statement ? statement.toSQL() : dialect.sqlToQuery(statement)
  return { sql: query.sql, args: query.params as never }
}

/** SQLITE_BUSY is the one failure that surely changed nothing, so it may be tried again blindly. */
async function retryWhileBusy<T>(call: () => Promise<T>, left = BUSY_RETRIES): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof LibsqlError && error.code.includes('BUSY')) || left === 0) throw error
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 100))
    return retryWhileBusy(call, left - 1)
  }
}

/** A broken constraint keeps its name for the caller to translate; everything else is a 503. */
function translate(error: unknown): never {
  if (error instanceof LibsqlError && error.code.startsWith('SQLITE_CONSTRAINT')) throw error
  if (error instanceof AppError) throw error
  throw unavailable('database_unavailable', 'The database did not answer. Nothing is lost; try again.', error)
}

/** `INSERT … SELECT … WHERE`: a row that comes to be only under a condition, decided inside the batch. */
export function insertWhere(table: Table, row: Record<string, unknown>, condition: SQL): SQL {
  const names = sql.join(
    Object.keys(row).map((name) => sql.identifier(name)),
    sql`, `,
  )
  const values = sql.join(
    Object.values(row).map((value) => sql`${value}`),
    sql`, `,
  )
  return sql`INSERT INTO ${table} (${names}) SELECT ${values} WHERE ${condition}`
}

/** Whether a batch failed because a value that has to be unique was taken. */
export const isUniqueViolation = (error: unknown, column: string) =>
  error instanceof LibsqlError && error.code.startsWith('SQLITE_CONSTRAINT') && error.message.includes(column)

/**
 * True where the statement before it in the batch changed something. History is written on this condition, so
 * that there is never a row without its change.
 */
export const lastStatementChanged = sql`changes() > 0`
