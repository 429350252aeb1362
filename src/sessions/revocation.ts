import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Given, type Places, prepare } from '../database/statements.ts'
import { type Reason, Refusal } from '../http/problem.ts'
import { type Profile, profileColumns, profileOf, userIsActive, users } from '../users/models.ts'
import { type Claims, mayBeUnheardOf } from './access-tokens.ts'
import { clientIsLive } from './client-tokens.ts'
import { invalidToken } from './errors.ts'
import { sessions } from './models.ts'
import { findNear } from './near.ts'
import { isOfTurn, TURNS_PAST_COPIES } from './turns.ts'

/**
 * Whether a verified access token still counts. libSQL decides: the session and the user are read beside the request's
 * own query, in the same trip. A user's `token_epoch` is raised by whatever ends all their tokens, and a token carries the
 * epoch of its time. No clock is compared, so a token issued in the same millisecond counts rightly.
 */

type TokenInTime = Pick<Claims, 'sid' | 'sub' | 'epoch'> & { now: number }

/** A condition: that it is this session of a login, and this user. An app's is for client-tokens.ts. */
const isOfToken = ({ sid, sub }: Given<TokenInTime>) =>
  and(eq(sessions.id, sid), eq(sessions.user_id, users.id), eq(users.id, sub), isNull(sessions.client_id))

/**
 * Why a token of this session and user does not count, in a word for the log; null where it does. `IS NOT TRUE`, as
 * SQL knows not whether an end that is not there has come, and what is not known is no reason to let somebody in.
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

/** Throws 401 `invalid_token` unless the row is there and gives no reason. */
function assertLive<Row extends Found>(row: Row | undefined): Row {
  if (row?.reason === null) return row
  throw invalidToken(new Refusal(row ? (row.reason ?? 'revoked') : 'unknown'))
}

/**
 * A condition for writes: that the actor's token still counts at the moment of the change. As every change of a
 * role raises the epoch, it also pins the role that the permission was given for.
 */
export const tokenIsLive = (claims: Claims, now: number): SQL =>
  claims.client || claims.key
    ? clientIsLive(claims, now)
    : sql`(EXISTS ${liveSession({ ...claims, now })} AND ${isOfTurn(claims)})`

/**
 * Begins the check of a token, and lets the request's own work go on beside it.
 *
 * @returns a function that waits for the verdict and throws 401 `invalid_token`, or 503 when libSQL is away.
 */
export function checkRevocation({ db, now }: Resources, claims: Claims): () => Promise<{ amr: string }> {
  const asked = readSession({ ...claims, now })
  const piggybacked = db.piggyback(asked.session)
  return async () => {
    piggybacked.settle()
    const [row] = await piggybacked.rows
    const isVerdict = row?.reason === null || !mayBeUnheardOf(row, claims, now)
    return assertLive(isVerdict ? row : (await db.readPrimary(asked)).session[0])
  }
}

/**
 * The user of a token that counts: from the copy that is near, where there is a good one, else from libSQL.
 *
 * @param options whether a copy will not do, as for whoever has just changed something.
 * @throws 401 `invalid_token`, or 503 when libSQL is away.
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
    const isVerdict = row?.reason === null || !mayBeUnheardOf(row, claims, now)
    const found = assertLive(isVerdict ? row : (await db.readPrimary(asked)).profile[0])
    return { profile: profileOf(found), endsAt: found.idle_expires_at, turn: found.turn }
  })

/**
 * Asks once more whether a token still counts, beside the next read: for what goes on long after its guard. A cookie
 * may be of a turn before, as its owner proves who they are now and then; one that everything else was ended for is not.
 *
 * @returns a function that waits for the verdict and throws 401 `invalid_token`, or 503 when libSQL is away.
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
    // A replica that lags may not have heard of a session that has just begun.
    const { is_live } = row?.is_live ? row : (await db.readPrimary(asked)).verdict[0]!
    if (!is_live) throw invalidToken(new Refusal('revoked'))
  }
}
