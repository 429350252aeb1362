import { index, integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'

/** Passkeys (WebAuthn level 3). Bytes are base64url, as in WebAuthn's JSON. */
export const passkeys = sqliteTable(
  'passkeys',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    credential_id: text().notNull(),
    /** The relying party that it was made for: a passkey of another one is no way in. */
    rp_id: text().notNull(),
    /** A JWK (RFC 7517). */
    public_key: text().notNull(),
    sign_count: integer().notNull(),
    /** JSON list of how the authenticator can be reached. */
    transports: text().notNull(),
    aaguid: text().notNull(),
    /** Backup eligibility and backup state. */
    may_be_synced: integer().notNull(),
    is_synced: integer().notNull(),
    name: text().notNull(),
    created_at: integer().notNull(),
    last_used_at: integer(),
  },
  (table) => [
    uniqueIndex('passkeys_by_credential').on(table.credential_id),
    index('passkeys_of_user').on(table.user_id, table.rp_id),
  ],
)

export type Passkey = typeof passkeys.$inferSelect
