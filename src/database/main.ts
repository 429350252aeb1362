import { createClient, type InStatement, LibsqlError, type ResultSet } from '@libsql/client/http'
import type { SQL } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { BUSY_RETRIES, PAUSE_MS, READ_TIMEOUT_MS, TRIES, WRITE_TIMEOUT_MS } from '../config/waits.ts'
import { AppError, unavailable } from '../http/problem.ts'
import { finalizeDeliveries } from '../webhooks/models.ts'
import { guard, isDoneAlready } from './guard.ts'
import type { Meter } from './meter.ts'
import { type Batch, type Results, type RowsOf, type Statement, toQuery } from './statements.ts'

/**
 * libSQL for one request. Every call here is one HTTP request, which is retried once if it gets no answer.
 * Every failure is a 503, except a statement's own (a constraint): upstream trouble is never the caller's
 * fault.
 */
export interface Database {
  /** Reads in one snapshot: the rows of each statement, under its name. */
  read<const B extends Batch>(batch: B): Promise<Results<B>>
  /**
   * The same for slow reads: without an answer it throws a 503, and is not retried. A script may wait longer.
   */
  readOnce<const B extends Batch>(batch: B, withinMs?: number): Promise<Results<B>>
  /** The same from the primary, for what a lagging replica may not have yet. */
  readPrimary<const B extends Batch>(batch: B, withinMs?: number): Promise<Results<B>>
  /**
   * Writes: all or nothing, and alone (`BEGIN IMMEDIATE`). The only way to write: Drizzle's own batches begin
   * deferred, and under contention fail as soon as they read before they write.
   *
   * A connection that breaks after the commit looks like one that breaks before it. So a batch without an
   * answer is sent again, and still takes effect only once: if `marker` says that it was applied, the second
   * send is refused, and only its queries run. So whatever the caller has to know must be read by queries in
   * the batch.
   *
   * A batch without a marker has to be idempotent: it moves something that never moves back, on condition of
   * the value that was read.
   *
   * @param marker the condition that the first row inserted by the batch exists: its row of history, or the
   *   session of a login. Whatever may refuse the batch is a condition of that row, and everything else
   *   depends on it.
   * @param withinMs how long a script waits.
   */
  writeBatch<const B extends Batch>(batch: B, marker?: SQL, withinMs?: number): Promise<Results<B>>
  /** Whether a write of this request was sent more than once, so that what it finds may be its own doing. */
  readonly wasResent: boolean
  /**
   * Adds a read to whichever call goes first, so that it costs no trip of its own. `settle` sends the read
   * alone if there was no call.
   */
  piggyback<S extends Statement>(statement: S): { rows: Promise<RowsOf<S>>; settle(): void }
}

/** @param onOwed called when a write has left deliveries for webhooks. */
export function openDatabase(
  url: string,
  authToken: string,
  meter: Meter,
  onOwed: () => void = () => {},
): Database {
  // A client per call: a shared one would queue across requests, and hang when a caller goes away.
  const clientWithin = (timeoutMs: number) =>
    createClient({
      url,
      authToken,
      fetch: (request: Request) => fetch(request, { signal: AbortSignal.timeout(timeoutMs) }),
    })
  let piggybacked: { statement: InStatement; tell(result: Promise<ResultSet>): void }[] = []

  let wasResent = false

  async function run(
    mode: 'read' | 'read once' | 'read primary' | 'write',
    statements: InStatement[],
    { marker, withinMs }: { marker?: SQL | undefined; withinMs?: number | undefined } = {},
  ): Promise<ResultSet[]> {
    const along = piggybacked
    piggybacked = []
    const all = [...along.map(({ statement }) => statement), ...statements]
    const call =
      mode === 'write'
        ? writer(all, marker, withinMs)
        : () => read(all, withinMs ?? READ_TIMEOUT_MS, mode === 'read primary')
    const tries = mode === 'read once' ? 1 : TRIES
    try {
      const results = await meter.time('db', () => withRetries(meter, call, tries)).catch(translate)
      for (const [index, { tell }] of along.entries()) tell(Promise.resolve(results[index]!))
      return results.slice(along.length)
    } catch (error) {
      // A constraint that fails is about the caller's statements. The piggybacked reads go with the next
      // call.
      if (isConstraint(error)) piggybacked.push(...along)
      else for (const { tell } of along) tell(Promise.reject(error))
      throw error
    }
  }

  async function read(statements: InStatement[], withinMs: number, ofPrimary: boolean): Promise<ResultSet[]> {
    const client = clientWithin(withinMs)
    // A batch in write mode goes to the primary.
    if (ofPrimary) return client.batch(statements, 'write')
    return statements.length === 1 ? [await client.execute(statements[0]!)] : client.batch(statements, 'read')
  }

  /** Sends a write; when called again, sends it again under the next number. */
  function writer(statements: InStatement[], marker: SQL | undefined, withinMs = WRITE_TIMEOUT_MS) {
    const batchId = uuidv7()
    // A write without a row of history leaves nothing to deliver.
    const isOwing = statements.some((statement) => (statement as { sql: string }).sql.includes(HISTORY))
    const fixing = isOwing ? toLibsql({ fixing: finalizeDeliveries() }) : []
    let number = 0
    return async (): Promise<ResultSet[]> => {
      number += 1
      wasResent ||= number > 1
      const guards = toLibsql(guard({ batchId, number, deadline: Date.now() + withinMs, marker }))
      try {
        const all = [...guards, ...statements, ...fixing]
        const results = await clientWithin(withinMs).batch(all, 'write')
        if (fixing.length > 0 && results.at(-1)!.rowsAffected > 0) onOwed()
        return results.slice(guards.length, guards.length + statements.length)
      } catch (error) {
        // Nothing can have changed, so this counts as the same send.
        if (isBusy(error)) number -= 1
        if (!isDoneAlready(error)) throw error
        // An earlier send has applied it, and its answer, which said what it owes, was lost.
        if (fixing.length > 0) onOwed()
        return readBack(statements)
      }
    }
  }

  /** Runs the queries of a batch again, in write mode, so that no lagging replica answers. */
  async function readBack(statements: InStatement[]): Promise<ResultSet[]> {
    const queries = statements.filter(isQuery)
    const results = queries.length > 0 ? await clientWithin(READ_TIMEOUT_MS).batch(queries, 'write') : []
    return statements.map((statement) => (isQuery(statement) ? results.shift()! : NOTHING))
  }

  return {
    get wasResent() {
      return wasResent
    },
    async read(batch) {
      return toResults(batch, await run('read', toLibsql(batch)))
    },
    async readOnce(batch, withinMs) {
      return toResults(batch, await run('read once', toLibsql(batch), { withinMs }))
    },
    async readPrimary(batch, withinMs) {
      return toResults(batch, await run('read primary', toLibsql(batch), { withinMs }))
    },
    async writeBatch(batch, marker, withinMs) {
      return toResults(batch, await run('write', toLibsql(batch), { marker, withinMs }))
    },
    piggyback(statement) {
      const { promise, resolve } = Promise.withResolvers<ResultSet>()
      const rows = promise.then((result) => result.rows)
      rows.catch(() => {}) // Whoever waits for it gets the error.
      piggybacked.push({ statement: toLibsql({ statement })[0]!, tell: resolve })
      return {
        rows: rows as never,
        settle: () => {
          if (piggybacked.length > 0) void run('read', []).catch(() => {})
        },
      }
    },
  }
}

