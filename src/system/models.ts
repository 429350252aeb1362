import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * The row that records when the mail service refused a mail, and with what status. Deleted once a mail is
 * accepted.
 */
export const LAST_REFUSAL = 'mail_refused'

/**
 * What a deployment knows of itself, a row each: `began` is when its clean-up could first have run, `probe`
 * when /ready last wrote, and `LAST_REFUSAL`.
 */
export const systemState = sqliteTable('system_state', {
  name: text().primaryKey(),
  at: integer().notNull(),
  status: integer(),
})
