import { and, eq, gt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import * as z from 'zod'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, rowExists } from '../database/statements.ts'
import { type List, listOf, openPlace, pageQuery, toPage } from '../http/pagination.ts'
import { Refusal } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { Id, Time, timeOfId, toTime, toTimeOrNull } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { mailEnded, mailNotFound } from './errors.ts'
import { isDead, type OutboxMail, outbox, UNKNOWN } from './models.ts'
import { sendAfterwards } from './outbox.ts'

export const Mail = lazy(() =>
  z
    .object({
      id: Id(),
      kind: z.string(),
      status: z.enum(['waiting', 'sent', 'dead', 'unknown']).meta({
        description:
          '`unknown`: perhaps handed over, but never acknowledged, so it is not resent by itself. Listed with the dead.',
      }),
      to: z.string(),
      user_id: Id().nullable(),
      attempts: z.int(),
      refusal: z
        .string()
        .nullable()
        .meta({ description: 'Why it was last refused: the status of the mail service, or a word.' }),
      created_at: Time(),
      expires_at: Time(),
      next_attempt_at: Time().nullable(),
      dead_at: Time().nullable(),
    })
    .meta({ id: 'Mail' }),
)
export type Mail = Of<typeof Mail>
export const MailList = lazy(() => listOf(Mail()).meta({ id: 'MailList' }))

export const ListMails = lazy(() =>
  z.strictObject({
    status: z
      .enum(['dead', 'waiting'])
      .default('dead')
      .meta({ description: '`dead`: given up, newest first. `waiting`: to be sent, the next first.' }),
    ...pageQuery(),
  }),
)

const toMail = (row: OutboxMail, now: number): Mail => {
  const deadAt = row.dead_at !== null && row.dead_at <= now ? row.dead_at : null
  const status =
    row.sent_at !== null ? 'sent' : deadAt === null ? 'waiting' : row.refusal === UNKNOWN ? UNKNOWN : 'dead'
  return {
    id: row.id,
    kind: row.kind,
    status,
    to: row.recipient,
    user_id: row.user_id,
    attempts: row.attempts,
    refusal: status === 'waiting' && row.dead_at !== null ? null : row.refusal,
    created_at: toTime(row.created_at),
    expires_at: toTime(row.expires_at),
    next_attempt_at: status === 'waiting' ? toTime(row.next_attempt_at) : null,
    dead_at: toTimeOrNull(deadAt),
  }
}

type Row = OutboxMail & { rowid: number }

/**
 * Mails that were given up, or that wait; without those whose link is no longer valid, as nobody misses them.
 */
export async function listMails(
  { db, config, now }: Resources,
  { status, limit, cursor }: Of<typeof ListMails>,
): Promise<List<Mail>> {
  const list = `mails ${status}`
  const place = openPlace(config, list, cursor)
  const areDead = status === 'dead'
  const order = areDead ? sql`dead_at` : sql`next_attempt_at`
  const isDescending = areDead !== (place?.isBackwards ?? false)
  const direction = isDescending ? sql`DESC` : sql`ASC`
  const isMeant = areDead
    ? sql`${isDead(now)} AND refusal IS NOT 'void'`
    : sql`sent_at IS NULL AND dead_at IS NULL AND next_attempt_at >= 0`
  const [at, rowid] = place?.position ?? []
  const after = place
    ? sql` AND (${order}, rowid) ${isDescending ? sql`<` : sql`>`} (${at}, ${rowid})`
    : sql``
  const { read } = await db.read({
    read: sql<Row>`SELECT *, rowid FROM ${outbox} WHERE ${isMeant}${after}
      ORDER BY ${order} ${direction}, rowid ${direction} LIMIT ${limit + 1}`,
  })
  const positionOf = (row: Row) => [areDead ? row.dead_at : row.next_attempt_at, row.rowid]
  const { rows, pagination } = toPage(config, list, { read, limit, place, positionOf })
  return { data: rows.map((row) => toMail(row, now)), pagination }
}

/**
 * Retries a mail that was given up, from the beginning. One that waits, is on its way or was sent is not changed.
 *
 * @throws 404 `mail_not_found`; 409 `mail_ended` if it has expired.
 */
export async function retryMail(resources: Resources, actor: Claims, id: string): Promise<Mail> {
  if (!Id().safeParse(id).success) throw mailNotFound()
  const { db, now } = resources
  const holds = tokenIsLive(actor, now)
  const mayBeRetried = and(eq(outbox.id, id), isDead(now), gt(outbox.expires_at, now))
  const event = {
    id: uuidv7(),
    action: 'mail.retried',
    userId: sql`(SELECT user_id FROM ${outbox} WHERE id = ${id})`,
    actorId: actor.sub,
    details: { mail_id: id },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const { mail, verdict } = await db.writeBatch(
    {
      history: record(
        resources,
        event,
        sql`${holds} AND EXISTS (SELECT 1 FROM ${outbox} WHERE ${mayBeRetried})`,
      ),
      change: build
        .update(outbox)
        // As when it was new: the sender claims it by this time.
        .set({ dead_at: null, refusal: null, attempts: 0, next_attempt_at: timeOfId(id) })
        .where(and(eq(outbox.id, id), isDone)),
      mail: build.select().from(outbox).where(eq(outbox.id, id)),
      verdict: sql<Record<'is_done' | 'holds', 0 | 1>>`SELECT ${isDone} AS is_done, ${holds} AS holds`,
    },
    isDone,
  )
  if (!verdict[0]!.holds) throw invalidToken(new Refusal('meanwhile'))
  const [row] = mail
  if (!row) throw mailNotFound()
  if (verdict[0]!.is_done) sendAfterwards(resources, id)
  else if (row.dead_at !== null && row.dead_at <= now) throw mailEnded()
  return toMail(row, now)
}
