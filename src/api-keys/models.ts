import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Keys by which programs act for whoever made them. Of a secret there is its digest alone, and for a while that of the
 * one before. What a key may do is a JSON list of permissions, of which only those count that its owner has at the moment.
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
    /** In which session its secret was made, and by what its owner had proved there who they are. */
    session_id: text().notNull(),
    amr: text().notNull(),
    created_at: integer().notNull(),
    /** When its present secret was made (epoch ms). */
    rotated_at: integer().notNull(),
    last_used_at: integer(),
  },
  (table) => [
    index('api_keys_of_user').on(table.user_id, table.id),
    // What clean-up looks for.
    index('api_keys_by_end').on(table.expires_at).where(sql`expires_at IS NOT NULL`),
  ],
)

export type ApiKey = typeof apiKeys.$inferSelect
