import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** How often the clean-up runs: wrangler.toml says the same to the platform, and a test compares. */
export const RUNS_EVERY_MINUTES = 15

/**
 * Runs of the cron job. The id only grows, which makes it the fence; `holder` is the name that a run has given itself,
 * by which it knows its row; the lease says how long it may go on. `batch` is the number of the batch that it is at:
 * one that was done is not done again. `failed` names the tasks that failed.
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
