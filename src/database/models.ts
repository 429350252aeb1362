import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Write batches that were sent again, as the first send had no answer. The row says so to a send before it that
 * arrives late (see guard.ts). The id is a UUIDv7, so clean-up knows its age.
 */
export const resends = sqliteTable(
  'resends',
  { batch_id: text().notNull(), number: integer().notNull() },
  (table) => [primaryKey({ columns: [table.batch_id, table.number] })],
)
