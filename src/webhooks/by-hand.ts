import { eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { requireRecentLogin } from '../access/guards.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, rowExists, type Statement } from '../database/statements.ts'
import { isAccepted } from '../http/outbound.ts'
import { openNotices } from '../mail/limits.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { byActor } from '../users/change.ts'
import { selectAdminsToTell, tellAll } from '../users/managing/notices.ts'
import { post, rest } from './delivery.ts'
import { deliveryNotFound, webhookNotFound } from './errors.ts'
import { selectWebhook } from './listing.ts'
import { listedColumns, webhookDeliveries } from './models.ts'
import { type Claimed, mayBeOver, noteByHand, selectWithHook } from './protocol.ts'
import { type Delivery, Sequence, toDelivery } from './schemas.ts'
import { hostOf } from './telling.ts'

type Acting = Resources & { actor: Claims }

/**
 * Sends one delivery at once, despite any pause and any earlier open delivery. The receiver's answer is
 * recorded and does not change whose turn it is.
 *
 * @throws 403; 404 `delivery_not_found`.
 */
export async function retryDelivery(resources: Acting, given: string): Promise<Delivery> {
  requireRecentLogin(resources.actor, resources.now)
  const { data: sequence } = Sequence().safeParse(Number(given))
  if (sequence === undefined) throw deliveryNotFound()
  const isThis = eq(webhookDeliveries.id, sequence)
  const { found, managing } = await resources.db.readPrimary({
    found: selectWithHook().where(isThis),
    managing: selectAdminsToTell(),
  })
  const [row] = found as Claimed[]
  if (!row) throw deliveryNotFound()
  const sent = await sendByHand(resources, row, {
    action: 'webhook.retried',
    details: { webhook_id: row.webhook_id, host: hostOf(row.url), sequence },
    isThere: sql`EXISTS (SELECT 1 FROM ${webhookDeliveries} WHERE id = ${sequence})`,
    prepare: (isDone) =>
      build
        .update(webhookDeliveries)
        .set({ attempts: sql`${webhookDeliveries.attempts} + 1` })
        .where(sql`${isThis} AND ${isDone}`),
    which: isThis,
    managing,
  })
  if (!sent) throw deliveryNotFound()
  return sent
}

/**
 * Sends a test event, `webhook.tested`, to one webhook. It is tried once; a success wakes a resting webhook.
 *
 * @throws 403; 404 `webhook_not_found`.
 */
export async function testWebhook(resources: Acting, id: string): Promise<Delivery> {
  const { actor, now } = resources
  requireRecentLogin(actor, now)
  const { hook, managing } = await resources.db.readPrimary({
    hook: selectWebhook(id),
    managing: selectAdminsToTell(),
  })
  if (!hook[0]) throw webhookNotFound()
  const eventId = uuidv7()
  const details = { webhook_id: id, host: hostOf(hook[0].url) }
  const row = {
    webhook_id: id,
    event_id: eventId,
    user_id: null,
    caused_by: actor.sub,
    type: 'webhook.tested',
    event_details: JSON.stringify(details),
    owed_at: now,
    attempts: 1,
    next_attempt_at: now,
    // So that nobody else tries it.
    dead_at: now,
    by_hand: 1,
  }
  const sent = await sendByHand(resources, hook[0], {
    eventId,
    action: 'webhook.tested',
    details,
    isThere: sql`EXISTS (SELECT 1 FROM (${selectWebhook(id)}))`,
    prepare: (isDone) => insertWhere(webhookDeliveries, row, isDone),
    which: sql`${webhookDeliveries.webhook_id} = ${id} AND ${webhookDeliveries.owed_at} = ${now}
      AND ${webhookDeliveries.event_id} = ${eventId}`,
    managing,
  })
  if (!sent) throw webhookNotFound()
  return sent
}

interface ByHand {
  eventId?: string
  action: 'webhook.retried' | 'webhook.tested'
  details: { webhook_id: string; sequence?: number; host?: string }
  isThere: ReturnType<typeof sql>
  prepare: (isDone: ReturnType<typeof sql>) => Statement
  /** The delivery to send. */
  which: ReturnType<typeof sql> | ReturnType<typeof eq>
  managing: Parameters<typeof tellAll>[2]
}

/** Records the try, makes it, and records the result. Undefined if the delivery no longer exists. */
async function sendByHand(
  resources: Acting,
  { failures }: Pick<Claimed, 'failures'>,
  { eventId = uuidv7(), action, details, isThere, prepare, which, managing }: ByHand,
): Promise<Delivery | undefined> {
  const { db, actor, now } = resources
  const by = byActor(actor, now)
  const event = { id: eventId, action, userId: null, actorId: actor.sub, details }
  const isDone = rowExists(activityLogs, eventId)
  const notices = openNotices(resources, 'webhook_tried', actor.sub, details.webhook_id)
  const told = tellAll(resources, 'webhook_tried', managing, event, isDone, notices)
  const { rows, verdict } = await db.writeBatch(
    {
      history: record(resources, event, sql`${by.holds} AND ${isThere}`),
      prepared: [prepare(isDone)],
      told: told.statements,
      rows: selectWithHook().where(which),
      verdict: sql<Record<'is_done' | 'holds', 0 | 1>>`SELECT ${isDone} AS is_done, ${by.holds} AS holds`,
    },
    isDone,
  )
  const { is_done, holds } = verdict[0]!
  if (!is_done && !holds) throw by.refused()
  const [row] = rows as Claimed[]
  if (!is_done || !row) return undefined
  sendAfterwards(resources, ...told.mailIds)
  const status = await post(resources, row, { isByHand: true })
  const noted = await db.writeBatch({
    ...noteByHand(row, status, action === 'webhook.tested'),
    after: build.select(listedColumns).from(webhookDeliveries).where(eq(webhookDeliveries.id, row.id)),
  })
  // Deliveries that waited for this one may go out now.
  if (isAccepted(status)) resources.afterwards(resources.deliverEvents())
  else if (mayBeOver({ failures: failures - 1 }, status)) await rest(resources, row, status)
  return noted.after[0] && toDelivery(noted.after[0])
}
