import { type Column, sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** Every action in the history, by how long it is kept: noise of signing in, or security. */
export const ACTIONS = {
  'user.signed_up': 'security',
  'user.created': 'security',
  'user.updated': 'security',
  'user.role_changed': 'security',
  'user.terms_accepted': 'security',
  'user.disabled': 'security',
  'user.enabled': 'security',
  'user.deleted': 'security',
  'user.restored': 'security',
  'user.purged': 'security',
  'user.exported': 'security',
  'users.imported': 'security',
  'password.changed': 'security',
  'password.reset_requested': 'noise',
  'password.reset': 'security',
  'email.verification_requested': 'noise',
  'email.verified': 'security',
  'email.change_requested': 'security',
  'email.changed': 'security',
  'email.change_undone': 'security',
  'email.change_withdrawn': 'security',
  'invitation.created': 'security',
  'invitation.resent': 'security',
  'invitation.withdrawn': 'security',
  'invitation.accepted': 'security',
  'session.started': 'noise',
  /** Written by earlier versions: a refresh leaves no row any more. */
  'session.refreshed': 'noise',
  'session.ended': 'noise',
  'sessions.ended': 'security',
  'session.reuse_detected': 'security',
  'session.repeated': 'security',
  'login.failed': 'noise',
  'password.failed': 'noise',
  'password.not_checked': 'security',
  'user.unlocked': 'security',
  'factor.added': 'security',
  'factor.removed': 'security',
  'factor.failed': 'security',
  'factors.reset': 'security',
  'recovery_codes.renewed': 'security',
  'recovery_code.used': 'security',
  'identity.linked': 'security',
  'identity.unlinked': 'security',
  'passkey.renamed': 'security',
  'passkey.counter_went_back': 'security',
  'mail.retried': 'security',
  'client.created': 'security',
  'client.updated': 'security',
  'client.secret_rotated': 'security',
  'client.deleted': 'security',
  'client.logouts_retried': 'security',
  'consent.given': 'security',
  'consent.withdrawn': 'security',
  'api_key.created': 'security',
  'api_key.rotated': 'security',
  'api_key.revoked': 'security',
  'webhook.created': 'security',
  'webhook.updated': 'security',
  'webhook.secret_rotated': 'security',
  'webhook.deleted': 'security',
  'webhook.tested': 'security',
  'webhook.retried': 'security',
  'webhook.rested': 'security',
  'signup_blocks.changed': 'security',
  'cleanup.ran': 'noise',
} as const satisfies Record<string, 'security' | 'noise'>

export type Action = keyof typeof ACTIONS

/**
 * A condition on the history: somebody acted on somebody else. What users do to themselves is found by `user_id`
 * alone, which saves two of six written rows. The indexes by actor have this condition word for word.
 */
export const IS_OF_OTHERS = sql`actor_id IS NOT user_id`

/**
 * The history: one row per change, written in the change's own batch. `user_id` is the person it happened to,
 * `actor_id` the one who did it (null: the system). The id is a UUIDv7, so it contains the time. Triggers
 * refuse every update but the erasure of personal data, and every deletion of a young row.
 */
export const activityLogs = sqliteTable(
  'user_activity_logs',
  {
    id: text().primaryKey(),
    user_id: text(),
    actor_id: text(),
    action: text().$type<Action>().notNull(),
    details: text(),
    ip: text(),
    user_agent: text(),
    country: text(),
    request_id: text(),
  },
  (table) => [
    index('history_of_user').on(table.user_id, table.id).where(sql`user_id IS NOT NULL`),
    index('history_of_user_by_action')
      .on(table.user_id, table.action, table.id)
      .where(sql`user_id IS NOT NULL`),
    index('history_by_action').on(table.action, table.id),
    index('history_by_actor')
      .on(table.actor_id, table.id)
      .where(sql`actor_id IS NOT NULL AND ${IS_OF_OTHERS}`),
    index('history_by_actor_by_action')
      .on(table.actor_id, table.action, table.id)
      .where(sql`actor_id IS NOT NULL AND ${IS_OF_OTHERS}`),
  ],
)

export type ActivityLog = typeof activityLogs.$inferSelect

const HEX = '[0-9a-f]'
const ID_WITH_TIME = `${HEX.repeat(8)}-${HEX.repeat(4)}-7*`
/**
 * Its length in characters, which ends at a zero byte, and in bytes: so an id contains nothing else, and
 * nothing follows.
 */
export const isId = (id: Column) =>
  sql`typeof(${id}) = 'text' AND length(${id}) = 36 AND length(CAST(${id} AS BLOB)) = 36 AND ${id} NOT GLOB '*[^0-9a-f-]*'`
/**
 * A condition on a row of history: its id contains the time. Other rows were not written by this program, and
 * are skipped.
 */
export const HAS_TIME = sql`${activityLogs.id} GLOB ${ID_WITH_TIME} AND ${isId(activityLogs.id)}`

/**
 * How often an action happened on a day (epoch ms, in UTC). The cron job counts it from the history, for
 * charts.
 */
export const dailyTotals = sqliteTable(
  'daily_totals',
  {
    day: integer().notNull(),
    action: text().$type<Action>().notNull(),
    total: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.day, table.action] })],
)

/**
 * The chain of seals over the history (seals.ts), written by clean-up and never changed. A seal covers `rows`
 * rows of one kind; `root` commits to them, and `until` is the greatest id that was examined. Seals up to
 * `aged_…` have expired. After a restore of the database there is a seal without rows, whose `note` names the
 * head that was lost.
 */
export const activitySeals = sqliteTable('activity_seals', {
  number: integer().primaryKey(),
  kind: text().$type<'noise' | 'security' | 'restored'>().notNull(),
  until: text().notNull(),
  rows: integer().notNull(),
  root: text().notNull(),
  aged_noise: integer().notNull(),
  aged_security: integer().notNull(),
  sealed_at: integer().notNull(),
  note: text(),
  head: text().notNull(),
  key_id: text().notNull(),
  mac: text().notNull(),
})
export type Seal = typeof activitySeals.$inferSelect

/**
 * For each sealed row of history: its seal, and the salted hashes by which the seal commits to the personal
 * data in the row. Triggers remove a salt along with the data, and the proof along with its row.
 */
export const activityProofs = sqliteTable('activity_proofs', {
  id: text().primaryKey(),
  seal: integer().notNull(),
  details_salt: text(),
  details_hash: text().notNull(),
  origin_salt: text(),
  origin_hash: text().notNull(),
})
export type Proof = typeof activityProofs.$inferSelect
