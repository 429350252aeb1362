import { type SQL, sql, type Table } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { ACTIONS, type Action, activityLogs } from '../activity/models.ts'
import { hasExpiredWithSeal, sealing } from '../activity/seals.ts'
import { record } from '../activity/service.ts'
import { apiKeys } from '../api-keys/models.ts'
import { challenges } from '../challenges/models.ts'
import type { Resources } from '../context.ts'
import { resends } from '../database/models.ts'
import { rowExists, type Statement } from '../database/statements.ts'
import { factors } from '../factors/models.ts'
import { renewSeeds, seedsAreOutdated } from '../factors/renewal.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { ANSWER_KEPT_MS } from '../idempotency/service.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens, TAKES_BACK } from '../links/models.ts'
import { LIFETIME_MS, PROLONGED_MS } from '../links/service.ts'
import { outbox } from '../mail/models.ts'
import { oauthClients, oauthCodes, oauthDeviceCodes, oauthGrants } from '../oauth/models.ts'
import { foreignHashesAreOutdated, renewForeignHashes } from '../passwords/foreign/renewal.ts'
import { sessions } from '../sessions/models.ts'
import { throttles } from '../throttle/models.ts'
import { endDisabling } from '../users/change.ts'
import { eraseTraces, eraseUser, respell } from '../users/erasure.ts'
import { erasures, ledgerOwed, NEVER_PROVED, type User, users } from '../users/models.ts'
import { foldNames, namesWithoutKey } from '../users/names.ts'
import { DAY_MS, HOUR_MS } from '../values/durations.ts'
import { firstIdAt } from '../values/ids.ts'
import {
  DELIVERED_KEPT_MS,
  giveUp,
  OWED_MS,
  overdue,
  webhookDeliveries,
  webhooks,
} from '../webhooks/models.ts'

const ROWS_PER_STATEMENT = 500
/** Each of them writes a row of history. */
const USERS_PER_BATCH = 20
/**
 * Two tasks begin erasures, and each erasure needs at least two steps: the second looks for late writes. So
 * every round of tasks does more steps than it adds, and the backlog shrinks.
 */
const PURGES_PER_BATCH = 5
const ERASURES_PER_BATCH = 24
/** Rows of each table in one batch of erasures, shared among them. */
const ERASED_ROWS_PER_BATCH = 2000
/**
 * For one more day after its session would have expired, a token is told that the session ended; after that
 * it is merely invalid.
 */
const ENDED_SESSION_MS = DAY_MS
/** A delayed send arrives within 33 seconds, or changes nothing. */
const RESENDS_KEPT_MS = DAY_MS
/** Longer than any is valid. */
const CHALLENGES_KEPT_MS = HOUR_MS
/** If a code is presented again within a day, the tokens it gave are revoked. */
const CODES_KEPT_MS = DAY_MS
/** So that an owner who wonders why a program is refused still finds the key in the list. */
const EXPIRED_KEYS_KEPT_MS = 30 * DAY_MS
/** Longer than any device waits. */
const DEVICES_KEPT_MS = HOUR_MS
const INVITATIONS_KEPT_MS = 30 * DAY_MS
/** Longer than any is valid. The id contains the time, as that of a mail does. */
const LINKS_KEPT_MS = Math.max(...Object.values(LIFETIME_MS)) + PROLONGED_MS + DAY_MS
/** Longer than any link in a mail is valid, so no mail that is still owed is removed. */
const MAILS_KEPT_MS = 14 * DAY_MS

/** A delivery owed that long ago was delivered or given up at least DELIVERED_KEPT_MS ago. */
const DELIVERIES_KEPT_MS = OWED_MS + DELIVERED_KEPT_MS

/**
 * The newest row stays, as numbering goes on from its id. The plus makes SQLite use the index by webhook, not
 * by id.
 */
const IS_NOT_NEWEST = sql`+id < (SELECT max(id) FROM ${webhookDeliveries})`

