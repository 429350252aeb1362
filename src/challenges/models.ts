import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Challenges that were tried. A challenge itself is sealed and stored nowhere (see service.ts); its first try puts its
 * id here, so it is good once. The id is a UUIDv7, so clean-up knows its age; nothing here is about anybody.
 */
export const challenges = sqliteTable('challenges', {
  id: text().primaryKey(),
  tries: integer().notNull(),
  /** The try that was counted last. */
  attempt_id: text(),
  spent_at: integer(),
})
