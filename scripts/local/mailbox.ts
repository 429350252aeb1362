import { randomUUID } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { dirname } from 'node:path'
import { html } from 'hono/html'
import { listen } from './process.ts'

/** A mail as Resend's API takes it. */
export interface CaughtMail {
  id: string
  from: string
  to: string[]
  reply_to?: string
  subject: string
  text: string
  html: string
  at: string
}

interface MailboxOptions {
  apiKey: string
  /** Mails are kept here, a JSON line each; in memory alone when absent. */
  file?: string
  port?: number
}

/**
 * Takes mail by the part of Resend's HTTP API that Roster speaks, and shows it instead of sending it:
 *
 *   POST /emails      as Resend; a repeated `Idempotency-Key` is the same mail
 *   GET  /            the mailbox, as a page
 *   GET  /mails/<id>  one mail, as it looks
 *   GET  /mails       all of them as JSON, newest first; `?to=` for one recipient's
 */
export async function startMailbox({ apiKey, file, port }: MailboxOptions) {
  const lines = file && existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []
  const mails: CaughtMail[] = lines.map((line) => JSON.parse(line)).reverse()
  const idOfKey = new Map<string, string>()

  function take(mail: Omit<CaughtMail, 'id' | 'at'>, key: string): string {
    const known = idOfKey.get(key)
    if (known) return known
    const caught = { id: randomUUID(), at: new Date().toISOString(), ...mail }
    mails.unshift(caught)
    idOfKey.set(key, caught.id)
    if (file) {
      mkdirSync(dirname(file), { recursive: true })
      appendFileSync(file, `${JSON.stringify(caught)}\n`)
    }
    return caught.id
  }

  async function answer(request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url ?? '/', 'http://mailbox')
    const respond = (status: number, type: string, body: string) =>
      response.writeHead(status, { 'content-type': `${type}; charset=utf-8` }).end(body)
    const json = (status: number, body: unknown) => respond(status, 'application/json', JSON.stringify(body))

    if (request.method === 'POST' && url.pathname === '/emails') {
      if (request.headers.authorization !== `Bearer ${apiKey}`) return json(401, { name: 'invalid_api_key' })
      const mail = JSON.parse(Buffer.concat(await request.toArray()).toString())
      return json(200, { id: take(mail, String(request.headers['idempotency-key'] ?? randomUUID())) })
    }
    const to = url.searchParams.get('to')
    if (url.pathname === '/mails') return json(200, to ? mails.filter((mail) => mail.to.includes(to)) : mails)
    if (url.pathname === '/') return respond(200, 'text/html', String(mailboxPage(mails)))
    const mail = mails.find(({ id }) => url.pathname === `/mails/${id}`)
    return mail ? respond(200, 'text/html', mail.html) : json(404, { name: 'not_found' })
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: Error) => response.writeHead(400).end(error.message))
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

const mailboxPage = (mails: CaughtMail[]) => html`<!doctype html><html lang="en"><meta charset="utf-8">
<title>Mailbox</title><meta http-equiv="refresh" content="5"><meta name="color-scheme" content="light dark">
<body style="font:16px/1.5 system-ui,sans-serif;max-width:48em;margin:2em auto;padding:0 1em">
<h1>Mailbox</h1>${mails.length === 0 ? html`<p>Nothing yet. What Roster mails on this machine arrives here.</p>` : ''}
${mails.map(
  ({ id, at, to, subject }) =>
    html`<p><a href="/mails/${id}">${subject}</a><br><small>${to.join(', ')} · ${at}</small></p>`,
)}
</body></html>`