/** The result of a write that was skipped because it was already applied. */
const NOTHING = { rows: [] as unknown[] } as ResultSet

/** A batch that inserts a row of history names this table. */
const HISTORY = 'user_activity_logs'

/**
 * The statements of a write that can be run again. A query that begins with WITH has to be wrapped in a
 * SELECT.
 */
export const isQuery = (statement: InStatement) => /^\s*select/i.test((statement as { sql: string }).sql)

const toLibsql = (batch: Batch): InStatement[] =>
  Object.values(batch)
    .flat()
    .map((statement) => {
      const { sql, params } = toQuery(statement as Statement)
      // A lone surrogate could not be sent as it is, and would come back as another character.
      if (params.some((value) => typeof value === 'string' && !value.isWellFormed())) {
        throw new TypeError('half a character')
      }
      return { sql, args: params as never }
    })

/** Gives each name its rows. */
function toResults<B extends Batch>(batch: B, results: ResultSet[]): Results<B> {
  let index = 0
  const named = Object.entries(batch).map(([name, statements]) => {
    if (!Array.isArray(statements)) return [name, results[index++]!.rows]
    index += statements.length
    return [name, []]
  })
  return Object.fromEntries(named) as Results<B>
}

/** Retries while the database is busy (nothing has changed then), and when no answer came. */
async function withRetries<T>(meter: Meter, call: () => Promise<T>, tries: number): Promise<T> {
  let [busy, unanswered] = [BUSY_RETRIES, tries - 1]
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const mayRetry = isBusy(error) ? busy-- > 0 : !isAnswer(error) && unanswered-- > 0
      if (!mayRetry) throw error
      meter.retried()
      await new Promise((resolve) =>
        setTimeout(resolve, PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min)),
      )
    }
  }
}

const isBusy = (error: unknown) => error instanceof LibsqlError && error.code.includes('BUSY')
const isConstraint = (error: unknown): error is LibsqlError =>
  error instanceof LibsqlError && error.code.startsWith('SQLITE_CONSTRAINT')
/**
 * SQLite itself has answered. After anything else (a broken connection, a proxy's 502) it is unknown what
 * happened.
 */
const isAnswer = (error: unknown) => error instanceof LibsqlError && error.code.startsWith('SQLITE_')

/** A constraint error keeps its name for the caller to translate; everything else is a 503. */
function translate(error: unknown): never {
  if (error instanceof AppError) throw error
  if (isConstraint(error)) throw error
  if (!(error instanceof LibsqlError)) throw databaseUnavailable(error)
  if (/no such (table|column|index)|has no column named/.test(error.message)) throw schemaMismatch(error)
  throw databaseUnavailable(error, DISK_TROUBLE.test(error.code) ? 30 : undefined)
}

/** A full disk says IOERR as well as FULL. None of these is over in two seconds. */
const DISK_TROUBLE = /^SQLITE_(IOERR|FULL|READONLY|CANTOPEN|CORRUPT)/

/** Retrying does not help here: somebody has to run the migrations, or deploy the matching version. */
export const schemaMismatch = (cause?: unknown) =>
  unavailable(
    'schema_mismatch',
    'The database lacks the schema that this version needs: run the migrations.',
    cause,
    60,
  )

export const databaseUnavailable = (cause?: unknown, retryAfterSeconds?: number) =>
  unavailable(
    'database_unavailable',
    'The database did not answer. Nothing is lost; try again.',
    cause,
    retryAfterSeconds,
  )
