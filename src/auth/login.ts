import { and, eq, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { selectFactorState } from '../factors/state.ts'
import { isBelowPolicy } from '../passwords/policy.ts'
import { checkInTurn } from '../passwords/service.ts'
import { beforeTurn } from '../passwords/turns.ts'
import { openDeviceToken } from '../sessions/device-tokens.ts'
import { hasherOfDevice, MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { openAttempt } from '../throttle/service.ts'
import { isActive, selectUsers, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import { refuseLogin, refuseRightPassword } from './refusals.ts'
import type { LogIn } from './schemas.ts'
import type { Proven } from './start-session.ts'

/**
 * Checks the password of a login: counts the attempt and reads the account, then hashes once, whether the
 * account exists or not. A second trip starts the session, or records the failure.
 *
 * @throws 401 `invalid_credentials`, the same for every reason. Only after the right password: 403
 *   `account_disabled`; 403 `email_not_verified` for whoever signed up with the address. 429
 *   `too_many_attempts`.
 */
export async function logIn(resources: Resources, input: LogIn): Promise<Proven> {
  const { db, config } = resources
  const email = normalizeEmail(input.email)
  const account = and(eq(users.email_normalized, email), sql`deleted_at IS NULL`)!
  const device = openDeviceToken(config, input.device_token, resources.now)
  const attempt = openAttempt(resources, email, account, device)
  // A login that no turn is free for is not even counted.
  const results = await beforeTurn(() =>
    db.writeBatch({
      ...attempt.count,
      user: selectUsers().where(account),
      factors: selectFactorState(config, sql`(SELECT ${users.id} FROM ${users} WHERE ${account})`),
    }),
  )
  const isFromKnownDevice = attempt.isFromKnownDevice(results)
  const user = results.user[0]
  const isLocked = !isFromKnownDevice && (user?.failed_logins ?? 0) > MAX_FAILURES_IN_A_ROW
  const password = await checkInTurn(resources, {
    userId: user?.id,
    password: input.password,
    stored: isLocked ? null : (user?.password_hash ?? null),
    takeBack: attempt.takeBack,
    ...(device && isFromKnownDevice && { hasher: hasherOfDevice(device) }),
  })
  const login = { attempt, email, signupToken: input.signup_token, isFromKnownDevice }
  if (!user || !password.isRight) {
    throw await refuseLogin(resources, login, user, isLocked ? 'locked' : 'wrong_password')
  }
  if (!isActive(user, resources.now)) throw await refuseRightPassword(resources, login, user, 'disabled')
  if (config.EMAIL_VERIFICATION === 'required' && user.email_verified_at === null) {
    throw await refuseRightPassword(resources, login, user, 'unverified')
  }
  return {
    // Its present hash: a login that had to wait may have read an old one.
    user: { ...user, password_hash: password.stored },
    proofs: ['pwd'],
    newHash: password.newHash,
    ...(password.isForeign &&
      isBelowPolicy(input.password, { ...user, organisation: config.ORGANISATION }) && {
        needsBetterPassword: true,
      }),
    // Another login at the same moment may have replaced the old hash first. Then the new hash is the right
    // one.
    ...(password.newHash && { again: () => logIn(resources, input) }),
    device: isFromKnownDevice ? device : undefined,
    knowsTokens: input.device_token !== undefined,
    clearAttempts: attempt.clear,
    factors: results.factors[0]!,
    takeBack: attempt.takeBack,
  }
}
