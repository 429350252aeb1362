import { expect, test } from 'vitest'
import { openApi } from './support/api.ts'
import { limiter } from './support/limiter.ts'

test('HX10: one request that changes three users is three writes, and one that is above the limit changes none', async () => {
  const api = openApi({ RATE_LIMIT_WRITES: limiter(5) })
  const { token } = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const statuses = []
  for (const n of [1, 2]) {
    const people = await Promise.all([1, 2, 3].map(() => api.person({ password_hash: null })))
    const ids = people.map(({ id }) => id)
    const body = { action: 'disable', reason: `left ${n}`, ids }
    statuses.push((await api.send('POST', '/v1/users/bulk', { token, body })).status)
    const rows = await api.sql(
      `SELECT id FROM users WHERE status = 'disabled' AND id IN (${ids.map((id) => `'${id}'`)})`,
    )
    expect(rows).toHaveLength(n === 1 ? 3 : 0)
  }
  expect(statuses).toEqual([200, 429])
})

test('HX10: one request that invites three people is three writes', async () => {
  const api = openApi({ RATE_LIMIT_WRITES: limiter(5) })
  const { token } = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const invite = () =>
    api.send('POST', '/v1/invitations/bulk', {
      token,
      body: { invitations: [1, 2, 3].map(() => ({ email: `${crypto.randomUUID()}@people.test` })) },
    })
  expect([(await invite()).status, (await invite()).status]).toEqual([200, 429])
})
