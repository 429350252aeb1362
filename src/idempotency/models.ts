import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** The email address in an answer. Rows of an earlier version have it only inside the JSON. */
export const ANSWERED_EMAIL = sql`coalesce("email_normalized", CASE WHEN json_valid("response") THEN lower(json_extract("response", '$.email')) END)`

/** The answer to a request that carried an `Idempotency-Key`, kept for a day (see service.ts). */
export const idempotencyKeys = sqliteTable(
  'idempotency_keys',
  {
    principal: text().notNull(),
    route: text().notNull(),
    key: text().notNull(),
    body_hash: text().notNull(),
    status: integer().notNull(),
    response: text().notNull(),
    subject_id: text().notNull(),
    created_at: integer().notNull(),
    /** The address in the answer, normalised for comparison. */
    email_normalized: text(),
  },
  (table) => [
    primaryKey({ columns: [table.principal, table.route, table.key] }),
    index('idempotency_keys_subject').on(table.subject_id),
    index('idempotency_keys_created').on(table.created_at),
    index('idempotency_keys_email').on(ANSWERED_EMAIL).where(sql`${ANSWERED_EMAIL} IS NOT NULL`),
  ],
)
