import { and, isNotNull, notInArray, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { enqueue, enqueueLink } from '../mail/outbox.ts'
import type { Acting } from './change.ts'
import type { OwedMail } from './consequences.ts'
import { type User, users } from './models.ts'

/** A mail that a change owes, given the condition that the change is made. */
export type Notice = (isDone: SQL) => OwedMail

type Recipient = Pick<User, 'id' | 'email' | 'email_normalized'>

/** No more administrators than this are told of one change. */
const MOST_ADMINS_TOLD = 100

/** Tells a user what was done to their account. An address that nobody has proved is told nothing. */
export function noticeTo(
  resources: Resources,
  kind: 'role_changed' | 'account_enabled' | 'account_restored' | 'factors_reset',
  row: User,
): Notice[] {
  return row.email_verified_at === null ? [] : [notice(resources, kind, row)]
}

/** Whoever closes an account knows its password, and need not be its owner: who is told can take it back. */
export function noticeOfClosing(resources: Resources, row: User): Notice[] {
  const { id: subjectId, email, email_normalized: emailNormalized } = row
  const link = { kind: 'account_closed', subjectId, email, emailNormalized } as const
  const isTold = row.email_verified_at !== null && resources.send !== undefined
  return isTold ? [(isDone) => enqueueLink(resources, link, isDone)] : []
}

/** What `mails` of a change takes. */
export const owed = (notices: Notice[]) => (isDone: SQL) => notices.map((notice) => notice(isDone))

const notice = (
  resources: Resources,
  kind:
    | 'role_changed'
    | 'account_enabled'
    | 'account_restored'
    | 'factors_reset'
    | 'address_replaced'
    | 'address_replaced_by_admin',
  { id, email, email_normalized }: Recipient,
  newEmail?: string,
): Notice => {
  const mail = enqueue(resources, {
    kind,
    userId: id,
    to: email,
    toNormalized: email_normalized,
    ...(newEmail && { newEmail }),
  })
  return (isDone) => ({ mailId: mail.id, statements: [mail.when(isDone)] })
}

/**
 * Who is told that somebody else changed the address of an account. The old address gets a link that undoes it, or,
 * where it is in the wrong hands, a mail without one; then the other administrators are told.
 */
export function noticesOfMove(
  resources: Resources,
  row: User,
  newEmail: string,
  { revokesOld, admins }: { revokesOld: boolean; admins: Recipient[] },
): Notice[] {
  const toAdmins = admins.map((admin) => notice(resources, 'address_replaced_by_admin', admin, newEmail))
  if (row.email_verified_at === null) return toAdmins
  if (revokesOld) return [notice(resources, 'address_replaced', row), ...toAdmins]
  const { id: subjectId, email, email_normalized: emailNormalized } = row
  const link = { kind: 'address_changed', subjectId, email, emailNormalized, newEmail } as const
  return [(isDone) => enqueueLink(resources, link, isDone)]
}

/** The other administrators, as far as they have proved their address. */
export async function adminsToTell({ db, actor }: Acting, exceptId: string): Promise<Recipient[]> {
  const { admins } = await db.read({
    admins: build
      .select({ id: users.id, email: users.email, email_normalized: users.email_normalized })
      .from(users)
      .where(
        and(
          sql`role = 'admin' AND state = 'active'`,
          isNotNull(users.email_verified_at),
          notInArray(users.id, [actor.sub, exceptId]),
        ),
      )
      .limit(MOST_ADMINS_TOLD),
  })
  return admins
}
