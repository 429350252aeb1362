import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * A session begins with a login and ends by its `revoked_at`, or by time. `counter` counts rotations of its
 * refresh token; the token itself is never stored (see refresh-tokens.ts).
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
    /** How its user proved who they are: a JSON list of RFC 8176 values. */
    amr: text().notNull().default('["pwd"]'),
    /** When its refresh token was last repeated from another network or client than that of the rotation. */
    repeated_at: integer(),
    /**
     * For an app's session: the user's own session above it, the app, the app's epoch then, and its scopes.
     */
    parent_id: text(),
    client_id: text(),
    client_epoch: integer(),
    scope: text(),
    /** The service that its tokens are for (RFC 8707); null for Roster itself. */
    resource: text(),
  },
  (table) => [
    // Has no column that a refresh changes.
    index('sessions_by_user').on(table.user_id, table.revoked_at, table.id),
    // For clean-up.
    index('sessions_by_end').on(table.expires_at),
  ],
)

export type Session = typeof sessions.$inferSelect
