import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { record } from '../activity/service.ts'
import type { Origin, Resources } from '../context.ts'
import { build, insertWhere, type Places, prepare, rowExists, type Statement } from '../database/main.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { checkPassword, hashPassword } from '../passwords/hashing.ts'
import { owePasswordNotice } from '../recovery/reset.ts'
import {
  ACCESS_TOKEN_SECONDS,
  type Claims,
  makeRefreshToken,
  openRefreshToken,
  signAccessToken,
} from '../sessions/access-tokens.ts'
import { publishRevocations, userMayBeHere } from '../sessions/revocation.ts'
import { revokeSessions, revokeSurplusSessions } from '../sessions/service.ts'
import { openAttempt } from '../throttle/service.ts'
import { applyChange, byActor, changeUser, endDisabling } from '../users/change.ts'
import { hashNewPassword, mayBeHere, requireOwnPassword, selectUsers, toUser } from '../users/manage.ts'
import { profileColumns, type User, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import { emailNotVerified, invalidCredentials, invalidRefreshToken, sessionRevoked } from './errors.ts'
import { type Session, sessions } from './models.ts'
import type { ChangePassword, LogIn, Tokens } from './schemas.ts'

const DAY_MS = 86_400_000
/** A session unused for so long ends; one is renewed by each refresh, up to its absolute end. */
const IDLE_MS = 14 * DAY_MS
const ABSOLUTE_MS = 30 * DAY_MS

/**
 * Logs in: count the attempt and read the account, check the password, start a session. Two trips, whether it is
 * right or wrong, and one hash, whether the account exists or not.
 *
 * @throws 401 `invalid_credentials`, the same for every reason; 403 `email_not_verified`, after the right password
 *   alone; 429 `too_many_attempts`.
 */
export async function logIn(resources: Resources, input: LogIn): Promise<Tokens> {
  const { db, config } = resources
  const email = normalizeEmail(input.email)
  const account = and(eq(users.email_normalized, email), sql`deleted_at IS NULL`)!
  const attempt = openAttempt(resources, email, account)
  const results = await db.writeBatch([...attempt.count, selectUsers().where(account)])
  const isOpen = attempt.isOpen(results)
  const row = results.at(-1)!.rows[0] as unknown as User | undefined
  const stored = row && isOpen ? row.password_hash : null
  const password = await checkPassword(input.password, stored, config.keys.password_pepper)
  if (!row || !password.isRight || !mayBeHere(row, resources.now)) {
    await recordFailure(resources, row?.id)
    throw invalidCredentials()
  }
  if (config.EMAIL_VERIFICATION === 'required' && row.email_verified_at === null) {
    await db.writeBatch(attempt.clear)
    throw emailNotVerified()
  }
  const newHash = password.isOutdated
    ? await hashPassword(input.password, config.keys.password_pepper)
    : undefined
  return startSession(resources, row, newHash, attempt.clear)
}

/** The same trip for an unknown account, which leaves no row. */
const recordFailure = (resources: Resources, userId: string | undefined) =>
  resources.db.writeBatch([
    record(
      resources,
      { action: 'login.failed', userId: userId ?? null, actorId: null },
      userId ? sql`1` : sql`0`,
    ),
  ])

/** Starts a session on the condition that the person still is as they were when the password was checked. */
async function startSession(
  resources: Resources,
  row: User,
  newHash: string | undefined,
  clearAttempts: Statement[],
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
  }
  const isAsRead = and(eq(users.id, row.id), eq(users.token_epoch, row.token_epoch), userMayBeHere(now))
  const isStarted = rowExists(sessions, session.id)
  const isThisPerson = and(eq(users.id, row.id), isStarted)
  const results = await db.writeBatch([
    insertWhere(sessions, session, sql`EXISTS (SELECT 1 FROM ${users} WHERE ${isAsRead})`),
    record(resources, {
      action: 'session.started',
      userId: row.id,
      actorId: row.id,
      details: { session_id: session.id },
    }),
    ...revokeSurplusSessions(resources, row.id),
    build
      .update(users)
      .set({ last_login_at: now, ...(newHash && { password_hash: newHash }) })
      .where(isThisPerson),
    ...(row.status === 'disabled' ? endDisabling(resources, row.id, isStarted) : []),
    ...clearAttempts,
    build.select(signerColumns).from(users).where(isThisPerson),
  ])
  const person = results.at(-1)!.rows[0] as unknown as Signer | undefined
  if (!person) throw invalidCredentials()
  const surplus = results[2]!.rows.map(({ id }) => id as string)
  resources.afterwards(publishRevocations(resources, { sessions: surplus }))
  return toTokens(resources, session, person)
}

/** What has to be known of a person to give them tokens. */
const signerColumns = { ...profileColumns, token_epoch: users.token_epoch }
type Signer = Pick<User, keyof typeof signerColumns>

