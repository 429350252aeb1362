import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { Webhook as Verifier } from 'standardwebhooks'
import { inject } from 'vitest'
import { openForCron } from '../../src/context.ts'
import { deliverEvents } from '../../src/webhooks/delivery.ts'
import type { WebhookWithSecret } from '../../src/webhooks/schemas.ts'
import { type Api, openApi } from './api.ts'
import type { Received } from './receiver.ts'
import { freshUpstreams } from './upstreams.ts'

const ISSUER = 'http://localhost:8787'
const receiver = inject('receiverUrl').replace('127.0.0.1', 'localhost')

/** A separate Worker that may call receivers on this machine. */
export async function openWithWebhooks(given: object = {}) {
  const own = await freshUpstreams()
  const api = openApi({
    ...own.bindings,
    ISSUER,
    LINK_ORIGIN: ISSUER,
    OUTBOUND_LOCAL: 'on',
    PASSWORD_HASHES: 'full',
    ...given,
  })
  return { own, api }
}

export interface Message {
  id: string
  type: string
  timestamp: string
  data: {
    event_id: string
    sequence: number
    user: Record<string, unknown> | null
    actor_id: string | null
    details: Record<string, unknown> | null
  }
  isOutOfOrder: boolean
  received: Received
}

/** A webhook whose receiver answers like this. */
export async function addWebhook(
  api: Api,
  types: string[],
  answers: string | number = 204,
  maker: object = {},
) {
  const admin = await api.quickActor({ role: 'admin', password_hash: null, ...maker })
  const name = crypto.randomUUID()
  const url = `${receiver}/${name}/${answers}`
  const made = await api.send<WebhookWithSecret>('POST', '/v1/webhooks', {
    token: admin.token,
    body: { url, types },
  })
  if (made.status !== 201) throw new Error(`${made.status} ${made.text}`)
  const { id, secret } = made.body
  const raw = async () => (await (await fetch(`${receiver}/__of/${name}`)).json()) as Received[]
  return {
    id,
    secret,
    url,
    admin,
    raw,
    /** Sets how the receiver answers from now on. */
    answers: async (how: string | number) => void (await fetch(`${receiver}/__now/${name}/${how}`)),
    /** What the receiver got, each verified with the library of Standard Webhooks. */
    async received(secrets = secret): Promise<Message[]> {
      return (await raw()).map((one) => ({
        ...(new Verifier(secrets).verify(one.body, one.headers) as Omit<Message, 'id'>),
        id: one.headers['webhook-id']!,
        isOutOfOrder: one.headers['roster-out-of-order'] === 'true',
        received: one,
      }))
    },
    state: async () => (await api.sql('SELECT * FROM webhooks WHERE id = ?', [id]))[0]!,
    owed: () => api.sql('SELECT * FROM webhook_deliveries WHERE webhook_id = ? ORDER BY id', [id]),
  }
}

export type Hook = Awaited<ReturnType<typeof addWebhook>>

/** What the cron job does for webhooks. */
export async function deliver(api: Api, by: 'request' | 'cron' = 'cron') {
  const context = createExecutionContext()
  const done = await deliverEvents(openForCron(api.bindings, context), by)
  await waitOnExecutionContext(context)
  return done
}

/** Makes all pauses end. */
export const pausesEnd = (api: Api) => api.sql('UPDATE webhooks SET next_try_at = 1 WHERE next_try_at > 1')

/** A change of somebody, by an administrator. */
export const rename = (api: Api, admin: { token: string }, id: string, name: string) =>
  api.send('PATCH', `/v1/users/${id}`, { token: admin.token, body: { name } })
