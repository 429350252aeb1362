import { and, eq, getTableColumns, isNotNull, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { record } from '../activity/service.ts'
import type { Action } from '../activity/models.ts'
import { openIdempotency, type Repeatable, recalled } from '../auth/idempotency.ts'
import { checkPassword, findPasswordWeakness, hashPassword } from '../auth/passwords.ts'
import { hasPermission, outranks } from '../auth/permissions.ts'
import { actorStands, publishRevocations } from '../auth/revocation.ts'
import { revokeSessions, sessionsOf } from '../auth/sessions.ts'
import { openAttempt } from '../auth/throttle.ts'
import type { Claims } from '../auth/tokens.ts'
import { forbidden, invalidToken, wrongPassword } from '../auth/errors.ts'
import type { Resources } from '../context.ts'
import { build, isUniqueViolation, type Statement } from '../database/main.ts'
import { toTime, toTimeOrNull } from '../ids.ts'
import { invalidInput } from '../problem.ts'
import { normalizeEmail } from './email.ts'
import { emailTaken, lastAdmin, outranked, ownAccount, untilInThePast, userDeleted, userNotFound, versionMismatch, writeConflict } from './errors.ts'
import { type NewUser, type User as UserRow, users } from './models.ts'
import type { CreateUser, DisableUser, ManagedUser, UpdateMe, UpdateUser, User } from './schemas.ts'

const { seq: _seq, facets: _facets, ...userColumns } = getTableColumns(users)
/** Everything about people but what only the search index needs. */
export const selectUsers = () => build.select(userColumns).from(users)

/** What anybody who may see a person sees. An allow-list: a new column is private until it is named here. */
export const toUser = (row: UserRow): User => ({
  id: row.id,
  email: row.email,
  name: row.name,
  role: row.role,
  status: row.state,
  email_verified: row.email_verified_at !== null,
  version: row.version,
  created_at: toTime(row.created_at),
  updated_at: toTime(row.updated_at),
  last_login_at: toTimeOrNull(row.last_login_at),
})

export const toManagedUser = (row: UserRow): ManagedUser => ({
  ...toUser(row),
  disabled_reason: row.disabled_reason,
  disabled_until: toTimeOrNull(row.disabled_until),
  deleted_at: toTimeOrNull(row.deleted_at),
})

/** Every path that sets a password goes through here. Throws 422 for a weak one. */
export async function hashNewPassword(
  { config }: Pick<Resources, 'config'>,
  password: string,
  person: { email: string; name: string },
  pointer = '/password',
): Promise<string> {
  const weakness = findPasswordWeakness(password, person)
  if (weakness) throw invalidInput([{ pointer, code: 'weak_password', detail: `The password ${weakness}.` }])
  return hashPassword(password, config.keys.password_pepper)
}

/**
 * Makes a person: account, history and idempotency key in one batch.
 *
 * @param actor who makes it; undefined when people sign themselves up.
 * @throws 409 `email_taken`; 422 for a weak password or a key used for something else.
 */
export async function createUser(
  resources: Resources,
  input: CreateUser,
  request: Repeatable | undefined,
  actor?: Claims,
): Promise<User> {
  if (actor && !outranks(actor.role, input.role)) throw outranked()
  const { now } = resources
  const row = {
    id: uuidv7(),
    email: input.email,
    email_normalized: normalizeEmail(input.email),
    name: input.name,
    password_hash: await hashNewPassword(resources, input.password, input),
    role: input.role,
    status: 'active',
    version: 1,
    token_epoch: 0,
    failed_logins: 0,
    created_at: now,
    updated_at: now,
  } as const satisfies NewUser
  const blank = { disabled_reason: null, disabled_until: null, email_verified_at: null, last_login_at: null, deleted_at: null }
  const person = { ...blank, ...row, state: row.status }
  const answer = actor ? toManagedUser(person) : toUser(person)
  const once = openIdempotency(resources, request, row.id, answer)
  const mayCreate = actor ? and(once.isFirst, actorStands(actor, now)) : once.isFirst
  try {
    const results = await resources.db.writeBatch([
      ...once.claim,
      insertUserWhere(row, mayCreate ?? sql`1`),
      record(resources, {
        action: actor ? 'user.created' : 'user.signed_up',
        userId: row.id,
        actorId: actor?.sub ?? row.id,
        details: { role: row.role },
      }),
      ...once.recall,
    ])
    return recalled(request, request && results.at(-1), answer)
  } catch (error) {
    throw isUniqueViolation(error, 'users.email_normalized') ? emailTaken() : error
  }
}

/** `INSERT … SELECT … WHERE`: a row that comes to be only under a condition, decided inside the batch. */
export function insertUserWhere(row: NewUser, condition: SQL): SQL {
  const names = sql.join(Object.keys(row).map((name) => sql.identifier(name)), sql`, `)
  const values = sql.join(Object.values(row).map((value) => sql`${value}`), sql`, `)
  return sql`INSERT INTO ${users} (${names}) SELECT ${values} WHERE ${condition}`
}

/** Reads a person, deleted or not. Throws 404. */
export async function requireUser({ db }: Resources, id: string): Promise<UserRow> {
  const [[row]] = await db.read(selectUsers().where(eq(users.id, id)))
  if (!row) throw userNotFound()
  return row
}

/** One's own profile. */
export const findMe = async (resources: Resources, actor: Claims) => toUser(await requireUser(resources, actor.sub))

/** A person, for those who manage people. The deleted are seen by whoever may delete. Throws 404. */
export async function findUser(resources: Resources, actor: Claims, id: string): Promise<ManagedUser> {
  const row = await requireUser(resources, id)
  if (row.deleted_at !== null && !hasPermission(actor.role, 'users:delete')) throw userNotFound()
  return toManagedUser(row)
}

/** A change of one person, and what comes with it. */
interface Change {
  action: Action
  set: Partial<NewUser>
  details?: object
  /** Every token of the person dies. */
  endsTokens?: boolean
  /** Every session of the person dies as well (but perhaps one). */
  endsSessions?: { reason: 'account_closed' | 'password_changed'; exceptId?: string }
  /** Taken out of the row entirely, and out of the history, instead of changed. */
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
  decide: (row: UserRow) => Change | undefined | Promise<Change | undefined>,
  ifMatch?: readonly number[],
): Promise<UserRow> {
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

/** Undefined when the person has changed since `row` was read. */
async function writeChange(resources: Resources, actor: Claims, row: UserRow, change: Change): Promise<UserRow | undefined> {
  const { db, now } = resources
  const epoch = row.token_epoch + (change.endsTokens ? 1 : 0)
  const set = { ...change.set, version: row.version + 1, updated_at: now, token_epoch: epoch }
  const isAsRead = and(eq(users.id, row.id), eq(users.version, row.version), eq(users.token_epoch, row.token_epoch))
  const mayChange = and(isAsRead, actorStands(actor, now), takesAdminAway(row, change) ? anotherAdminRemains(row.id) : undefined)
  const event = { action: change.action, userId: row.id, actorId: actor.sub, ...(change.details && { details: change.details }) }
  const { endsSessions } = change
  try {
    const [changed, , , , state] = await db.writeBatch([
      change.erases
        ? build.delete(users).where(mayChange).returning(userColumns)
        : build.update(users).set(set).where(mayChange).returning(userColumns),
      record(resources, event),
      endsSessions
        ? revokeSessions(now, endsSessions.reason, and(sessionsOf(row.id, endsSessions.exceptId), sql`changes() > 0`))
        : sql`SELECT 1`,
      sql`SELECT 1`,
      sql`SELECT ${actorStands(actor, now)} AS actor_stands, EXISTS (SELECT 1 FROM ${users} WHERE ${isAsRead}) AS is_as_read`,
      ...(change.alsoWrite ?? []),
    ])
    const after = changed!.rows[0] as unknown as UserRow | undefined
    if (after) {
      if (change.endsTokens) resources.afterwards(publishRevocations(resources, { user: { id: row.id, epoch } }))
      return after
    }
    if (!state!.rows[0]!.actor_stands) throw invalidToken(new Error('revoked during the request'))
    if (state!.rows[0]!.is_as_read) throw lastAdmin()
    return undefined
  } catch (error) {
    throw isUniqueViolation(error, 'users.email_normalized') ? emailTaken() : error
  }
}

const takesAdminAway = (row: UserRow, { set, erases }: Change) =>
  row.role === 'admin' &&
  row.state === 'active' &&
  (erases === true || (set.role ?? 'admin') !== 'admin' || (set.status ?? 'active') !== 'active' || (set.deleted_at ?? null) !== null)

const anotherAdminRemains = (id: string) =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE role = 'admin' AND state = 'active' AND id <> ${id})`
