import { afterAll, beforeAll, vi } from 'vitest'
import { type Mode, startProxy } from '../../test/support/proxy.ts'
import { startStack } from '../../test/support/stack.ts'
import { type ClientOptions, createClient, type RosterClient } from '../src/main.ts'
import { type Storage, tokens } from '../src/tokens.ts'

export const PASSWORD = 'nine purple herons sleep'
/** Longer than an access token is valid. */
export const LATER_MS = 600_000

/** The real Worker, behind a proxy that can break connections. */
export function openRoster() {
  let stack: Awaited<ReturnType<typeof startStack>>
  let proxy: Awaited<ReturnType<typeof startProxy>>
  const clients: RosterClient[] = []
  beforeAll(async () => {
    stack = await startStack()
    const shared = { libsql: stack.url, redis: stack.url, mail: stack.url }
    proxy = await startProxy({ shared, startFresh: async () => shared, redisMode: 'pass', redisToken: '' })
  })
  afterAll(async () => {
    for (const client of clients) client.close()
    await proxy?.close()
    await stack?.close()
  })

  const base = (lane: string) => `${proxy.url}/${lane}/mail`
  let made = 0

  return {
    base,
    /** A client in token mode with a connection of its own, for `break` and `asked`. */
    client(
      options: Partial<ClientOptions> & { storage?: Storage; lane?: string } = {},
    ): RosterClient & { lane: string } {
      const { storage, lane = `lane-${made++}`, ...others } = options
      const client = createClient({
        url: base(lane),
        keep: tokens(storage ? { storage } : {}),
        fetch: elsewhere,
        ...others,
      })
      clients.push(client)
      return Object.assign(client, { lane })
    },
    async person(name = 'Ada'): Promise<{ email: string; password: string }> {
      const email = `${crypto.randomUUID()}@people.test`
      await fetch(`${stack.url}/v1/auth/signup`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email, password: PASSWORD, name }),
      })
      return { email, password: PASSWORD }
    },
    /** What happens to the next requests. */
    async break(lane: string, mode: Mode): Promise<void> {
      await fetch(`${base(lane)}/__mode`, { method: 'PUT', body: JSON.stringify(mode) })
    },
    /** How many requests this path has had. */
    async asked(lane: string, path: string): Promise<number> {
      const log = (await (await fetch(`${proxy.url}/${lane}/__log`)).json()) as { path: string }[]
      return log.filter((entry) => entry.path.startsWith(path)).length
    },
    sql: (statement: string, args: (string | number)[] = []) => stack.sql(statement, args),
    url: () => stack.url,
  }
}

/** From a network of its own, as the stack limits requests per network, and all tests run on one machine. */
function elsewhere(request: Request): Promise<Response> {
  const ip = `10.${[1, 2, 3].map(() => Math.floor(Math.random() * 256)).join('.')}`
  request.headers.set('cf-connecting-ip', ip)
  return fetch(request)
}

/** Moves the client's clock but not the server's, so that its token looks old to it. */
export const goOn = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })

export async function until(isSo: () => unknown): Promise<void> {
  for (let tries = 0; tries < 3000 && !isSo(); tries++)
    await new Promise((resolve) => setTimeout(resolve, 20))
  if (!isSo()) throw new Error('It has not come to that.')
}

export const keptIn = (kept: Map<string, string>): Storage => ({
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, value),
  removeItem: (name) => kept.delete(name),
})
