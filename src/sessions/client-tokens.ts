import { and, eq, inArray, type SQL, type SQLWrapper, sql } from 'drizzle-orm'
import { ACCOUNT, hasPermission, type Permission, scopesWithin } from '../access/permissions.ts'
import { apiKeys } from '../api-keys/models.ts'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Places, prepare, type RowsOf } from '../database/statements.ts'
import { grantedAs, isOfOpenId, oauthClients, oauthGrants, oauthResources } from '../oauth/models.ts'
import { type Profile, profileColumns, ROLES, userIsActive, users } from '../users/models.ts'
import { type Claims, type ClientClaims, replicaMayLag } from './access-tokens.ts'
import { sessions } from './models.ts'

/**
 * What an app may do with a user's session, and a service for itself. The app has a session of its own under
 * the user's, and it ends with the user's unless the app has `offline_access`. Three things limit it, all as
 * they are now: its token, the user's consent, and the scopes of the app. So withdrawing one of them, or
 * removing the app, is a change of one row.
 */

/**
 * An app without `offline_access` loses its session when the user's own ends or, if it acts as the user, is
 * idle.
 */
export const isOffline = sql`instr(' ' || coalesce(${sessions.scope}, '') || ' ', ' offline_access ') > 0`

/**
 * Permissions have a colon; scopes of OpenID have none. Scopes of another service may be anything, and permit
 * nothing here.
 */
const actsForThem = sql`((${sessions.resource} IS NULL AND instr(coalesce(${sessions.scope}, ''), ':') > 0)
  OR instr(' ' || coalesce(${sessions.scope}, '') || ' ', ${` ${ACCOUNT} `}) > 0)`

/** A condition on an app and a user: that the user's role may use the app. */
export const roleMayUse = sql`(${oauthClients.allowed_roles} IS NULL
  OR EXISTS (SELECT 1 FROM json_each(${oauthClients.allowed_roles}) WHERE value = ${users.role}))`

/** The scopes that a resource defines now, as a JSON list; null if no resource has this URL. */
export const scopesOfResource = (url: SQL) =>
  sql`(SELECT json_extract(json_each.value, '$.scopes') FROM ${oauthResources} JOIN ${oauthClients} AS owner ON owner.id = ${oauthResources.client_id},
    json_each(owner.resources) WHERE ${oauthResources.url} = ${url} AND json_extract(json_each.value, '$.url') = ${url})`

/** A condition on an app's session and the rows joined to it: that it is live. */
const isLive = (now: SQL | number) =>
  sql`${sessions.revoked_at} IS NULL AND ${sessions.idle_expires_at} > ${databaseNow}
    AND ${oauthClients.epoch} = ${sessions.client_epoch}
    AND (${userIsActive(now)})
    AND ${roleMayUse}
    AND (${isOffline} OR EXISTS (SELECT 1 FROM ${sessions} AS parent WHERE parent.id = ${sessions.parent_id} AND parent.revoked_at IS NULL
      AND (parent.idle_expires_at > ${databaseNow} OR NOT ${actsForThem})))`

export interface ClientSession {
  sid: string
  /** Null where only the session row knows it. */
  sub: string | null
  client_id: string
  now: number
}

/** An app's session, with its user and its app as they are now. */
export const selectClientSession = prepare(({ sid, sub, client_id, now }: Places<ClientSession>) => ({
  found: build
    .select({
      ...profileColumns,
      locale: users.locale,
      is_live: sql<0 | 1>`coalesce(${isLive(now)}, 0)`.as('is_live'),
      token_epoch: users.token_epoch,
      amr: sessions.amr,
      counter: sessions.counter,
      rotated_at: sessions.rotated_at,
      now: databaseNow.as('now'),
      scope: sessions.scope,
      resource: sessions.resource,
      resource_scopes: sql<string | null>`${scopesOfResource(sql`${sessions.resource}`)}`.as(
        'resource_scopes',
      ),
      parent_id: sessions.parent_id,
      proved_at: sessions.proved_at,
      session_expires_at: sql<number>`min(${sessions.idle_expires_at}, ${sessions.expires_at})`.as(
        'session_expires_at',
      ),
      ends_at:
        sql<number>`min(${sessions.idle_expires_at}, ${sessions.expires_at}, CASE WHEN ${isOffline} OR NOT ${actsForThem}
        THEN ${sessions.expires_at} ELSE coalesce((SELECT parent.idle_expires_at FROM ${sessions} AS parent
          WHERE parent.id = ${sessions.parent_id}), 0) END)`.as('ends_at'),
      client_scopes: sql<string>`${oauthClients.scopes}`.as('client_scopes'),
      /** Null for an app that needs no consent. */
      granted: sql<string | null>`CASE WHEN ${oauthClients.first_party} = 1 THEN NULL
        ELSE coalesce(${oauthGrants.scopes}, '[]') END`.as('granted'),
    })
    .from(sessions)
    .innerJoin(
      users,
      and(eq(users.id, sessions.user_id), sql`${users.id} = coalesce(${sub}, ${sessions.user_id})`),
    )
    .innerJoin(oauthClients, eq(oauthClients.id, sessions.client_id))
    .leftJoin(oauthGrants, and(eq(oauthGrants.user_id, users.id), eq(oauthGrants.client_id, oauthClients.id)))
    .where(and(eq(sessions.id, sid), eq(sessions.client_id, client_id))),
}))
export type ClientSessionRow = RowsOf<ReturnType<typeof selectClientSession>['found']>[number]

