import { and, eq, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { type OneTimeToken, oneTimeTokens } from '../links/models.ts'
import { wrongPassword } from '../passwords/errors.ts'
import { checkInTurn } from '../passwords/service.ts'
import { type User, users } from '../users/models.ts'

/** A condition: that the user still has the password that was checked. */
export const hasPasswordStill = ({ id, password_hash }: User) =>
  sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${id} AND password_hash = ${password_hash})`

const PASSWORD_TRIES = 5

/**
 * Checks the account's password beside a mailed link, which allows five tries. Throws 403 `wrong_password`.
 */
export async function requirePasswordOf(
  resources: Resources,
  token: OneTimeToken,
  user: User,
  password: string,
): Promise<void> {
  const { db } = resources
  const isThis = eq(oneTimeTokens.id, token.id)
  const {
    counted: [counted],
  } = await db.writeBatch({
    count: build
      .update(oneTimeTokens)
      .set({ password_tries: sql`min(${oneTimeTokens.password_tries} + 1, ${PASSWORD_TRIES + 1})` })
      .where(isThis),
    counted: build.select({ password_tries: oneTimeTokens.password_tries }).from(oneTimeTokens).where(isThis),
  })
  const isOpen = counted !== undefined && counted.password_tries <= PASSWORD_TRIES
  const stored = isOpen ? user.password_hash : null
  // Names the count that this try made, so that it is taken back once.
  const isAsCounted = and(isThis, eq(oneTimeTokens.password_tries, counted?.password_tries ?? 0))
  const one = { password_tries: sql`${oneTimeTokens.password_tries} - 1` }
  const takeBack = [build.update(oneTimeTokens).set(one).where(isAsCounted)]
  const { isRight } = await checkInTurn(resources, { userId: user.id, password, stored, takeBack })
  if (!isRight) throw wrongPassword(new Refusal(isOpen ? 'wrong_password' : 'tries'))
}
