import { notInArray, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import type { Statement } from '../../database/statements.ts'
import type { MailKind } from '../../mail/kinds.ts'
import { type Notices, openMailRequest, openNotices } from '../../mail/limits.ts'
import { type Event, enqueueAsked, enqueueNotice, type Recipient } from '../../mail/outbox.ts'
import type { Acting } from '../change.ts'
import type { AskedFor, OwedMail } from '../consequences.ts'
import { type User, users } from '../models.ts'

/** Makes a mail that a change owes, given the condition that the change is made, and its row of history. */
export type Notice = (isDone: SQL, eventId: string) => OwedMail

/** At most this many administrators are told of one change. */
const MAX_ADMINS_TOLD = 100

/** A mail with a link to a user, requested by a manager; `emailNormalized` is the recipient. */
export const mailOnRequest =
  (
    acting: Acting,
    kind: 'reset_password_by_admin' | 'verify_email_by_admin',
    { id, email, email_normalized: emailNormalized }: Pick<User, 'id' | 'email' | 'email_normalized'>,
  ): AskedFor =>
  (isAsked) => {
    const actor = { as: 'manager', id: acting.actor.sub } as const
    const request = openMailRequest(acting, { kind, emailNormalized, actor, isAsked })
    const mail = { kind, subjectId: id, email, emailNormalized }
    return { request, enqueue: (isDone) => enqueueAsked(acting, request, mail, isDone) }
  }

/** Tells a user what a manager did to their account, but does not repeat the same notice again and again. */
export function noticeTo(
  acting: Resources & { actor?: Acting['actor'] },
  kind:
    | 'role_changed'
    | 'account_disabled'
    | 'account_enabled'
    | 'account_deleted'
    | 'account_restored'
    | 'factors_reset',
  user: Recipient,
): Notice[] {
  if (user.email_verified_at === null) return []
  const told = openNotices(acting, kind, acting.actor?.sub ?? 'the operator', user.id)
  // Only this text takes something from the row of history: until when.
  const eventOf = (id: string) => (kind === 'account_disabled' ? { event: { id, actorId: null } } : {})
  return [(isDone, eventId) => enqueueNotice(acting, kind, user, isDone, { told, ...eventOf(eventId) })]
}

/**
 * Whoever closes an account knows its password, but may not be its owner: the notice lets the owner recover
 * it.
 */
export function closingNotice(resources: Resources, row: User): Notice[] {
  const isTold = row.email_verified_at !== null && resources.send !== undefined
  return isTold ? [(isDone) => enqueueNotice(resources, 'account_closed', row, isDone)] : []
}

/** Converts notices into the `mails` of a change. */
export const toMails = (notices: Notice[]) => (isDone: SQL, eventId: string) =>
  notices.map((notice) => notice(isDone, eventId))

/**
 * Tells that somebody else changed the address of an account. The old address gets a link to undo it or, if
 * it is in the wrong hands, a mail without a link; then the other administrators are told as well.
 */
export function addressChangeNotices(
  acting: Acting,
  row: User,
  newEmail: string,
  { revokesOld, admins }: { revokesOld: boolean; admins: Recipient[] },
): Notice[] {
  const notice =
    (kind: 'address_replaced' | 'address_changed' | 'address_replaced_by_admin', to: Recipient): Notice =>
    (isDone) =>
      enqueueNotice(acting, kind, to, isDone, { newEmail })
  const toAdmins = admins.map((admin) => notice('address_replaced_by_admin', admin))
  if (row.email_verified_at === null) return toAdmins
  return [notice(revokesOld ? 'address_replaced' : 'address_changed', row), ...toAdmins]
}

/** The administrators who can be told, except some. */
export const selectAdminsToTell = (exceptIds: readonly string[] = []) =>
  sql<Recipient>`SELECT id, email, email_normalized, email_verified_at FROM ${users}
    WHERE role = 'admin' AND state = 'active' AND email_verified_at IS NOT NULL
      AND ${notInArray(users.id, [...exceptIds])} LIMIT ${MAX_ADMINS_TOLD}`

type ToAdmins = Extract<MailKind, 'service_changed' | `webhook_${string}`>

/**
 * For the batch of the change: a mail to each recipient that names who did it and where, and the ids of those
 * mails. `notices` counts them as one.
 */
export function tellAll(
  resources: Resources,
  kind: ToAdmins,
  recipients: readonly Recipient[],
  event: Event,
  isDone: SQL,
  notices?: Notices,
): { statements: Statement[]; mailIds: string[] } {
  const isTold = notices ? sql`${isDone} AND ${notices.isDue}` : isDone
  const mails = recipients.map((recipient) => enqueueNotice(resources, kind, recipient, isTold, { event }))
  return {
    statements: [
      ...(notices ? [notices.count(isDone)] : []),
      ...mails.flatMap(({ statements }) => statements),
    ],
    mailIds: mails.map(({ mailId }) => mailId),
  }
}
