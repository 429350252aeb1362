import { type SQL, sql, type Table } from 'drizzle-orm'
import { ACTIONS, activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { resends } from '../database/models.ts'
import type { Statement } from '../database/statements.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { outbox } from '../mail/models.ts'
import { sessions } from '../sessions/models.ts'
import { throttles } from '../throttle/models.ts'
import { endDisabling } from '../users/change.ts'
import { eraseTraces } from '../users/erasure.ts'
import { type User, users } from '../users/models.ts'
import { firstIdAt } from '../values/ids.ts'
import { cleanupRuns } from './models.ts'

const DAY_MS = 86_400_000
const RUN_MS = 20_000
const LEASE_MS = 60_000
const ROWS_PER_STATEMENT = 500
/** A person is erased in a batch with all their traces, so a batch takes fewer. */
const PEOPLE_PER_BATCH = 20
/** A token of an ended session is told so for a day; after that it is merely not valid. */
const ENDED_SESSION_MS = DAY_MS
const RUNS_KEPT_MS = 90 * DAY_MS
const OLD_RUNS_PER_RUN = 10
const IDEMPOTENCY_MS = DAY_MS
const INVITATIONS_KEPT_MS = 30 * DAY_MS
/** Longer than any link in a mail is good, so what is still owed is never removed. */
const MAILS_KEPT_MS = 14 * DAY_MS

/** One thing to remove, and what has to go with it, in this order. */
type Step = [removal: Statement, ...rest: Statement[]]
/** One kind of thing: the steps of the next batch. None, or none that removed anything: done. */
type Task = (fence: SQL) => Promise<Step[]> | Step[]

/**
 * Removes what has had its time; every 15 minutes, by the cron trigger. Bounded (500 rows a statement, 20 s a run),
 * resumable (what is left waits for the next run), and safe when two runs overlap: a run is a row, its id only
 * grows, and every statement is conditional on being the newest, so a run that was overtaken writes nothing.
 */
export async function cleanUp(resources: Resources): Promise<void> {
  const { db, now } = resources
  const run = await startRun(resources)
  if (run === undefined) return
  const fence = sql`(SELECT max(id) FROM ${cleanupRuns}) = ${run}`
  const removed: Record<string, number> = {}
  const keepLease = () => sql<{
    id: number
  }>`UPDATE ${cleanupRuns} SET lease_expires_at = ${Date.now() + LEASE_MS},
    counts = ${JSON.stringify(removed)} WHERE id = ${run} AND ${fence} RETURNING id`

  /** How much the steps removed; undefined for a run that was overtaken. */
  async function runSteps(steps: Step[]): Promise<number | undefined> {
    const counted = steps.flatMap(([removal, ...rest], index) => [
      [`removal${index}`, removal] as const,
      [`count${index}`, sql<{ count: number }>`SELECT changes() AS count`] as const,
      [`rest${index}`, rest] as const,
    ])
    const results = await db.writeBatch({ lease: keepLease(), ...Object.fromEntries(counted) })
    if (results.lease?.length === 0) return undefined
    const counts = steps.map((_, index) => (results[`count${index}`] as { count: number }[])[0]!.count)
    return counts.reduce((sum, count) => sum + count, 0)
  }

  for (const [name, task] of Object.entries(tasksOf(resources))) {
    while (Date.now() - now < RUN_MS) {
      const steps = await task(fence)
      if (steps.length === 0) break
      const count = await runSteps(steps)
      if (count === undefined) return
      if (count === 0) break
      removed[name] = (removed[name] ?? 0) + count
    }
  }
  await db.writeBatch({
    end: sql`UPDATE ${cleanupRuns} SET finished_at = ${Date.now()}, counts = ${JSON.stringify(removed)} WHERE id = ${run} AND ${fence}`,
    history: record(
      resources,
      { action: 'cleanup.ran', userId: null, actorId: null, details: { run, removed } },
      sql`changes() > 0`,
    ),
    // Each run adds one, so a few of the oldest are enough.
    oldest: sql`DELETE FROM ${cleanupRuns} WHERE id IN (SELECT id FROM ${cleanupRuns} WHERE id > 0 ORDER BY id LIMIT ${OLD_RUNS_PER_RUN})
      AND started_at < ${now - RUNS_KEPT_MS} AND ${fence}`,
  })
}

/**
 * Takes the lease: a row of its own, unless the newest run still has one (which may be this one, when the batch is
 * sent twice). Answers the id of the row.
 */
async function startRun({ db, now }: Resources): Promise<number | undefined> {
  const holder = crypto.randomUUID()
  const newest = sql`id = (SELECT max(id) FROM ${cleanupRuns})`
  const { started } = await db.writeBatch({
    run: sql`INSERT INTO ${cleanupRuns} (holder, started_at, lease_expires_at, counts) SELECT ${holder}, ${now}, ${now + LEASE_MS}, '{}'
      WHERE NOT EXISTS (SELECT 1 FROM ${cleanupRuns} WHERE ${newest} AND finished_at IS NULL AND lease_expires_at > ${now})`,
    started: sql<{ id: number }>`SELECT id FROM ${cleanupRuns} WHERE ${newest} AND holder = ${holder}`,
  })
  return started[0]?.id
}

/** Rows that nothing else depends on: gone by the batch. `key` names a row, `isOver` says which. */
const removal =
  (table: Table, key: string, isOver: SQL): Task =>
  (fence) => {
    const name = sql.identifier(key)
    const over = sql`SELECT ${name} FROM ${table} WHERE ${isOver} LIMIT ${ROWS_PER_STATEMENT}`
    return [[sql`DELETE FROM ${table} WHERE ${name} IN (${over}) AND ${fence}`]]
  }

function tasksOf(resources: Resources): Record<string, Task> {
  const { config, now } = resources
  const history = (kind: 'noise' | 'security', days: number) => {
    const actions = Object.entries(ACTIONS).filter(([, kept]) => kept === kind)
    const names = actions.map(([action]) => action)
    return removal(activityLogs, 'id', sql`action IN ${names} AND id < ${firstIdAt(now - days * DAY_MS)}`)
  }
  return {
    disabled_ended: (fence) => endDisablings(resources, fence),
    users: (fence) => purgePeople(resources, fence),
    sessions_expired: removal(sessions, 'id', sql`idle_expires_at < ${now - ENDED_SESSION_MS}`),
    sessions_ended: removal(sessions, 'id', sql`revoked_at < ${now - ENDED_SESSION_MS}`),
    idempotency_keys: removal(idempotencyKeys, 'rowid', sql`created_at < ${now - IDEMPOTENCY_MS}`),
    resends: removal(resends, 'batch_id', sql`batch_id < ${firstIdAt(now - DAY_MS)}`),
    throttles: removal(throttles, 'key', sql`expires_at < ${now}`),
    one_time_tokens: removal(oneTimeTokens, 'id', sql`expires_at < ${now - DAY_MS}`),
    invitations: removal(invitations, 'id', sql`expires_at < ${now - INVITATIONS_KEPT_MS}`),
    mails: removal(outbox, 'id', sql`created_at < ${now - MAILS_KEPT_MS}`),
    activity_noise: history('noise', config.ACTIVITY_NOISE_DAYS),
    activity_security: history('security', config.ACTIVITY_DAYS),
  }
}

/** People whose disabling has ended, one by one, as each leaves a row of history. */
async function endDisablings(resources: Resources, fence: SQL): Promise<Step[]> {
  const { db, now } = resources
  const { ids } = await db.read({
    ids: sql<{
      id: string
    }>`SELECT id FROM ${users} WHERE disabled_until <= ${now} AND status = 'disabled' LIMIT ${PEOPLE_PER_BATCH}`,
  })
  return ids.map(({ id }) => endDisabling(resources, id, sql`disabled_until <= ${now} AND ${fence}`))
}

/** People who were soft-deleted long enough ago; like a hard delete, by nobody. */
async function purgePeople(resources: Resources, fence: SQL): Promise<Step[]> {
  const { db, now, config } = resources
  const before = now - config.PURGE_AFTER_DAYS * DAY_MS
  const { people } = await db.read({
    people: sql<Pick<User, 'id' | 'email_normalized'>>`SELECT id, email_normalized FROM ${users}
      WHERE deleted_at < ${before} LIMIT ${PEOPLE_PER_BATCH}`,
  })
  return people.map(({ id, email_normalized }) => [
    sql`DELETE FROM ${users} WHERE id = ${id} AND deleted_at < ${before} AND ${fence}`,
    record(resources, { action: 'user.purged', userId: id, actorId: null }, sql`changes() > 0`),
    ...eraseTraces({ id, email_normalized }),
  ])
}