/** Webhooks that have deliveries, found by stepping through the index. */
const WITH_DELIVERIES = sql`WITH RECURSIVE hooks (named) AS (SELECT min(webhook_id) FROM ${webhookDeliveries} UNION ALL
  SELECT (SELECT min(webhook_id) FROM ${webhookDeliveries} WHERE webhook_id > named) FROM hooks WHERE named IS NOT NULL)
  SELECT named FROM hooks WHERE named IS NOT NULL`

/** A statement whose changed rows are counted, and those that go with it. */
export type Step = readonly [counted: Statement, ...rest: Statement[]]
/** Clean-up of one kind of thing. */
export interface Task {
  /** A condition: that there is something to do. */
  isDue: SQL
  /** The next batch, each statement conditional on `fence`. */
  steps(fence: SQL): Promise<readonly Step[]> | readonly Step[]
  /** Postpones a step that fails even alone: otherwise it would come first again, and fail again. */
  postpone?(at: number): Statement
}

export function tasksOf(resources: Resources): Record<string, Task> {
  const { config, now } = resources
  const deletedLongAgo = sql`deleted_at < ${now - config.PURGE_AFTER_DAYS * DAY_MS} AND NOT ${mayComeBack(now)}`
  const [noise, security] = [config.ACTIVITY_NOISE_DAYS, config.ACTIVITY_DAYS]
  return {
    disabled_ended: endDisablings(resources),
    users: purge(resources, 'users_deleted', deletedLongAgo),
    unverified: purge(resources, 'users_never_proved', neverProved(resources), { reason: 'unverified' }),
    erasures: goOnErasing(resources),
    // By a column that neither refresh nor log-out changes, as an index on one would cost them another
    // written row. So the row of an ended session stays until it would have expired.
    sessions_expired: removal(sessions, 'id', sql`expires_at < ${now - ENDED_SESSION_MS}`),
    idempotency_keys: removal(idempotencyKeys, 'rowid', sql`created_at < ${now - ANSWER_KEPT_MS}`),
    resends: removal(resends, 'batch_id', sql`batch_id < ${firstIdAt(now - RESENDS_KEPT_MS)}`),
    challenges: removal(challenges, 'id', sql`id < ${firstIdAt(now - CHALLENGES_KEPT_MS)}`),
    api_keys: removal(
      apiKeys,
      'id',
      sql`expires_at < ${now - EXPIRED_KEYS_KEPT_MS} AND expires_at IS NOT NULL`,
    ),
    oauth_codes: removal(oauthCodes, 'id', sql`id < ${firstIdAt(now - CODES_KEPT_MS)}`),
    device_codes: removal(oauthDeviceCodes, 'id', sql`id < ${firstIdAt(now - DEVICES_KEPT_MS)}`),
    consents: removal(
      oauthGrants,
      'id',
      sql`client_id IN (WITH RECURSIVE named (client) AS (SELECT min(client_id) FROM ${oauthGrants} UNION ALL
        SELECT (SELECT min(client_id) FROM ${oauthGrants} WHERE client_id > client) FROM named WHERE client < 'g')
        SELECT client FROM named WHERE client < 'g'
          AND NOT EXISTS (SELECT 1 FROM ${oauthClients} WHERE ${oauthClients.id} = client))`,
    ),
    unconfirmed_factors: removal(
      factors,
      'user_id',
      sql`confirmed_at IS NULL AND created_at < ${now - DAY_MS}`,
    ),
    seeds_renewed: {
      isDue: seedsAreOutdated(config),
      steps: (fence) => renewSeeds(resources, fence),
    },
    foreign_hashes_renewed: {
      isDue: foreignHashesAreOutdated(config),
      steps: (fence) => renewForeignHashes(resources, fence),
    },
    names_folded: {
      isDue: namesWithoutKey,
      steps: (fence) => foldNames(resources, fence),
    },
    throttles: removal(throttles, 'key', sql`expires_at < ${now}`),
    one_time_tokens: removal(oneTimeTokens, 'id', sql`id < ${firstIdAt(now - LINKS_KEPT_MS)}`),
    invitations: removal(invitations, 'id', sql`expires_at < ${now - INVITATIONS_KEPT_MS}`),
    mails: removal(outbox, 'id', sql`id < ${firstIdAt(now - MAILS_KEPT_MS)}`),
    // Once no backups are kept, the ledger needs no more entries.
    ...(config.BACKUPS_KEPT_DAYS === 0 && { ledger_owed: removal(ledgerOwed, 'digest', sql`digest > ''`) }),
    webhooks_given_up: {
      isDue: sql`EXISTS (${overdue()})`,
      steps: (fence) => [[giveUp(fence)]],
    },
    webhook_deliveries: removal(
      webhookDeliveries,
      'id',
      sql`webhook_id IN (${WITH_DELIVERIES}) AND owed_at < ${now - DELIVERIES_KEPT_MS}
        AND ${IS_NOT_NEWEST}`,
    ),
    webhook_deliveries_of_nobody: removal(
      webhookDeliveries,
      'id',
      sql`webhook_id IN (SELECT named FROM (${WITH_DELIVERIES})
        WHERE NOT EXISTS (SELECT 1 FROM ${webhooks} WHERE ${webhooks.id} = named)) AND ${IS_NOT_NEWEST}`,
    ),
    webhook_delivery_emptied: emptyNewestDelivery(now),
    // Must come before aged rows are removed: the seal states that they have aged.
    history_sealed: sealing(resources),
    activity_noise: oldHistory(resources, 'noise', now - noise * DAY_MS),
    activity_security: oldHistory(resources, 'security', now - security * DAY_MS),
  }
}

