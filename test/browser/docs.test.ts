import { Validator } from '@seriousme/openapi-schema-validator'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchChromium } from '../../scripts/local/chromium.ts'
import { hashRecoveryCode, makeRecoveryCodes } from '../../src/factors/recovery-codes.ts'
import { PAGE_MS } from '../support/browser.ts'
import { ADMIN, startStack } from '../support/stack.ts'

/** Used as people's names: each sets `__xss` if it ever becomes markup or script. */
const PAYLOADS = [
  '<script>window.__xss=1</script>',
  '<img src=x onerror="window.__xss=1">',
  '</pre></script><svg onload=window.__xss=1>',
  `"'><iframe srcdoc="<script>top.__xss=1</script>">`,
  'javascript:window.__xss=1',
  '{{constructor.constructor("window.__xss=1")()}}',
]

let stack: Awaited<ReturnType<typeof startStack>>

beforeAll(async () => {
  stack = await startStack()
})
afterAll(() => stack?.close())

test('The document is valid OpenAPI 3.1', async () => {
  const document = await (await fetch(`${stack.url}/openapi.json`)).json()
  const validator = new Validator()
  expect(await validator.validate(document as Record<string, unknown>)).toEqual({ valid: true })
  expect(validator.version).toBe('3.1')
})

describe('The page in a browser', () => {
  let browser: Browser
  let page: Page
  const complaints: string[] = []
  const requested = new Set<string>()

  beforeAll(async () => {
    browser = await launchChromium()
    page = await browser.newPage()
    page.setDefaultTimeout(PAGE_MS)
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('request', (request) => requested.add(new URL(request.url()).origin))
    await page.goto(`${origin()}/docs`)
  })
  afterAll(() => browser?.close())

  /** Cookies belong to the issuer's origin. */
  const origin = () => stack.url.replace('127.0.0.1', 'localhost')
  const logIn = async ({ email, password }: typeof ADMIN) => {
    await page.getByLabel('E-mail').fill(email)
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('button', { name: 'Log out' }).waitFor()
  }

  /** Opens an operation by its deep link, fills in its form, sends it, and returns what the page shows. */
  async function tryOut(operationId: string, inputs: Record<string, string> = {}) {
    await page.evaluate((id) => {
      ;(globalThis as unknown as { location: { hash: string } }).location.hash = id
    }, operationId)
    const operation = page.locator(`#${operationId}[open]`)
    for (const [label, value] of Object.entries(inputs)) await operation.getByLabel(label).fill(value)
    const answered = page.waitForResponse((response) => response.request().method() !== 'OPTIONS')
    await operation.getByRole('button', { name: /^Send/ }).click()
    await answered
    await operation.getByRole('button', { name: /^Send/, disabled: false }).waitFor()
    const result = operation.locator('.result')
    const body = await result.locator('pre').allTextContents()
    return { status: Number(await result.locator('.status').textContent()), body: body.join('') }
  }

  test('shows every operation, or those that match a filter', async () => {
    const document = (await (await fetch(`${stack.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, { operationId: string }>>
    }
    const ids = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).map(({ operationId }) => operationId),
    )
    await page.locator('.operation').first().waitFor()
    const shown = await page.locator('.operation').evaluateAll((all) => all.map(({ id }) => id as string))
    expect(shown.sort()).toEqual(ids.sort())
    await page.keyboard.press('/')
    await page.keyboard.type('cleanup:read')
    expect(await page.locator('.operation:visible').count()).toBe(1)
    await page.keyboard.press('Enter')
    await page.locator('#listCleanupRuns[open] .try').waitFor()
    await page.getByLabel('Filter operations').fill('')
  })

  test('says who may call an operation, and calls it as the logged-in user', async () => {
    expect((await tryOut('listUsers')).status).toBe(401)
    await logIn(ADMIN)
    const { status, body } = await tryOut('listUsers', { limit: '1' })
    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject({ data: [{ email: ADMIN.email }], pagination: { limit: 1 } })
  })

  test('AC1: shows people’s names as text, and never as script', async () => {
    for (const [index, name] of PAYLOADS.entries()) {
      const person = { email: `person${index}@people.test`, password: 'seven brown foxes read', name }
      const { status, body } = await tryOut('createUser', { Body: JSON.stringify(person) })
      expect(status).toBe(201)
      expect(JSON.parse(body).name).toBe(name)
    }
    const { body } = await tryOut('listUsers', { limit: '100' })
    const names = JSON.parse(body).data.map((person: { name: string }) => person.name)
    expect(names).toEqual(expect.arrayContaining(PAYLOADS))
    const agent = PAYLOADS[1]!
    await fetch(`${stack.url}/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': agent },
      body: JSON.stringify(ADMIN),
    })
    const sessions = JSON.parse((await tryOut('listOwnSessions')).body).data
    expect(sessions.map((session: { user_agent: string }) => session.user_agent)).toContain(agent)
    expect(await page.evaluate('window.__xss')).toBeUndefined()
  })

  test('fits a phone, with everything unfolded', async () => {
    const size = page.viewportSize()!
    await page.setViewportSize({ width: 360, height: 740 })
    await page.evaluate("for (const view of document.querySelectorAll('main details')) view.open = true")
    await page.locator('.operation .try').last().waitFor()
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
    await page.setViewportSize(size)
  })

  test('AC2: refuses markup and script from elsewhere', async () => {
    const before = complaints.length
    const refused = await page.evaluate(`(() => {
      try { document.querySelector('main').innerHTML = '<b>'; return 'taken' } catch (error) { return error.name }
    })()`)
    expect(refused).toBe('TypeError')
    expect(complaints.splice(before).join()).toContain('Trusted')
  })

  test('stays signed in by the cookie, after a new password and when it is opened again', async () => {
    const passwords = { current_password: ADMIN.password, new_password: 'eight brown foxes read' }
    expect((await tryOut('changePassword', { Body: JSON.stringify(passwords) })).status).toBe(200)
    expect((await tryOut('getMe')).status).toBe(200)
    await page.reload()
    await page.getByRole('button', { name: 'Log out' }).waitFor()
    expect((await tryOut('getMe')).status).toBe(200)
  })

  test('shows each request in curl and in fetch, and lists no page', async () => {
    const samples = page.locator('#updateMe[open]')
    await tryOut('updateMe', { Body: '{"name":"Root"}' })
    expect(await samples.getByLabel('As curl').textContent()).toContain('-X PATCH')
    expect(await samples.getByLabel('As fetch').textContent()).toContain("method: 'PATCH'")
    const paths = await page.locator('.operation summary code').allTextContents()
    expect(paths.filter((path) => /^\/(signin|signup|account|admin|terms|forgot)/.test(path))).toEqual([])
  })

  test('AC4: stores nothing in the browser, contacts no other origin, and does not violate its own policy', async () => {
    const kept = await page.evaluate('[localStorage.length, sessionStorage.length, document.cookie]')
    expect(kept).toEqual([0, 0, ''])
    expect([...requested]).toEqual([origin()])
    // The browser logs each 4xx. One was requested; one is the access token that a new password has ended.
    expect(complaints.filter((text) => !text.includes('status of 401'))).toEqual([])
  })

  test('asks for the code of a second factor, and distinguishes a wrong code from an expired challenge', async () => {
    const email = 'two@people.test'
    const person = { email, password: 'seven brown foxes read', name: 'Two' }
    const made = await tryOut('createUser', { Body: JSON.stringify(person) })
    const id = String(JSON.parse(made.body).id)
    await stack.sql(
      `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced,
        is_synced, name, created_at) VALUES (?1, ?1, 'x', 'elsewhere.test', '{}', 0, '[]', '', 0, 0, 'x', 1)`,
      [id],
    )
    const [recoveryCode] = makeRecoveryCodes()
    await stack.sql('INSERT INTO recovery_codes (user_id, hash, created_at) VALUES (?, ?, 1)', [
      id,
      hashRecoveryCode(id, recoveryCode!),
    ])
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByText('Logged out.').waitFor()
    await page.getByLabel('E-mail').fill(email)
    await page.getByLabel('Password').fill('not the password')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.locator('#notice', { hasText: /password/i }).waitFor()
    // The text that was typed is still there.
    expect(await page.getByLabel('E-mail').inputValue()).toBe(email)
    await page.getByLabel('Password').fill(person.password)
    await page.getByRole('button', { name: 'Log in' }).click()
    const code = page.getByLabel('Code of the app, or a recovery code')
    await code.fill('123 456')
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.locator('#notice', { hasText: /code/i }).waitFor()
    await code.fill(recoveryCode!)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByRole('button', { name: 'Log out' }).waitFor()
    expect(JSON.parse((await tryOut('getMe')).body)).toMatchObject({ email })
  })

  test('forgets the session after a logout', async () => {
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByText('Logged out.').waitFor()
    expect((await tryOut('getMe')).status).toBe(401)
  })
})
