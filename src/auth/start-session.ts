import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, rowExists, type Statement } from '../database/statements.ts'
import { ACCESS_TOKEN_SECONDS, signAccessToken } from '../sessions/access-tokens.ts'
import { type Session, sessions } from '../sessions/models.ts'
import { makeRefreshToken } from '../sessions/refresh-tokens.ts'
import { publishRevocations } from '../sessions/revocation.ts'
import { revokeSurplusSessions } from '../sessions/service.ts'
import { endDisabling } from '../users/change.ts'
import { profileColumns, type User, userIsActive, users } from '../users/models.ts'
import { toUser } from '../users/schemas.ts'
import { invalidCredentials } from './errors.ts'
import type { Tokens } from './schemas.ts'

export const DAY_MS = 86_400_000

/** A session unused for so long ends; one is renewed by each refresh, up to its absolute end. */
export const IDLE_MS = 14 * DAY_MS

export const ABSOLUTE_MS = 30 * DAY_MS

/** Starts a session on the condition that the person still is as they were when the password was checked. */
export async function startSession(
  resources: Resources,
  row: User,
  newHash: string | undefined,
  clearAttempts: readonly Statement[],
): Promise<Tokens> {
  const { db, now, origin } = resources
  const session: Session = {
    id: uuidv7(),
    user_id: row.id,
    counter: 0,
    rotated_at: now,
    created_at: now,
    last_seen_at: now,
    idle_expires_at: now + IDLE_MS,
    expires_at: now + ABSOLUTE_MS,
    revoked_at: null,
    revoked_reason: null,
    ip: origin.ip,
    user_agent: origin.userAgent,
    country: origin.country,
    turn: 0,
    proved_at: null,
  }
  const isAsRead = and(eq(users.id, row.id), eq(users.token_epoch, row.token_epoch), userIsActive(now))
  const isStarted = rowExists(sessions, session.id)
  const isThisPerson = and(eq(users.id, row.id), isStarted)
  const event = {
    action: 'session.started',
    userId: row.id,
    actorId: row.id,
    details: { session_id: session.id },
  } as const
  const {
    surplus,
    user: [user],
  } = await db.writeBatch(
    {
      session: insertWhere(sessions, session, sql`EXISTS (SELECT 1 FROM ${users} WHERE ${isAsRead})`),
      history: record(resources, event, isStarted),
      ...revokeSurplusSessions(resources, row.id),
      login: build
        .update(users)
        .set({ last_login_at: now, ...(newHash && { password_hash: newHash }) })
        .where(isThisPerson),
      enabling: row.status === 'disabled' ? endDisabling(resources, row.id, isStarted) : [],
      attempts: clearAttempts,
      user: build.select(signerColumns).from(users).where(isThisPerson),
    },
    isStarted,
  )
  if (!user) throw invalidCredentials()
  resources.afterwards(publishRevocations(resources, { sessions: surplus.map(({ id }) => id) }))
  return toTokens(resources, session, user)
}

/** What has to be known of a person to give them tokens. */
export const signerColumns = { ...profileColumns, token_epoch: users.token_epoch }

export type Signer = Pick<User, keyof typeof signerColumns>

export async function toTokens(
  { config, now }: Resources,
  session: Pick<Session, 'id' | 'counter' | 'created_at' | 'idle_expires_at' | 'expires_at'>,
  person: Signer,
): Promise<Tokens> {
  const accessToken = await signAccessToken(config, now, {
    userId: person.id,
    sessionId: session.id,
    role: person.role,
    epoch: person.token_epoch,
    authenticatedAt: session.created_at,
  })
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: ACCESS_TOKEN_SECONDS,
    refresh_token: makeRefreshToken(config.keys.refresh_token, session.id, session.counter),
    refresh_expires_in: Math.floor((Math.min(session.idle_expires_at, session.expires_at) - now) / 1000),
    user: toUser(person),
  }
}
