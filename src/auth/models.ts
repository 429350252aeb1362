import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * A session begins with a login and ends with its row's `revoked_at`, or by time. `counter` counts rotations of
 * its refresh token; the token itself is never stored (see tokens.ts).
 */
export const sessions = sqliteTable(
  'sessions',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    counter: integer().notNull(),
    rotated_at: integer().notNull(),
    created_at: integer().notNull(),
    last_seen_at: integer().notNull(),
    idle_expires_at: integer().notNull(),
    expires_at: integer().notNull(),
    revoked_at: integer(),
    revoked_reason: text(),
    ip: text(),
    user_agent: text(),
    country: text(),
  },
  (table) => [
    index('sessions_live').on(table.user_id, table.id).where(sql`revoked_at IS NULL`),
    index('sessions_of_user').on(table.user_id),
    // What clean-up looks for.
    index('sessions_idle').on(table.idle_expires_at),
    index('sessions_revoked').on(table.revoked_at).where(sql`revoked_at IS NOT NULL`),
  ],
)

export type Session = typeof sessions.$inferSelect

/**
 * What is counted by network: attempts at one account's password, and mails asked for. `key` is a MAC of both, so no
 * address stands here.
 */
export const throttles = sqliteTable(
  'throttles',
  {
    key: text().primaryKey(),
    attempts: integer().notNull(),
    blocked_until: integer().notNull(),
    expires_at: integer().notNull(),
  },
  (table) => [index('throttles_expired').on(table.expires_at)],
)

export const PURPOSES = [
  'verify_email',
  'reset_password',
  'change_email',
  'undo_email_change',
  'accept_invitation',
] as const
export type Purpose = (typeof PURPOSES)[number]

/**
 * What a mail lets its reader do, once. Neither the link's token nor the code stands here: both are derived from
 * the id (see one-time-tokens.ts). `subject_id` is a person, or an invitation; `email` is the address the mail
 * went to, which is what using it confirms.
 */
export const oneTimeTokens = sqliteTable(
  'one_time_tokens',
  {
    id: text().primaryKey(),
    purpose: text({ enum: PURPOSES }).notNull(),
    subject_id: text().notNull(),
    email: text().notNull(),
    email_normalized: text().notNull(),
    code_tries: integer().notNull(),
    created_at: integer().notNull(),
    expires_at: integer().notNull(),
    /** Used, or made void by something newer. */
    spent_at: integer(),
  },
  (table) => [
    index('one_time_tokens_of_subject').on(table.subject_id, table.purpose),
    index('one_time_tokens_by_email').on(table.email_normalized, table.purpose, table.id),
    index('one_time_tokens_expired').on(table.expires_at),
  ],
)

export type OneTimeToken = typeof oneTimeTokens.$inferSelect

/** The answer to a request that carried an `Idempotency-Key`, kept for a day (see idempotency.ts). */
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
  },
  (table) => [
    primaryKey({ columns: [table.principal, table.route, table.key] }),
    index('idempotency_keys_subject').on(table.subject_id),
    index('idempotency_keys_created').on(table.created_at),
  ],
)
