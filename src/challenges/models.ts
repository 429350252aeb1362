import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Challenges that were tried. A challenge itself is sealed and stored nowhere (see service.ts); its first try
 * stores its id here, so it is valid once. The id is a UUIDv7, so clean-up knows its age; no row names a
 * user.
 */
export const challenges = sqliteTable('challenges', {
  id: text().primaryKey(),
  tries: integer().notNull(),
  /** The last try that was counted. */
  attempt_id: text(),
  spent_at: integer(),
})
