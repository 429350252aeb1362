import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { anotherAdminRemains } from '../access/can-sign-in.ts'
import { erasureForLedger } from '../activity/ledger.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, type Results, rowExists, type Statement } from '../database/statements.ts'
import { assertPrecondition } from '../http/precondition.ts'
import { type AppError, Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import { type OneTimeToken, oneTimeTokens } from '../links/models.ts'
import { linkIsLive, voidTokens } from '../links/service.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { selectIsOwed } from '../oauth/models.ts'
import { recordUnchecked } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { publishDoubts, whileDoubting } from '../sessions/near.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { idsOfOpenSessions } from '../sessions/service.ts'
import { NO_FAILURES } from '../throttle/service.ts'
import {
  type Change,
  consequences,
  freeAddress,
  NOBODY,
  needsFreeEmail,
  needsFreeExternalId,
} from './consequences.ts'
import { eraseUser } from './erasure.ts'
import { emailTaken, externalIdTaken, lastAdmin, writeConflict } from './errors.ts'
import { ENABLED, selectUsers, type User, users } from './models.ts'
import { nameFold } from './names.ts'
import { requireUser } from './queries.ts'

/** In whose name a change is made, and what must hold at the moment it is written. */
export interface Authority {
  /** Null: the system. */
  actorId: string | null
  holds: SQL
  /** Thrown if it does not hold. */
  refused: () => AppError
  /** Spends the authority, if it can be used only once. */
  spend?: (isDone: SQL) => Statement
}

/** The authority of a signed-in user. */
export const byActor = (actor: Claims, now: number): Authority => ({
  actorId: actor.sub,
  holds: tokenIsLive(actor, now),
  refused: () => invalidToken(new Refusal('meanwhile')),
})

/** The operator, running a script. */
export const bySystem: Authority = { actorId: null, holds: sql`1`, refused: writeConflict }

/** Whoever holds the link that was mailed to the user. */
export const byToken = (token: OneTimeToken, now: number): Authority => ({
  actorId: token.subject_id,
  holds: linkIsLive(token.id),
  refused: () => invalidLink(new Refusal('meanwhile')),
  spend: (isDone) => voidTokens(now, [token.purpose], and(eq(oneTimeTokens.id, token.id), isDone)),
})

/** A condition: that a user's address, role and state have not changed. */
export const isSamePerson = ({ email_normalized, role, state }: User) =>
  and(eq(users.email_normalized, email_normalized), eq(users.role, role), eq(users.state, state))

/**
 * The same, for a change that proves the address. If nobody had proved it, that must still be so: what the
 * first proof voids must not be what the owner, who was faster, has added since.
 */
export const isSameForProof = (row: User) =>
  and(isSamePerson(row), row.email_verified_at === null ? isNull(users.email_verified_at) : undefined)

const MAX_ROUNDS = 5

/** What to change of a user as read; undefined if there is nothing to do. Throws whatever forbids it. */
export type Decision = (row: User) => Change | undefined | Promise<Change | undefined>

/** The resources of a request by a signed-in user. */
export type Acting = Resources & { actor: Claims }

/**
 * Changes one user in two trips: read and decide, then write on the condition that nothing has changed since.
 * The write itself checks the three things that a race could change: the user's version, the authority (an
 * actor's token, and with it the actor's role), and that an active administrator remains. If another change
 * was faster, it starts again.
 *
 * @returns the user after the change.
 */
export const changeUser = (acting: Acting, id: string, decide: Decision) =>
  changeUserBy(acting, byActor(acting.actor, acting.now), id, decide)

/** The same for an authority that is not a signed-in user. */
export async function changeUserBy(
  resources: Resources,
  by: Authority,
  id: string,
  decide: Decision,
): Promise<User> {
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    // A replica may lag behind a faster change for longer than all the rounds take, and behind the version
    // that the caller names.
    const ofPrimary = round > 1 || resources.ifMatch !== undefined
    let row = await requireUser(resources, id, { ofPrimary })
    let change = await decide(row)
    if (!change) {
      // A lagging replica may not show that a change is needed; and whoever made the last change perhaps
      // could not tell Redis.
      const primary = () => requireUser(resources, id, { ofPrimary: true })
      row = await whileDoubting(resources, { users: [id] }, primary)
      change = await decide(row)
    }
    // Only those who may change the user may learn the version.
    assertPrecondition(resources, row.version)
    if (!change) return row
    const changed = await writeChange(resources, by, row, change)
    if (changed) return changed
  }
  throw writeConflict()
}

