import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Authenticator apps (TOTP), one per user. The seed is encrypted with AES-256-GCM, under a key for this
 * purpose and with the user's id as associated data; it has no effect until a code confirms it.
 */
export const factors = sqliteTable(
  'factors',
  {
    user_id: text().primaryKey(),
    seed: text().notNull(),
    /** The key that encrypts the seed. */
    key_id: text().notNull(),
    created_at: integer().notNull(),
    confirmed_at: integer(),
    /** The last 30-second step whose code was accepted: each is valid once. */
    last_step: integer(),
  },
  (table) => [
    index('factors_by_key').on(table.key_id),
    // For clean-up.
    index('factors_unconfirmed').on(table.created_at).where(sql`confirmed_at IS NULL`),
  ],
)

/** Let somebody in who has lost the factor itself. A used code has no row any more. */
export const recoveryCodes = sqliteTable(
  'recovery_codes',
  { user_id: text().notNull(), hash: text().notNull(), created_at: integer().notNull() },
  (table) => [primaryKey({ columns: [table.user_id, table.hash] })],
)

export type Totp = typeof factors.$inferSelect
