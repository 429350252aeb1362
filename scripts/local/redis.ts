import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Redis } from 'ioredis'
import RedisMock from 'ioredis-mock'
import { startProcess, untilReady } from './process.ts'

export type Reply =
  | Buffer
  | string
  | number
  | boolean
  | null
  | undefined
  | Reply[]
  | { [field: string]: Reply }
export type Outcome = { reply: Reply } | { error: string }

export interface Engine {
  name: 'server' | 'embedded'
  /** Runs the commands in order. Atomic: nothing else runs between them; throws if Redis refuses all of it. */
  run(commands: string[][], options: { atomic: boolean }): Promise<Outcome[]>
  exited: Promise<number>
  lastWords(): string
  close(): Promise<void>
}

export const hasRedisServer = () =>
  (process.env.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, 'redis-server')))

/** A real `redis-server`, reachable only through a socket file, with an append-only file in `dir`. */
export async function startRedisServer(dir: string): Promise<Engine> {
  mkdirSync(dir, { recursive: true })
  // Not in `dir`: the path of a socket file may only have about a hundred bytes, and `dir` can be anywhere.
  const socketDir = mkdtempSync(join(tmpdir(), 'roster-'))
  const path = join(socketDir, 'redis.sock')
  const options = { port: '0', unixsocket: path, unixsocketperm: '700', dir, appendonly: 'yes', save: '' }
  const server = startProcess(
    'redis-server',
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
  )
  const redis = new Redis({ path, enableOfflineQueue: false, retryStrategy: () => 25 })
  // ioredis reports each failed attempt to connect as an event. Whether it worked is decided by `ping` below.
  redis.on('error', () => {})

  const close = async () => {
    redis.disconnect()
    await server.close()
    rmSync(socketDir, { recursive: true, force: true })
  }
  try {
    await untilReady(server, () => redis.ping())
  } catch (error) {
    await close()
    throw new Error('redis-server did not start.', { cause: error })
  }
  return {
    name: 'server',
    async run(commands, { atomic }) {
      // With names in capitals, ioredis does not reshape replies (HGETALL into an object, for one).
      const calls = commands.map(([name = '', ...args]) => ['callBuffer', name.toUpperCase(), ...args])
      const results = await (atomic ? redis.multi(calls) : redis.pipeline(calls)).exec()
      return (results ?? []).map(([error, reply]) =>
        error ? { error: error.message } : { reply: reply as Reply },
      )
    },
    exited: server.exited,
    lastWords: server.lastWords,
    close,
  }
}

/** ioredis-mock does not refuse what is no integer, so these are checked before it is called. */
const INTEGER_COMMANDS = new Set(['incr', 'incrby', 'decr', 'decrby'])

/** The options of SET, by group: only one of each group may be given. */
const SET_OPTIONS: Record<string, 'condition' | 'expiry' | 'answer'> = {
  NX: 'condition',
  XX: 'condition',
  EX: 'expiry',
  PX: 'expiry',
  EXAT: 'expiry',
  PXAT: 'expiry',
  GET: 'answer',
}

/** ioredis-mock ignores options that it does not know, including known ones in lower case, and accepts contradictory ones. */
function readSetOptions(given: string[]): string[] {
  const said = new Map<string, string>()
  const options: string[] = []
  for (let index = 0; index < given.length; index++) {
    const name = given[index]!.toUpperCase()
    const kind = SET_OPTIONS[name]
    if (!kind || (said.get(kind) ?? name) !== name) throw new Error('ERR syntax error')
    said.set(kind, name)
    options.push(name)
    if (kind === 'expiry') options.push(readExpiry(given[++index]))
  }
  return options
}

function readExpiry(value: string | undefined): string {
  if (value === undefined) throw new Error('ERR syntax error')
  if (!/^-?\d+$/.test(value)) throw new Error('ERR value is not an integer or out of range')
  if (Number(value) <= 0) throw new Error("ERR invalid expire time in 'set' command")
  return value
}

/** ioredis-mock can only return tables written as constructors, but a script may also fill one in a loop. */
const asScript = (source: string) =>
  `local function script() ${source}\n end
   local reply = script()
   if type(reply) == 'table' then return {table.unpack(reply)} end
   return reply`

/**
 * Redis in this process, for machines without a `redis-server`. It keeps nothing when it ends, and need not: by
 * design no security fact is only in Redis, so losing its data costs a query or two.
 */
export async function startEmbeddedRedis(): Promise<Engine> {
  // Instances with the same host and port share their data, so each of ours has its own host.
  const redis = new RedisMock({ host: randomUUID() })
  const methods = redis as unknown as Record<string, (...args: string[]) => Promise<Reply>>
  const values = (redis as unknown as { data: Map<string, string> }).data
  const known = (await methods.command?.()) as Array<[name: string, arity: number]>
  const arities = new Map(known.map(([name, arity]) => [name, arity]))
  const scripts = new Map<string, string>()

  const loadScript = (source: string) => {
    const sha = createHash('sha1').update(source).digest('hex')
    scripts.set(sha, source)
    return sha
  }

  function refusal([name = '', ...args]: string[]): string | undefined {
    const arity = arities.get(name.toLowerCase())
    if (arity === undefined) {
      return `ERR unknown command '${name}', with args beginning with: ${args.map((arg) => `'${arg}' `).join('')}`
    }
    const given = args.length + 1
    if (arity < 0 ? given < -arity : given !== arity) {
      return `ERR wrong number of arguments for '${name.toLowerCase()}' command`
    }
  }

  async function call([command = '', ...args]: string[]): Promise<Reply> {
    const name = command.toLowerCase()
    const [first = '', second = '', ...others] = args
    if (name === 'set') return methods.setBuffer?.(first, second, ...readSetOptions(others))
    if (INTEGER_COMMANDS.has(name)) {
      const operands = [values.has(first) ? String(values.get(first)) : '0', ...args.slice(1)]
      if (!operands.every((operand) => /^-?\d+$/.test(operand))) {
        throw new Error('ERR value is not an integer or out of range')
      }
    }
    if (name === 'script' && first.toLowerCase() === 'load') return loadScript(second)
    if (name === 'eval') {
      loadScript(first)
      return methods.evalBuffer?.(asScript(first), second, ...others)
    }
    if (name === 'evalsha') {
      const source = scripts.get(first.toLowerCase())
      if (source === undefined) throw new Error('NOSCRIPT No matching script. Please use EVAL.')
      return methods.evalBuffer?.(asScript(source), second, ...others)
    }
    const method = methods[`${name}Buffer`]
    if (!method) throw new Error(`ERR the embedded Redis has no '${name}': install redis-server`)
    return method(...args)
  }

  return {
    name: 'embedded',
    async run(commands, { atomic }) {
      const refusals = commands.map(refusal)
      if (atomic && refusals.some(Boolean)) {
        throw new Error('EXECABORT Transaction discarded because of previous errors.')
      }
      // ioredis-mock does its work before the first await, so nothing runs between the commands of one list.
      return Promise.all(
        commands.map(async (command, index): Promise<Outcome> => {
          const refused = refusals[index]
          if (refused) return { error: refused }
          try {
            return { reply: await call(command) }
          } catch (error) {
            const { message } = error as Error
            return { error: /^[A-Z]{3,} /.test(message) ? message : `ERR ${message}` }
          }
        }),
      )
    },
    exited: new Promise(() => {}),
    lastWords: () => '',
    close: async () => redis.disconnect(),
  }
}
