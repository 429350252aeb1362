import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { type Action, activityLogs } from '../activity/models.ts'
import { keyIdIn, keyIdOf } from '../crypto/encryption.ts'
import type { Keyring } from '../crypto/keyring.ts'
import { databaseNow } from '../database/statements.ts'
import { managedNames, users } from '../users/models.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'

/**
 * Addresses at which other systems are told of changes. `types` is a JSON list of actions of the history. Secrets
 * are sealed, not hashed, as every delivery is signed with them. `failures` to `rested_at` are the state of the
 * receiver: see protocol.ts.
 */
export const webhooks = sqliteTable(
  'webhooks',
  {
    id: text().primaryKey(),
    url: text().notNull(),
    types: text().notNull(),
    secret: text().notNull(),
    former_secret: text(),
    former_secret_until: integer(),
    /** Who made the secret, and so may know it. */
    secret_by: text(),
    created_by: text(),
    created_at: integer().notNull(),
    updated_at: integer().notNull(),
    version: integer().notNull(),
    /** Failed tries in a row, each followed by a pause. */
    failures: integer().notNull().default(0),
    failing_since: integer(),
    /** The end of the pause; null while the receiver does not fail. */
    next_try_at: integer(),
    /** Since when nothing is sent, after a long time of failures, until somebody wakes it. */
    rested_at: integer(),
    /** Always 1: one probe of its index tells whether there is any webhook, without reading a row. */
    listens: integer().notNull().default(1),
  },
  (table) => [index('webhooks_listening').on(table.listens)],
)

export type Webhook = typeof webhooks.$inferSelect

/** Neither delivered nor given up. Must equal the condition of two indexes word for word. */
export const IS_OPEN = sql`delivered_at IS NULL AND dead_at IS NULL`

/**
 * What each webhook is owed for each change, written by a trigger on the history. `id` is the order of
 * commits. `snapshot` is the user after the change, as JSON; null if the event concerns no user, or one who
 * was erased: then a trigger on `users` clears it and the details.
 */
export const webhookDeliveries = sqliteTable(
  'webhook_deliveries',
  {
    id: integer().primaryKey(),
    webhook_id: text().notNull(),
    /** The id of the row of history. */
    event_id: text().notNull(),
    user_id: text(),
    /** The actor; null: the system. */
    caused_by: text(),
    type: text().$type<Action>().notNull(),
    event_details: text(),
    snapshot: text(),
    /** 1: the content is final. */
    is_fixed: integer().notNull().default(0),
    owed_at: integer().notNull(),
    attempts: integer().notNull().default(0),
    next_attempt_at: integer().notNull(),
    last_attempt_at: integer(),
    /** The status of the last answer; null if there was none. */
    last_status: integer(),
    delivered_at: integer(),
    /** When it was given up, after three days. Set from the start for a test, which is tried only once. */
    dead_at: integer(),
    /** 1: sent by hand, out of order. */
    by_hand: integer().notNull().default(0),
  },
  (table) => [
    index('webhook_deliveries_of_hook').on(table.webhook_id, table.owed_at),
    index('webhook_deliveries_open').on(table.webhook_id, table.id).where(IS_OPEN),
    index('webhook_deliveries_in_line').on(table.user_id, table.webhook_id, table.id).where(IS_OPEN),
    index('webhook_deliveries_of_user').on(table.user_id).where(sql`snapshot IS NOT NULL`),
  ],
)

export type WebhookDelivery = typeof webhookDeliveries.$inferSelect

const { event_details: _details, snapshot: _snapshot, ...listed } = getTableColumns(webhookDeliveries)
/** All columns of a delivery but its content. */
export const listedColumns = listed
export type ListedDelivery = Omit<WebhookDelivery, 'event_details' | 'snapshot'>

/** The fields of a user that managers see, except their notes, which nobody else may see. */
const TOLD = managedNames.filter((name) => name !== 'admin_metadata')

/** A user's current profile as JSON. */
const snapshotOf = (userId: SQL) =>
  sql`(SELECT json_object(${sql.raw(TOLD.map((name) => `'${name}', ${name}`).join(', '))})
    FROM ${users} WHERE ${users.id} = ${userId})`

const LAST_FIXED = sql`coalesce((SELECT id FROM ${webhookDeliveries} WHERE is_fixed = 1 ORDER BY id DESC LIMIT 1), 0)`

/**
 * Runs at the end of every batch and gives the deliveries that it added their final form. A row of history is
 * written before its change, so only now is the user as the change left them. A user whom the batch erased is no
 * longer there, so only their id is told.
 *
 * Rows that are not fixed yet are always the last ones. An UPDATE would read rows even without any webhook; this
 * reads one.
 */
export const finalizeDeliveries = () => sql`INSERT INTO ${webhookDeliveries}
    (id, webhook_id, event_id, type, owed_at, next_attempt_at, event_details, snapshot)
  SELECT owed.id, owed.webhook_id, owed.event_id, owed.type, owed.owed_at, owed.next_attempt_at,
    CASE WHEN owed.user_id IS NULL OR owed.user_id IN (SELECT id FROM ${users}) THEN owed.event_details END,
    ${snapshotOf(sql`owed.user_id`)}
  FROM (SELECT 1 WHERE 1 IN (SELECT listens FROM ${webhooks})) CROSS JOIN ${webhookDeliveries} AS owed
  WHERE owed.id > ${LAST_FIXED}
  ON CONFLICT (id) DO UPDATE
    SET is_fixed = 1, event_details = excluded.event_details, snapshot = excluded.snapshot`

/**
 * Adds to the deliveries of an import the ids of the users it made. They are concatenated without hyphens, so
 * that 500 of them fit in a body of 16 KB. `ids` is a JSON list of the ids that were chosen; those that exist
 * were made.
 */
