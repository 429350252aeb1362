import { createClient, type InStatement, LibsqlError, type ResultSet } from '@libsql/client/http'
import { AppError, unavailable } from '../http/problem.ts'
import type { Meter } from './meter.ts'
import { type Rows, type RowsOf, type Statement, toQuery, type Written } from './statements.ts'

const READ_TIMEOUT_MS = 1500
const WRITE_TIMEOUT_MS = 3000
const BUSY_RETRIES = 3
/** Between the Worker's clock and the database's. */
const CLOCK_SKEW_MS = 30_000

/**
 * libSQL for one request. Every call here is one HTTP request; one that got no answer is sent once more. Every
 * failure that is not the statement's own meaning (a constraint) is a 503: upstream trouble is never the caller's
 * fault.
 */
export interface Database {
  /** Reads, in one snapshot. */
  read<const S extends readonly Statement[]>(...statements: S): Promise<Rows<S>>
  /**
   * Writes: all or nothing, and alone (`BEGIN IMMEDIATE`). The only way to write: a batch of Drizzle's own begins
   * deferred, and fails under contention as soon as it reads before it writes.
   *
   * A connection that breaks after the commit looks like one that breaks before it, and the batch is sent again
   * either way. So each batch has to be written such that twice is once: rows have ids made by the caller
   * (`insertWhere`), changes are conditional on what they replace, and what the caller has to know is read by
   * the last statements, not taken from `changes`, which only the first run sees.
   */
  writeBatch(statements: readonly Statement[]): Promise<Written[]>
  /**
   * Puts a read into whichever call goes first, so that it costs no trip of its own. `departed` is when that call
   * has been sent; `settle` sends the read alone if none was.
   */
  rideAlong<S extends Statement>(
    statement: S,
  ): { rows: Promise<RowsOf<S>>; departed: Promise<void>; settle(): void }
}

export function openDatabase(url: string, authToken: string, meter: Meter): Database {
  // A client per call: one kept for longer queues across requests, and hangs when a caller goes away.
  const clientWithin = (timeoutMs: number) =>
    createClient({
      url,
      authToken,
      fetch: (request: Request) => {
        const answer = fetch(request, { signal: AbortSignal.timeout(timeoutMs) })
        departure.resolve()
        return answer
      },
    })
  /** Of the first call. */
  const departure = Promise.withResolvers<void>()
  let passenger: { statement: InStatement; board(result: Promise<ResultSet>): void } | undefined

  async function run(mode: 'read' | 'write', statements: InStatement[]): Promise<ResultSet[]> {
    const guest = passenger
    passenger = undefined
    const all = guest ? [guest.statement, ...statements] : statements
    try {
      const results = await meter.time('db', () => withRetries(() => attempt(mode, all))).catch(translate)
      guest?.board(Promise.resolve(results[0]!))
      return guest ? results.slice(1) : results
    } catch (error) {
      // A broken constraint is about the caller's statements, not about the guest, who takes the next call.
      if (isConstraint(error)) passenger = guest
      else guest?.board(Promise.reject(error))
      throw error
    }
  }

  async function attempt(mode: 'read' | 'write', statements: InStatement[]): Promise<ResultSet[]> {
    if (mode === 'write') {
      const inTime = notAfter(Date.now() + WRITE_TIMEOUT_MS)
      const results = await clientWithin(WRITE_TIMEOUT_MS).batch([inTime, ...statements], mode)
      return results.slice(1)
    }
    const client = clientWithin(READ_TIMEOUT_MS)
    return statements.length === 1 ? [await client.execute(statements[0]!)] : client.batch(statements, mode)
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
        departed: departure.promise,
        settle: () => {
          if (passenger) void run('read', []).catch(() => {})
        },
      }
    },
  }
}

function toLibsql(statement: Statement): InStatement {
  const { sql, params } = toQuery(statement)
  // It could not be sent as what it is, and would come back as something else.
  if (params.some((value) => typeof value === 'string' && !value.isWellFormed())) {
    throw new TypeError('half a character')
  }
  return { sql, args: params as never }
}

/** What was answered with a 503 must not happen later, when a request that was held up on its way arrives after all. */
const notAfter = (deadline: number): InStatement => ({
  sql: `SELECT json(CASE WHEN unixepoch('subsec') * 1000 < ? THEN '"in time"' ELSE 'too late' END)`,
  args: [deadline + CLOCK_SKEW_MS],
})

/** Tries again: while the database is busy (it has surely changed nothing), and once when no answer came. */
async function withRetries<T>(call: () => Promise<T>): Promise<T> {
  let [busy, unanswered] = [BUSY_RETRIES, 1]
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const mayRetry = isBusy(error) ? busy-- > 0 : !isAnswer(error) && unanswered-- > 0
      if (!mayRetry) throw error
      await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 100))
    }
  }
}

const isBusy = (error: unknown) => error instanceof LibsqlError && error.code.includes('BUSY')
const isConstraint = (error: unknown): error is LibsqlError =>
  error instanceof LibsqlError && error.code.startsWith('SQLITE_CONSTRAINT')
/** SQLite has spoken. Everything else (a connection that broke, a proxy's 502) leaves open what happened. */
const isAnswer = (error: unknown) => error instanceof LibsqlError && error.code.startsWith('SQLITE_')

/** A broken constraint keeps its name for the caller to translate; everything else is a 503. */
function translate(error: unknown): never {
  if (error instanceof AppError) throw error
  if (isConstraint(error)) throw error
  const isFull = error instanceof LibsqlError && /^SQLITE_(FULL|READONLY)/.test(error.code)
  throw databaseUnavailable(error, isFull ? 30 : undefined)
}

export const databaseUnavailable = (cause?: unknown, retryAfterSeconds?: number) =>
  unavailable(
    'database_unavailable',
    'The database did not answer. Nothing is lost; try again.',
    cause,
    retryAfterSeconds,
  )

/** Whether a batch failed because a value that has to be unique was taken. */
export const isUniqueViolation = (error: unknown, column: string) =>
  isConstraint(error) && error.message.includes(column)
