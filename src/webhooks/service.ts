import { and, eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { formerSecretColumns } from '../access/former-secrets.ts'
import { requireRecentLogin } from '../access/guards.ts'
import { type Action, activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, rowExists, type Statement } from '../database/statements.ts'
import { assertCallable } from '../http/outbound.ts'
import { invalidInput } from '../http/problem.ts'
import { openAddedNotices } from '../mail/limits.ts'
import { sendAfterwards } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { byActor } from '../users/change.ts'
import { writeConflict } from '../users/errors.ts'
import { selectAdminsToTell, tellAll } from '../users/managing/notices.ts'
import { tooManyWebhooks, webhookNotFound } from './errors.ts'
import { selectWebhook } from './listing.ts'
import { MAX_WEBHOOKS, type Webhook as WebhookRow, webhooks } from './models.ts'
import {
  type CreateWebhook,
  MAX_URL_LENGTH,
  type RotateWebhookSecret,
  toWebhook,
  type UpdateWebhook,
  type Webhook,
  type WebhookWithSecret,
} from './schemas.ts'
import { newSecret, sealSecret } from './secrets.ts'
import { hostOf } from './telling.ts'

const MAX_ROUNDS = 5

type Acting = Resources & { actor: Claims }

/** An address as it is stored: normalised to the URL that is called. Throws 422. */
function addressOf(config: Acting['config'], given: string): string {
  assertCallable(config, given, '/url')
  const { href } = new URL(given)
  if (href.length > MAX_URL_LENGTH) {
    const detail = `Has more than ${MAX_URL_LENGTH} characters as it is sent.`
    throw invalidInput([{ pointer: '/url', code: 'too_big', detail }])
  }
  return href
}

/**
 * Every change is mailed to all administrators, so an actor may make only as many changes as may be mailed.
 */
const openTold = (resources: Acting) =>
  openAddedNotices(resources, 'webhooks changed', resources.actor.sid, resources.actor.sub)

/**
 * Creates a webhook. Every administrator is told.
 *
 * @throws 403; 409 `too_many_webhooks`; 422; 429 `too_many_attempts`.
 */
export async function createWebhook(resources: Acting, input: CreateWebhook): Promise<WebhookWithSecret> {
  const { db, config, actor, now } = resources
  requireRecentLogin(actor, now)
  const url = addressOf(config, input.url)
  const notices = openTold(resources)
  const { managing, spent } = await db.read({ managing: selectAdminsToTell(), spent: notices.spent })
  notices.assertMayAdd(spent)
  const id = uuidv7()
  const secret = newSecret()
  const row: WebhookRow = {
    id,
    url,
    types: JSON.stringify(input.types),
    secret: await sealSecret(config, id, secret),
    former_secret: null,
    former_secret_until: null,
    secret_by: actor.sub,
    created_by: actor.sub,
    created_at: now,
    updated_at: now,
    version: 1,
    failures: 0,
    failing_since: null,
    next_try_at: null,
    rested_at: null,
    listens: 1,
  }
  const by = byActor(actor, now)
  const event = eventOf('webhook.created', by.actorId, row)
  const isDone = rowExists(activityLogs, event.id)
  const fits = sql`(SELECT count(*) FROM (SELECT 1 FROM ${webhooks} LIMIT ${MAX_WEBHOOKS})) < ${MAX_WEBHOOKS}`
  const told = tellAll(resources, 'webhook_added', managing, event, isDone, notices.told)
  const { verdict, after } = await db.writeBatch(
    {
      history: record(resources, event, sql`${by.holds} AND ${fits} AND ${notices.mayAdd}`),
      webhook: insertWhere(webhooks, row, isDone),
      told: told.statements,
      verdict: sql<
        Verdict & { fits: 0 | 1 }
      >`SELECT ${isDone} AS is_done, ${by.holds} AS holds, ${fits} AS fits`,
      after: notices.spent,
    },
    isDone,
  )
  const { is_done, holds, fits: hasRoom } = verdict[0]!
  if (!is_done) {
    if (!holds) throw by.refused()
    if (!hasRoom) throw tooManyWebhooks()
    notices.assertMayAdd(after)
    throw writeConflict()
  }
  sendAfterwards(resources, ...told.mailIds)
  return { ...toWebhook(row, now), secret }
}

type Verdict = Record<'is_done' | 'holds', 0 | 1>

/** @param was the former address: whoever has several webhooks must see which of them has moved. */
function eventOf(
  action: Action,
  actorId: string | null,
  { id, url }: Pick<WebhookRow, 'id' | 'url'>,
  was = url,
  reason?: string,
) {
  const host = [...new Set([was, url].map(hostOf))].join(' → ')
  const details = { webhook_id: id, host, ...(reason && { reason }) }
  return { id: uuidv7(), action, userId: null, actorId, details }
}

interface Change {
  action: Action
  mail: 'webhook_changed' | 'webhook_removed'
  /** The address it is about, if that is a new one. */
  url?: string
  reason?: string
  change: (isThis: SQL) => Statement
}

/**
 * Reads, decides, and writes on the condition that nothing has changed since; starts again if something has.
 * If there is nothing to change, nothing is written and nobody is told.
 */
async function changeWebhook(
  resources: Acting,
  id: string,
  decide: (row: WebhookRow) => Change | undefined,
): Promise<WebhookRow | undefined> {
  const { db, actor, now } = resources
  requireRecentLogin(actor, now)
  const by = byActor(actor, now)
  const notices = openTold(resources)
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const asked = { found: selectWebhook(id), managing: selectAdminsToTell(), spent: notices.spent }
    // A lagging replica would only repeat what it has answered before.
    const { found, managing, spent } = await (round === 0 ? db.read(asked) : db.readPrimary(asked))
    const [row] = found
    if (!row) throw webhookNotFound()
    const decided = decide(row)
    if (!decided) {
      // A lagging replica may show the row as it was before somebody else's change.
      if (round === 0) continue
      return row
    }
    const { action, mail, change, url = row.url, reason } = decided
    notices.assertMayAdd(spent)
    const event = eventOf(action, by.actorId, { id, url }, row.url, reason)
    const isDone = rowExists(activityLogs, event.id)
    const isAsRead = sql`EXISTS (SELECT 1 FROM ${webhooks} WHERE id = ${id} AND version = ${row.version})`
    const told = tellAll(resources, mail, managing, event, isDone, notices.told)
    const { verdict, webhook } = await db.writeBatch(
      {
        history: record(resources, event, sql`${by.holds} AND ${isAsRead} AND ${notices.mayAdd}`),
        change: [change(and(eq(webhooks.id, id), isDone)!)],
        told: told.statements,
        webhook: selectWebhook(id),
        verdict: sql<Verdict>`SELECT ${isDone} AS is_done, ${by.holds} AS holds`,
      },
      isDone,
    )
    if (verdict[0]!.is_done) {
      sendAfterwards(resources, ...told.mailIds)
      return webhook[0]
    }
    if (!verdict[0]!.holds) throw by.refused()
  }
  throw writeConflict()
}

