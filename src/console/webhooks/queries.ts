import { sql } from 'drizzle-orm'
import type { Acting } from '../../users/change.ts'
import { users } from '../../users/models.ts'
import { webhookNotFound } from '../../webhooks/errors.ts'
import { pageOfDeliveries, selectWebhook, selectWebhooks, toList } from '../../webhooks/listing.ts'
import { REST_AFTER, webhooks } from '../../webhooks/models.ts'
import { toWebhook } from '../../webhooks/schemas.ts'

const selectMakers = () => sql<{ id: string; name: string }>`SELECT id, name FROM ${users} WHERE id IN
  (SELECT created_by FROM ${webhooks}) AND deleted_at IS NULL`

const toNames = (rows: { id: string; name: string }[]): Record<string, string> =>
  Object.fromEntries(rows.map(({ id, name }) => [id, name]))

/** All webhooks, with the names of those who created them, in one trip. */
export async function readWebhooks({ db, now }: Acting) {
  const { rows, makers } = await db.read({ rows: selectWebhooks(), makers: selectMakers() })
  return { list: toList(rows, now), names: toNames(makers) }
}

/** One webhook and a page of its deliveries, in one trip. Throws 404 `webhook_not_found`. */
export async function findWebhook(acting: Acting, id: string, cursor: string | undefined) {
  const page = pageOfDeliveries(acting, id, { limit: 25, cursor })
  const { rows, hook, people } = await acting.db.read({
    rows: page.rows,
    hook: selectWebhook(id),
    people: sql<{ id: string; name: string }>`SELECT id, name FROM ${users} WHERE deleted_at IS NULL
      AND id IN (SELECT user_id FROM (${page.rows}) AS place)`,
  })
  if (!hook[0]) throw webhookNotFound()
  const { rested_at, failures } = hook[0]
  return {
    webhook: toWebhook(hook[0], acting.now),
    // With fewer failures than this, a 410 is the only reason why it rests.
    isGone: rested_at !== null && failures < REST_AFTER.tries,
    deliveries: page.toList(rows),
    people: toNames(people),
  }
}
