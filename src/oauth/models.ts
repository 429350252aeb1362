import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { databaseNow } from '../database/statements.ts'

export const CLIENT_TYPES = ['public', 'confidential'] as const
/** RFC 8628 section 3.4. */
export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
export const GRANT_TYPES = ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_CODE] as const
export type GrantType = (typeof GRANT_TYPES)[number]
export const AUTH_METHODS = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const
export const ID_TOKEN_ALGORITHMS = ['RS256', 'ES256'] as const
/** By which an app may sign what proves who it is. */
export const ASSERTION_ALGORITHMS = ['RS256', 'PS256', 'ES256'] as const
/** What every app may be given (OpenID Connect Core section 5.4); any other scope is a permission, `account`, or a resource's. */
export const OPENID_SCOPES = ['openid', 'profile', 'email', 'offline_access', 'roles'] as const

/**
 * Apps and services that sign people in with Roster, or act for themselves. The deployment's own are first-party: they
 * ask for no consent. Of a secret there is its digest alone, and for a while that of the one before. What is in the plural
 * is a JSON list; 1 is yes, and 0 no.
 */
export const oauthClients = sqliteTable(
  'oauth_clients',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    type: text().$type<(typeof CLIENT_TYPES)[number]>().notNull(),
    /** The one way in which it says who it is. */
    token_endpoint_auth_method: text().$type<(typeof AUTH_METHODS)[number]>().notNull(),
    grants: text().notNull(),
    redirect_uris: text().notNull(),
    post_logout_redirect_uris: text().notNull(),
    backchannel_logout_uri: text(),
    /** What it may ask for; of `client_credentials`, what it may do. */
    scopes: text().notNull(),
    /** Who may use it; null for everybody. */
    allowed_roles: text(),
    first_party: integer().notNull(),
    require_pkce: integer().notNull(),
    id_token_signed_response_alg: text().$type<(typeof ID_TOKEN_ALGORITHMS)[number]>().notNull(),
    logo_uri: text(),
    /** A JWK set (RFC 7517), for `private_key_jwt`. */
    jwks: text(),
    /** Services of its own that tokens are made for (RFC 8707): `{url, scopes}` each. */
    resources: text().notNull(),
    secret_hash: text(),
    /** Who set what it proves itself by, secret or keys, and so may know it. Null: a script. */
    secret_by: text(),
    former_secret_hash: text(),
    former_secret_until: integer(),
    /** Raised by what cuts it off: its tokens and its sessions are of before. */
    epoch: integer().notNull(),
    /** Of `client_credentials`: who answers for what it does. */
    owner_id: text(),
    created_by: text(),
    created_at: integer().notNull(),
    updated_at: integer().notNull(),
    last_used_at: integer(),
    version: integer().notNull(),
  },
  (table) => [
    index('oauth_clients_of_owner').on(table.owner_id).where(sql`owner_id IS NOT NULL`),
    index('oauth_clients_by_secret').on(table.secret_by).where(sql`secret_by IS NOT NULL`),
    index('oauth_clients_by_maker').on(table.created_by).where(sql`created_by IS NOT NULL`),
  ],
)

export type Client = typeof oauthClients.$inferSelect

export const hasGrant = ({ grants }: Pick<Client, 'grants'>, grant: GrantType) =>
  (JSON.parse(grants) as GrantType[]).includes(grant)

/**
 * Whether a client is known by what it says of itself, at the URL that is its id. Any other is registered here, and its id
 * is a UUID.
 */
export const isByDocument = (clientId: string) =>
  clientId.length <= MAX_DOCUMENT_ID_LENGTH && /^https?:\/\//.test(clientId)

/** Such an id stands in every token of its app, beside a resource and its scopes. */
const MAX_DOCUMENT_ID_LENGTH = 200

/** A condition on a client: that it is registered here. No letter of a UUID comes after f. */
export const isOfOurs = sql`${oauthClients.id} < 'g'`

/** What it may ask for, beside scopes of a resource: never a permission, `roles` or `account`, as nobody vouches for it. */
export const SCOPES_BY_DOCUMENT = ['openid', 'profile', 'email', 'offline_access'] as const

/** Whose each resource is: kept by triggers from `oauth_clients.resources`, so each URL is there once. */
export const oauthResources = sqliteTable('oauth_resources', {
  url: text().primaryKey(),
  client_id: text().notNull(),
})

/** Whether a scope means the same whoever a token is for. */
export const isOfOpenId = (scope: string) => (OPENID_SCOPES as readonly string[]).includes(scope)

/** As what a scope is let: one of a resource's under its URL, as another's may have the same name. */
export const grantedAs = (scope: string, resource: string | null) =>
  resource === null || isOfOpenId(scope) ? scope : `${resource}#${scope}`

/** What somebody has let an app do (a consent), until they take it back. */
export const oauthGrants = sqliteTable(
  'oauth_grants',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    client_id: text().notNull(),
    scopes: text().notNull(),
    created_at: integer().notNull(),
    updated_at: integer().notNull(),
    /** What an app that is not registered here said of itself when they let it; null for any other. */
    document: text(),
  },
  (table) => [
    uniqueIndex('oauth_grants_of_user').on(table.user_id, table.client_id),
    index('oauth_grants_of_client').on(table.client_id),
  ],
)

export type Grant = typeof oauthGrants.$inferSelect

/**
 * Codes that were redeemed, with the session that each gave. A code itself is sealed and stored nowhere; redeeming it puts
 * its id here, so it is good once, and who brings it again ends that session. The id is a UUIDv7: clean-up knows its age.
 */
export const oauthCodes = sqliteTable('oauth_codes', {
  id: text().primaryKey(),
  session_id: text().notNull(),
})

/**
 * Devices that wait for somebody to type the code that they show. The id is a UUIDv7, so also when it was asked for. From
 * where is forgotten as soon as somebody has decided; `user_id` is who said yes, and null where they said no.
 */
export const oauthDeviceCodes = sqliteTable(
  'oauth_device_codes',
  {
    id: text().primaryKey(),
    user_code: text().notNull(),
    client_id: text().notNull(),
    /** What it asks for; then what it was let do. */
    scope: text().notNull(),
    /** The service that it is for; null for Roster itself. */
    resource: text(),
    ip: text(),
    user_agent: text(),
    country: text(),
    decided_at: integer(),
    user_id: text(),
    /** Their own session, which the device's will be under; and their epoch then. */
    parent_id: text(),
    epoch: integer(),
    /** When they had proved who they are (epoch seconds), and by what. */
    auth_time: integer(),
    amr: text(),
  },
  (table) => [uniqueIndex('oauth_device_codes_by_code').on(table.user_code)],
)

/**
 * Logout tokens that are owed to apps, by triggers on `sessions`: one row a login and app, until it is done or over. The id
 * is both of theirs.
 */
export const oauthLogouts = sqliteTable(
  'oauth_logouts',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    parent_id: text().notNull(),
    client_id: text().notNull(),
    expires_at: integer().notNull(),
    attempts: integer().notNull(),
    next_attempt_at: integer().notNull(),
    /** The status that the app answered last; null where it gave none. */
    answer: integer(),
  },
  (table) => [
    index('oauth_logouts_due').on(table.next_attempt_at),
    index('oauth_logouts_of_client').on(table.client_id),
  ],
)

/** A question for the batch that may have ended an app's session: whether anything is due now. */
export const selectIsOwed = () =>
  sql<{ is_owed: 0 | 1 }>`SELECT EXISTS (SELECT 1 FROM ${oauthLogouts}
    WHERE next_attempt_at <= ${databaseNow}) AS is_owed`
