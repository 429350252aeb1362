import { delay } from './counter.ts'
import { NEARBY_MS, ROUND_TRIP_MS } from './distances.ts'
import { type Call, quantile, time } from './load.ts'
import { emailOf, personId, sessionId } from './seed.ts'
import { PASSWORD, type Stage } from './stage.ts'

export interface Distance {
  region: string
  roundTripMs: number
  redis: 'with the database' | 'everywhere'
  /**
   * Response times (ms): of oneself by the copy in Redis, of somebody else by libSQL, and of somebody else in the
   * classical order: first whether the token is revoked, then the query.
   */
  readMs: number
  readOfUserMs: number
  readInTurnMs: number
  refreshMs: number
  loginMs: number
}

/** Response times as measured beside a Worker in each region, by delaying every call at the proxy. */
export async function measureDistance(
  stage: Stage,
  urls: { roster: string; floor: string },
  times: number,
): Promise<Distance[]> {
  const { seed, tokens, proxyUrl } = stage
  const headers = { authorization: `Bearer ${await tokens.accessOf(220)}` }
  const me: Call = { method: 'GET', path: '/v1/users/me', headers }
  const manager = { authorization: `Bearer ${await tokens.accessOf(107, 'manager')}` }
  const user: Call = { method: 'GET', path: `/v1/users/${personId(seed, 220)}`, headers: manager }
  const inTurn: Call = { method: 'GET', path: `/read-in-turn/${personId(seed, 220)}` }
  const post = (path: string, body: object): Call => ({
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', 'cf-connecting-ip': '10.3.0.1' },
    body: JSON.stringify(body),
  })
  let counter = 0
  let login = 0
  const refresh = () =>
    post('/v1/auth/refresh_token', { refresh_token: tokens.refresh(sessionId(seed, 221), counter++) })
  const logIn = () => post('/v1/auth/login', { email: emailOf(2_000 + 4 * login++), password: PASSWORD })
  const median = async (url: string, call: () => Call) => quantile(await time(url, times, call), 0.5)

  const distances: Distance[] = []
  for (const redis of ['with the database', 'everywhere'] as const) {
    for (const [region, roundTripMs] of Object.entries(ROUND_TRIP_MS)) {
      await delay(proxyUrl, 'libsql', roundTripMs)
      await delay(proxyUrl, 'redis', redis === 'everywhere' ? Math.min(NEARBY_MS, roundTripMs) : roundTripMs)
      distances.push({
        region,
        roundTripMs,
        redis,
        readMs: await median(urls.roster, () => me),
        readOfUserMs: await median(urls.roster, () => user),
        readInTurnMs: await median(urls.floor, () => inTurn),
        refreshMs: await median(urls.roster, refresh),
        loginMs: await median(urls.roster, logIn),
      })
    }
  }
  for (const upstream of ['libsql', 'redis'] as const) await delay(proxyUrl, upstream, 0)
  return distances
}
