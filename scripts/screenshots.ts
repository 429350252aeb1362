import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Browser } from 'playwright-core'
import { readArguments, runCommand } from './command.ts'
import { launchChromium } from './local/chromium.ts'
import { freePort, startProcess, untilReady } from './local/process.ts'
import { press, type Shot, SIGNED_IN, SIGNED_OUT } from './local/shots.ts'

const USAGE = `npm run screenshots [-- --out DIRECTORY] [-- --only WORDS]

Walks every page with the invented users of \`npm run dev -- --demo\`, 390 and 1280 px wide, light and dark, and keeps
a picture of each.

  --out       where they go (docs/screenshots)
  --only      only pages whose name contains one of these words, separated by commas
  --fold      only what is seen without scrolling, as in the README
  --url       a stack that runs already, with --demo and this script's administrator
  --dry-run   says which pages would be walked`

const ADMIN = { email: 'ada@fjord.example', password: 'seven brown foxes read' }
const READY_MS = 180_000

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
