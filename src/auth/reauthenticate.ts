import { and, eq, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { withOwnPassword } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { tokenIsLive } from '../sessions/revocation.ts'

/**
 * Proves once more who somebody is who is signed in by a cookie: the session's turn goes up, and a cookie of the turn
 * before is never recent. Nothing else of the session changes.
 *
 * @returns the new turn.
 * @throws 403 `wrong_password`; 429 `too_many_attempts`.
 */
export const proveAgain = (resources: Resources, actor: Claims, password: string): Promise<number> =>
  withOwnPassword(resources, actor, password, async ({ clearAttempts }) => {
    const { db, now } = resources
    const isThis = eq(sessions.id, actor.sid)
    const { session } = await db.writeBatch({
      proof: build
        .update(sessions)
        .set({ turn: sql`${sessions.turn} + 1`, proved_at: now })
        .where(and(isThis, tokenIsLive(actor, now), sql`coalesce(${sessions.proved_at}, 0) < ${now}`)),
      attempts: clearAttempts,
      session: build
        .select({ turn: sessions.turn, proved_at: sessions.proved_at })
        .from(sessions)
        .where(isThis),
    })
    const [row] = session
    if (row?.proved_at !== now) throw invalidToken(new Error('ended during the request'))
    return row.turn
  })
