import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

export const PURPOSES = [
  'verify_email',
  'reset_password',
  'change_email',
  'approve_email_change',
  'undo_email_change',
  'accept_invitation',
  'unlock_account',
  'enrol_factor',
  'reopen_account',
  'disown_session',
  'disown_factor',
  'reauthenticate',
  'sign_in',
] as const

export type Purpose = (typeof PURPOSES)[number]
/** Those whose mailed link opens a page; the others are only codes. */
export type LinkPurpose = Exclude<Purpose, 'enrol_factor' | 'reauthenticate' | 'sign_in'>

/**
 * Links that give an account back to its owner. They stay valid whatever the account's own sessions do to it,
 * even delete it. Somebody who manages may void them, and so may using one of them.
 */
export const TAKES_BACK: readonly Purpose[] = ['undo_email_change', 'reopen_account', 'disown_factor']

/** Each of these undoes the event it was mailed for, so a newer one does not void it. */
export const EACH_STAYS: readonly Purpose[] = ['undo_email_change', 'disown_session', 'disown_factor']

/**
 * Lets the reader of a mail do something, once. Neither the link's token nor the code is stored: both are
 * derived from the id (see service.ts). `subject_id` is a user or an invitation; `email` is the address the
 * mail went to, so whoever uses it can read mail there.
 */
export const oneTimeTokens = sqliteTable(
  'one_time_tokens',
  {
    id: text().primaryKey(),
    purpose: text({ enum: PURPOSES }).notNull(),
    subject_id: text().notNull(),
    email: text().notNull(),
    email_normalized: text().notNull(),
    /** Wrong codes. Two kinds of people are counted separately in it: see service.ts. */
    code_tries: integer().notNull(),
    /** Wrong passwords that were entered with its link. */
    password_tries: integer().notNull().default(0),
    created_at: integer().notNull(),
    expires_at: integer().notNull(),
    /** When it was used, or made void by something else. */
    spent_at: integer(),
    /** The session that asked for it, if only that one may use it. */
    session_id: text(),
    /**
     * When a newer one was asked for: this link is void, but its code still works for whoever asked for it.
     */
    superseded_at: integer(),
    /** How long after it was made its mail was sent (ms): the life of its code begins then. */
    mailed_after: integer(),
    /** When its link was first used by somebody who had to prove more. */
    clicked_at: integer(),
    /** What it undoes: a session's or passkey's id, `identity.<id>`, or when the app was confirmed (epoch ms). */
    about: text(),
  },
  (table) => [
    index('one_time_tokens_of_subject').on(table.subject_id, table.purpose),
    index('one_time_tokens_by_email').on(table.email_normalized, table.purpose, table.id),
  ],
)

export type OneTimeToken = typeof oneTimeTokens.$inferSelect
