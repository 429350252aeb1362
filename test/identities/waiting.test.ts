import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { comeFrom, comingFrom, newJar, openWithProviders } from '../support/identities.ts'

const api = openWithProviders()
// Ids must be ascending, so time continues from one of these tests to the next.
beforeAll(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterAll(() => void vi.useRealTimers())

const seconds = () => Math.floor(Date.now() / 1000)

test('Somebody who reauthenticates may stay at the provider, which must have authenticated them since they left', async () => {
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  const sub = crypto.randomUUID()
  await api.sql(
    "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
    [crypto.randomUUID(), sub, ada.id],
  )
  const jar = newJar(api)
  await comeFrom(jar, 'corp', { sub })
  const again = async (authenticatedAfter: number) => {
    const form = await jar.tokenOf('/account')
    const { to } = await jar.open(
      `/signin/with/corp?${new URLSearchParams({ again: form, to: '/account/security' })}`,
    )
    const { back } = comingFrom('corp', to!)
    const auth_time = seconds() + authenticatedAfter
    // They read a page of the provider before they go on.
    vi.setSystemTime(Date.now() + 240_000)
    const claims = { sub, auth_time, iat: seconds(), exp: seconds() + 300 }
    const { status } = await jar.open(back({ claims }))
    return status
  }
  const provedAt = async () =>
    (await api.sql('SELECT proved_at FROM sessions WHERE user_id = ?', [ada.id]))[0]!.proved_at
  const before = await provedAt()
  for (const earlier of [-3600, -60]) expect([await again(earlier), await provedAt()]).toEqual([502, before])
  expect(await again(5)).toBe(303)
  expect(Number(await provedAt())).toBeGreaterThan(Number(before))
})
