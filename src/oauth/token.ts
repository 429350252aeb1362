import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { hasPermission, type Permission } from '../access/permissions.ts'
import { record } from '../activity/service.ts'
import { rotateSession } from '../auth/refresh.ts'
import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { build, databaseNow, type Given, insertWhere, rowExists } from '../database/statements.ts'
import { AppError, Refusal } from '../http/problem.ts'
import { ACCESS_TOKEN_SECONDS, signClientToken } from '../sessions/access-tokens.ts'
import {
  asHeardOf,
  hasAll,
  isClientSessionLive,
  roleMayUse,
  scopesNow,
  selectClientSession,
  selectService,
} from '../sessions/client-tokens.ts'
import { lifetimeOf } from '../sessions/lifetimes.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { makeRefreshToken, newSessionId, openRefreshToken } from '../sessions/refresh-tokens.ts'
import { revokeSessions } from '../sessions/service.ts'
import { type Role, userIsActive, users } from '../users/models.ts'
import { type GivenClient, proveClient } from './clients/authenticate.ts'
import { selectClient } from './clients/service.ts'
import { type Code, isExpired, isVerified, openCode } from './codes.ts'
import { invalidClient, invalidGrant, oauthError } from './errors.ts'
import { signIdToken } from './id-tokens.ts'
import { type Client, type GrantType, hasGrant, oauthClients, oauthCodes, oauthGrants } from './models.ts'
import { isRegistered } from './redirects.ts'
import { scopesIn } from './scopes.ts'

/** RFC 6749 section 5.1. */
export interface TokenAnswer {
  access_token: string
  token_type: 'Bearer'
  expires_in: number
  scope: string
  refresh_token?: string
  id_token?: string
}

type Fields = Record<string, string>
type Grant = (resources: Resources, given: GivenClient, fields: Fields) => Promise<TokenAnswer>

/** Of a person and an app; one more, and the oldest ends. */
const MAX_SESSIONS_PER_CLIENT = 10
const USED_EVERY_MS = 5 * 60_000

/** Throws as RFC 6749 section 5.2 says. */
export function answerToken(resources: Resources, given: GivenClient, fields: Fields): Promise<TokenAnswer> {
  const grant =
    Object.hasOwn(GRANTS, fields.grant_type ?? '') && GRANTS[fields.grant_type as keyof typeof GRANTS]
  if (fields.grant_type === undefined) throw oauthError('invalid_request', 'grant_type is missing.')
  if (!grant) throw oauthError('unsupported_grant_type', 'There is no such grant here.')
  return grant(resources, given, fields)
}

function assertMay(client: Client, grant: GrantType): void {
  if (!hasGrant(client, grant))
    throw oauthError('unauthorized_client', 'The client is not registered for this grant.')
}

/**
 * Trades a code for tokens, in two trips. Who brings it again, with all that belongs to it, ends what it gave: one of the
 * two is a thief. Any other misuse changes nothing.
 */
const byCode: Grant = async (resources, given, fields) => {
  const code = await openCode(resources.config, fields.code ?? '')
  const asked = {
    user: build
      .select({ id: users.id, role: users.role, token_epoch: users.token_epoch })
      .from(users)
      .where(eq(users.id, code?.userId ?? '')),
  }
  const read = await resources.db.read({
    client: selectClient(given.id),
    used: build
      .select()
      .from(oauthCodes)
      .where(eq(oauthCodes.id, code?.id ?? '')),
    ...asked,
  })
  const client = await proveClient(resources, given, read.client[0])
  assertMay(client, 'authorization_code')
  if (fields.code === undefined) throw oauthError('invalid_request', 'code is missing.')
  if (!code || code.clientId !== client.id) throw invalidGrant(new Refusal('unknown'))
  const redirect = fields.redirect_uri ?? ''
  // One that was taken off the app's list meanwhile is none of its own any more.
  if (digestOf(redirect) !== code.redirect || !isRegistered(redirect, JSON.parse(client.redirect_uris)))
    throw invalidGrant(new Refusal('claims'))
  if (!isVerified(code, fields.code_verifier)) throw invalidGrant(new Refusal('wrong_code'))
  const [used] = read.used
  if (used) {
    await endRedeemed(resources, code, used.session_id)
    throw invalidGrant(new Refusal('used'))
  }
  if (isExpired(code, resources.now)) throw invalidGrant(new Refusal('expired'))
  // A replica that lags may know of an earlier role, or not of who has just signed up.
  const isHeardOf = read.user[0] && read.user[0].token_epoch >= code.epoch
  const [user] = isHeardOf ? read.user : (await resources.db.readPrimary(asked)).user
  if (!user) throw invalidGrant(new Refusal('inactive'))
  const session = await redeem(resources, client, code, user)
  Object.assign(resources.loggedAs, { sub: user.id, sid: session.id })
  return toAnswer(resources, {
    client,
    session,
    user,
    epoch: code.epoch,
    scopes: scopesIn(code.scope),
    nonce: code.nonce,
  })
}

