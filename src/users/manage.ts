import { and, eq, isNull, type SQL } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { hasPermission, outranks, requireRecentLogin } from '../access/permissions.ts'
import type { Action } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import { forbidden, invalidToken, wrongPassword } from '../auth/errors.ts'
import type { Session } from '../auth/schemas.ts'
import type { Resources } from '../context.ts'
import {
  build,
  insertWhere,
  isUniqueViolation,
  type Places,
  prepare,
  rowExists,
  type Statement,
  type Written,
} from '../database/main.ts'
import type { List } from '../http/pagination.ts'
import { invalidInput } from '../http/problem.ts'
import { openIdempotency, type Repeatable, recalled } from '../idempotency/service.ts'
import { invitations } from '../invitations/models.ts'
import { outbox } from '../mail/models.ts'
import { oweLink, sendAfterwards } from '../mail/outbox.ts'
import { checkPassword, findPasswordWeakness, hashPassword } from '../passwords/hashing.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { actorStands } from '../sessions/revocation.ts'
import { openSessionsOf, toSessionList } from '../sessions/service.ts'
import { openAttempt } from '../throttle/service.ts'
import { normalizeEmail } from '../values/email.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { applyChange, byActor, type Change, changeUser } from './change.ts'
import { emailTaken, outranked, ownAccount, untilInThePast, userDeleted, userNotFound } from './errors.ts'
import {
  ENABLED,
  type NewUser,
  type Profile,
  profileColumns,
  type Role,
  type User as UserRow,
  userColumns,
  users,
} from './models.ts'
import type { CreateUser, DisableUser, ManagedUser, UpdateMe, UpdateUser, User } from './schemas.ts'

export const selectUsers = () => build.select(userColumns).from(users)

