import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../../activity/models.ts'
import { recordEach } from '../../activity/service.ts'
import type { Resources } from '../../context.ts'
import type { Statement } from '../../database/statements.ts'
import { factors } from '../../factors/models.ts'
import { sealSeed } from '../../factors/totp.ts'
import { invitations } from '../../invitations/models.ts'
import { voidTokens } from '../../links/service.ts'
import { outbox } from '../../mail/models.ts'
import { sealForeignHash } from '../../passwords/foreign/sealing.ts'
import { makeUserRow } from '../../users/create.ts'
import { IMPORTED, users } from '../../users/models.ts'
import type { Hash, Line } from './lines.ts'
import type { ImportedUser } from './schemas.ts'

/** A user that an import creates, and what is stored with them. */
export interface Made {
  row: Awaited<ReturnType<typeof makeRow>>
  factor: { user_id: string; seed: string; key_id: string } | undefined
}

export async function makeRows(
  resources: Resources,
  { user, seed, hash }: Extract<Line, { user: ImportedUser }>,
): Promise<Made> {
  const row = await makeRow(resources, user, hash)
  const sealed = seed && (await sealSeed(resources.config, row.id, seed))
  return {
    row,
    factor: sealed && { user_id: row.id, seed: sealed.text, key_id: sealed.keyId },
  }
}

async function makeRow(
  resources: Resources,
  { email_verified, created_at, disabled, password_hash = '', ...user }: ImportedUser,
  hash: Hash,
) {
  const { now } = resources
  const { factors: _, ...input } = user
  const name = input.name ?? input.email.split('@')[0]!
  const row = await makeUserRow(resources, { ...input, name }, email_verified)
  const madeAt = created_at ?? now
  // The id contains the time, which lists sort by.
  const id = uuidv7({ msecs: madeAt })
  return {
    ...row,
    id,
    password_hash:
      hash === 'ours'
        ? password_hash
        : hash === 'verified'
          ? await sealForeignHash(resources.config, id, password_hash)
          : null,
    needs_reset: hash === 'needs_reset' ? 1 : 0,
    created_at: madeAt,
    status: disabled ? ('disabled' as const) : row.status,
    password_is_given: email_verified ? 0 : IMPORTED,
  }
}

/**
 * A few statements that create all the users, conditional on `isDone`. Existing accounts stay as they are.
 */
export function insertUsers(
  resources: Resources,
  made: readonly Made[],
  { importId, actorId, isDone }: { importId: string; actorId: string; isDone: SQL },
): Record<'users' | 'factors' | 'history' | 'adoption', Statement | Statement[]> {
  const { origin, now } = resources
  const rows = made.map(({ row }) => row)
  const events = rows.map(({ id, role }) => ({
    id: uuidv7(),
    user_id: id,
    actor_id: actorId,
    action: 'user.created',
    details: JSON.stringify({ role, import_id: importId }),
    ip: origin.ip,
    user_agent: origin.userAgent,
    country: origin.country,
    request_id: origin.requestId,
  }))
  const seeds = made.flatMap(({ factor }) =>
    factor ? [{ ...factor, created_at: now, confirmed_at: now, last_step: null }] : [],
  )
  const proved = rows.filter((row) => row.email_verified_at !== null)
  return {
    users: insertRows(users, rows, sql`${isDone} AND ${isFree}`),
    history: insertRows(activityLogs, events, sql`${isDone} AND ${userIsMade}`),
    factors: insertRows(factors, seeds, sql`${isDone} AND ${userIsMade}`),
    adoption: proved.length > 0 ? adoptAll(resources, actorId, proved, isDone) : [],
  }
}

/** A condition on an input row: that its user exists, whom only this import can have created. */
const userIsMade = sql`EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = value ->> '$.user_id')`

/**
 * A condition on an input row: that its address and external id are free; otherwise a trigger would abort the
 * whole batch.
 */
const isFree = sql`NOT EXISTS (SELECT 1 FROM ${users} INDEXED BY users_live_email
      WHERE deleted_at IS NULL AND email_normalized = value ->> '$.email_normalized')
    AND NOT EXISTS (SELECT 1 FROM ${users} INDEXED BY users_by_external_id
      WHERE external_id IS NOT NULL AND external_id = value ->> '$.external_id')`

/** Inserts rows in one statement, leaving out those whose key or name is taken. */
function insertRows(
  table: typeof users | typeof activityLogs | typeof factors,
  rows: readonly object[],
  condition: SQL,
): Statement[] {
  if (rows.length === 0) return []
  const names = Object.keys(rows[0]!)
  const columns = sql.join(names.map(sql.identifier), sql`, `)
  const values = sql.raw(names.map((name) => `value ->> '$.${name}'`).join(', '))
  return [
    sql`INSERT INTO ${table} (${columns}) SELECT ${values} FROM json_each(${JSON.stringify(rows)}) WHERE ${condition}
      ON CONFLICT DO NOTHING`,
  ]
}

/**
 * A user who comes with a proved address needs no invitation to it: it ends, and what was kept of it becomes
 * theirs.
 */
function adoptAll(
  resources: Resources,
  actorId: string,
  proved: readonly Made['row'][],
  isDone: SQL,
): Statement[] {
  const { now } = resources
  const ids = JSON.stringify(proved.map(({ id }) => id))
  const owner = (address: SQL) =>
    sql`(SELECT id FROM ${users} WHERE ${users.email_normalized} = ${address} AND deleted_at IS NULL)`
  const theirs = sql`(SELECT email_normalized FROM ${users} WHERE id IN (SELECT value FROM json_each(${ids})))`
  const open = sql`${isDone} AND ${invitations.email_normalized} IN ${theirs} AND accepted_at IS NULL AND withdrawn_at IS NULL`
  return [
    recordEach(resources, 'invitation.withdrawn', {
      now,
      userId: sql`NULL`,
      actorId,
      details: sql`json_object('invitation_id', id, 'role', role, 'reason', 'has_account')`,
      from: sql`${invitations} WHERE ${open}`,
    }),
    voidTokens(now, ['accept_invitation'], sql`subject_id IN (SELECT id FROM ${invitations} WHERE ${open})`),
    sql`UPDATE ${invitations} SET withdrawn_at = ${now}, user_id = ${owner(sql`${invitations.email_normalized}`)}
      WHERE ${open}`,
    sql`UPDATE ${outbox} SET user_id = ${owner(sql`recipient_normalized`)}
      WHERE ${isDone} AND recipient_normalized IN ${theirs} AND user_id IS NULL`,
  ]
}
