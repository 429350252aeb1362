import { and, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Action } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import type { OneTimeToken, Purpose } from '../links/models.ts'
import type { MailRequested, Proof } from '../links/schemas.ts'
import { requireToken } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { openMailRequest } from '../mail/limits.ts'
import { mailAsked } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { knowsDevice } from '../throttle/devices.ts'
import { emailIsTaken, isActive, selectUsers, type User, userIsActive, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import type { AskForMail } from './schemas.ts'

/**
 * Mails a link, or a code, to the user of an address. It is one batch, whether or not there is one, and
 * whether or not the mailbox has reached its limit: the answer and its cost are the same.
 *
 * @param link.reachesDisabled also mails disabled users: what they prove tells them so.
 * @param link.mayJoin a condition on which an address without an account is mailed as well, as it may sign
 *   up: the token holds the id that the account will have.
 *
 * @throws 429 `too_many_attempts` for a network that asks too often; 503 where no mail is configured.
 */
export async function mailLink(
  resources: Resources,
  { email, device_token }: AskForMail,
  link: {
    kind: 'verify_email' | 'reset_password' | 'sign_in_code'
    action?: Action
    accounts?: SQL
    reachesDisabled?: boolean
    mayJoin?: SQL | false
  },
): Promise<MailRequested> {
  const { config, now, send } = resources
  if (!send) throw mailNotConfigured()
  const emailNormalized = normalizeEmail(email)
  const account = and(
    sql`${users.email_normalized} = ${emailNormalized} AND deleted_at IS NULL`,
    link.reachesDisabled ? undefined : userIsActive(now),
    link.accounts,
  )
  const ofAccount = (column: 'id' | 'email') => sql`(SELECT ${users[column]} FROM ${users} WHERE ${account})`
  const device = openDeviceToken(config, device_token, now)
  const isKnownDevice =
    device && sql`EXISTS (SELECT 1 FROM ${users} WHERE ${account} AND ${knowsDevice(device)})`
  const request = openMailRequest(resources, { kind: link.kind, emailNormalized, isKnownDevice })
  const isNobodys = link.mayJoin ? sql`(NOT ${emailIsTaken(emailNormalized)} AND ${link.mayJoin})` : sql`0`
  const mail = {
    kind: link.kind,
    subjectId: link.mayJoin ? sql`coalesce(${ofAccount('id')}, ${uuidv7()})` : ofAccount('id'),
    userId: ofAccount('id'),
    email: link.mayJoin ? sql`coalesce(${ofAccount('email')}, ${email.trim()})` : ofAccount('email'),
    emailNormalized,
  }
  const event = link.action && { action: link.action, userId: ofAccount('id'), actorId: null }
  return mailAsked(
    resources,
    request,
    mail,
    sql`(EXISTS (SELECT 1 FROM ${users} WHERE ${account}) OR ${isNobodys})`,
    { alsoWrite: (isMade) => (event ? [record(resources, event, isMade)] : []) },
  )
}

/**
 * The user of a mailed link or code. Throws 400 `invalid_link`, also for one who has been disabled meanwhile.
 */
export async function requireUserByToken(
  resources: Resources,
  purpose: Purpose,
  proof: Proof,
  session?: Claims,
): Promise<{ token: OneTimeToken; user: User }> {
  const by = session && { ...session, isLive: tokenIsLive(session, resources.now) }
  const { token, subject: user } = await requireToken(resources, purpose, proof, selectSubject, by)
  if (!isActive(user, resources.now)) throw invalidLink(new Refusal('inactive'))
  return { token, user }
}

/** Reads the user of a token. */
export const selectSubject = (id: SQL) => selectUsers().where(sql`${users.id} = ${id}`)
