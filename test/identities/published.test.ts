import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { goTo, isSignedIn, newJar, openWithProviders } from '../support/identities.ts'
import type { Say } from '../support/provider.ts'

const api = openWithProviders()
// Ids must be ascending, so time continues from one of these tests to the next.
beforeAll(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterAll(() => void vi.useRealTimers())

const url = inject('providerUrl')
const change = (issuer: string, to: object) =>
  fetch(`${url}/__change?${new URLSearchParams({ issuer })}`, { method: 'POST', body: JSON.stringify(to) })
const timesRead = async (issuer: string) =>
  ((await (await fetch(`${url}/__asked`)).json()) as Record<string, number>)[
    `${issuer}/.well-known/openid-configuration`
  ] ?? 0

/** Comes back from a provider as somebody who has signed in with it before. */
async function signIn(provider: string, say: Say) {
  const jar = newJar(api)
  const { back } = await goTo(jar, provider)
  const { status } = await jar.open(back(say))
  return [status, isSignedIn(jar)]
}
async function known(provider: string) {
  const ada = await api.person({ email_verified_at: 1 })
  const sub = crypto.randomUUID()
  await api.sql(
    'INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, ?, ?, ?, 1)',
    [crypto.randomUUID(), provider, sub, ada.id],
  )
  return sub
}
const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)

describe('Fault 19: outdated metadata of a provider', () => {
  test('is read again after a minute, once a sign-in with it failed', async () => {
    const say = { claims: { sub: await known('moves') } }
    await change('/moves', { metadata: { token_endpoint: `${url}/nowhere` } })
    expect(await signIn('moves', say)).toEqual([502, false])
    await change('/moves', {})
    // Failing on purpose does not make us ask it more often.
    for (let tries = 0; tries < 3; tries++) expect(await signIn('moves', say)).toEqual([502, false])
    expect(await timesRead('/moves')).toBe(1)
    pass(61_000)
    expect(await signIn('moves', say)).toEqual([303, true])
    expect(await timesRead('/moves')).toBe(2)
    // And is then trusted for the hour.
    pass(3_000_000)
    expect(await signIn('moves', say)).toEqual([303, true])
    expect(await timesRead('/moves')).toBe(2)
  })

  test('is read again with its keys, if one was replaced under the same name', async () => {
    const say = { claims: { sub: await known('rekeyed') } }
    expect(await signIn('rekeyed', say)).toEqual([303, true])
    await change('/rekeyed', { keys: 'other' })
    expect(await signIn('rekeyed', { ...say, signed: 'other_key' })).toEqual([502, false])
    pass(61_000)
    expect(await signIn('rekeyed', { ...say, signed: 'other_key' })).toEqual([303, true])
    expect(await signIn('rekeyed', say)).toEqual([502, false])
  })

  test('is used for the rest of its hour if it cannot be read again', async () => {
    const sub = await known('stale')
    const jar = newJar(api)
    const { back } = await goTo(jar, 'stale')
    const good = back({ claims: { sub } })
    await change('/stale', { metadata: { issuer: 'https://elsewhere.example' } })
    // Somebody fails on purpose.
    const eve = newJar(api)
    expect(
      (await eve.open((await goTo(eve, 'stale')).back({ claims: { sub: 'x' }, signed: 'tampered' }))).status,
    ).toBe(502)
    pass(61_000)
    expect((await jar.open(good)).status).toBe(303)
    const before = await timesRead('/stale')
    await goTo(newJar(api), 'stale')
    expect(await timesRead('/stale')).toBe(before)
    await change('/stale', {})
  })
})
