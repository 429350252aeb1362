import { reauthenticationRequired } from '../access/errors.ts'
import { limitLists, requirePermission } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation, query } from '../http/operation.ts'
import { CALLS } from '../http/outbound.ts'
import { answerList, invalidCursor } from '../http/pagination.ts'
import { RECENT_LOGIN } from '../http/problem.ts'
import { NOTICES_ALIKE } from '../mail/limits.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { writeConflict } from '../users/errors.ts'
import { HOUR_MS, inWords } from '../values/durations.ts'
import { retryDelivery, testWebhook } from './by-hand.ts'
import { deliveryNotFound, tooManyWebhooks, webhookNotFound } from './errors.ts'
import { getWebhook, listDeliveries, listWebhooks } from './listing.ts'
import { DELIVERED_KEPT_MS } from './models.ts'
import {
  CreateWebhook,
  Delivery,
  DeliveryList,
  ListDeliveries,
  RotateWebhookSecret,
  Sequence,
  UpdateWebhook,
  Webhook,
  WebhookList,
  WebhookWithSecret,
} from './schemas.ts'
import { createWebhook, deleteWebhook, rotateWebhookSecret, updateWebhook } from './service.ts'

const tag = 'webhooks'
const mayTell = () => tooManyAttempts(60)
const ANSWER_WITHIN = inWords(CALLS.webhook.timeoutMs)
const TOLD = `Needs a login in the last ${RECENT_LOGIN}. Every administrator is told by mail.`
const BY_HAND = `Answers when the receiver has, or after ${ANSWER_WITHIN}. Needs a login in the last ${RECENT_LOGIN}. Every administrator is told by mail, at most ${NOTICES_ALIKE} times in ${inWords(HOUR_MS)} for each webhook.`

/** Under /v1/webhooks: for those who decide what other systems are told. */
export const webhookRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listWebhooks',
      tag,
      summary: 'All webhooks, newest first',
      description: 'All on one page, without secrets.',
      responses: { 200: WebhookList },
    }),
    requirePermission('webhooks:manage'),
    limitLists,
    async (c) => answerList(c, await listWebhooks(c.var)),
  )
  .post(
    '/',
    operation({
      id: 'createWebhook',
      tag,
      summary: 'Let another system hear of changes; its secret is shown once',
      description: TOLD,
      responses: { 201: WebhookWithSecret },
      problems: [reauthenticationRequired, tooManyWebhooks, mayTell],
    }),
    requirePermission('webhooks:manage'),
    body(CreateWebhook),
    async (c) => c.json(await createWebhook(c.var, c.var.body), 201),
  )
  .post(
    '/deliveries/:id/retry',
    operation({
      id: 'retryDelivery',
      tag,
      summary: 'Send a delivery now, out of order',
      description: BY_HAND,
      path: { id: Sequence },
      responses: { 200: Delivery },
      problems: [reauthenticationRequired, deliveryNotFound],
    }),
    requirePermission('webhooks:manage'),
    async (c) => c.json(await retryDelivery(c.var, c.req.param('id'))),
  )
  .get(
    '/:id',
    operation({
      id: 'getWebhook',
      tag,
      summary: 'One webhook',
      description: 'Without its secret.',
      responses: { 200: Webhook },
      problems: [webhookNotFound],
    }),
    requirePermission('webhooks:manage'),
    async (c) => c.json(await getWebhook(c.var, c.req.param('id'))),
  )
  .patch(
    '/:id',
    operation({
      id: 'updateWebhook',
      tag,
      summary: 'Change where it sends, and what; wakes one that rests',
      description: `${TOLD} Nobody is told if nothing changed.`,
      responses: { 200: Webhook },
      problems: [reauthenticationRequired, webhookNotFound, writeConflict, mayTell],
    }),
    requirePermission('webhooks:manage'),
    body(UpdateWebhook),
    async (c) => c.json((await updateWebhook(c.var, c.req.param('id'), c.var.body)).webhook),
  )
  .delete(
    '/:id',
    operation({
      id: 'deleteWebhook',
      tag,
      summary: 'Remove a webhook, with all it is owed',
      description: TOLD,
      responses: { 204: null },
      problems: [reauthenticationRequired, webhookNotFound, writeConflict, mayTell],
    }),
    requirePermission('webhooks:manage'),
    async (c) => {
      await deleteWebhook(c.var, c.req.param('id'))
      return c.body(null, 204)
    },
  )
  .post(
    '/:id/secret',
    operation({
      id: 'rotateWebhookSecret',
      tag,
      summary: 'Another secret; for a while both sign',
      description: TOLD,
      responses: { 200: WebhookWithSecret },
      problems: [reauthenticationRequired, webhookNotFound, writeConflict, mayTell],
    }),
    requirePermission('webhooks:manage'),
    body(RotateWebhookSecret),
    async (c) => c.json(await rotateWebhookSecret(c.var, c.req.param('id'), c.var.body)),
  )
  .post(
    '/:id/test',
    operation({
      id: 'testWebhook',
      tag,
      summary: 'Send `webhook.tested` now; a good answer wakes one that rests',
      description: BY_HAND,
      responses: { 200: Delivery },
      problems: [reauthenticationRequired, webhookNotFound],
    }),
    requirePermission('webhooks:manage'),
    async (c) => c.json(await testWebhook(c.var, c.req.param('id'))),
  )
  .get(
    '/:id/deliveries',
    operation({
      id: 'listDeliveries',
      tag,
      summary: 'What a webhook was owed, newest first',
      description: `With what the receiver answered. Those it accepted are kept for ${inWords(DELIVERED_KEPT_MS)}.`,
      responses: { 200: DeliveryList },
      problems: [webhookNotFound, invalidCursor],
    }),
    requirePermission('webhooks:manage'),
    limitLists,
    query(ListDeliveries),
    async (c) => answerList(c, await listDeliveries(c.var, c.req.param('id'), c.var.query)),
  )
