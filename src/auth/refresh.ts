import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { RequestOrigin, Resources } from '../context.ts'
import { build, databaseNow, type Places, prepare, rowExists } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { selectIsOwed } from '../oauth/models.ts'
import { invalidRefreshToken, sessionRevoked } from '../sessions/errors.ts'
import { idleEndOnUse, privileged } from '../sessions/lifetimes.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { whileDoubting } from '../sessions/near.ts'
import { openRefreshToken, ROTATIONS_PAST_COPIES } from '../sessions/refresh-tokens.ts'
import { endAppSessions, revokeSessions } from '../sessions/service.ts'
import { assertWithin, PER_MINUTE } from '../throttle/limits.ts'
import { networkOf } from '../throttle/networks.ts'
import { userIsActive, users } from '../users/models.ts'
import type { Tokens } from './schemas.ts'
import { signerColumns, toTokens } from './start-session.ts'

interface Rotation extends Pick<RequestOrigin, 'ip' | 'userAgent' | 'country'> {
  sessionId: string
  counter: number
  /** Null for a login to Roster itself. */
  clientId: string | null
  /** For roles above `user`. */
  idleMs: number
  absoluteMs: number
}

const rotatedColumns = {
  id: sessions.id,
  user_id: sessions.user_id,
  counter: sessions.counter,
  rotated_at: sessions.rotated_at,
  created_at: sessions.created_at,
  idle_expires_at: sessions.idle_expires_at,
  expires_at: sessions.expires_at,
  revoked_at: sessions.revoked_at,
  amr: sessions.amr,
  ip: sessions.ip,
  user_agent: sessions.user_agent,
  now: databaseNow.as('now'),
}

/**
 * Rotation is one conditional UPDATE on the counter, so of many requests with the same token only one
 * rotates. Then the session and its user are read as they are now. Refreshes are not in the history: the
 * session itself says when and from where it was last used.
 */
