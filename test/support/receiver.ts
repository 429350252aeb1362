import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What came to an address of an app's. */
export interface Received {
  method: string
  type: string
  body: string
  at: number
}

/**
 * An app's server: it takes what comes to `/<name>/<status>`, and answers with that status; `hang` answers never, `long`
 * without an end, and `away` leads elsewhere. `GET /__of/<name>` says what has come to a name.
 */
export async function startReceiver(): Promise<{ url: string; close(): Promise<void> }> {
  const received = new Map<string, Received[]>()
  const server = createServer(async (request, response) => {
    const [, name = '', how = ''] = (request.url ?? '').split(/[/?]/)
    if (name === '__of') return void response.end(JSON.stringify(received.get(how) ?? []))
    let body = ''
    for await (const chunk of request) body += chunk
    const { method = '', headers } = request
    const one = { method, type: headers['content-type'] ?? '', body, at: Date.now() }
    received.set(name, [...(received.get(name) ?? []), one])
    if (how === 'hang') return
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
