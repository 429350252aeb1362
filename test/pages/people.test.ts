import { expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { addTotp } from '../support/factors.ts'
import { openBrowser } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

const api = openApi((await freshUpstreams()).bindings)

test('The list of people is narrowed by address, lock and second factor, and says what it does not do together', async () => {
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
    ['second_factor=none', 'Choose Manager or Administrator as the role with it.'],
    ['email_verified=true&locked=true', 'Search, or choose by one of email, lock and second factor.'],
    ['email_verified=true&q=Boss', 'Search, or choose by one of email, lock and second factor.'],
  ]) {
    const { status, text } = await visit('GET', `/admin/people?${query}`)
    expect([query, status, text.includes(sentence!)]).toEqual([query, 422, true])
  }
  // Of those who manage, the missing factor is said; of everybody else it is nothing to look at.
  const badge = '>No second factor</span>'
  expect((await visit('GET', `/admin/people/${plain.id}`)).text).toContain(badge)
  expect((await visit('GET', `/admin/people/${boss.id}`)).text).not.toContain(badge)
  expect((await visit('GET', '/admin')).text).toContain('/admin/people?locked=true')
})