/**
 * The second half alone, for a user who was just read for another reason. Throws 409 if another change was
 * faster.
 */
export async function applyChange(
  resources: Resources,
  by: Authority,
  row: User,
  change: Change,
): Promise<User> {
  assertPrecondition(resources, row.version)
  const changed = await writeChange(resources, by, row, change)
  if (!changed) throw writeConflict()
  return changed
}

/** Undefined when the user has changed since `row` was read. */
async function writeChange(
  resources: Resources,
  by: Authority,
  row: User,
  change: Change,
): Promise<User | undefined> {
  const { batch, isDone, conclude, doubts } = prepareChange(resources, by, row, change)
  return conclude(await whileDoubting(resources, doubts, () => resources.db.writeBatch(batch, isDone)))
}

/**
 * The statements of a change, and the function that turns their results into the user. It returns undefined
 * or throws as `writeChange` does.
 */
export function prepareChange(resources: Resources, by: Authority, row: User, change: Change) {
  const { now } = resources
  const { unless = {} } = change
  const set = {
    ...change.set,
    ...(typeof change.set.name === 'string' && { name_fold: nameFold(change.set.name) }),
    version: sql`${users.version} + 1`,
    updated_at: now,
    ...(change.set.failed_logins === 0 && NO_FAILURES),
    ...(change.endsTokens && { token_epoch: sql`${users.token_epoch} + 1` }),
    // Another password, or none, makes every known device unknown, a thief's too.
    ...((change.forgetsDevices || change.voidsWaysIn || change.set.password_hash !== undefined) && {
      device_epoch: sql`${users.device_epoch} + 1`,
    }),
  }
  const isAsRead = and(
    eq(users.id, row.id),
    change.reliesOn ?? and(eq(users.version, row.version), eq(users.token_epoch, row.token_epoch)),
    // Other changes meanwhile only matter to a caller who named a version.
    resources.ifMatch && eq(users.version, row.version),
  )
  const isThere = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${isAsRead})`
  const isTaken = needsFreeEmail(row, change)
  const isOthersId = needsFreeExternalId(row, change)
  const mayAsk = and(
    isThere,
    by.holds,
    takesAdminAway(row, change) ? anotherAdminRemains(resources.config, now, row.id) : undefined,
    sql`NOT ${isTaken} AND NOT ${isOthersId}`,
    ...Object.values(unless).map(({ is }) => sql`NOT ${is}`),
  )!
  const asked = change.asksFor?.(mayAsk)
  const mayChange = asked ? sql`${mayAsk} AND ${asked.request.mayAsk}` : mayAsk
  const event = {
    id: uuidv7(),
    action: change.action,
    userId: row.id,
    actorId: by.actorId,
    ...(change.details && { details: change.details }),
  }
  const isDone = rowExists(activityLogs, event.id)
  const isThis = and(eq(users.id, row.id), isDone)
  const askedMail = asked?.enqueue(isDone)
  const mails = [...(askedMail ? [askedMail] : []), ...(change.mails?.(isDone, event.id) ?? [])]
  const changesRole = (change.set.role ?? row.role) !== row.role
  const way = freeAddress(resources, by.actorId, row, change, isDone)
  const batch = {
    sessions: change.erases ? idsOfOpenSessions(row.id) : NOBODY,
    count: asked?.request.count ?? [],
    history: record(resources, event, mayChange),
    way: way.statements,
    squatter: way.squatter,
    change: change.leavesUser
      ? []
      : change.erases
        ? eraseUser(resources, row, isDone)
        : [build.update(users).set(set).where(isThis)],
    consequences: consequences(resources, by.actorId, row, change, isDone),
    unchecked: recordUnchecked(resources, change.set.password_hash, row.id, isDone),
    spending: by.spend ? [by.spend(isDone)] : [],
    also: change.alsoWrite?.(isDone) ?? [],
    mails: mails.flatMap(({ statements }) => statements),
    countMade: asked && askedMail ? [asked.request.countMade(askedMail.mailId)] : [],
    ...(asked && { mailing: asked.request.verdict }),
    user: selectUsers().where(eq(users.id, row.id)),
    ...(change.endsSessions || change.alsoWrite || changesRole ? { owed: selectIsOwed() } : {}),
    verdict: sql<Verdict>`SELECT ${isDone} AS is_done, ${by.holds} AS holds, ${isThere} AS is_as_read, ${isTaken} AS is_taken, ${isOthersId} AS is_others_id,
      json_object(${sql.join(
        Object.entries(unless).map(([name, { is }]) => sql`${name}, ${is}`),
        sql`, `,
      )}) AS obstacles`,
  }
  type Found = Pick<Results<typeof batch>, 'sessions' | 'squatter' | 'user' | 'verdict' | 'mailing' | 'owed'>
  const conclude = async (found: Found): Promise<User | undefined> => {
    const { sessions, squatter, user, verdict, mailing, owed } = found
    const { is_done, holds, is_as_read, is_taken, is_others_id, obstacles } = verdict[0]!
    if (is_done) {
      // Copies of an erased user must go.
      const ended = {
        users: squatter.map(({ id }) => id),
        sessions: sessions.map(({ id }) => id),
        also: change.erases ? erasureForLedger(resources, row) : undefined,
      }
      await publishDoubts(resources, ended)
      sendAfterwards(resources, ...mails.map(({ mailId }) => mailId))
      if (owed?.[0]?.is_owed) resources.afterwards(resources.deliverOwed())
      return user[0] ?? row
    }
    if (!holds) throw by.refused()
    if (!is_as_read) return undefined
    const standing = JSON.parse(obstacles) as Record<string, number>
    for (const [name, { refused }] of Object.entries(unless))
      if (standing[name]) throw refused(standing[name])
    if (is_taken) throw emailTaken()
    if (is_others_id) throw externalIdTaken()
    if (asked && mailing) asked.request.assertAllowed(mailing)
    throw lastAdmin()
  }
  const isNothingNear = change.leavesUser && !change.endsSessions
  const doubts = isNothingNear ? {} : { users: [row.id], clients: change.changesClients ?? [] }
  return { batch, isDone, conclude, doubts }
}

type Verdict = Record<'is_done' | 'holds' | 'is_as_read' | 'is_taken' | 'is_others_id', 0 | 1> & {
  /** The values of `unless` by their names, as JSON. */
  obstacles: string
}

const takesAdminAway = (row: User, { set, erases }: Change) =>
  row.role === 'admin' &&
  row.state === 'active' &&
  (erases === true ||
    (set.role ?? 'admin') !== 'admin' ||
    (set.status ?? 'active') !== 'active' ||
    (set.deleted_at ?? null) !== null)

/** Ends an expired disabling: a change by the system, with its own row of history. */
export const endDisabling = (
  resources: Resources,
  userId: string,
  condition: SQL,
): [change: Statement, history: Statement] => {
  const id = uuidv7()
  const isDisabled = sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${userId} AND status = 'disabled' AND ${condition})`
  const event = { id, action: 'user.enabled', userId, actorId: null, details: { reason: 'until' } } as const
  return [
    record(resources, event, isDisabled),
    build
      .update(users)
      .set({ ...ENABLED, version: sql`${users.version} + 1`, updated_at: resources.now })
      .where(and(eq(users.id, userId), rowExists(activityLogs, id))),
  ]
}
