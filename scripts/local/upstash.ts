import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { listen } from './process.ts'
import {
  type Engine,
  hasRedisServer,
  type Outcome,
  type Reply,
  startEmbeddedRedis,
  startRedisServer,
} from './redis.ts'

interface UpstashOptions {
  token: string
  /** `auto`: a real `redis-server` if there is one on the PATH, else the embedded one. */
  engine: 'auto' | Engine['name']
  /** Where a `redis-server` keeps its data. */
  dir: string
  port?: number
}

/** Commands that change the connection, which all callers share. Upstash's REST API refuses them as well. */
const UNAVAILABLE = new Set(
  'AUTH BLPOP BRPOP CLIENT DISCARD EXEC HELLO MONITOR MULTI PSUBSCRIBE QUIT RESET SELECT SHUTDOWN SUBSCRIBE UNWATCH WATCH'.split(
    ' ',
  ),
)

class Refused extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** The part of Upstash's REST API that Roster and `@upstash/redis` use, in front of a Redis on this machine. */
export async function startUpstash({ token, engine: wanted, dir, port }: UpstashOptions) {
  const useServer = wanted === 'server' || (wanted === 'auto' && hasRedisServer())
  const engine = useServer ? await startRedisServer(dir) : await startEmbeddedRedis()

  const server = createServer(async (request, response) => {
    let status = 200
    let body: unknown
    try {
      authorize(request, token)
      body = await answer(engine, request.url ?? '/', await readJson(request), encoderFor(request))
      if (isFailure(body)) status = 400
    } catch (error) {
      status = error instanceof Refused ? error.status : 400
      body = { error: (error as Error).message }
    }
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  const url = `http://127.0.0.1:${await listen(server, port)}`

  return {
    url,
    token,
    engine: engine.name,
    exited: engine.exited,
    lastWords: engine.lastWords,
    async close() {
      server.close()
      server.closeAllConnections()
      await engine.close()
    },
  }
}

async function answer(engine: Engine, path: string, body: unknown, encode: (reply: Reply) => unknown) {
  const run = async (commands: string[][], atomic: boolean) => {
    const outcomes = await engine.run(commands, { atomic })
    return outcomes.map((outcome: Outcome) =>
      'error' in outcome ? outcome : { result: encode(outcome.reply) },
    )
  }
  if (path === '/') return (await run([asCommand(body)], false))[0]
  if (path !== '/pipeline' && path !== '/multi-exec') throw new Refused(404, `ERR no such path: ${path}`)
  if (!Array.isArray(body) || body.length === 0)
    throw new Refused(400, 'ERR failed to parse pipeline request')
  return run(body.map(asCommand), path === '/multi-exec')
}

function asCommand(value: unknown): string[] {
  const parts = Array.isArray(value) ? value : []
  const plain = parts.every((part) => ['string', 'number', 'boolean'].includes(typeof part))
  if (parts.length === 0 || !plain) throw new Refused(400, 'ERR failed to parse command')
  const command = parts.map(String)
  if (UNAVAILABLE.has(command[0]?.toUpperCase() ?? '')) {
    throw new Refused(400, `ERR Command is not available: '${command[0]}'`)
  }
  return command
}

function authorize(request: IncomingMessage, token: string) {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  if (!timingSafeEqual(digest(request.headers.authorization ?? ''), digest(`Bearer ${token}`))) {
    throw new Refused(401, 'WRONGPASS invalid or missing auth token')
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  if (request.method !== 'POST') throw new Refused(405, 'ERR only POST is spoken here')
  const text = Buffer.concat(await request.toArray()).toString()
  try {
    return JSON.parse(text)
  } catch {
    throw new Refused(400, 'ERR failed to parse command')
  }
}

const isFailure = (body: unknown) => typeof body === 'object' && body !== null && 'error' in body

/**
 * Strings are sent in base64 if asked for, which the client does by default. It then decodes every string except a
 * plain `OK` that stands alone, so only that one is sent as it is.
 */
function encoderFor(request: IncomingMessage): (reply: Reply) => unknown {
  const encoding = request.headers['upstash-encoding'] === 'base64' ? 'base64' : 'utf8'
  const encode = (reply: Reply): unknown => {
    if (typeof reply === 'string' || Buffer.isBuffer(reply)) return Buffer.from(reply).toString(encoding)
    if (Array.isArray(reply)) return reply.map(encode)
    // As Lua returns values: false is nil, true is 1, and numbers lose their fraction.
    if (typeof reply === 'number') return Math.trunc(reply)
    if (typeof reply === 'boolean') return reply ? 1 : null
    // ioredis-mock returns hashes as objects; on the wire they are a flat list.
    return reply ? Object.entries(reply).flat().map(encode) : null
  }
  const isPlainOk = (reply: Reply) =>
    (typeof reply === 'string' || Buffer.isBuffer(reply)) && String(reply) === 'OK'
  return (reply) => (isPlainOk(reply) ? 'OK' : encode(reply))
}
