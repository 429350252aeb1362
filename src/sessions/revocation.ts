import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import type { BlocklistStore } from '../database/redis.ts'
import { build, databaseNow, type Given, type Places, prepare } from '../database/statements.ts'
import { type Reason, Refusal } from '../http/problem.ts'
import { type Profile, profileColumns, userIsActive, users } from '../users/models.ts'
import { ACCESS_TOKEN_SECONDS, type Claims } from './access-tokens.ts'
import { invalidToken } from './errors.ts'
import { sessions } from './models.ts'

/**
 * Whether a verified access token still counts.
 *
 * libSQL decides: the session and the person are read beside the request's own query, in the same trip, so a
 * revocation that Redis missed, or lost, lets nobody in. Redis is asked at the same time and can only say no:
 * it knows of a revocation before a lagging replica of the database does. It may be slow, empty or gone, and
 * the answer stays right.
 *
 * A person's `token_epoch` is raised by whatever ends all their tokens, and a token carries the epoch of its
 * time. No clock is compared, so a token issued in the same millisecond counts rightly. Keys name a session or a
 * person, never the text of a token: one signature has several spellings.
 */

const sessionKey = (sessionId: string) => `revoked:session:${sessionId}`
const userKey = (userId: string) => `revoked:user:${userId}`

/** As long as a token can live, and the clock tolerance. */
const KEY_LIFETIME_MS = (ACCESS_TOKEN_SECONDS + 60) * 1000

/** A cookie of the turn before is good for so long: requests that were on their way as it changed. */
export const FORMER_TURN_MS = 30_000

type TokenInTime = Pick<Claims, 'sid' | 'sub' | 'epoch'> & { now: number }

/** A condition: that it is this session and this person. */
const isOfToken = ({ sid, sub }: Given<TokenInTime>) =>
  and(eq(sessions.id, sid), eq(sessions.user_id, users.id), eq(users.id, sub))

/**
 * Why a token of this session and person does not count, in a word for the log; null where it does. `IS NOT TRUE`, as
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
    .select({ reason: whyNot(token).as('reason'), amr: sessions.amr })
    .from(sessions)
    .innerJoin(users, isOfToken(token)),
}))
const readOwnProfile = prepare((token: Places<TokenInTime>) => ({
  profile: build
    .select({ ...profileColumns, reason: whyNot(token).as('reason') })
    .from(users)
    .innerJoin(sessions, isOfToken(token)),
}))

/** Throws 401 `invalid_token` unless the row is there, gives no reason, and Redis knows of none. */
function assertLive<Row extends { reason: Reason | null }>(row: Row | undefined, isListed: boolean): Row {
  if (row?.reason === null && !isListed) return row
  throw invalidToken(new Refusal(row ? (row.reason ?? 'revoked') : 'unknown'))
}

/**
 * A condition for writes: that the actor's token still counts at the moment of the change. As every change of a
 * role raises the epoch, it also pins the role that the permission was given for.
 */
export const tokenIsLive = (claims: Claims, now: number): SQL =>
  sql`(EXISTS ${liveSession({ ...claims, now })} AND ${isOfTurn(claims, now)})`

/** A condition on the session of a cookie: that it has not been proved again since the cookie was made. */
const isOfTurn = ({ sid, turn }: Claims, now: number): SQL =>
  turn === undefined
    ? sql`1`
    : sql`EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${sid}
        AND (turn = ${turn} OR (turn = ${turn + 1} AND proved_at > ${now - FORMER_TURN_MS})))`

/**
 * Begins the check of a token, and lets the request's own work go on beside it. Redis is asked for the sake of
 * reads, which a lagging replica may answer; a write is decided where it is written (`tokenIsLive`).
 *
 * @returns a function that waits for the verdict and throws 401 `invalid_token`, or 503 when libSQL is away.
 */
export function checkRevocation(
  { db, redis, now }: Resources,
  claims: Claims,
  { isRead }: { isRead: boolean },
): () => Promise<{ amr: string }> {
  const passenger = db.rideAlong(readSession({ ...claims, now }).session)
  const listed = isRead && isListed(redis, claims, passenger.departed)
  return async () => {
    passenger.settle()
    const [[session], isRevoked] = await Promise.all([passenger.rows, listed])
    return assertLive(session, Boolean(isRevoked))
  }
}

/**
 * The person of a token that counts, whom the check reads anyway.
 *
 * @throws 401 `invalid_token`, or 503 when libSQL is away.
 */
export async function findOwnProfile({ db, redis, now }: Resources, claims: Claims): Promise<Profile> {
  const passenger = db.rideAlong(readOwnProfile({ ...claims, now }).profile)
  passenger.settle()
  const [[person], isRevoked] = await Promise.all([
    passenger.rows,
    isListed(redis, claims, passenger.departed),
  ])
  const { reason: _, ...profile } = assertLive(person, isRevoked)
  return profile
}

/** Whether Redis knows of a revocation. It is asked once libSQL's call is on its way, as that takes longer. */
async function isListed(
  redis: BlocklistStore,
  { sid, sub, epoch }: Claims,
  departed: Promise<void>,
): Promise<boolean> {
  await departed
  const [session, raised] = (await redis.mget([sessionKey(sid), userKey(sub)])) ?? []
  return Boolean(session) || (Boolean(raised) && Number(raised) > epoch)
}

// An epoch must never be overwritten by a lower one, in whatever order two writers arrive, and one that is known lives no
// longer for being told again: after the database was restored to an earlier time, what it has not heard of yet ends.
const PUBLISH = `
local lifetime = ARGV[1]
for i, key in ipairs(KEYS) do
  local epoch = tonumber(ARGV[i + 1])
  local known = tonumber(redis.call('GET', key) or '0')
  if epoch > known then redis.call('SET', key, ARGV[i + 1], 'PX', lifetime) end
end
return 1`

export interface Revocations {
  sessions?: string[]
  /** A person's new epoch: tokens with a lower one are dead. */
  user?: { id: string; epoch: number }
}

/** Tells Redis what has been revoked in libSQL; one call. That it fails does no harm (see above). */
export async function publishRevocations(
  { redis }: Pick<Resources, 'redis'>,
  revoked: Revocations,
): Promise<void> {
  const epoch = revoked.user?.epoch
  if (epoch !== undefined && !Number.isSafeInteger(epoch)) throw new TypeError('An epoch is an integer.')
  const entries = [
    ...(revoked.sessions ?? []).map((id) => [sessionKey(id), '1'] as const),
    ...(revoked.user ? [[userKey(revoked.user.id), String(revoked.user.epoch)] as const] : []),
  ]
  if (entries.length === 0) return
  const keys = entries.map(([key]) => key)
  await redis.run(PUBLISH, keys, [String(KEY_LIFETIME_MS), ...entries.map(([, value]) => value)])
}
