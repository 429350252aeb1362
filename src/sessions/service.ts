import { and, desc, eq, gt, isNotNull, isNull, ne, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Given, insertWhere, rowExists } from '../database/statements.ts'
import type { List } from '../http/pagination.ts'
import { Refusal } from '../http/problem.ts'
import { selectIsOwed } from '../oauth/models.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import type { Claims } from './access-tokens.ts'
import { isOffline } from './client-tokens.ts'
import { invalidToken, sessionNotFound } from './errors.ts'
import { endsOfPrivileged, privileged } from './lifetimes.ts'
import { type Session as SessionRow, sessions } from './models.ts'
import { whileDoubting } from './near.ts'
import { newSessionId } from './refresh-tokens.ts'
import { tokenIsLive } from './revocation.ts'
import type { Session } from './schemas.ts'
import { TURNS_PAST_COPIES } from './turns.ts'

/** The most sessions a user may have; one more ends the oldest. */
const MAX_SESSIONS = 50

export type RevokedReason =
  | 'logged_out'
  | 'ended'
  | 'too_many'
  | 'reuse_detected'
  | 'password_changed'
  | 'account_closed'
  | 'factors_changed'
  | 'parent_ended'
  | 'consent_withdrawn'
  | 'role_changed'

interface NewSession {
  userId: string
  /** When it ends unused, and in any case (epoch ms of the database's clock). */
  idleEnd: SQL
  end: SQL
  provedAt: number | null
  amr: readonly string[]
  /** For an app's session: what it may do, and under which session of the user. */
  ofApp?: Pick<SessionRow, 'parent_id' | 'client_id' | 'client_epoch' | 'scope' | 'resource'>
}
const OWN = { parent_id: null, client_id: null, client_epoch: null, scope: null, resource: null }

/**
 * A session that is about to begin, and what inserts it on a condition. A login's session begins only in
 * auth/start-session.ts, an app's session under it in oauth/tokens/redeem.ts.
 */
export function beginSession({ origin }: Pick<Resources, 'origin'>, given: NewSession) {
  const row = {
    id: newSessionId(given.userId),
    user_id: given.userId,
    counter: 0,
    rotated_at: databaseNow,
    created_at: databaseNow,
    last_seen_at: databaseNow,
    idle_expires_at: given.idleEnd,
    expires_at: given.end,
    revoked_at: null,
    revoked_reason: null,
    ip: origin.ip,
    user_agent: origin.userAgent,
    country: origin.country,
    turn: 0,
    proved_at: given.provedAt,
    amr: JSON.stringify(given.amr),
    repeated_at: null,
    ...(given.ofApp ?? OWN),
  } satisfies Given<SessionRow>
  return { id: row.id, insert: (condition: SQL) => insertWhere(sessions, row, condition) }
}

/** Ends sessions in the database. Their rows stay until clean-up, for the history. */
export const revokeSessions = (now: number, reason: RevokedReason, which: SQL | undefined) =>
  build
    .update(sessions)
    .set({ revoked_at: now, revoked_reason: reason })
    .where(and(which, isNull(sessions.revoked_at)))

/**
 * Apps' sessions end with the user's own session above them, unless they have `offline_access`. Goes after
 * the statement that ends one session; what ends all of a user's sessions ends these with them.
 */
export const endAppSessions = (now: number, userId: string) =>
  revokeSessions(
    now,
    'parent_ended',
    sql`${sessions.user_id} = ${userId} AND ${sessions.parent_id} IS NOT NULL AND NOT ${isOffline} AND NOT EXISTS
      (SELECT 1 FROM ${sessions} AS parent WHERE parent.id = ${sessions.parent_id} AND parent.revoked_at IS NULL)`,
  )

/** Apps with `offline_access` were allowed by a user with the old role: a new role ends their sessions. */
export const endOfflineSessions = (now: number, userId: string, condition: SQL) =>
  revokeSessions(
    now,
    'role_changed',
    and(eq(sessions.user_id, userId), isNotNull(sessions.client_id), isOffline, condition),
  )

/** For a user whose role rises above `user`: new sessions live shorter, and so do the open ones. */
export const shortenSessions = ({ config }: Pick<Resources, 'config'>, userId: string, condition: SQL) =>
  build
    .update(sessions)
    .set(endsOfPrivileged(privileged(config)))
    // An app's session ends by the user's consent, and with the session above it.
    .where(and(sessionsOf(userId), isNull(sessions.revoked_at), isNull(sessions.parent_id), condition))

/** For a session that goes on while all others end: copies of its cookie end too. */
export const endCookieCopies = (id: string, condition: SQL) =>
  build
    .update(sessions)
    .set({ turn: sql`${sessions.turn} + ${TURNS_PAST_COPIES}` })
    .where(and(eq(sessions.id, id), condition))

