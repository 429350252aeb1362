import { and, sql } from 'drizzle-orm'
import { forbidden, insufficientScope } from '../../access/errors.ts'
import { requireRecentLogin } from '../../access/guards.ts'
import { actsByPermission, allows, outranks } from '../../access/permissions.ts'
import { record } from '../../activity/service.ts'
import { invalidInput } from '../../http/problem.ts'
import { TAKES_BACK } from '../../links/models.ts'
import { linkIsLive } from '../../links/service.ts'
import { normalizeEmail } from '../../values/email.ts'
import { toTimeOrNull } from '../../values/ids.ts'
import { type Acting, type Decision, isSamePerson } from '../change.ts'
import { type Change, NO_PASSWORD } from '../consequences.ts'
import { canBeReopened, findEarlierEmail, restoringEarlierEmail } from '../earlier-email.ts'
import {
  addressNotVerified,
  noEarlierEmail,
  outranked,
  ownAccount,
  untilInThePast,
  userDeleted,
} from '../errors.ts'
import { ENABLED, isRaise, type User, users } from '../models.ts'
import { assertVisible } from '../queries.ts'
import type { DisableUser, UpdateUser } from '../schemas.ts'
import { disown, selectServicesOf } from './disowning.ts'
import { addressChangeNotices, mailOnRequest, noticeTo, selectAdminsToTell, toMails } from './notices.ts'

/*
 * What may be done to users, as decisions for `changeUser`: each looks at the user as read, and returns the
 * change.
 */

/**
 * A decision about somebody else. Throws if the rules forbid it: 404 if the actor must not know of the user,
 * 403 for the actor's own account or a user who outranks the actor.
 */
const managing =
  ({ actor }: Acting, decide: Decision): Decision =>
  (row) => {
    assertVisible(actor, row)
    if (row.id === actor.sub) throw ownAccount()
    if (!outranks(actor.role, row.role)) throw outranked()
    return decide(row)
  }

/** The same for a user who is not deleted. Also throws 409 `user_deleted`. */
export const managingLiving = (acting: Acting, decide: Decision): Decision =>
  managing(acting, (row) => {
    if (row.deleted_at !== null) throw userDeleted()
    return decide(row)
  })

/**
 * Changes details. A new role revokes the user's access tokens, which carry the old one; their sessions go
 * on. A new address is unverified and ends sessions and links. The old address is told, with a link to undo the change.
 * `revoke_old` says that a thief has the old address: then there is no such link, whatever they know or have added
 * opens nothing, and what they may have set up in the owner's name ends. The owner sets a new password by the mail to the
 * new address; without mail the old one stays.
 *
 * @throws 403 `outranked`, `reauthentication_required`, and `forbidden` for `revoke_old` by a manager; 409
 *   `address_not_verified` for a higher role while the address is unproved; 429 if the limit of mails is
 *   reached for the new address or the manager.
 */
export function updating(acting: Acting, { revoke_old: revokesOld = false, ...input }: UpdateUser): Decision {
  const { actor, now } = acting
  if (revokesOld && actor.role !== 'admin') throw forbidden()
  return managingLiving(acting, async (row) => {
    const moves = input.email !== undefined && normalizeEmail(input.email) !== row.email_normalized
    // Nothing would be revoked, and whoever mends a takeover would take it for done.
    if (revokesOld && !moves)
      throw invalidInput([{ pointer: '/email', code: 'unchanged', detail: 'This is already the address.' }])
    const details = differences(row, input)
    if (Object.keys(details).length === 0) return undefined
    const { role, ...others } = details
    if (role || moves) requireRecentLogin(actor, now)
    if (role) assertMayGive(acting, row, input.role!, { isProved: row.email_verified_at !== null && !moves })
    const isAsJudged = and(
      isSamePerson(row),
      role && isRaise(row.role, input.role!) ? isStillProved(row) : undefined,
      // The history says what it was. Only those who manage change it, so no user can prevent this in a loop.
      details.external_id && sql`${users.external_id} IS ${row.external_id}`,
    )!
    const roleNotice = role ? noticeTo(acting, 'role_changed', row) : []
    if (!moves) {
      const action = role ? 'user.role_changed' : 'user.updated'
      return {
        action,
        set: input,
        details: asWritten(row, details),
        // Not conditional on the version: a user who renames themselves in a loop must not prevent being
        // renamed.
        reliesOn: isAsJudged,
        ...(role && { endsTokens: true }),
        mails: toMails(roleNotice),
      }
    }
    const email = input.email!
    const email_normalized = normalizeEmail(email)
    const { admins, services } = revokesOld
      ? await acting.db.read({
          admins: selectAdminsToTell([actor.sub, row.id]),
          services: selectServicesOf(row.id),
        })
      : { admins: [], services: [] }
    const roleChanged = {
      action: 'user.role_changed',
      userId: row.id,
      actorId: actor.sub,
      details: { role },
    } as const
    return {
      action: 'email.changed',
      reliesOn: isAsJudged,
      set: {
        ...input,
        email_normalized,
        email_verified_at: null,
        ...(revokesOld && acting.send && NO_PASSWORD),
      },
      details: asWritten(row, { ...others, ...(revokesOld && { revoke_old: true }) }),
      endsTokens: true,
      endsSessions: { reason: 'ended' },
      voidsWaysIn: revokesOld,
      voids: revokesOld ? TAKES_BACK : ['verify_email'],
      changesClients: services.map(({ id }) => id),
      alsoWrite: (isDone) => [
        ...(role ? [record(acting, roleChanged, isDone)] : []),
        ...(revokesOld ? disown(acting, row.id, isDone) : []),
      ],
      ...(acting.send && {
        asksFor: mailOnRequest(acting, 'verify_email_by_admin', { id: row.id, email, email_normalized }),
      }),
      mails: toMails([...addressChangeNotices(acting, row, email, { revokesOld, admins }), ...roleNotice]),
    }
  })
}

