import { and, eq, gt, isNull, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { replicaMayMiss } from '../database/lag.ts'
import { build, databaseNow, type Places, prepare, type RowsOf } from '../database/statements.ts'
import { countDead } from '../mail/models.ts'
import { countLocked, profileColumns, userIsActive, users } from '../users/models.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import type { CookieSession } from './cookie.ts'
import { idleEndOnUse, lifetimeOf, privileged } from './lifetimes.ts'
import { sessions } from './models.ts'
import { isGoodTurn } from './turns.ts'

/** The idle time of a session is moved at most this often, or six times within a shorter idle time. */
const SEEN_MS = 5 * MINUTE_MS
const MOVES_WITHIN_IDLE = 6

const columns = {
  ...profileColumns,
  token_epoch: users.token_epoch,
  terms_version: users.terms_version,
  has_password: sql<0 | 1>`${users.password_hash} IS NOT NULL`.as('has_password'),
  amr: sessions.amr,
  turn: sessions.turn,
  proved_at: sessions.proved_at,
  created_at_of_session: sql<number>`${sessions.created_at}`.as('created_at_of_session'),
  last_seen_at: sessions.last_seen_at,
  idle_expires_at: sessions.idle_expires_at,
  now: databaseNow.as('now'),
}
/** The counts stop here: a larger number would change nothing. */
const MANY = 10
/** What managers see next to each of their pages. */
const attention = {
  locked_users: countLocked(MANY).as('locked_users'),
  dead_mails: countDead(MANY).as('dead_mails'),
}

const selectSignedInWith = (more: Partial<typeof attention>) =>
  prepare(({ sid, now }: Places<{ sid: string; now: number }>) => ({
    user: build
      .select({ ...columns, ...(more as object) })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.user_id))
      .where(
        and(
          eq(sessions.id, sid),
          isNull(sessions.client_id),
          isNull(sessions.revoked_at),
          gt(sessions.idle_expires_at, databaseNow),
          userIsActive(now),
        ),
      ),
  }))
const selectSignedIn = selectSignedInWith({})
const selectManaging = selectSignedInWith(attention)

export type SignedIn = RowsOf<ReturnType<typeof selectSignedIn>['user']>[number] & {
  [name in keyof typeof attention]?: number
}

/**
 * Looks up the user of a session cookie, in the trip of the request's own query. The answer is undefined if
 * the session has ended, or the cookie's turn is over. Calling it again is safe.
 *
 * @param options whether to count what needs a manager's attention, too.
 */
export function lookUpCookie({ db, now }: Resources, cookie: CookieSession, { isManaging = false } = {}) {
  const asked = (isManaging ? selectManaging : selectSignedIn)({ sid: cookie.sid, now })
  const piggybacked = db.piggyback(asked.user)
  let found: Promise<SignedIn | undefined> | undefined
  const find = async () => {
    piggybacked.settle()
    const [row] = (await piggybacked.rows) as SignedIn[]
    const [user] = replicaMayLag(row, cookie, now) ? (await db.readPrimary(asked)).user : [row]
    return user && user.id === cookie.sub && isGoodTurn(user, cookie.turn) ? user : undefined
  }
  return () => {
    found ??= find()
    return found
  }
}

/** Whether a lagging replica may have missed the session, its turn or an epoch. Then the primary is asked. */
const replicaMayLag = (row: SignedIn | undefined, { sid, turn, epoch }: CookieSession, now: number) =>
  row ? row.turn < turn || row.token_epoch < epoch : replicaMayMiss(timeOfId(sid), now)

/** Whether the role and epoch in the cookie are still right. */
export const isHintCurrent = ({ epoch, role }: CookieSession, user: SignedIn) =>
  user.token_epoch === epoch && user.role === role

export const withCurrentHint = (cookie: CookieSession, user: SignedIn): CookieSession => ({
  ...cookie,
  role: user.role,
  epoch: user.token_epoch,
})

/** Moves the idle time of a session in use, after the answer is sent. */
export function noteSeen(
  { db, config, afterwards }: Resources,
  { sid, role }: CookieSession,
  user: Pick<SignedIn, 'last_seen_at' | 'now'>,
): void {
  const seenMs = Math.min(SEEN_MS, lifetimeOf(config, role).idleMs / MOVES_WITHIN_IDLE)
  if (user.last_seen_at >= user.now - seenMs) return
  const session = build
    .update(sessions)
    .set({ last_seen_at: databaseNow, idle_expires_at: idleEndOnUse(privileged(config)) })
    .where(
      and(eq(sessions.id, sid), isNull(sessions.revoked_at), sql`last_seen_at < ${databaseNow} - ${seenMs}`),
    )
  afterwards(db.writeBatch({ session }))
}
