import { createClient } from '@libsql/client/http'
import { type Call, type Caller, type Load, quantile, run } from './load.ts'
import { emailOf, personId, sessionId } from './seed.ts'
import { PASSWORD, type Stage } from './stage.ts'
import type { Worker } from './workerd.ts'

export interface Ratio {
  operation: string
  connections: number
  roster: Side
  floor: Side
  /** Roster at another commit, if asked for. */
  before?: Side
  /** Roster's requests per second as a share of the floor's; also the lowest and highest of the rounds. */
  ratio: number
  lowest: number
  highest: number
}

export interface Side {
  perSecond: number
  p50Ms: number
  p99Ms: number
  refused: number
  /** CPU of the process that runs the Worker, per request. */
  cpuMs: number
}

const CONNECTIONS = [1, 16, 64]
const QUICK_CONNECTIONS = 16
/** How many people the numbers below need, and page 400 of those who are active. */
export const PEOPLE_FOR_RATIOS = 12_000

/** Roster's and the floor's caller for each connection. `number` selects people whom nobody else uses. */
type Pair = (number: number) => Promise<[roster: Caller, floor: Caller]>

interface Operation {
  name: string
  isHash?: true
  pair: Pair
  /** Prepares what each slice needs. */
  prepare?(): Promise<void>
}

const always = (call: Call): Caller => ({ next: () => call })
const get = (path: string, headers: Record<string, string> = {}): Call => ({ method: 'GET', path, headers })
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const post = (path: string, body: object | undefined, headers: Record<string, string> = {}): Call => ({
  method: 'POST',
  path,
  headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
  ...(body && { body: JSON.stringify(body) }),
})

