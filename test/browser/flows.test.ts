import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { heading, openPages, PASSWORD, press } from '../support/browser.ts'
import { ADMIN } from '../support/stack.ts'

const pages = openPages()
const newAddress = () => `${crypto.randomUUID()}@browser.test`

async function addPerson(name: string) {
  const email = newAddress()
  const authorization = `Bearer ${await pages.logIn()}`
  const answer = await pages.call('POST', '/v1/users', { name, email, password: PASSWORD }, { authorization })
  expect(answer.status).toBe(201)
  return { id: answer.body.id as string, email, password: PASSWORD }
}

/** The focused element, by the name that a screen reader says. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(`(() => {
    const { activeElement: at } = document
    return (at.getAttribute('aria-label') ?? at.labels?.[0]?.innerText ?? at.innerText ?? at.value ?? '').trim()
  })()`)

/** Presses Tab until an element with this name has the focus. */
async function tabTo(page: Page, name: RegExp) {
  for (let presses = 0; presses < 90; presses++) {
    if (name.test(await focused(page))) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`The keyboard does not get to ${name} on ${page.url()}`)
}

async function typeInto(page: Page, name: RegExp, text: string) {
  await tabTo(page, name)
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.type(text)
}

async function enter(page: Page, name: RegExp) {
  await tabTo(page, name)
  await page.keyboard.press('Enter')
}

describe('AC1: the keyboard alone', () => {
  test('signs up, signs in, and changes the password', async () => {
    const page = await pages.open()
    const email = newAddress()
    await page.goto('/signup')
    expect(await heading(page)).toBe('Create your account')
    await typeInto(page, /^Name$/, 'Grace Hopper')
    await typeInto(page, /^Email$/, email)
    await typeInto(page, /^Password$/, PASSWORD)
    await enter(page, /^Create account$/)
    await page.waitForURL((url) => url.pathname !== '/signup')
    await page.context().clearCookies()
    await page.goto('/signin')
    await typeInto(page, /^Email$/, email)
    await typeInto(page, /^Password$/, PASSWORD)
    await enter(page, /^Sign in$/)
    await page.waitForURL(/\/account/)
    await page.goto('/account/security')
    await enter(page, /^Change password…$/)
    await typeInto(page, /^Current password$/, PASSWORD)
    await typeInto(page, /^New password$/, 'ten orange otters swim')
    await enter(page, /^Change password$/)
    await page.waitForURL(/done=changed/)
    // A screen reader first reads what happened.
    expect(await focused(page)).toMatch(/changed/i)
    await page.context().close()
    pages.expectQuiet()
  })

  test('disables a user', async () => {
    const { id } = await addPerson('Lena Lund')
    const page = await pages.open()
    await page.goto('/signin')
    await typeInto(page, /^Email$/, ADMIN.email)
    await typeInto(page, /^Password$/, ADMIN.password)
    await enter(page, /^Sign in$/)
    await page.waitForURL(/\/admin/)
    await page.goto(`/admin/people/${id}`)
    expect(await heading(page)).toBe('Lena Lund')
    await enter(page, /^Disable…$/)
    await typeInto(page, /^Reason$/, 'Left')
    await enter(page, /^Disable Lena Lund$/)
    await page.waitForURL(/done=disabled/)
    await page.context().close()
    pages.expectQuiet()
  })
})