/** Ends the sessions over the limit. Goes after the statement that starts a session. */
export function revokeSurplusSessions(resources: Resources, userId: string) {
  // A session that has expired pushes nobody out.
  const surplus = sql`SELECT id FROM ${sessions} WHERE user_id = ${userId} AND revoked_at IS NULL
    AND client_id IS NULL AND idle_expires_at > ${databaseNow} ORDER BY id DESC LIMIT 100 OFFSET ${MAX_SESSIONS}`
  const event = { action: 'sessions.ended', userId, actorId: null, details: { reason: 'too_many' } } as const
  return {
    surplus: [
      revokeSessions(resources.now, 'too_many', sql`${sessions.id} IN (${surplus})`),
      record(resources, event, sql`changes() > 0`),
      endAppSessions(resources.now, userId),
    ],
    // Read back, because a batch that was already done only answers its queries.
    evicted: build
      .select({ id: sessions.id })
      .from(sessions)
      .where(
        and(
          eq(sessions.revoked_at, resources.now),
          eq(sessions.user_id, userId),
          eq(sessions.revoked_reason, 'too_many'),
        ),
      ),
  }
}

/** A user's open sessions, newest first: at most 50, so the list is one page. */
export const openSessionsOf = (userId: string) =>
  build
    .select()
    .from(sessions)
    .where(
      and(
        eq(sessions.user_id, userId),
        isNull(sessions.revoked_at),
        isNull(sessions.client_id),
        gt(sessions.idle_expires_at, databaseNow),
      ),
    )
    .orderBy(desc(sessions.id))
    .limit(MAX_SESSIONS)

/** Those that may have a cached copy. */
export const idsOfOpenSessions = (userId: string) =>
  build
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(eq(sessions.user_id, userId), isNull(sessions.revoked_at)))
    .limit(2 * MAX_SESSIONS)

export function toSessionList(rows: SessionRow[], currentId?: string): List<Session> {
  const data = rows.map((row) => toSession(row, currentId))
  return {
    data,
    pagination: { limit: MAX_SESSIONS, next_cursor: null, prev_cursor: null, total: data.length },
  }
}

/** One's own open sessions, with the current one marked. */
export async function listOwnSessions({ db }: Resources, actor: Claims): Promise<List<Session>> {
  const { sessions } = await db.read({ sessions: openSessionsOf(actor.sub) })
  return toSessionList(sessions, actor.sid)
}

const toSession = (row: SessionRow, currentId: string | undefined): Session => ({
  id: row.id,
  created_at: toTime(row.created_at),
  last_seen_at: toTime(row.last_seen_at),
  expires_at: toTime(Math.min(row.idle_expires_at, row.expires_at)),
  ip: row.ip,
  user_agent: row.user_agent,
  country: row.country,
  repeated_at: toTimeOrNull(row.repeated_at),
  current: row.id === currentId,
})

/** Ends one of one's own sessions, perhaps this one. Throws 404 `session_not_found` for anybody else's. */
export async function endOwnSession(resources: Resources, actor: Claims, sessionId: string): Promise<void> {
  const { db, now } = resources
  const own = and(eq(sessions.id, sessionId), eq(sessions.user_id, actor.sub))
  // Read before the write, because of the actor's token: if a batch that ends their own session were sent
  // again, it would find the token revoked.
  const { found } = await db.readPrimary({
    found: build.select({ id: sessions.id }).from(sessions).where(own),
  })
  if (found.length === 0) throw sessionNotFound()
  const isOpen = await whileDoubting(resources, { users: [actor.sub], sessions: [sessionId] }, () =>
    endSession(resources, actor, sessionId, 'ended', and(own, tokenIsLive(actor, now))!),
  )
  if (isOpen) throw invalidToken(new Refusal('meanwhile'))
}

/**
 * Ends an open session that fulfils a condition, with its row of history. Answers whether it is still open.
 */
export async function endSession(
  resources: Resources,
  actor: Claims,
  sessionId: string,
  reason: RevokedReason,
  condition: SQL,
): Promise<boolean> {
  const event = {
    id: uuidv7(),
    action: 'session.ended',
    userId: actor.sub,
    actorId: actor.sub,
    details: { session_id: sessionId },
  } as const
  const open = build
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(eq(sessions.id, sessionId), isNull(sessions.revoked_at)))
  const mayEnd = sql`EXISTS ${build
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(condition, isNull(sessions.revoked_at)))}`
  const isDone = rowExists(activityLogs, event.id)
  const { stillOpen, owed } = await resources.db.writeBatch(
    {
      history: record(resources, event, mayEnd),
      ending: revokeSessions(resources.now, reason, and(eq(sessions.id, sessionId), isDone)),
      apps: endAppSessions(resources.now, actor.sub),
      stillOpen: open,
      owed: selectIsOwed(),
    },
    isDone,
  )
  if (owed[0]!.is_owed) resources.afterwards(resources.deliverOwed())
  return stillOpen.length > 0
}

/** A condition for `revokeSessions`: all sessions of a user, perhaps but one. */
export const sessionsOf = (userId: string, exceptId?: string) =>
  and(eq(sessions.user_id, userId), exceptId === undefined ? undefined : ne(sessions.id, exceptId))
