import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * What is counted, each kind apart (limits.ts): attempts at a password, and mails asked for. `key` is a MAC of what it
 * is about, so no address stands here.
 */
export const throttles = sqliteTable(
  'throttles',
  {
    key: text().primaryKey(),
    attempts: integer().notNull(),
    blocked_until: integer().notNull(),
    expires_at: integer().notNull(),
    /** The attempts that were counted last, and whether they were taken back: see counters.ts. */
    attempt_id: text(),
  },
  (table) => [index('throttles_by_end').on(table.expires_at)],
)
