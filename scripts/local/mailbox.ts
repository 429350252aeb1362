import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { dirname, resolve } from 'node:path'
import { html, raw } from 'hono/html'
import * as z from 'zod'
import { isEmail } from '../../src/values/email.ts'
import { isLocal } from './local-only.ts'
import { listen } from './process.ts'

/** A mail as Resend's API accepts it. */
export interface CaughtMail {
  id: string
  from: string
  to: string[]
  reply_to?: string
  subject: string
  text: string
  html: string
  headers?: Record<string, string>
  at: string
}

/** A line of the file: a mail, with its idempotency key and a digest of its content. */
interface KeptMail {
  mail: CaughtMail
  key?: string
  digest?: string
}

interface MailboxOptions {
  /** Needed to send and to read: as `Authorization: Bearer`, and for the pages also as `?key=`. */
  apiKey: string
  /** Mails are kept here, as JSON lines; only in memory if absent. */
  file?: string
  port?: number
}

/** How long the service remembers an idempotency key. */
const KEY_LIFE_MS = 24 * 60 * 60 * 1000

/** `address` or `Name <address>`. */
const isSender = (text: string) => isEmail(/^[^<>]*<([^<>]+)>$/.exec(text)?.[1] ?? text)
const address = z.string().refine((text) => isSender(text), 'is no address')

/** What the service requires of a mail; it ignores members that it does not know. */
const Mail = z
  .object({
    from: address,
    to: z.union([address.transform((one) => [one]), z.array(address).min(1).max(50)]),
    reply_to: z.union([address, z.array(address)]).optional(),
    subject: z.string().min(1),
    text: z.string().default(''),
    html: z.string().default(''),
    headers: z.record(z.string(), z.string()).optional(),
  })
  .refine(({ text, html }) => text || html, { path: ['html'], message: 'both it and `text` are empty' })

/** A refusal in the service's own terms. */
class Refused extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/**
 * Accepts mail through the part of Resend's HTTP API that Roster uses, and shows it instead of sending it:
 *
 *   POST /emails      as Resend, refusals included; a repeated `Idempotency-Key` is the same mail
 *   GET  /            the mailbox, as a page
 *   GET  /mails/<id>  one mail, as it looks
 *   GET  /mails       all of them as JSON, newest first; `?to=` for one recipient's
 */
