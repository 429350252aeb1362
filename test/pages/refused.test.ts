import { describe, expect, test, vi } from 'vitest'
import { openApi, PASSWORD } from '../support/api.ts'
import { openJar } from '../support/jar.ts'
import { limiter } from '../support/limiter.ts'
import { freshUpstreams } from '../support/upstreams.ts'

test('RL6: a page that refuses a form says when to try again, in its headers and its text', async () => {
  const api = openApi()
  const { email } = await api.person({ email_verified_at: 1 })
  for (const [page, form] of [
    ['/forgot', '/forgot'],
    ['/signup/check', '/signup/again'],
  ] as const) {
    const browser = openJar(api)
    expect((await browser.submit(page, form, { email })).status).toBeLessThan(400)
    await api.sql('UPDATE throttles SET attempts = attempts + 998 WHERE attempts < 900')
    const refused = await browser.submit(page, form, { email: `${crypto.randomUUID()}@people.test` })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([
      429,
      expect.stringMatching(/^\d+$/),
    ])
    await api.ages(3_600_001)
  }
})

test('A page that refuses a sign-in or a code leaves the problem’s code in the log, as every answer does', async () => {
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

test('A page of the console that refuses a filter leaves the problem’s code in the log', async () => {
  const api = openApi()
  const admin = await api.person({ role: 'admin' })
  const browser = openJar(api)
  await browser.signIn(admin.email)
  for (const page of ['/admin/people?q=a', '/admin/activity?from=yesterday'])
    expect([page, (await browser.open(page)).status]).toEqual([page, 422])
})

test('A date that no calendar of ours has is refused like any other that cannot be read', async () => {
  const api = openApi()
  const [admin, ada] = [await api.person({ role: 'admin' }), await api.person()]
  const browser = openJar(api)
  await browser.signIn(admin.email)
  for (const day of ['-271821-04-20', '+275760-09-13', '-271821-04-19', '0000-01-01', '0050-01-01']) {
    for (const path of ['/admin/activity', '/admin/activity/export']) {
      const page = `${path}?${new URLSearchParams({ from: day })}`
      expect([page, (await browser.open(page)).status]).toEqual([page, 422])
    }
    const form_token = await browser.tokenOf(`/admin/people/${ada.id}`)
    const fields = { form_token, reason: 'left', until: `${day}T09:00` }
    const { status } = await browser.post(`/admin/people/${ada.id}/disable`, fields)
    expect([day, status]).toEqual([day, 422])
  }
  const [row] = await api.sql('SELECT status, disabled_until FROM users WHERE id = ?', [ada.id])
  expect(row).toEqual({ status: 'active', disabled_until: null })
})

test('Where no mail is configured, pages say so, and offer no button that would fail again', async () => {
  const api = openApi({ MAIL_FROM: undefined, RESEND_API_KEY: undefined })
  const { id, email } = await api.person({ email_verified_at: null })
  const browser = openJar(api)
  await browser.signIn(email)
  const before = await api.sql('SELECT * FROM users WHERE id = ?', [id])
  const moved = { new_email: `${crypto.randomUUID()}@people.test`, current_password: PASSWORD }
  for (const [page, form, fields] of [
    ['/forgot', '/forgot', { email }],
    ['/signup/resend', '/signup/again', { email }],
    ['/account', '/account/email', moved],
    ['/account', '/account/verification', {}],
  ] as const) {
    const { status, text } = await browser.submit(page, form, fields)
    expect([form, status, text.includes('No mail is set up here.')]).toEqual([form, 503, true])
    expect([form, text.includes('reach the directory'), text.includes('Try again')]).toEqual([
      form,
      false,
      false,
    ])
    expect(text).not.toMatch(/<form [^>]*method="post"/)
  }
  expect(await api.sql('SELECT * FROM users WHERE id = ?', [id])).toEqual(before)
  expect(await api.sql('SELECT id FROM one_time_tokens WHERE subject_id = ?', [id])).toEqual([])
})

test('A page that asks for the confirmation once more stays, if it is refused, and says that nothing was sent', async () => {
  const api = openApi()
  const browser = openJar(api)
  const refused = await browser.submit('/signup/resend', '/signup/again', { email: 'ada at people' })
  expect([refused.status, refused.text.includes('We sent')]).toEqual([422, false])
  expect(refused.text).toMatch(/<input [^>]*value="ada at people"[^>]*aria-invalid="true"/)
  const email = `${crypto.randomUUID()}@people.test`
  expect((await browser.submit('/signup/resend', '/signup/again', { email })).status).toBe(303)
  await api.sql('UPDATE throttles SET attempts = attempts + 998 WHERE attempts < 900')
  const late = await browser.submit('/signup/resend', '/signup/again', { email })
  expect([late.status, late.text.includes('We sent'), late.text.includes('Too many tries')]).toEqual([
    429,
    false,
    true,
  ])
  // Somebody who waits for the first mail can still type its code.
  const waiting = await browser.submit(`/signup/check?email=${email}`, '/signup/again', { email, code: '' })
  expect([waiting.status, waiting.text.includes('name="code"')]).toEqual([429, true])
  await api.ages(3_600_001)
})

describe('When the database is unavailable or slow', () => {
  const openCity = async () => {
    const own = await freshUpstreams()
    const api = openApi(own.bindings)
    const { email } = await api.person({ email_verified_at: 1, name: 'Ada' })
    return { own, api, email, browser: openJar(api) }
  }
  const fieldsOf = (page: string) =>
    Object.fromEntries(
      [...page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)].map(([, name, value]) => [
        name!,
        value!,
      ]),
    )

  test('a page says so with the request’s id, and links to itself', async () => {
    const { own, browser, email } = await openCity()
    await browser.signIn(email)
    for (const mode of ['down', 'hang'] as const) {
      await own.behave('libsql', { mode })
      const { status, text } = await browser.open('/account')
      expect(status).toBe(503)
      expect(text).toContain('We couldn’t reach the directory')
      expect(text).toMatch(/Request [0-9a-f-]{36}/)
      expect(text).toMatch(/<a class="button primary" href="\/account">\s*Try again/)
      await own.behave('libsql', { mode: 'pass' })
    }
    expect((await browser.open('/account')).status).toBe(200)
  })

  test('a form can be sent again from the error page, as it was filled in', async () => {
    const { own, api, browser, email } = await openCity()
    await browser.signIn(email)
    const form_token = await browser.tokenOf('/account')
    await own.behave('libsql', { mode: 'down' })
    const failed = await browser.post('/account', { form_token, name: 'Grace "O’Hara"' })
    expect(failed.status).toBe(503)
    expect(failed.text).toContain('action="/account"')
    expect(failed.text).toContain('Nothing was changed.')
    await own.behave('libsql', { mode: 'pass' })
    const { name } = fieldsOf(failed.text)
    expect(name).toBe('Grace &quot;O’Hara&quot;')
    const again = await browser.post('/account', {
      ...fieldsOf(failed.text),
      name: name!.replaceAll('&quot;', '"'),
    })
    expect(again.status).toBe(303)
    expect(await api.sql('SELECT name FROM users WHERE email = ?', [email])).toEqual([
      { name: 'Grace "O’Hara"' },
    ])
  })

  test('a password is asked for again, and is in no page', async () => {
    const { own, browser, email } = await openCity()
    const form_token = await browser.tokenOf('/signin')
    await own.behave('libsql', { mode: 'down' })
    const failed = await browser.post('/signin', { form_token, email, password: PASSWORD })
    expect([failed.status, failed.text.includes(PASSWORD)]).toEqual([503, false])
    expect(fieldsOf(failed.text).email).toBe(email)
    expect(failed.text).toMatch(/<input id="password" name="password" type="password"/)
    await own.behave('libsql', { mode: 'pass' })
    const again = await browser.post('/signin', { ...fieldsOf(failed.text), password: PASSWORD })
    expect([again.status, again.to]).toEqual([303, '/account'])
  })
})

test('Somebody who signs up under overload has their account, and is led to the sign-in', async () => {
  const api = openApi({ RATE_LIMIT_HASHES: limiter(1) })
  const email = `${crypto.randomUUID()}@people.test`
  const browser = openJar(api)
  const fields = { name: 'Ada', email, password: PASSWORD }
  const answer = await browser.submit('/signup', '/signup', fields)
  expect([answer.status, answer.headers.get('location')]).toEqual([303, '/signin?done=signed_up'])
  expect((await browser.open('/signin?done=signed_up')).text).toContain('Your account is ready')
  expect(await api.sql('SELECT 1 AS n FROM users WHERE email = ?', [email])).toHaveLength(1)
})
