import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

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
    /** How often its owner has proved again who they are, and when last (epoch ms). For cookie sessions. */
    turn: integer().notNull().default(0),
    proved_at: integer(),
    /** By what its user proved who they are: a JSON list of the words of RFC 8176. */
    amr: text().notNull().default('["pwd"]'),
    /** When its refresh token was last repeated from another network or client than it was rotated for. */
    repeated_at: integer(),
    /** Of an app's session: the person's own that it is under, the app, its epoch then, and what it may do. */
    parent_id: text(),
    client_id: text(),
    client_epoch: integer(),
    scope: text(),
    /** The service that its tokens are for (RFC 8707); null for Roster itself. */
    resource: text(),
  },
  (table) => [
    // Nothing that a refresh moves.
    index('sessions_by_user').on(table.user_id, table.revoked_at, table.id),
    // What clean-up looks for.
    index('sessions_by_end').on(table.expires_at),
  ],
)

export type Session = typeof sessions.$inferSelect
