import { type SQL, sql } from 'drizzle-orm'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** Who may not register, in addition to SIGNUP_BLOCKED. Entries are normalised (values/blocked.ts). */
export const signupBlocks = sqliteTable('signup_blocks', {
  entry: text().primaryKey(),
  created_at: integer().notNull(),
})

export const MAX_SIGNUP_BLOCKS = 10_000

/**
 * A condition: that one of these entries is in the table. Each entry is one lookup by key, however large the
 * table, and is billed as one row read. If the table is empty, there are no lookups.
 */
export const isBlocked = (entries: readonly string[]): SQL =>
  // CASE, because SQLite evaluates both sides of AND here.
  sql`CASE WHEN (SELECT 1 FROM ${signupBlocks} LIMIT 1) IS NULL THEN 0
    ELSE EXISTS (SELECT 1 FROM json_each(${JSON.stringify(entries)}) WHERE value IN (SELECT entry FROM ${signupBlocks})) END`