export async function startMailbox({ apiKey, file, port }: MailboxOptions) {
  const kept = file && existsSync(file) ? readKept(file) : []
  const mails = kept.map(({ mail }) => mail).reverse()
  const byKey = new Map(kept.flatMap((one) => (one.key ? [[one.key, one] as const] : [])))

  function take(body: unknown, key: string | undefined): string {
    if (key !== undefined && (key.length < 1 || key.length > 256)) {
      throw new Refused(400, 'invalid_idempotency_key', 'The key must be between 1-256 chars.')
    }
    const { data, error } = Mail.safeParse(body)
    if (!data) {
      const issue = error.issues[0]!
      const isMissing = (body as Record<PropertyKey, unknown> | null)?.[issue.path[0] ?? ''] === undefined
      throw new Refused(
        422,
        isMissing ? 'missing_required_field' : 'validation_error',
        `Invalid \`${issue.path.join('.')}\` field: ${issue.message}`,
      )
    }
    const digest = createHash('sha256').update(JSON.stringify(body)).digest('base64url')
    const former = key === undefined ? undefined : byKey.get(key)
    const known = former && Date.now() - Date.parse(former.mail.at) < KEY_LIFE_MS ? former : undefined
    if (known?.digest === digest) return known.mail.id
    if (known) {
      throw new Refused(
        409,
        'invalid_idempotent_request',
        'Same idempotency key used with a different request payload.',
      )
    }
    const mail = {
      ...(data as Omit<CaughtMail, 'id' | 'at'>),
      id: randomUUID(),
      at: new Date().toISOString(),
    }
    const entry = { mail, digest, ...(key !== undefined && { key }) }
    mails.unshift(mail)
    if (key !== undefined) byKey.set(key, entry)
    if (file) {
      mkdirSync(dirname(file), { recursive: true })
      appendFileSync(file, `${JSON.stringify(entry)}\n`, { mode: 0o600 })
    }
    return mail.id
  }

  async function answer(request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url ?? '/', 'http://mailbox')
    const respond = (status: number, type: string, body: string) =>
      response
        .writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'referrer-policy': 'no-referrer' })
        .end(body)
    const json = (status: number, body: unknown) => respond(status, 'application/json', JSON.stringify(body))

    if (!isLocal(request.headers)) return json(403, { name: 'not_local' })
    const isSending = url.pathname === '/emails'
    authorize(request.headers.authorization || (isSending ? null : asBearer(url)), apiKey)
    if (isSending) {
      if (request.method !== 'POST') throw new Refused(405, 'method_not_allowed', 'Method is not allowed.')
      const body = readJson(Buffer.concat(await request.toArray()).toString())
      return json(200, { id: take(body, request.headers['idempotency-key']?.toString()) })
    }
    const to = url.searchParams.get('to')
    if (url.pathname === '/mails') return json(200, to ? mails.filter((mail) => mail.to.includes(to)) : mails)
    if (url.pathname === '/') return respond(200, 'text/html', String(mailboxPage(mails, apiKey)))
    const mail = mails.find(({ id }) => url.pathname === `/mails/${id}`)
    return mail ? respond(200, 'text/html', mail.html) : json(404, { name: 'not_found' })
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: Error) => {
      const { status, code: name } =
        error instanceof Refused ? error : { status: 500, code: 'internal_server_error' }
      const body = JSON.stringify({ statusCode: status, name, message: error.message })
      response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    })
  })
  const url = `http://127.0.0.1:${await listen(server, port)}`
  return {
    url,
    async close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const asBearer = (url: URL) => {
  const key = url.searchParams.get('key')
  return key && `Bearer ${key}`
}

function authorize(given: string | null, apiKey: string) {
  if (given === null)
    throw new Refused(401, 'missing_api_key', 'Missing API key in the authorization header.')
  const digest = (text: string) => createHash('sha256').update(text).digest()
  if (!timingSafeEqual(digest(given), digest(`Bearer ${apiKey}`)))
    throw new Refused(403, 'invalid_api_key', 'API key is invalid.')
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Refused(400, 'validation_error', 'The body is not JSON.')
  }
}

/** A cut-off last line is a mail that nobody was told had arrived. */
function readKept(file: string): KeptMail[] {
  const text = readFileSync(file, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole !== text) writeFileSync(file, whole) // Or the next mail would be part of that line.
  const lines = whole.split('\n')
  return lines.filter(Boolean).map((line) => {
    const one = JSON.parse(line)
    const { mail, ...others }: KeptMail = one.mail ? one : { mail: one } // An earlier version kept no keys.
    return { mail: { ...mail, to: mail.to ?? [] }, ...others }
  })
}

/** Looks like Roster's pages, by the same stylesheet, which this page must contain. */
const STYLES = readFileSync(resolve(import.meta.dirname, '../../public/roster.css'), 'utf8')
const STYLE = raw(`<style>${STYLES}</style>`)

const mailboxPage = (mails: CaughtMail[], key: string) => html`<!doctype html><html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mailbox · Roster</title><meta http-equiv="refresh" content="5">${STYLE}</head>
<body><div class="account mailbox"><main class="content">
<div class="head"><h1>Mailbox</h1></div>
${
  mails.length === 0
    ? html`<div class="empty"><h2>Nothing yet</h2><p>What Roster mails on this machine arrives here.</p></div>`
    : html`<div class="rows">${mails.map(
        ({ id, at, to, subject }) => html`<div class="row"><div class="what">
<a class="title" href="/mails/${id}?key=${key}">${subject}</a>
<span class="detail">${to.join(', ')} · <time datetime="${at}">${at.replace('T', ', ').slice(0, 17)}</time> UTC</span></div></div>`,
      )}</div>`
}
</main></div></body></html>`
