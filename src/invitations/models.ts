import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { ROLES } from '../users/models.ts'

/** Who was invited, by whom and to which role. It is valid while its inviter could still make it. */
export const invitations = sqliteTable(
  'invitations',
  {
    id: text().primaryKey(),
    email: text().notNull(),
    email_normalized: text().notNull(),
    name: text(),
    role: text({ enum: ROLES }).notNull(),
    invited_by: text().notNull(),
    created_at: integer().notNull(),
    expires_at: integer().notNull(),
    accepted_at: integer(),
    withdrawn_at: integer(),
    /** The user who has accepted it. */
    user_id: text(),
  },
  (table) => [
    index('invitations_by_email').on(table.email_normalized),
    index('invitations_of_user').on(table.user_id),
    index('invitations_expired').on(table.expires_at),
    index('invitations_of_inviter').on(table.invited_by),
  ],
)

export type Invitation = typeof invitations.$inferSelect
