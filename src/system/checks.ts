import { desc, getTableColumns, inArray, sql } from 'drizzle-orm'
import { cleanupRuns, RUNS_EVERY_MINUTES } from '../cleanup/models.ts'
import type { Bindings, Resources } from '../context.ts'
import { build, databaseNow } from '../database/statements.ts'
import { seedsAreLost } from '../factors/renewal.ts'
import { log } from '../http/log.ts'
import { AppError } from '../http/problem.ts'
import { mailsAreUsedUp } from '../mail/limits.ts'
import { outbox } from '../mail/models.ts'
import { countMails } from '../mail/outbox.ts'
import { REFUSES_ALL } from '../mail/sending.ts'
import { foreignHashesAreLost } from '../passwords/foreign/renewal.ts'
import { hasKeyOf } from '../passwords/hashing.ts'
import { type LimitName, PER_MINUTE } from '../throttle/limits.ts'
import { users } from '../users/models.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { webhookSecretsAreLost } from '../webhooks/models.ts'
import { LAST_REFUSAL, systemState } from './models.ts'
import { SEARCH_TABLES, TABLES } from './tables.ts'

const SECOND_MS = 1000
/** The database's clock refuses a batch that is more than 30 s late: src/database/guard.ts. */
const SKEW_DEGRADED_MS = 5 * SECOND_MS
const SKEW_FAILED_MS = 25 * SECOND_MS
const PROBE_EVERY_MS = MINUTE_MS
/** Three runs of clean-up. */
const CRON_OVERDUE_MS = 3 * RUNS_EVERY_MINUTES * MINUTE_MS
export const MAIL_OVERDUE_MINUTES = 10

/** Without these bindings a login would be answered 503. */
const NEEDED_BINDINGS = Object.keys(PER_MINUTE) as LimitName[]

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
  | 'mail_service'
type Verdict = 'ok' | 'degraded' | 'failed'

interface Check {
  name: CheckName
  status: Verdict
}

/** The problem code of each check. */
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
  mail_service: 'mail_refused',
}

/** Only for those who may read clean-up runs. */
interface Counts {
  cleanup: { last_finished: string | null; overdue: boolean }
  mail: {
    waiting: number
    dead: number
    oldest_waiting_s: number | null
    /** The mail service's last answer, if it was a refusal. */
    last_refusal: { at: string; status: number | null } | null
  }
}

export interface Readiness {
  checks: Check[]
  counts: Counts
}

/**
 * 503 with the names of the failed checks, by the code of the first. `shown` has further members of the
 * document.
 */
export function notReady(
  { checks }: Pick<Readiness, 'checks'>,
  shown: object = {},
  cause?: unknown,
): AppError {
  const failed = checks.filter(({ status }) => status === 'failed').map(({ name }) => name)
  const detail = `Not ready: ${failed.map((name) => CODES[name]).join(', ')}.`
  return new AppError(503, CODES[failed[0]!], detail, {
    headers: { 'retry-after': '10' },
    members: { failed, checks, ...shown },
    cause,
  })
}

export const hasFailed = ({ checks }: Readiness) => checks.some(({ status }) => status === 'failed')

export const PROBLEMS = (Object.keys(CODES) as CheckName[])
  .filter((name) => name !== 'redis')
  .map((name) => () => notReady({ checks: [{ name, status: 'failed' }] }))

/**
 * Each check does the real thing: it reads what a login needs, and writes to the disk that a login writes to.
 * `writes: false` skips the write. Throws 503 if the database does not answer.
 */
export async function lookAtChecks(
  resources: Resources,
  bindings: Bindings,
  { writes = true } = {},
): Promise<Readiness> {
  const { config, db, redis } = resources
  const askedAt = Date.now()
  const [pong, read] = await Promise.all([
    redis.ping(),
    db.read({ ...statements(config), usedUp: mailsAreUsedUp(resources) }).catch(nothingWasRead),
  ])
  const answeredAt = Date.now()
  const databaseMs = read.clock[0]!.now
  const rowOf = (name: string) => read.state.find((row) => row.name === name)
  const stateOf = (name: string) => rowOf(name)?.at
  const refusal = rowOf(LAST_REFUSAL)
  const ranAt = Math.max(read.lastRun[0]?.started_at ?? 0, stateOf('began') ?? 0)
  const [mail] = read.mail
  const verdicts: Record<CheckName, Verdict> = {
    bindings: NEEDED_BINDINGS.every((name) => bindings[name]) ? 'ok' : 'failed',
    keys: verdictOnKeys(config, read),
    database: 'ok',
    schema: 'ok',
    clock: verdictOnClock(databaseMs, askedAt, answeredAt),
    disk: writes ? await probeDisk(resources, databaseMs - (stateOf('probe') ?? 0)) : 'ok',
    redis: pong ? 'ok' : 'degraded',
    cron: databaseMs - ranAt > CRON_OVERDUE_MS ? 'failed' : 'ok',
    mail: verdictOnMail(databaseMs - (mail?.due_since ?? databaseMs), read.usedUp[0]?.is_used_up === 1),
    mail_service: verdictOnRefusal(refusal),
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
        last_refusal: refusal ? { at: toTime(refusal.at), status: refusal.status } : null,
      },
    },
  }
}

