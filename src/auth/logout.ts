import { and, eq } from 'drizzle-orm'
import { requireRecentLogin } from '../access/guards.ts'
import type { Resources } from '../context.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { sessions } from '../sessions/models.ts'
import { whileDoubting } from '../sessions/near.ts'
import { endOwnSession, endSession } from '../sessions/service.ts'
import { byActor, changeUserBy, isSamePerson } from '../users/change.ts'

/** Ends all of one's own sessions, including this one. */
export async function logOutAll(resources: Resources, actor: Claims): Promise<void> {
  await changeUserBy(resources, byActor(actor, resources.now), actor.sub, (row) => ({
    action: 'sessions.ended',
    set: {},
    reliesOn: isSamePerson(row),
    endsTokens: true,
    forgetsDevices: true,
    endsSessions: { reason: 'logged_out' },
  }))
}

/**
 * Ends one of the user's own sessions: this one at any time, another only after a recent login.
 *
 * @throws 404 `session_not_found`.
 */
export async function endMySession(resources: Resources, actor: Claims, id: string): Promise<void> {
  if (id !== actor.sid) requireRecentLogin(actor, resources.now)
  await endOwnSession(resources, actor, id)
}

/** Logs out: ends the session of the token. For a session that has already ended, the answer is the same. */
export async function logOut(resources: Resources, actor: Claims): Promise<void> {
  const own = and(eq(sessions.id, actor.sid), eq(sessions.user_id, actor.sub))
  await whileDoubting(resources, { users: [actor.sub], sessions: [actor.sid] }, () =>
    endSession(resources, actor, actor.sid, 'logged_out', own!),
  )
}
