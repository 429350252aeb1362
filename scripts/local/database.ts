import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'
import { statSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { isLocal } from './local-only.ts'
import { listen } from './process.ts'
import { startSqld } from './sqld.ts'

/** When the database has been idle this long and its log is this large, it gets a checkpoint. */
const IDLE_MS = 2_000
const LOG_BYTES = 4 * 1024 * 1024

interface DatabaseOptions {
  dir: string
  port?: number
  /** As `newDatabaseKey` makes it: signs the token that the database accepts. */
  key: string
  /** For the server's other port, which takes checkpoints. */
  adminKey: string
}

/** The private half of an Ed25519 key, in base64url. */
export const newDatabaseKey = () =>
  generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64url')

/**
 * The libSQL server for `npm run dev`: it needs a token, and refuses pages from elsewhere. Checkpoints are taken only
 * while it is idle: with many writers, this version of the server may wait in one for ever (see sqld.ts), and without
 * any its log would grow for ever.
 */
export async function startDatabase({ dir, port, key, adminKey }: DatabaseOptions) {
  const { token, publicKey } = tokenOf(key)
  const sqld = await startSqld({ dir, jwtKey: publicKey, adminKey })
  const agent = new Agent({ keepAlive: true })
  let asked = 0
  let lastAskedMs = performance.now()

  const server = createServer((incoming, response) => {
    if (!isLocal(incoming.headers)) return response.writeHead(403).end()
    asked += 1
    response.once('close', () => {
      asked -= 1
      lastAskedMs = performance.now()
    })
    forward(incoming, response, sqld.url, agent)
  })
  // The client closes idle connections: if we did, it might be using one just then.
  server.keepAliveTimeout = 0
  const url = `http://127.0.0.1:${await listen(server, port)}`

  const logBytes = () => statSync(join(dir, 'dbs/default/data-wal'), { throwIfNoEntry: false })?.size ?? 0
  let isBusy = false
  const timer = setInterval(async () => {
    const isIdle = asked === 0 && performance.now() - lastAskedMs >= IDLE_MS
    if (!isIdle || isBusy || logBytes() < LOG_BYTES) return
    isBusy = true
    await sqld.checkpoint().catch((error: Error) => console.error(`The database took no ${error.message}.`))
    isBusy = false
    lastAskedMs = performance.now()
  }, 500)
  timer.unref()

  return {
    url,
    token,
    exited: sqld.exited,
    lastWords: sqld.lastWords,
    async close() {
      clearInterval(timer)
      server.close()
      server.closeAllConnections()
      agent.destroy()
      await sqld.close()
    },
  }
}

/** A token that allows everything, and the key that verifies it. */
function tokenOf(key: string) {
  const privateKey = createPrivateKey({ key: Buffer.from(key, 'base64url'), format: 'der', type: 'pkcs8' })
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const head = `${encode({ alg: 'EdDSA', typ: 'JWT' })}.${encode({ a: 'rw' })}`
  const token = `${head}.${sign(null, Buffer.from(head), privateKey).toString('base64url')}`
  return { token, publicKey: String(privateKey.export({ format: 'jwk' }).x) }
}

function forward(incoming: IncomingMessage, response: ServerResponse, target: string, agent: Agent) {
  const { hostname, port, host } = new URL(target)
  const { connection: _, upgrade: __, ...headers } = incoming.headers
  const outgoing = request({
    agent,
    hostname,
    port,
    path: incoming.url,
    method: incoming.method,
    headers: { ...headers, host },
  })
  outgoing.once('response', (answer) => {
    const { connection, 'keep-alive': ___, ...kept } = answer.headers
    response.writeHead(answer.statusCode ?? 502, kept)
    answer.pipe(response)
    answer.once('error', () => response.destroy())
  })
  outgoing.once('error', () => response.destroy())
  response.once('close', () => response.writableFinished || outgoing.destroy())
  incoming.pipe(outgoing)
}
