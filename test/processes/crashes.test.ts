import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from '@libsql/client/web'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { generate, newSecret } from '../../scripts/keys.ts'
import { type ChildProcess, freePort, startProcess, untilReady } from '../../scripts/local/process.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { migrate } from '../../scripts/migrate.ts'
import { expectInvariants } from '../support/invariants.ts'
import { rounds } from '../support/rounds.ts'

/** Processes that die while they work, and clients that go away. Nothing that was acknowledged may be lost. */
const ROOT = resolve(import.meta.dirname, '../..')
const LONG_MS = rounds(400_000, 1_800_000)
const CLIENTS = 10
const PAUSE_MS = 200 // Of each client between two writes, so all of them write 50 times a second.

const home = mkdtempSync(join(tmpdir(), 'roster-crashes-'))
const envFile = join(home, 'env')
let port: number
let url: string
let sqld: Awaited<ReturnType<typeof startSqld>>
let upstash: Awaited<ReturnType<typeof startUpstash>>
let worker: ChildProcess

beforeAll(async () => {
  sqld = await startSqld({ dir: join(home, 'database') })
  upstash = await startUpstash({ token: newSecret(), engine: 'auto', dir: join(home, 'redis') })
  await migrate(sqld.url)
  port = await freePort()
  url = `http://127.0.0.1:${port}`
  const bindings = {
    ...(await generate()),
    TURSO_DATABASE_URL: sqld.url,
    TURSO_AUTH_TOKEN: 'local',
    UPSTASH_REDIS_REST_URL: upstash.url,
    UPSTASH_REDIS_REST_TOKEN: upstash.token,
    ISSUER: 'https://roster.test',
    REFRESH_GRACE_SECONDS: '300', // The development server takes longer to restart than the edge.
  }
  writeFileSync(
    envFile,
    Object.entries(bindings)
      .map(([name, value]) => `${name}='${value}'\n`)
      .join(''),
  )
  worker = await startWorker()
}, LONG_MS)
afterAll(async () => {
  await worker?.close()
  await upstash?.close()
  await sqld?.close()
  rmSync(home, { recursive: true })
})

