import { and, eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { amrOf, type Proof } from '../../access/assurance.ts'
import { challenges } from '../../challenges/models.ts'
import { makeChallenge, openChallenge, openTry } from '../../challenges/service.ts'
import type { Resources } from '../../context.ts'
import { build, databaseNow, insertWhere, rowExists, type Statement } from '../../database/statements.ts'
import { wrongCode } from '../../factors/errors.ts'
import { hasFactor, selectFactorState } from '../../factors/state.ts'
import { Refusal } from '../../http/problem.ts'
import { identities } from '../../identities/models.ts'
import { sendAfterwards } from '../../mail/outbox.ts'
import {
  checkPasskey,
  requestOptions,
  selectPasskey,
  selectUsablePasskeys,
} from '../../passkeys/ceremonies.ts'
import { invalidPasskey } from '../../passkeys/errors.ts'
import type { PasskeyOptions } from '../../passkeys/schemas.ts'
import { withOwnPassword } from '../../passwords/service.ts'
import { type Claims, signAccessToken } from '../../sessions/access-tokens.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { accessTokenSeconds } from '../../sessions/lifetimes.ts'
import { sessions } from '../../sessions/models.ts'
import { whileDoubting } from '../../sessions/near.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import { FORMER_TURN_MS } from '../../sessions/turns.ts'
import { selectUsers, type User, users } from '../../users/models.ts'
import type { Reauthenticate, Reauthenticated } from '../schemas.ts'
import type { Used } from '../start-session.ts'
import { proveByMailedCode, readUserWithoutOtherProof } from './mailed-proof.ts'
import { proveOwnFactor } from './own-factor.ts'

/** A user who has just proved again who they are, and how. */
export interface ProvenAgain {
  user: User
  proofs: readonly Proof[]
  /** For a session in a cookie: the turn of the next cookie. */
  turn: number
  /** Epoch ms. */
  provedAt: number
  /** What is left of the session. */
  leftMs: number
}

/**
 * Proves again who a signed-in user is; their session counts the attempts. An account with a factor takes the
 * password and a code, or a passkey. One with neither password nor passkey takes a mailed code in place of
 * the password. A session in a cookie moves to its next turn, so a copy of the older cookie never has a
 * recent login, and soon expires. A session of tokens stays as it is: the proof counts for one access token
 * (`freshAccessToken`).
 *
 * @throws 403 `wrong_password`, `wrong_code`, `second_factor_required`; 400 `invalid_passkey`; 429
 *   `too_many_attempts`.
 */
export async function reauthenticate(
  resources: Resources,
  actor: Claims,
  input: Reauthenticate,
): Promise<ProvenAgain> {
  if ('credential' in input) return reauthenticateByPasskey(resources, actor, input)
  const proving = proveOwnFactor(resources, actor, input)
  if ('mail_code' in input) {
    const { user, turn } = await readUserWithoutOtherProof(resources, actor)
    // Before the mailed code, which a wrong code of the app must not use up.
    const factor = await proving(user)
    const used = await proveByMailedCode(resources, actor, user, input)
    const both = [used, ...(factor ? [factor.used] : [])]
    return {
      user,
      proofs: factor ? (['email', factor.proof] as const) : (['email'] as const),
      ...(await finish(resources, actor, turn, both, factor?.clear ?? [])),
    }
  }
  return withOwnPassword(resources, actor, input.password, async ({ row, session, clearAttempts }) => {
    const factor = await proving(row)
    const used = factor ? [factor.used] : []
    return {
      user: row,
      proofs: factor ? (['pwd', factor.proof] as const) : (['pwd'] as const),
      ...(await finish(resources, actor, session.turn, used, [...clearAttempts, ...(factor?.clear ?? [])])),
    }
  })
}

/** What a browser needs to prove the user by one of their passkeys, and which other proofs would do. */
export async function beginReauthentication(
  resources: Resources,
  actor: Claims,
): Promise<
  PasskeyOptions & {
    takesCode: boolean
    takesPasskey: boolean
    hasPassword: boolean
    takesMail: boolean
    /** The providers that sign them in, if they have no other proof. */
    takesProviders: readonly string[]
  }
> {
  const { config, db } = resources
  const { known, state, user, linked } = await db.readPrimary({
    linked: build
      .select({ provider: identities.provider })
      .from(identities)
      .where(eq(identities.user_id, actor.sub)),
    known: selectUsablePasskeys(config, actor.sub),
    state: selectFactorState(config, actor.sub),
    user: build.select({ password_hash: users.password_hash }).from(users).where(eq(users.id, actor.sub)),
  })
  const challenge_id = makeChallenge(config, { kind: 'again', userId: actor.sub, about: actor.sid })
  const hasPassword = user[0]?.password_hash !== null
  const hasNeither = known.length === 0 && !hasPassword
  return {
    challenge_id,
    options: requestOptions(config, challenge_id, known),
    takesCode: hasFactor(state[0]!),
    takesPasskey: known.length > 0,
    hasPassword,
    takesMail: hasNeither && resources.send !== undefined,
    takesProviders: hasNeither && !hasFactor(state[0]!) ? linked.map(({ provider }) => provider) : [],
  }
}

async function reauthenticateByPasskey(
  resources: Resources,
  actor: Claims,
  { challenge_id, credential }: Extract<Reauthenticate, { credential: unknown }>,
): Promise<ProvenAgain> {
  const { db, config, now } = resources
  const challenge = openChallenge(config, 'again', challenge_id, now)
  if (challenge?.userId !== actor.sub || challenge.about !== actor.sid)
    throw invalidPasskey(new Refusal('challenge'))
  const attempt = openTry(challenge, now)
  const { counted, passkey, user, session } = await db.writeBatch({
    count: attempt.count,
    counted: attempt.counted,
    passkey: selectPasskey(credential.id),
    user: selectUsers().where(eq(users.id, actor.sub)),
    session: build.select({ turn: sessions.turn }).from(sessions).where(eq(sessions.id, actor.sid)),
  })
  if (!user[0] || !session[0]) throw invalidToken(new Refusal('unknown'))
  if (counted.length === 0) throw invalidPasskey(new Refusal('used'))
  if (passkey[0]?.user_id !== actor.sub) throw invalidPasskey(new Refusal('unknown'))
  const proved = checkPasskey(resources, challenge_id, credential, passkey[0], { isNamed: true })
  if (proved instanceof Refusal) throw invalidPasskey(proved)
  // A passkey whose counter went back proves nothing by itself.
  if (proved.isDoubtful) {
    await db.writeBatch({ told: proved.spend(sql`1`) })
    throw invalidPasskey(new Refusal('passkey_counter'))
  }
  const used = [proved, { isGood: attempt.isUnspent, spend: (isDone: SQL) => [attempt.spend(isDone)] }]
  return {
    user: user[0],
    proofs: ['passkey'],
    ...(await finish(resources, actor, session[0].turn, used, [])),
  }
}

/**
 * The last step, in one batch: uses up what is valid once, clears the attempts, and moves a session in a
 * cookie to its next turn. Two proofs at once with one cookie get the same turn, so neither invalidates the
 * other.
 *
 * @throws 403 `wrong_code` when the proof has been used up meanwhile.
 */
export async function finish(
  resources: Resources,
  actor: Claims,
  turn: number,
  used: readonly Used[],
  clear: readonly Statement[],
): Promise<Pick<ProvenAgain, 'turn' | 'provedAt' | 'leftMs'>> {
  const { db, now } = resources
  const isThis = eq(sessions.id, actor.sid)
  const id = uuidv7()
  const isDone = rowExists(challenges, id)
  const mayUse = sql.join([tokenIsLive(actor, now), ...used.map(({ isGood }) => isGood)], sql` AND `)
  const isCookie = actor.turn !== undefined
  const isUsing = used.length > 0
  const mails = used.flatMap(({ mail }) => (mail ? [mail(isDone)] : []))
  const batch = {
    // Marks the batch as done: if it is sent twice, nothing is used up twice.
    marker: isUsing
      ? [insertWhere(challenges, { id, tries: 1, attempt_id: null, spent_at: now }, mayUse)]
      : [],
    used: used.flatMap(({ spend }) => spend(isDone)),
    mails: mails.flatMap(({ statements }) => statements),
    proof: isCookie
      ? [
          build
            .update(sessions)
            .set({ turn: sql`${sessions.turn} + 1`, proved_at: databaseNow })
            .where(
              and(
                isThis,
                eq(sessions.turn, actor.turn),
                tokenIsLive(actor, now),
                isUsing ? isDone : undefined,
              ),
            ),
        ]
      : [],
    attempts: clear,
    session: build
      .select({
        turn: sessions.turn,
        proved_at: sessions.proved_at,
        left_ms: sql<number>`${sessions.idle_expires_at} - ${databaseNow}`.as('left_ms'),
        now: databaseNow.as('now'),
      })
      .from(sessions)
      .where(isThis),
    verdict: sql<Record<'is_done' | 'is_live', 0 | 1>>`SELECT ${isUsing ? isDone : sql`1`} AS is_done,
      ${tokenIsLive(actor, now)} AS is_live`,
  }
  // A cookie of the turn before expires soon, so no cached copy may vouch for it.
  const doubts = isCookie ? { users: [actor.sub] } : {}
  const { session, verdict } = await whileDoubting(resources, doubts, () =>
    db.writeBatch(batch, isUsing ? isDone : undefined),
  )
  const { is_done, is_live } = verdict[0]!
  if (!is_live) throw invalidToken(new Refusal('meanwhile'))
  if (!is_done) throw wrongCode(new Refusal('used'))
  sendAfterwards(resources, ...mails.map(({ mailId }) => mailId))
  const [row] = session
  if (!row) throw invalidToken(new Refusal('meanwhile'))
  const leftMs = row.left_ms
  if (!isCookie) return { turn, provedAt: now, leftMs }
  const isRaised = row.turn === actor.turn + 1 && (row.proved_at ?? 0) > row.now - FORMER_TURN_MS
  if (!isRaised) throw invalidToken(new Refusal('meanwhile'))
  return { turn: row.turn, provedAt: row.proved_at!, leftMs }
}

/** An access token of the same session that counts as a recent login. One from a refresh does not. */
export async function freshAccessToken(
  { config, now }: Resources,
  actor: Claims,
  { provedAt, proofs, leftMs }: ProvenAgain,
): Promise<Reauthenticated> {
  const lifetimeSeconds = accessTokenSeconds(config, actor.role, leftMs)
  const access_token = await signAccessToken(config, now, {
    userId: actor.sub,
    sessionId: actor.sid,
    role: actor.role,
    epoch: actor.epoch,
    authenticatedAt: provedAt,
    amr: amrOf(proofs),
    lifetimeSeconds,
  })
  return { access_token, token_type: 'Bearer', expires_in: lifetimeSeconds }
}
