import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { build } from 'esbuild'
import type { BrowserContext, Page, Response, Route } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { devtoolsOf, heading, openPages, PASSWORD, press } from '../support/browser.ts'

/** The client as it is published, in pages of an app beside the real Worker. Faults are simulated in the network. */
const pages = openPages(['--examples'])

const REFRESH = '/v1/auth/refresh_token'
const LIFE_MS = 600_000
/** As in tokens.ts; and how long tabs.ts waits for a tab that has the lock. */
const AHEAD_MS = 60_000
const LOCK_WAIT_MS = 5000

/** Runs in a page of the app: it can advance its clock, and records what the client reports. */
const SCRIPT = `
import { createClient } from './dist/main.js'
import { tokens } from './dist/tokens.js'
const now = Date.now
let aheadMs = 0
Date.now = () => now() + aheadMs
Object.assign(globalThis, {
  goOn: (ms) => { aheadMs += ms },
  told: [],
  start(url, isByTokens) {
    globalThis.roster = createClient({ url, ...(isByTokens && { keep: tokens() }) })
    for (const event of ['signed_in', 'signed_out']) roster.on(event, ({ name }) => told.push(event + ' ' + name))
  },
  me: async () => (await roster.api.GET('/v1/users/me')).response.status,
  failed: (work) => work.then(() => 'nothing', ({ code, status }) => code + ' ' + status),
})`
let script: string
beforeAll(async () => {
  const resolveDir = resolve(import.meta.dirname, '../../client')
  const options = { bundle: true, format: 'esm', write: false } as const
  script = (await build({ stdin: { contents: SCRIPT, resolveDir }, ...options })).outputFiles[0]!.text
})

/** The app's own page, without the app. */
async function openTab(context: BrowserContext, mode: 'cookie' | 'tokens'): Promise<Page> {
  const page = await context.newPage()
  const app = '**/src/main.tsx'
  await page.route(app, (route) => route.fulfill({ contentType: 'text/javascript', body: '' }))
  await page.goto(pages.react())
  // Unless requests are intercepted, the browser itself asks whether other origins may.
  await page.unroute(app)
  await page.addScriptTag({ content: script, type: 'module' })
  await page.evaluate(`start('${pages.origin()}', ${mode === 'tokens'})`)
  return page
}

async function openApp(mode: 'cookie' | 'tokens') {
  const context = (await pages.open({}, [pages.react()])).context()
  const refreshes: Response[] = []
  let asked = 0
  const isRefresh = (method: string, url: string) => method === 'POST' && url.endsWith(REFRESH)
  context.on('request', (request) => {
    if (isRefresh(request.method(), request.url())) asked++
  })
  context.on('response', (response) => {
    if (isRefresh(response.request().method(), response.url())) refreshes.push(response)
  })
  const open = () => openTab(context, mode)
  const tab = await open()
  return {
    tab,
    open,
    asked: () => asked,
    /** The refresh tokens that were received. */
    successors: () => Promise.all(refreshes.map(async (answer) => (await answer.json()).refresh_token)),
  }
}

const run = <T = unknown>(tab: Page, expression: string) => tab.evaluate<T>(expression)
const nameOf = (tab: Page) => run(tab, 'roster.user && roster.user.name')
const tokenOf = (tab: Page) => run<string>(tab, 'roster.accessToken()')
const until = (tab: Page, expression: string) => tab.waitForFunction(expression)

