import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { type Action, activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import { apiKeys } from '../api-keys/models.ts'
import type { Resources } from '../context.ts'
import { build, type Statement } from '../database/statements.ts'
import { factors, recoveryCodes } from '../factors/models.ts'
import type { AppError } from '../http/problem.ts'
import { identities } from '../identities/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens, PURPOSES, type Purpose, TAKES_BACK } from '../links/models.ts'
import { voidTokens } from '../links/service.ts'
import type { MailRequested } from '../mail/limits.ts'
import { outbox } from '../mail/models.ts'
import { oauthGrants } from '../oauth/models.ts'
import { passkeys } from '../passkeys/models.ts'
import {
  endCopies,
  endOfflineOf,
  type RevokedReason,
  revokeSessions,
  sessionsOf,
  shortenSessions,
} from '../sessions/service.ts'
import { openTally } from '../throttle/failures.ts'
import { eraseTraces } from './erasure.ts'
import {
  emailIsHeld,
  emailIsTaken,
  externalIdIsTaken,
  isStrangers,
  isUnproved,
  type NewUser,
  type User,
  users,
} from './models.ts'

/** A change of one user, and what comes with it. */
export interface Change {
  action: Action
  set: { [Column in Exclude<keyof NewUser, 'password_hash'>]?: NewUser[Column] | undefined } & {
    /** Or a value that the database works out. */
    password_hash?: SQL | string | null
  }
  /** Nothing about the user moves, not even the version: it is a row of history, and mails. */
  leavesUser?: boolean
  details?: object | SQL
  /** Every token of the user dies. */
  endsTokens?: boolean
  /** The devices that the account knows are strangers again. */
  forgetsDevices?: boolean
  /** Every session of the user dies as well (but perhaps one). */
  endsSessions?: { reason: RevokedReason; exceptId?: string }
  /**
   * What has to be as it was read; the whole user when absent. What ends a takeover relies on no more than
   * `isSamePerson`: whoever renames in a loop must not keep it from coming.
   */
  reliesOn?: SQL | undefined
  /** What forbids it at the moment it is written. */
  unless?: { is: SQL; refused: () => AppError }
  /** Whatever could enter the account so far is void: links too. */
  voidsWaysIn?: boolean
  /** Every key of the user ends, as with an account that is closed. */
  endsKeys?: boolean
  /** Every factor of the user goes, with the recovery codes. */
  removesFactors?: boolean
  /** Links that die, beside those that any change of its kind ends. */
  voids?: readonly Purpose[]
  /** The row is deleted, and with it every personal datum elsewhere. */
  erases?: boolean
  /** The mail that it asks for, and is refused with (429) where that is one too many. */
  asksFor?: AskedFor
  /** Mails that it owes; they go out once it is made. */
  mails?: (isDone: SQL) => readonly OwedMail[]
  /** What else belongs to it; `isDone` is its condition, for what is not harmless without the change. */
  alsoWrite?: (isDone: SQL) => readonly Statement[]
}

/** Given the condition on which the change is asked for at all. */
export type AskedFor = (isAsked: SQL) => { request: MailRequested; enqueue: (isDone: SQL) => OwedMail }

export interface OwedMail {
  mailId: string
  statements: readonly Statement[]
}

/** What takes an account back stays good, whatever a thief does to it. */
const WAYS_IN = PURPOSES.filter((purpose) => !TAKES_BACK.includes(purpose))

/** What follows from the nature of a change, whoever makes it. */
export function consequences(
  resources: Resources,
  actorId: string | null,
  row: User,
  change: Change,
  isDone: SQL,
): Statement[] {
  const { set, endsSessions, erases } = change
  const { now } = resources
  const closes = endsSessions?.reason === 'account_closed'
  const movesCredentials = set.password_hash !== undefined || set.email_normalized !== undefined
  // A link that was asked for before is no way around what has changed since.
  const ended: readonly Purpose[] =
    closes || change.voidsWaysIn === true
      ? WAYS_IN
      : movesCredentials
        ? ['reset_password', 'change_email', 'approve_email_change']
        : []
  // Whoever is locked once more has to be told once more.
  const unlocks: readonly Purpose[] = set.failed_logins === 0 ? ['unlock_account'] : []
  const voided = [...ended, ...unlocks, ...(change.voids ?? [])]
  const { email_normalized } = after(row, change)
  return [
    ...(endsSessions
      ? [revokeSessions(now, endsSessions.reason, and(sessionsOf(row.id, endsSessions.exceptId), isDone))]
      : []),
    ...(endsSessions?.exceptId ? [endCopies(endsSessions.exceptId, isDone)] : []),
    ...(row.role === 'user' && (set.role ?? 'user') !== 'user'
      ? [shortenSessions(resources, row.id, isDone)]
      : []),
    ...((set.role ?? row.role) === row.role ? [] : [endOfflineOf(now, row.id, isDone)]),
    ...(voided.length > 0
      ? [voidTokens(now, voided, and(eq(oneTimeTokens.subject_id, row.id), isDone))]
      : []),
    ...(getsProvedEmail(row, change)
      ? adoptInvitations(resources, { userId: row.id, email_normalized, actorId }, isDone)
      : []),
    ...(change.removesFactors || change.voidsWaysIn ? removeFactorsOf(row.id, isDone) : []),
    ...(change.voidsWaysIn ? [removeGrants(row.id, isDone), removeIdentities(row.id, isDone)] : []),
    ...(change.endsKeys || change.voidsWaysIn || closes ? [removeKeys(row.id, isDone)] : []),
    ...(set.failed_factors === 0 ? [openTally(resources, 'locked_factor', row.id).forget(isDone)] : []),
    ...(erases ? eraseTraces(resources, row.id) : []),
  ]
}

/** What apps were let do; their sessions end with all others. */
const removeGrants = (userId: string, isDone: SQL) =>
  sql`DELETE FROM ${oauthGrants} WHERE user_id = ${userId} AND ${isDone}`

const removeKeys = (userId: string, isDone: SQL) =>
  sql`DELETE FROM ${apiKeys} WHERE user_id = ${userId} AND ${isDone}`

/** By whom else they are signed in. */
const removeIdentities = (userId: string, isDone: SQL) =>
  sql`DELETE FROM ${identities} WHERE user_id = ${userId} AND ${isDone}`

/** Whatever somebody has to prove themselves with beside their password. */
const removeFactorsOf = (userId: string, isDone: SQL): Statement[] =>
  [factors, recoveryCodes, passkeys].map(
    (table) => sql`DELETE FROM ${table} WHERE user_id = ${userId} AND ${isDone}`,
  )

/**
 * What an undo takes away with it: the identities, factors, recovery codes and keys that were added since (epoch ms), by
 * whomever.
 */
export const removeFactorsSince = (userId: string, since: number, isDone: SQL): Statement[] => [
  sql`DELETE FROM ${passkeys} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${identities} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${factors} WHERE user_id = ${userId} AND confirmed_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${oauthGrants} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${recoveryCodes} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${apiKeys} WHERE user_id = ${userId} AND rotated_at >= ${since} AND ${isDone}`,
]

/** A user as a change leaves them, as far as their address goes. */
const after = (row: User, { set, erases }: Change) => ({
  isLiving: erases !== true && (set.deleted_at === undefined ? row.deleted_at : set.deleted_at) === null,
  isProved: (set.email_verified_at === undefined ? row.email_verified_at : set.email_verified_at) !== null,
  email_normalized: set.email_normalized ?? row.email_normalized,
})

/** Whether somebody gets, by a change, an address that they had not, or had lost. */
const takesAddress = (row: User, change: Change) =>
  after(row, change).email_normalized !== row.email_normalized ||
  (row.deleted_at !== null && after(row, change).isLiving)

/** Whether an address is somebody's after a change, by proof, that was not theirs before. */
function getsProvedEmail(row: User, change: Change): boolean {
  const { isLiving, isProved } = after(row, change)
  return isLiving && isProved && (row.email_verified_at === null || takesAddress(row, change))
}

/** Who gives way to a change: another address that comes without a proof was typed by somebody who manages. */
const whoGivesWay = (row: User, change: Change): GivingWay | undefined =>
  getsProvedEmail(row, change) ? TO_PROOF : change.set.email_normalized ? TO_WHO_MANAGES : undefined

/**
 * A condition: that the address which somebody gets, or gets back, is somebody else's. An address is somebody's
 * once they have proved it: who has not gives way to who has.
 */
export function needsFreeEmail(row: User, change: Change): SQL {
  if (!takesAddress(row, change)) return sql`0`
  const { email_normalized } = after(row, change)
  const givingWay = whoGivesWay(row, change)
  return givingWay
    ? emailIsHeld(email_normalized, givingWay.who, row.id)
    : emailIsTaken(email_normalized, row.id)
}

/** A condition: that the external id which somebody gets is somebody else's. */
export const needsFreeExternalId = (row: User, { set: { external_id } }: Change): SQL =>
  typeof external_id === 'string' ? externalIdIsTaken(external_id, row.id) : sql`0`

/** Whoever has an address unproved that a change gives to another is deleted (softly). Goes before the change. */
export const makeWay = (
  resources: Resources,
  actorId: string | null,
  row: User,
  change: Change,
  isDone: SQL,
) => {
  const givingWay = takesAddress(row, change) && whoGivesWay(row, change)
  return givingWay
    ? deleteSquatter(
        resources,
        after(row, change).email_normalized,
        { actorId, exceptId: row.id, givingWay },
        isDone,
      )
    : NO_SQUATTER
}

/** A query that finds nobody. */
export const NOBODY = sql<{ id: string }>`SELECT '' AS id WHERE 0`
/** What deletes a squatter, and a query for who it was. */
interface SquatterDeletion {
  statements: Statement[]
  squatter: SQL<{ id: string }>
}
export const NO_SQUATTER: SquatterDeletion = { statements: [], squatter: NOBODY }

/** A condition on who has an address that is to be another's, and what their history says of the reason. */
export interface GivingWay {
  who: SQL
  reason: 'address_proved_by_another' | 'address_given_to_another'
}
export const TO_PROOF: GivingWay = { who: isUnproved, reason: 'address_proved_by_another' }
export const TO_WHO_MANAGES: GivingWay = { who: isStrangers, reason: 'address_given_to_another' }

/** Deletes (softly) whoever has an address that nobody has vouched for, and that somebody else has by right. */
export function deleteSquatter(
  resources: Resources,
  emailNormalized: string,
  { actorId, exceptId, givingWay }: { actorId: string | null; exceptId: string; givingWay: GivingWay },
  isDone: SQL,
): SquatterDeletion {
  const { now } = resources
  const squatter = sql`SELECT id FROM ${users} WHERE email_normalized = ${emailNormalized}
    AND deleted_at IS NULL AND id <> ${exceptId} AND ${givingWay.who} AND ${isDone}`
  const event = {
    id: uuidv7(),
    action: 'user.deleted',
    userId: sql`(${squatter})`,
    actorId,
    details: { reason: givingWay.reason },
  } as const
  return {
    statements: [
      record(resources, event, sql`EXISTS (${squatter})`),
      revokeSessions(now, 'account_closed', sql`user_id = (${squatter})`),
      voidTokens(now, WAYS_IN, sql`subject_id = (${squatter})`),
      sql`DELETE FROM ${apiKeys} WHERE user_id = (${squatter})`,
      build
        .update(users)
        .set({
          deleted_at: now,
          updated_at: now,
          version: sql`${users.version} + 1`,
          token_epoch: sql`${users.token_epoch} + 1`,
        })
        .where(sql`${users.id} = (${squatter})`),
    ],
    squatter: sql`SELECT user_id AS id FROM ${activityLogs} WHERE id = ${event.id}`,
  }
}

/** Whoever has proved an address needs no invitation to it; what was sent of it is theirs, and goes with them. */
export const adoptInvitations = (
  resources: Resources,
  { userId, email_normalized, actorId }: { userId: string; email_normalized: string; actorId: string | null },
  isDone: SQL,
  which: SQL = sql`1`,
): Statement[] => [
  ...withdrawInvitations(
    resources,
    email_normalized,
    { reason: 'has_account', actorId, userId, which },
    isDone,
  ),
  build
    .update(outbox)
    .set({ user_id: userId })
    .where(and(eq(outbox.recipient_normalized, email_normalized), isNull(outbox.user_id), isDone)),
]

/** Ends the invitation of an address that stands, if one does; its row of history says by what. */
export function withdrawInvitations(
  resources: Resources,
  emailNormalized: string,
  by: {
    reason: 'has_account' | 'replaced'
    actorId: string | null
    /** Who has the address now. */
    userId?: string
    /** A condition that leaves others alone. */
    which: SQL
  },
  isDone: SQL,
): Statement[] {
  const isOpen = sql`email_normalized = ${emailNormalized} AND accepted_at IS NULL AND withdrawn_at IS NULL
    AND ${by.which} AND ${isDone}`
  const event = {
    id: uuidv7(),
    action: 'invitation.withdrawn',
    userId: null,
    actorId: by.actorId,
    details: sql`(SELECT json_object('invitation_id', id, 'role', role, 'reason', ${by.reason})
      FROM ${invitations} WHERE ${isOpen} LIMIT 1)`,
  } as const
  return [
    record(resources, event, sql`EXISTS (SELECT 1 FROM ${invitations} WHERE ${isOpen})`),
    voidTokens(
      resources.now,
      ['accept_invitation'],
      sql`subject_id IN (SELECT id FROM ${invitations} WHERE ${isOpen})`,
    ),
    build
      .update(invitations)
      .set({ withdrawn_at: resources.now, ...(by.userId && { user_id: by.userId }) })
      .where(isOpen),
  ]
}
