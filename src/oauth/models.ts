import { and, type SQL, sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { build, databaseNow } from '../database/statements.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'
import { firstIdAt } from '../values/ids.ts'

export const CLIENT_TYPES = ['public', 'confidential'] as const
/** RFC 8628 section 3.4. */
export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
export const GRANT_TYPES = ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_CODE] as const
export type GrantType = (typeof GRANT_TYPES)[number]
export const AUTH_METHODS = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const
export const ID_TOKEN_ALGORITHMS = ['RS256', 'ES256'] as const
/** The algorithms by which a client may sign assertions. */
export const ASSERTION_ALGORITHMS = ['RS256', 'PS256', 'ES256'] as const
/**
 * The scopes any app may have (OpenID Connect Core section 5.4); others are a permission, `account`, or a
 * resource's.
 */
export const OPENID_SCOPES = ['openid', 'profile', 'email', 'offline_access', 'roles'] as const

/**
 * Apps and services that sign users in with Roster, or act for themselves. The deployment's own are
 * first-party: they need no consent. Only digests of secrets are stored: that of the current one and, for a
 * while, of the one before. Columns in the plural are JSON lists; 1 is yes, and 0 no.
 */
export const oauthClients = sqliteTable(
  'oauth_clients',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    type: text().$type<(typeof CLIENT_TYPES)[number]>().notNull(),
    /** The one method by which it authenticates. */
    token_endpoint_auth_method: text().$type<(typeof AUTH_METHODS)[number]>().notNull(),
    grants: text().notNull(),
    redirect_uris: text().notNull(),
    post_logout_redirect_uris: text().notNull(),
    backchannel_logout_uri: text(),
    /** The scopes it may ask for; with `client_credentials`, those it has. */
    scopes: text().notNull(),
    /** The roles that may use it; null for everybody. */
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
    /** Who set its secret or keys, and so may know them. Null: a script. */
    secret_by: text(),
    former_secret_hash: text(),
    former_secret_until: integer(),
    /** Raised to revoke all its tokens and sessions so far. */
    epoch: integer().notNull(),
    /** With `client_credentials`: the user who is responsible for what it does. Null: a script; see NOBODY_ANSWERS. */
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

/** The owner of a service that was taken from its owner: nobody has this id, and unlike null, it is in the index. */
export const NOBODY_ANSWERS = ''

export type Client = typeof oauthClients.$inferSelect

export const hasGrant = ({ grants }: Pick<Client, 'grants'>, grant: GrantType) =>
  (JSON.parse(grants) as GrantType[]).includes(grant)

/** Whether a client's id is the URL of its metadata document, in ASCII. Registered clients have a UUID. */
export const isByDocument = (clientId: string) =>
  clientId.length <= MAX_DOCUMENT_ID_LENGTH && /^https?:\/\/[\x21-\x7e]+$/.test(clientId)

/** Such an id is in every token of its app, next to a resource and its scopes. */
const MAX_DOCUMENT_ID_LENGTH = 200

/** A condition on a client: that it is registered here. A UUID never begins with a letter after f. */
export const isOfOurs = sql`${oauthClients.id} < 'g'`

/**
 * The scopes it may ask for besides a resource's: no permission, `roles` or `account`, as nobody vouches for
 * it.
 */
export const SCOPES_BY_DOCUMENT = ['openid', 'profile', 'email', 'offline_access'] as const

/**
 * The owner of each resource: triggers maintain it from `oauth_clients.resources`, so each URL has one owner.
 */
export const oauthResources = sqliteTable('oauth_resources', {
  url: text().primaryKey(),
  client_id: text().notNull(),
})

/** Whether a scope means the same whichever service a token is for. */
export const isOfOpenId = (scope: string) => (OPENID_SCOPES as readonly string[]).includes(scope)

/**
 * The name under which a scope is granted: a resource's with its URL, as another resource's may have the same
 * name.
 */
export const grantedAs = (scope: string, resource: string | null) =>
  resource === null || isOfOpenId(scope) ? scope : `${resource}#${scope}`

/** What a user has allowed an app to do (a consent), until they withdraw it. */
export const oauthGrants = sqliteTable(
  'oauth_grants',
  {
    id: text().primaryKey(),
    user_id: text().notNull(),
    client_id: text().notNull(),
    scopes: text().notNull(),
    created_at: integer().notNull(),
    updated_at: integer().notNull(),
    /** The app's metadata document at the time of the consent; null for a registered app. */
    document: text(),
  },
  (table) => [
    uniqueIndex('oauth_grants_of_user').on(table.user_id, table.client_id),
    index('oauth_grants_of_client').on(table.client_id),
  ],
)

export type Grant = typeof oauthGrants.$inferSelect

/**
 * Redeemed codes, with the session that each gave. A code is sealed and stored nowhere; redeeming it inserts
 * its id here, so it works once, and presenting it again ends that session. The id is a UUIDv7, so clean-up
 * knows its age.
 */
export const oauthCodes = sqliteTable('oauth_codes', {
  id: text().primaryKey(),
  session_id: text().notNull(),
})

/**
 * Devices that wait for a user to type the code they show. The id is a UUIDv7, so it contains the time of the
 * request. The origin is deleted as soon as the user has decided; `user_id` is who approved, and null after a
 * refusal.
 */
export const oauthDeviceCodes = sqliteTable(
  'oauth_device_codes',
  {
    id: text().primaryKey(),
    user_code: text().notNull(),
    client_id: text().notNull(),
    /** The requested scopes; after approval, those granted. */
    scope: text().notNull(),
    /** The service that it is for; null for Roster itself. */
    resource: text(),
    ip: text(),
    user_agent: text(),
    country: text(),
    decided_at: integer(),
    user_id: text(),
    /** The user's own session, of which the device's will be a child; and their epoch at that time. */
    parent_id: text(),
    epoch: integer(),
    /** When the user had authenticated (epoch seconds), and how. */
    auth_time: integer(),
    amr: text(),
  },
  (table) => [uniqueIndex('oauth_device_codes_by_code').on(table.user_code)],
)

export const DEVICE_CODE_MS = 10 * MINUTE_MS

/** A condition on a device: that its code has not expired. */
export const isInTime = (now: number) => sql`${oauthDeviceCodes.id} > ${firstIdAt(now - DEVICE_CODE_MS)}`

/** So that devices which were approved, or wait for it, get no tokens any more. Reads only those of ten minutes. */
export const forgetDevices = (now: number, which: SQL | undefined) =>
  build.delete(oauthDeviceCodes).where(and(isInTime(now), which))

/** How long an app is told of a sign-out until it accepts: the triggers have this number too. */
export const LOGOUT_OWED_MS = DAY_MS

/**
 * Logout tokens that are owed to apps, written by triggers on `sessions`: one row for each login and app,
 * until it is delivered or expires. The id combines both.
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
    /** The status of the app's last answer; null if there was none. */
    answer: integer(),
  },
  (table) => [
    index('oauth_logouts_due').on(table.next_attempt_at),
    index('oauth_logouts_of_client').on(table.client_id),
  ],
)

/** For the batch that may have ended an app's session: selects whether anything is due now. */
export const selectIsOwed = () =>
  sql<{ is_owed: 0 | 1 }>`SELECT EXISTS (SELECT 1 FROM ${oauthLogouts}
    WHERE next_attempt_at <= ${databaseNow}) AS is_owed`
