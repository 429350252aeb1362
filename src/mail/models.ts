import { type SQL, sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { databaseNow } from '../database/statements.ts'
import type { Language } from '../values/languages.ts'
import type { MailKind } from './kinds.ts'

/**
 * The other address that a mail names, in comparable form; rows of an earlier version only have it as typed.
 */
export const NEW_EMAIL = sql`coalesce("new_email_normalized", lower("new_email"))`

/**
 * The outbox: a row is written in the batch of the change that causes the mail, and sent afterwards.
 * `token_id` names the one-time token whose link and code go into the mail; they are derived when it is sent,
 * so no row here could open an account.
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
    /**
     * The account's new address, in a mail about its change; in a mail about an event, the actor's address.
     */
    new_email: text(),
    /** The same, in comparable form. */
    new_email_normalized: text(),
    created_at: integer().notNull(),
    expires_at: integer().notNull(),
    attempts: integer().notNull(),
    next_attempt_at: integer().notNull(),
    sent_at: integer(),
    /**
     * When it was given up: refused for good, or its link has expired. In the future while a mail is on its way that
     * must not be sent twice: then it counts as given up if nothing is heard of it.
     */
    dead_at: integer(),
    /** The country of the request for it; null if nobody asked. */
    country: text(),
    device: text(),
    /** Why it was not sent: the status of the mail service, or a word. */
    refusal: text(),
    /** Its language, decided once so that every try sends the same; null in rows of an earlier version. */
    language: text().$type<Language>(),
    /** The row of history it reports, if its text says who did what. */
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

/** The refusal of a mail that may have been sent: it was perhaps handed over, but never acknowledged. */
export const UNKNOWN = 'unknown'

/** A condition: that a mail was given up. One that is on its way was not. */
export const isDead = (now: number | SQL = databaseNow) => sql`dead_at <= ${now}`

/** How many mails were given up, counting up to a limit. */
export const countDead = (most: number): SQL<number> =>
  sql<number>`(SELECT count(*) FROM (SELECT 1 FROM ${outbox} WHERE ${isDead()} LIMIT ${sql.raw(String(most))}))`

export type OutboxMail = typeof outbox.$inferSelect