const moved = (now: number) => ({ updated_at: now, version: sql`${webhooks.version} + 1` })
const AWAKE = { failures: 0, failing_since: null, next_try_at: null, rested_at: null } as const

/** Saving without a change resumes a webhook that pauses or rests; if it does neither, nothing is altered. */
export type Done = 'updated' | 'resumed' | 'unaltered'

/**
 * Changes the URL or the types of a webhook, and wakes it: what it is owed goes out at once.
 *
 * @throws 403; 404 `webhook_not_found`; 422; 429 `too_many_attempts`.
 */
export async function updateWebhook(
  resources: Acting,
  id: string,
  { url: given, types: wanted }: UpdateWebhook,
): Promise<{ webhook: Webhook; done: Done }> {
  const { now } = resources
  const address = given === undefined ? undefined : addressOf(resources.config, given)
  let done: Done = 'unaltered'
  const row = await changeWebhook(resources, id, (row) => {
    const { url = row.url, types = row.types } = { url: address, types: wanted && JSON.stringify(wanted) }
    const isAsleep = row.failures > 0 || row.next_try_at !== null || row.rested_at !== null
    const isOther = url !== row.url || asSet(types) !== asSet(row.types)
    done = isOther ? 'updated' : isAsleep ? 'resumed' : 'unaltered'
    if (done === 'unaltered') return undefined
    return {
      action: 'webhook.updated',
      mail: 'webhook_changed',
      url,
      ...(done === 'resumed' && { reason: done }),
      change: (isThis) =>
        build
          .update(webhooks)
          .set({ url, types, ...AWAKE, ...moved(now) })
          .where(isThis),
    }
  })
  if (done !== 'unaltered') resources.afterwards(resources.deliverEvents())
  return { webhook: toWebhook(row!, now), done }
}

/** Equal for the same types in any order. */
const asSet = (types: string) => (JSON.parse(types) as string[]).toSorted().join()

/**
 * Makes a new secret. For a while messages are signed with the former one as well, so that none is rejected.
 * Throws 403; 404; 429.
 */
export async function rotateWebhookSecret(
  resources: Acting,
  id: string,
  { keep_former_seconds: seconds }: RotateWebhookSecret,
): Promise<WebhookWithSecret> {
  const { config, actor, now } = resources
  const secret = newSecret()
  const sealed = await sealSecret(config, id, secret)
  const row = await changeWebhook(
    resources,
    id,
    ({ secret: current, former_secret, former_secret_until }) => {
      const secrets = { secret_hash: current, former_secret_hash: former_secret, former_secret_until }
      const former = seconds > 0 ? formerSecretColumns(secrets, seconds * 1000, now) : undefined
      return {
        action: 'webhook.secret_rotated',
        mail: 'webhook_changed',
        change: (isThis) =>
          build
            .update(webhooks)
            .set({
              secret: sealed,
              secret_by: actor.sub,
              former_secret: former?.former_secret_hash ?? null,
              former_secret_until: former?.former_secret_until ?? null,
              ...moved(now),
            })
            .where(isThis),
      }
    },
  )
  return { ...toWebhook(row!, now), secret }
}

/** Nothing more is sent, not even what is owed; clean-up removes that. Throws 403; 404; 429. */
export async function deleteWebhook(resources: Acting, id: string): Promise<void> {
  await changeWebhook(resources, id, () => ({
    action: 'webhook.deleted',
    mail: 'webhook_removed',
    change: (isThis) => build.delete(webhooks).where(isThis),
  }))
}
