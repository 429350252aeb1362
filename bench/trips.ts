import { bytesOf } from './bill.ts'
import { type Counted, count, delay } from './counter.ts'
import { WITHOUT_COPY } from './dollars.ts'
import { type Call, time } from './load.ts'
import { emailOf, personId, sessionId } from './seed.ts'
import { PASSWORD, type Stage } from './stage.ts'

export interface Trip extends Omit<Counted, 'spanMs'> {
  operation: string
  depth: number
  budget: { depth: number; calls: number }
}

const DELAY_MS = 200
const TIMES = 6

/**
 * Counts the calls of each operation at the proxy, and finds its depth by making every call slower: the calls that
 * the answer waits for one after another show in how much later it comes.
 */
export async function measureTrips(stage: Stage, url: string): Promise<Trip[]> {
  const trips: Trip[] = []
  for (const [operation, depth, calls, call] of operationsOf(stage)) {
    const request = await call()
    await time(url, 1, request)
    const { spanMs: _, ...counted } = await count(stage.proxyUrl, () => time(url, 1, request))
    const near = Math.min(...(await time(url, TIMES, request)))
    for (const upstream of ['libsql', 'redis'] as const) await delay(stage.proxyUrl, upstream, DELAY_MS)
    const far = Math.min(...(await time(url, TIMES, request)))
    for (const upstream of ['libsql', 'redis'] as const) await delay(stage.proxyUrl, upstream, 0)
    const measured = Math.round((far - near) / DELAY_MS)
    trips.push({ operation, depth: measured, budget: { depth, calls }, ...counted })
  }
  return trips
}

/** Operations that write, repeated often enough for the file to grow by whole pages. */
const TIMES_FOR_BYTES: Record<string, number> = {
  signup: 40,
  login: 40,
  refresh: 400,
  'change of oneself': 400,
  'change of a person': 400,
}

/** By how many bytes the database grows with each operation. */
export async function measureBytes(stage: Stage, url: string): Promise<Record<string, number>> {
  const operations = operationsOf(stage, 2000).filter(([operation]) => TIMES_FOR_BYTES[operation])
  const calls = await Promise.all(
    operations.map(
      async ([operation, , , call]) => [operation, TIMES_FOR_BYTES[operation]!, await call()] as const,
    ),
  )
  return bytesOf(url, stage.databaseUrl, calls)
}

/** Name, budgets for depth and calls, and a function that prepares the requests. */
type Row = [operation: string, depth: number, calls: number, call: () => Promise<() => Call>]

/** @param offset selects people whom no other measurement has used. */
function operationsOf({ seed, tokens }: Stage, offset = 0): Row[] {
  const ip = { 'cf-connecting-ip': '10.1.0.1' }
  const anyIp = () => `10.1.${Math.floor(Math.random() * 256)}.${Math.floor(Math.random() * 256)}`
  const json = { ...ip, 'content-type': 'application/json' }
  const send = (method: Call['method'], path: string, token: string, body?: object): Call => ({
    method,
    path,
    headers: { authorization: `Bearer ${token}`, ...(body ? json : ip) },
    ...(body && { body: JSON.stringify(body) }),
  })
  const get = (path: string) => async () => {
    const token = await tokens.accessOf(107, 'manager')
    return () => send('GET', path, token)
  }
  const logIn = (password: string) => async () => {
    let number = 1020 + offset
    return (): Call => ({
      method: 'POST',
      path: '/v1/auth/login',
      headers: json,
      body: JSON.stringify({ email: emailOf(number++), password }),
    })
  }
  return [
    ['read of oneself', 1, 1, get('/v1/users/me')],
    [
      WITHOUT_COPY,
      2,
      // The copy is stored after the answer.
      3,
      async () => {
        const made = await Promise.all(
          Array.from({ length: 20 }, (_, index) => tokens.accessOf(1320 + index)),
        )
        let number = 0
        return () => send('GET', '/v1/users/me', made[number++]!)
      },
    ],
    ['read of a person', 1, 1, get(`/v1/users/${personId(seed, 120)}`)],
    ['list of people, a page', 1, 1, get('/v1/users')],
    ['search', 1, 1, get('/v1/users?q=lovelace')],
    ['history, a page', 1, 1, get('/v1/activity')],
    [
      'signup',
      2,
      // Two after the answer: its mail is claimed, and marked as sent.
      4,
      async () => () => ({
        method: 'POST',
        path: '/v1/auth/signup',
        // Each from another network, as mails are counted by network.
        headers: { ...json, 'cf-connecting-ip': anyIp() },
        body: JSON.stringify({
          email: `${crypto.randomUUID()}@people.test`,
          password: PASSWORD,
          name: 'Ada',
        }),
      }),
    ],
    ['login', 2, 2, logIn(PASSWORD)],
    [
      'refresh',
      1,
      1,
      async () => {
        let counter = 0
        return () => ({
          method: 'POST',
          path: '/v1/auth/refresh_token',
          headers: json,
          body: JSON.stringify({ refresh_token: tokens.refresh(sessionId(seed, 1121 + offset), counter++) }),
        })
      },
    ],
    [
      'logout',
      1,
      2,
      async () => {
        let number = 1200
        const made = await Promise.all(
          Array.from({ length: 20 }, (_, index) => tokens.accessOf(1200 + index)),
        )
        return () => send('POST', '/v1/auth/logout', made[number++ - 1200]!)
      },
    ],
    [
      'change of oneself',
      2,
      3,
      async () => {
        const token = await tokens.accessOf(1122 + offset)
        return () => send('PATCH', '/v1/users/me', token, { name: `Ada ${crypto.randomUUID()}` })
      },
    ],
    [
      'change of a person',
      2,
      3,
      async () => {
        const token = await tokens.accessOf(107, 'manager')
        return () =>
          send('PATCH', `/v1/users/${personId(seed, 1123 + offset)}`, token, {
            name: `Ada ${crypto.randomUUID()}`,
          })
      },
    ],
  ]
}