/** Begins the app's session under the person's own, on the condition that all is as it was when the code was given. */
async function redeem(
  resources: Resources,
  client: Client,
  code: Code,
  user: { role: Role },
): Promise<Session> {
  const { db, config, origin, now } = resources
  const id = newSessionId(code.userId)
  const scopes = scopesIn(code.scope)
  const { idleMs, absoluteMs } = lifetimeOf(config, user.role)
  const ofParent = sql`(SELECT expires_at FROM ${sessions} WHERE id = ${code.parentId})`
  // Who was let go on without them lives as long as a login would from now on.
  const end = scopes.includes('offline_access') ? sql`${databaseNow} + ${absoluteMs}` : ofParent
  const session = {
    id,
    user_id: code.userId,
    counter: 0,
    rotated_at: databaseNow,
    created_at: databaseNow,
    last_seen_at: databaseNow,
    idle_expires_at: sql`min(${databaseNow} + ${idleMs}, ${end})`,
    expires_at: end,
    revoked_at: null,
    revoked_reason: null,
    ip: origin.ip,
    user_agent: origin.userAgent,
    country: origin.country,
    turn: 0,
    proved_at: code.authTime * 1000,
    amr: JSON.stringify(code.amr),
    repeated_at: null,
    parent_id: code.parentId,
    client_id: client.id,
    client_epoch: client.epoch,
    scope: code.scope,
  } satisfies Given<Session>
  const isStarted = rowExists(sessions, id)
  const event = {
    action: 'session.started',
    userId: code.userId,
    actorId: code.userId,
    details: { session_id: id, client_id: client.id },
  } as const
  // What is over by time pushes nobody out.
  const surplus = sql`SELECT id FROM ${sessions} WHERE user_id = ${code.userId} AND client_id = ${client.id}
    AND revoked_at IS NULL AND idle_expires_at > ${databaseNow} ORDER BY id DESC LIMIT 100 OFFSET ${MAX_SESSIONS_PER_CLIENT}`
  const { begun, used } = await db.writeBatch(
    {
      session: insertWhere(sessions, session, mayRedeem(client, code, now)),
      code: insertWhere(oauthCodes, { id: code.id, session_id: id }, isStarted),
      history: record(resources, event, isStarted),
      surplus: revokeSessions(now, 'too_many', sql`${sessions.id} IN (${surplus})`),
      lastUsed: noteUsed(client.id, isStarted),
      begun: build.select().from(sessions).where(eq(sessions.id, id)),
      used: build.select().from(oauthCodes).where(eq(oauthCodes.id, code.id)),
    },
    isStarted,
  )
  if (begun[0]) return begun[0]
  // Somebody was faster by a moment.
  if (used[0]) await endRedeemed(resources, code, used[0].session_id)
  throw invalidGrant(new Refusal(used[0] ? 'used' : 'meanwhile'))
}

const mayRedeem = (client: Client, code: Code, now: number) =>
  sql`NOT EXISTS (SELECT 1 FROM ${oauthCodes} WHERE id = ${code.id})
    AND EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${code.parentId} AND user_id = ${code.userId}
      AND revoked_at IS NULL AND idle_expires_at > ${databaseNow})
    AND EXISTS (SELECT 1 FROM ${users} JOIN ${oauthClients} ON ${oauthClients.id} = ${client.id}
      WHERE ${and(eq(users.id, code.userId), eq(users.token_epoch, code.epoch), userIsActive(now))}
      AND ${oauthClients.epoch} = ${client.epoch} AND ${roleMayUse}
      AND ${hasAll(sql`${oauthClients.scopes}`, scopesIn(code.scope))}
      AND (first_party = 1 OR EXISTS (SELECT 1 FROM ${oauthGrants} WHERE user_id = ${code.userId}
        AND client_id = ${client.id} AND ${hasAll(sql`${oauthGrants.scopes}`, scopesIn(code.scope))})))`

const noteUsed = (clientId: string, condition = sql`1`) =>
  build
    .update(oauthClients)
    .set({ last_used_at: databaseNow })
    .where(
      sql`${oauthClients.id} = ${clientId} AND coalesce(last_used_at, 0) < ${databaseNow} - ${USED_EVERY_MS} AND ${condition}`,
    )

/** RFC 6749 section 4.1.2: the tokens of a code that comes twice end. */
async function endRedeemed(resources: Resources, code: Code, sessionId: string): Promise<void> {
  const event = {
    id: uuidv7(),
    action: 'session.reuse_detected',
    userId: code.userId,
    actorId: null,
    details: { session_id: sessionId, reason: 'code' },
  } as const
  const isOpen = sql`EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${sessionId} AND revoked_at IS NULL)`
  await resources.db.writeBatch({
    history: record(resources, event, isOpen),
    ending: revokeSessions(resources.now, 'reuse_detected', eq(sessions.id, sessionId)),
  })
}

