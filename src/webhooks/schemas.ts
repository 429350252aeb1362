import * as z from 'zod'
import { formerSecretSeconds } from '../access/former-secrets.ts'
import { ACTIONS, type Action } from '../activity/models.ts'
import { listOf, pageQuery } from '../http/pagination.ts'
import { Id, Time, toTime, toTimeOrNull } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'
import type { ListedDelivery, Webhook as WebhookRow } from './models.ts'

export const MAX_URL_LENGTH = 2000

/**
 * The types that can be subscribed to: a refresh writes no row of history, and a test goes to one webhook
 * alone.
 */
export const EVENT_TYPES = (Object.keys(ACTIONS) as Action[]).filter(
  (action) => action !== 'session.refreshed' && action !== 'webhook.tested',
)

const settings = () => ({
  url: text(MAX_URL_LENGTH, 1).meta({
    description: '`https`, port 443, a name that everybody can look up, and no redirect.',
    example: 'https://hooks.example.com/roster',
  }),
  types: z
    .array(z.enum(EVENT_TYPES as [Action, ...Action[]]))
    .min(1)
    .max(EVENT_TYPES.length)
    .refine((types) => new Set(types).size === types.length, 'Has a duplicate.')
    .meta({ description: 'Actions of the history.' }),
})

export const CreateWebhook = lazy(() => z.strictObject(settings()).meta({ id: 'CreateWebhook' }))
export type CreateWebhook = Of<typeof CreateWebhook>

export const UpdateWebhook = lazy(() =>
  z
    .strictObject({
      ...settings(),
      status: z.literal('active').meta({ description: 'Wakes it, with nothing else changed.' }),
    })
    .partial()
    .refine((value) => Object.keys(value).length > 0, { message: 'Changes nothing.' })
    .meta({ id: 'UpdateWebhook' }),
)
export type UpdateWebhook = Of<typeof UpdateWebhook>

export const RotateWebhookSecret = lazy(() =>
  z
    .strictObject({
      keep_former_seconds: formerSecretSeconds('For how long the former secret signs, too'),
    })
    .meta({ id: 'RotateWebhookSecret' }),
)
export type RotateWebhookSecret = Of<typeof RotateWebhookSecret>

export const Webhook = lazy(() =>
  z
    .object({
      id: Id(),
      url: z.string(),
      types: z.array(z.string()),
      status: z.enum(['active', 'failing', 'resting']).meta({
        description:
          '`failing`: one delivery is tried now and then. `resting`: none is, until a change or a good test wakes it.',
      }),
      failing_since: Time().nullable(),
      next_try_at: Time().nullable(),
      rested_at: Time().nullable(),
      former_secret_until: Time().nullable(),
      created_by: Id().nullable(),
      created_at: Time(),
      updated_at: Time(),
    })
    .meta({ id: 'Webhook' }),
)
export type Webhook = Of<typeof Webhook>

export const WebhookWithSecret = lazy(() =>
  Webhook()
    .extend({ secret: z.string().meta({ description: 'Shown only once: `whsec_` and base64.' }) })
    .meta({ id: 'WebhookWithSecret' }),
)
export type WebhookWithSecret = Of<typeof WebhookWithSecret>
export const WebhookList = lazy(() => listOf(Webhook()).meta({ id: 'WebhookList' }))

export const Delivery = lazy(() =>
  z
    .object({
      sequence: z.int().meta({ description: 'The order in which changes were committed.' }),
      webhook_id: Id(),
      event_id: Id().meta({ description: 'The row of history; `webhook-id` is `msg_` and this.' }),
      type: z.string(),
      user_id: Id().nullable(),
      status: z.enum(['waiting', 'delivered', 'gave_up']),
      out_of_order: z.boolean().meta({
        description: 'It was given up, or sent by hand: what came after it may have gone before.',
      }),
      attempts: z.int(),
      last_attempt_at: Time().nullable(),
      last_status: z.int().nullable().meta({ description: 'Of the last answer; null where there was none.' }),
      owed_at: Time(),
      delivered_at: Time().nullable(),
    })
    .meta({ id: 'WebhookDelivery' }),
)
export type Delivery = Of<typeof Delivery>
export const DeliveryList = lazy(() => listOf(Delivery()).meta({ id: 'WebhookDeliveryList' }))
export const ListDeliveries = lazy(() => z.strictObject(pageQuery()))
export const Sequence = lazy(() => z.int().min(1).meta({ description: 'The `sequence` of a delivery.' }))

const statusOf = ({ rested_at, next_try_at }: WebhookRow) =>
  rested_at !== null ? 'resting' : next_try_at !== null ? 'failing' : 'active'

export const toWebhook = (row: WebhookRow, now: number): Webhook => ({
  id: row.id,
  url: row.url,
  types: JSON.parse(row.types) as string[],
  status: statusOf(row),
  failing_since: toTimeOrNull(row.failing_since),
  next_try_at: row.rested_at === null ? toTimeOrNull(row.next_try_at) : null,
  rested_at: toTimeOrNull(row.rested_at),
  former_secret_until: (row.former_secret_until ?? 0) > now ? toTimeOrNull(row.former_secret_until) : null,
  created_by: row.created_by,
  created_at: toTime(row.created_at),
  updated_at: toTime(row.updated_at),
})

export const toDelivery = (row: ListedDelivery): Delivery => ({
  sequence: row.id,
  webhook_id: row.webhook_id,
  event_id: row.event_id,
  type: row.type,
  user_id: row.user_id,
  status: row.delivered_at !== null ? 'delivered' : row.dead_at !== null ? 'gave_up' : 'waiting',
  out_of_order: row.by_hand === 1 || row.dead_at !== null,
  attempts: row.attempts,
  last_attempt_at: toTimeOrNull(row.last_attempt_at),
  last_status: row.last_status,
  owed_at: toTime(row.owed_at),
  delivered_at: toTimeOrNull(row.delivered_at),
})