/** A condition on a user: that a link to recover their account or address is still valid. */
const mayComeBack = (now: number) =>
  sql`EXISTS (SELECT 1 FROM ${oneTimeTokens} WHERE subject_id = ${users.id} AND purpose IN ${TAKES_BACK}
    AND spent_at IS NULL AND ${oneTimeTokens.expires_at} > ${now})`

const exists = (table: Table | SQL, condition: SQL) => sql`EXISTS (SELECT 1 FROM ${table} WHERE ${condition})`

/**
 * Rows that nothing else depends on. `key` is the column that identifies a row, `isOver` selects the rows.
 */
const remove = (table: Table, key: string, isOver: SQL, fence: SQL): Step => {
  const name = sql.identifier(key)
  const over = sql`SELECT ${name} FROM ${table} WHERE ${isOver} LIMIT ${ROWS_PER_STATEMENT}`
  return [sql`DELETE FROM ${table} WHERE ${name} IN (${over}) AND ${fence}`]
}

const removal = (table: Table, key: string, isOver: SQL): Task => ({
  isDue: exists(table, isOver),
  steps: (fence) => [remove(table, key, isOver, fence)],
})

/** The newest delivery is kept for its id alone; its content is removed when that of the others would be. */
function emptyNewestDelivery(now: number): Task {
  const isOver = sql`id = (SELECT max(id) FROM ${webhookDeliveries}) AND owed_at < ${now - DELIVERIES_KEPT_MS}
    AND (snapshot IS NOT NULL OR event_details IS NOT NULL)`
  return {
    isDue: exists(webhookDeliveries, isOver),
    steps: (fence) => [
      [
        sql`UPDATE ${webhookDeliveries} SET snapshot = NULL, event_details = NULL WHERE ${isOver} AND ${fence}`,
      ],
    ],
  }
}

/** The oldest rows of each action: a range at the start of an index, so no other rows are scanned. */
function oldHistory(resources: Resources, kind: 'noise' | 'security', before: number): Task {
  const actions = Object.keys(ACTIONS).filter((action) => ACTIONS[action as Action] === kind)
  const areOver = actions.map(
    (action) => sql`action = ${action} AND id < ${firstIdAt(before)} AND ${hasExpiredWithSeal(resources)}`,
  )
  return {
    isDue: sql.join(
      areOver.map((isOver) => exists(activityLogs, isOver)),
      sql` OR `,
    ),
    steps: (fence) => areOver.map((isOver) => remove(activityLogs, 'id', isOver, fence)),
  }
}

