import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { readArguments, runCommand } from './command.ts'
import { launchChromium } from './local/chromium.ts'
import { freePort, startProcess, untilReady } from './local/process.ts'

const USAGE = `npm run screenshots [-- --out DIRECTORY] [-- --only WORDS]

Walks every page with the invented users of \`npm run dev -- --demo\`, 390 and 1280 px wide, light and dark, and keeps
a picture of each.

  --out       where they go (docs/screenshots)
  --only      only pages whose name contains one of these words, with commas between
  --fold      only what is seen without scrolling, as in the README
  --url       of a stack that runs already, with --demo and this script's administrator
  --dry-run   says which pages would be walked`

const ADMIN = { email: 'ada@fjord.example', password: 'seven brown foxes read' }
const READY_MS = 180_000

interface Shot {
  name: string
  path: string
  /** Whose person's page it is: found by the search. */
  of?: string
  /** What is done on the page before its picture is taken. */
  act?: (page: Page) => Promise<unknown>
}

const press = (page: Page, name: string) =>
  page.getByRole('button', { name, exact: true }).filter({ visible: true }).first().click()
const open =
  (...summaries: string[]) =>
  async (page: Page) => {
    for (const text of summaries)
      await page.locator('summary', { hasText: text }).filter({ visible: true }).first().click()
  }
const pick = async (page: Page) => {
  const boxes = page.locator('.pick input[type="checkbox"]')
  for (const at of [1, 2, 4]) await boxes.nth(at).check()
}

const SIGNED_OUT: Shot[] = [
  { name: 'signin', path: '/signin' },
  {
    name: 'signin-error',
    path: '/signin',
    act: async (page) => {
      await page.getByLabel('Email').fill('ada@fjord.example')
      await page.getByLabel('Password').fill('not this one at all')
      await press(page, 'Sign in')
      await page.locator('#message').waitFor()
    },
  },
  { name: 'signup', path: '/signup' },
  { name: 'forgot', path: '/forgot' },
  { name: 'link-expired', path: '/links/verify_email' },
  { name: 'nothing-here', path: '/nothing-here' },
]

const SIGNED_IN: Shot[] = [
  { name: 'profile', path: '/account' },
  { name: 'security', path: '/account/security', act: open('Change password') },
  { name: 'sessions', path: '/account/sessions' },
  { name: 'own-activity', path: '/account/activity' },
  { name: 'data', path: '/account/data', act: open('Delete…') },
  { name: 'again', path: '/signin/again?to=/account' },
  { name: 'admin', path: '/admin' },
  { name: 'people', path: '/admin/people' },
  { name: 'people-picked', path: '/admin/people', act: pick },
  { name: 'people-empty', path: '/admin/people?q=zebra' },
  { name: 'people-disabled', path: '/admin/people?status=disabled' },
  {
    name: 'bulk',
    path: '/admin/people',
    act: async (page) => {
      await pick(page)
      await press(page, 'Disable')
      await page.getByLabel('Reason').waitFor()
    },
  },
  { name: 'person', path: '/admin/people', of: 'Tomás', act: open('Show as a request') },
  { name: 'person-disabled', path: '/admin/people', of: 'Hubert', act: open('Erase') },
  { name: 'person-admin', path: '/admin/people', of: 'ada@fjord' },
  {
    name: 'person-error',
    path: '/admin/people',
    of: 'Lena',
    act: async (page) => {
      await page.getByLabel('Name').fill(' ')
      await page.evaluate(`document.querySelector('main form').noValidate = true`)
      await press(page, 'Save')
      await page.locator('#message').waitFor()
    },
  },
  { name: 'add-person', path: '/admin/people/new' },
  { name: 'invitations', path: '/admin/invitations' },
  { name: 'apps', path: '/admin/apps' },
  { name: 'add-app', path: '/admin/apps/new', act: open('Permissions', 'More settings') },
  { name: 'add-service', path: '/admin/apps/new?kind=service' },
  {
    name: 'app',
    path: '/admin/apps',
    act: async (page) => {
      await page.locator('.row .title a').first().click()
      await page.locator('#secret').waitFor()
      await open('Replace the secret', 'Remove…')(page)
    },
  },
  { name: 'activity', path: '/admin/activity' },
  { name: 'activity-empty', path: '/admin/activity?action=user.purged' },
  { name: 'system', path: '/admin/system' },
]

