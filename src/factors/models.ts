import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Authenticator apps (TOTP), one a user. The seed is under AES-256-GCM, by a key of its own purpose and with the user's
 * id as associated data; it is inert until a code has confirmed it.
 */
export const factors = sqliteTable(
  'factors',
  {
    user_id: text().primaryKey(),
    seed: text().notNull(),
    /** Which key the seed is under. */
    key_id: text().notNull(),
    created_at: integer().notNull(),
    confirmed_at: integer(),
    /** The last step of 30 seconds whose code was taken: each is good once. */
    last_step: integer(),
  },
  (table) => [
    index('factors_by_key').on(table.key_id),
    // What clean-up looks for.
    index('factors_unconfirmed').on(table.created_at).where(sql`confirmed_at IS NULL`),
  ],
)

/** What lets somebody in who has lost the factor itself. A code that was used has no row any more. */
export const recoveryCodes = sqliteTable(
  'recovery_codes',
  { user_id: text().notNull(), hash: text().notNull(), created_at: integer().notNull() },
  (table) => [primaryKey({ columns: [table.user_id, table.hash] })],
)

export type Totp = typeof factors.$inferSelect