/**
 * The session row of a genuine token. It is read from the primary if a lagging replica may have missed the
 * session or the token's epoch: an app uses a token as soon as it has one, and drops one that is refused.
 */
export const withPrimaryFallback = async (
  { db, now }: Pick<Resources, 'db' | 'now'>,
  row: ClientSessionRow | undefined,
  session: Omit<ClientSession, 'now'> & { iat?: number; epoch?: number },
): Promise<ClientSessionRow | undefined> =>
  replicaMayLag(row, session, now)
    ? (await db.readPrimary(selectClientSession({ ...session, now }))).found[0]
    : row

/** Whether it is live and, if an epoch is given, whether that is still the user's. */
export const isClientSessionLive = (
  row: ClientSessionRow | undefined,
  epoch?: number,
): row is ClientSessionRow => row?.is_live === 1 && (epoch === undefined || row.token_epoch === epoch)

/**
 * Those of the scopes that the session, the app (or the resource that its tokens are for) and the user's
 * consent all include, as they are now. An app never gets more than the user's role has.
 */
export function scopesNow(
  row: Pick<
    ClientSessionRow,
    'scope' | 'client_scopes' | 'resource' | 'resource_scopes' | 'granted' | 'role'
  >,
  scopes: readonly string[],
): string[] {
  const { resource } = row
  const ofSession = (row.scope ?? '').split(' ')
  const ofClient = JSON.parse(row.client_scopes) as string[]
  const ofResource = JSON.parse(row.resource_scopes ?? '[]') as string[]
  const granted = row.granted === null ? undefined : (JSON.parse(row.granted) as string[])
  return scopesWithin(scopes, row.role).filter(
    (scope) =>
      ofSession.includes(scope) &&
      (resource === null || isOfOpenId(scope) ? ofClient : ofResource).includes(scope) &&
      granted?.includes(grantedAs(scope, resource)) !== false,
  )
}

/** Whether the token's audience is the service that its session is for. */
export const isForOwnAudience = (
  { resource }: Pick<ClientSessionRow, 'resource'>,
  { aud }: Pick<ClientClaims, 'aud'>,
) => resource === (aud ?? null)

/** The session of an app's token, if it is live, with the token's present scopes. */
export async function findClientSession(
  resources: Pick<Resources, 'db' | 'now'>,
  token: ClientClaims & { sid: string },
): Promise<(ClientSessionRow & { scopes: string[] }) | undefined> {
  const { found } = await resources.db.read(selectClientSession({ ...token, now: resources.now }))
  const row = await withPrimaryFallback(resources, found[0], token)
  if (!isClientSessionLive(row, token.epoch) || !isForOwnAudience(row, token)) return undefined
  return { ...row, scopes: scopesNow(row, token.scope.split(' ')) }
}

const liveClientSession = ({ sid, sub, epoch, client }: Claims, now: number) =>
  sql`EXISTS (SELECT 1 FROM ${sessions}
    JOIN ${users} ON ${users.id} = ${sessions.user_id} AND ${users.id} = ${sub} AND ${users.token_epoch} = ${epoch}
    JOIN ${oauthClients} ON ${oauthClients.id} = ${sessions.client_id}
    LEFT JOIN ${oauthGrants} ON ${oauthGrants.user_id} = ${users.id} AND ${oauthGrants.client_id} = ${oauthClients.id}
    WHERE ${sessions.id} = ${sid} AND ${sessions.client_id} = ${client!.id} AND ${isLive(now)}
      AND ${hasAll(sql`${oauthClients.scopes}`, client!.scopes)}
      AND (${oauthClients.first_party} = 1 OR ${hasAll(sql`${oauthGrants.scopes}`, client!.scopes)}))`

/** A condition: that a JSON list contains all of these. */
export const hasAll = (list: SQL, scopes: readonly string[]) =>
  sql`(SELECT count(*) FROM json_each(coalesce(${list}, '[]')) WHERE value IN ${[...scopes, '']}) >= ${scopes.length}`

/** A service as it is now, with the role of its owner; null if it has none. */
export const selectService = prepare(({ id, now }: Places<{ id: string; now: number }>) => ({
  service: build
    .select({
      epoch: oauthClients.epoch,
      owner_id: oauthClients.owner_id,
      grants: oauthClients.grants,
      scopes: oauthClients.scopes,
      owner_role: sql<Profile['role'] | null>`${users.role}`.as('owner_role'),
    })
    .from(oauthClients)
    .leftJoin(users, and(eq(users.id, oauthClients.owner_id), userIsActive(now)))
    .where(eq(oauthClients.id, id)),
}))

