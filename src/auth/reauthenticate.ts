import { and, eq, sql } from 'drizzle-orm'
import { amrOf, type Proof } from '../access/assurance.ts'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { type OwnPassword, withOwnPassword } from '../passwords/service.ts'
import { ACCESS_TOKEN_SECONDS, type Claims, signAccessToken } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { FORMER_TURN_MS, tokenIsLive } from '../sessions/revocation.ts'
import type { User } from '../users/models.ts'
import type { Reauthenticate, Reauthenticated } from './schemas.ts'

/** Who has just proved again who they are, and by what. */
export interface ProvenAgain {
  user: User
  proofs: readonly Proof[]
  /** Of a session in a cookie: what the next cookie says. */
  turn: number
  /** Epoch ms. */
  provedAt: number
}

/**
 * Proves once more who somebody is who is signed in; their session counts the attempts. Of a session in a cookie the
 * turn goes up, so that a copy of the older cookie is never recent and soon nothing. A session of tokens stays as it is:
 * what was proved is for one access token (`toFreshToken`).
 *
 * @throws 403 `wrong_password`; 429 `too_many_attempts`.
 */
export const reauthenticate = (
  resources: Resources,
  actor: Claims,
  { password }: Reauthenticate,
): Promise<ProvenAgain> =>
  withOwnPassword(resources, actor, password, async (own) => ({
    user: own.row,
    proofs: ['pwd'] as const,
    ...(await (actor.turn === undefined ? endAttempts : raiseTurn)(resources, actor, own)),
  }))

/** The last of it for a session of tokens: the attempts are forgotten. */
async function endAttempts({ db, now }: Resources, _actor: Claims, { session, clearAttempts }: OwnPassword) {
  await db.writeBatch({ attempts: clearAttempts })
  return { turn: session.turn, provedAt: now }
}

/** Two that are proved at once by one cookie get the same turn: neither takes the other's away. */
async function raiseTurn(resources: Resources, actor: Claims, { clearAttempts }: OwnPassword) {
  const { db, now } = resources
  const isThis = eq(sessions.id, actor.sid)
  const { session } = await db.writeBatch({
    proof: build
      .update(sessions)
      .set({ turn: sql`${sessions.turn} + 1`, proved_at: now })
      .where(and(isThis, eq(sessions.turn, actor.turn!), tokenIsLive(actor, now))),
    attempts: clearAttempts,
    session: build
      .select({ turn: sessions.turn, proved_at: sessions.proved_at })
      .from(sessions)
      .where(isThis),
  })
  const [row] = session
  const isRaised = row?.turn === actor.turn! + 1 && (row.proved_at ?? 0) > now - FORMER_TURN_MS
  if (!isRaised) throw invalidToken(new Refusal('meanwhile'))
  return { turn: row.turn, provedAt: row.proved_at! }
}

/** An access token of the same session that counts as a recent login. A refresh gives one that does not. */
export async function toFreshToken(
  { config, now }: Resources,
  actor: Claims,
  { provedAt, proofs }: ProvenAgain,
): Promise<Reauthenticated> {
  const access_token = await signAccessToken(config, now, {
    userId: actor.sub,
    sessionId: actor.sid,
    role: actor.role,
    epoch: actor.epoch,
    authenticatedAt: provedAt,
    amr: amrOf(proofs),
  })
  return { access_token, token_type: 'Bearer', expires_in: ACCESS_TOKEN_SECONDS }
}
