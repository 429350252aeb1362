import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { record } from '../../activity/service.ts'
import type { Resources } from '../../context.ts'
import { build, databaseNow, insertWhere, rowExists } from '../../database/statements.ts'
import { Refusal } from '../../http/problem.ts'
import { hasAll, roleMayUse, scopesOfResource } from '../../sessions/client-tokens.ts'
import { lifetimeOf } from '../../sessions/lifetimes.ts'
import { type Session, sessions } from '../../sessions/models.ts'
import { orDoubting, publishDoubts, whileDoubting } from '../../sessions/near.ts'
import { beginSession, revokeSessions } from '../../sessions/service.ts'
import { type Role, userIsActive, users } from '../../users/models.ts'
import { MINUTE_MS } from '../../values/durations.ts'
import type { Code } from '../codes.ts'
import { invalidGrant } from '../errors.ts'
import {
  type Client,
  grantedAs,
  isOfOpenId,
  oauthClients,
  oauthCodes,
  oauthGrants,
  selectIsOwed,
} from '../models.ts'
import { scopesIn } from '../scopes.ts'

/** What a user has granted to an app: by a code, or by approving a device. */
export type Granted = Pick<
  Code,
  'id' | 'userId' | 'parentId' | 'epoch' | 'scope' | 'resource' | 'authTime' | 'amr' | 'isByConsent'
> & {
  /** A device polls (RFC 8628 section 3.5): coming twice, after a lost answer, is no theft. */
  isPolled?: true
}

/** For one user and app; one more, and the oldest ends. */
const MAX_SESSIONS_PER_CLIENT = 10
const USED_EVERY_MS = 5 * MINUTE_MS

/**
 * Begins the app's session under the user's own, on the condition that nothing has changed since the code was
 * given.
 */
export async function redeem(
  resources: Resources,
  client: Client,
  code: Granted,
  user: { role: Role },
): Promise<Session> {
  const { db, config, now } = resources
  const scopes = scopesIn(code.scope)
  const { idleMs, absoluteMs } = lifetimeOf(config, user.role)
  const ofParent = sql`(SELECT expires_at FROM ${sessions} WHERE id = ${code.parentId})`
  // A session that may outlive the user's own lasts as long as a new login would.
  const end = scopes.includes('offline_access') ? sql`${databaseNow} + ${absoluteMs}` : ofParent
  const { id, insert } = beginSession(resources, {
    userId: code.userId,
    idleEnd: sql`min(${databaseNow} + ${idleMs}, ${end})`,
    end,
    provedAt: code.authTime * 1000,
    amr: code.amr,
    ofApp: {
      parent_id: code.parentId,
      client_id: client.id,
      client_epoch: client.epoch,
      scope: code.scope,
      resource: code.resource ?? null,
    },
  })
  const isStarted = rowExists(sessions, id)
  const event = {
    action: 'session.started',
    userId: code.userId,
    actorId: code.userId,
    details: { session_id: id, client_id: client.id },
  } as const
  // Expired sessions do not count towards the limit.
  const surplus = sql`SELECT id FROM ${sessions} WHERE user_id = ${code.userId} AND client_id = ${client.id}
    AND revoked_at IS NULL AND idle_expires_at > ${databaseNow} ORDER BY id DESC LIMIT 100 OFFSET ${MAX_SESSIONS_PER_CLIENT}`
  const { begun, used, evicted } = await orDoubting(resources, { users: [code.userId] }, () =>
    db.writeBatch(
      {
        session: insert(mayRedeem(client, code, now)),
        code: insertWhere(oauthCodes, { id: code.id, session_id: id }, isStarted),
        history: record(resources, event, isStarted),
        surplus: revokeSessions(now, 'too_many', sql`${sessions.id} IN (${surplus})`),
        lastUsed: noteUsed(client.id, isStarted),
        evicted: build
          .select({ id: sessions.id })
          .from(sessions)
          .where(
            sql`user_id = ${code.userId} AND revoked_at = ${now} AND client_id = ${client.id} AND revoked_reason = 'too_many'`,
          ),
        begun: build.select().from(sessions).where(eq(sessions.id, id)),
        used: build.select().from(oauthCodes).where(eq(oauthCodes.id, code.id)),
      },
      isStarted,
    ),
  )
  await publishDoubts(resources, { sessions: evicted.map((session) => session.id) })
  if (begun[0]) return begun[0]
  // Another request was a moment faster.
  if (used[0] && !code.isPolled) await revokeRedeemed(resources, code, used[0].session_id)
  throw invalidGrant(new Refusal(used[0] ? 'used' : 'meanwhile'))
}

