import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, BrowserContextOptions, CDPSession, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { launchChromium } from '../../scripts/local/chromium.ts'
import { ADMIN, startStack } from './stack.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** How long a page may take for anything: much longer on a busy machine than on an idle one. */
export const PAGE_MS = 90_000
export const PASSWORD = 'nine purple herons sleep'

/** Pages of a stack in a real browser, by default with invented users. A test fails if its page reports an error. */
export function openPages(args = ['--demo']) {
  let stack: Awaited<ReturnType<typeof startStack>>
  let browser: Browser
  const complaints: string[] = []

  beforeAll(async () => {
    ;[stack, browser] = await Promise.all([startStack(args), launchChromium()])
  })
  afterAll(async () => {
    await browser?.close()
    await stack?.close()
  })

  const origin = () => stack.url.replace('127.0.0.1', 'localhost')

  /** @param others origins of apps that the page visits. */
  async function open(options: BrowserContextOptions = {}, others: string[] = []): Promise<Page> {
    const context = await browser.newContext({ baseURL: origin(), locale: 'en-GB', ...options })
    context.setDefaultTimeout(PAGE_MS)
    // Reports of the policy arrive as console messages and as events.
    await context.addInitScript(
      `addEventListener('securitypolicyviolation', (event) => console.error('CSP ' + event.violatedDirective))`,
    )
    const page = await context.newPage()
    page.on('console', (message) => {
      // A page that answers with an error status logs that itself.
      if (message.type() === 'error' && !/status of (4\d\d|503)/.test(message.text()))
        complaints.push(`${page.url()} ${message.text()}`)
    })
    page.on('pageerror', (error) => complaints.push(`${page.url()} ${error.message}`))
    page.on('dialog', (dialog) => complaints.push(`${page.url()} a dialog: ${dialog.message()}`))
    page.on('request', (request) => {
      const url = new URL(request.url())
      if (![origin(), ...others].includes(url.origin) && url.protocol !== 'data:')
        complaints.push(`third party: ${url}`)
    })
    return page
  }

  async function signIn(page: Page, { email, password } = ADMIN) {
    await page.goto('/signin')
    expect(await heading(page)).toBe('Sign in')
    await page.getByLabel('Email').fill(email)
    await page.getByLabel('Password').fill(password)
    await press(page, 'Sign in')
    await page.waitForURL(/\/(admin|account)/)
  }

  /** Calls the API as a program does. */
  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const answer = await fetch(`${stack.url}${path}`, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, text, body: text.startsWith('{') ? JSON.parse(text) : undefined }
  }
  /** The newest mail to somebody with such a subject, once it has arrived. */
  async function mailTo(email: string, subject: RegExp): Promise<string> {
    const { url, key } = stack.mailbox
    const mails = `${url}/mails?${new URLSearchParams({ to: email })}`
    for (let tries = 0; tries < 450; tries++) {
      const answer = await fetch(mails, { headers: { authorization: `Bearer ${key}` } })
      const all = (await answer.json()) as { subject: string; text: string }[]
      const mail = all.find((one) => subject.test(one.subject))
      if (mail) return mail.text
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    throw new Error(`No mail like ${subject} has come to ${email}`)
  }
  const logIn = async ({ email, password } = ADMIN): Promise<string> =>
    (await call('POST', '/v1/auth/login', { email, password })).body.access_token

  return {
    open,
    signIn,
    call,
    mailTo,
    logIn,
    origin,
    /** The app to sign in to, examples/sign-in. */
    example: () => stack.example,
    /** With `--examples`: the React app, and the service that accepts tokens. */
    react: () => stack.apps.React!,
    service: () => stack.apps.Service!,
    sql: (statement: string, values: (string | number)[]) => stack.sql(statement, values),
    /** The provider to sign in with, scripts/local/provider. */
    provider: () => stack.provider,
    /** Fails with the errors that pages have reported since. */
    expectQuiet: () => expect(complaints.splice(0)).toEqual([]),
  }
}

export const heading = async (page: Page) => (await page.locator('h1').first().textContent())?.trim()

export const press = (page: Page, name: string | RegExp) =>
  page
    .getByRole('button', { name, exact: typeof name === 'string' })
    .filter({ visible: true })
    .first()
    .click()

/** Kept as long as the page: ending a session also removes what others have injected into the page. */
const sessions = new WeakMap<Page, Promise<CDPSession>>()

/** Chromium's own developer tools for a page. */
export function devtoolsOf(page: Page): Promise<CDPSession> {
  const session = sessions.get(page) ?? page.context().newCDPSession(page)
  sessions.set(page, session)
  return session
}

/** What axe-core finds. It runs in an isolated world, to which the page's policy does not apply. */
export async function violationsOn(page: Page): Promise<string[]> {
  // While a colour changes from one scheme to the other, its contrast is wrong. That takes a tenth of a second, but a
  // page that is not drawn may never finish.
  const isChanging = "document.getAnimations().some(({ playState }) => playState === 'running')"
  for (let tries = 0; tries < 40 && (await page.evaluate(isChanging)); tries++) await page.waitForTimeout(50)
  const session = await devtoolsOf(page)
  await session.send('Page.enable')
  const { frameTree } = await session.send('Page.getFrameTree')
  // The same world for the life of the page, so that axe is loaded once.
  const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld', {
    frameId: frameTree.frame.id,
    worldName: 'axe',
  })
  const evaluate = (expression: string) =>
    session.send('Runtime.evaluate', { expression, contextId, awaitPromise: true, returnByValue: true })
  if ((await evaluate('typeof axe')).result.value === 'undefined') await evaluate(`${AXE}; undefined`)
  const { result, exceptionDetails } =
    await evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ' ' + nodes.map(({ target }) => target).join()))`)
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
  if (!Array.isArray(result.value)) throw new Error('axe has found nothing out')
  return result.value
}
