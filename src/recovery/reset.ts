import { and, isNull, type SQL, sql } from 'drizzle-orm'
import type { Action } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { ResetPassword } from '../auth/schemas.ts'
import type { Resources } from '../context.ts'
import { invalidLink } from '../links/errors.ts'
import type { OneTimeToken, Purpose } from '../links/models.ts'
import type { Proof } from '../links/schemas.ts'
import { requireToken } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { enqueue, enqueueLink, mayBeMailed, sendAfterwards } from '../mail/outbox.ts'
import { hashNewPassword } from '../passwords/service.ts'
import { forgetAttempts, openMailRequest } from '../throttle/service.ts'
import { applyChange, byToken, isSamePerson } from '../users/change.ts'
import { isActive, selectUsers, type User, userIsActive, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'

/** Mails the link that confirms the address of an account that has not confirmed it. Nobody is told whether. */
export const resendVerification = (resources: Resources, email: string) =>
  mailLink(resources, email, {
    kind: 'verify_email',
    accounts: isNull(users.email_verified_at),
  })

/** Mails the link that sets a new password, to whom has an account. Nobody is told whether. */
export const forgotPassword = (resources: Resources, email: string) =>
  mailLink(resources, email, {
    kind: 'reset_password',
    action: 'password.reset_requested',
  })

/**
 * One batch, whether the address has an account or not, and whether it has had its share of mails or not: the
 * answer and its cost are the same.
 *
 * @throws 429 `too_many_attempts` for a network that asks for too many; 503 where no mail is configured.
 */
async function mailLink(
  resources: Resources,
  email: string,
  link: { kind: 'verify_email' | 'reset_password'; action?: Action; accounts?: SQL },
): Promise<void> {
  const { db, now, send } = resources
  if (!send) throw mailNotConfigured()
  const emailNormalized = normalizeEmail(email)
  const account = and(
    sql`${users.email_normalized} = ${emailNormalized} AND deleted_at IS NULL`,
    userIsActive(now),
    link.accounts,
  )
  const ofAccount = (column: 'id' | 'email') => sql`(SELECT ${users[column]} FROM ${users} WHERE ${account})`
  const request = openMailRequest(resources)
  const mail = enqueueLink(
    resources,
    { kind: link.kind, subjectId: ofAccount('id'), email: ofAccount('email'), emailNormalized },
    sql`EXISTS (SELECT 1 FROM ${users} WHERE ${account}) AND ${request.isAllowed}
      AND ${mayBeMailed(resources, link.kind, emailNormalized)}`,
  )
  const event = link.action && { action: link.action, userId: ofAccount('id'), actorId: null }
  const { verdict } = await db.writeBatch({
    count: request.count,
    mail: mail.statements,
    history: event ? [record(resources, event, mail.isMade)] : [],
    verdict: request.verdict,
  })
  request.assertAllowed(verdict)
  sendAfterwards(resources, mail.mailId)
}

/** The user whom a mailed link or code is about. Throws 400 `invalid_link`, also for somebody shut out by now. */
export async function requirePersonByToken(
  resources: Resources,
  purpose: Purpose,
  proof: Proof,
): Promise<{ token: OneTimeToken; person: User }> {
  const { token, subject: person } = await requireToken(resources, purpose, proof, selectSubject)
  if (!isActive(person, resources.now)) throw invalidLink()
  return { token, person }
}

/** Reads the user whom a token is about. */
export const selectSubject = (id: SQL) => selectUsers().where(sql`${users.id} = ${id}`)

/** Confirms the address that the mail went to, if it still is the account's. */
export async function verifyEmail(resources: Resources, proof: Proof): Promise<void> {
  const { token, person } = await requirePersonByToken(resources, 'verify_email', proof)
  if (token.email_normalized !== person.email_normalized) throw invalidLink()
  await applyChange(resources, byToken(token, resources.now), person, {
    action: 'email.verified',
    reliesOn: isSamePerson(person),
    set: { email_verified_at: resources.now },
  })
}

/**
 * Sets a new password for whoever reads the account's mail: every session ends, other links die, an account that
 * took no password any more takes this one, and the owner is told. It does not log in.
 *
 * @throws 400 `invalid_link`; 422 for a weak password.
 */
export async function resetPassword(resources: Resources, input: ResetPassword): Promise<void> {
  const { now } = resources
  const { token, person } = await requirePersonByToken(resources, 'reset_password', input)
  if (token.email_normalized !== person.email_normalized) throw invalidLink()
  const passwordHash = await hashNewPassword(resources, input.new_password, person, '/new_password')
  const notice = enqueuePasswordNotice(resources, person)
  await applyChange(resources, byToken(token, now), person, {
    action: 'password.reset',
    reliesOn: isSamePerson(person),
    set: {
      password_hash: passwordHash,
      failed_logins: 0,
      email_verified_at: person.email_verified_at ?? now,
    },
    endsTokens: true,
    forgetsDevices: true,
    endsSessions: { reason: 'password_changed' },
    alsoWrite: (isDone) => [notice.when(isDone), forgetAttempts(resources, person.email_normalized, isDone)],
  })
  sendAfterwards(resources, notice.id)
}

/** The mail that tells the owner that there is a new password; for the batch that sets it. */
export const enqueuePasswordNotice = (resources: Resources, { id, email, email_normalized }: User) =>
  enqueue(resources, { kind: 'password_changed', userId: id, to: email, toNormalized: email_normalized })
