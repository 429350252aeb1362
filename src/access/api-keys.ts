import { and, eq, sql } from 'drizzle-orm'
import type { Context, Next } from 'hono'
import { apiKeys } from '../api-keys/models.ts'
import type { Resources } from '../context.ts'
import { replicaMayMiss } from '../database/lag.ts'
import { build, databaseNow, type Places, prepare, type RowsOf } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { isSecretOfKey } from '../sessions/client-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { assertMayAsk, assertNetworkWithin } from '../throttle/limits.ts'
import { type Profile, profileColumns, profileOf, userIsActive, users } from '../users/models.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import { mustHaveFactor, owesFactor } from './assurance.ts'
import { runBesideCheck } from './check-beside.ts'
import { isRead } from './credentials.ts'
import { factorEnrolmentRequired, insufficientScope } from './errors.ts'
import type { GivenKey } from './key-tokens.ts'
import { hasPermission, type Permission, rankFor } from './permissions.ts'

/** The last use is recorded at most once in this time. */
export const USED_MS = 5 * MINUTE_MS

type Sought = Pick<GivenKey, 'id' | 'userId' | 'digest'> & { now: number }

const selectKey = prepare((sought: Places<Sought>) => ({
  key: build
    .select({
      ...profileColumns,
      is_good: sql<0 | 1>`coalesce(${isSecretOfKey(sought.digest)} AND ${userIsActive(sought.now)}, 0)`.as(
        'is_good',
      ),
      permissions: apiKeys.permissions,
      amr: apiKeys.amr,
      last_used_at: apiKeys.last_used_at,
      now: databaseNow.as('now'),
    })
    .from(apiKeys)
    .innerJoin(users, eq(users.id, apiKeys.user_id))
    .where(and(eq(apiKeys.id, sought.id), eq(apiKeys.user_id, sought.userId))),
}))
type KeyRow = RowsOf<ReturnType<typeof selectKey>['key']>[number]

/**
 * Looks up a key together with the request's own query, in one trip. Calling it again is safe.
 *
 * @returns a function that answers whose key it is. Throws 401 `invalid_token`; 403 `insufficient_scope`
 *   where the key or its owner lacks a permission that the request needs; 403 `factor_enrolment_required`.
 */
function lookUpKey(resources: Resources, { id, userId, digest }: GivenKey, needs: ReadonlySet<Permission>) {
  const { config, db, now } = resources
  const asked = selectKey({ id, userId, digest, now })
  const piggybacked = db.piggyback(asked.key)
  const find = async () => {
    piggybacked.settle()
    const [row] = (await piggybacked.rows) as KeyRow[]
    // A lagging replica may not have the key yet, or not its newest secret.
    const isVerdict = row ? row.is_good === 1 : !replicaMayMiss(timeOfId(id), now)
    const found = isVerdict ? row : (await db.readPrimary(asked)).key[0]
    if (found?.is_good !== 1) throw invalidToken(new Refusal(found ? 'revoked' : 'unknown'))
    const permissions = JSON.parse(found.permissions) as string[]
    for (const permission of needs)
      if (!permissions.includes(permission) || !hasPermission(found.role, permission))
        throw insufficientScope()
    if (owesFactor(config.SECOND_FACTOR, found.role, JSON.parse(found.amr))) throw factorEnrolmentRequired()
    return found
  }
  let found: Promise<KeyRow> | undefined
  return () => (found ??= find())
}

/** Records the last use of a key, after the answer is sent. */
function noteUsed(
  { db, afterwards }: Resources,
  id: string,
  row: Pick<KeyRow, 'last_used_at' | 'now'>,
): void {
  if ((row.last_used_at ?? 0) > row.now - USED_MS) return
  const isDue = sql`coalesce(last_used_at, 0) <= ${databaseNow} - ${USED_MS}`
  const key = build
    .update(apiKeys)
    .set({ last_used_at: databaseNow })
    .where(and(eq(apiKeys.id, id), isDue))
  afterwards(db.writeBatch({ key }))
}

/**
 * Lets a key do what its permissions allow, as `c.var.actor`. It acts by the lowest rank that has the
 * permission, and never has a recent login: so no key can give power away or change how an account is
 * entered.
 *
 * @param permission undefined for what needs none; then the key is looked up first, and `onFound` is given
 *   its owner.
 * @throws 401 `invalid_token`; 403 `insufficient_scope`, `factor_enrolment_required`; 429
 *   `too_many_requests`.
 */
export async function authenticateKey(
  c: Context,
  next: Next,
  key: GivenKey,
  permission: Permission | undefined,
  onFound?: (profile: Profile) => void,
): Promise<void> {
  const resources = c.var as Resources
  const needs = new Set<Permission>(permission ? [permission] : [])
  if (!key.isMarked) {
    // The key may be made up, so it is looked up before any other work.
    await assertNetworkWithin(resources, resources.origin.ip)
    await lookUpKey(resources, key, needs)()
  }
  // Anybody with a permission has a role above `user`.
  const mustBeTwofold = mustHaveFactor(resources.config.SECOND_FACTOR, permission ? 'manager' : 'user')
  c.set('isSignedIn', true)
  await assertMayAsk(resources, { sid: key.id }, { isRead: isRead(c) })
  c.set('actor', {
    sub: key.userId,
    sid: key.id,
    jti: key.id,
    iat: 0,
    exp: 0,
    epoch: 0,
    auth_time: 0,
    role: permission ? rankFor(permission) : 'user',
    key: { id: key.id, digest: key.digest, needs, mustBeTwofold },
  } satisfies Claims)
  const find = lookUpKey(resources, key, needs)
  const assertLive = async () => {
    const found = await find()
    noteUsed(resources, key.id, found)
    return profileOf(found)
  }
  if (onFound) {
    onFound(await assertLive())
    await next()
  } else await runBesideCheck(c, next, assertLive)
}
