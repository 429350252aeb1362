import { afterEach, expect, test, vi } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import { openJar } from '../support/jar.ts'

const api = openApi({ PRIVILEGED_IDLE_MINUTES: '20', PRIVILEGED_HOURS: '10' })
afterEach(() => vi.useRealTimers())

test.each([
  ['user', 14 * 24 * 60, 30 * 24],
  ['manager', 20, 10],
  ['admin', 20, 10],
] as const)(
  'AC3: the session of a %s ends after %i minutes unused, and %i hours',
  async (role, minutes, hours) => {
    const person = await api.person({ role })
    const { access_token: _, ...tokens } = await api.logIn(person)
    const read = async () => {
      const [row] = await api.sql('SELECT * FROM sessions WHERE user_id = ?', [person.id])
      return row as unknown as Record<'created_at' | 'idle_expires_at' | 'expires_at' | 'rotated_at', number>
    }
    const begun = await read()
    expect(begun.idle_expires_at - begun.created_at).toBe(minutes * 60_000)
    expect(begun.expires_at - begun.created_at).toBe(hours * 3_600_000)
    const refresh = (refresh_token: string) =>
      api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token } })
    const next = await refresh(tokens.refresh_token)
    expect(next.status).toBe(200)
    const renewed = await read()
    // One time is from the Worker's clock when the request came, the other from the database's clock.
    expect(Math.abs(renewed.idle_expires_at - renewed.rotated_at - minutes * 60_000)).toBeLessThan(30_000)
    // Somebody who got a higher role since has the shorter session as well.
    await api.sql(
      'UPDATE sessions SET created_at = created_at - ?, expires_at = expires_at + 100000000 WHERE user_id = ?',
      [10 * 3_600_000, person.id],
    )
    const late = await refresh(next.body.refresh_token as string)
    expect(late.status).toBe(role === 'user' ? 200 : 401)
  },
)

const DAY_MS = 86_400_000
/** Lets time pass for somebody's sessions, by moving the times in their rows back. */
const passTime = ({ id }: { id: string }, ms: number) =>
  api.sql(
    `UPDATE sessions SET created_at = created_at - ?1, last_seen_at = last_seen_at - ?1, rotated_at = rotated_at - ?1,
      idle_expires_at = idle_expires_at - ?1, expires_at = expires_at - ?1 WHERE user_id = ?2`,
    [ms, id],
  )

test('AC3: when somebody is promoted, their open sessions end as if they had begun with that role', async () => {
  const [admin, ada] = [await api.actor({ role: 'admin' }), await api.person({ email_verified_at: 1 })]
  const left = openJar(api)
  await left.signIn(ada.email, { remember: 'yes' })
  const { refresh_token } = await api.logIn(ada)
  await passTime(ada, 5 * DAY_MS)
  const used = openJar(api)
  await used.signIn(ada.email, { remember: 'yes' })
  const promoted = await api.send('PATCH', `/v1/users/${ada.id}`, {
    token: admin.token,
    body: { role: 'admin' },
  })
  expect(promoted.status).toBe(200)

  expect((await left.ask('GET', '/v1/users?limit=1')).status).toBe(401)
  expect((await left.open('/admin/people')).to).toContain('/signin')
  expect((await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token } })).status).toBe(401)
  // While they are active it continues, for as long as that role permits.
  expect((await used.ask('GET', '/v1/users?limit=1')).status).toBe(200)
  const [row] = await api.sql(
    'SELECT idle_expires_at - last_seen_at AS idle, expires_at - created_at AS whole FROM sessions WHERE user_id = ? ORDER BY id DESC LIMIT 1',
    [ada.id],
  )
  expect(row).toEqual({ idle: 20 * 60_000, whole: 10 * 3_600_000 })
})

const shortest = openApi({ PRIVILEGED_IDLE_MINUTES: '5' })

test('AC3, RT5: with five minutes of idle time active users stay signed in, by cookie and by token', async () => {
  const ada = await api.person({ role: 'manager' })
  const browser = openJar(shortest)
  await browser.signIn(ada.email)
  for (let minutes = 0; minutes < 10; minutes += 2) {
    await passTime(ada, 2 * 60_000)
    expect((await browser.ask('GET', '/v1/users?limit=1')).status).toBe(200)
  }
  const tokens = await shortest.logIn(ada)
  let { refresh_token, expires_in } = tokens
  for (let times = 0; times < 4; times++) {
    // As a library does: when the access token has expired.
    await passTime(ada, expires_in * 1000)
    const next = await shortest.send('POST', '/v1/auth/refresh_token', { body: { refresh_token } })
    expect(next.status).toBe(200)
    ;({ refresh_token, expires_in } = next.body as unknown as typeof tokens)
    const { iat, exp } = JSON.parse(atob((next.body.access_token as string).split('.')[1]!))
    expect([exp - iat, expires_in]).toEqual([150, 150])
  }
})

test('AC3: an access token never outlives its session, not even after reauthentication', async () => {
  const ada = await api.person()
  const { access_token, refresh_token } = await api.logIn(ada)
  await api.sql(
    `UPDATE sessions SET expires_at = unixepoch('subsec') * 1000 + 100000, idle_expires_at = unixepoch('subsec') * 1000 + 100000
      WHERE user_id = ?`,
    [ada.id],
  )
  const answers = [
    await api.send('POST', '/v1/auth/reauthenticate', { token: access_token, body: { password: PASSWORD } }),
    await api.send('POST', '/v1/auth/refresh_token', { body: { refresh_token } }),
  ]
  for (const { status, body } of answers) {
    expect(status).toBe(200)
    expect(body.expires_in).toBeGreaterThan(60)
    expect(body.expires_in).toBeLessThanOrEqual(100)
  }
})
