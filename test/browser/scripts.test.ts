import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { openPages } from '../support/browser.ts'
import { PAYLOADS } from '../support/payloads.ts'

const pages = openPages([])

const expectNothingRan = async (page: Page, what: string) =>
  expect([what, await page.evaluate('window.__xss')]).toEqual([what, undefined])

test('AC1: fifty payloads in every field that people fill are text on every page that shows them', async () => {
  expect(new Set(PAYLOADS).size).toBe(50)
  const token = await pages.logIn()
  const as = (agent: string) => ({ authorization: `Bearer ${token}`, 'user-agent': agent })
  const ids: string[] = []
  for (const [index, name] of PAYLOADS.entries()) {
    const body = { name, email: `xss-${index}@browser.test`, notify: false }
    const made = await pages.call('POST', '/v1/users', body, as(name))
    expect([name, made.status]).toEqual([name, 201])
    ids.push(made.body.id)
    const reason = await pages.call('POST', `/v1/users/${made.body.id}/disable`, { reason: name }, as(name))
    expect([name, reason.status]).toEqual([name, 200])
  }
  // By another user: one may only write 120 times a minute.
  const other = { email: 'other@browser.test', password: 'seven brown foxes read' }
  await pages.call('POST', '/v1/users', { ...other, name: 'Other', role: 'admin', notify: false }, as('x'))
  const { body: others } = await pages.call('POST', '/v1/auth/login', other)
  const asOther = { authorization: `Bearer ${others.access_token}` }
  const invitations = PAYLOADS.map((name, index) => ({ email: `invited-${index}@browser.test`, name }))
  expect((await pages.call('POST', '/v1/invitations/bulk', { invitations }, asOther)).status).toBe(200)

  const page = await pages.open()
  await pages.signIn(page)
  const shown = async (path: string) => {
    expect((await page.goto(path))?.status()).toBe(200)
    await expectNothingRan(page, path)
    return (await page.locator('body').textContent()) ?? ''
  }
  // Lists, page after page.
  const seen: string[] = []
  for (const start of ['/admin/people', '/admin/invitations', '/admin/activity']) {
    let next: string | null = start
    for (let pagesSeen = 0; next && pagesSeen < 4; pagesSeen++) {
      seen.push(await shown(next))
      const following = page.locator('a[rel="next"]').first()
      next = (await following.count()) > 0 ? await following.getAttribute('href') : null
    }
  }
  const all = seen.join('\n').replace(/\s+/g, ' ')
  for (const payload of PAYLOADS) expect(all).toContain(payload.replace(/\s+/g, ' '))
  // A page with one person, the name in a field, and the reason beside it. By the other user: one may only read 60
  // lists a minute.
  await page.context().clearCookies()
  await pages.signIn(page, other)
  for (const [index, id] of ids.entries()) {
    await shown(`/admin/people/${id}`)
    expect(await page.getByLabel('Name').inputValue()).toBe(PAYLOADS[index])
    expect(await page.locator('.notice').textContent()).toContain(PAYLOADS[index]!.replace(/\s+/g, ' '))
  }
  await page.context().close()
  pages.expectQuiet()
})

test('AC1: values from an address are text as well', async () => {
  const page = await pages.open()
  for (const payload of PAYLOADS.filter((_, index) => index % 5 === 0)) {
    const value = encodeURIComponent(payload)
    await page.goto(`/signin?to=${value}&done=${value}&email=${value}&lang=${value}`)
    await expectNothingRan(page, payload)
  }
  await pages.signIn(page)
  for (const payload of PAYLOADS.filter((_, index) => index % 5 === 1)) {
    const value = encodeURIComponent(payload)
    for (const path of [
      `/admin/people?q=${value}`,
      `/account?done=${value}&lang=${value}`,
      `/admin/${value}`,
    ]) {
      await page.goto(path)
      await expectNothingRan(page, path)
    }
  }
  await page.context().close()
  pages.expectQuiet()
})

test('AC2: no script turns text into markup, and only our scripts and styles are accepted', async () => {
  const page = await pages.open()
  const answer = await page.goto('/signin')
  expect(answer?.headers()['content-security-policy']).toContain("require-trusted-types-for 'script'")
  const tried = await page.evaluate(`(() => {
    const trouble = (work) => { try { work(); return 'done' } catch (error) { return error.name } }
    return [
      trouble(() => { document.body.innerHTML = '<p>x</p>' }),
      trouble(() => trustedTypes.createPolicy('x', {})),
    ]
  })()`)
  expect(tried).toEqual(['TypeError', 'TypeError'])
  await page
    .evaluate(`(() => {
    const script = document.createElement('script')
    script.textContent = 'window.__xss = 1'
    try { document.body.append(script) } catch {}
    const style = document.createElement('style')
    style.textContent = 'body { display: none }'
    document.head.append(style)
  })()`)
    .catch(() => {})
  await expectNothingRan(page, 'a script of its own')
  expect(await page.evaluate('getComputedStyle(document.body).display')).not.toBe('none')
  await page.context().close()
})

test('HD2: a page of another origin, on the same site and with the token of a form, changes nothing', async () => {
  const page = await pages.open()
  await pages.signIn(page)
  await page.goto('/account')
  const token = await page.locator('input[name="form_token"]').first().inputValue()
  const name = await page.getByLabel('Name').inputValue()
  const here = new URL(page.url()).origin
  // Another port is another origin, but the cookie is sent all the same: only Origin tells them apart.
  const elsewhere = 'http://localhost:9'
  const attacker = await page.context().newPage()
  await attacker.route(`${elsewhere}/**`, (route) =>
    route.fulfill({
      contentType: 'text/html',
      body: `<!doctype html><form method="post" action="${here}/account">
        <input name="name" value="Mallory"><input name="form_token" value="${token}"><button>Win</button></form>`,
    }),
  )
  await attacker.goto(`${elsewhere}/`)
  const [posted] = await Promise.all([
    attacker.waitForResponse(`${here}/account`),
    attacker.getByRole('button', { name: 'Win' }).click(),
  ])
  const sent = await posted.request().allHeaders()
  expect([posted.status(), sent.origin, sent.cookie?.includes('__Host-roster=')]).toEqual([
    403,
    elsewhere,
    true,
  ])
  await attacker.goto(`${elsewhere}/`)
  const tried = await attacker.evaluate(`Promise.all(['application/json', 'text/plain'].map((type) =>
    fetch('${here}/v1/users/me', { method: type === 'text/plain' ? 'POST' : 'PATCH', credentials: 'include',
      headers: { 'content-type': type }, body: '{"name":"Mallory"}' }).then(() => 'read', () => 'blocked')))`)
  expect(tried).toEqual(['blocked', 'blocked'])
  await page.goto('/account')
  expect(await page.getByLabel('Name').inputValue()).toBe(name)
  await page.context().close()
})