describe.each([
  ['with', true],
  ['without', false],
])('%s JavaScript', (_, javaScriptEnabled) => {
  test('AC1: a user signs up, signs in, changes name and password, and signs out', async () => {
    const page = await pages.open({ javaScriptEnabled })
    const email = newAddress()
    await page.goto('/signup')
    await page.getByLabel('Name').fill('Grace')
    await page.getByLabel('Email').fill(email)
    await page.getByLabel('Password').fill(PASSWORD)
    await press(page, 'Create account')
    await page.waitForURL((url) => url.pathname !== '/signup')
    await page.context().clearCookies()
    await pages.signIn(page, { email, password: PASSWORD })
    await page.goto('/account')
    await page.getByLabel('Name').fill('Grace Hopper')
    await press(page, 'Save')
    await page.waitForURL(/done=saved/)
    expect(await page.getByLabel('Name').inputValue()).toBe('Grace Hopper')
    await page.goto('/account/security')
    await page.getByText('Change password…').click()
    await page.getByLabel('Current password').fill(PASSWORD)
    await page.getByLabel('New password').fill('ten orange otters swim')
    await press(page, 'Change password')
    await page.waitForURL(/done=changed/)
    if (javaScriptEnabled) {
      const kept = '[localStorage.length, sessionStorage.length, document.cookie]'
      expect(await page.evaluate(kept)).toEqual([0, 0, ''])
    }
    await press(page, 'Sign out')
    await page.waitForURL(/signin/)
    await page.goto('/account')
    expect(await heading(page)).toBe('Sign in')
    await page.context().close()
    pages.expectQuiet()
  })

  test('an administrator adds, changes, disables, enables, deletes, restores and erases a user', async () => {
    const page = await pages.open({ javaScriptEnabled })
    const email = newAddress()
    await pages.signIn(page)
    await page.goto('/admin/people/new')
    await page.getByLabel('Name').fill('Bo Ek')
    await page.getByLabel('Email').fill(email)
    await press(page, 'Add person')
    await page.waitForURL(/done=created/)
    await page.getByLabel('Name').fill('Bo Lund')
    await press(page, 'Save')
    await page.waitForURL(/done=saved/)
    expect(await heading(page)).toBe('Bo Lund')
    await page.getByText('Disable…').click()
    await page.getByLabel('Reason').fill('Left')
    await press(page, 'Disable Bo Lund')
    await page.waitForURL(/done=disabled/)
    await press(page, 'Enable')
    await page.waitForURL(/done=enabled/)
    const person = new URL(page.url()).pathname
    await page.getByText('Delete…').click()
    await press(page, 'Delete Bo Lund')
    await page.waitForURL(/done=deleted/)
    await page.goto(person)
    await press(page, 'Restore')
    await page.waitForURL(/done=restored/)
    await page.getByText('Erase…').click()
    await page.getByLabel(/^Type/).fill('somebody@else.test')
    await press(page, 'Erase Bo Lund')
    await page.getByText('That is not the address.').first().waitFor()
    await page.getByLabel(/^Type/).fill(email)
    await press(page, 'Erase Bo Lund')
    await page.waitForURL(/done=erased/)
    expect((await page.goto(person))?.status()).toBe(404)
    await page.context().close()
    pages.expectQuiet()
  })

  test('several are disabled at once with a result for each, and a pasted table is invited', async () => {
    const page = await pages.open({ javaScriptEnabled })
    const mark = `Mark${crypto.randomUUID().slice(0, 6)}`
    for (const name of ['One', 'Two']) await addPerson(`${mark} ${name}`)
    await pages.signIn(page)
    await page.goto(`/admin/people?q=${mark}`)
    for (const name of ['One', 'Two']) await page.getByLabel(`Select ${mark} ${name}`).check()
    await press(page, 'Disable')
    await page.getByLabel('Reason').fill('Left')
    await press(page, 'Disable 2 people')
    await page.getByText('2 done').waitFor()
    await page.goto('/admin/invitations')
    const [first, second] = [newAddress(), newAddress()]
    await page
      .getByLabel('Addresses')
      .fill(`${first}, Ada Lovelace\n"Hopper, ${mark}";${second};user\nnobody`)
    await press(page, 'Invite')
    await page.getByText('2 invitations are on their way, 1 was not sent').waitFor()
    expect(await page.getByText(`Hopper, ${mark}`).count()).toBe(1)
    await page.context().close()
    pages.expectQuiet()
  })
})

test('The list filters while typing, and Ctrl K goes to the search', async () => {
  const page = await pages.open()
  await pages.signIn(page)
  await page.goto('/admin/people')
  await page.keyboard.press('ControlOrMeta+K')
  await page.keyboard.type('Tomás')
  await page.waitForURL(/q=Tom/)
  await page.getByText('Tomás Ferreira').first().waitFor()
  expect(await page.locator('tbody tr').count()).toBe(1)
  expect(await focused(page)).toBe('Search by name or email')
  await page.context().close()
  pages.expectQuiet()
})
