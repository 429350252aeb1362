import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { databaseNow, rowExists } from '../database/statements.ts'
import { type AppError, type Reason, Refusal } from '../http/problem.ts'
import { oneTimeTokens } from '../links/models.ts'
import { isSignupTokenOf } from '../links/signup-tokens.ts'
import { openMailRequest } from '../mail/limits.ts'
import { enqueueAsked, enqueueNotice, sendAfterwards } from '../mail/outbox.ts'
import { openTally } from '../throttle/failures.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { networkOf } from '../throttle/networks.ts'
import type { openAttempt } from '../throttle/service.ts'
import { type User, userIsActive, users } from '../users/models.ts'
import { toTimeOrNull } from '../values/ids.ts'
import { accountDisabled, emailNotVerified, invalidCredentials } from './errors.ts'

/** A login that ends without a session. */
export interface RefusedLogin {
  attempt: ReturnType<typeof openAttempt>
  /** As entered, normalised. */
  email: string
  signupToken: string | undefined
  isFromKnownDevice: boolean
}

/**
 * Records a failure: for the network, and in the history with what was wrong. The statements are the same for
 * an unknown address, a wrong password and a locked account; only their conditions differ.
 *
 * @returns the error for the caller, which reveals none of this.
 */
export async function refuseLogin(
  resources: Resources,
  login: RefusedLogin,
  user: User | undefined,
  reason: 'wrong_password' | 'locked',
): Promise<AppError> {
  const { attempt, email, isFromKnownDevice } = login
  const isTold = !user || reason === 'locked'
  const tally = user
    ? openTally(resources, 'locked_account', user.id)
    : openTally(resources, 'unknown_address', networkOf(resources.origin.ip))
  const historyId = uuidv7()
  const whether = (isSo: boolean) => sql`${isSo ? 1 : 0}`
  const event = {
    id: historyId,
    action: 'login.failed',
    userId: user?.id ?? null,
    actorId: null,
    details: sql`json_object('reason', ${user ? reason : 'unknown_address'}, 'count', ${tally.count})`,
  } as const
  const notice = enqueueLockNotice(resources, user, email)
  await resources.db.writeBatch({
    failures: attempt.countFailureOfNetwork(isFromKnownDevice),
    history: record(resources, event, sql`(NOT ${whether(isTold)} OR ${tally.isDue})`),
    tally: tally.add(attempt.attemptId, whether(isTold)),
    notice: notice.statements,
  })
  // Otherwise the cron trigger sends it.
  if (user?.failed_logins === MAX_FAILURES_IN_A_ROW) sendAfterwards(resources, notice.mailId)
  return answerTo(resources, login, user ? reason : 'unknown_address')
}

/** The owner of a locked account is told once, with a link that unlocks it. */
function enqueueLockNotice(resources: Resources, user: User | undefined, email: string) {
  const id = user?.id ?? ''
  const isLocked = sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${id} AND failed_logins >= ${MAX_FAILURES_IN_A_ROW}
    AND ${userIsActive(resources.now)})`
  const isTold = sql`EXISTS (SELECT 1 FROM ${oneTimeTokens} WHERE subject_id = ${id} AND purpose = 'unlock_account'
    AND spent_at IS NULL AND expires_at > ${databaseNow})`
  // The database says whether the address is verified, so the statement is the same for everybody.
  const owner = { id, email: user?.email ?? '', email_normalized: email, email_verified_at: null }
  return enqueueNotice(resources, 'account_locked', owner, sql`${isLocked} AND NOT ${isTold}`)
}

/**
 * The password was right, but the user may not sign in. The attempt is taken back. A disabled user may know
 * until when; one who has not confirmed their address is mailed the link, and told no more than anybody else.
 */
export async function refuseRightPassword(
  resources: Resources,
  login: RefusedLogin,
  user: User,
  reason: 'disabled' | 'unverified',
): Promise<AppError> {
  const event = {
    id: uuidv7(),
    action: 'login.failed',
    userId: user.id,
    actorId: null,
    details: { reason, count: 1 },
  } as const
  const isAsRead = sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${user.id} AND email_verified_at IS NULL)`
  const asked = openMailRequest(resources, {
    kind: 'verify_email',
    emailNormalized: user.email_normalized,
    isNobodys: true,
  })
  const link = enqueueAsked(
    resources,
    asked,
    {
      kind: 'verify_email',
      subjectId: user.id,
      email: user.email,
      emailNormalized: user.email_normalized,
    },
    reason === 'unverified' ? isAsRead : sql`0`,
  )
  const isDone = rowExists(activityLogs, event.id)
  await resources.db.writeBatch(
    {
      history: record(resources, event, sql`1`),
      // An unverified user gets the answer to a wrong password, so they and their network also wait as for
      // one: only the account's own count is taken back. Otherwise the attempts left would reveal whether the
      // address had been free to somebody who signed up with it.
      attempt: reason === 'unverified' ? login.attempt.takeBackOfAccount : login.attempt.takeBack,
      failures: reason === 'unverified' ? login.attempt.countFailureOfNetwork(login.isFromKnownDevice) : [],
      count: reason === 'unverified' ? asked.count : [],
      link: link.statements,
      countMade: [asked.countMade(link.mailId)],
    },
    isDone,
  )
  if (reason === 'disabled') return accountDisabled(toTimeOrNull(user.disabled_until))
  sendAfterwards(resources, link.mailId)
  return answerTo(resources, login, reason)
}

/**
 * Only somebody who shows that they signed up learns that the address is not confirmed, whatever the password
 * is and whoever knows it.
 */
const answerTo = (
  { config, now }: Resources,
  { signupToken, email }: RefusedLogin,
  reason: Reason,
): AppError =>
  config.EMAIL_VERIFICATION === 'required' && isSignupTokenOf(config, email, signupToken, now)
    ? emailNotVerified(new Refusal(reason))
    : invalidCredentials(new Refusal(reason))
