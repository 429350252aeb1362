import { createClient } from '@libsql/client/http'
import { type Counted, count } from './counter.ts'
import { type Call, quantile, time } from './load.ts'
import { emailOf, HISTORY_ROWS_EACH, personId, RARE_NAME, sessionId } from './seed.ts'
import { PASSWORD, type Stage } from './stage.ts'
import type { Worker } from './workerd.ts'

export interface Growth extends Omit<Counted, 'libsql' | 'redis' | 'spanMs'> {
  operation: string
  people: number
  p50Ms: number
}

const DAY_MS = 86_400_000
const EXPIRED_SESSIONS = 1_000
const CLEANUP_RUNS = 5
const PAGE = 100

interface Workers {
  /** Talks to the database directly: for times. */
  direct: Worker
  /** Talks to it through the proxy: for counts. */
  counted: Worker
}

/** Measures every operation whose cost might grow, at each number of people. */
export async function measureGrowth(
  stage: Stage,
  workers: Workers,
  sizes: number[],
  progress: (text: string) => void,
): Promise<Growth[]> {
  const growth: Growth[] = []
  for (const people of sizes) {
    const name = people.toLocaleString('en')
    await stage.grow(people, HISTORY_ROWS_EACH, (done) => {
      if (done % 25_000 < 5_000) progress(`${name} people: ${done.toLocaleString('en')} are there`)
    })
    progress(`${name} people: measuring`)
    const token = await stage.tokens.accessOf(7, 'admin')
    const deep = await walk(workers.direct.url, token, people / 2, (at) =>
      progress(`${name} people: following the cursor, row ${at.toLocaleString('en')}`),
    )
    for (const [operation, times, call] of operationsOf(stage, token, deep, people)) {
      await time(workers.counted.url, 1, call)
      const {
        libsql: _,
        redis: __,
        spanMs: ___,
        ...counted
      } = await count(stage.proxyUrl, () => time(workers.counted.url, 1, call))
      const p50Ms = quantile(await time(workers.direct.url, times, call), 0.5)
      growth.push({ operation, people, p50Ms, ...counted })
    }
    for (const [operation, expired] of [
      ['clean-up, nothing to do', 0],
      [`clean-up of ${EXPIRED_SESSIONS.toLocaleString('en')} expired sessions`, EXPIRED_SESSIONS],
    ] as const) {
      const runs: Counted[] = []
      for (let run = 0; run < CLEANUP_RUNS; run++) {
        await expireSessions(stage.databaseUrl, expired)
        runs.push(await count(stage.proxyUrl, workers.counted.runCron))
      }
      const { libsql: _, redis: __, spanMs: ___, ...counted } = runs.at(-1)!
      // A run's own time, from its first call to the end of its last; starting it is the harness's work.
      growth.push({
        operation,
        people,
        p50Ms: quantile(
          runs.map(({ spanMs }) => spanMs),
          0.5,
        ),
        ...counted,
      })
    }
  }
  return growth
}

/** Follows the list's cursor to a row, as a caller must. Returns the cursor of the page there. */
async function walk(
  url: string,
  token: string,
  row: number,
  progress: (row: number) => void,
): Promise<string> {
  const headers = { authorization: `Bearer ${token}` }
  let cursor = ''
  for (let at = 0; at < row; at += PAGE) {
    const answer = await fetch(`${url}/v1/users?limit=${PAGE}${cursor && `&cursor=${cursor}`}`, { headers })
    const { pagination } = (await answer.json()) as { pagination: { next_cursor: string } }
    cursor = pagination.next_cursor
    if (at % 100_000 === 0 && at > 0) progress(at)
  }
  return cursor
}

async function expireSessions(databaseUrl: string, howMany: number) {
  if (howMany === 0) return
  const client = createClient({ url: databaseUrl })
  const past = Date.now() - 2 * DAY_MS
  await client.execute({
    sql: `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
      WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
      SELECT 'expired ' || hex(randomblob(8)), 'nobody', 0, 0, 0, 0, ?, ? FROM n`,
    args: [howMany, past, past],
  })
  client.close()
}

type Row = [operation: string, times: number, call: () => Call]

function operationsOf({ seed, tokens }: Stage, token: string, deep: string, people: number): Row[] {
  const somebody = personId(seed, 420)
  const get = (operation: string, path: string): Row => [
    operation,
    30,
    () => ({ method: 'GET', path, headers: { authorization: `Bearer ${token}` } }),
  ]
  const list = (operation: string, query: string) => get(operation, `/v1/users?${query}`)
  const post = (path: string, body: object): Call => ({
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', 'cf-connecting-ip': '10.2.0.1' },
    body: JSON.stringify(body),
  })
  // Sessions and accounts that no earlier size has used.
  const first = people === 1_000 ? 520 : people / 2 + 20
  let login = 0
  let counter = 0
  const session = sessionId(seed, first + 2)
  return [
    get('read of oneself', '/v1/users/me'),
    get('read of a person', `/v1/users/${somebody}`),
    list('first page', ''),
    list('deep page of 100, by cursor', `limit=${PAGE}&cursor=${deep}`),
    list('page 40, by number', 'page=40'),
    ...['created_at', '-created_at', 'email', '-email', 'name', '-name'].map((sort) =>
      list(`sorted by ${sort}`, `sort=${sort}`),
    ),
    list('filter: role', 'role=manager'),
    list('filter: status disabled', 'status=disabled'),
    list('filter: status deleted', 'status=deleted'),
    list('filter: role and status, sorted by name', 'role=user&status=active&sort=name'),
    list('look-up by e-mail', `email=${encodeURIComponent(emailOf(420))}`),
    list('search: one has it', `q=${RARE_NAME}`),
    list('search: everybody has it', 'q=people.test'),
    list('search: one in forty has it, by role', 'q=lovelace&role=user'),
    list('search: nobody has it', 'q=qxqxqx'),
    get('history of a person', `/v1/users/${somebody}/activity`),
    get('history of a person, one action', `/v1/users/${somebody}/activity?action=session.started`),
    get('history of everybody', '/v1/activity'),
    get('history of everybody, one action', '/v1/activity?action=user.signed_up'),
    ['login', 5, () => post('/v1/auth/login', { email: emailOf(first + 4 * login++), password: PASSWORD })],
    [
      'refresh',
      20,
      () => post('/v1/auth/refresh_token', { refresh_token: tokens.refresh(session, counter++) }),
    ],
    [
      'signup',
      5,
      () =>
        post('/v1/auth/signup', {
          email: `${crypto.randomUUID()}@people.test`,
          password: PASSWORD,
          name: 'Ada',
        }),
    ],
  ]
}
