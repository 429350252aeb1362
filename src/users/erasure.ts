import { and, eq, or, sql } from 'drizzle-orm'
import { eraseHistory } from '../activity/service.ts'
import { build, type Statement } from '../database/statements.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { outbox } from '../mail/models.ts'
import { eraseSessions } from '../sessions/service.ts'
import { type User, users } from './models.ts'

/**
 * Takes away what else is known of somebody whose row is gone. The history stays, under an id that no longer
 * names anybody; so do ended sessions, for as long as a token of theirs might still be shown.
 */
export function eraseTraces({ id, email_normalized }: Pick<User, 'id' | 'email_normalized'>): Statement[] {
  const isGone = sql`NOT EXISTS (SELECT 1 FROM ${users} WHERE id = ${id})`
  // Somebody else may have the address by now, and mails and invitations of their own.
  const isNobodys = sql`NOT EXISTS (SELECT 1 FROM ${users}
    WHERE email_normalized = ${email_normalized} AND deleted_at IS NULL)`
  const areTheirs = or(
    eq(invitations.user_id, id),
    and(eq(invitations.email_normalized, email_normalized), isNobodys),
  )
  const subjects = sql`(SELECT ${id} UNION ALL SELECT id FROM ${invitations} WHERE ${areTheirs})`
  return [
    eraseSessions(id, isGone),
    ...eraseHistory(id, isGone),
    build
      .delete(outbox)
      .where(
        and(
          or(eq(outbox.user_id, id), and(eq(outbox.recipient_normalized, email_normalized), isNobodys)),
          isGone,
        ),
      ),
    build.delete(oneTimeTokens).where(sql`${oneTimeTokens.subject_id} IN ${subjects} AND ${isGone}`),
    build.delete(idempotencyKeys).where(sql`${idempotencyKeys.subject_id} IN ${subjects} AND ${isGone}`),
    build.delete(invitations).where(and(areTheirs, isGone)),
  ]
}