/** The next tokens, by the same rotation as of our own logins: all who bring the same token get the same successor. */
const byRefreshToken: Grant = async (resources, given, fields) => {
  const { config, now } = resources
  const token = openRefreshToken(config.keys.refresh_token, fields.refresh_token ?? '')
  const place = { sid: token?.sessionId ?? '', sub: null, client_id: given.id }
  const read = await resources.db.read({
    client: selectClient(given.id),
    ...selectClientSession({ ...place, now }),
  })
  const client = await proveClient(resources, given, read.client[0])
  assertMay(client, 'refresh_token')
  if (fields.refresh_token === undefined) throw oauthError('invalid_request', 'refresh_token is missing.')
  const found = token && (await asHeardOf(resources, read.found[0], place))
  if (!found) throw invalidGrant(new Refusal('unknown'))
  // What has ended is left as it is.
  if (!isClientSessionLive(found)) throw invalidGrant(new Refusal('revoked'))
  const all = scopesNow(found, scopesIn(found.scope))
  if (all.length === 0) throw invalidGrant(new Refusal('revoked'))
  const asked = fields.scope === undefined ? all : scopesIn(fields.scope)
  if (asked.length === 0 || !asked.every((scope) => all.includes(scope)))
    throw oauthError('invalid_scope', 'That is more than was let.')
  const { session, user } = await rotateSession(resources, fields.refresh_token, client.id).catch((error) => {
    throw error instanceof AppError && error.status === 401 ? invalidGrant(error.cause) : error
  })
  const rotated = { ...session, parent_id: found.parent_id, proved_at: found.proved_at }
  return toAnswer(resources, {
    client,
    session: rotated,
    user,
    epoch: user.token_epoch,
    scopes: asked,
  })
}

/** A service acts for itself, by its permissions, as long as somebody answers for it who may still make it. */
const byItself: Grant = async (resources, given, fields) => {
  const read = await resources.db.read({
    client: selectClient(given.id),
    ...selectService({ id: given.id, now: resources.now }),
  })
  const client = await proveClient(resources, given, read.client[0])
  assertMay(client, 'client_credentials')
  const owner = read.service[0]?.owner_role
  if (!owner || !hasPermission(owner, 'clients:manage')) throw invalidClient(new Refusal('inviter'))
  const all = (JSON.parse(client.scopes) as string[]).filter((scope) =>
    hasPermission(owner, scope as Permission),
  )
  const asked = fields.scope === undefined ? all : scopesIn(fields.scope)
  if (asked.length === 0 || !asked.every((scope) => all.includes(scope)))
    throw oauthError('invalid_scope', 'That is more than the service may do.')
  const scope = asked.join(' ')
  const access_token = await signClientToken(resources.config, resources.now, {
    sub: client.id,
    client_id: client.id,
    scope,
    epoch: client.epoch,
  })
  resources.afterwards(resources.db.writeBatch({ used: noteUsed(client.id) }))
  return { access_token, token_type: 'Bearer', expires_in: ACCESS_TOKEN_SECONDS, scope }
}

const GRANTS = { authorization_code: byCode, refresh_token: byRefreshToken, client_credentials: byItself }

interface Issued {
  client: Client
  session: Pick<Session, 'id' | 'counter' | 'amr' | 'parent_id' | 'proved_at'>
  user: { id: string; role: Role }
  epoch: number
  scopes: readonly string[]
  nonce?: string | null
}

async function toAnswer(resources: Resources, issued: Issued): Promise<TokenAnswer> {
  const { config, now } = resources
  const { client, session, user, epoch, scopes, nonce } = issued
  const amr = JSON.parse(session.amr) as string[]
  const authTime = Math.floor((session.proved_at ?? 0) / 1000)
  const scope = scopes.join(' ')
  const accessToken = await signClientToken(config, now, {
    sub: user.id,
    sid: session.id,
    client_id: client.id,
    scope,
    epoch,
    auth_time: authTime,
    amr,
  })
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: ACCESS_TOKEN_SECONDS,
    scope,
    ...(hasGrant(client, 'refresh_token') && {
      refresh_token: makeRefreshToken(config.keys.refresh_token, session.id, session.counter),
    }),
    ...(scopes.includes('openid') && {
      id_token: await signIdToken(config, now, {
        algorithm: client.id_token_signed_response_alg,
        clientId: client.id,
        user,
        parentId: session.parent_id ?? '',
        scopes,
        authTime,
        amr,
        nonce: nonce ?? null,
        accessToken,
      }),
    }),
  }
}