const isStillProved = ({ email_verified_at }: User) => sql`${users.email_verified_at} IS ${email_verified_at}`

/** The details; the former name is read at the time of the write. */
const asWritten = (row: User, details: ReturnType<typeof differences> & { revoke_old?: boolean }) =>
  details.name
    ? sql`json_set(${JSON.stringify(details)}, '$.name.from', (SELECT name FROM ${users} WHERE id = ${row.id}))`
    : details

/** Throws 403 `outranked`, 409 `address_not_verified`. */
function assertMayGive(
  { actor }: Acting,
  row: User,
  role: User['role'],
  { isProved }: { isProved: boolean },
) {
  if (!outranks(actor.role, role)) throw outranked()
  if (isRaise(row.role, role) && !isProved) throw addressNotVerified()
}

/** Private values are not in the history: it only says that they were changed. */
const UNTOLD = new Set(['metadata', 'admin_metadata'])
type Told = 'email' | 'name' | 'role' | 'locale' | 'external_id'
type Differences = Partial<
  Record<Told, { from: unknown; to: unknown }> & Record<'metadata' | 'admin_metadata', true>
>

/** `{ name: { from, to } }` for each member that would change. */
export function differences(row: User, input: Omit<UpdateUser, 'revoke_old'>): Differences {
  const changed = Object.entries(input).filter(([name, value]) => row[name as keyof User] !== value)
  return Object.fromEntries(
    changed.map(([name, to]) => [name, UNTOLD.has(name) || { from: row[name as keyof User], to }]),
  )
}

/**
 * Disables a user, for good or until a time: no login, no session, no token. The user is told. Throws 422
 * `until_in_the_past`. An earlier end for somebody who is disabled lets them in sooner, so it needs what enabling needs.
 */
export function disabling(acting: Acting, { reason, ...input }: DisableUser): Decision {
  const until = input.until ?? null
  if (until !== null && until <= acting.now) throw untilInThePast()
  return managingLiving(acting, (row) => {
    const isSame = row.status === 'disabled' && row.disabled_reason === reason && row.disabled_until === until
    if (isSame) return undefined
    const isDisabled = row.status === 'disabled'
    if (isDisabled && (until ?? Infinity) < (row.disabled_until ?? Infinity))
      requireRecentLogin(acting.actor, acting.now)
    return {
      action: 'user.disabled',
      reliesOn: and(
        isSamePerson(row),
        isDisabled ? sql`${users.disabled_until} IS ${row.disabled_until}` : undefined,
      )!,
      set: { status: 'disabled', disabled_reason: reason, disabled_until: until },
      details: { reason, until: toTimeOrNull(until) },
      endsTokens: true,
      endsSessions: { reason: 'account_closed' },
      mails: toMails(noticeTo(acting, 'account_disabled', row)),
    }
  })
}

/** Enables a disabled user. Needs a recent login, and the user is told. */
export const enabling = (acting: Acting): Decision =>
  managingLiving(acting, (row) => {
    if (row.status === 'active') return undefined
    requireRecentLogin(acting.actor, acting.now)
    return {
      action: 'user.enabled',
      reliesOn: isSamePerson(row),
      set: ENABLED,
      mails: toMails(noticeTo(acting, 'account_enabled', row)),
    }
  })

