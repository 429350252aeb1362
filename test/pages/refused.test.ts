import { expect, test, vi } from 'vitest'
import { openApi } from '../support/api.ts'
import { openJar } from '../support/jar.ts'

test('RL6: a page that refuses a form says when to try again, in its headers as in its words', async () => {
  const api = openApi()
  const { email } = await api.person({ email_verified_at: 1 })
  for (const [page, form] of [
    ['/forgot', '/forgot'],
    ['/signup/check', '/signup/again'],
  ] as const) {
    const browser = openJar(api)
    expect((await browser.submit(page, form, { email })).status).toBe(200)
    await api.sql('UPDATE throttles SET attempts = attempts + 998 WHERE attempts < 900')
    const refused = await browser.submit(page, form, { email: `${crypto.randomUUID()}@people.test` })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([
      429,
      expect.stringMatching(/^\d+$/),
    ])
    await api.ages(3_600_001)
  }
})

test('A page that refuses a sign-in or a code leaves its code in the log, as every answer does', async () => {
  const lines: { status: number; code?: string; reason?: string }[] = []
  vi.spyOn(console, 'warn').mockImplementation((line) => void lines.push(JSON.parse(line)))
  const api = openApi()
  const { email } = await api.person()
  const browser = openJar(api)
  await browser.signIn(email, { password: 'nine green bears run' })
  const check = `/signup/check?${new URLSearchParams({ email })}`
  await browser.submit(check, '/signup/code', { email, code: '12345678' })
  await browser.open('/links/undo_email_change')
  vi.restoreAllMocks()
  expect(lines.map(({ status, code, reason }) => [status, code, reason])).toEqual([
    [401, 'invalid_credentials', 'wrong_password'],
    [400, 'invalid_link', 'signature'],
    [400, 'invalid_link', 'absent'],
  ])
})

test('A page of the console that refuses a filter leaves its code in the log', async () => {
  const api = openApi()
  const admin = await api.person({ role: 'admin' })
  const browser = openJar(api)
  await browser.signIn(admin.email)
  for (const page of ['/admin/people?q=a', '/admin/activity?from=yesterday'])
    expect([page, (await browser.open(page)).status]).toEqual([page, 422])
})
