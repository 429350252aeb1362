import { desc, eq, sql } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { type List, openPlace, toPage } from '../http/pagination.ts'
import type { Of } from '../values/lazy.ts'
import { webhookNotFound } from './errors.ts'
import {
  type ListedDelivery,
  listedColumns,
  MAX_WEBHOOKS,
  type Webhook as WebhookRow,
  webhookDeliveries,
  webhooks,
} from './models.ts'
import { type Delivery, type ListDeliveries, toDelivery, toWebhook, type Webhook } from './schemas.ts'

export const selectWebhooks = () =>
  build.select().from(webhooks).orderBy(desc(webhooks.id)).limit(MAX_WEBHOOKS)

export const selectWebhook = (id: string) => build.select().from(webhooks).where(eq(webhooks.id, id))

/** All of them, newest first: there are at most 50, so the list is one page. */
export function toList(rows: readonly WebhookRow[], now: number): List<Webhook> {
  const data = rows.map((row) => toWebhook(row, now))
  return {
    data,
    pagination: { limit: MAX_WEBHOOKS, next_cursor: null, prev_cursor: null, total: data.length },
  }
}

export async function listWebhooks({ db, now }: Resources): Promise<List<Webhook>> {
  const { rows } = await db.read({ rows: selectWebhooks() })
  return toList(rows, now)
}

/** Throws 404 `webhook_not_found`. */
export async function getWebhook({ db, now }: Resources, id: string): Promise<Webhook> {
  const { rows } = await db.read({ rows: selectWebhook(id) })
  if (!rows[0]) throw webhookNotFound()
  return toWebhook(rows[0], now)
}

/**
 * A page of the deliveries of one webhook, newest first: its query, and the function that turns the rows into
 * a page.
 */
export function pageOfDeliveries(
  { config }: Pick<Resources, 'config'>,
  webhookId: string,
  { limit, cursor }: Of<typeof ListDeliveries>,
) {
  const list = `webhook_deliveries ${webhookId}`
  const place = openPlace(config, list, cursor)
  const isBackwards = place?.isBackwards === true
  const [at, id] = place?.position ?? []
  const after = place ? sql` AND (owed_at, id) ${isBackwards ? sql`>` : sql`<`} (${at}, ${id})` : sql``
  const direction = isBackwards ? sql`ASC` : sql`DESC`
  return {
    rows: build
      .select(listedColumns)
      .from(webhookDeliveries)
      .where(sql`webhook_id = ${webhookId}${after}`)
      .orderBy(sql`owed_at ${direction}, id ${direction}`)
      .limit(limit + 1),
    toList(read: readonly ListedDelivery[]): List<Delivery> {
      const positionOf = (row: ListedDelivery) => [row.owed_at, row.id]
      const { rows, pagination } = toPage(config, list, { read, limit, place, positionOf })
      return { data: rows.map(toDelivery), pagination }
    },
  }
}

/** Throws 404 `webhook_not_found`. */
export async function listDeliveries(
  resources: Resources,
  webhookId: string,
  asked: Of<typeof ListDeliveries>,
): Promise<List<Delivery>> {
  const page = pageOfDeliveries(resources, webhookId, asked)
  const { rows, hook } = await resources.db.read({ rows: page.rows, hook: selectWebhook(webhookId) })
  if (!hook[0]) throw webhookNotFound()
  return page.toList(rows)
}
