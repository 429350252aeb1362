import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Given, type Places, prepare } from '../database/statements.ts'
import { type Reason, Refusal } from '../http/problem.ts'
import { type Profile, profileColumns, profileOf, userIsActive, users } from '../users/models.ts'
import { type Claims, replicaMayLag } from './access-tokens.ts'
import { clientIsLive } from './client-tokens.ts'
import { invalidToken } from './errors.ts'
import { sessions } from './models.ts'
import { findNear } from './near.ts'
import { isOfTurn, TURNS_PAST_COPIES } from './turns.ts'

/**
 * Whether a verified access token is still valid. libSQL decides: session and user are read beside the
 * request's own query, in the same trip. Whatever ends all of a user's tokens raises their `token_epoch`, and
 * a token carries the epoch of its time. No clocks are compared, so a token issued in the same millisecond is
 * judged rightly.
 */

type TokenInTime = Pick<Claims, 'sid' | 'sub' | 'epoch'> & { now: number }

/** A condition: that it is this session of a login, and this user. For apps see client-tokens.ts. */
const isOfToken = ({ sid, sub }: Given<TokenInTime>) =>
  and(eq(sessions.id, sid), eq(sessions.user_id, users.id), eq(users.id, sub), isNull(sessions.client_id))

/**
 * Why a token of this session and user is not valid, in a word for the log; null if it is. `IS NOT TRUE`
 * because in SQL a comparison with a missing end is NULL, and that must not let anybody in.
 */
const whyNot = ({ epoch, now }: Given<TokenInTime>) =>
  sql<Reason | null>`CASE WHEN ${sessions.revoked_at} IS NOT NULL THEN 'revoked'
    WHEN ${users.token_epoch} <> ${epoch} THEN 'epoch' WHEN ${sessions.idle_expires_at} <= ${databaseNow} THEN 'idle'
    WHEN (${userIsActive(now)}) IS NOT TRUE THEN 'inactive' END`

const liveSession = (token: Given<TokenInTime>) =>
  build
    .select({ id: sessions.id })
    .from(sessions)
    .innerJoin(users, and(isOfToken(token), isNull(whyNot(token))))

const readSession = prepare((token: Places<TokenInTime>) => ({
  session: build
    .select({
      reason: whyNot(token).as('reason'),
      token_epoch: users.token_epoch,
      amr: sessions.amr,
    })
    .from(sessions)
    .innerJoin(users, isOfToken(token)),
}))
const readOwnProfile = prepare((token: Places<TokenInTime>) => ({
  profile: build
    .select({
      ...profileColumns,
      reason: whyNot(token).as('reason'),
      token_epoch: users.token_epoch,
      turn: sessions.turn,
      idle_expires_at: sessions.idle_expires_at,
    })
    .from(users)
    .innerJoin(sessions, isOfToken(token)),
}))

interface Found {
  reason: Reason | null
  token_epoch: number
}

/** Throws 401 `invalid_token` unless there is a row without a reason. */
function assertLive<Row extends Found>(row: Row | undefined): Row {
  if (row?.reason === null) return row
  throw invalidToken(new Refusal(row ? (row.reason ?? 'revoked') : 'unknown'))
}

/**
 * A condition for writes: that the actor's token is still valid at the moment of the change. Every change of
 * a role raises the epoch, so it also pins the role that the permission was granted for.
 */
export const tokenIsLive = (claims: Claims, now: number): SQL =>
  claims.client || claims.key
    ? clientIsLive(claims, now)
    : sql`(EXISTS ${liveSession({ ...claims, now })} AND ${isOfTurn(claims)})`

/**
 * Starts the check of a token, beside the request's own work.
 *
 * @returns a function that waits for the verdict and throws 401 `invalid_token`, or 503 if libSQL does not
 *   answer.
 */
export function checkRevocation({ db, now }: Resources, claims: Claims): () => Promise<{ amr: string }> {
  const asked = readSession({ ...claims, now })
  const piggybacked = db.piggyback(asked.session)
  return async () => {
    piggybacked.settle()
    const [row] = await piggybacked.rows
    const isVerdict = row?.reason === null || !replicaMayLag(row, claims, now)
    return assertLive(isVerdict ? row : (await db.readPrimary(asked)).session[0])
  }
}

/**
 * The user of a valid token: from a cached copy if there is a good one, otherwise from libSQL.
 *
 * @param options whether a copy will not do, as for a client that has just changed something.
 * @throws 401 `invalid_token`, or 503 if libSQL does not answer.
 */
export const findOwnProfile = (
  resources: Resources,
  claims: Claims,
  options: Parameters<typeof findNear>[2],
): Promise<Profile> =>
  findNear(resources, claims, options, async () => {
    const { db, now } = resources
    const asked = readOwnProfile({ ...claims, now })
    const [row] = (await db.read(asked)).profile
    const isVerdict = row?.reason === null || !replicaMayLag(row, claims, now)
    const found = assertLive(isVerdict ? row : (await db.readPrimary(asked)).profile[0])
    return { profile: profileOf(found), endsAt: found.idle_expires_at, turn: found.turn }
  })

/**
 * Checks again whether a token is still valid, beside the next read: for work that goes on long after its
 * guard. A cookie may be of an earlier turn, as its owner proves again who they are now and then; but not of
 * one that ended everything else.
 *
 * @returns a function that waits for the verdict and throws 401 `invalid_token`, or 503 if libSQL does not
 *   answer.
 */
export function checkStillLive({ db }: Resources, claims: Claims): () => Promise<void> {
  const { sid, turn } = claims
  const isNoCopy =
    turn === undefined
      ? sql`1`
      : sql`EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${sid} AND turn < ${turn + TURNS_PAST_COPIES})`
  const now = Date.now()
  const isLive =
    claims.client || claims.key
      ? clientIsLive(claims, now)
      : sql`(EXISTS ${liveSession({ ...claims, now })} AND ${isNoCopy})`
  const asked = { verdict: sql<{ is_live: 0 | 1 }>`SELECT ${isLive} AS is_live` }
  const piggybacked = db.piggyback(asked.verdict)
  return async () => {
    piggybacked.settle()
    const [row] = await piggybacked.rows
    // A lagging replica may have missed a session that has just begun.
    const { is_live } = row?.is_live ? row : (await db.readPrimary(asked)).verdict[0]!
    if (!is_live) throw invalidToken(new Refusal('revoked'))
  }
}