function statements(config: Resources['config']) {
  // If no run has finished, this reads some ten days of them.
  const finished = sql`${cleanupRuns.id} > (SELECT max(id) FROM ${cleanupRuns}) - 1000
    AND ${cleanupRuns.finished_at} IS NOT NULL`
  const waiting = sql`FROM ${outbox} WHERE sent_at IS NULL AND dead_at IS NULL`
  return {
    // Every column of each table that this version knows, and no rows.
    schema: [
      ...TABLES.map((table) => build.select(getTableColumns(table)).from(table).limit(0)),
      ...SEARCH_TABLES.map((table) => sql`SELECT * FROM ${sql.identifier(table)} LIMIT 0`),
    ],
    clock: sql<{ now: number }>`SELECT ${databaseNow} AS now`,
    state: build
      .select()
      .from(systemState)
      .where(inArray(systemState.name, ['began', 'probe', LAST_REFUSAL])),
    // What is lost if a key is retired too early: the oldest password first, then seeds of authenticator apps,
    // imported hashes, and secrets of webhooks. The newest password tells whether everybody's key is gone.
    hashes: sql<Hashes>`SELECT (SELECT password_hash FROM ${users} ORDER BY id LIMIT 1) AS oldest,
      (SELECT password_hash FROM ${users} ORDER BY id DESC LIMIT 1) AS newest`,
    lost: sql<Lost>`SELECT ${seedsAreLost(config)} AS seeds, ${foreignHashesAreLost(config)} AS imported,
      ${webhookSecretsAreLost(config.keys.webhook_secret)} AS webhooks`,
    lastRun: build.select().from(cleanupRuns).orderBy(desc(cleanupRuns.id)).limit(1),
    lastFinished: build.select().from(cleanupRuns).where(finished).orderBy(desc(cleanupRuns.id)).limit(1),
    mails: countMails(),
    mail: sql<{ due_since: number | null; oldest: number | null }>`SELECT
      min(max(created_at, next_attempt_at)) AS due_since, min(created_at) AS oldest
      FROM (SELECT created_at, next_attempt_at ${waiting} ORDER BY next_attempt_at LIMIT 100)`,
  }
}

/** Even for a schema mismatch, which every request is answered with. */
function nothingWasRead(error: unknown): never {
  if (!(error instanceof AppError)) throw error
  const name = error.code === CODES.schema ? 'schema' : 'database'
  throw notReady({ checks: [{ name, status: 'failed' }] }, {}, error.cause)
}

/** Null for a user without a password, who signs in otherwise. */
interface Hashes {
  oldest: string | null
  newest: string | null
}

interface Lost {
  seeds: 0 | 1
  imported: 0 | 1
  webhooks: 0 | 1
}

/**
 * People who can no longer sign in are worse than webhooks that cannot be signed: a webhook gets a new secret, and goes on.
 * So does whoever has not signed in since a key that leaked was replaced, with an imported password too: they need a reset.
 * Users without a password tell nothing about it. This looks at two users, so `degraded` may also mean nearly everybody.
 */
function verdictOnKeys(
  { keys }: Resources['config'],
  { lost, hashes }: { lost: Lost[]; hashes: Hashes[] },
): Verdict {
  const [{ seeds, imported, webhooks }] = lost as [Lost]
  const [{ oldest, newest }] = hashes as [Hashes]
  const stored = [oldest, newest].filter((hash) => hash !== null)
  const isLost = (hash: string) => !hasKeyOf(hash, keys)
  const someAreLost = stored.some(isLost)
  if (seeds || (someAreLost && stored.every(isLost))) return 'failed'
  return someAreLost || imported || webhooks ? 'degraded' : 'ok'
}

/** Once the hourly quota of mails is used up, only known devices get mail. */
function verdictOnMail(overdueMs: number, isUsedUp: boolean): Verdict {
  if (overdueMs > MAIL_OVERDUE_MINUTES * MINUTE_MS) return 'failed'
  return isUsedUp ? 'degraded' : 'ok'
}

/**
 * If our API key or sender address is refused, no mail goes out at all; any other refusal may be about a
 * single mail.
 */
function verdictOnRefusal(refusal: { status: number | null } | undefined): Verdict {
  if (!refusal) return 'ok'
  return REFUSES_ALL.includes(refusal.status ?? 0) ? 'failed' : 'degraded'
}

/** The database's time has to lie between the request and its answer, or nearly. */
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

/** Writes a row at most once a minute: a full disk can still be read. */
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
