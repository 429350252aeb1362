import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What arrived at an app's server. */
export interface Received {
  method: string
  type: string
  headers: Record<string, string>
  body: string
  at: number
}

/**
 * An app's server. It accepts requests to `/<name>/<status>`, and answers with that status. Instead of a
 * status: `hang` never answers, `long` answers without end, `twice` sends two answers at once, `slow` answers
 * after a second, `picky` refuses what contains the word Refused, and `away` redirects. `GET /__of/<name>`
 * lists what a name has received; `/__now/<name>/<how>` sets how it answers from now on, whatever its URL
 * says.
 */
export async function startReceiver(): Promise<{ url: string; close(): Promise<void> }> {
  const received = new Map<string, Received[]>()
  const answers = new Map<string, string>()
  const server = createServer(async (request, response) => {
    const [, name = '', asked = '', now = ''] = (request.url ?? '').split(/[/?]/)
    if (name === '__now') {
      answers.set(asked, now)
      return void response.end()
    }
    const how = answers.get(name) ?? asked
    if (name === '__of') return void response.end(JSON.stringify(received.get(how) ?? []))
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', headers } = request
    const told = headers as Record<string, string>
    const one = { method, type: told['content-type'] ?? '', headers: told, body, at: Date.now() }
    received.set(name, [...(received.get(name) ?? []), one])
    if (how === 'hang') return
    if (how === 'slow') return void setTimeout(() => response.writeHead(204).end(), 1000)
    if (how === 'picky') return void response.writeHead(body.includes('Refused') ? 400 : 204).end()
    if (how === 'twice')
      return void request.socket.end(
        'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n',
      )
    if (how === 'away') return void response.writeHead(302, { location: `/${name}-elsewhere/200` }).end()
    if (how === 'long') {
      response.writeHead(200)
      const endless = setInterval(() => response.write('x'.repeat(65_536)), 5)
      response.on('close', () => clearInterval(endless))
      return
    }
    response.writeHead(Number(how) || 200).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
