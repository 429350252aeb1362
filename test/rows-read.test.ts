import { expect, test } from 'vitest'
import { openApi } from './support/api.ts'
import { addCrowd } from './support/crowd.ts'
import { ALL_WAYS_IN } from './support/requests.ts'
import { rounds } from './support/rounds.ts'
import { everyCleanUp, everyRequest, PAGE } from './support/traffic.ts'
import { freshUpstreams } from './support/upstreams.ts'

/**
 * A page costs its rows (twice in a search: from the index and the table), those that page=2 skips, one more for each
 * branch of the merge, and the totals; checking the token costs three more.
 */
const MAX_PER_PAGE = 7 * PAGE
const MAX_PER_CHANGE = 100
/** When a webhook or a service is made or changed, up to a hundred administrators are mailed, at about six rows each. */
const MAX_PER_TELLING = 700
const TELLS_ADMINS = /\/(webhooks|oauth_clients)/
/** A person with rows in every table; each statement reads the job itself as well. */
const MAX_PER_ERASURE = 700
/** For the few that the traffic imports at once: test/people/import-rows.test.ts has the number for each. */
const MAX_PER_IMPORT = 150
/** With one person to erase and one to enable again. */
const MAX_PER_CLEAN_UP = 500
/** How many rows per user the search index may read more or less when it merges its pages. */
const TIDYING = 8

test('IV5, CR1: a request reads no more rows among many people than among few', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...ALL_WAYS_IN })
  const historian = await api.person({ password_hash: null })

  async function rowsReadPerRequest() {
    await api.sql('DELETE FROM cleanup_runs')
    await everyCleanUp(api)
    const read: Record<string, number[]> = {}
    const measure = async <T>(name: string, action: () => Promise<T>): Promise<T> => {
      const { result, calls } = await own.measure(action)
      const rows = calls.flatMap((call) => call.statements).map(({ rowsRead }) => rowsRead)
      read[name] ??= []
      read[name].push(rows.reduce((sum, count) => sum + count, 0))
      return result
    }
    await everyRequest(
      api,
      (route, { query, id = '', ...options } = {}) => {
        const [method, path] = route.replace(/:\w+/, id).split(' ') as [string, string]
        const target = query === undefined ? path : `${path}?${query}`
        const name = `${route} ${query ?? ''}`.replace(/(cursor|token|external_id)=.*/, '$1')
        return measure(name, () => api.send(method, target, options))
      },
      historian,
    )
    // What has happened since the last run is counted once, for the numbers by day.
    await everyCleanUp(api)
    // Each is checked again after a minute: how many that are by then depends on the clock.
    await api.sql('DELETE FROM erasures')
    const { 'clean-up': cleanUp, ...requests } = await measure('clean-up', () => everyCleanUp(api)).then(
      () => read,
    )
    return { requests, cleanUp: cleanUp![0]! }
  }

  await addCrowd(api, 0, 500, historian)
  const few = await rowsReadPerRequest()
  await addCrowd(api, 500, rounds(5_000, 200_000), historian)
  const many = await rowsReadPerRequest()
  expect(many.cleanUp).toBe(few.cleanUp)
  expect(Object.keys(many.requests)).toEqual(Object.keys(few.requests))
  for (const [name, rows] of Object.entries(many.requests)) {
    // An exported list is as long as the list, and today's numbers count what the cron job has not counted yet.
    if (/^GET \/v1\/((users|activity)\/export|stats)/.test(name)) continue
    // A row of the deployment's state may or may not exist yet for readiness.
    // The users that the requests have locked are in the list of locked users.
    // There is one more app by then, of few.
    const slack = /^GET (\/ready|\/v1\/users locked=true|\/v1\/oauth_clients)/.test(name)
      ? 1
      : name.startsWith('GET ')
        ? 0
        : name.includes('/import')
          ? 3 * TIDYING
          : TELLS_ADMINS.test(name)
            ? MAX_PER_TELLING
            : TIDYING
    rows.forEach((count, index) => {
      expect(Math.abs(count - few.requests[name]![index]!), name).toBeLessThanOrEqual(slack)
    })
    const most = name.startsWith('GET ')
      ? MAX_PER_PAGE
      : name.includes('hard=true')
        ? MAX_PER_ERASURE
        : name.includes('/import')
          ? MAX_PER_IMPORT
          : TELLS_ADMINS.test(name)
            ? MAX_PER_TELLING
            : MAX_PER_CHANGE
    expect(Math.max(...rows), name).toBeLessThanOrEqual(most)
  }
  expect(many.cleanUp).toBeLessThanOrEqual(MAX_PER_CLEAN_UP)
})

test('IV5: page 400 of 25 reads what it skips from the index, and no more than 10,200 rows', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const admin = await api.quickActor({ role: 'admin' })
  // A quarter of them is deleted.
  await addCrowd(api, 0, 13_500)
  for (const sort of ['-created_at', 'name', 'email']) {
    const { result, calls } = await own.measure(() =>
      api.send<{ data: { id: string }[] }>('GET', `/v1/users?page=400&limit=25&sort=${sort}`, admin),
    )
    expect([sort, result.status, result.body.data.length]).toEqual([sort, 200, 25])
    const read = calls
      .flatMap(({ statements }) => statements)
      .reduce((sum, { rowsRead }) => sum + rowsRead, 0)
    expect(read, sort).toBeLessThanOrEqual(10_200)
  }
})
