import { type SQL, sql } from 'drizzle-orm'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** Who may not join, beside SIGNUP_BLOCKED: each in its one spelling (values/blocked.ts). */
export const signupBlocks = sqliteTable('signup_blocks', {
  entry: text().primaryKey(),
  created_at: integer().notNull(),
})

export const MAX_SIGNUP_BLOCKS = 10_000

/**
 * A condition: that one of these stands there. Each is a probe of the key, however many rows there are, and is counted as a
 * row; where there are no rows, nothing is probed.
 */
export const isBlocked = (entries: readonly string[]): SQL =>
  // Of AND both sides are worked out.
  sql`CASE WHEN (SELECT 1 FROM ${signupBlocks} LIMIT 1) IS NULL THEN 0
    ELSE EXISTS (SELECT 1 FROM json_each(${JSON.stringify(entries)}) WHERE value IN (SELECT entry FROM ${signupBlocks})) END`