export const addImportedIds = (eventId: string, ids: string) => sql`UPDATE ${webhookDeliveries}
  SET event_details = json_set(event_details, '$.ids', (SELECT coalesce(group_concat(replace(id, '-', ''), ''), '')
    FROM ${users} WHERE id IN (SELECT value FROM json_each(${ids}))))
  WHERE id > ${LAST_FIXED} AND event_id = ${eventId}`

/** Removes the reason of a disabling from deliveries: it may name another person, who is being erased. */
export const eraseReasonsFromDeliveries = (about: SQL) =>
  sql`UPDATE ${webhookDeliveries} SET snapshot = json_set(snapshot, '$.disabled_reason', NULL),
      event_details = CASE WHEN json_valid(event_details) THEN json_remove(event_details, '$.reason') END
    WHERE user_id IN (SELECT coalesce((SELECT user_id FROM ${activityLogs} WHERE ${activityLogs.id} = about), about)
      FROM (${about})) AND snapshot IS NOT NULL`

/** How long a delivery is tried. */
export const OWED_MS = 3 * DAY_MS
/** A webhook rests after so many tries over so long without one success. */
export const REST_AFTER = { tries: 50, ms: DAY_MS }
/** How long it is kept after it was delivered or given up. */
export const DELIVERED_KEPT_MS = 30 * DAY_MS
/** How many are looked at for each webhook, of those that wait and of those that are refused again and again. */
const LOOKED_AT = 20
/** After so many refusals a delivery is tried on its own schedule, and the webhook goes on without it. */
export const REFUSED_AFTER = 10

export const isOpen = (name: string) => sql.raw(`${name}.delivered_at IS NULL AND ${name}.dead_at IS NULL`)

/** A condition on the head of a line: that it is refused again and again. */
export const isRefusedHead = (name: string) =>
  sql`(${sql.raw(name)}.attempts >= ${REFUSED_AFTER} AND ${sql.raw(name)}.last_status IS NOT NULL)`

/** The id of the refused delivery at the head of this delivery's line; null if the head is not refused. */
export const refusedHeadOf = (delivery: string) => {
  const name = sql.raw(delivery)
  return sql`(SELECT iif(${isRefusedHead('head')}, head.id, NULL)
    FROM ${webhookDeliveries} AS head WHERE ${isOpen('head')} AND head.webhook_id = ${name}.webhook_id
      AND head.user_id IS ${name}.user_id ORDER BY head.id LIMIT 1)`
}

/** The open deliveries of `hook`, as `name`. */
const ofHook = (name: string) =>
  sql`FROM ${webhookDeliveries} AS ${sql.raw(name)} WHERE ${sql.raw(name)}.webhook_id = hook.id AND ${isOpen(name)}`

/**
 * For a SELECT: each webhook as `hook` with two kinds of its open deliveries as `delivery`: the oldest of lines whose
 * head is not refused, and refused heads, the first due first. Those that wait behind a refused one are passed over.
 * Each kind has its own places: however many are refused, they take none from the others.
 *
 * Only refused heads before the oldest of the others are looked at. So whatever is owed, no more is read than the
 * refused lines. There are never very many: each takes ten tries, with growing pauses, and ends after three days.
 * NOT INDEXED leaves the deliveries their ids: SQLite may otherwise index the whole table for one run.
 */
export const hooksWithOldest = () =>
  sql`${webhooks} AS hook JOIN ${webhookDeliveries} AS delivery NOT INDEXED ON delivery.id IN (
      SELECT id FROM (SELECT looked.id ${ofHook('looked')} AND ${refusedHeadOf('looked')} IS NULL
        ORDER BY looked.id LIMIT ${LOOKED_AT})
      UNION ALL SELECT id FROM (SELECT refused.id ${ofHook('refused')} AND ${refusedHeadOf('refused')} = refused.id
        AND refused.id < coalesce((SELECT looked.id ${ofHook('looked')} AND ${refusedHeadOf('looked')} IS NULL
          ORDER BY looked.id LIMIT 1), ${Number.MAX_SAFE_INTEGER})
        ORDER BY refused.next_attempt_at LIMIT ${LOOKED_AT}))`

/** Deliveries whose three days are over, and that nobody is sending. */
export const overdue = () => sql`SELECT delivery.id FROM ${hooksWithOldest()}
  WHERE delivery.owed_at <= ${databaseNow} - ${OWED_MS} AND delivery.next_attempt_at <= ${databaseNow}`

/** Gives up overdue deliveries that nobody tries: those of webhooks at rest. */
export const giveUp = (fence: SQL) => sql`UPDATE ${webhookDeliveries} SET dead_at = ${databaseNow}
  WHERE id IN (${overdue()}) AND ${IS_OPEN} AND ${fence}`

/** The most webhooks a deployment may have, so all of them are read at once. */
export const MAX_WEBHOOKS = 50

/** Webhooks that are failing or resting, for those who can do something about it. */
export const selectFailing = () =>
  sql<Pick<Webhook, 'id' | 'url' | 'rested_at'>>`SELECT id, url, rested_at FROM ${webhooks}
    WHERE rested_at IS NOT NULL OR failing_since <= ${databaseNow} - ${FAILING_MS} LIMIT ${MAX_WEBHOOKS}`

/**
 * A condition: that some webhook's secret is under none of these keys, so it cannot be used to sign. An empty
 * secret does not count.
 */
export const webhookSecretsAreLost = (keys: Keyring) =>
  sql`EXISTS (SELECT 1 FROM ${webhooks} WHERE secret <> '' AND ${sql.raw(keyIdIn('secret'))} NOT IN ${keys.map(keyIdOf)})`

/** A receiver that merely restarts is not worth reporting. */
const FAILING_MS = 5 * MINUTE_MS
