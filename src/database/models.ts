import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * Write batches that were sent again because the first send got no answer. The row tells an earlier send that
 * arrives late (see guard.ts). The id is a UUIDv7, so that clean-up knows its age.
 */
export const resends = sqliteTable(
  'resends',
  { batch_id: text().notNull(), number: integer().notNull() },
  (table) => [primaryKey({ columns: [table.batch_id, table.number] })],
)