export function operationsOf({ seed, tokens, databaseUrl }: Stage): Operation[] {
  const from = (number: number) => ({ 'cf-connecting-ip': `10.0.${number >> 8}.${number & 255}` })
  const ended = endableSessions(databaseUrl, (person, session) => tokens.access(person, session))
  return [
    {
      name: 'read of oneself',
      pair: async (number) => [
        always(get('/v1/users/me', bearer(await tokens.accessOf(number)))),
        always(get(`/near/${sessionId(seed, number)}`)),
      ],
    },
    {
      name: 'read of a person',
      pair: async (number) => {
        const manager = bearer(await tokens.accessOf(Math.floor(number / 100) * 100 + 7, 'manager'))
        return [
          always(get(`/v1/users/${personId(seed, number)}`, manager)),
          always(get(`/read/${personId(seed, number)}`)),
        ]
      },
    },
    {
      name: 'list of people, a page',
      pair: async (number) => [
        always(
          get('/v1/users', bearer(await tokens.accessOf(Math.floor(number / 100) * 100 + 7, 'manager'))),
        ),
        always(get(`/list/${personId(seed, number)}`)),
      ],
    },
    {
      name: 'list of people, page 400',
      pair: async (number) => {
        const manager = bearer(await tokens.accessOf(Math.floor(number / 100) * 100 + 7, 'manager'))
        return [always(get('/v1/users?page=400&limit=25', manager)), always(get('/deep/'))]
      },
    },
    {
      name: 'refresh',
      pair: async (number) => {
        let token = tokens.refresh(sessionId(seed, number))
        return [
          {
            next: () => post('/v1/auth/refresh_token', { refresh_token: token }, from(number)),
            took: (body) => {
              token = JSON.parse(body).refresh_token
            },
          },
          always(get(`/refresh/${sessionId(seed, number + 1)}`)),
        ]
      },
    },
    {
      name: 'logout',
      prepare: ended.refill,
      pair: async (number) => [
        {
          next: () =>
            ended.take((it) => post('/v1/auth/logout', undefined, { ...bearer(it.token), ...from(number) })),
        },
        { next: () => ended.take((it) => get(`/logout/${it.session}`)) },
      ],
    },
    {
      name: 'login',
      isHash: true,
      pair: async (number) => {
        // Many people take turns: one alone would soon have more than the fifty sessions allowed.
        let turn = 0
        const email = () => emailOf(3 + ((number + 100 * turn++) % PEOPLE_FOR_RATIOS))
        return [
          { next: () => post('/v1/auth/login', { email: email(), password: PASSWORD }, from(number)) },
          { next: () => get(`/login/${personId(seed, 3 + ((number + 100 * turn++) % PEOPLE_FOR_RATIOS))}`) },
        ]
      },
    },
    {
      name: 'signup',
      isHash: true,
      pair: async () => [
        {
          next: () =>
            post(
              '/v1/auth/signup',
              { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada Lovelace' },
              // Each from another network, as mails are counted by network.
              from(Math.floor(Math.random() * 65_536)),
            ),
        },
        always(get('/signup/')),
      ],
    },
  ]
}

/** Sessions to be ended, each once. */
function endableSessions(databaseUrl: string, tokenOf: (person: string, session: string) => Promise<string>) {
  const AT_ONCE = 4_000
  const left: { session: string; token: string }[] = []
  return {
    take: (call: (it: { session: string; token: string }) => Call): Call | undefined => {
      const it = left.pop()
      return it && call(it)
    },
    async refill() {
      const client = createClient({ url: databaseUrl })
      const { rows } = await client.execute({
        sql: `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at,
            ip, user_agent)
          SELECT printf('%s-%012x', substr(id, 1, 23), abs(random()) & 0xffffffffffff), user_id, 0, 0, created_at,
            last_seen_at, idle_expires_at, expires_at, ip, user_agent
          FROM sessions WHERE revoked_at IS NULL LIMIT ? RETURNING id, user_id`,
        args: [AT_ONCE - left.length],
      })
      client.close()
      for (const row of rows) {
        const [session, person] = [row.id as string, row.user_id as string]
        left.push({ session, token: await tokenOf(person, session) })
      }
    },
  }
}

type Sides<T> = { roster: T; floor: T; before?: T }

/**
 * Roster, the floor and perhaps an earlier Roster take turns, slice by slice, so that whatever else the machine does
 * affects all of them. Which of them begins changes too.
 */
export async function measureRatios(
  stage: Stage,
  workers: Sides<Worker>,
  { isQuick, progress }: { isQuick: boolean; progress(text: string): void },
): Promise<Ratio[]> {
  const names = Object.keys(workers) as (keyof typeof workers)[]
  const ratios: Ratio[] = []
  const length = isQuick ? 'quick' : 'full'
  for (const operation of operationsOf(stage)) {
    const [rounds, seconds] = SLICES[length][operation.isHash ? 'hash' : 'other']
    for (const [level, connections] of CONNECTIONS.entries()) {
      if (isQuick && connections !== QUICK_CONNECTIONS) continue
      progress(`${operation.name}, ${connections} connections`)
      const slices: Sides<Slice[]> = { roster: [], floor: [], ...(workers.before && { before: [] }) }
      const callers = await callersOf(operation, names, connections, level)
      const slice = async (name: keyof typeof workers, seconds: number): Promise<Slice> => {
        const worker = workers[name]!
        await operation.prepare?.()
        const before = worker.cpuMs()
        const load = await run(worker.url, callers[name], seconds)
        return { ...load, cpuMs: worker.cpuMs() - before }
      }
      // V8 first compiles what runs often; that must be over.
      if (isQuick ? !operation.isHash : level === 0)
        for (const name of names) await slice(name, isQuick ? 1 : 4)
      for (let round = 0; round < rounds; round++) {
        for (const index of names.keys()) {
          const name = names[(index + round) % names.length]!
          slices[name]!.push(await slice(name, seconds))
        }
      }
      ratios.push(compare(operation.name, connections, slices))
    }
  }
  return ratios
}

/** How many slices, of how many seconds. */
const SLICES = {
  quick: { hash: [1, 2], other: [2, 0.6] },
  full: { hash: [2, 6], other: [4, 2] },
} as const

async function callersOf(
  operation: Operation,
  names: (keyof Sides<unknown>)[],
  connections: number,
  level: number,
): Promise<Record<keyof Sides<unknown>, Caller[]>> {
  const callers: Record<keyof Sides<unknown>, Caller[]> = { roster: [], floor: [], before: [] }
  for (const name of names) {
    for (let index = 0; index < connections; index++) {
      const number = 20 + 20 * level + (name === 'before' ? 4 : 0) + 100 * index
      const [ours, floor] = await operation.pair(number)
      callers[name].push(name === 'floor' ? floor : ours)
    }
  }
  return callers
}

type Slice = Load & { cpuMs: number }

const rate = ({ answered, seconds }: Pick<Load, 'answered' | 'seconds'>) => answered / seconds

function compare(operation: string, connections: number, slices: Sides<Slice[]>): Ratio {
  const ofRounds = slices.roster.map((load, round) => rate(load) / rate(slices.floor[round]!))
  const [roster, floor] = [sum(slices.roster), sum(slices.floor)]
  return {
    operation,
    connections,
    roster,
    floor,
    ...(slices.before && { before: sum(slices.before) }),
    ratio: roster.perSecond / floor.perSecond,
    lowest: Math.min(...ofRounds),
    highest: Math.max(...ofRounds),
  }
}

function sum(slices: Slice[]): Side {
  const total = (of: (slice: Slice) => number) => slices.reduce((all, slice) => all + of(slice), 0)
  const latencies = slices.flatMap((slice) => slice.latencies)
  const answered = total((slice) => slice.answered)
  return {
    perSecond: answered / total((slice) => slice.seconds),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    refused: total((slice) => slice.refused),
    cpuMs: total((slice) => slice.cpuMs) / answered,
  }
}
