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
/** Those that a mailed link opens a page for; the others are codes alone. */
export type LinkPurpose = Exclude<Purpose, 'enrol_factor' | 'reauthenticate' | 'sign_in'>

/** What gives an account back to its owner: it stays good whatever is done to the account, and works for the deleted. */
export const TAKES_BACK: readonly Purpose[] = ['undo_email_change', 'reopen_account', 'disown_factor']

/** Each of these takes back what it was mailed for, whatever comes after it. */
export const EACH_STAYS: readonly Purpose[] = ['undo_email_change', 'disown_session', 'disown_factor']

/**
 * What a mail lets its reader do, once. Neither the link's token nor the code stands here: both are derived from
 * the id (see service.ts). `subject_id` is a person, or an invitation; `email` is the address the mail
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
    /** Wrong passwords that were given with its link. */
    password_tries: integer().notNull().default(0),
    created_at: integer().notNull(),
    expires_at: integer().notNull(),
    /** Used, or made void by something else. */
    spent_at: integer(),
    /** The session that asked for it, where only that one may use it. */
    session_id: text(),
    /** A newer one was asked for: its link leads nowhere, its code is good for who asked for it. */
    superseded_at: integer(),
    /** How long after it was made its mail was sent (ms): a code lives from then on. */
    mailed_after: integer(),
    /** Its link was followed, by somebody of whom more was asked. */
    clicked_at: integer(),
    /** What it takes back: a session's or a passkey's id, or when the authenticator app was confirmed. */
    about: text(),
  },
  (table) => [
    index('one_time_tokens_of_subject').on(table.subject_id, table.purpose),
    index('one_time_tokens_by_email').on(table.email_normalized, table.purpose, table.id),
  ],
)

export type OneTimeToken = typeof oneTimeTokens.$inferSelect
