import { and, eq, gt, isNull, ne, type SQL, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Statement } from '../database/statements.ts'
import { type OneTimeToken, oneTimeTokens } from '../links/models.ts'
import { voidTokens } from '../links/service.ts'
import { normalizeEmail } from '../values/email.ts'
import { timeOfId } from '../values/ids.ts'
import { type Change, removeFactorsSince } from './consequences.ts'
import type { User } from './models.ts'

/*
 * An account whose address was changed goes back to who had it before: by the link that undoes the change, or by
 * somebody who manages, while that link is good.
 */

/**
 * Of a deleted user: the earliest address that they had before, and whose owner can still take it back. A trip of its
 * own, as hardly anybody is deleted; undefined for the living.
 */
export async function findEarlier(
  { db }: Pick<Resources, 'db'>,
  { id, email, deleted_at }: Pick<User, 'id' | 'email' | 'deleted_at'>,
): Promise<Earlier | undefined> {
  if (deleted_at === null) return undefined
  const {
    earlier: [earlier],
  } = await db.readPrimary({
    earlier: build
      .select({
        id: oneTimeTokens.id,
        email: oneTimeTokens.email,
        email_normalized: oneTimeTokens.email_normalized,
      })
      .from(oneTimeTokens)
      .where(
        and(
          eq(oneTimeTokens.subject_id, id),
          eq(oneTimeTokens.purpose, 'undo_email_change'),
          isNull(oneTimeTokens.spent_at),
          gt(oneTimeTokens.expires_at, databaseNow),
          ne(oneTimeTokens.email_normalized, normalizeEmail(email)),
        ),
      )
      // In the order they were made, which the index of a user's tokens has.
      .orderBy(sql`rowid`)
      .limit(1),
  })
  return earlier
}

export type Earlier = Pick<OneTimeToken, 'id' | 'email' | 'email_normalized'>

/**
 * What it takes to give an account back with its earlier address. A change is asked for with the password, so that
 * opens the account no more: where it was a thief, they know it. Every session ends, and what was asked for or added
 * since is void.
 */
export const givingBack = (
  { now }: Pick<Resources, 'now'>,
  row: User,
  { id, email, email_normalized }: Earlier,
) =>
  ({
    set: { email, email_normalized, email_verified_at: now, deleted_at: null, password_hash: null },
    endsTokens: true,
    forgetsDevices: true,
    endsSessions: { reason: 'ended' },
    // Undoing this change also undoes those that came after it; those before it can still be undone.
    alsoWrite: (isDone: SQL): Statement[] => [
      // What was mailed since may have gone to a thief.
      voidTokens(
        now,
        ['undo_email_change', 'disown_factor', 'disown_session'],
        sql`${oneTimeTokens.subject_id} = ${row.id} AND id >= ${id} AND ${isDone}`,
      ),
      ...removeFactorsSince(row.id, timeOfId(id), isDone),
    ],
  }) satisfies Partial<Change>
