import { type SQL, sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { Language } from '../values/languages.ts'
import type { MailKind } from './kinds.ts'

/** The other address that a mail names, as addresses are compared; rows of an earlier version have it only as it was typed. */
export const NEW_EMAIL = sql`coalesce("new_email_normalized", lower("new_email"))`

/**
 * Mails that are owed: a row is written in the batch of the change that owes it, and sent after that. `token_id`
 * names the one-time token whose link and code go into the mail; they are derived when it is sent, so no row
 * here could open an account.
 */
export const outbox = sqliteTable(
  'outbox',
  {
    id: text().primaryKey(),
    kind: text().$type<MailKind>().notNull(),
    user_id: text(),
    recipient: text().notNull(),
    recipient_normalized: text().notNull(),
    token_id: text(),
    /** Where an account's address is going, in the mail that tells so; in one of an event, the address of who did it. */
    new_email: text(),
    /** The same, as addresses are compared. */
    new_email_normalized: text(),
    created_at: integer().notNull(),
    expires_at: integer().notNull(),
    attempts: integer().notNull(),
    next_attempt_at: integer().notNull(),
    sent_at: integer(),
    /** Given up: refused for good, or overtaken by its link's end. */
    dead_at: integer(),
    /** From where somebody asked for it; null where nobody did. */
    country: text(),
    device: text(),
    /** Why it was not sent: the status of the mail service, or a word. */
    refusal: text(),
    /** In which it is written, decided once so that every try sends the same; null in rows of an earlier version. */
    language: text().$type<Language>(),
    /** The row of history that it tells of, where its words say who did it, and to what. */
    event_id: text(),
  },
  (table) => [
    index('outbox_due').on(table.next_attempt_at).where(sql`sent_at IS NULL AND dead_at IS NULL`),
    index('outbox_dead').on(table.dead_at).where(sql`dead_at IS NOT NULL`),
    index('outbox_by_recipient').on(table.recipient_normalized, table.kind, table.id),
    index('outbox_of_user').on(table.user_id),
    index('outbox_new_email').on(NEW_EMAIL).where(sql`new_email IS NOT NULL`),
  ],
)

/** The refusal of a mail that may have gone: it was handed over whole, and nobody said that it was taken. */
export const UNKNOWN = 'unknown'

/** How many mails were given up, up to so many. */
export const countDead = (most: number): SQL<number> =>
  sql<number>`(SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE dead_at IS NOT NULL LIMIT ${sql.raw(String(most))}))`

export type OutboxMail = typeof outbox.$inferSelect
