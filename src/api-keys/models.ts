import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { DAY_MS } from '../values/durations.ts'

/** How long the former secret of a key stays valid beside the new one. */
export const FORMER_MS = DAY_MS

/**
 * Keys with which programs act for the user who made them. Only digests of secrets are stored: that of the
 * current one and, for a while, that of the one before. `permissions` is a JSON list; only those count that
 * the owner holds at the time of the request.
 */
export const apiKeys = sqliteTable(
  'api_keys',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    name: text().notNull(),
    permissions: text().notNull(),
    secret_hash: text().notNull(),
    former_secret_hash: text(),
    former_secret_until: integer(),
    /** Null: never. */
    expires_at: integer(),
    /** The session in which the secret was made, and how its owner had authenticated there. */
    session_id: text().notNull(),
    amr: text().notNull(),
    created_at: integer().notNull(),
    /** When the current secret was made (epoch ms). */
    rotated_at: integer().notNull(),
    last_used_at: integer(),
  },
  (table) => [
    index('api_keys_of_user').on(table.user_id, table.id),
    // For clean-up.
    index('api_keys_by_end').on(table.expires_at).where(sql`expires_at IS NOT NULL`),
  ],
)

export type ApiKey = typeof apiKeys.$inferSelect