async function toTokens(
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

interface Rotation extends Origin {
  sessionId: string
  counter: number
  now: number
  idleUntil: number
  refreshedId: string
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
}

/**
 * Rotation is one conditional UPDATE on the counter, so of many who bring the same token one rotates. Then come the
 * session as it is now, and its person.
 */
const rotate = prepare((at: Places<Rotation>) => {
  const isThisSession = eq(sessions.id, at.sessionId)
  const personMayBeHere = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = ${sessions.user_id} AND ${userMayBeHere(at.now)})`
  const isCurrent = and(
    isThisSession,
    eq(sessions.counter, at.counter),
    sql`${sessions.revoked_at} IS NULL AND ${sessions.idle_expires_at} > ${at.now}`,
    personMayBeHere,
  )
  // Whose session it is only the database knows.
  const userId = sql`(SELECT user_id FROM ${sessions} WHERE id = ${at.sessionId})`
  const details = sql`json_object('session_id', ${at.sessionId})`
  return [
    build
      .update(sessions)
      .set({
        counter: sql`${at.counter} + 1`,
        rotated_at: at.now,
        last_seen_at: at.now,
        idle_expires_at: sql`min(${at.idleUntil}, ${sessions.expires_at})`,
        ip: at.ip,
        user_agent: at.userAgent,
        country: at.country,
      })
      .where(isCurrent),
    record(
      { origin: at },
      { id: at.refreshedId, action: 'session.refreshed', userId, actorId: userId, details },
    ),
    build.select(rotatedColumns).from(sessions).where(isThisSession),
    build
      .select(signerColumns)
      .from(users)
      .where(sql`${users.id} = ${userId} AND ${userMayBeHere(at.now)}`),
  ]
})

/**
 * Trades a refresh token for the next, in one trip. All who bring the same token get the same successor, as long as
 * it is unspent and the grace lasts. A token older than that was stolen, or its successor was: the session ends, in a
 * second trip.
 *
 * @throws 401 `invalid_refresh_token`; 401 `session_revoked`, also for a token used again.
 */
export async function refresh(resources: Resources, refreshToken: string): Promise<Tokens> {
  const { db, config, now, origin } = resources
  const token = openRefreshToken(config.keys.refresh_token, refreshToken)
  if (!token) throw invalidRefreshToken()
  const results = await db.writeBatch(
    rotate({
      ...token,
      ...origin,
      now,
      idleUntil: now + IDLE_MS,
      refreshedId: uuidv7(),
    }),
  )
  const session = results[2]!.rows[0] as unknown as Pick<Session, keyof typeof rotatedColumns> | undefined
  const person = results[3]!.rows[0] as unknown as Signer | undefined
  if (!session) throw invalidRefreshToken()
  if (session.revoked_at) throw sessionRevoked()
  // The counter only grows, so a token that is spent stays spent.
  const isInGrace = session.rotated_at + config.REFRESH_GRACE_SECONDS * 1000 > now
  if (session.counter > token.counter + (isInGrace ? 1 : 0)) {
    await endStolenSession(resources, session)
    throw sessionRevoked()
  }
  if (!person || session.counter !== token.counter + 1 || session.idle_expires_at <= now)
    throw invalidRefreshToken()
  return toTokens(resources, session, person)
}

/** Somebody has a refresh token that was spent: they, or whoever spent it, stole it. */
async function endStolenSession(
  resources: Resources,
  session: Pick<Session, 'id' | 'user_id'>,
): Promise<void> {
  await resources.db.writeBatch([
    revokeSessions(resources.now, 'reuse_detected', eq(sessions.id, session.id)),
    record(resources, {
      action: 'session.reuse_detected',
      userId: session.user_id,
      actorId: null,
      details: { session_id: session.id },
    }),
  ])
  resources.afterwards(publishRevocations(resources, { sessions: [session.id] }))
}

/** Ends all one's sessions, this one too. */
export async function logOutAll(resources: Resources, actor: Claims): Promise<void> {
  await changeUser(resources, byActor(actor, resources.now), actor.sub, () => ({
    action: 'sessions.ended',
    set: {},
    endsTokens: true,
    endsSessions: { reason: 'logged_out' },
  }))
}

/**
 * Sets a new password: the other sessions end, and every access token dies; this session goes on by its refresh
 * token.
 *
 * @throws 403 `wrong_password`; 422 for a weak new one; 429 `too_many_attempts`.
 */
export async function changePassword(
  resources: Resources,
  actor: Claims,
  input: ChangePassword,
): Promise<void> {
  const own = await requireOwnPassword(resources, actor, input.current_password)
  const passwordHash = await hashNewPassword(resources, input.new_password, own.row, '/new_password').catch(
    async (refusal) => {
      await resources.db.writeBatch(own.clearAttempts)
      throw refusal
    },
  )
  const notice = owePasswordNotice(resources, own.row)
  await applyChange(resources, byActor(actor, resources.now), own.row, {
    action: 'password.changed',
    set: { password_hash: passwordHash },
    endsTokens: true,
    endsSessions: { reason: 'password_changed', exceptId: actor.sid },
    alsoWrite: (isDone) => [...own.clearAttempts, notice.when(isDone)],
  })
  sendAfterwards(resources, notice.id)
}