/** Unlocks the password and the authenticator app of an account, which a hundred failures had locked. */
export const unlocking = (acting: Acting): Decision =>
  managingLiving(acting, (row) =>
    row.failed_logins === 0 && row.failed_factors === 0
      ? undefined
      : {
          action: 'user.unlocked',
          reliesOn: isSamePerson(row),
          set: { failed_logins: 0, failed_factors: 0 },
        },
  )

/** Soft deletion: the user disappears for everybody but those who may restore them. */
export const softDeletion = (row: User, now: number): Change => ({
  action: 'user.deleted',
  reliesOn: isSamePerson(row),
  set: { deleted_at: now },
  endsTokens: true,
  endsSessions: { reason: 'account_closed' },
})

/** Hard deletion: no personal data is left anywhere; the history stays, pseudonymous. */
export const hardDeletion = (row: User): Change => ({
  action: 'user.purged',
  reliesOn: isSamePerson(row),
  set: {},
  erases: true,
  endsTokens: true,
  endsSessions: { reason: 'account_closed' },
})

/** Checked here as well as at the route: pages and bulk actions do not use the route. */
function requireToDelete({ actor }: Acting) {
  if (actor.key) throw insufficientScope()
  if (!allows(actor, 'users:delete')) throw forbidden()
}

/**
 * Deletes softly, and the user is told. A user deleted by a manager cannot come back by an older mail: of one who has
 * closed the account already, those links become void, and nothing else changes.
 */
export function deleting(acting: Acting): Decision {
  requireToDelete(acting)
  return managing(acting, async (row) => {
    if (row.deleted_at === null)
      return {
        ...softDeletion(row, acting.now),
        voids: TAKES_BACK,
        mails: toMails(noticeTo(acting, 'account_deleted', row)),
      }
    if (!(await canBeReopened(acting, row.id))) return undefined
    return {
      action: 'user.deleted',
      reliesOn: isSamePerson(row),
      set: {},
      leavesUser: true,
      voids: TAKES_BACK,
    }
  })
}

/** Deletes for good; needs a recent login. */
export function purging(acting: Acting): Decision {
  const { actor, now } = acting
  if (!allows(actor, 'users:purge')) throw forbidden()
  requireRecentLogin(actor, now)
  return managing(acting, hardDeletion)
}

/**
 * Restores a soft-deleted user, without their sessions and keys. Needs a recent login, and the user is
 * told. An account that has since taken their proved address without proving it gives way; otherwise 409
 * `email_taken`.
 *
 * With `earlier_email` the account goes back to the owner before its address was changed, who chooses a new
 * password: a thief who took over the account may have closed it. Throws 409 `no_earlier_email` if there is
 * no such address.
 */
export function restoring(acting: Acting, { earlier_email: isEarlier = false } = {}): Decision {
  requireToDelete(acting)
  return managing(acting, async (row) => {
    if (row.deleted_at === null) return undefined
    requireRecentLogin(acting.actor, acting.now)
    if (!isEarlier) {
      const mails = toMails(noticeTo(acting, 'account_restored', row))
      const reliesOn = and(isSamePerson(row), isStillProved(row))!
      return { action: 'user.restored', reliesOn, set: { deleted_at: null }, mails }
    }
    // It changes how an account is entered, which is for nobody's device.
    if (actsByPermission(acting.actor)) throw insufficientScope()
    const earlier = await findEarlierEmail(acting, row)
    if (!earlier) throw noEarlierEmail()
    const change = restoringEarlierEmail(acting, row, earlier)
    const event = {
      action: 'email.change_undone',
      userId: row.id,
      actorId: acting.actor.sub,
      details: { email: { from: row.email, to: earlier.email } },
    } as const
    return {
      ...change,
      action: 'user.restored',
      reliesOn: sql`${isSamePerson(row)} AND ${linkIsLive(earlier.id)}`,
      alsoWrite: (isDone) => [...change.alsoWrite(isDone), record(acting, event, isDone)],
      mails: toMails(noticeTo(acting, 'account_restored', { ...row, ...change.set })),
    }
  })
}

/**
 * Ends every session of somebody else, and every access token with them. One's own end by `logout_all`, which forgets the
 * cookie too.
 */
export const endingSessions = (acting: Acting): Decision =>
  managing(acting, (row) => ({
    action: 'sessions.ended',
    set: {},
    reliesOn: isSamePerson(row),
    endsTokens: true,
    forgetsDevices: true,
    endsSessions: { reason: 'ended' },
  }))
