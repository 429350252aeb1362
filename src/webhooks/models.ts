import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { type Action, activityLogs } from '../activity/models.ts'
import { keyIdIn, keyIdOf } from '../crypto/encryption.ts'
import type { Keyring } from '../crypto/keyring.ts'
import { databaseNow } from '../database/statements.ts'
import { managedNames, users } from '../users/models.ts'
import { DAY_MS } from '../values/durations.ts'

/**
 * Where other systems hear of changes. `types` is a JSON list of actions of the history. Secrets are sealed under a key of
 * ours, as every delivery is signed by them. The last four say how it is with the receiver: see protocol.ts.
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
    /** Who made its secret, and so may know it. */
    secret_by: text(),
    created_by: text(),
    created_at: integer().notNull(),
    updated_at: integer().notNull(),
    version: integer().notNull(),
    /** Tries in a row that failed, each after a pause of its own. */
    failures: integer().notNull().default(0),
    failing_since: integer(),
    /** The end of its pause; null where it does not fail. */
    next_try_at: integer(),
    /** It has failed for so long that nothing is sent until somebody wakes it. */
    rested_at: integer(),
    /** Always 1: whether there is any webhook is a probe of its index, which reads no row. */
    listens: integer().notNull().default(1),
  },
  (table) => [index('webhooks_listening').on(table.listens)],
)

export type Webhook = typeof webhooks.$inferSelect

/** Not delivered yet, and not given up. Word for word the condition of two indexes. */
export const IS_OPEN = sql`delivered_at IS NULL AND dead_at IS NULL`

/**
 * What each webhook is owed of each change, written by a trigger on the history. `id` is the order of commits. `snapshot` is
 * the user as they were after the change, as JSON; null for nobody, and for somebody who was erased: a trigger on `users`
 * empties it and the details.
 */