async function addPerson() {
  const ada = { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' }
  expect((await pages.call('POST', '/v1/auth/signup', ada)).status).toBe(201)
  return ada
}
async function signedIn(mode: 'cookie' | 'tokens' = 'tokens') {
  const [app, ada] = await Promise.all([openApp(mode), addPerson()])
  await signIn(app.tab, ada)
  return { ...app, ada }
}
const signIn = (tab: Page, { email, password }: { email: string; password: string }) =>
  run(tab, `roster.signIn(${JSON.stringify({ email, password })})`)

describe('By the cookie of the browser', () => {
  test('somebody signs up, signs in, is known after a reload and in another tab, and signs out of both', async () => {
    const { tab, open } = await openApp('cookie')
    expect(await run(tab, 'roster.load()')).toBeNull()
    const ada = { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' }
    await run(tab, `roster.signUp(${JSON.stringify(ada)})`)
    expect(await nameOf(tab)).toBeNull()
    await signIn(tab, ada)
    expect([await nameOf(tab), await run(tab, 'told')]).toEqual(['Ada', ['signed_in Ada']])
    // No script can read anything of the session.
    expect([await tokenOf(tab), await run(tab, 'document.cookie')]).toEqual([undefined, ''])

    const other = await open()
    expect(await run(other, 'roster.load().then(({ name }) => name)')).toBe('Ada')
    // Roster's own pages recognise the user, too.
    const account = await tab.context().newPage()
    await account.goto('/account')
    expect(new URL(account.url()).pathname).toBe('/account')

    await run(tab, 'roster.signOut()')
    expect([await nameOf(tab), await run(tab, 'told')]).toEqual([null, ['signed_in Ada', 'signed_out Ada']])
    await until(other, 'roster.user === null')
    expect(await run(other, 'me()')).toBe(401)
  })

  test('a 503 does not sign anybody out', async () => {
    const { tab } = await signedIn('cookie')
    await tab.route(/\/v1\//, refusing(503))
    expect(await run(tab, 'me()')).toBe(503)
    expect(await run(tab, 'failed(roster.signOut())')).toBe('unexpected_answer 503')
    expect(await nameOf(tab)).toBe('Ada')
    await tab.unroute(/\/v1\//)
    expect(await run(tab, 'roster.load().then(({ name }) => name)')).toBe('Ada')
  })
})

test('The examples of docs/browser-apps.md work as they are', async () => {
  const [tab, { email, password }] = await Promise.all([
    openApp('cookie').then((app) => app.tab),
    addPerson(),
  ])
  const guide = readFileSync(resolve(import.meta.dirname, '../../docs/browser-apps.md'), 'utf8')
  const blocks = [...guide.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code)
  const code = blocks.join('\n').replace('https://id.example.com', pages.origin())
  const statuses: string[] = []
  tab.on('response', (answer) => {
    const { pathname } = new URL(answer.url())
    if (pathname.startsWith('/v1/') && answer.request().method() !== 'OPTIONS')
      statuses.push(`${pathname} ${answer.status()}`)
  })
  const given = JSON.stringify({ email, password })
  expect(await run(tab, `(async ({ email, password }) => { ${code}; return me.name })(${given})`)).toBe('Ada')
  expect(statuses).toEqual([
    '/v1/auth/login 200',
    '/v1/users/me 200',
    '/v1/users/me 200',
    '/v1/users/me/export 200',
    '/v1/auth/logout 204',
  ])
})

/** An answer by a proxy in between. */
const refusing = (status: number) => (route: Route) =>
  route.fulfill({
    status,
    headers: {
      'access-control-allow-origin': pages.react(),
      'access-control-allow-credentials': 'true',
      'content-type': 'text/html',
    },
    body: '<h1>Not now</h1>',
  })

describe('By tokens', () => {
  test('twenty calls wait for one refresh, before the token has ended', async () => {
    const { tab, asked } = await signedIn()
    const before = await tokenOf(tab)
    await run(tab, `goOn(${LIFE_MS - AHEAD_MS - 10_000})`)
    expect([await tokenOf(tab), asked()]).toEqual([before, 0])
    await run(tab, 'goOn(20_000)')
    expect(await run(tab, 'Promise.all(Array.from({ length: 20 }, me))')).toEqual(Array(20).fill(200))
    expect(asked()).toBe(1)
    expect(await tokenOf(tab)).not.toBe(before)
  })

  test('several tabs share a successor, and signing out in one signs out all', async () => {
    const { tab, open, asked } = await signedIn()
    const tabs = [tab, await open(), await open()]
    for (const one of tabs) expect(await run(one, 'roster.load().then(({ name }) => name)')).toBe('Ada')
    const before = await tokenOf(tab)
    for (const one of tabs) await run(one, `goOn(${LIFE_MS})`)
    expect(await Promise.all(tabs.map((one) => run(one, 'me()')))).toEqual([200, 200, 200])
    const after = new Set(await Promise.all(tabs.map(tokenOf)))
    expect([asked(), after.size, after.has(before)]).toEqual([1, 1, false])

    await run(tabs[1]!, 'roster.signOut()')
    for (const one of tabs) await until(one, 'roster.user === null')
    expect(await run(tabs[2]!, 'told')).toEqual(['signed_in Ada', 'signed_out Ada'])
  })

  /** Of two tabs, the first starts a refresh that does not reach Roster before `arrives` is called. */
  async function beginRefresh() {
    const app = await signedIn()
    const other = await app.open()
    await run(other, 'roster.load()')
    for (const one of [app.tab, other]) await run(one, `goOn(${LIFE_MS})`)
    const { promise: arrival, resolve: arrives } = Promise.withResolvers<void>()
    const begun = app.tab.waitForRequest((request) => request.url().endsWith(REFRESH))
    await app.tab.route(`**${REFRESH}`, (route) => arrival.then(() => route.continue()))
    const waiting = run(app.tab, 'me()').catch(() => 'gone')
    await begun
    return { ...app, other, arrives, waiting }
  }

  test('a frozen tab with the lock delays the others by at most five seconds', async () => {
    const { tab, other, arrives, waiting, successors } = await beginRefresh()
    const devtools = await devtoolsOf(tab)
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
    const since = Date.now()
    expect(await run(other, 'me()')).toBe(200)
    const waitedMs = Date.now() - since
    expect(waitedMs).toBeGreaterThan(LOCK_WAIT_MS - 1500)
    expect(waitedMs).toBeLessThan(LOCK_WAIT_MS + 20_000)

    await devtools.send('Page.setWebLifecycleState', { state: 'active' })
    // The other tab's message arrives before its own answer.
    await run(tab, 'new Promise((resolve) => setTimeout(resolve, 500))')
    arrives()
    expect(await waiting).toBe(200)
    // Roster was asked twice, and did not suspect a thief: both got the same successor.
    const [first, second] = await successors()
    expect([await tokenOf(tab), second]).toEqual([await tokenOf(other), first])
    expect(await run(other, 'me()')).toBe(200)
  })

  test('if a tab dies during a refresh, another takes over at once', async () => {
    const { tab, other, arrives, waiting } = await beginRefresh()
    const since = Date.now()
    await tab.close()
    expect(await run(other, 'me()')).toBe(200)
    expect(Date.now() - since).toBeLessThan(LOCK_WAIT_MS - 1000)
    arrives()
    expect(await waiting).toBe('gone')
  })

  test('a lost answer to a refresh is requested again, and is the same', async () => {
    const { tab, asked, successors } = await signedIn()
    let lost: string | undefined
    await tab.route(
      `**${REFRESH}`,
      async (route) => {
        lost = (await (await route.fetch()).json()).refresh_token
        await route.abort('connectionreset')
      },
      { times: 1 },
    )
    await run(tab, `goOn(${LIFE_MS})`)
    expect(await run(tab, 'me()')).toBe(200)
    expect(lost).toMatch(/^rt_/)
    expect([asked(), await successors()]).toEqual([2, [lost]])
    await run(tab, `goOn(${LIFE_MS})`)
    expect([await run(tab, 'me()'), asked()]).toEqual([200, 3])
  })

  test.each([
    ['503s', refusing(503), 'unexpected_answer 503'],
    ['broken connections', (route: Route) => route.abort('connectionrefused'), 'no_answer 0'],
    ['a 401 of somebody on the way', refusing(401), 'unexpected_answer 401'],
  ])('%s do not sign anybody out', async (_, fault, code) => {
    const { tab } = await signedIn()
    await tab.route(`**${REFRESH}`, fault)
    await run(tab, `goOn(${LIFE_MS})`)
    expect(await run(tab, 'failed(me())')).toBe(code)
    expect([await nameOf(tab), await run(tab, 'told')]).toEqual(['Ada', ['signed_in Ada']])
    await tab.unroute(`**${REFRESH}`)
    expect(await run(tab, 'me()')).toBe(200)
  })

  test.each([
    ['revoked_at', 'session_revoked'],
    ['idle_expires_at', 'invalid_refresh_token'],
  ])('an answer from Roster that the session has ended (%s: %s) signs out all tabs', async (column, code) => {
    const { tab, open, ada } = await signedIn()
    const other = await open()
    await run(other, 'roster.load()')
    await pages.sql(
      `UPDATE sessions SET ${column} = 1 WHERE user_id = (SELECT id FROM users WHERE email = ?)`,
      [ada.email],
    )
    await run(tab, `goOn(${LIFE_MS})`)
    const answered = tab.waitForResponse((response) => response.url().endsWith(REFRESH))
    expect(await run(tab, 'me()')).toBe(401)
    expect((await (await answered).json()).code).toBe(code)
    expect(await run(tab, 'told')).toEqual(['signed_in Ada', 'signed_out Ada'])
    await until(other, 'roster.user === null')
  })
})

test('The React app signs somebody up, saves a name, and notices a sign-out in another tab', async () => {
  const page = await pages.open({ baseURL: pages.react() }, [pages.react()])
  await page.goto('/')
  await press(page, 'Create an account')
  const name = page.getByRole('textbox', { name: 'Name' })
  await name.fill('Ada')
  await page.getByLabel('Email').fill(`${crypto.randomUUID()}@people.test`)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Create account')
  await page.getByText('Hello, Ada').waitFor()
  await name.fill('Countess')
  await press(page, 'Save')
  await page.getByText('Hello, Countess').waitFor()
  await page.getByText('This one').waitFor()
  const other = await page.context().newPage()
  await other.goto('/')
  await press(other, 'Sign out')
  await page.getByLabel('Password').waitFor()
  expect(await heading(page)).toBe('Sign in')
  pages.expectQuiet()
})

test('The service accepts Roster’s access tokens, and nothing else', async () => {
  const whoAmI = (token: string) =>
    fetch(`${pages.service()}/whoami`, { headers: { authorization: `Bearer ${token}` } })
  const answer = await whoAmI(await pages.logIn())
  expect([answer.status, await answer.json()]).toMatchObject([200, { client: 'roster', role: 'admin' }])
  expect((await whoAmI('nothing')).status).toBe(401)
})
