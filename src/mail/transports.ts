import type { Config } from '../config/main.ts'
import type { Rendered } from './texts.ts'

const TIMEOUT_MS = 5000

export interface Mail extends Rendered {
  to: string
  /** The same for every attempt at one mail, so that a provider that knows such keys sends it once. */
  idempotencyKey: string
}

/** Sends one mail, or throws. */
export type Send = (mail: Mail) => Promise<void>

/** The transport that the settings name: Resend's HTTP API, else Cloudflare's binding; undefined for neither. */
export function openTransport(config: Config, binding: SendEmail | undefined): Send | undefined {
  const { MAIL_FROM: from, RESEND_API_KEY: apiKey } = config
  if (!from) return undefined
  if (apiKey) return overResend({ ...config, MAIL_FROM: from, RESEND_API_KEY: apiKey })
  return binding && overBinding(binding, from, config.MAIL_REPLY_TO)
}

const overBinding =
  (binding: SendEmail, from: string, replyTo: string | undefined): Send =>
  async ({ to, subject, text, html }) => {
    await binding.send({ from, to, subject, text, html, ...(replyTo && { replyTo }) })
  }

/** https://resend.com/docs/api-reference/emails/send-email */
const overResend =
  (config: Config & { MAIL_FROM: string; RESEND_API_KEY: string }): Send =>
  async ({ to, subject, text, html, idempotencyKey }) => {
    const answer = await fetch(new URL('emails', `${config.RESEND_URL}/`), {
      method: 'POST',
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        authorization: `Bearer ${config.RESEND_API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': idempotencyKey,
      },
      body: JSON.stringify({
        from: config.MAIL_FROM,
        to: [to],
        subject,
        text,
        html,
        ...(config.MAIL_REPLY_TO && { reply_to: config.MAIL_REPLY_TO }),
      }),
    })
    await answer.body?.cancel()
    // Only the status: the body may repeat the mail.
    if (!answer.ok) throw new Error(`mail provider answered ${answer.status}`)
  }