/** What anybody who may see a person sees. An allow-list: a new column is private until it is named here. */
export const toUser = (row: Profile): User => ({
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

export const toManagedUser = (row: Profile): ManagedUser => ({
  ...toUser(row),
  disabled_reason: row.disabled_reason,
  disabled_until: toTimeOrNull(row.disabled_until),
  deleted_at: toTimeOrNull(row.deleted_at),
})

/** Neither deleted nor disabled, or no longer disabled. The same in SQL: `userMayBeHere`. */
export const mayBeHere = (row: UserRow, now: number) =>
  row.state === 'active' ||
  (row.state === 'disabled' && row.disabled_until !== null && row.disabled_until <= now)

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

/** A new person's row, with the password hashed. Throws 422 for a weak one. */
export async function makeUserRow(
  resources: Resources,
  input: { email: string; name: string; password: string; role: Role },
  emailVerifiedAt: number | null = null,
) {
  const { now } = resources
  return {
    id: uuidv7(),
    email: input.email,
    email_normalized: normalizeEmail(input.email),
    name: input.name,
    password_hash: await hashNewPassword(resources, input.password, input),
    role: input.role,
    status: 'active',
    disabled_reason: null,
    disabled_until: null,
    email_verified_at: emailVerifiedAt,
    version: 1,
    token_epoch: 0,
    failed_logins: 0,
    created_at: now,
    updated_at: now,
    last_login_at: null,
    deleted_at: null,
  } as const satisfies NewUser
}

export const userExists = (id: string): SQL => rowExists(users, id)

/** The mail by which somebody confirms that the address of their account is theirs. */
export const oweVerification = (
  resources: Resources,
  { id, email }: Pick<UserRow, 'id' | 'email'>,
  condition: SQL,
) =>
  oweLink(
    resources,
    { kind: 'verify_email', subjectId: id, email, emailNormalized: normalizeEmail(email) },
    condition,
  )

/**
 * Makes a person, by somebody who may: account, history, idempotency key and the mail that asks them to confirm
 * their address, in one batch.
 *
 * @throws 409 `email_taken`; 422 for a weak password or a key used for something else; 403 `outranked`, and
 * `reauthentication_required` for a role above `user`.
 */
export async function createUser(
  resources: Resources,
  input: CreateUser,
  request: Repeatable | undefined,
  actor: Claims,
): Promise<ManagedUser> {
  if (!outranks(actor.role, input.role)) throw outranked()
  if (input.role !== 'user') requireRecentLogin(actor, resources.now)
  const row = await makeUserRow(resources, input)
  const answer = toManagedUser({ ...row, state: row.status })
  const once = openIdempotency(resources, request, row.id, answer, actorStands(actor, resources.now))
  const verification = oweVerification(resources, row, userExists(row.id))
  const results = await insertUser(resources, row, once.isFirst, {
    action: 'user.created',
    actorId: actor.sub,
    before: once.claim,
    after: [...verification.statements, ...once.recall],
  })
  sendAfterwards(resources, verification.mailId)
  return recalled(request, request && results.at(-1), answer)
}

/** The batch that makes a person, if `condition` holds. Throws 409 `email_taken`. */
export async function insertUser(
  resources: Resources,
  row: Awaited<ReturnType<typeof makeUserRow>>,
  condition: SQL,
  about: { action: Action; actorId: string; before?: Statement[]; after: Statement[] },
): Promise<Written[]> {
  const event = { action: about.action, userId: row.id, actorId: about.actorId, details: { role: row.role } }
  try {
    return await resources.db.writeBatch([
      ...(about.before ?? []),
      insertWhere(users, row, condition),
      record(resources, event),
      ...adoptInvitations(row.id, row.email_normalized, row.created_at),
      ...about.after,
    ])
  } catch (error) {
    throw isUniqueViolation(error, 'users.email_normalized') ? emailTaken() : error
  }
}

/** Who has an account by now needs no invitation to one; what was sent of it is theirs, and goes with them. */
const adoptInvitations = (userId: string, emailNormalized: string, now: number): Statement[] => [
  build
    .update(invitations)
    .set({ user_id: userId, withdrawn_at: now })
    .where(
      and(
        eq(invitations.email_normalized, emailNormalized),
        isNull(invitations.accepted_at),
        isNull(invitations.withdrawn_at),
        userExists(userId),
      ),
    ),
  build
    .update(outbox)
    .set({ user_id: userId })
    .where(and(eq(outbox.recipient_normalized, emailNormalized), isNull(outbox.user_id), userExists(userId))),
]

const readUser = prepare(({ id }: Places<{ id: string }>) => [selectUsers().where(eq(users.id, id))])

/** Reads a person, deleted or not. Throws 404. */
export async function requireUser({ db }: Resources, id: string): Promise<UserRow> {
  const [[row]] = await db.read(...readUser({ id }))
  if (!row) throw userNotFound()
  return row
}

/** The deleted are there for whoever may delete, and for nobody else. Throws 404. */
function assertVisible(actor: Claims, row: Pick<UserRow, 'deleted_at'>): void {
  if (row.deleted_at !== null && !hasPermission(actor.role, 'users:delete')) throw userNotFound()
}

const readProfile = prepare(({ id }: Places<{ id: string }>) => [
  build.select(profileColumns).from(users).where(eq(users.id, id)),
])

/** A person, for those who manage people. The deleted are seen by whoever may delete. Throws 404. */
export async function findUser({ db }: Resources, actor: Claims, id: string): Promise<ManagedUser> {
  const [[row]] = await db.read(...readProfile({ id }))
  if (!row) throw userNotFound()
  assertVisible(actor, row)
  return toManagedUser(row)
}

/**
 * What to do to a person, by somebody who manages people. Throws when the rules forbid it: 404 when they must not
 * know of the person, 403 when the person outranks them, or is themselves.
 */
function managing(actor: Claims, decide: (row: UserRow) => Change | undefined) {
  return (row: UserRow): Change | undefined => {
    assertVisible(actor, row)
    if (!outranks(actor.role, row.role)) throw outranked()
    const change = decide(row)
    if (change && row.id === actor.sub && change.endsTokens) throw ownAccount()
    return change
  }
}

/** Changes a person. A new role ends their tokens, which carry the old one; their sessions go on. */
export async function updateUser(
  resources: Resources,
  actor: Claims,
  id: string,
  input: UpdateUser,
  ifMatch?: readonly number[],
): Promise<ManagedUser> {
  const decide = managing(actor, (row) => {
    if (row.deleted_at !== null) throw userDeleted()
    const details = differences(row, input)
    if (Object.keys(details).length === 0) return undefined
    if (details.role && !outranks(actor.role, input.role!)) throw outranked()
    if (details.role) requireRecentLogin(actor, resources.now)
    const email = details.email && { email_normalized: normalizeEmail(input.email!), email_verified_at: null }
    return {
      action: details.role ? 'user.role_changed' : 'user.updated',
      set: { ...input, ...email },
      details,
      endsTokens: details.role !== undefined,
      alsoWrite: (isDone) => {
        if (!email) return []
        const verification = oweVerification(resources, { id, email: input.email! }, isDone)
        sendAfterwards(resources, verification.mailId)
        return verification.statements
      },
    }
  })
  return toManagedUser(await changeUser(resources, byActor(actor, resources.now), id, decide, ifMatch))
}

export async function updateMe(
  resources: Resources,
  actor: Claims,
  input: UpdateMe,
  ifMatch?: readonly number[],
): Promise<User> {
  const decide = (row: UserRow): Change | undefined => {
    const details = differences(row, input)
    return Object.keys(details).length === 0 ? undefined : { action: 'user.updated', set: input, details }
  }
  return toUser(await changeUser(resources, byActor(actor, resources.now), actor.sub, decide, ifMatch))
}

/** `{ name: { from, to } }` for each member that would change. */
function differences(
  row: UserRow,
  input: UpdateUser | UpdateMe,
): Partial<Record<'email' | 'name' | 'role', { from: unknown; to: unknown }>> {
  const changed = Object.entries(input).filter(([name, value]) => row[name as keyof UserRow] !== value)
  return Object.fromEntries(changed.map(([name, to]) => [name, { from: row[name as keyof UserRow], to }]))
}

/** Shuts a person out, for good or until a time: no login, no session, no token. */
export async function disableUser(
  resources: Resources,
  actor: Claims,
  id: string,
  input: DisableUser,
): Promise<ManagedUser> {
  const until = input.until ?? null
  if (until !== null && until <= resources.now) throw untilInThePast()
  const decide = managing(actor, (row) => {
    if (row.deleted_at !== null) throw userDeleted()
    const isSame =
      row.status === 'disabled' && row.disabled_reason === input.reason && row.disabled_until === until
    if (isSame) return undefined
    return {
      action: 'user.disabled',
      set: { status: 'disabled', disabled_reason: input.reason, disabled_until: until },
      details: { reason: input.reason, until: toTimeOrNull(until) },
      endsTokens: true,
      endsSessions: { reason: 'account_closed' },
    }
  })
  return toManagedUser(await changeUser(resources, byActor(actor, resources.now), id, decide))
}

export async function enableUser(resources: Resources, actor: Claims, id: string): Promise<ManagedUser> {
  const decide = managing(actor, (row) => {
    if (row.deleted_at !== null) throw userDeleted()
    return row.status === 'active' ? undefined : { action: 'user.enabled', set: ENABLED }
  })
  return toManagedUser(await changeUser(resources, byActor(actor, resources.now), id, decide))
}

const softDelete = (now: number): Change => ({
  action: 'user.deleted',
  set: { deleted_at: now },
  endsTokens: true,
  endsSessions: { reason: 'account_closed' },
})

/** Soft: the person is gone for everybody but those who may restore them. Again and again the same. */
export async function deleteUser(resources: Resources, actor: Claims, id: string): Promise<void> {
  const decide = managing(actor, (row) => (row.deleted_at === null ? softDelete(resources.now) : undefined))
  await changeUser(resources, byActor(actor, resources.now), id, decide)
}

/** Hard: no personal datum is left anywhere; the history stays, pseudonymous. */
export async function purgeUser(resources: Resources, actor: Claims, id: string): Promise<void> {
  if (!hasPermission(actor.role, 'users:purge')) throw forbidden()
  requireRecentLogin(actor, resources.now)
  const purge: Change = {
    action: 'user.purged',
    set: {},
    erases: true,
    endsTokens: true,
    endsSessions: { reason: 'account_closed' },
  }
  await changeUser(
    resources,
    byActor(actor, resources.now),
    id,
    managing(actor, () => purge),
  )
}

/** Brings a soft-deleted person back as they were, without their sessions. Throws 409 `email_taken`. */
export async function restoreUser(resources: Resources, actor: Claims, id: string): Promise<ManagedUser> {
  const decide = managing(actor, (row) =>
    row.deleted_at === null ? undefined : { action: 'user.restored', set: { deleted_at: null } },
  )
  return toManagedUser(await changeUser(resources, byActor(actor, resources.now), id, decide))
}

/** Leaving: soft, and on the person's own password. */
export async function deleteMe(resources: Resources, actor: Claims, password: string): Promise<void> {
  const own = await requireOwnPassword(resources, actor, password)
  await applyChange(resources, byActor(actor, resources.now), own.row, {
    ...softDelete(resources.now),
    alsoWrite: () => own.clearAttempts,
  })
}

/**
 * Checks the password of somebody who is signed in already; guesses are counted as they are at login.
 *
 * @returns the person, and the statements that clear the count, for the batch of the change.
 * @throws 403 `wrong_password`, 429 `too_many_attempts`.
 */
export async function requireOwnPassword(
  resources: Resources,
  actor: Claims,
  password: string,
): Promise<{ row: UserRow; clearAttempts: Statement[] }> {
  const self = eq(users.id, actor.sub)
  const attempt = openAttempt(resources, actor.sub, self)
  const results = await resources.db.writeBatch([...attempt.count, selectUsers().where(self)])
  const isOpen = attempt.isOpen(results)
  const row = results.at(-1)!.rows[0] as unknown as UserRow | undefined
  if (!row) throw invalidToken()
  const stored = isOpen ? row.password_hash : null
  const { isRight } = await checkPassword(password, stored, resources.config.keys.password_pepper)
  if (!isRight) throw wrongPassword()
  return { row, clearAttempts: attempt.clear }
}

/** The sessions that a person has open. Throws 404. */
export async function listSessionsOf(
  { db, now }: Resources,
  actor: Claims,
  id: string,
): Promise<List<Session>> {
  const [rows, [person]] = await db.read(openSessionsOf(id, now), ...readProfile({ id }))
  if (!person) throw userNotFound()
  assertVisible(actor, person)
  return toSessionList(rows)
}

/** Ends every session of a person, and every token with them. */
export async function endSessionsOf(resources: Resources, actor: Claims, id: string): Promise<void> {
  const end: Change = {
    action: 'sessions.ended',
    set: {},
    endsTokens: true,
    endsSessions: { reason: 'ended' },
  }
  await changeUser(resources, byActor(actor, resources.now), id, (row) => {
    assertVisible(actor, row)
    if (row.id !== actor.sub && !outranks(actor.role, row.role)) throw outranked()
    return end
  })
}
