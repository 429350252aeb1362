import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * What a deployment knows of itself, a row each: `began` is when its clean-up could first have run, `probe` when /ready
 * last wrote something.
 */
export const systemState = sqliteTable('system_state', {
  name: text().primaryKey(),
  at: integer().notNull(),
  status: integer(),
})
