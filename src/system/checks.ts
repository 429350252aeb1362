import { desc, getTableColumns, inArray, sql, type Table } from 'drizzle-orm'
import { activityLogs, dailyTotals } from '../activity/models.ts'
import { cleanupRuns } from '../cleanup/models.ts'
import type { Bindings, Resources } from '../context.ts'
import { resends } from '../database/models.ts'
import { build, databaseNow } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { AppError, unavailable } from '../http/problem.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { outbox } from '../mail/models.ts'
import { countMails } from '../mail/outbox.ts'
import { hasKeyOf } from '../passwords/hashing.ts'
import { sessions } from '../sessions/models.ts'
import { type LimitName, PER_MINUTE } from '../throttle/limits.ts'
import { throttles } from '../throttle/models.ts'
import { users } from '../users/models.ts'
import { toTimeOrNull } from '../values/ids.ts'
import { systemState } from './models.ts'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
/** A batch that is more than 30 s late is refused by the database's clock: src/database/guard.ts. */
const SKEW_DEGRADED_MS = 5 * SECOND_MS
const SKEW_FAILED_MS = 25 * SECOND_MS
const PROBE_EVERY_MS = MINUTE_MS
/** Three runs of every 15 minutes. */
const CRON_OVERDUE_MS = 45 * MINUTE_MS
const MAIL_OVERDUE_MS = 10 * MINUTE_MS

/** What without it would answer 503 to whoever logs in. */
const NEEDED_BINDINGS = Object.keys(PER_MINUTE) as LimitName[]

const TABLES = [
  ...[users, sessions, activityLogs, oneTimeTokens, invitations, outbox, throttles],
  ...[idempotencyKeys, cleanupRuns, resends, systemState, dailyTotals],
]

export type CheckName =
  | 'bindings'
  | 'keys'
  | 'database'
  | 'schema'
  | 'clock'
  | 'disk'
  | 'redis'
  | 'cron'
  | 'mail'
export type Verdict = 'ok' | 'degraded' | 'failed'

export interface Check {
  name: CheckName
  status: Verdict
}

/** The code of a problem, by the check that failed. */
const CODES: Record<CheckName, string> = {
  bindings: 'misconfigured',
  keys: 'misconfigured',
  database: 'database_unavailable',
  schema: 'schema_mismatch',
  clock: 'clock_skew',
  disk: 'database_unavailable',
  redis: 'redis_unavailable',
  cron: 'cron_overdue',
  mail: 'mail_overdue',
}

/** What only those hear of who may read the runs of clean-up. */
export interface Counts {
  cleanup: { last_finished: string | null; overdue: boolean }
  mail: { waiting: number; dead: number; oldest_waiting_s: number | null }
}

const notReady = (failed: CheckName[]) =>
  unavailable(CODES[failed[0]!], `Not ready: ${failed.map((name) => CODES[name]).join(', ')}.`, undefined, 10)

export const PROBLEMS = (Object.keys(CODES) as CheckName[])
  .filter((name) => name !== 'redis')
  .map((name) => () => notReady([name]))

/**
 * Each check is the thing itself: what is read here is what a login needs, and what is written goes to the disk that
 * a login writes to.
 *
 * @throws 503 with the names of what failed, by the code of the first.
 */
export async function checkReadiness(resources: Resources, bindings: Bindings): Promise<Readiness> {
  const readiness = await lookAtChecks(resources, bindings)
  const failed = readiness.checks.filter(({ status }) => status === 'failed').map(({ name }) => name)
  if (failed.length > 0) throw notReady(failed)
  return readiness
}

export interface Readiness {
  checks: Check[]
  counts: Counts
}