const rotate = prepare((at: Places<Rotation>) => {
  // An app's session is refreshed only at /oauth/token, and only by that app.
  const isThisSession = and(eq(sessions.id, at.sessionId), sql`${sessions.client_id} IS ${at.clientId}`)
  const isOfActiveUser = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${sessions.user_id} AND ${userIsActive(databaseNow)}
    AND (${users.role} = 'user' OR ${sessions.created_at} + ${at.absoluteMs} > ${databaseNow}))`
  const isCurrent = and(
    isThisSession,
    eq(sessions.counter, at.counter),
    sql`${sessions.revoked_at} IS NULL AND ${sessions.idle_expires_at} > ${databaseNow}`,
    isOfActiveUser,
  )
  // Only the database knows whose session it is.
  const userId = sql`(SELECT user_id FROM ${sessions} WHERE id = ${at.sessionId})`
  return {
    rotation: build
      .update(sessions)
      .set({
        counter: sql`${at.counter} + 1`,
        rotated_at: databaseNow,
        last_seen_at: databaseNow,
        idle_expires_at: idleEndOnUse(at),
        ip: at.ip,
        user_agent: at.userAgent,
        country: at.country,
      })
      .where(isCurrent),
    session: build.select(rotatedColumns).from(sessions).where(isThisSession),
    user: build
      .select(signerColumns)
      .from(users)
      .where(sql`${users.id} = ${userId} AND ${userIsActive(databaseNow)}`),
  }
})

/**
 * Exchanges a refresh token for the next, in one trip. All requests with the same token get the same
 * successor, until the successor is used or the grace is over. A token older than that means that it or its
 * successor was stolen: the session ends, in a second trip.
 *
 * @throws 401 `invalid_refresh_token`; 401 `session_revoked`, also for a token used again.
 */
export async function refresh(resources: Resources, refreshToken: string): Promise<Tokens> {
  const { session, user } = await rotateSession(resources, refreshToken, null)
  await assertNotShadowed(resources, session)
  return toTokens(resources, session, user)
}

/**
 * Whether a refresh token is spent: its successor was used, or the grace is over. Using it ends the session.
 * The counter only grows, so a spent token stays spent.
 */
export const isSpent = (
  config: WithGrace,
  token: Pick<Session, 'counter'>,
  session: Pick<Session, 'counter' | 'rotated_at'> & { now: number },
): boolean => session.counter > token.counter + (isInGrace(config, session) ? 1 : 0)

type WithGrace = Pick<Resources['config'], 'REFRESH_GRACE_SECONDS'>
const isInGrace = (
  { REFRESH_GRACE_SECONDS }: WithGrace,
  { rotated_at, now }: Pick<Session, 'rotated_at'> & { now: number },
) => rotated_at + REFRESH_GRACE_SECONDS * 1000 > now

/**
 * Whether a token was replaced by the new password that its session has just set, and by nothing since. Whoever
 * refreshes at that moment is not taken for a thief, but gets nothing.
 */
function wasJustSetAside(
  config: WithGrace,
  token: Pick<Session, 'counter'>,
  session: Pick<Session, 'counter' | 'rotated_at'> & { now: number },
): boolean {
  const ahead = session.counter - token.counter
  // Less than all, by the refreshes while the password was checked.
  const least = ROTATIONS_PAST_COPIES - PER_MINUTE.RATE_LIMIT_REFRESHES
  const isByPassword = ahead >= least && ahead <= ROTATIONS_PAST_COPIES
  return isByPassword && isInGrace(config, session)
}

/**
 * Refreshes up to the tokens. `clientId` is the app that the session is of, or null for a login to Roster
 * itself.
 */
export async function rotateSession(resources: Resources, refreshToken: string, clientId: string | null) {
  const { db, config, origin } = resources
  const token = openRefreshToken(config.keys.refresh_token, refreshToken)
  if (!token) throw invalidRefreshToken(new Refusal('signature'))
  resources.loggedAs.sid = token.sessionId
  await assertWithin(resources, 'RATE_LIMIT_REFRESHES', token.sessionId)
  const {
    session: [session],
    user: [user],
  } = await db.writeBatch(
    rotate({
      ...token,
      ip: origin.ip,
      userAgent: origin.userAgent,
      country: origin.country,
      clientId,
      ...privileged(config),
    }),
  )
  if (!session) throw invalidRefreshToken(new Refusal('unknown'))
  resources.loggedAs.sub = session.user_id
  if (session.revoked_at) throw sessionRevoked(new Refusal('revoked'))
  if (isSpent(config, token, session)) {
    // The first send of this batch may have rotated it, and others since: that is no theft.
    if (db.wasResent) throw invalidRefreshToken(new Refusal('superseded'))
    if (wasJustSetAside(config, token, session)) throw sessionRevoked(new Refusal('superseded'))
    await endStolenSession(resources, session)
    throw sessionRevoked(new Refusal('used'))
  }
  if (session.idle_expires_at <= session.now) throw invalidRefreshToken(new Refusal('idle'))
  if (!user) throw invalidRefreshToken(new Refusal('inactive'))
  if (session.counter !== token.counter + 1) throw invalidRefreshToken(new Refusal('unknown'))
  return { session, user }
}

/**
 * A thief with copies of both tokens could repeat the owner's rotations within the grace, unseen. So a repeat
 * is compared with its rotation. Another network or another client leaves a row and a mark, once per
 * rotation, as people do change networks; if both differ, it is a thief.
 *
 * @throws 401 `session_revoked`: the session has ended.
 */
export async function assertNotShadowed(
  resources: Resources,
  session: Pick<Session, 'id' | 'user_id' | 'ip' | 'user_agent'>,
): Promise<void> {
  const { origin } = resources
  const isSameNetwork = session.ip === origin.ip || networkOf(session.ip) === networkOf(origin.ip)
  const isSameClient = session.user_agent === origin.userAgent
  if (isSameNetwork && isSameClient) return
  if (isSameNetwork || isSameClient) return markRepeat(resources, session)
  await endStolenSession(resources, session)
  throw sessionRevoked(new Refusal('used'))
}

async function markRepeat(resources: Resources, session: Pick<Session, 'id' | 'user_id'>): Promise<void> {
  const event = {
    id: uuidv7(),
    action: 'session.repeated',
    userId: session.user_id,
    actorId: session.user_id,
    details: { session_id: session.id },
  } as const
  const isThis = eq(sessions.id, session.id)
  const isDone = rowExists(activityLogs, event.id)
  const isUnmarked = sql`EXISTS (SELECT 1 FROM ${sessions} WHERE ${isThis} AND coalesce(repeated_at, 0) < rotated_at)`
  await resources.db.writeBatch(
    {
      history: record(resources, event, isUnmarked),
      mark: build.update(sessions).set({ repeated_at: databaseNow }).where(and(isThis, isDone)),
    },
    isDone,
  )
}

/** A spent refresh token was used: it was stolen, either by its sender or by whoever spent it. */
async function endStolenSession(
  resources: Resources,
  session: Pick<Session, 'id' | 'user_id'>,
): Promise<void> {
  const event = {
    id: uuidv7(),
    action: 'session.reuse_detected',
    userId: session.user_id,
    actorId: null,
    details: { session_id: session.id },
  } as const
  const isThis = eq(sessions.id, session.id)
  const isDone = rowExists(activityLogs, event.id)
  const isOpen = sql`EXISTS (SELECT 1 FROM ${sessions} WHERE ${isThis} AND revoked_at IS NULL)`
  const { owed } = await whileDoubting(resources, { users: [session.user_id], sessions: [session.id] }, () =>
    resources.db.writeBatch(
      {
        history: record(resources, event, isOpen),
        ending: revokeSessions(resources.now, 'reuse_detected', and(isThis, isDone)),
        apps: endAppSessions(resources.now, session.user_id),
        owed: selectIsOwed(),
      },
      isDone,
    ),
  )
  if (owed[0]!.is_owed) resources.afterwards(resources.deliverOwed())
}
