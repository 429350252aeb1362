import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { v7 as uuidv7 } from 'uuid'
import { expect, test } from 'vitest'
import { newSecret } from '../scripts/keys.ts'
import worker from '../src/index.ts'
import { openApi } from './support/api.ts'
import { freshUpstreams } from './support/upstreams.ts'

const DAY_MS = 86_400_000
const dayOf = (at: number) => new Date(at).toISOString().slice(0, 10)
const open = async (env = {}) => openApi({ ...(await freshUpstreams()).bindings, ...env })
type Api = Awaited<ReturnType<typeof open>>

async function cleanUp(api: Api) {
  const context = createExecutionContext()
  await worker.scheduled(createScheduledController({ cron: '*/15 * * * *' }), api.bindings as never, context)
  await waitOnExecutionContext(context)
}

const happen = (api: Api, action: string, at: number, count = 1) =>
  Promise.all(
    Array.from({ length: count }, () =>
      api.sql('INSERT INTO user_activity_logs (id, action) VALUES (?, ?)', [uuidv7({ msecs: at }), action]),
    ),
  )

interface Stats {
  data: { day: string; signed_up: number; logged_in: number; failed: number; deleted: number }[]
  totals: { by_role: Record<string, number>; by_status: Record<string, number> }
  counted_until: string | null
}
const statsOf = async (api: Api, token: string, query = '') =>
  (await api.send<Stats>('GET', `/v1/stats${query}`, { token })).body

test('Numbers by day are the same before and after the cron job has counted them, however often it runs', async () => {
  // If the history is sealed, rows without a seal stay.
  const api = await open({ HISTORY_KEY: newSecret() })
  const { token } = await api.quickActor({ role: 'admin' })
  const now = Date.now()
  await happen(api, 'session.started', now, 3)
  await happen(api, 'login.failed', now, 2)
  await happen(api, 'session.started', now - 3 * DAY_MS, 4)
  await happen(api, 'user.signed_up', now - 40 * DAY_MS)
  const today = { day: dayOf(now), signed_up: 0, logged_in: 3, failed: 2, deleted: 0 }
  const before = await statsOf(api, token)
  expect([before.data.length, before.data.at(-1), before.counted_until]).toEqual([30, today, null])
  // An invalid id, written by somebody else, has no known time.
  await api.sql(
    "INSERT INTO user_activity_logs (id, action) VALUES (CAST(x'3030ff' AS TEXT), 'login.failed')",
  )
  for (let round = 0; round < 2; round++) await cleanUp(api)
  await happen(api, 'login.failed', now)
  await api.sql("UPDATE system_state SET at = at - 3600000 WHERE name = 'daily_totals'")
  await api.sql('DELETE FROM daily_totals WHERE day = ?', [now - (now % DAY_MS)])
  await cleanUp(api)
  const after = await statsOf(api, token)
  expect(after.data.find(({ day }) => day === dayOf(now - 3 * DAY_MS))?.logged_in).toBe(4)
  expect(after.data.at(-1)).toEqual({ ...today, failed: 3 })
  expect(after.counted_until).not.toBeNull()
  const older = await statsOf(api, token, `?from=${dayOf(now - 41 * DAY_MS)}&to=${dayOf(now - 39 * DAY_MS)}`)
  expect(older.data.map(({ signed_up }) => signed_up)).toEqual([0, 1, 0])
  expect(older.totals).toMatchObject({
    by_role: { admin: 1 },
    by_status: { active: 1, disabled: 0, deleted: 0 },
  })
})

test('At most a year can be requested, in valid dates', async () => {
  const api = await open()
  const { token } = await api.quickActor({ role: 'manager' })
  for (const query of [
    '?from=2025-01-01&to=2026-06-01',
    '?from=2026-02-02&to=2026-01-01',
    '?from=yesterday',
    // Up to today, or thirty days from then.
    '?from=0001-01-01',
    '?from=2999-01-01',
    '?day=1',
  ])
    expect((await api.send('GET', `/v1/stats${query}`, { token })).status).toBe(422)
})
