import { eq } from 'drizzle-orm'
import { requireRecentLogin } from '../access/guards.ts'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { invalidInput, Refusal } from '../http/problem.ts'
import { type OwnPassword, withOwnPassword } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { selectUsers, users } from './models.ts'

/**
 * Does something that a signed-in user confirms with their own password or, if they have none, with a recent login.
 *
 * @param member the name of the password in the body.
 * @throws 403 `wrong_password`, `reauthentication_required`; 422 if a password is needed and missing; 429
 *   `too_many_attempts`.
 */
export async function withOwnProof<T>(
  resources: Resources,
  actor: Claims,
  [member, password]: [member: string, password: string | undefined],
  use: (own: OwnPassword) => Promise<T>,
): Promise<T> {
  if (password !== undefined) return withOwnPassword(resources, actor, password, use)
  // From the primary: a lagging replica may not have the session yet.
  const {
    user: [row],
    session: [session],
  } = await resources.db.readPrimary({
    user: selectUsers().where(eq(users.id, actor.sub)),
    session: build.select().from(sessions).where(eq(sessions.id, actor.sid)),
  })
  if (!row || !session) throw invalidToken(new Refusal('unknown'))
  if (row.password_hash !== null)
    throw invalidInput([{ pointer: `/${member}`, code: 'invalid_type', detail: 'Is missing.' }])
  requireRecentLogin(actor, resources.now)
  return use({ row, session, clearAttempts: [] })
}
