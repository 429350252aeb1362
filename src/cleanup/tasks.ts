import { type SQL, sql, type Table } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { ACTIONS, type Action, activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import { challenges } from '../challenges/models.ts'
import type { Resources } from '../context.ts'
import { resends } from '../database/models.ts'
import { rowExists, type Statement } from '../database/statements.ts'
import { factors } from '../factors/models.ts'
import { renewSeeds, seedsAreOutdated } from '../factors/renewal.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { outbox } from '../mail/models.ts'
import { sessions } from '../sessions/models.ts'
import { throttles } from '../throttle/models.ts'
import { endDisabling } from '../users/change.ts'
import { eraseTraces, eraseUser } from '../users/erasure.ts'
import { erasures, users } from '../users/models.ts'
import { firstIdAt } from '../values/ids.ts'

const DAY_MS = 86_400_000
const ROWS_PER_STATEMENT = 500
/** Each leaves a row of history of its own. */
const USERS_PER_BATCH = 20
/** A step of an erasure looks through a page of many tables. */
const ERASURES_PER_BATCH = 4
/** A token of an ended session is told so for a day; after that it is merely not valid. */
const ENDED_SESSION_MS = DAY_MS
const IDEMPOTENCY_MS = DAY_MS
/** A send that was held up arrives within 33 seconds, or changes nothing. */
const RESENDS_KEPT_MS = DAY_MS
/** Longer than any is good. */
const CHALLENGES_KEPT_MS = 3_600_000
const INVITATIONS_KEPT_MS = 30 * DAY_MS
/** Longer than any link in a mail is good, so what is still owed is never removed. */
const MAILS_KEPT_MS = 14 * DAY_MS

/** Something to do, and what goes with it. What the first statement changes is counted. */
export type Step = readonly [counted: Statement, ...rest: Statement[]]
/** One kind of thing. */
export interface Task {
  /** A condition: that there is something to do. */
  isDue: SQL
  /** The next batch, each statement on the condition `fence`. */
  steps(fence: SQL): Promise<readonly Step[]> | readonly Step[]
}

export function tasksOf(resources: Resources): Record<string, Task> {
  const { config, now } = resources
  const deletedLongAgo = sql`deleted_at < ${now - config.PURGE_AFTER_DAYS * DAY_MS}`
  const [noise, security] = [config.ACTIVITY_NOISE_DAYS, config.ACTIVITY_DAYS]
  return {
    disabled_ended: endDisablings(resources),
    users: purge(resources, deletedLongAgo),
    unverified: purge(resources, neverProved(resources), { reason: 'unverified' }),
    erasures: goOnErasing(resources),
    sessions_expired: removal(sessions, 'id', sql`idle_expires_at < ${now - ENDED_SESSION_MS}`),
    sessions_ended: removal(sessions, 'id', sql`revoked_at < ${now - ENDED_SESSION_MS}`),
    idempotency_keys: removal(idempotencyKeys, 'rowid', sql`created_at < ${now - IDEMPOTENCY_MS}`),
    resends: removal(resends, 'batch_id', sql`batch_id < ${firstIdAt(now - RESENDS_KEPT_MS)}`),
    challenges: removal(challenges, 'id', sql`id < ${firstIdAt(now - CHALLENGES_KEPT_MS)}`),
    unconfirmed_factors: removal(
      factors,
      'user_id',
      sql`confirmed_at IS NULL AND created_at < ${now - DAY_MS}`,
    ),
    seeds_renewed: {
      isDue: seedsAreOutdated(config),
      steps: (fence) => renewSeeds(resources, fence),
    },
    throttles: removal(throttles, 'key', sql`expires_at < ${now}`),
    one_time_tokens: removal(oneTimeTokens, 'id', sql`expires_at < ${now - DAY_MS}`),
    invitations: removal(invitations, 'id', sql`expires_at < ${now - INVITATIONS_KEPT_MS}`),
    mails: removal(outbox, 'id', sql`created_at < ${now - MAILS_KEPT_MS}`),
    activity_noise: oldHistory('noise', now - noise * DAY_MS),
    activity_security: oldHistory('security', now - security * DAY_MS),
  }
}

const exists = (table: Table, condition: SQL) => sql`EXISTS (SELECT 1 FROM ${table} WHERE ${condition})`

/** Rows that nothing else depends on. `key` names a row, `isOver` says which. */
const remove = (table: Table, key: string, isOver: SQL, fence: SQL): Step => {
  const name = sql.identifier(key)
  const over = sql`SELECT ${name} FROM ${table} WHERE ${isOver} LIMIT ${ROWS_PER_STATEMENT}`
  return [sql`DELETE FROM ${table} WHERE ${name} IN (${over}) AND ${fence}`]
}

const removal = (table: Table, key: string, isOver: SQL): Task => ({
  isDue: exists(table, isOver),
  steps: (fence) => [remove(table, key, isOver, fence)],
})

/** The oldest of each action: a range of ids at the beginning of an index, so nothing is passed over. */
function oldHistory(kind: 'noise' | 'security', before: number): Task {
  const actions = Object.keys(ACTIONS).filter((action) => ACTIONS[action as Action] === kind)
  const areOver = actions.map((action) => sql`action = ${action} AND id < ${firstIdAt(before)}`)
  return {
    isDue: sql.join(
      areOver.map((isOver) => exists(activityLogs, isOver)),
      sql` OR `,
    ),
    steps: (fence) => areOver.map((isOver) => remove(activityLogs, 'id', isOver, fence)),
  }
}

/** Users whose disabling has ended, one by one, as each leaves a row of history. */
function endDisablings(resources: Resources): Task {
  const isOver = sql`disabled_until <= ${resources.now}`
  const isDue = sql`${isOver} AND status = 'disabled'`
  return {
    isDue: exists(users, isDue),
    steps: async (fence) => {
      const ids = await findUsers(resources, isDue)
      return ids.map((id) => endDisabling(resources, id, sql`${isOver} AND ${fence}`))
    },
  }
}

/**
 * Accounts whose address nobody has proved, and that nobody has used: a squatter's, or a mistake. A role above `user`
 * was given by somebody who manages, so such accounts stay.
 */
const neverProved = ({ config, now }: Resources) =>
  sql`email_verified_at IS NULL AND last_login_at IS NULL AND deleted_at IS NULL
    AND updated_at < ${now - config.UNVERIFIED_DAYS * DAY_MS} AND role = 'user'
    AND status = 'active' AND password_is_given = 0`

/** Users who go, by nobody; like a hard delete. Their traces are for the task after this. */
function purge(resources: Resources, isDue: SQL, details?: object): Task {
  const purgeOne = (id: string, fence: SQL): Step => {
    const event = { id: uuidv7(), action: 'user.purged', userId: id, actorId: null } as const
    const isStillDue = sql`${exists(users, sql`id = ${id} AND ${isDue}`)} AND ${fence}`
    const isDone = rowExists(activityLogs, event.id)
    return [
      record(resources, { ...event, ...(details && { details }) }, isStillDue),
      ...eraseUser(resources, id, isDone),
    ]
  }
  return {
    isDue: exists(users, isDue),
    steps: async (fence) => (await findUsers(resources, isDue)).map((id) => purgeOne(id, fence)),
  }
}

async function findUsers({ db }: Resources, condition: SQL): Promise<string[]> {
  const { found } = await db.read({
    found: sql<{ id: string }>`SELECT id FROM ${users} WHERE ${condition} LIMIT ${USERS_PER_BATCH}`,
  })
  return found.map(({ id }) => id)
}

/** A step of each of a few erasures. Whose turn it was goes to the end of those that wait. */
function goOnErasing(resources: Resources): Task {
  const now = Math.max(resources.now, Date.now())
  const step = (id: string, fence: SQL): Step => [
    sql`UPDATE ${erasures} SET due_at = ${Math.max(now, Date.now())} WHERE user_id = ${id} AND ${fence}`,
    ...eraseTraces(resources, id, fence),
  ]
  const isDue = () => sql`due_at <= ${Math.max(now, Date.now())}`
  return {
    // What is begun in this run is due as well.
    isDue: sql`1`,
    steps: async (fence) => {
      const { due } = await resources.db.read({
        due: sql<{
          user_id: string
        }>`SELECT user_id FROM ${erasures} WHERE ${isDue()} ORDER BY due_at LIMIT ${ERASURES_PER_BATCH}`,
      })
      return due.map(({ user_id }) => step(user_id, fence))
    },
  }
}
