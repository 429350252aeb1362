import { and, eq, gt, inArray, isNull, ne, type SQL, sql } from 'drizzle-orm'
import { apiKeys } from '../api-keys/models.ts'
import type { Resources } from '../context.ts'
import { build, databaseNow, type Statement } from '../database/statements.ts'
import { factors, recoveryCodes } from '../factors/models.ts'
import { identities } from '../identities/models.ts'
import { type OneTimeToken, oneTimeTokens, TAKES_BACK } from '../links/models.ts'
import { voidTokens } from '../links/service.ts'
import { oauthGrants } from '../oauth/models.ts'
import { passkeys } from '../passkeys/models.ts'
import { normalizeEmail } from '../values/email.ts'
import type { Change } from './consequences.ts'
import type { User } from './models.ts'

/*
 * Gives an account whose address was changed back to the previous owner: by the link that undoes the change,
 * or by a manager while that link is valid.
 */

/** A condition: a live link of a user. */
const isLiveOf = (userId: string) =>
  and(
    eq(oneTimeTokens.subject_id, userId),
    isNull(oneTimeTokens.spent_at),
    gt(oneTimeTokens.expires_at, databaseNow),
  )

/**
 * The earliest former address of a deleted user that can still be restored by its link; undefined unless the user
 * is deleted. A trip of its own, as deleted users are rare.
 */
export async function findEarlierEmail(
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
        created_at: oneTimeTokens.created_at,
        email: oneTimeTokens.email,
        email_normalized: oneTimeTokens.email_normalized,
      })
      .from(oneTimeTokens)
      .where(
        and(
          isLiveOf(id),
          eq(oneTimeTokens.purpose, 'undo_email_change'),
          ne(oneTimeTokens.email_normalized, normalizeEmail(email)),
        ),
      )
      // In order of creation, which the index of a user's tokens has.
      .orderBy(sql`rowid`)
      .limit(1),
  })
  return earlier
}

/** Whether a live link would give a deleted user the account back. A trip of its own, as few are deleted twice. */
export async function canBeReopened({ db }: Pick<Resources, 'db'>, userId: string): Promise<boolean> {
  const { links } = await db.readPrimary({
    links: build
      .select({ id: oneTimeTokens.id })
      .from(oneTimeTokens)
      .where(and(isLiveOf(userId), inArray(oneTimeTokens.purpose, [...TAKES_BACK])))
      .limit(1),
  })
  return links.length > 0
}

export type Earlier = Pick<OneTimeToken, 'id' | 'created_at' | 'email' | 'email_normalized'>

/**
 * Gives an account back with its earlier address. Changing the address took the password, so a thief who did
 * it knows the password: it is removed. Every session ends, and whatever was requested or added since is
 * void.
 */
export const restoringEarlierEmail = (
  { now }: Pick<Resources, 'now'>,
  row: User,
  { id, created_at, email, email_normalized }: Earlier,
) =>
  ({
    set: { email, email_normalized, email_verified_at: now, deleted_at: null, password_hash: null },
    endsTokens: true,
    endsSessions: { reason: 'ended' },
    // Undoing this change also undoes later ones; earlier ones can still be undone.
    alsoWrite: (isDone: SQL): Statement[] => [
      // Links mailed since may have gone to a thief. In order of creation: the ids come from the clocks of Workers.
      voidTokens(
        now,
        ['undo_email_change', 'disown_factor', 'disown_session'],
        sql`${oneTimeTokens.subject_id} = ${row.id}
          AND rowid >= (SELECT rowid FROM ${oneTimeTokens} WHERE id = ${id}) AND ${isDone}`,
      ),
      ...removeFactorsSince(row.id, created_at, isDone),
    ],
  }) satisfies Partial<Change>

/**
 * What undoing a change also removes: identities, factors, recovery codes and keys added since then (epoch ms),
 * and consents that were given or extended since: what an app had before is not stored, so it asks again.
 */
const removeFactorsSince = (userId: string, since: number, isDone: SQL): Statement[] => [
  sql`DELETE FROM ${passkeys} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${identities} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${factors} WHERE user_id = ${userId} AND confirmed_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${oauthGrants} WHERE user_id = ${userId} AND updated_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${recoveryCodes} WHERE user_id = ${userId} AND created_at >= ${since} AND ${isDone}`,
  sql`DELETE FROM ${apiKeys} WHERE user_id = ${userId} AND rotated_at >= ${since} AND ${isDone}`,
]
