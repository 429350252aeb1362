import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { heading, openPages, PASSWORD, press, violationsOn } from '../support/browser.ts'

/** `oidc-provider`, in its own process, as `npm run dev -- --demo` starts it. It proves addresses of fjord.example. */
const pages = openPages()
const newAddress = (domain = 'fjord.example') => `${crypto.randomUUID()}@${domain}`
const open = (options = {}) => pages.open(options, [pages.provider()])

/** Goes to the provider, tells it who one is, and comes back. */
async function continueAs(page: Page, email: string, name = 'Grace Hopper') {
  await page.getByRole('link', { name: 'Continue with Nordlys' }).click()
  await page.waitForURL(`${pages.provider()}/**`)
  await page.getByLabel('Your name').fill(name)
  await page.getByLabel('Your address').fill(email)
  await press(page, 'Sign in at Nordlys')
  await page.waitForURL(`${pages.origin()}/**`)
}
/** Deletes all cookies, like a browser that was never here. */
const forget = async (page: Page) => {
  await page.context().clearCookies()
  await page.goto('/signin')
}
const pathOf = (page: Page) => new URL(page.url()).pathname

async function signUp(page: Page, email: string) {
  await page.goto('/signup')
  await page.getByLabel('Name').fill('Mallory')
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Create account')
  await page.waitForURL((url) => url.pathname !== '/signup')
}

test.each([
  ['with', true],
  ['without', false],
])(
  'OA1: %s JavaScript, a user signs up by a provider, after a page of ours, and signs in by it',
  async (_, javaScriptEnabled) => {
    const page = await open({ javaScriptEnabled })
    const email = newAddress()
    await page.goto('/signup')
    await continueAs(page, email)
    expect([pathOf(page), await heading(page)]).toEqual(['/signin/with/nordlys/join', 'Create your account'])
    // The address and the name are the provider's, from its userinfo endpoint.
    expect(await page.locator('main').textContent()).toContain(email)
    expect(await page.getByLabel('Name').inputValue()).toBe('Grace Hopper')
    if (javaScriptEnabled) expect(await violationsOn(page)).toEqual([])
    await press(page, 'Create account')
    await page.waitForURL(/\/account/)
    await forget(page)
    await continueAs(page, email)
    expect(pathOf(page)).toBe('/account')
    await page.goto('/account/security')
    expect(await page.locator('#identities').textContent()).toContain(email)
    await page.getByText('Disconnect…').click()
    await press(page, 'Disconnect Nordlys')
    // Their mailbox can still sign them in.
    await page.waitForURL(/done=disconnected/)
    if (javaScriptEnabled) expect(await violationsOn(page)).toEqual([])
    await page.context().close()
    pages.expectQuiet()
  },
)

test('OA1: a user connects a provider to an account with a password, signs in with it, and removes it', async () => {
  const page = await open()
  const email = newAddress('browser.test')
  await signUp(page, email)
  await page.goto(/^http\S+$/m.exec(await pages.mailTo(email, /^Confirm your e-mail/))![0])
  await press(page, 'Confirm address')
  await page.getByText('Your address is confirmed').first().waitFor()
  await page.goto('/account/security')
  await press(page, 'Connect Nordlys')
  await page.waitForURL(`${pages.provider()}/**`)
  const there = newAddress('elsewhere.test')
  await page.getByLabel('Your name').fill('Grace Hopper')
  await page.getByLabel('Your address').fill(there)
  await press(page, 'Sign in at Nordlys')
  await page.waitForURL(/\/account\/security\?done=connected/)
  expect(await page.locator('#identities').textContent()).toContain(there)
  await pages.mailTo(email, /provider was connected/i)
  await forget(page)
  await continueAs(page, there)
  expect(pathOf(page)).toBe('/account')
  await page.goto('/account/security')
  await page.getByText('Disconnect…').click()
  await press(page, 'Disconnect Nordlys')
  await page.waitForURL(/done=disconnected/)
  await pages.mailTo(email, /was disconnected/i)
  // It no longer signs anybody in: the address there is not proved, and belongs to nobody.
  await forget(page)
  await continueAs(page, there)
  expect(pathOf(page)).toBe('/signin/code')
  await page.context().close()
  pages.expectQuiet()
})

test('OA3: somebody who registered an address before its owner gets nothing of the account that the provider proves', async () => {
  const email = newAddress()
  const [mallory, owner] = [await open(), await open()]
  await signUp(mallory, email)
  await mallory.goto('/signin')
  await mallory.getByLabel('Email').fill(email)
  await mallory.getByLabel('Password').fill(PASSWORD)
  await press(mallory, 'Sign in')
  await mallory.waitForURL(/\/account/)
  await owner.goto('/signin')
  await continueAs(owner, email, 'Ada')
  expect(pathOf(owner)).toBe('/account')
  await mallory.goto('/account')
  expect(pathOf(mallory)).toBe('/signin')
  expect((await pages.call('POST', '/v1/auth/login', { email, password: PASSWORD })).status).toBe(401)
  await owner.reload()
  expect(pathOf(owner)).toBe('/account')
  for (const page of [mallory, owner]) await page.context().close()
  pages.expectQuiet()
})

test('OA6: somebody who refuses at the provider is told so, and can go back', async () => {
  const page = await open()
  await page.goto('/signin')
  await page.getByRole('link', { name: 'Continue with Nordlys' }).click()
  await page.waitForURL(`${pages.provider()}/**`)
  await press(page, 'Not now')
  await page.getByText('Nordlys did not let you go on').first().waitFor()
  await page.getByRole('link', { name: 'Back to sign in' }).click()
  expect(pathOf(page)).toBe('/signin')
  await page.context().close()
  pages.expectQuiet()
})
