import { expect } from 'vitest'
import { type Api, type Options, openApi, PASSWORD } from './support/api.ts'
import { addTotp, challengeOf } from './support/factors.ts'
import { freshUpstreams, testOfRedis } from './support/upstreams.ts'

const wrong = { email: 'nobody@people.test', password: PASSWORD }

/** Route, depth, calls of libSQL, calls of Redis, rows read, rows written. */
type Budget = [string, number, number, number, number, number, Options?]

async function measureAll(own: Awaited<ReturnType<typeof freshUpstreams>>, api: Api, requests: Budget[]) {
  const measured = []
  for (const [route, , , , mostRead, , options] of requests) {
    const [method, path] = route.split(' ') as [string, string]
    const { result, calls } = await own.measure(() => api.send(method, path, options))
    const depth = Number(/depth;desc="(\d+)"/.exec(result.headers.get('server-timing') ?? '')?.[1] ?? 0)
    const of = (upstream: string) => calls.filter((call) => call.upstream === upstream).length
    const statements = calls.flatMap((call) => call.statements)
    const sum = (rows: 'rowsRead' | 'rowsWritten') => statements.reduce((all, one) => all + one[rows], 0)
    // Who looks for a counter that is not there reads its neighbour, if it has one: their keys are random.
    const read = sum('rowsRead') === mostRead - 1 ? mostRead : sum('rowsRead')
    measured.push([route, depth, of('libsql'), of('redis'), read, sum('rowsWritten')])
  }
  return measured
}

/** Upstream calls of one request, how many of them had to wait for one another, and the rows that they read and wrote. */
testOfRedis('Every request stays within its budget of trips, calls and rows', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const admin = await api.actor({ role: 'admin' })
  const [ada, eve] = [await api.actor(), await api.actor()]
  const newAddress = () => `${crypto.randomUUID()}@people.test`
  const signedUp = { email: newAddress(), password: PASSWORD, name: 'Ada' }
  const changed = { current_password: PASSWORD, new_password: 'nine green bears run' }
  const moved = { new_email: newAddress(), current_password: PASSWORD }
  const requests: Budget[] = [
    // route, depth, calls of libSQL, calls of Redis, rows read, rows written; what comes after the answer too. For each
    // mail that is two calls: it is claimed, and marked as sent. Who has none is looked for all the same.
    ['GET /health', 0, 0, 0, 0, 0],
    ['GET /.well-known/jwks.json', 0, 0, 0, 0, 0],
    ['GET /ready', 1, 1, 1, 14, 0],
    // Whoever has no mail left is refused before the hash.
    ['POST /v1/auth/signup', 2, 4, 0, 46, 35, { body: signedUp }],
    ['POST /v1/auth/login', 2, 2, 0, 37, 12, { body: { email: ada.email, password: PASSWORD } }],
    ['POST /v1/auth/login', 2, 2, 0, 7, 8, { body: wrong }],
    ['POST /v1/auth/refresh_token', 1, 1, 0, 7, 1, { body: { refresh_token: ada.refreshToken } }],
    ['POST /v1/auth/refresh_token', 0, 0, 0, 0, 0, { body: { refresh_token: 'rt_x' } }],
    // From the nearest Redis; and before that once from libSQL, whose answer is put there afterwards.
    ['GET /v1/users/me', 2, 1, 2, 2, 0, { token: ada.token }],
    ['GET /v1/users/me', 1, 0, 1, 0, 0, { token: ada.token }],
    ['GET /v1/users/me/activity', 1, 1, 0, 5, 0, { token: ada.token }],
    ['GET /v1/auth/sessions', 1, 1, 0, 5, 0, { token: ada.token }],
    ['GET /v1/users', 1, 1, 0, 16, 0, { token: admin.token }],
    ['GET /v1/users?q=nobody', 1, 1, 0, 2, 0, { token: admin.token }],
    [`GET /v1/users/${eve.id}`, 1, 1, 0, 3, 0, { token: admin.token }],
    ['GET /v1/activity', 1, 1, 0, 18, 0, { token: admin.token }],
    ['PATCH /v1/users/me', 2, 2, 1, 16, 7, { token: ada.token, body: { name: 'Grace' } }],
    [`GET /v1/users/${eve.id}/sessions`, 1, 1, 0, 5, 0, { token: admin.token }],
    // Nothing to change, as a replica that lags may think: the primary is asked.
    [`POST /v1/users/${eve.id}/enable`, 2, 2, 1, 4, 0, { token: admin.token }],
    ['GET /v1/users/me/export', 1, 1, 0, 15, 4, { token: eve.token }],
    ['POST /v1/auth/change_password', 2, 3, 1, 39, 12, { token: ada.token, body: changed }],
    ['POST /v1/auth/resend_verification', 1, 3, 0, 36, 21, { body: { email: eve.email } }],
    ['POST /v1/auth/forgot_password', 1, 3, 0, 39, 25, { body: { email: eve.email } }],
    ['POST /v1/auth/forgot_password', 1, 2, 0, 12, 6, { body: { email: wrong.email } }],
    ['POST /v1/auth/change_email', 2, 4, 0, 53, 26, { token: eve.token, body: moved }],
    ['POST /v1/invitations', 1, 3, 0, 45, 29, { token: admin.token, body: { email: newAddress() } }],
    ['GET /v1/invitations', 1, 1, 0, 4, 0, { token: admin.token }],
    [`POST /v1/users/${eve.id}/disable`, 2, 2, 1, 45, 20, { token: admin.token, body: { reason: 'left' } }],
    ['POST /v1/auth/logout', 1, 1, 1, 7, 6, { token: ada.token }],
  ]
  await api.send('GET', '/ready') // Once a minute it writes a row, in a trip of its own.
  const measured = await measureAll(own, api, requests)
  expect(measured).toEqual(requests.map((request) => request.slice(0, 6)))
})

testOfRedis('So do the two halves of a login with a second factor', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const ada = await api.person({ email_verified_at: 1 })
  const { recoveryCodes } = await addTotp(api, ada)
  const { challenge } = await challengeOf(api, ada)
  const answer = { challenge, recovery_code: recoveryCodes[0] }
  const requests: Budget[] = [
    ['POST /v1/auth/login', 2, 2, 0, 29, 5, { body: { email: ada.email, password: PASSWORD } }],
    ['POST /v1/auth/login/second_factor', 2, 2, 0, 45, 16, { body: answer }],
  ]
  for (const [index, [route, depth, libsql, redis, read, written]] of (
    await measureAll(own, api, requests)
  ).entries()) {
    const [, ...budget] = requests[index]!
    expect([route, depth, libsql, redis, written]).toEqual([
      route,
      budget[0],
      budget[1],
      budget[2],
      budget[4],
    ])
    // A page of an index more or less.
    expect(read).toBeLessThanOrEqual(budget[3])
  }
})