async function startWorker() {
  const started = startProcess(
    process.execPath,
    [
      join(ROOT, 'node_modules/wrangler/bin/wrangler.js'),
      ...['dev', '--ip=127.0.0.1', `--port=${port}`, '--inspector-port=0', `--env-file=${envFile}`],
      '--show-interactive-dev-session=false',
    ],
    { WRANGLER_SEND_METRICS: 'false', CI: 'true', CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
  )
  await untilReady(started, () => fetch(`${url}/health`), 120_000)
  return started
}

interface Client {
  ip: string
  email: string
  token: string
  refreshToken: string
  /** The last name whose change was acknowledged, and the one under way. */
  name: string
  next: string
}

/** One request; undefined without an answer. */
async function send(
  method: string,
  path: string,
  body?: object,
  client?: Partial<Client>,
  signal?: AbortSignal,
) {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (client?.token) headers.authorization = `Bearer ${client.token}`
  if (client?.ip) headers['cf-connecting-ip'] = client.ip
  try {
    const answer = await fetch(url + path, {
      method,
      headers,
      signal: AbortSignal.any([AbortSignal.timeout(15_000), ...(signal ? [signal] : [])]),
      ...(body && { body: JSON.stringify(body) }),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, string> }
  } catch {
    return undefined
  }
}

/** What a good client does: repeats it until there is an answer other than a 503 or a 429. */
async function persist(...request: Parameters<typeof send>) {
  for (;;) {
    const answer = await send(...request)
    if (answer && answer.status < 500 && answer.status !== 429) return answer
    // While the development server restarts, it answers with its own errors.
    await delay(answer?.status === 429 ? 1000 : 100)
  }
}

let clients: Promise<Client[]> | undefined
const theClients = () => (clients ??= Promise.all(Array.from({ length: CLIENTS }, (_, i) => signUp(i))))

async function signUp(index: number): Promise<Client> {
  const ip = `10.0.0.${index}`
  const email = `client-${index}@people.test`
  const password = 'seven brown foxes read'
  const signedUp = await persist('POST', '/v1/auth/signup', { email, password, name: 'Ada' }, { ip })
  // A repeat, because the answer was too late for us, finds it done.
  expect([201, 409]).toContain(signedUp.status)
  const { status, body } = await persist('POST', '/v1/auth/login', { email, password }, { ip })
  expect(status).toBe(200)
  const { access_token, refresh_token } = body as { access_token: string; refresh_token: string }
  return { ip, email, token: access_token, refreshToken: refresh_token, name: 'Ada', next: 'Ada' }
}

const rename = async (client: Client) => {
  client.next = `Ada ${crypto.randomUUID()}`
  expect((await persist('PATCH', '/v1/users/me', { name: client.next }, client)).status).toBe(200)
  client.name = client.next
}
const refresh = async (client: Client) => {
  const answer = await persist(
    'POST',
    '/v1/auth/refresh_token',
    { refresh_token: client.refreshToken },
    client,
  )
  expect([answer.status, answer.body.code]).toEqual([200, undefined])
  client.token = answer.body.access_token!
  client.refreshToken = answer.body.refresh_token!
}

/** Writes without a pause during `meanwhile`, and then checks that everything acknowledged is there. */
async function underWrites(meanwhile: () => Promise<void>) {
  const all = await theClients()
  let isOver = false
  const traffic = all.map(async (client) => {
    for (let i = 0; !isOver; i++) {
      await (i % 5 === 0 ? refresh(client) : rename(client))
      await delay(PAUSE_MS)
    }
  })
  try {
    await delay(1000)
    await meanwhile()
    await delay(1000)
  } finally {
    isOver = true
  }
  await Promise.all(traffic)
  await expectNothingLost(all)
}

async function expectNothingLost(all: Client[]) {
  for (const client of all) {
    const { status, body } = await persist('GET', '/v1/users/me', undefined, client)
    expect([status, body.name]).toEqual([200, client.name])
  }
  await expectInvariants({
    sql: async (query) => (await createClient({ url: sqld.url }).execute(query)).rows as never,
    send: async (method, path) => ({ status: (await fetch(url + path, { method })).status }),
  })
}

test(
  'Fault 6, Fault 21: if the Worker is killed during writes, none is half done, and none acknowledged is lost',
  () =>
    underWrites(async () => {
      for (let round = 0; round < rounds(1, 5); round++) {
        await worker.crash()
        worker = await startWorker()
        await delay(1000)
      }
    }),
  LONG_MS,
)

test(
  'Fault 9: if the database is killed during writes, it comes back with everything acknowledged',
  () =>
    underWrites(async () => {
      const where = { dir: join(home, 'database'), port: Number(new URL(sqld.url).port) }
      for (let round = 0; round < rounds(2, 10); round++) {
        await sqld.crash()
        await delay(500)
        sqld = await startSqld(where)
        await delay(1000)
      }
    }),
  LONG_MS,
)

test(
  'Fault 22: clients that go away at any moment leave nothing half done',
  async () => {
    const all = await theClients()
    const goAway = async (client: Client, request: Parameters<typeof send>) => {
      const signal = AbortSignal.timeout(Math.floor(Math.random() * 30))
      await send(request[0], request[1], request[2], client, signal)
    }
    for (let round = 0; round < rounds(5, 50); round++) {
      await Promise.all(
        all.map(async (client) => {
          await goAway(client, ['PATCH', '/v1/users/me', { name: `Gone ${crypto.randomUUID()}` }])
          await goAway(client, ['POST', '/v1/auth/refresh_token', { refresh_token: client.refreshToken }])
          await refresh(client)
        }),
      )
    }
    await Promise.all(all.map(rename))
    await expectNothingLost(all)
  },
  LONG_MS,
)