const mayRedeem = (client: Client, code: Granted, now: number) => {
  const { resource = null } = code
  const scopes = scopesIn(code.scope)
  const ofClient = resource === null ? scopes : scopes.filter(isOfOpenId)
  const ofResource = scopes.filter((scope) => !ofClient.includes(scope))
  const names = scopes.map((scope) => grantedAs(scope, resource))
  // A first-party app needs no consent, but what was given by one ends with it.
  const needsNone = code.isByConsent ? sql`0` : sql`first_party = 1`
  return sql`NOT EXISTS (SELECT 1 FROM ${oauthCodes} WHERE id = ${code.id})
    AND EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${code.parentId} AND user_id = ${code.userId}
      AND revoked_at IS NULL AND idle_expires_at > ${databaseNow})
    AND EXISTS (SELECT 1 FROM ${users} JOIN ${oauthClients} ON ${oauthClients.id} = ${client.id}
      WHERE ${and(eq(users.id, code.userId), eq(users.token_epoch, code.epoch), userIsActive(now))}
      AND ${oauthClients.epoch} = ${client.epoch} AND ${roleMayUse}
      AND ${hasAll(sql`${oauthClients.scopes}`, ofClient)}
      AND ${hasAll(scopesOfResource(sql`${resource}`), ofResource)}
      AND (${needsNone} OR EXISTS (SELECT 1 FROM ${oauthGrants} WHERE user_id = ${code.userId}
        AND client_id = ${client.id} AND ${hasAll(sql`${oauthGrants.scopes}`, names)})))`
}

const noteUsed = (clientId: string, condition = sql`1`) =>
  build
    .update(oauthClients)
    .set({ last_used_at: databaseNow })
    .where(
      sql`${oauthClients.id} = ${clientId} AND coalesce(last_used_at, 0) < ${databaseNow} - ${USED_EVERY_MS} AND ${condition}`,
    )

/** Records the use after the answer, for tokens that are given without a batch of their own. */
export function noteUse(
  { db, now, afterwards }: Pick<Resources, 'db' | 'now' | 'afterwards'>,
  { id, last_used_at }: Pick<Client, 'id' | 'last_used_at'>,
): void {
  if ((last_used_at ?? 0) <= now - USED_EVERY_MS) afterwards(db.writeBatch({ used: noteUsed(id) }))
}

/** RFC 6749 section 4.1.2: if a code is presented twice, its tokens are revoked. */
export async function revokeRedeemed(resources: Resources, code: Granted, sessionId: string): Promise<void> {
  const event = {
    id: uuidv7(),
    action: 'session.reuse_detected',
    userId: code.userId,
    actorId: null,
    details: { session_id: sessionId, reason: 'code' },
  } as const
  const isOpen = sql`EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${sessionId} AND revoked_at IS NULL)`
  const { owed } = await whileDoubting(resources, { sessions: [sessionId] }, () =>
    resources.db.writeBatch({
      history: record(resources, event, isOpen),
      ending: revokeSessions(resources.now, 'reuse_detected', eq(sessions.id, sessionId)),
      owed: selectIsOwed(),
    }),
  )
  if (owed[0]!.is_owed) resources.afterwards(resources.deliverOwed())
}
