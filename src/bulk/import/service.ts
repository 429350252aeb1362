import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { hasRecentLogin } from '../../access/guards.ts'
import { findErasedAmong } from '../../activity/ledger.ts'
import { activityLogs } from '../../activity/models.ts'
import { record } from '../../activity/service.ts'
import { rowExists } from '../../database/statements.ts'
import { type InputError, Refusal } from '../../http/problem.ts'
import { hasKeyOf } from '../../passwords/hashing.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import type { Acting } from '../../users/change.ts'
import { users } from '../../users/models.ts'
import { normalizeEmail } from '../../values/email.ts'
import { addImportedIds } from '../../webhooks/models.ts'
import { findInTheWay, judgeLines, type Known, knownBy, type Verdict } from './judge.ts'
import type { Hash, Line } from './lines.ts'
import { insertUsers, type Made, makeRows } from './rows.ts'
import type { ImportResult, LineResult } from './schemas.ts'

/**
 * Imports users in two trips: one reads who exists already, and one batch creates the others. An existing
 * account is never changed, no mail is sent, and a refused line does not affect others. So the same lines can
 * be sent again, even after a lost answer: users created the first time then exist.
 *
 * The marker of the batch is its row of history; each user has a row besides, which names it. A user counts
 * as `created` if the id chosen for them here exists: an account that took the same address or external id
 * first has another id.
 */
export async function importUsers(
  acting: Acting,
  read: readonly Line[],
  { dry_run: isDry, include_erased: takesErased }: { dry_run: boolean; include_erased: boolean },
): Promise<ImportResult> {
  const lines = read.map((line) => withKnownHash(acting, line))
  const given = takesErased ? [] : lines.flatMap(({ user }) => (user ? [user] : []))
  const ledger = findErasedAmong(acting, given, ({ email, external_id = null }) => ({
    email_normalized: normalizeEmail(email),
    external_id,
  }))
  const { known, owed } = await acting.db.read({ known: selectKnown(lines), owed: ledger.owed })
  const erased = await ledger.answer(owed)
  const verdicts = judgeLines(lines, known, {
    actor: acting.actor,
    now: acting.now,
    isRecent: () => hasRecentLogin(acting.actor, acting.now),
    isErased: (user) => erased.has(user),
  })
  if (isDry) return { data: lines.map((line, at) => toResult(line, verdicts[at]!)) }
  const made = await Promise.all(
    lines.map(async (line, at) =>
      line.user && verdicts[at]!.status === 'new' ? makeRows(acting, line) : undefined,
    ),
  )
  const written = await write(acting, lines, made)
  return {
    data: lines.map((line, at) => {
      const id = made[at]?.row.id
      if (id === undefined) return toResult(line, verdicts[at]!)
      if (!written.missing.has(id)) return toResult(line, { status: 'new' }, id)
      // Somebody else has just taken the address or the external id.
      return toResult(line, findInTheWay(line.user!, written.there))
    }),
  }
}

/** A hash of ours whose key is missing here cannot be verified: its user must choose a new password. */
function withKnownHash({ config }: Acting, line: Line): Line {
  if (line.errors || line.hash !== 'ours' || hasKeyOf(line.user.password_hash!, config.keys)) return line
  const hash: Hash = 'needs_reset'
  return { ...line, hash }
}

async function write(acting: Acting, lines: readonly Line[], all: readonly (Made | undefined)[]) {
  const made = all.filter((one) => one !== undefined)
  if (made.length === 0) return { missing: new Set<string>(), there: knownBy([]) }
  const { db, now, actor } = acting
  const event = {
    id: uuidv7(),
    action: 'users.imported',
    userId: null,
    actorId: actor.sub,
    details: { count: made.length },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const ids = JSON.stringify(made.map(({ row }) => row.id))
  const { missing, known, verdict } = await db.writeBatch(
    {
      marker: record(acting, event, tokenIsLive(actor, now)),
      ...insertUsers(acting, made, { importId: event.id, actorId: actor.sub, isDone }),
      told: addImportedIds(event.id, ids),
      // Nearly always empty: reading hundreds of rows from the answer would take longer than judging the
      // lines.
      missing: sql<{ id: string }>`SELECT value AS id FROM json_each(${ids})
        WHERE NOT EXISTS (SELECT 1 FROM ${users} WHERE ${users.id} = value)`,
      known: selectKnown(lines, ids),
      verdict: sql<{ is_done: 0 | 1 }>`SELECT ${isDone} AS is_done`,
    },
    isDone,
  )
  if (!verdict[0]!.is_done) throw invalidToken(new Refusal('meanwhile'))
  return { missing: new Set(missing.map(({ id }) => id)), there: knownBy(known) }
}

/** Users who have an address or an external id of these lines, except those just created. */
function selectKnown(lines: readonly Line[], madeIds = '[]') {
  const given = lines.flatMap(({ user }) => (user ? [user] : []))
  const addresses = JSON.stringify(given.map(({ email }) => normalizeEmail(email)))
  const externalIds = JSON.stringify(given.flatMap(({ external_id }) => external_id ?? []))
  const columns = sql.raw('id, email_normalized, external_id, deleted_at, email_verified_at')
  const isOther = sql`id NOT IN (SELECT value FROM json_each(${madeIds}))`
  return sql<Known>`SELECT ${columns} FROM users INDEXED BY users_live_email
      WHERE deleted_at IS NULL AND email_normalized IN (SELECT value FROM json_each(${addresses})) AND ${isOther}
    UNION SELECT ${columns} FROM users INDEXED BY users_by_external_id
      WHERE external_id IS NOT NULL AND external_id IN (SELECT value FROM json_each(${externalIds})) AND ${isOther}`
}

function toResult({ line, ...read }: Line, verdict: Verdict, id?: string): LineResult {
  const warnings: InputError[] = [
    ...(verdict.status === 'exists' ? (verdict.warnings ?? []) : []),
    ...(read.errors ? [] : read.warnings),
  ]
  const told = warnings.length > 0 ? { warnings } : {}
  const reset = !read.errors && read.hash === 'needs_reset' ? { needs_reset: true as const } : {}
  if (verdict.status === 'new') return { line, status: 'created', ...(id && { id }), ...reset, ...told }
  return { line, ...verdict, ...(verdict.status === 'exists' && told) }
}