/** The same for whoever wants to see each of them. `writes: false` leaves out what would write a row. */
export async function lookAtChecks(
  resources: Resources,
  bindings: Bindings,
  { writes = true } = {},
): Promise<Readiness> {
  const { config, db, redis } = resources
  const askedAt = Date.now()
  const [pong, read] = await Promise.all([redis.ping(), db.read(statements())])
  const answeredAt = Date.now()
  const databaseMs = read.clock[0]!.now
  const stateOf = (name: string) => read.state.find((row) => row.name === name)?.at
  const ranAt = Math.max(read.lastRun[0]?.started_at ?? 0, stateOf('began') ?? 0)
  const [mail] = read.mail
  const verdicts: Record<CheckName, Verdict> = {
    bindings: NEEDED_BINDINGS.every((name) => bindings[name]) ? 'ok' : 'failed',
    keys: read.hash.every(({ hash }) => hash === null || hasKeyOf(hash, config.keys.password_pepper))
      ? 'ok'
      : 'failed',
    database: 'ok',
    schema: 'ok',
    clock: verdictOnClock(databaseMs, askedAt, answeredAt),
    disk: writes ? await probeDisk(resources, databaseMs - (stateOf('probe') ?? 0)) : 'ok',
    redis: pong ? 'ok' : 'degraded',
    cron: databaseMs - ranAt > CRON_OVERDUE_MS ? 'failed' : 'ok',
    mail: databaseMs - (mail?.due_since ?? databaseMs) > MAIL_OVERDUE_MS ? 'failed' : 'ok',
  }
  const checks = Object.entries(verdicts).map(([name, status]) => ({ name: name as CheckName, status }))
  const oldest = mail?.oldest
  return {
    checks,
    counts: {
      cleanup: {
        last_finished: toTimeOrNull(read.lastFinished[0]?.finished_at ?? null),
        overdue: verdicts.cron === 'failed',
      },
      mail: {
        ...read.mails[0]!,
        oldest_waiting_s: oldest == null ? null : Math.max(0, Math.floor((databaseMs - oldest) / SECOND_MS)),
      },
    },
  }
}

function statements() {
  // Some ten days of runs, should none of them have finished.
  const finished = sql`${cleanupRuns.id} > (SELECT max(id) FROM ${cleanupRuns}) - 1000
    AND ${cleanupRuns.finished_at} IS NOT NULL`
  const waiting = sql`FROM ${outbox} WHERE sent_at IS NULL AND dead_at IS NULL`
  return {
    // Of each table every column that this version knows, and no row.
    schema: TABLES.map((table: Table) => build.select(getTableColumns(table)).from(table).limit(0)),
    clock: sql<{ now: number }>`SELECT ${databaseNow} AS now`,
    state: build
      .select()
      .from(systemState)
      .where(inArray(systemState.name, ['began', 'probe'])),
    // The oldest one's: the first to be lost when a key is retired too early.
    hash: sql<{ hash: string | null }>`SELECT password_hash AS hash FROM ${users} ORDER BY id LIMIT 1`,
    lastRun: build.select().from(cleanupRuns).orderBy(desc(cleanupRuns.id)).limit(1),
    lastFinished: build.select().from(cleanupRuns).where(finished).orderBy(desc(cleanupRuns.id)).limit(1),
    mails: countMails(),
    mail: sql<{ due_since: number | null; oldest: number | null }>`SELECT
      min(max(created_at, next_attempt_at)) AS due_since, min(created_at) AS oldest
      FROM (SELECT created_at, next_attempt_at ${waiting} ORDER BY next_attempt_at LIMIT 100)`,
  }
}

/** The database's time has to lie between asking and answering, or nearly. */
function verdictOnClock(databaseMs: number, askedAt: number, answeredAt: number): Verdict {
  const skewMs = Math.max(askedAt - databaseMs, databaseMs - answeredAt)
  if (skewMs <= SKEW_DEGRADED_MS) return 'ok'
  const verdict = skewMs > SKEW_FAILED_MS ? 'failed' : 'degraded'
  log(verdict === 'failed' ? 'error' : 'warn', {
    code: 'clock_skew',
    worker: new Date(answeredAt).toISOString(),
    database: new Date(databaseMs).toISOString(),
  })
  return verdict
}

/** Writes a row at most once a minute: a disk that is full is read from as ever. */
async function probeDisk({ db }: Resources, ageMs: number): Promise<Verdict> {
  if (ageMs < PROBE_EVERY_MS) return 'ok'
  try {
    await db.writeBatch({
      probe: sql`INSERT INTO ${systemState} (name, at) VALUES ('probe', ${databaseNow})
        ON CONFLICT (name) DO UPDATE SET at = excluded.at`,
    })
    return 'ok'
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    log('error', { code: error.code, cause: error.cause })
    return 'failed'
  }
}
