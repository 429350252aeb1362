import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { detailsIn } from '../activity/details.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { deliverAllDue, SHARES } from '../database/deliveries.ts'
import { build, databaseNow, rowExists } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { isAccepted, postToReceiver } from '../http/outbound.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import { selectAdminsToTell, tellAll } from '../users/managing/notices.ts'
import { webhooks } from './models.ts'
import { bodyOf, messageIdOf } from './payload.ts'
import {
  type Answered,
  type Claimed,
  claimDeliveries,
  type DueDelivery,
  giveBack,
  giveUpBehind,
  isOver,
  isRefused,
  mayBeOver,
  noteDelivered,
  noteFailed,
  SEND_WITHIN_MS,
  selectClaimed,
  selectDueDeliveries,
} from './protocol.ts'
import { renewSecrets, secretsOf, signedHeaders } from './secrets.ts'
import { hostOf, selectMaker } from './telling.ts'

/** A claimed delivery, and when the claim was requested (epoch ms, our clock). */
type Ours = Claimed & { askedAt: number }

/** Delivers what is due. Called after the answer of the request that caused it, and by the cron job. */
export async function deliverEvents(
  resources: Resources,
  by: keyof typeof SHARES,
): Promise<{ due: number; dead: number }> {
  const { db } = resources
  if (by === 'cron') await renewSecrets(resources)
  const { perRun, runMs, ...share } = SHARES[by]
  const startedAt = Date.now()
  const counts = { due: 0, dead: 0 }
  const run: Run = { silent: new Map(), delivered: 0 }
  // A success releases others: the next in its line, and all that waited for the end of a pause.
  do {
    run.delivered = 0
    const more = await deliverAllDue(
      {
        readDue: async () => (await db.read({ due: selectDueDeliveries() })).due,
        claim: (due) => claim(resources, due),
        deliver: (delivery: Ours) => deliver(resources, delivery, run),
      },
      { ...share, perRun: perRun - counts.due, runMs: runMs - (Date.now() - startedAt) },
    )
    counts.due += more.due
    counts.dead += more.dead
  } while (run.delivered > 0 && counts.due < perRun && Date.now() - startedAt < runMs)
  return counts
}

interface Run {
  /**
   * The webhooks that failed in this run, and when that was recorded (epoch ms). Their deliveries that were
   * claimed before then wait for the end of the pause. One claimed later was allowed to be: its claim
   * respects the pause, or somebody has ended the pause.
   */
  silent: Map<string, number>
  delivered: number
}

async function claim({ db, origin }: Resources, due: DueDelivery[]) {
  const askedAt = Date.now()
  const { dead, claimed } = await db.writeBatch(claimDeliveries(due))
  for (const { id: sequence, webhook_id } of dead)
    log('error', { code: 'webhook_gave_up', request_id: origin.requestId, webhook_id, sequence })
  return { claimed: (claimed as Claimed[]).map((row) => ({ ...row, askedAt })), dead: dead.length }
}

