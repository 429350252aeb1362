import { forbidden } from '../access/errors.ts'
import { requireRecentLogin } from '../access/guards.ts'
import { hasPermission, outranks } from '../access/permissions.ts'
import type { Resources } from '../context.ts'
import type { List } from '../http/pagination.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { requireOwnPassword } from '../passwords/service.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import type { Session } from '../sessions/schemas.ts'
import { openSessionsOf, toSessionList } from '../sessions/service.ts'
import { normalizeEmail } from '../values/email.ts'
import { toTimeOrNull } from '../values/ids.ts'
import { applyChange, byActor, type Change, changeUser, isSamePerson } from './change.ts'
import { enqueueVerification } from './create.ts'
import { outranked, ownAccount, untilInThePast, userDeleted, userNotFound } from './errors.ts'
import { ENABLED, type User as UserRow } from './models.ts'
import { readProfile } from './queries.ts'
import type { DisableUser, ManagedUser, UpdateMe, UpdateUser, User } from './schemas.ts'
import { toManagedUser, toUser } from './schemas.ts'

/** The deleted are there for whoever may delete, and for nobody else. Throws 404. */
function assertVisible(actor: Claims, row: Pick<UserRow, 'deleted_at'>): void {
  if (row.deleted_at !== null && !hasPermission(actor.role, 'users:delete')) throw userNotFound()
}

/** A person, for those who manage people. The deleted are seen by whoever may delete. Throws 404. */
export async function findUser({ db }: Resources, actor: Claims, id: string): Promise<ManagedUser> {
  const {
    profile: [row],
  } = await db.read(readProfile({ id }))
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
        const verification = enqueueVerification(resources, { id, email: input.email! }, isDone)
        sendAfterwards(resources, verification.mailId)
        return verification.statements
      },
    }
  })
  return toManagedUser(await changeUser(resources, byActor(actor, resources.now), id, decide))
}

export async function updateMe(resources: Resources, actor: Claims, input: UpdateMe): Promise<User> {
  const decide = (row: UserRow): Change | undefined => {
    const details = differences(row, input)
    return Object.keys(details).length === 0 ? undefined : { action: 'user.updated', set: input, details }
  }
  return toUser(await changeUser(resources, byActor(actor, resources.now), actor.sub, decide))
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

/** The sessions that a person has open. Throws 404. */
export async function listSessionsOf(
  { db, now }: Resources,
  actor: Claims,
  id: string,
): Promise<List<Session>> {
  const {
    sessions,
    profile: [user],
  } = await db.read({ sessions: openSessionsOf(id, now), ...readProfile({ id }) })
  if (!user) throw userNotFound()
  assertVisible(actor, user)
  return toSessionList(sessions)
}

/** Ends every session of a person, and every token with them. */
export async function endSessionsOf(resources: Resources, actor: Claims, id: string): Promise<void> {
  const end = {
    action: 'sessions.ended',
    set: {},
    endsTokens: true,
    endsSessions: { reason: 'ended' },
  } satisfies Change
  await changeUser(resources, byActor(actor, resources.now), id, (row) => {
    assertVisible(actor, row)
    if (row.id !== actor.sub && !outranks(actor.role, row.role)) throw outranked()
    return { ...end, reliesOn: isSamePerson(row) }
  })
}
