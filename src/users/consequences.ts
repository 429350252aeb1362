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
  endCookieCopies,
  endOfflineSessions,
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
  isUnclaimed,
  isUnproved,
  type NewUser,
  type User,
  users,
} from './models.ts'

/**
 * What forbids a change at the moment it is written, by name: the first expression, in parentheses, that is not 0.
 * Its value is passed to `refused`.
 */
export type Obstacles = Record<string, { is: SQL; refused: (is: number) => AppError }>

/** A change of one user, and what it entails. */
export interface Change {
  action: Action
  set: { [Column in Exclude<keyof NewUser, 'password_hash'>]?: NewUser[Column] | undefined } & {
    /** Or an expression that the database evaluates. */
    password_hash?: SQL | string | null
  }
  /** Nothing about the user changes, not even the version: there is only a row of history, and mails. */
  leavesUser?: boolean
  details?: object | SQL
  /** Revokes every access token of the user. */
  endsTokens?: boolean
  /** Makes all devices that the account knows unknown again. Setting or removing a password always does. */
  forgetsDevices?: boolean
  /** Ends every session of the user as well, except perhaps one. */
  endsSessions?: { reason: RevokedReason; exceptId?: string }
  /**
   * What must be unchanged since it was read; by default the whole user. A change that ends a takeover relies
   * only on `isSamePerson`: a thief who renames the account in a loop must not be able to prevent it.
   */
  reliesOn?: SQL | undefined
  unless?: Obstacles
  /** Voids everything by which the account could be entered, links included. */
  voidsWaysIn?: boolean
  /** Revokes every API key of the user, as when an account is closed. */
  endsKeys?: boolean
  /** Removes every factor of the user, and the recovery codes. */
  removesFactors?: boolean
  /** Links to void, in addition to those that any change of this kind voids. */
  voids?: readonly Purpose[]
  /** Deletes the row, and all personal data elsewhere. */
  erases?: boolean
  /** A mail that the user requests; if that is one too many, the change is refused (429). */
  asksFor?: AskedFor
  /** Mails that the change owes; they are sent once it is made. */
  mails?: (isDone: SQL, eventId: string) => readonly OwedMail[]
  /** Other statements of the change. Those that must not run without it are conditional on `isDone`. */
  alsoWrite?: (isDone: SQL) => readonly Statement[]
  /** Apps and services that they change. */
  changesClients?: readonly string[]
}

/** What `voidsWaysIn` is set with where the password is a stranger's as well. */
export const NO_PASSWORD = {
  password_hash: null,
  password_is_given: 0,
  failed_logins: 0,
  failed_factors: 0,
} as const

/** Receives the condition on which the change is requested at all. */
export type AskedFor = (isAsked: SQL) => { request: MailRequested; enqueue: (isDone: SQL) => OwedMail }

export interface OwedMail {
  mailId: string
  statements: readonly Statement[]
}

/** Links that recover an account stay valid, whatever a thief does to it. */
const WAYS_IN = PURPOSES.filter((purpose) => !TAKES_BACK.includes(purpose))

/** What any change of this kind entails, whoever makes it. */
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
  // A link that was requested earlier must not bypass what has changed since.
  const ended: readonly Purpose[] =
    closes || change.voidsWaysIn === true
      ? WAYS_IN
      : movesCredentials
        ? ['reset_password', 'change_email', 'approve_email_change', 'sign_in']
        : []
  // Other mails that confirm the address let their reader set a password, which is only for its first proof.
  const isProving = getsProvedEmail(row, change)
  const confirming: readonly Purpose[] = isProving ? ['verify_email'] : []
  // So that an account that is locked again is told again, and so is a new address: the link works for its
  // own address alone.
  const unlocks: readonly Purpose[] =
    set.failed_logins === 0 || set.email_normalized !== undefined ? ['unlock_account'] : []
  const voided = [...ended, ...confirming, ...unlocks, ...(change.voids ?? [])]
  const { email_normalized } = after(row, change)
  return [
    ...(endsSessions
      ? [revokeSessions(now, endsSessions.reason, and(sessionsOf(row.id, endsSessions.exceptId), isDone))]
      : []),
    ...(endsSessions?.exceptId ? [endCookieCopies(endsSessions.exceptId, isDone)] : []),
    ...(row.role === 'user' && (set.role ?? 'user') !== 'user'
      ? [shortenSessions(resources, row.id, isDone)]
      : []),
    ...((set.role ?? row.role) === row.role ? [] : [endOfflineSessions(now, row.id, isDone)]),
    ...(voided.length > 0
      ? [voidTokens(now, voided, and(eq(oneTimeTokens.subject_id, row.id), isDone))]
      : []),
    ...(isProving ? adoptInvitations(resources, { userId: row.id, email_normalized, actorId }, isDone) : []),
    ...(change.removesFactors || change.voidsWaysIn ? removeFactorsOf(row.id, isDone) : []),
    ...(change.voidsWaysIn ? [removeGrants(row.id, isDone), removeIdentities(row.id, isDone)] : []),
    ...(change.endsKeys || change.voidsWaysIn || closes ? [removeKeys(row.id, isDone)] : []),
    ...(set.failed_factors === 0 ? [openTally(resources, 'locked_factor', row.id).forget(isDone)] : []),
    ...(erases ? eraseTraces(resources, row.id) : []),
  ]
}