/** Users whose time of being disabled has ended, one by one, as each writes a row of history. */
function endDisablings(resources: Resources): Task {
  const isOver = sql`disabled_until <= ${resources.now}`
  const isDue = sql`${isOver} AND status = 'disabled'`
  return {
    isDue: exists(users, isDue),
    steps: async (fence) => {
      const found = await findUsers(resources, users, isDue, USERS_PER_BATCH)
      return found.map(({ id }) => endDisabling(resources, id, sql`${isOver} AND ${fence}`))
    },
  }
}

const neverProved = ({ config, now }: Resources) =>
  sql`${NEVER_PROVED} AND updated_at < ${now - config.UNVERIFIED_DAYS * DAY_MS} AND NOT ${mayComeBack(now)}`

/** Purges users, with no actor; like a hard delete. Their traces are left to the task `erasures`. */
function purge(resources: Resources, index: string, isDue: SQL, details?: object): Task {
  // On its own, SQLite prefers an index by role, which contains everybody.
  const candidates = sql`${users} INDEXED BY ${sql.identifier(index)}`
  return {
    isDue: exists(candidates, isDue),
    steps: async (fence) =>
      (await findUsers(resources, candidates, isDue, PURGES_PER_BATCH)).map((one) =>
        purgeOne(resources, one, { id: uuidv7(), details }, sql`${isDue} AND ${fence}`),
      ),
  }
}

/**
 * Purges one of them, if their row meets the condition and still has this address. The ledger is told the
 * address only if they had proved it: a squatter must not keep its real owner from registering.
 */
export function purgeOne(
  resources: Resources,
  { email_normalized, email_verified_at, ...names }: Purged,
  { id: eventId, details }: { id: string; details?: object | undefined },
  condition: SQL,
): Step {
  const event = { id: eventId, action: 'user.purged', userId: names.id, actorId: null } as const
  const erased = email_verified_at === null ? names : { ...names, email_normalized }
  return [
    record(
      resources,
      { ...event, ...(details && { details }) },
      exists(users, sql`id = ${names.id} AND email_normalized = ${email_normalized} AND ${condition}`),
    ),
    ...eraseUser(resources, erased, rowExists(activityLogs, eventId)),
  ]
}

async function findUsers({ db }: Resources, table: Table | SQL, condition: SQL, most: number) {
  const { found } = await db.read({
    found: sql<Purged>`SELECT id, email_normalized, email_verified_at, external_id FROM ${table} WHERE ${condition} LIMIT ${most}`,
  })
  return found
}

/** One step for each of some erasures. Each then goes to the end of the queue. */
function goOnErasing(resources: Resources): Task {
  const now = () => Math.max(resources.now, Date.now())
  const step = ({ user_id: id, stage, sought }: Due, rows: number, fence: SQL): Step => [
    sql`UPDATE ${erasures} SET due_at = ${now()} WHERE user_id = ${id} AND ${fence}`,
    ...(stage === 'spellings' && sought ? [respell(id, new TextDecoder().decode(sought), fence)] : []),
    ...eraseTraces(resources, id, fence, rows),
  ]
  let due: Due[] = []
  return {
    // Always: erasures begun in this run are due as well.
    isDue: sql`1`,
    postpone: (at) =>
      sql`UPDATE ${erasures} SET due_at = ${now() + HOUR_MS} WHERE user_id = ${due[at]!.user_id}`,
    steps: async (fence) => {
      const read = await resources.db.read({
        due: sql<Due>`SELECT user_id, stage, CAST(sought AS BLOB) AS sought FROM ${erasures} WHERE due_at <= ${now()}
          ORDER BY due_at LIMIT ${ERASURES_PER_BATCH}`,
      })
      due = read.due
      const rows = Math.min(ROWS_PER_STATEMENT, Math.floor(ERASED_ROWS_PER_BATCH / due.length))
      return due.map((job) => step(job, rows, fence))
    },
  }
}

type Purged = Pick<User, 'id' | 'email_normalized' | 'email_verified_at' | 'external_id'>
/** The text sought in the history may be invalid UTF-8. */
type Due = Pick<typeof erasures.$inferSelect, 'user_id' | 'stage'> & { sought: ArrayBuffer | null }
