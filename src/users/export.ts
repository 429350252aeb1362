import { eq, or, sql } from 'drizzle-orm'
import * as z from 'zod'
import { requireRecentLogin } from '../access/guards.ts'
import { activityLogs } from '../activity/models.ts'
import { visibleTo } from '../activity/visibility.ts'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { idempotencyKeys } from '../idempotency/models.ts'
import { invitations } from '../invitations/models.ts'
import { oneTimeTokens } from '../links/models.ts'
import { outbox } from '../mail/models.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { sessions } from '../sessions/models.ts'
import { timeOfId, toTime } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { userNotFound } from './errors.ts'
import { selectUsers, users } from './models.ts'

const Rows = lazy(() => z.array(z.record(z.string(), z.unknown())))

/** Everything that is held about a person, by table (GDPR articles 15 and 20). */
export const UserExport = lazy(() =>
  z
    .object({
      exported_at: z.iso.datetime(),
      user: z.record(z.string(), z.unknown()),
      sessions: Rows(),
      activity: Rows(),
      invitations: Rows(),
      mails: Rows(),
      one_time_tokens: Rows(),
      idempotency_keys: Rows(),
    })
    .meta({ id: 'UserExport' }),
)
export type UserExport = Of<typeof UserExport>

/** Column names that hold a secret, or what only this system makes sense of. */
const WITHHELD = new Set([
  'password_hash',
  'body_hash',
  'response',
  'seq',
  'facets',
  'token_epoch',
  'device_epoch',
  'counter',
])

/**
 * Everything held about a person, complete but for secrets, in one trip. It reads all their rows: the one request
 * whose cost grows with a person's history.
 *
 * @throws 403 `reauthentication_required`; 404 `user_not_found`.
 */
export async function exportUser({ db, now }: Resources, actor: Claims, id: string): Promise<UserExport> {
  requireRecentLogin(actor, now)
  const {
    user: [user],
    ...held
  } = await db.read({
    user: selectUsers().where(eq(users.id, id)),
    sessions: build.select().from(sessions).where(eq(sessions.user_id, id)),
    activity: build
      .select()
      .from(activityLogs)
      .where(or(eq(activityLogs.user_id, id), eq(activityLogs.actor_id, id))),
    invitations: build
      .select()
      .from(invitations)
      .where(
        or(
          eq(invitations.user_id, id),
          // An address that is not proved is nobody's: what it was sent is for its owner.
          sql`email_normalized = (SELECT email_normalized FROM ${users} WHERE id = ${id} AND email_verified_at IS NOT NULL)`,
        ),
      ),
    mails: build.select().from(outbox).where(eq(outbox.user_id, id)),
    one_time_tokens: build.select().from(oneTimeTokens).where(eq(oneTimeTokens.subject_id, id)),
    idempotency_keys: build.select().from(idempotencyKeys).where(eq(idempotencyKeys.subject_id, id)),
  })
  if (!user) throw userNotFound()
  return {
    exported_at: toTime(now),
    user: readable(user),
    sessions: held.sessions.map(readable),
    activity: held.activity
      .flatMap((row) => visibleTo({ id, role: 'user' }, row) ?? [])
      .map((row) =>
        readable({
          ...row,
          created_at: timeOfId(row.id),
          details: row.details && JSON.parse(row.details),
        }),
      ),
    invitations: held.invitations.map(readable),
    mails: held.mails.map(readable),
    one_time_tokens: held.one_time_tokens.map(readable),
    idempotency_keys: held.idempotency_keys.map(readable),
  }
}

/** Without what is withheld, and with times as everywhere in JSON. */
const readable = (row: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row)
      .filter(([name]) => !WITHHELD.has(name))
      .map(([name, value]) => [
        name,
        /_(at|until)$/.test(name) && typeof value === 'number' ? toTime(value) : value,
      ]),
  )
