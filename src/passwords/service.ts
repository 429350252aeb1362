import { eq } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import type { Statement } from '../database/statements.ts'
import { invalidInput } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { openAttempt } from '../throttle/service.ts'
import { selectUsers, type User as UserRow, users } from '../users/models.ts'
import { wrongPassword } from './errors.ts'
import { checkPassword, hashPassword } from './hashing.ts'
import { findPasswordWeakness } from './policy.ts'

/** Every path that sets a password goes through here. Throws 422 for a weak one. */
export async function hashNewPassword(
  { config }: Pick<Resources, 'config'>,
  password: string,
  person: { email: string; name: string },
  pointer = '/password',
): Promise<string> {
  const weakness = findPasswordWeakness(password, person)
  if (weakness) throw invalidInput([{ pointer, code: 'weak_password', detail: `The password ${weakness}.` }])
  return hashPassword(password, config.keys.password_pepper)
}

/**
 * Checks the password of somebody who is signed in already; guesses are counted as they are at login.
 *
 * @returns the person, and the statements that clear the count, for the batch of the change.
 * @throws 403 `wrong_password`, 429 `too_many_attempts`.
 */
export async function requireOwnPassword(
  resources: Resources,
  actor: Claims,
  password: string,
): Promise<{ row: UserRow; clearAttempts: readonly Statement[] }> {
  const self = eq(users.id, actor.sub)
  const attempt = openAttempt(resources, actor.sub, self)
  const results = await resources.db.writeBatch({ ...attempt.count, user: selectUsers().where(self) })
  const isOpen = attempt.isOpen(results)
  const row: UserRow | undefined = results.user[0]
  if (!row) throw invalidToken()
  const stored = isOpen ? row.password_hash : null
  const { isRight } = await checkPassword(password, stored, resources.config.keys.password_pepper)
  if (!isRight) throw wrongPassword()
  return { row, clearAttempts: attempt.clear }
}
