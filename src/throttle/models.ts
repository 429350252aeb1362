import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Counters of all kinds (limits.ts): attempts at a password, mails asked for, and so on. `key` is a MAC of
 * what is counted, so no address is stored here.
 */
export const throttles = sqliteTable(
  'throttles',
  {
    key: text().primaryKey(),
    attempts: integer().notNull(),
    blocked_until: integer().notNull(),
    expires_at: integer().notNull(),
    /** The latest attempts, and whether they were taken back: see counters.ts. */
    attempt_id: text(),
  },
  (table) => [index('throttles_by_end').on(table.expires_at)],
)
