import type { Page } from 'playwright-core'

/** A picture of a page: where it is, and what is done there first. */
export interface Shot {
  name: string
  path: string
  /** The route of the page that is seen at last, where it is another. */
  shows?: string
  /** Whose person's page it is: found by the search. */
  of?: string
  /** What is done on the page before its picture is taken. */
  act?: (page: Page) => Promise<unknown>
}

export const press = (page: Page, name: string) =>
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

/** Where nobody is signed in. */
export const SIGNED_OUT: Shot[] = [
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
  { name: 'signup-check', path: '/signup/check?email=ada@fjord.example' },
  { name: 'signup-resend', path: '/signup/resend' },
  { name: 'forgot', path: '/forgot' },
  { name: 'link-expired', path: '/links/verify_email', shows: '/links/:purpose' },
  { name: 'nothing-here', path: '/nothing-here' },
]

/** Where an administrator is. */
export const SIGNED_IN: Shot[] = [
  { name: 'profile', path: '/account' },
  { name: 'security', path: '/account/security', act: open('Change password') },
  { name: 'sessions', path: '/account/sessions' },
  { name: 'own-activity', path: '/account/activity' },
  { name: 'own-apps', path: '/account/apps' },
  { name: 'new-key', path: '/account/apps/keys/new' },
  {
    name: 'add-authenticator',
    path: '/account/security',
    act: (page) => press(page, 'Set up'),
  },
  { name: 'data', path: '/account/data', act: open('Delete…') },
  { name: 'device', path: '/device' },
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
    shows: '/admin/apps/:id',
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