/** An owner answers for a service while they may make one; without an owner it is shut out at once. */
export const mayOwnServices = (role: Profile['role'] | null | undefined): role is Profile['role'] =>
  role != null && hasPermission(role, 'clients:manage')

export type Service = RowsOf<ReturnType<typeof selectService>['service']>[number]

/** The present scopes of a service: never more than its owner's role has, and none without an owner. */
export const scopesOfService = ({ scopes, owner_role: owner }: Service): string[] =>
  mayOwnServices(owner)
    ? (JSON.parse(scopes) as string[]).filter((scope) => hasPermission(owner, scope as Permission))
    : []

/** Like `withPrimaryFallback`, for a service: it may be as new as its token, which it uses at once. */
export const serviceWithPrimaryFallback = async (
  { db, now }: Pick<Resources, 'db' | 'now'>,
  row: Service | undefined,
  { client_id: id, ...token }: { client_id: string; iat?: number; epoch?: number },
): Promise<Service | undefined> =>
  replicaMayLag(row && { token_epoch: row.epoch }, { sid: id, ...token }, now)
    ? (await db.readPrimary(selectService({ id, now }))).service[0]
    : row

/** The present scopes of a service's token; undefined if it is no longer valid. */
export async function findServiceScopes(
  resources: Pick<Resources, 'db' | 'now'>,
  token: Pick<ClientClaims, 'sub' | 'client_id' | 'epoch' | 'scope' | 'iat'>,
): Promise<string[] | undefined> {
  const { db, now } = resources
  const [found] = (await db.read(selectService({ id: token.client_id, now }))).service
  return serviceScopesNow(await serviceWithPrimaryFallback(resources, found, token), token)
}

/** The same for a service that was already read. */
export function serviceScopesNow(
  found: Service | undefined,
  token: Pick<ClientClaims, 'sub' | 'client_id' | 'epoch' | 'scope'>,
): string[] | undefined {
  if (!found || !mayOwnServices(found.owner_role)) return undefined
  if (token.sub !== token.client_id || found.epoch !== token.epoch) return undefined
  const now = scopesOfService(found)
  return token.scope.split(' ').filter((scope) => now.includes(scope))
}

/** Services act by their owner's role, so the condition pins that too. */
const liveService = ({ epoch, client }: Claims, now: number) => {
  const roles = ROLES.filter(
    (role) =>
      mayOwnServices(role) && client!.scopes.every((scope) => hasPermission(role, scope as Permission)),
  )
  return sql`EXISTS (SELECT 1 FROM ${oauthClients} JOIN ${users} ON ${users.id} = ${oauthClients.owner_id} AND ${userIsActive(now)}
    WHERE ${oauthClients.id} = ${client!.id} AND ${oauthClients.epoch} = ${epoch}
      AND ${inArray(users.role, roles)} AND ${hasAll(sql`${oauthClients.scopes}`, client!.scopes)})`
}

/** A condition on a key: that this is the digest of one of its secrets, and that the key has not expired. */
export const isSecretOfKey = (digest: SQL | string): SQL =>
  sql`(${apiKeys.secret_hash} = ${digest} OR (${apiKeys.former_secret_hash} = ${digest} AND ${apiKeys.former_secret_until} > ${databaseNow}))
    AND (${apiKeys.expires_at} IS NULL OR ${apiKeys.expires_at} > ${databaseNow})`

/** Built when the write is, as only then all permissions that the request needs are known. */
const liveKey = ({ sub, key }: Claims, now: number): SQLWrapper => ({
  getSQL(): SQL {
    const { id, digest, needs, mustBeTwofold } = key!
    const permissions = [...needs]
    const roles = ROLES.filter((role) => permissions.every((permission) => hasPermission(role, permission)))
    return sql`EXISTS (SELECT 1 FROM ${apiKeys} JOIN ${users} ON ${users.id} = ${apiKeys.user_id} AND ${userIsActive(now)}
      WHERE ${apiKeys.id} = ${id} AND ${apiKeys.user_id} = ${sub} AND ${isSecretOfKey(digest)}
        AND ${inArray(users.role, roles)} AND ${hasAll(sql`${apiKeys.permissions}`, permissions)}
        AND ${mustBeTwofold ? sql`instr(${apiKeys.amr}, '"mfa"') > 0` : sql`1`})`
  },
})

/**
 * A condition for writes: that the credential of an app, a service or a key is still valid, with all its
 * scopes.
 */
export const clientIsLive = (claims: Claims, now: number): SQL =>
  claims.key
    ? sql`${liveKey(claims, now)}`
    : claims.client?.isService
      ? liveService(claims, now)
      : liveClientSession(claims, now)
