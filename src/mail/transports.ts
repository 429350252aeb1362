import { createHash } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { CALLS, callOut } from '../http/outbound.ts'
import type { Rendered } from './render.ts'

interface Mail extends Rendered {
  to: string
  /** The mail's own id; with what is in it, it makes the key by which a provider knows an attempt again. */
  id: string
}

/** Sends one mail, or throws: `MailRefused` where the service said no, anything else where it may have gone. */
export interface Send {
  (mail: Mail): Promise<void>
  /** Whether the service knows an attempt at the same mail again, so that a repeat sends nothing twice. */
  knowsRepeats: boolean
}

/** What a mail service answered, without its words, which may repeat the mail. */
export class MailRefused extends Error {
  readonly reason: string
  /** Asking again gets the same answer. */
  readonly isFinal: boolean
  constructor(reason: string, isFinal: boolean) {
    super(`the mail service answered ${reason}`)
    this.name = 'MailRefused'
    this.reason = reason
    this.isFinal = isFinal
  }
}

/** RFC 3834 section 5: nobody's auto-responder answers it. */
const HEADERS = { 'Auto-Submitted': 'auto-generated' }

/** The transport that the settings name: Resend's HTTP API, else Cloudflare's binding; undefined for neither. */
export function openTransport(config: Config, binding: SendEmail | undefined): Send | undefined {
  const { MAIL_FROM: from, RESEND_API_KEY: apiKey } = config
  if (!from) return undefined
  if (apiKey) return overResend({ ...config, MAIL_FROM: from, RESEND_API_KEY: apiKey })
  return binding && overBinding(binding, from, config.MAIL_REPLY_TO)
}

function overBinding(binding: SendEmail, from: string, replyTo: string | undefined): Send {
  async function send({ to, subject, text, html }: Mail) {
    const mail = { from, to, subject, text, html, headers: HEADERS, ...(replyTo && { replyTo }) }
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error('the mail binding did not answer')), CALLS.mail.timeoutMs)
    })
    const sending = binding.send(mail).catch((error: unknown) => {
      throw new MailRefused(String((error as { code?: unknown }).code ?? 'refused'), false)
    })
    await Promise.race([sending, late])
  }
  return Object.assign(send, { knowsRepeats: false })
}

/** https://resend.com/docs/api-reference/emails/send-email */
function overResend(config: Config & { MAIL_FROM: string; RESEND_API_KEY: string }): Send {
  async function send({ id, to, subject, text, html }: Mail) {
    const body = JSON.stringify({
      from: config.MAIL_FROM,
      to: [to],
      subject,
      text,
      html,
      headers: HEADERS,
      ...(config.MAIL_REPLY_TO && { reply_to: config.MAIL_REPLY_TO }),
    })
    const { status } = await callOut('mail', new URL('emails', `${config.RESEND_URL}/`), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${config.RESEND_API_KEY}`,
        'content-type': 'application/json',
        // Of what is sent, too: another text under the same key would be refused for good.
        'idempotency-key': `${id}.${createHash('sha256').update(body).digest('base64url')}`,
      },
      body,
    })
    if (status < 200 || status > 299) throw new MailRefused(String(status), isFinal(status))
  }
  return Object.assign(send, { knowsRepeats: true })
}

const ASK_AGAIN = [408, 425, 429]
/** Said of our key or our own address, not of the mail: it waits until somebody has put that right. */
export const REFUSES_ALL: readonly number[] = [401, 403]

const isFinal = (status: number) =>
  status >= 400 && status < 500 && ![...ASK_AGAIN, ...REFUSES_ALL].includes(status)
