import { afterEach, expect, test, vi } from 'vitest'
import { openApi } from '../support/api.ts'

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
    expect(Math.abs(renewed.idle_expires_at - renewed.rotated_at - minutes * 60_000)).toBeLessThan(50)
    // Who was raised since has the shorter session as well.
    await api.sql(
      'UPDATE sessions SET created_at = created_at - ?, expires_at = expires_at + 100000000 WHERE user_id = ?',
      [10 * 3_600_000, person.id],
    )
    const late = await refresh(next.body.refresh_token as string)
    expect(late.status).toBe(role === 'user' ? 200 : 401)
  },
)
