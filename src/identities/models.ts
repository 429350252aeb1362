import { index, integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'

/** As whom users are known elsewhere: by provider and subject, and by nothing else. */
export const identities = sqliteTable(
  'identities',
  {
    id: text().primaryKey(),
    /** Its id in IDENTITY_PROVIDERS. */
    provider: text().notNull(),
    /** Compared letter by letter (OpenID Connect Core section 2). */
    subject: text().notNull(),
    user_id: text().notNull(),
    /** What the provider called them when it was connected, so that its user knows it again. It proves nothing. */
    email: text(),
    created_at: integer().notNull(),
  },
  (table) => [
    uniqueIndex('identities_by_subject').on(table.provider, table.subject),
    index('identities_of_user').on(table.user_id),
  ],
)

export type Identity = typeof identities.$inferSelect
