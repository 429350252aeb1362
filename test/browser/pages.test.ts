import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { devtoolsOf, heading, openPages, press, violationsOn } from '../support/browser.ts'

const pages = openPages()

const ANYBODYS = [
  ...['/signin', '/signup', '/signup/resend', '/signup/check?email=ada@fjord.example'],
  ...['/forgot', '/signin?lang=de'],
]
const SIGNED_IN = [
  ...['', '/security', '/sessions', '/apps', '/apps/keys/new', '/activity', '/data'].map(
    (path) => `/account${path}`,
  ),
  ...['/signin/again?to=/account', '/device'],
  ...[
    '',
    '/people',
    '/people/import',
    '/people/new',
    '/people?q=zebra',
    '/people?locked=true',
    '/people?status=deleted',
  ].map((path) => `/admin${path}`),
  ...['/apps', '/apps/new', '/apps/new?kind=service&lang=de'].map((path) => `/admin${path}`),
  ...['/blocked', '/blocked?lang=de', '/webhooks', '/webhooks/new', '/webhooks/new?lang=de'].map(
    (path) => `/admin${path}`,
  ),
  ...['/invitations', '/activity', '/activity?action=user.purged', '/system', '/people?lang=de'].map(
    (path) => `/admin${path}`,
  ),
]

const BLOCKED = [
  ...['throwaway.example', 'troll@mail.example', '192.0.2.0/24', '2001:db8:7:aaaa::/64'],
  `${'l'.repeat(60)}.${'o'.repeat(60)}.${'n'.repeat(60)}.example`,
]

/** A resting webhook, so that nothing is sent, with deliveries of every kind. Returns its page. */
async function addWebhook(): Promise<string> {
  const types = ['user.signed_up', 'email.change_withdrawn', 'session.reuse_detected']
  const { id } = (
    await pages.call(
      'POST',
      '/v1/webhooks',
      { url: `https://hooks.fjord.example/${'receivers/'.repeat(9)}`, types },
      { authorization: `Bearer ${await pages.logIn()}` },
    )
  ).body
  await pages.sql('UPDATE webhooks SET rested_at = 1 WHERE id = ?', [id])
  for (const [at, type] of types.entries())
    await pages.sql(
      `INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, type, owed_at, next_attempt_at, dead_at, delivered_at,
        is_fixed, attempts, last_attempt_at, last_status, by_hand)
        SELECT ?1, ?1 || ?2, (SELECT id FROM users WHERE name LIKE 'Hubert%'), ?3, 1, 1, iif(?2 = 0, 1, NULL),
        iif(?2 = 1, 1, NULL), 1, 3, 1, iif(?2 = 0, NULL, 503), ?2 % 2`,
      [id, at, type],
    )
  return `/admin/webhooks/${id}`
}

interface Look {
  width: number
  scheme: 'light' | 'dark'
  /** In pixels, as people set it in their browser. 16 is usual. */
  text?: number
}
const LOOKS: Look[] = [
  { width: 1280, scheme: 'light' },
  { width: 1280, scheme: 'dark' },
  { width: 390, scheme: 'light' },
  { width: 390, scheme: 'dark' },
  { width: 320, scheme: 'light' },
  { width: 1280, scheme: 'light', text: 32 },
]

async function takeOn(page: Page, { width, scheme, text = 16 }: Look) {
  await page.setViewportSize({ width, height: 800 })
  // Without animated colours, which would have to be waited for.
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
  const session = await devtoolsOf(page)
  await session.send('Page.setFontSizes', { fontSizes: { standard: text, fixed: text * 0.8125 } })
}

/** What is wrong with a page, for each way of looking at it. */
async function faultsOf(page: Page, path: string) {
  const faults: Record<string, unknown> = {}
  const answer = await page.goto(path)
  const here = new URL(page.url())
  // First, make sure that it is the requested page.
  expect([path, answer?.status(), here.pathname]).toEqual([path, 200, path.replace(/\?.*/, '')])
  const title = await heading(page)
  expect([path, title]).toEqual([path, expect.stringMatching(/./)])
  expect(await page.title()).toContain(title)
  await page.evaluate(`for (const fold of document.querySelectorAll('details.fold')) fold.open = true`)
  for (const look of LOOKS) {
    await takeOn(page, look)
    const name = `${path}, ${look.width} px, ${look.scheme}${look.text ? ', text of 200 %' : ''}`
    const violations = await violationsOn(page)
    const wider = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
    if (violations.length > 0) faults[name] = violations
    if (Number(wider) > 0) faults[`${name}, sideways`] = wider
  }
  return faults
}

/** Several at once, as a browser mostly waits. */
async function faultsOfAll(paths: string[], open: () => Promise<Page>) {
  const left = [...paths]
  const found: Record<string, unknown>[] = []
  await Promise.all(
    Array.from({ length: 2 }, async () => {
      const page = await open()
      for (let path = left.shift(); path; path = left.shift()) found.push(await faultsOf(page, path))
      await page.context().close()
    }),
  )
  return Object.assign({}, ...found)
}

describe('HD2: every page, at 1280, 390 and 320 px, light and dark, and with text of 200 %', {
  timeout: 600_000,
}, () => {
  test('axe finds nothing, and nothing overflows sideways, when nobody is signed in', async () => {
    expect(await faultsOfAll(ANYBODYS, () => pages.open())).toEqual({})
    pages.expectQuiet()
  })

  test('nor when an administrator is', async () => {
    const signedIn = async () => {
      const page = await pages.open()
      await pages.signIn(page)
      return page
    }
    const page = await signedIn()
    await page.goto('/admin/people?q=Hubert')
    const long = (await page.locator('a.who').first().getAttribute('href'))!
    await page.goto('/admin/people?locked=true')
    const locked = (await page.locator('a.who').first().getAttribute('href'))!
    await page.goto('/admin/apps')
    const app = (await page.locator('.row .title a').first().getAttribute('href'))!
    const hook = await addWebhook()
    await page.goto('/admin/blocked')
    await page.getByLabel('Addresses, domains, networks').fill(BLOCKED.join('\n'))
    await press(page, 'Block')
    await page.getByText('throwaway.example', { exact: true }).waitFor()
    await page.context().close()
    const all = [...SIGNED_IN, long, locked, app, hook, `${hook}?lang=de`]
    expect(await faultsOfAll(all, signedIn)).toEqual({})
    pages.expectQuiet()
  })
})
