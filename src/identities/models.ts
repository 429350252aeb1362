import { index, integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'

/** Identities of users at providers, recognised only by provider and subject. */
export const identities = sqliteTable(
  'identities',
  {
    id: text().primaryKey(),
    /** Its id in IDENTITY_PROVIDERS. */
    provider: text().notNull(),
    /** Compared case-sensitively (OpenID Connect Core section 2). */
    subject: text().notNull(),
    user_id: text().notNull(),
    /**
     * The address the provider gave when it was connected, so that the user recognises the identity. It
     * proves nothing.
     */
    email: text(),
    created_at: integer().notNull(),
  },
  (table) => [
    uniqueIndex('identities_by_subject').on(table.provider, table.subject),
    index('identities_of_user').on(table.user_id),
  ],
)

export type Identity = typeof identities.$inferSelect
