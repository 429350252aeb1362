import { AppError } from '../http/problem.ts'
import { MAX_WEBHOOKS } from './models.ts'

export const webhookNotFound = () => new AppError(404, 'webhook_not_found', 'There is no such webhook.')

export const deliveryNotFound = () =>
  new AppError(404, 'delivery_not_found', 'There is no such delivery, or it has expired.')

export const tooManyWebhooks = () =>
  new AppError(409, 'too_many_webhooks', `There are ${MAX_WEBHOOKS} webhooks already. Remove one first.`)