async function deliver(resources: Resources, delivery: Ours, run: Run): Promise<void> {
  const { db } = resources
  const { webhook_id, attempts } = delivery
  // Trials at the end of a pause are independent of each other: one may be refused for its content alone.
  const isTrial = delivery.hook_next_try_at !== null
  const line = { request_id: resources.origin.requestId, webhook_id, sequence: delivery.id, attempts }
  try {
    const isSilent = !isTrial && delivery.askedAt <= (run.silent.get(webhook_id) ?? 0)
    if (isSilent) return void (await db.writeBatch(giveBack(delivery)))
    // From the primary: a replica may not have heard of an erasure yet.
    const [said] = (await db.readPrimary({ said: selectClaimed(delivery) })).said as Claimed[]
    if (!said) return
    // The webhook's URL or secret has changed: the next claim reads the new one.
    const hasMoved = (['url', 'secret'] as const).some((what) => said[what] !== delivery[what])
    const isLate = Date.now() - delivery.askedAt > SEND_WITHIN_MS
    if (hasMoved || isLate) return void (await db.writeBatch(giveBack(delivery)))
    const { snapshot, event_details } = said
    const status = await post(resources, { ...delivery, snapshot, event_details })
    if (isAccepted(status)) {
      if (resources.config.LOG === 'all') log('info', { code: 'webhook_delivered', ...line })
      await db.writeBatch(noteDelivered(delivery, status))
      run.delivered += 1
      run.silent.delete(webhook_id)
      return
    }
    if (!isTrial) run.silent.set(webhook_id, Number.POSITIVE_INFINITY)
    log('warn', { code: 'webhook_not_delivered', ...line, refusal: status ?? 'no_answer' })
    await db.writeBatch(noteFailed(delivery, status)).finally(() => {
      if (!isTrial) run.silent.set(webhook_id, Date.now())
    })
    if (isRefused(delivery, status)) {
      const { given_up } = await db.writeBatch(giveUpBehind(delivery))
      if (given_up.length > 0) log('error', { code: 'webhook_gave_up', ...line, behind: given_up.length })
    }
    if (mayBeOver(delivery, status)) await rest(resources, delivery, status)
  } catch (error) {
    // When its claim ends it is tried again; a receiver that already has it recognises the id.
    log('warn', { code: 'webhook_not_noted', ...line, cause: error })
  }
}

type Posted = Pick<
  Claimed,
  'webhook_id' | 'url' | 'secret' | 'former_secret' | 'former_secret_until' | 'event_details'
> &
  Omit<Parameters<typeof bodyOf>[0], 'event_details'>

/**
 * The status that the receiver answered; undefined if it did not answer. Nothing else of the answer is read.
 */
export async function post(
  { config, origin }: Resources,
  delivery: Posted,
  { isByHand = false } = {},
): Promise<Answered> {
  const now = Date.now()
  const secrets = await secretsOf(config, { ...delivery, id: delivery.webhook_id }, now)
  if (secrets.length === 0) {
    // Its key has been removed from our configuration; rotating the secret repairs it.
    log('error', {
      code: 'webhook_secret_lost',
      request_id: origin.requestId,
      webhook_id: delivery.webhook_id,
    })
    return undefined
  }
  const body = bodyOf({ ...delivery, event_details: detailsIn(delivery.event_details) })
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'Roster-Webhooks',
    ...signedHeaders(secrets, messageIdOf(delivery), now, body),
    ...(isByHand && { 'roster-out-of-order': 'true' }),
  }
  return postToReceiver(config, 'webhook', delivery.url, { body, headers }).catch(() => undefined)
}

/**
 * Puts a webhook to rest if the write confirms that it is over, and tells its creator and the administrators.
 */
export async function rest(
  resources: Resources,
  { webhook_id: id, url }: Pick<Claimed, 'webhook_id' | 'url'>,
  status: Answered,
): Promise<void> {
  const { db } = resources
  const { managing, maker } = await db.read({ managing: selectAdminsToTell(), maker: selectMaker(id) })
  const event = {
    id: uuidv7(),
    action: 'webhook.rested',
    userId: null,
    actorId: null,
    details: { webhook_id: id, host: hostOf(url), reason: status === 410 ? 'gone' : 'failing' },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const told = tellAll(resources, 'webhook_rested', [...managing, ...maker], event, isDone)
  const { verdict } = await db.writeBatch(
    {
      history: record(resources, event, isOver(id, url, status)),
      hook: build.update(webhooks).set({ rested_at: databaseNow }).where(sql`id = ${id} AND ${isDone}`),
      told: told.statements,
      verdict: sql<{ is_done: 0 | 1 }>`SELECT ${isDone} AS is_done`,
    },
    isDone,
  )
  if (!verdict[0]!.is_done) return
  log('error', { code: 'webhook_rested', request_id: resources.origin.requestId, webhook_id: id })
  sendAfterwards(resources, ...told.mailIds)
}