/** Removes the consents to apps; the apps' sessions end with all others. */
const removeGrants = (userId: string, isDone: SQL) =>
  sql`DELETE FROM ${oauthGrants} WHERE user_id = ${userId} AND ${isDone}`

const removeKeys = (userId: string, isDone: SQL) =>
  sql`DELETE FROM ${apiKeys} WHERE user_id = ${userId} AND ${isDone}`

/** Removes the identities at providers. */
const removeIdentities = (userId: string, isDone: SQL) =>
  sql`DELETE FROM ${identities} WHERE user_id = ${userId} AND ${isDone}`

/** Removes all means of authentication other than the password. */
const removeFactorsOf = (userId: string, isDone: SQL): Statement[] =>
  [factors, recoveryCodes, passkeys].map(
    (table) => sql`DELETE FROM ${table} WHERE user_id = ${userId} AND ${isDone}`,
  )

/** The address of a user after a change. */
const after = (row: User, { set, erases }: Change) => ({
  isLiving: erases !== true && (set.deleted_at === undefined ? row.deleted_at : set.deleted_at) === null,
  isProved: (set.email_verified_at === undefined ? row.email_verified_at : set.email_verified_at) !== null,
  email_normalized: set.email_normalized ?? row.email_normalized,
})

/** Whether a change gives somebody an address that they did not have, or had lost. */
const takesAddress = (row: User, change: Change) =>
  after(row, change).email_normalized !== row.email_normalized ||
  (row.deleted_at !== null && after(row, change).isLiving)

/** Whether a change gives somebody a proved address that was not theirs before. */
function getsProvedEmail(row: User, change: Change): boolean {
  const { isLiving, isProved } = after(row, change)
  return isLiving && isProved && (row.email_verified_at === null || takesAddress(row, change))
}

/** Who loses the address to this change. A new address without proof was entered by a manager. */
const whoGivesWay = (row: User, change: Change): GivingWay | undefined =>
  getsProvedEmail(row, change) ? TO_PROOF : change.set.email_normalized ? TO_WHO_MANAGES : undefined

/**
 * A condition: that the address which somebody gets, or gets back, is taken. An address belongs to whoever
 * has proved it: accounts that have not give way to one that has.
 */
export function needsFreeEmail(row: User, change: Change): SQL {
  if (!takesAddress(row, change)) return sql`0`
  const { email_normalized } = after(row, change)
  const givingWay = whoGivesWay(row, change)
  return givingWay
    ? emailIsHeld(email_normalized, givingWay.who, row.id)
    : emailIsTaken(email_normalized, row.id)
}

/** A condition: that the external id which somebody gets is taken. */
export const needsFreeExternalId = (row: User, { set: { external_id } }: Change): SQL =>
  typeof external_id === 'string' ? externalIdIsTaken(external_id, row.id) : sql`0`

/** Softly deletes an account that holds, unproved, an address that a change gives to another. Runs before the change. */
export const freeAddress = (
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

/** A query without results. */
export const NOBODY = sql<{ id: string }>`SELECT '' AS id WHERE 0`
/** The statements that delete a squatter, and a query for who it was. */
interface SquatterDeletion {
  statements: Statement[]
  squatter: SQL<{ id: string }>
}
export const NO_SQUATTER: SquatterDeletion = { statements: [], squatter: NOBODY }

/** A condition on accounts that must give up their address, and the reason for their history. */
export interface GivingWay {
  who: SQL
  reason: 'address_proved_by_another' | 'address_given_to_another'
}
export const TO_PROOF: GivingWay = { who: isUnproved, reason: 'address_proved_by_another' }
export const TO_WHO_MANAGES: GivingWay = { who: isUnclaimed, reason: 'address_given_to_another' }

/** Softly deletes an account whose address nobody has vouched for, when it rightly goes to somebody else. */
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

/** Somebody who has proved an address needs no invitation to it: it ends, and what was kept of it becomes theirs. */
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

/** Withdraws the open invitation of an address, if there is one; its row of history says why. */
export function withdrawInvitations(
  resources: Resources,
  emailNormalized: string,
  by: {
    reason: 'has_account' | 'replaced'
    actorId: string | null
    /** Who has the address now. */
    userId?: string
    /** A condition that selects which invitations. */
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
