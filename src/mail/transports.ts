import { createHash } from 'node:crypto'
import type { Config } from '../config/main.ts'
import { CALLS, callOut } from '../http/outbound.ts'
import { HEADERS, type Mail, MailRefused, REFUSES_ALL, type Send } from './sending.ts'
import { overSmtp } from './smtp.ts'

/**
 * The configured transport: a mail server, Resend's HTTP API, or Cloudflare's binding; undefined if there is
 * none.
 */
export function openTransport(config: Config, binding: SendEmail | undefined): Send | undefined {
  const { MAIL_FROM: from, RESEND_API_KEY: apiKey, SMTP_URL, ISSUER, MAIL_REPLY_TO } = config
  if (!from) return undefined
  if (SMTP_URL) return overSmtp({ SMTP_URL, ISSUER, MAIL_REPLY_TO, MAIL_FROM: from })
  if (apiKey) return overResend(apiKey, from, config)
  return binding && overBinding(binding, from, config)
}

function overBinding(binding: SendEmail, from: string, { MAIL_REPLY_TO: replyTo }: Config): Send {
  async function send({ to, subject, text, html }: Mail) {
    const mail = { from, to, subject, text, html, headers: HEADERS, ...(replyTo && { replyTo }) }
    // Before the timer: if the call throws, nobody would await it.
    const sending = binding.send(mail).catch((error: unknown) => {
      throw new MailRefused(String((error as { code?: unknown }).code ?? 'refused'), false)
    })
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      const give = () => reject(new Error('the mail binding did not answer'))
      timer = setTimeout(give, CALLS.mail.timeoutMs)
    })
    await Promise.race([sending, late]).finally(() => clearTimeout(timer))
  }
  return Object.assign(send, { knowsRepeats: false })
}

/** https://resend.com/docs/api-reference/emails/send-email */
function overResend(apiKey: string, from: string, { MAIL_REPLY_TO: replyTo, RESEND_URL }: Config): Send {
  async function send({ id, to, subject, text, html }: Mail) {
    const body = JSON.stringify({
      from,
      to: [to],
      subject,
      text,
      html,
      headers: HEADERS,
      ...(replyTo && { reply_to: replyTo }),
    })
    const { status } = await callOut('mail', new URL('emails', `${RESEND_URL}/`), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        // Includes a hash of the content: another text under the same key would be refused for good.
        'idempotency-key': `${id}.${createHash('sha256').update(body).digest('base64url')}`,
      },
      body,
    })
    if (status < 200 || status > 299) throw new MailRefused(String(status), isFinal(status))
  }
  return Object.assign(send, { knowsRepeats: true })
}

const ASK_AGAIN = [408, 425, 429]
const isFinal = (status: number) =>
  status >= 400 && status < 500 && ![...ASK_AGAIN, ...REFUSES_ALL].includes(status)
