import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** How often clean-up runs. wrangler.toml tells the platform the same, and a test compares the two. */
export const RUNS_EVERY_MINUTES = 15

/**
 * Runs of the cron job. The id only grows, so it serves as the fencing token. `holder` is a name that a run
 * gives itself to recognise its row; the lease says how long the run may go on. `batch` is the number of its
 * next batch, so none is done twice. `failed` names the tasks that failed.
 */
export const cleanupRuns = sqliteTable('cleanup_runs', {
  id: integer().primaryKey({ autoIncrement: true }),
  holder: text(),
  started_at: integer().notNull(),
  finished_at: integer(),
  lease_expires_at: integer().notNull(),
  counts: text().notNull(),
  batch: integer().notNull().default(0),
  failed: text().notNull().default('[]'),
})
