import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { devtoolsOf, heading, openPages, PASSWORD, press, violationsOn } from '../support/browser.ts'
import { codeOf } from '../support/factors.ts'
import { codeIn } from '../support/mails.ts'

const pages = openPages([])

/** Chromium's virtual authenticator: whenever it is asked, somebody touches it. */
async function addAuthenticator(page: Page) {
  const cdp = await devtoolsOf(page)
  await cdp.send('WebAuthn.enable', {})
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  type Credential = Awaited<ReturnType<typeof kept>>[number]
  const kept = async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials
  return {
    kept,
    forget: ({ credentialId }: Credential) =>
      cdp.send('WebAuthn.removeCredential', { authenticatorId, credentialId }),
    keep: (credential: Credential) => cdp.send('WebAuthn.addCredential', { authenticatorId, credential }),
  }
}

/** Signs somebody up through the pages, and confirms the address with the mailed link. */
async function signUp(page: Page): Promise<string> {
  const email = `${crypto.randomUUID()}@browser.test`
  await page.goto('/signup')
  await page.getByLabel('Name').fill('Grace Hopper')
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Create account')
  await page.waitForURL((url) => url.pathname !== '/signup')
  await page.goto(/^http\S+$/m.exec(await pages.mailTo(email, /^Confirm your e-mail/))![0])
  await press(page, 'Confirm address')
  await page.getByText('Your address is confirmed').first().waitFor()
  await page.goto('/account/security')
  expect(await heading(page)).toBe('Security')
  return email
}

const fillMailedCode = async (page: Page, email: string) =>
  page.getByLabel('Code from your mail').fill(codeIn({ text: await pages.mailTo(email, /^Your code for/) }))

/** The ten codes from the page that shows them once. */
async function recoveryCodesOn(page: Page): Promise<string[]> {
  await page.getByRole('heading', { name: 'Your recovery codes' }).waitFor()
  const codes = await page.locator('.codes code').allInnerTexts()
  expect(new Set(codes).size).toBe(10)
  return codes
}

async function signOut(page: Page) {
  await press(page, 'Sign out')
  await page.waitForURL(/signin/)
}

async function sendPassword(page: Page, email: string) {
  await page.goto('/signin')
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign in')
  await page.waitForURL(/\/signin\/factor/)
}

const expectFine = async (page: Page) =>
  expect([page.url(), await violationsOn(page)]).toEqual([page.url(), []])

/** Does not offer passkeys in the address field: the button must be pressed. */
const withoutAutofill = (page: Page) =>
  page.addInitScript('PublicKeyCredential.isConditionalMediationAvailable = async () => false')

test('PK1: a passkey is added with a mailed code, signs in by itself and after the password, and no longer works once removed', async () => {
  const page = await pages.open()
  await withoutAutofill(page)
  const device = await addAuthenticator(page)
  const email = await signUp(page)
  await press(page, 'Add a passkey')
  await page.getByLabel('Name').fill('Laptop')
  await expectFine(page)
  await fillMailedCode(page, email)
  await press(page, 'Add a passkey')
  await recoveryCodesOn(page)
  await expectFine(page)
  await page.getByText('I have saved these codes').click()
  await page.getByText('Laptop').first().waitFor()
  expect(await device.kept()).toHaveLength(1)
  await expectFine(page)

  await signOut(page)
  await press(page, 'Use a passkey')
  await page.waitForURL(/\/account/)
  // No link can make a device forget the passkey that it has just used.
  await page.goto('/signin?done=passkey&tried=x')
  await page.goto('/account')
  expect(await device.kept()).toHaveLength(1)
  // Another passkey of this account was removed elsewhere. It is forgotten when one signs in.
  const [mine] = await device.kept()
  await device.forget(mine!)
  await device.keep({ ...mine!, credentialId: btoa('removed elsewhere') })
  await page.goto('/account')
  await expect.poll(device.kept).toEqual([])
  await device.keep(mine!)

  await signOut(page)
  await sendPassword(page, email)
  expect(await heading(page)).toBe('Enter your code')
  await expectFine(page)
  await press(page, 'Use a passkey')
  await page.waitForURL(/\/account/)

  await page.goto('/account/security')
  const [credential] = await device.kept()
  await page.getByText('Remove…').first().click()
  await press(page, 'Remove it')
  await page.waitForURL(/done=removed/)
  await page.getByText('You have none yet.').waitFor()
  // The device is told, so that it no longer offers the passkey.
  await expect.poll(device.kept).toEqual([])

  // A device that was not told learns it when the passkey is tried.
  await signOut(page)
  await device.keep(credential!)
  await press(page, 'Use a passkey')
  await page.getByText('That passkey did not work.').waitFor()
  await expectFine(page)
  await expect.poll(device.kept).toEqual([])
  await page.context().close()
  pages.expectQuiet()
})

test('PK1: a passkey that the browser offers in the address field signs in without pressing a button', async () => {
  const page = await pages.open()
  await addAuthenticator(page)
  const email = await signUp(page)
  await press(page, 'Add a passkey')
  await fillMailedCode(page, email)
  await press(page, 'Add a passkey')
  await recoveryCodesOn(page)
  await page.goto('/account/security')
  await signOut(page)
  await page.waitForURL(/\/account/)
  await page.context().close()
  pages.expectQuiet()
})

test('MF5, AC3: an app is set up by the key that is shown, and its codes and a recovery code follow the password', async () => {
  const page = await pages.open()
  const email = await signUp(page)
  await press(page, 'Set up')
  const key = await page.locator('code.copy').first().textContent()
  const seed = decodeBase32IgnorePadding(key!)
  await expectFine(page)
  await page.getByLabel('Code from your app').fill('000000')
  await fillMailedCode(page, email)
  await press(page, 'Turn on')
  await page.getByText('not right').first().waitFor()
  await expectFine(page)
  await page.getByLabel('Code from your app').fill(codeOf(seed, -1))
  await fillMailedCode(page, email)
  await press(page, 'Turn on')
  const [recoveryCode] = await recoveryCodesOn(page)
  await page.getByText('I have saved these codes').click()
  await page.getByText('On since').waitFor()
  await expectFine(page)

  await signOut(page)
  await sendPassword(page, email)
  await expectFine(page)
  await page.getByLabel('Code from your app').fill(codeOf(seed))
  await press(page, 'Continue')
  await page.waitForURL(/\/account/)
  await signOut(page)

  const sendRecoveryCode = async () => {
    await sendPassword(page, email)
    await page.getByText('Use a recovery code', { exact: true }).click()
    await page.getByLabel('Recovery code').fill(recoveryCode!)
    await page.keyboard.press('Enter')
  }
  await sendRecoveryCode()
  await page.waitForURL(/\/account/)
  await signOut(page)
  // Each can be used once.
  await sendRecoveryCode()
  await page.getByText('is not right, or was used already').waitFor()
  expect(page.url()).toMatch(/signin\/factor/)
  await expectFine(page)
  await page.context().close()
  pages.expectQuiet()
})