async function main() {
  const { values, isDryRun } = readArguments({
    usage: USAGE,
    options: {
      out: { type: 'string' },
      only: { type: 'string' },
      url: { type: 'string' },
      fold: { type: 'boolean' },
    },
  })
  const words = values.only?.split(',')
  const wanted = (shots: Shot[]) =>
    shots.filter(({ name }) => !words || words.some((word) => name.includes(word)))
  if (isDryRun)
    return console.log([...wanted(SIGNED_OUT), ...wanted(SIGNED_IN)].map(({ name }) => name).join('\n'))
  const out = resolve(values.out ?? 'docs/screenshots')
  mkdirSync(out, { recursive: true })
  const stack = values.url ? { url: values.url, close: async () => {} } : await startDemo()
  const browser = await launchChromium()
  try {
    for (const width of [1280, 390])
      for (const colorScheme of ['light', 'dark'] as const)
        await walk(browser, { url: stack.url, width, colorScheme, out, wanted, fullPage: !values.fold })
  } finally {
    await browser.close()
    await stack.close()
  }
}

async function walk(
  browser: Browser,
  {
    url,
    width,
    colorScheme,
    out,
    wanted,
    fullPage,
  }: {
    url: string
    width: number
    colorScheme: 'light' | 'dark'
    out: string
    wanted(shots: Shot[]): Shot[]
    fullPage: boolean
  },
) {
  const context = await browser.newContext({
    baseURL: url,
    viewport: { width, height: width > 500 ? 800 : 844 },
    colorScheme,
    locale: 'en-GB',
    hasTouch: width < 500,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  const shoot = (shot: Shot) =>
    take(shot).catch((cause: Error) => {
      throw new Error(`${shot.name}, ${width} px, ${colorScheme}: ${cause.message}`, { cause })
    })
  const take = async ({ name, path, of, act }: Shot) => {
    await page.goto(of ? `${path}?q=${encodeURIComponent(of)}` : path)
    if (of) await page.goto((await page.locator('a.who').first().getAttribute('href'))!)
    await act?.(page)
    await page.screenshot({ path: join(out, `${name}-${width}-${colorScheme}.png`), fullPage })
  }
  for (const shot of wanted(SIGNED_OUT)) await shoot(shot)
  const inside = wanted(SIGNED_IN)
  if (inside.length > 0) {
    await page.goto('/signin')
    await page.getByLabel('Email').fill(ADMIN.email)
    await page.getByLabel('Password').fill(ADMIN.password)
    await press(page, 'Sign in')
    await page.waitForURL('**/admin')
    for (const shot of inside) await shoot(shot)
  }
  await context.close()
}

/** A stack of its own, which is gone afterwards. */
async function startDemo() {
  const state = mkdtempSync(join(tmpdir(), 'roster-pictures-'))
  const port = await freePort()
  const stack = startProcess(process.execPath, [resolve(import.meta.dirname, 'dev.ts'), '--demo'], {
    ROSTER_STATE: state,
    PORT: String(port),
    ADMIN_EMAIL: ADMIN.email,
    ADMIN_PASSWORD: ADMIN.password,
  })
  let isReady = false
  stack.onLine((line) => {
    isReady ||= line.startsWith('ready ')
  })
  await untilReady(
    stack,
    async () => {
      if (!isReady) throw new Error('not ready yet')
    },
    READY_MS,
  )
  const close = async () => {
    await stack.close()
    rmSync(state, { recursive: true, force: true })
  }
  return { url: `http://localhost:${port}`, close }
}

if (import.meta.main) runCommand(main)
