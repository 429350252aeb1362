import { expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { addTotp } from '../support/factors.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const api = openApi((await freshUpstreams()).bindings)

test('The list of people can be filtered by address, lock and second factor, and says what cannot be combined', async () => {
  const boss = await api.person({ role: 'admin', email_verified_at: 1, name: 'Boss' })
  const plain = await api.person({ role: 'manager', email_verified_at: 1, name: 'Plain Manager' })
  await addTotp(api, boss)
  await api.person({ name: 'Newcomer' })
  await api.person({ email_verified_at: 1, failed_factors: 100, name: 'Locked Out' })
  const visit = await openBrowser(api, boss)
  const shown = async (query: string) => {
    const { status, text } = await visit('GET', `/admin/people?${query}`)
    const rows = text.match(/<tbody>.*<\/tbody>/s)?.[0] ?? ''
    const names = ['Boss', 'Plain Manager', 'Newcomer', 'Locked Out'].filter((name) => rows.includes(name))
    return [status, names]
  }
  expect(await shown('email_verified=false')).toEqual([200, ['Newcomer']])
  expect(await shown('email_verified=true&sort=name')).toEqual([200, ['Boss', 'Plain Manager', 'Locked Out']])
  expect(await shown('locked=true')).toEqual([200, ['Locked Out']])
  expect(await shown('role=manager&second_factor=none')).toEqual([200, ['Plain Manager']])
  for (const [query, sentence] of [
    [
      'second_factor=none',
      'To find who has no second factor, choose Manager or Administrator as the role, too.',
    ],
    [
      'email_verified=true&locked=true',
      'These do not go together. Use one of search, email, lock, new password and second factor.',
    ],
    [
      'email_verified=true&q=Boss',
      'These do not go together. Use one of search, email, lock, new password and second factor.',
    ],
  ]) {
    const { status, text } = await visit('GET', `/admin/people?${query}`)
    expect([query, status, text.includes(sentence!)]).toEqual([query, 422, true])
  }
  // For those who manage a missing factor is shown; for others it does not matter.
  const badge = '>No second factor</span>'
  expect((await visit('GET', `/admin/people/${plain.id}`)).text).toContain(badge)
  expect((await visit('GET', `/admin/people/${boss.id}`)).text).not.toContain(badge)
  expect((await visit('GET', '/admin')).text).toContain('/admin/people?locked=true')
})

test('What needs attention is beside the links to the pages that show it, for those who may see them', async () => {
  const own = openApi((await freshUpstreams()).bindings)
  const navOf = async (role: 'manager' | 'admin', path: string) => {
    const visit = await openBrowser(own, await own.person({ role, email_verified_at: 1 }))
    const { text } = await visit('GET', path)
    const places = text.match(/<nav class="nav".*?<\/nav>/s)?.[0] ?? ''
    return [
      ...places.matchAll(
        /<a href="([^"]+)"[^>]*>[^<]*<span class="count">([^<]*)<span[^>]*> need attention</g,
      ),
    ].map(([, href, count]) => `${href} ${count}`)
  }
  expect(await navOf('admin', '/admin')).toEqual([])
  await own.person({ failed_logins: 100, failed_factors: 100 })
  await own.person({ failed_factors: 100 })
  await own.person({ failed_logins: 100, deleted_at: 1 })
  for (let i = 0; i < 12; i++)
    await own.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at, dead_at)
        VALUES (?, 'password_changed', 'e@e.test', 'e@e.test', 0, 9000000000000, 5, 0, 1)`,
      [crypto.randomUUID()],
    )
  for (const path of ['/admin', '/admin/activity'])
    expect(await navOf('admin', path)).toEqual(['/admin/people 2', '/admin/system 9+'])
  expect(await navOf('manager', '/admin/people')).toEqual(['/admin/people 2'])
  expect(await navOf('admin', '/account')).toEqual([])
})

test('A search that is too short is explained beside the box, which is marked and keeps what was typed', async () => {
  const visit = await openBrowser(api, await api.person({ role: 'admin', email_verified_at: 1 }))
  const { status, text } = await visit('GET', '/admin/people?q=a')
  expect(status).toBe(422)
  expect(text).toMatch(/value="a"[^>]* aria-invalid="true" aria-describedby="q-error"\/>/)
  expect(text).toMatch(/<\/kbd><\/div><p class="error" id="q-error">.*Type three letters or more\.<\/p>/)
})
