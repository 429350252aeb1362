import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { type Action, activityLogs } from '../activity/models.ts'
import { eraseHistory, record } from '../activity/service.ts'
import { invalidToken } from '../auth/errors.ts'
import { idempotencyKeys } from '../auth/models.ts'
import { actorStands, publishRevocations } from '../auth/revocation.ts'
import { eraseSessions, type RevokedReason, revokeSessions, sessionsOf } from '../auth/sessions.ts'
import type { Claims } from '../auth/tokens.ts'
import type { Resources } from '../context.ts'
import { build, isUniqueViolation, lastStatementChanged, type Statement } from '../database/main.ts'
import { emailTaken, lastAdmin, versionMismatch, writeConflict } from './errors.ts'
import { type NewUser, type User, users } from './models.ts'
import { requireUser, selectUsers } from './service.ts'

/** A change of one person, and what comes with it. */
export interface Change {
  action: Action
  set: { [Column in keyof NewUser]?: NewUser[Column] | undefined }
  details?: object
  /** Every token of the person dies. */
  endsTokens?: boolean
  /** Every session of the person dies as well (but perhaps one). */
  endsSessions?: { reason: RevokedReason; exceptId?: string }
  /** The row is deleted, and with it every personal datum elsewhere. */
  erases?: boolean
  alsoWrite?: Statement[]
}

const MAX_ROUNDS = 5

/**
 * Changes one person in two trips: read and decide, then write on the condition that nothing has moved since. The
 * write itself decides the three things that a race could turn: the person's version, the actor's token (and with
 * it the actor's role), and that an active administrator remains. When others were faster it starts again.
 *
 * @param decide what to do with the person as read; undefined when there is nothing to do. Throws what forbids it.
 * @param ifMatch versions that the caller has seen; undefined for any.
 * @returns the person after the change.
 */
export async function changeUser(
  resources: Resources,
  actor: Claims,
  id: string,
  decide: (row: User) => Change | undefined | Promise<Change | undefined>,
  ifMatch?: readonly number[],
): Promise<User> {
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    const row = await requireUser(resources, id)
    if (ifMatch && !ifMatch.includes(row.version)) throw versionMismatch()
    const change = await decide(row)
    if (!change) return row
    const changed = await writeChange(resources, actor, row, change)
    if (changed) return changed
  }
  throw writeConflict()
}

/** The second half alone, for a person just read for another reason. Throws 409 when others were faster. */
export async function applyChange(
  resources: Resources,
  actor: Claims,
  row: User,
  change: Change,
): Promise<User> {
  const changed = await writeChange(resources, actor, row, change)
  if (!changed) throw writeConflict()
  return changed
}

/** Undefined when the person has changed since `row` was read. */
async function writeChange(
  resources: Resources,
  actor: Claims,
  row: User,
  change: Change,
): Promise<User | undefined> {
  const { db, now } = resources
  const epoch = row.token_epoch + (change.endsTokens ? 1 : 0)
  const set = { ...change.set, version: row.version + 1, updated_at: now, token_epoch: epoch }
  const isAsRead = and(
    eq(users.id, row.id),
    eq(users.version, row.version),
    eq(users.token_epoch, row.token_epoch),
  )
  const mayChange = and(
    isAsRead,
    actorStands(actor, now),
    takesAdminAway(row, change) ? anotherAdminRemains(row.id) : undefined,
  )
  const event = {
    id: uuidv7(),
    action: change.action,
    userId: row.id,
    actorId: actor.sub,
    ...(change.details && { details: change.details }),
  }
  const { endsSessions } = change
  try {
    const results = await db.writeBatch([
      change.erases ? build.delete(users).where(mayChange) : build.update(users).set(set).where(mayChange),
      record(resources, event),
      ...(endsSessions
        ? [
            revokeSessions(
              now,
              endsSessions.reason,
              and(sessionsOf(row.id, endsSessions.exceptId), lastStatementChanged),
            ),
          ]
        : []),
      ...(change.erases ? eraseTraces(row.id) : []),
      ...(change.alsoWrite ?? []),
      selectUsers().where(eq(users.id, row.id)),
      sql`SELECT EXISTS (SELECT 1 FROM ${activityLogs} WHERE id = ${event.id}) AS is_done,
        ${actorStands(actor, now)} AS actor_stands, EXISTS (SELECT 1 FROM ${users} WHERE ${isAsRead}) AS is_as_read`,
    ])
    const { is_done, actor_stands, is_as_read } = results.at(-1)!.rows[0]!
    if (is_done) {
      if (change.endsTokens)
        resources.afterwards(publishRevocations(resources, { user: { id: row.id, epoch } }))
      return (results.at(-2)!.rows[0] as unknown as User | undefined) ?? row
    }
    if (!actor_stands) throw invalidToken(new Error('revoked during the request'))
    if (is_as_read) throw lastAdmin()
    return undefined
  } catch (error) {
    throw isUniqueViolation(error, 'users.email_normalized') ? emailTaken() : error
  }
}

const takesAdminAway = (row: User, { set, erases }: Change) =>
  row.role === 'admin' &&
  row.state === 'active' &&
  (erases === true ||
    (set.role ?? 'admin') !== 'admin' ||
    (set.status ?? 'active') !== 'active' ||
    (set.deleted_at ?? null) !== null)

const anotherAdminRemains = (id: string) =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE role = 'admin' AND state = 'active' AND id <> ${id})`

/**
 * Takes away what else is known of somebody whose row is gone. The history stays, under an id that no longer
 * names anybody; so do ended sessions, for as long as a token of theirs might still be shown.
 */
export function eraseTraces(userId: string): Statement[] {
  const isGone = sql`NOT EXISTS (SELECT 1 FROM ${users} WHERE id = ${userId})`
  return [
    eraseSessions(userId, isGone),
    ...eraseHistory(userId, isGone),
    build.delete(idempotencyKeys).where(and(eq(idempotencyKeys.subject_id, userId), isGone)),
  ]
}