export const webhookDeliveries = sqliteTable(
  'webhook_deliveries',
  {
    id: integer().primaryKey(),
    webhook_id: text().notNull(),
    /** The row of history. */
    event_id: text().notNull(),
    user_id: text(),
    /** Who did it; null: the system. */
    caused_by: text(),
    type: text().$type<Action>().notNull(),
    event_details: text(),
    snapshot: text(),
    /** 1: what it says is complete, and does not change any more. */
    is_fixed: integer().notNull().default(0),
    owed_at: integer().notNull(),
    attempts: integer().notNull().default(0),
    next_attempt_at: integer().notNull(),
    last_attempt_at: integer(),
    /** The status of the last answer; null where there was none. */
    last_status: integer(),
    delivered_at: integer(),
    /** Given up: its days are over. Of a test, from the beginning: it is one try. */
    dead_at: integer(),
    /** 1: delivered because somebody asked for it, whatever was before it. */
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
/** Of a delivery all but what it says. */
export const listedColumns = listed
export type ListedDelivery = Omit<WebhookDelivery, 'event_details' | 'snapshot'>

/** What those who manage see of a user, but for their notes, which are nobody else's. */
const TOLD = managedNames.filter((name) => name !== 'admin_metadata')

/** Somebody as they are now, as JSON: the columns of a profile. */
const snapshotOf = (userId: SQL) =>
  sql`(SELECT json_object(${sql.raw(TOLD.map((name) => `'${name}', ${name}`).join(', '))})
    FROM ${users} WHERE ${users.id} = ${userId})`

const LAST_FIXED = sql`coalesce((SELECT id FROM ${webhookDeliveries} WHERE is_fixed = 1 ORDER BY id DESC LIMIT 1), 0)`

/**
 * Ends every batch: gives what it owes its last form. A row of history stands before its change, so only now is the user as
 * the change has left them. Whoever is erased by the batch is not there any more, and nothing but their id is told.
 *
 * Rows that are not fixed are always the last ones. An UPDATE would read rows where there is no webhook; this reads one.
 */
export const fixDeliveries = () => sql`INSERT INTO ${webhookDeliveries}
    (id, webhook_id, event_id, type, owed_at, next_attempt_at, event_details, snapshot)
  SELECT owed.id, owed.webhook_id, owed.event_id, owed.type, owed.owed_at, owed.next_attempt_at,
    CASE WHEN owed.user_id IS NULL OR owed.user_id IN (SELECT id FROM ${users}) THEN owed.event_details END,
    ${snapshotOf(sql`owed.user_id`)}
  FROM (SELECT 1 WHERE 1 IN (SELECT listens FROM ${webhooks})) CROSS JOIN ${webhookDeliveries} AS owed
  WHERE owed.id > ${LAST_FIXED}
  ON CONFLICT (id) DO UPDATE
    SET is_fixed = 1, event_details = excluded.event_details, snapshot = excluded.snapshot`

/**
 * Adds to what an import owes whom it has made: their ids without hyphens, one after another, as 500 of them are to fit in a
 * body of 16 KB. `ids` is a JSON list of those that were chosen; an id is there where its user was made.
 */
export const tellWhoIsImported = (eventId: string, ids: string) => sql`UPDATE ${webhookDeliveries}
  SET event_details = json_set(event_details, '$.ids', (SELECT coalesce(group_concat(replace(id, '-', ''), ''), '')
    FROM ${users} WHERE id IN (SELECT value FROM json_each(${ids}))))
  WHERE id > ${LAST_FIXED} AND event_id = ${eventId}`

/** Takes the reason of a disabling out of deliveries: it may have named somebody else who is erased. */
export const eraseReasonsFromDeliveries = (about: SQL) =>
  sql`UPDATE ${webhookDeliveries} SET snapshot = json_set(snapshot, '$.disabled_reason', NULL),
      event_details = CASE WHEN json_valid(event_details) THEN json_remove(event_details, '$.reason') END
    WHERE user_id IN (SELECT coalesce((SELECT user_id FROM ${activityLogs} WHERE ${activityLogs.id} = about), about)
      FROM (${about})) AND snapshot IS NOT NULL`

/** What is owed is tried for so long. */
export const OWED_MS = 3 * DAY_MS
/** And kept for so long after it was delivered, or given up. */
export const DELIVERED_KEPT_MS = 30 * DAY_MS
/** As many of each webhook are looked at: the first of them is always the first in its line. */
const LOOKED_AT = 20
/** What a receiver has answered no to so often goes out alone, and the webhook goes on without it. */
export const REFUSED_AFTER = 10

export const isOpen = (name: string) => sql.raw(`${name}.delivered_at IS NULL AND ${name}.dead_at IS NULL`)

/** The id of what holds the line of a delivery up, as the receiver refuses it; null where nothing does. */
export const refusedInLineOf = (delivery: string) => {
  const name = sql.raw(delivery)
  return sql`(SELECT iif(head.attempts >= ${REFUSED_AFTER} AND head.last_status IS NOT NULL, head.id, NULL)
    FROM ${webhookDeliveries} AS head WHERE ${isOpen('head')} AND head.webhook_id = ${name}.webhook_id
      AND head.user_id IS ${name}.user_id ORDER BY head.id LIMIT 1)`
}

/** For a select: each webhook as `hook`, with its oldest open deliveries as `delivery`, but what waits for a refused one. */
export const hooksWithOldest = () =>
  sql`${webhooks} AS hook JOIN ${webhookDeliveries} AS delivery ON delivery.id IN (
      SELECT looked.id FROM ${webhookDeliveries} AS looked WHERE looked.webhook_id = hook.id AND ${isOpen('looked')}
        AND coalesce(${refusedInLineOf('looked')}, looked.id) = looked.id
      ORDER BY looked.id LIMIT ${LOOKED_AT})`

/** Those whose time is over, and that nobody is sending. */
export const overdue = () => sql`SELECT delivery.id FROM ${hooksWithOldest()}
  WHERE delivery.owed_at <= ${databaseNow} - ${OWED_MS} AND delivery.next_attempt_at <= ${databaseNow}`

/** Gives up what nobody tries: of webhooks that rest. */
export const giveUp = (fence: SQL) => sql`UPDATE ${webhookDeliveries} SET dead_at = ${databaseNow}
  WHERE id IN (${overdue()}) AND ${IS_OPEN} AND ${fence}`

/** A deployment has no more of them, so they are read whole. */
export const MAX_WEBHOOKS = 50

/** Webhooks that fail, or rest, for those who can do something about it. */
export const selectFailing = () =>
  sql<Pick<Webhook, 'id' | 'url' | 'rested_at'>>`SELECT id, url, rested_at FROM ${webhooks}
    WHERE rested_at IS NOT NULL OR failing_since <= ${databaseNow} - ${FAILING_MS} LIMIT ${MAX_WEBHOOKS}`

/** A condition: that a webhook's secret is under none of these keys, so that nothing can be signed for it. Empty is off. */
export const webhookSecretsAreLost = (keys: Keyring) =>
  sql`EXISTS (SELECT 1 FROM ${webhooks} WHERE secret <> '' AND ${sql.raw(keyIdIn('secret'))} NOT IN ${keys.map(keyIdOf)})`

/** A receiver that is started anew is no news. */
const FAILING_MS = 5 * 60_000
