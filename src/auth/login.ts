import { and, eq, sql } from 'drizzle-orm'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { checkPassword, hashPassword } from '../passwords/hashing.ts'
import { openAttempt } from '../throttle/service.ts'
import { isActive, selectUsers, type User, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import { emailNotVerified, invalidCredentials } from './errors.ts'
import type { LogIn, Tokens } from './schemas.ts'
import { startSession } from './start-session.ts'

/**
 * Logs in: count the attempt and read the account, check the password, start a session. Two trips, whether it is
 * right or wrong, and one hash, whether the account exists or not.
 *
 * @throws 401 `invalid_credentials`, the same for every reason; 403 `email_not_verified`, after the right password
 *   alone; 429 `too_many_attempts`.
 */
export async function logIn(resources: Resources, input: LogIn): Promise<Tokens> {
  const { db, config } = resources
  const email = normalizeEmail(input.email)
  const account = and(eq(users.email_normalized, email), sql`deleted_at IS NULL`)!
  const attempt = openAttempt(resources, email, account)
  const results = await db.writeBatch({ ...attempt.count, user: selectUsers().where(account) })
  const isOpen = attempt.isOpen(results)
  const row: User | undefined = results.user[0]
  const stored = row && isOpen ? row.password_hash : null
  const password = await checkPassword(input.password, stored, config.keys.password_pepper)
  if (!row || !password.isRight || !isActive(row, resources.now)) {
    await recordFailure(resources, row?.id)
    throw invalidCredentials()
  }
  if (config.EMAIL_VERIFICATION === 'required' && row.email_verified_at === null) {
    await db.writeBatch({ clear: attempt.clear })
    throw emailNotVerified()
  }
  const newHash = password.isOutdated
    ? await hashPassword(input.password, config.keys.password_pepper)
    : undefined
  return startSession(resources, row, newHash, attempt.clear)
}

/** The same trip for an unknown account, which leaves no row. */
const recordFailure = (resources: Resources, userId: string | undefined) =>
  resources.db.writeBatch({
    history: record(
      resources,
      { action: 'login.failed', userId: userId ?? null, actorId: null },
      userId ? sql`1` : sql`0`,
    ),
  })
