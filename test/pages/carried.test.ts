import { expect, test } from 'vitest'
import { readInvitations } from '../../src/console/input.ts'
import { openApi, PASSWORD } from '../support/api.ts'
import { addPasskey } from '../support/factors.ts'
import { openBrowser } from '../support/pages.ts'

const api = openApi({ ISSUER: 'https://roster.test' })

/** Sends a form that needs reauthentication first, reauthenticates, and comes back. */
async function comingBack(visit: Awaited<ReturnType<typeof openBrowser>>, path: string, fields: object) {
  const { status, headers } = await visit('POST', path, fields as Record<string, string>)
  const place = new URL(headers.get('location') ?? '', 'http://roster.test')
  expect([status, place.pathname]).toEqual([303, '/signin/again'])
  const { to, carried } = Object.fromEntries(place.searchParams)
  const proved = await visit('POST', '/signin/again', { password: PASSWORD, to: to!, carried: carried! })
  expect(proved.status).toBe(303)
  return { to, page: await visit('GET', proved.headers.get('location')!) }
}

test('A hundred pasted addresses are still there after reauthentication, and nobody is invited before', async () => {
  const boss = await api.person({ role: 'admin', email_verified_at: 1 })
  const longAgo = await openBrowser(api, boss, { provedSecondsAgo: 700 })
  const emails = Array.from({ length: 100 }, (_, at) => `somebody.else.${at}@people.test`).join('\n')
  const { to, page } = await comingBack(longAgo, '/admin/invitations', { emails, role: 'manager' })
  expect(to).toBe('/admin/invitations')
  expect([page.status, page.text.includes(emails)]).toEqual([200, true])
  expect(page.text).toMatch(/<option value="manager" selected/)
  expect(await api.sql("SELECT 1 FROM invitations WHERE email = 'somebody.else.7@people.test'")).toEqual([])
})

test('What was typed is still there for somebody who reauthenticates with a passkey', async () => {
  const boss = await api.person({ role: 'admin', email_verified_at: 1 })
  const passkey = await addPasskey(api, boss)
  const longAgo = await openBrowser(api, boss, { provedSecondsAgo: 700 })
  const emails = 'somebody.else@people.test'
  const asked = await longAgo('POST', '/admin/invitations', { emails, role: 'manager' })
  const { text } = await longAgo('GET', asked.headers.get('location')!)
  const [form, given] = /<form [^>]*data-passkey="get" data-given="([^"]+)".*?<\/form>/s.exec(text)!
  const { challenge_id, options } = JSON.parse(given!.replaceAll('&quot;', '"'))
  const hidden = [...form.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]+)"/g)]
  const proved = await longAgo('POST', '/signin/again', {
    ...Object.fromEntries(hidden.map(([, name, value]) => [name!, value!])),
    challenge_id,
    credential: JSON.stringify(await passkey.get(options)),
  })
  expect(proved.status).toBe(303)
  const page = await longAgo('GET', proved.headers.get('location')!)
  expect([page.status, page.text.includes(emails)]).toEqual([200, true])
})

test('Users selected to be enabled are still selected afterwards; with a recent login nothing is asked', async () => {
  const boss = await api.person({ role: 'admin', email_verified_at: 1 })
  const people = []
  for (const name of ['First Disabled', 'Second Disabled'])
    people.push(await api.person({ name, status: 'disabled' }))
  const picked = {
    action: 'enable',
    ...Object.fromEntries(people.map(({ id }) => [`pick.${id}`, 'on'])),
  }
  for (const path of ['/admin/people/bulk', '/admin/people/bulk/run']) {
    const longAgo = await openBrowser(api, boss, { provedSecondsAgo: 700 })
    const { to, page } = await comingBack(longAgo, path, picked)
    expect([path, to, page.status]).toEqual([path, '/admin/people/bulk', 200])
    expect(page.text).toContain('Enable 2 people')
    for (const { id } of people) expect(page.text).toContain(`name="pick.${id}"`)
  }
  const recent = await openBrowser(api, boss)
  const { status, text } = await recent('POST', '/admin/people/bulk', picked)
  expect([status, text.includes('Enable 2 people')]).toEqual([200, true])
  for (const { id } of people) expect(text).toContain(`name="pick.${id}"`)
  expect((await recent('GET', '/admin/people/bulk')).headers.get('location')).toBe('/admin/people')
  const done = await recent('POST', '/admin/people/bulk/run', picked)
  expect([done.status, done.text.includes('2 done'), done.text.includes('First Disabled')]).toEqual([
    200,
    true,
    true,
  ])
})

test('Invitations are read from pasted lines: a mail’s form, a spreadsheet’s, or addresses alone', () => {
  const read = (text: string) => readInvitations(text, 'user', 100)
  expect(read('Ada Lovelace <ada@example.com>\n\nbo@example.com, Bo, Manager')).toEqual([
    { email: 'ada@example.com', name: 'Ada Lovelace', role: 'user' },
    { email: 'bo@example.com', name: 'Bo', role: 'manager' },
  ])
  expect(read('<cy@example.com>\n"di@example.com";"Di ""D"" Dor"')).toEqual([
    { email: 'cy@example.com', role: 'user' },
    { email: 'di@example.com', name: 'Di "D" Dor', role: 'user' },
  ])
  expect(read('a@example.com b@example.com;c@example.com').map(({ email }) => email)).toEqual([
    'a@example.com',
    'b@example.com',
    'c@example.com',
  ])
  // What is no address goes on as it was typed, to be refused by name.
  expect(read('Ada <nobody>')).toEqual([{ email: 'Ada <nobody>', role: 'user' }])
  expect(readInvitations('a@x.test\nb@x.test\nc@x.test', 'user', 2)).toHaveLength(2)
})
