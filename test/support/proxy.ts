import { Agent, createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { listen } from '../../scripts/local/process.ts'

/**
 * One HTTP server in front of the upstreams, for tests that count or break things. Under `/<label>/libsql/…`,
 * `/<label>/redis/…` and `/<label>/mail/…` it forwards; each label has its own log and modes, so that parallel tests
 * do not affect each other.
 *
 *   PUT    /<label>/<libsql|redis|mail>/__mode   how the next requests fare: see Mode
 *   GET    /<label>/__log                   what was requested, in order of arrival: LogEntry[]
 *   DELETE /<label>/__log                   forget it
 *   POST   /__fresh                         a label with an empty database and Redis of its own: { label }; the body
 *                                           says how many migrations it has: { migrations }
 *   DELETE /<label>/__fresh                 ends these two
 *   POST   /<label>/__lag                   from now on, libSQL's replica knows what there is, and nothing later; only
 *                                           for labels of /__fresh, as nobody may write meanwhile
 *   DELETE /<label>/__lag                   it lags no more
 *
 * `redisMode` is how Redis behaves if a test says nothing else (or `pass`): the whole suite is also run with Redis
 * unavailable.
 */
export type Upstream = 'libsql' | 'redis' | 'mail'
export type Upstreams = Record<Upstream, string>
/** Those of one label. */
export type FreshUpstreams = Upstreams & { close?(): Promise<void> }
export interface Replica {
  url: string
  close(): Promise<void>
}
/** `emptied`: before every request to libSQL, so whatever was written to Redis is gone by the next request. */
export type RedisMode = 'pass' | 'down' | 'hang' | 'emptied'

export interface Mode {
  mode: keyof typeof modes
  /** How many requests it applies to; all that follow if absent. */
  next?: number
  /** How many pass first. */
  after?: number
  /** Only for requests with this text in their path or body: a table, an action, `BEGIN IMMEDIATE`. */
  only?: string
  /** The share of requests that it happens to, at random; all if absent. */
  chance?: number
  /** For `status`. */
  status?: number
  body?: string
  /** For modes that delay: how long, and by how much that varies at random. */
  ms?: number
  jitterMs?: number
  /** For `refused`: SQLite's error code. */
  code?: keyof typeof SQLITE_SAYS
}

export interface LogEntry {
  upstream: Upstream
  method: string
  path: string
  mode: Mode['mode']
  /** When the request arrived, and when the upstream answered or the connection ended, on one clock. */
  startMs: number
  endMs: number | null
  /**
   * What libSQL ran, whether the statement returns columns, and how many rows libSQL says that it read and wrote
   * (they are billed).
   */
  statements: { sql: string; isAnswered: boolean; rowsRead: number; rowsWritten: number; ms: number }[]
}

interface Exchange {
  mode: Mode
  upstream: Upstream
  /** Its number among the requests in this mode, from 1. */
  turn: number
  /** Resolves when the next mode is set. */
  released: Promise<void>
  request: Buffer
  response: ServerResponse
  forward(): Promise<Answer>
  /** Sends the same request again, which is logged as a request of its own. */
  echo(): Promise<void>
}
interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

const reset = ({ response }: Exchange) => void response.socket?.resetAndDestroy()
const end = ({ response }: Exchange) => void response.socket?.destroy()
const deliver = ({ response }: Exchange, { status, headers, body }: Answer) =>
  void response.writeHead(status, headers).end(body)
const say = ({ response }: Exchange, status: number, body: unknown) =>
  void response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(typeof body === 'string' ? body : JSON.stringify(body))
const wait = ({ mode }: Exchange) =>
  delay(Math.max(0, (mode.ms ?? 0) + (mode.jitterMs ?? 0) * (2 * Math.random() - 1)))

/** What can happen to a request. `reset-before` and `reset-after` differ in whether the upstream did the work. */
const modes = {
  pass: async (exchange: Exchange) => deliver(exchange, await exchange.forward()),
  down: end,
  /** Never answered; with `ms`, the connection breaks after that. */
  hang: async (exchange: Exchange) => {
    if (exchange.mode.ms === undefined) return
    await wait(exchange)
    end(exchange)
  },
  status: (exchange: Exchange) => say(exchange, exchange.mode.status ?? 500, exchange.mode.body ?? '{}'),
  'auth-fail': (exchange: Exchange) => say(exchange, 401, { error: WRONG_TOKEN[exchange.upstream] }),
  /** SQLite refuses the first statement; the connection and the protocol work. */
  refused: (exchange: Exchange) => say(exchange, 200, refusal(exchange)),
  /** The work is done at once, but the answer is delayed. */
  latency: async (exchange: Exchange) => {
    const answer = await exchange.forward()
    await wait(exchange)
    deliver(exchange, answer)
  },
  /** The request is delayed, and arrives even if nobody waits for the answer any more. */
  late: async (exchange: Exchange) => {
    await wait(exchange)
    deliver(exchange, await exchange.forward())
  },
  /** The request is held until another mode is set, so that a test can do something before it arrives. */
  held: async (exchange: Exchange) => {
    await exchange.released
    deliver(exchange, await exchange.forward())
  },
  /** The connection breaks, but the request still arrives when another mode is set. */
  adrift: async (exchange: Exchange) => {
    reset(exchange)
    await exchange.released
    await exchange.forward()
  },
  /** The request is answered, and arrives again when another mode is set. */
  echo: async (exchange: Exchange) => {
    deliver(exchange, await exchange.forward())
    await exchange.released
    await exchange.echo()
  },
  'slow-body': async (exchange: Exchange) => {
    const { status, headers, body } = await exchange.forward()
    exchange.response.writeHead(status, headers).write(body.subarray(0, body.length / 2))
    await wait(exchange)
    exchange.response.end(body.subarray(body.length / 2))
  },
  /** A lagging replica: Redis confirms writes at once, and reads show them `ms` later. */
  stale: async (exchange: Exchange) => {
    const [command] = JSON.parse(exchange.request.toString())
    if (!/^eval$/i.test(command)) return deliver(exchange, await exchange.forward())
    say(exchange, 200, { result: 1 })
    await wait(exchange)
    await exchange.forward()
  },
  /** Only every other request succeeds. */
  flap: (exchange: Exchange) => (exchange.turn % 2 ? end(exchange) : modes.pass(exchange)),
  'reset-before': reset,
  'reset-after': async (exchange: Exchange) => {
    await exchange.forward()
    reset(exchange)
  },
  /** Half of the answer, with the length of the whole. */
  truncate: async (exchange: Exchange) => {
    const { status, headers, body } = await exchange.forward()
    exchange.response.writeHead(status, headers)
    exchange.response.write(body.subarray(0, body.length / 2), () => end(exchange))
  },
}

/** In the words of Upstash, Turso and Resend. */
const WRONG_TOKEN = {
  redis: 'WRONGPASS invalid or missing auth token',
  libsql: 'Unauthorized: `The JWT is invalid`',
  mail: 'API key is invalid',
}

/** A Hrana result in which the first statement failed, and with it all those that depend on it. */
function refusal({ mode, request }: Exchange) {
  const { code = 'SQLITE_BUSY' } = mode
  const error = { message: `SQLite error: ${SQLITE_SAYS[code]}`, code }
  const results = JSON.parse(request.toString()).requests.map((asked: HranaRequest) => {
    if (asked.type === 'execute') return { type: 'error', error }
    if (asked.type !== 'batch') return { type: 'ok', response: { type: asked.type } }
    const [, ...others] = asked.batch.steps.map(() => null)
    const result = { step_results: [null, ...others], step_errors: [error, ...others] }
    return { type: 'ok', response: { type: 'batch', result } }
  })
  return { baton: null, base_url: null, results }
}
const SQLITE_SAYS = {
  SQLITE_BUSY: 'database is locked',
  SQLITE_FULL: 'database or disk is full',
  SQLITE_READONLY: 'attempt to write a readonly database',
  SQLITE_IOERR: 'disk I/O error',
  SQLITE_CANTOPEN: 'unable to open database file',
  SQLITE_CORRUPT: 'database disk image is malformed',
}

const PASS: Mode = { mode: 'pass' }
/** A header for the test's own queries: such a request is neither broken nor counted. */
const ASIDE = 'x-aside'

class Lane {
  readonly upstreams: FreshUpstreams
  log: LogEntry[] = []
  /** libSQL's replica, if it lags. */
  replica: Replica | undefined
  readonly modes: Record<Upstream, Mode>
  readonly turns: Record<Upstream, number> = { libsql: 0, redis: 0, mail: 0 }
  #passed = 0
  #release = Promise.withResolvers<void>()
  readonly #usual: Record<Upstream, Mode>

  constructor(upstreams: FreshUpstreams, usual: Record<Upstream, Mode>) {
    this.upstreams = upstreams
    this.#usual = usual
    this.modes = { ...usual }
  }

  setMode(upstream: Upstream, mode: Mode) {
    this.modes[upstream] = mode.mode === 'pass' ? this.#usual[upstream] : mode
    this.turns[upstream] = 0
    this.#passed = 0
    this.#release.resolve()
    this.#release = Promise.withResolvers()
  }

  get released() {
    return this.#release.promise
  }

  takeMode(upstream: Upstream, request: string): Mode {
    const mode = this.modes[upstream]
    if (mode.only !== undefined && !request.includes(mode.only)) return this.#usual[upstream]
    if (this.#passed < (mode.after ?? 0)) {
      this.#passed += 1
      return this.#usual[upstream]
    }
    if (mode.chance !== undefined && Math.random() >= mode.chance) return this.#usual[upstream]
    this.turns[upstream] += 1
    if (this.turns[upstream] === mode.next) this.modes[upstream] = this.#usual[upstream]
    return mode
  }
}

interface ProxyOptions {
  shared: Upstreams
  startFresh(migrations?: number): Promise<FreshUpstreams>
  /** Starts a copy of a database, as it is now; only for `__lag`. */
  startReplica?(libsql: string): Promise<Replica>
  redisMode: RedisMode
  redisToken: string
}

export async function startProxy({ shared, startFresh, startReplica, redisMode, redisToken }: ProxyOptions) {
  const lanes = new Map<string, Lane>()
  const agent = new Agent({ keepAlive: true })
  // Reads give up after 250 ms. Marks would wait for two seconds each time, and a whole run for an hour.
  const redis: Mode =
    redisMode === 'emptied' ? PASS : { mode: redisMode, ...(redisMode === 'hang' && { ms: 600 }) }
  const usual = { libsql: PASS, redis, mail: PASS }
  const laneTo = (upstreams: FreshUpstreams) => new Lane(upstreams, usual)

  function laneOf(label: string): Lane {
    const lane = lanes.get(label) ?? laneTo(shared)
    lanes.set(label, lane)
    return lane
  }

  const emptyRedis = (lane: Lane) =>
    fetch(lane.upstreams.redis, {
      method: 'POST',
      headers: { authorization: `Bearer ${redisToken}` },
      body: '["FLUSHALL"]',
    })

  async function control(method: string, path: string, body: Buffer): Promise<unknown> {
    const [, label = '', upstream = ''] = path.split('/')
    if (`${method} ${path}` === 'POST /__fresh') {
      const { migrations } = JSON.parse(body.toString())
      const fresh = `fresh-${lanes.size}`
      lanes.set(fresh, laneTo(shared)) // Set before the wait, or two callers would share the lane.
      lanes.set(fresh, laneTo(await startFresh(migrations)))
      return { label: fresh }
    }
    if (upstream === '__lag') {
      const lane = laneOf(label)
      await lane.replica?.close()
      lane.replica = method === 'POST' ? await startReplica!(lane.upstreams.libsql) : undefined
    } else if (upstream === '__fresh') await laneOf(label).upstreams.close?.()
    else if (method === 'PUT' && isUpstream(upstream)) {
      const mode: Mode = JSON.parse(body.toString())
      if (!(mode.mode in modes)) throw new Error(`There is no mode ${mode.mode}.`)
      laneOf(label).setMode(upstream, mode)
    } else if (method === 'DELETE') laneOf(label).log = []
    return laneOf(label).log
  }

  async function relay(request: IncomingMessage, response: ServerResponse, path: string, body: Buffer) {
    const [, label = '', upstream = '', ...rest] = path.split('/')
    if (!isUpstream(upstream)) return void response.writeHead(404).end()
    const lane = laneOf(label)
    const isAside = request.headers[ASIDE] !== undefined
    const mode = isAside ? PASS : lane.takeMode(upstream, `${path} ${body}`)
    const turn = lane.turns[upstream]
    const entry: LogEntry = {
      upstream,
      method: request.method ?? '',
      path: `/${rest.join('/')}`,
      mode: mode.mode,
      startMs: performance.now(),
      endMs: null,
      statements: [],
    }
    if (!isAside) lane.log.push(entry)
    const ended = () => {
      entry.endMs ??= performance.now()
    }
    response.once('close', ended)
    // What goes to the primary, reads included, begins like this.
    const isForReplica = upstream === 'libsql' && !isAside && !body.includes('BEGIN IMMEDIATE')
    const target = new URL(entry.path, (isForReplica && lane.replica?.url) || lane.upstreams[upstream])
    if (redisMode === 'emptied' && upstream === 'libsql' && !isAside) await emptyRedis(lane)
    await modes[mode.mode]({
      mode,
      upstream,
      turn,
      released: lane.released,
      request: body,
      response,
      echo: async () => {
        const again: LogEntry = { ...entry, startMs: performance.now(), endMs: null, statements: [] }
        lane.log.push(again)
        const answer = await forward(target, request, body, agent)
        again.endMs = performance.now()
        again.statements = statementsOf(body, answer.body)
      },
      forward: async () => {
        const answer = await forward(target, request, body, agent).finally(ended)
        if (upstream === 'libsql' && answer.status === 200) entry.statements = statementsOf(body, answer.body)
        return answer
      },
    })
  }

  const server = createServer(async (request, response) => {
    const path = request.url ?? '/'
    try {
      const body = Buffer.concat(await request.toArray())
      if (!/\/__(mode|log|fresh|lag)$/.test(path)) return await relay(request, response, path, body)
      const answer = await control(request.method ?? '', path, body)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    } catch (error) {
      if (!response.headersSent) response.writeHead(502).end(String(error))
    }
  })
  // Never close an idle connection: a Worker that is hashing would not notice in time, and use it again.
  server.keepAliveTimeout = 0
  const url = `http://127.0.0.1:${await listen(server)}`

  return {
    url,
    async close() {
      agent.destroy()
      server.close()
      server.closeAllConnections()
    },
  }
}

const isUpstream = (name: string): name is Upstream => ['libsql', 'redis', 'mail'].includes(name)

/** Each statement's text is kept once: a log of thousands of requests has few different ones. */
const texts = new Map<string, string>()

/**
 * The statements of a Hrana pipeline, including `BEGIN` and `COMMIT`. A text may be stored first, and then named by
 * its id.
 */
function statementsOf(asked: Buffer, answered: Buffer): LogEntry['statements'] {
  const { requests } = JSON.parse(asked.toString())
  const { results } = JSON.parse(answered.toString())
  const stored = new Map<number, string>()
  const entryOf = (stmt: HranaStatement, result?: HranaResult) => {
    const sql = stmt.sql ?? stored.get(stmt.sql_id ?? -1) ?? ''
    if (!texts.has(sql)) texts.set(sql, sql)
    const { cols = [], rows_read = 0, rows_written = 0, query_duration_ms = 0 } = result ?? {}
    return {
      sql: texts.get(sql)!,
      isAnswered: cols.length > 0,
      rowsRead: rows_read,
      rowsWritten: rows_written,
      ms: query_duration_ms,
    }
  }
  return requests.flatMap((request: HranaRequest, index: number) => {
    const result = results[index]?.response?.result
    if (request.type === 'store_sql') stored.set(request.sql_id, request.sql)
    if (request.type === 'execute') return [entryOf(request.stmt, result)]
    if (request.type !== 'batch') return []
    return request.batch.steps.map(({ stmt }, step) => entryOf(stmt, result?.step_results[step] ?? undefined))
  })
}
interface HranaStatement {
  sql?: string
  sql_id?: number
}
interface HranaResult {
  cols: unknown[]
  rows_read: number
  rows_written: number
  query_duration_ms: number
}
type HranaRequest =
  | { type: 'store_sql'; sql_id: number; sql: string }
  | { type: 'execute'; stmt: HranaStatement }
  | { type: 'batch'; batch: { steps: { stmt: HranaStatement }[] } }
  | { type: 'close' }

function forward(target: URL, request: IncomingMessage, body: Buffer, agent: Agent): Promise<Answer> {
  // Uncompressed, because the answer is read here to count rows.
  const { connection: _, 'transfer-encoding': __, 'accept-encoding': ___, ...headers } = request.headers
  return new Promise((resolve, reject) => {
    const upstream = send(target.href, {
      agent,
      method: request.method,
      headers: { ...headers, host: target.host, 'content-length': body.length },
    })
    upstream.once('error', reject).end(body)
    upstream.once('response', async (answer) => {
      try {
        const whole = Buffer.concat(await answer.toArray())
        const { connection, 'transfer-encoding': encoding, ...kept } = answer.headers
        resolve({
          status: answer.statusCode ?? 502,
          headers: { ...kept, 'content-length': String(whole.length) },
          body: whole,
        })
      } catch (error) {
        reject(error)
      }
    })
  })
}
