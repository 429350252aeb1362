import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

export const PURPOSES = [
  'verify_email',
  'reset_password',
  'change_email',
  'undo_email_change',
  'accept_invitation',
  'unlock_account',
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
