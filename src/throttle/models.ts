import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * What is counted by network: attempts at one account's password, and mails asked for. `key` is a MAC of both, so no
 * address stands here.
 */
export const throttles = sqliteTable(
  'throttles',
  {
    key: text().primaryKey(),
    attempts: integer().notNull(),
    blocked_until: integer().notNull(),
    expires_at: integer().notNull(),
    /** The attempt that was counted last. */
    attempt_id: text(),
  },
  (table) => [index('throttles_expired').on(table.expires_at)],
)
