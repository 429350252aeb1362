import { Agent, createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { listen } from '../../scripts/local/process.ts'

/**
 * One HTTP server in front of the upstreams, for tests that count or break things. Under `/<label>/libsql/…`,
 * `/<label>/redis/…` and `/<label>/mail/…` it forwards; each label has its own log and modes, so tests in parallel do not meet.
 *
 *   PUT    /<label>/<libsql|redis|mail>/__mode   how the next requests fare: see Mode
 *   GET    /<label>/__log                   what was asked, in order of arrival: LogEntry[]
 *   DELETE /<label>/__log                   forget it
 *   POST   /__fresh                         a label with an empty database and Redis of its own: { label }
 */
export type Upstream = 'libsql' | 'redis' | 'mail'
export type Upstreams = Record<Upstream, string>

export interface Mode {
  mode: keyof typeof modes
  /** How many requests it is for; all that follow when absent. */
  next?: number
  /** For `status`. */
  status?: number
  body?: string
  /** For `latency`. */
  ms?: number
}

export interface LogEntry {
  upstream: Upstream
  method: string
  path: string
  mode: Mode['mode']
  /** When the request had arrived, and when the upstream had answered or the connection ended, on one clock. */
  startMs: number
  endMs: number | null
  /** What libSQL ran, with the rows that each statement read and wrote by its own account (it bills by them). */
  statements: { sql: string; rowsRead: number; rowsWritten: number; ms: number }[]
}

interface Exchange {
  mode: Mode
  response: ServerResponse
  forward(): Promise<Answer>
}
interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

const reset = ({ response }: Exchange) => void response.socket?.resetAndDestroy()
const deliver = ({ response }: Exchange, { status, headers, body }: Answer) =>
  void response.writeHead(status, headers).end(body)

/** What can happen to a request. `reset-before` and `reset-after` differ in whether the upstream did the work. */
const modes = {
  pass: async (exchange: Exchange) => deliver(exchange, await exchange.forward()),
  down: ({ response }: Exchange) => void response.socket?.destroy(),
  hang: () => {},
  status: ({ mode, response }: Exchange) =>
    void response
      .writeHead(mode.status ?? 500, { 'content-type': 'application/json' })
      .end(mode.body ?? '{}'),
  latency: async (exchange: Exchange) => {
    await delay(exchange.mode.ms ?? 0)
    deliver(exchange, await exchange.forward())
  },
  'reset-before': reset,
  'reset-after': async (exchange: Exchange) => {
    await exchange.forward()
    reset(exchange)
  },
}

const PASS: Mode = { mode: 'pass' }
/** A header for the test's own look behind the scenes: such a request is neither broken nor counted. */
const ASIDE = 'x-aside'

class Lane {
  readonly upstreams: Upstreams
  log: LogEntry[] = []
  readonly modes: Record<Upstream, Mode> = { libsql: PASS, redis: PASS, mail: PASS }
  constructor(upstreams: Upstreams) {
    this.upstreams = upstreams
  }

  takeMode(upstream: Upstream): Mode {
    const mode = this.modes[upstream]
    if (mode.next !== undefined)
      this.modes[upstream] = mode.next > 1 ? { ...mode, next: mode.next - 1 } : PASS
    return mode
  }
}

export async function startProxy(shared: Upstreams, startFresh: () => Promise<Upstreams>) {
  const lanes = new Map<string, Lane>()
  const agent = new Agent({ keepAlive: true })

  function laneOf(label: string): Lane {
    const lane = lanes.get(label) ?? new Lane(shared)
    lanes.set(label, lane)
    return lane
  }

  async function control(method: string, path: string, body: Buffer): Promise<unknown> {
    const [, label = '', upstream = ''] = path.split('/')
    if (`${method} ${path}` === 'POST /__fresh') {
      const fresh = `fresh-${lanes.size}`
      lanes.set(fresh, new Lane(shared)) // Taken before the wait, or two callers would share it.
      lanes.set(fresh, new Lane(await startFresh()))
      return { label: fresh }
    }
    if (method === 'PUT' && isUpstream(upstream)) {
      const mode: Mode = JSON.parse(body.toString())
      if (!(mode.mode in modes)) throw new Error(`There is no mode ${mode.mode}.`)
      laneOf(label).modes[upstream] = mode
    } else if (method === 'DELETE') laneOf(label).log = []
    return laneOf(label).log
  }

  async function relay(request: IncomingMessage, response: ServerResponse, path: string, body: Buffer) {
    const [, label = '', upstream = '', ...rest] = path.split('/')
    if (!isUpstream(upstream)) return void response.writeHead(404).end()
    const lane = laneOf(label)
    const isAside = request.headers[ASIDE] !== undefined
    const mode = isAside ? PASS : lane.takeMode(upstream)
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
    const target = new URL(entry.path, lane.upstreams[upstream])
    await modes[mode.mode]({
      mode,
      response,
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
      if (!/\/__(mode|log|fresh)$/.test(path)) return await relay(request, response, path, body)
      const answer = await control(request.method ?? '', path, body)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    } catch (error) {
      if (!response.headersSent) response.writeHead(502).end(String(error))
    }
  })
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

/** Texts of statements, each kept once: a log of thousands of requests has few different ones. */
const texts = new Map<string, string>()

/** The statements of a Hrana pipeline, `BEGIN` and `COMMIT` too. A text may be stored first, then named by its id. */
function statementsOf(asked: Buffer, answered: Buffer): LogEntry['statements'] {
  const { requests } = JSON.parse(asked.toString())
  const { results } = JSON.parse(answered.toString())
  const stored = new Map<number, string>()
  const entryOf = (stmt: HranaStatement, result?: HranaResult) => {
    const sql = stmt.sql ?? stored.get(stmt.sql_id ?? -1) ?? ''
    if (!texts.has(sql)) texts.set(sql, sql)
    const { rows_read = 0, rows_written = 0, query_duration_ms = 0 } = result ?? {}
    return { sql: texts.get(sql)!, rowsRead: rows_read, rowsWritten: rows_written, ms: query_duration_ms }
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
  const { connection: _, 'transfer-encoding': __, ...headers } = request.headers
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
