import { v7 as uuidv7 } from 'uuid'
import { newSecret, sealSecret } from '../../src/webhooks/secrets.ts'
import type { Api } from './api.ts'

/** Who gets through the routes of webhooks; see WHO. */
export const WHO_OF_WEBHOOKS = {
  'GET /v1/webhooks': 'admin',
  'POST /v1/webhooks': 'admin',
  'GET /v1/webhooks/:id': 'admin',
  'PATCH /v1/webhooks/:id': 'admin',
  'DELETE /v1/webhooks/:id': 'admin',
  'POST /v1/webhooks/:id/secret': 'admin',
  'POST /v1/webhooks/:id/test': 'admin',
  'GET /v1/webhooks/:id/deliveries': 'admin',
  'POST /v1/webhooks/deliveries/:id/retry': 'admin',
} as const

/** Its receiver does not exist, and no request of the tables causes its event, so reading leaves nothing behind. */
export const NEW_WEBHOOK = {
  url: 'https://hooks.roster.example/x',
  types: ['passkey.counter_went_back'],
}

/**
 * A webhook as a request makes it, but without telling anybody: with hundreds of administrators in the database that
 * would be a hundred mails each time. Only a few are kept, as there may be at most fifty.
 */
export async function makeWebhook(api: Api): Promise<{ id: string }> {
  const { id: maker } = await api.person({ role: 'admin', password_hash: null })
  const [id, now] = [uuidv7(), Date.now()]
  const sealed = await sealSecret(api.config(), id, newSecret())
  await api.sql('DELETE FROM webhooks WHERE id NOT IN (SELECT id FROM webhooks ORDER BY id DESC LIMIT 20)')
  await api.sql(
    `INSERT INTO webhooks (id, url, types, secret, secret_by, created_by, created_at, updated_at, version, failures, listens)
      VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?6, 1, 0, 1)`,
    [id, NEW_WEBHOOK.url, JSON.stringify(NEW_WEBHOOK.types), sealed, maker, now],
  )
  return { id }
}

/** Adds a delivery; returns its sequence. It has been given up, so nothing tries it by itself. */
export async function addDelivery(api: Api, webhookId: string): Promise<number> {
  const [row] = await api.sql(
    `INSERT INTO webhook_deliveries (webhook_id, event_id, type, owed_at, next_attempt_at, dead_at, is_fixed)
      VALUES (?1, '019ab0c4-7d1e-7a51-9c3b-2f4d5e6f7a8b', 'user.exported', ?2, ?2, ?2, 1) RETURNING id`,
    [webhookId, Date.now()],
  )
  return Number(row!.id)
}

/** One good request of each of those routes. */
export const requestsOfWebhooks = (open: () => Api) => {
  const path = async (more = '') => `/v1/webhooks/${(await makeWebhook(open())).id}${more}`
  return {
    'GET /v1/webhooks': async () => ['/v1/webhooks'],
    'POST /v1/webhooks': async () => ['/v1/webhooks', NEW_WEBHOOK],
    'GET /v1/webhooks/:id': async () => [await path()],
    'PATCH /v1/webhooks/:id': async () => [await path(), { types: ['user.purged'] }],
    'DELETE /v1/webhooks/:id': async () => [await path()],
    'POST /v1/webhooks/:id/secret': async () => [await path('/secret'), {}],
    'POST /v1/webhooks/:id/test': async () => [await path('/test')],
    'GET /v1/webhooks/:id/deliveries': async () => [await path('/deliveries')],
    'POST /v1/webhooks/deliveries/:id/retry': async () => [
      `/v1/webhooks/deliveries/${await addDelivery(open(), (await makeWebhook(open())).id)}/retry`,
    ],
  } satisfies Record<string, () => Promise<[path: string, body?: unknown]>>
}
