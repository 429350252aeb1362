import type { Page } from 'playwright-core'

/** A picture of a page: its path, and what is done there first. */
export interface Shot {
  name: string
  path: string
  /** The route of the page that is seen at last, if it is another. */
  shows?: string
  /** The user whose page it is, found through the search. */
  of?: string
  /** What is done on the page before the picture is taken. */
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

/** Signs in with the demonstration's provider, as somebody it believes to be that person. */
async function comeFrom(page: Page, name: string, email: string) {
  // The provider does not ask whoever was there before. Roster is at another name of this machine.
  await page.context().clearCookies({ domain: '127.0.0.1' })
  await page.getByRole('link', { name: 'Continue with Nordlys' }).click()
  await page.getByLabel('Your name').fill(name)
  await page.getByLabel('Your address').fill(email)
  await press(page, 'Sign in at Nordlys')
  await page.waitForURL(/localhost/)
}

/** An app asks whoever is signed in for consent. */
async function askFor(page: Page, app: { client_id: string; redirect_uri: string; scope: string }) {
  const pkce = { code_challenge: 'c'.repeat(43), code_challenge_method: 'S256' }
  await page.goto(`/oauth/authorize?${new URLSearchParams({ ...app, response_type: 'code', ...pkce })}`)
  await page.getByRole('button', { name: 'Allow' }).waitFor()
}

/** The address of the demonstration's provider, found by going there. */
async function providerOf(page: Page): Promise<string> {
  await page.context().clearCookies({ domain: '127.0.0.1' })
  await page.goto('/signin')
  await page.getByRole('link', { name: 'Continue with Nordlys' }).click()
  await page.waitForURL(/127\.0\.0\.1/)
  return new URL(page.url()).origin
}

/** Pictures without a session. */
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
  { name: 'code', path: '/signin/code' },
  {
    name: 'code-sent',
    path: '/signin/code',
    act: async (page) => {
      await page.getByLabel('Email').fill('ingrid.sordal@fjord.example')
      await press(page, 'Mail the code')
      await page.getByLabel('Code from the mail').waitFor()
    },
  },
  { name: 'provider', path: '/signin/with/nordlys', shows: '/signin/with/:provider' },
  {
    name: 'provider-join',
    path: '/signin',
    shows: '/signin/with/:provider/join',
    act: (page) => comeFrom(page, 'Grace Hopper', 'grace@fjord.example'),
  },
  {
    name: 'provider-known',
    path: '/signin',
    act: (page) => comeFrom(page, 'Tomás Ferreira', 'tomas.ferreira@fjord.example'),
  },
  {
    name: 'provider-confirms',
    path: '/signin',
    shows: '/signin/code',
    act: (page) => comeFrom(page, 'Somebody', 'somebody@elsewhere.example'),
  },
  { name: 'link-expired', path: '/links/verify_email', shows: '/links/:purpose' },
  { name: 'nothing-here', path: '/nothing-here' },
]

/** Pictures as an administrator. */
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
  {
    name: 'consent',
    path: '/admin/apps',
    shows: '/oauth/authorize',
    act: async (page) => {
      const app = await page.getByRole('link', { name: 'Field notes' }).first().getAttribute('href')
      const client_id = app!.split('/').at(-1)!
      await askFor(page, { client_id, redirect_uri: 'com.fjord.notes:/back', scope: 'openid profile email' })
    },
  },
  {
    name: 'consent-unknown',
    path: '/account/apps',
    shows: '/oauth/authorize',
    act: async (page) => {
      const client_id = `${await providerOf(page)}/scribe.json`
      await askFor(page, { client_id, redirect_uri: 'https://scribe.example/back', scope: 'openid email' })
    },
  },
  { name: 'sign-out', path: '/oauth/logout' },
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
  { name: 'import', path: '/admin/people/import' },
  {
    name: 'import-checked',
    path: '/admin/people/import',
    act: async (page) => {
      await page
        .getByLabel('Or the lines themselves')
        .fill('email,name,role\njoan@fjord.example,Joan Clarke,\nada@fjord.example,Ada,\nnobody,,manager')
      await press(page, 'Check')
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
  {
    name: 'blocked',
    path: '/admin/blocked',
    act: async (page) => {
      const entries = ['troll@mail.example', 'throwaway.example', '192.0.2.0/24', '2001:db8:7::/48']
      await page.getByLabel('Addresses, domains, networks').fill(entries.join('\n'))
      await press(page, 'Block')
      await page.getByText('throwaway.example', { exact: true }).waitFor()
    },
  },
  { name: 'webhooks', path: '/admin/webhooks' },
  { name: 'add-webhook', path: '/admin/webhooks/new' },
  {
    name: 'webhook',
    path: '/admin/webhooks/new',
    shows: '/admin/webhooks/:id',
    act: async (page) => {
      await page.getByLabel('Address', { exact: true }).fill('https://hooks.fjord.example/roster')
      await page.getByLabel('user.signed_up').check()
      await press(page, 'Add webhook')
      await page.locator('.actions a.primary').click()
      await page.locator('#secret').waitFor()
    },
  },
  { name: 'activity', path: '/admin/activity' },
  { name: 'activity-empty', path: '/admin/activity?action=user.purged' },
  { name: 'system', path: '/admin/system' },
]
