import { createServer, type ServerResponse } from 'node:http'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { listen, startProcess } from '../../scripts/local/process.ts'
import { heading, openPages, press } from '../support/browser.ts'
import { ADMIN } from '../support/stack.ts'

const pages = openPages()

test('An app signs somebody in with consent, refreshes, and signs out on both sides', async () => {
  const app = pages.example()
  const page = await pages.open({}, [app])
  await page.goto(app)
  await page.getByRole('link', { name: 'Sign in with Roster' }).click()
  await page.waitForURL(/\/signin\?/)
  await page.getByLabel('Email').fill(ADMIN.email)
  await page.getByLabel('Password').fill(ADMIN.password)
  await press(page, 'Sign in')
  await page.waitForURL(/\/oauth\/authorize/)
  expect(await heading(page)).toBe('Tally wants to use your account')
  await press(page, 'Allow')
  await page.waitForURL(`${app}/`)
  expect(await heading(page)).toBe('Hello, Ada Lovelace')

  const until = await page.locator('#until').textContent()
  await page.waitForTimeout(1100)
  await press(page, 'Refresh')
  await page.waitForFunction(`document.querySelector('#until').textContent > '${until}'`)

  await page.getByRole('link', { name: 'Sign out' }).click()
  await page.waitForURL(`${app}/`)
  expect(await heading(page)).toBe('Tally')
  await page.goto('/account')
  expect(new URL(page.url()).pathname).toBe('/signin')
  pages.expectQuiet()
})

test('An app may send people on to another origin, after signing in and out', async () => {
  /** An app whose server and pages are two origins. */
  const serve = async (answer: (response: ServerResponse) => void) => {
    const server = createServer((_, response) => answer(response))
    return { origin: `http://127.0.0.1:${await listen(server)}`, close: () => server.close() }
  }
  const home = await serve((response) =>
    response.setHeader('content-type', 'text/html').end('<link rel="icon" href="data:,"><h1>Home</h1>'),
  )
  const app = await serve((response) => response.writeHead(302, { location: home.origin }).end())
  try {
    const { body: client } = await pages.call(
      'POST',
      '/v1/oauth_clients',
      {
        name: 'Two origins',
        type: 'confidential',
        require_pkce: false,
        redirect_uris: [`${app.origin}/callback`],
        post_logout_redirect_uris: [`${app.origin}/bye`],
      },
      { authorization: `Bearer ${await pages.logIn()}` },
    )
    const page = await pages.open({}, [app.origin, home.origin])
    const asked = { response_type: 'code', client_id: client.client_id, scope: 'openid' }
    const authorize = new URLSearchParams({ ...asked, redirect_uri: `${app.origin}/callback` })
    await page.goto(`/oauth/authorize?${authorize}`)
    await page.getByLabel('Email').fill(ADMIN.email)
    await page.getByLabel('Password').fill(ADMIN.password)
    await press(page, 'Sign in')
    await page.waitForURL(/\/oauth\/authorize/)
    await press(page, 'Allow')
    await page.waitForURL(`${home.origin}/`)
    expect(await heading(page)).toBe('Home')
    // Going back leads to the question, not to a page that redirects again.
    await page.goBack()
    expect(new URL(page.url()).pathname).toBe('/oauth/authorize')
    const bye = { client_id: client.client_id, post_logout_redirect_uri: `${app.origin}/bye` }
    await page.goto(`/oauth/logout?${new URLSearchParams(bye)}`)
    await press(page, 'Sign out')
    await page.waitForURL(`${home.origin}/`)
    expect(await heading(page)).toBe('Home')
    pages.expectQuiet()
  } finally {
    app.close()
    home.close()
  }
})

test('Somebody who refuses is not signed in there, and may start again', async () => {
  const app = pages.example()
  const page = await pages.open({}, [app])
  await pages.signIn(page)
  await page.goto(`${app}/signin`)
  await press(page, 'Cancel')
  await page.waitForURL(new RegExp(`^${app}/callback`))
  expect(await heading(page)).toBe('You are not signed in')
  await page.goto(app)
  expect(await heading(page)).toBe('Tally')
  pages.expectQuiet()
})

test('A program on a computer signs somebody in through the browser, as the guide says', async () => {
  const token = await pages.logIn()
  const { body: client } = await pages.call(
    'POST',
    '/v1/oauth_clients',
    {
      name: 'Field notes',
      type: 'public',
      redirect_uris: ['http://127.0.0.1/callback'],
      scopes: ['openid', 'profile', 'email', 'offline_access'],
    },
    { authorization: `Bearer ${token}` },
  )
  const script = resolve(import.meta.dirname, '../../examples/native/sign-in.mjs')
  const program = startProcess(process.execPath, [script, pages.origin(), client.client_id])
  const lines: string[] = []
  const to = await new Promise<string>((found) => {
    program.onLine((line) => {
      lines.push(line)
      const [, url] = /^Open (http\S+)$/.exec(line) ?? []
      if (url) found(url)
    })
  })
  const back = new URL(new URL(to).searchParams.get('redirect_uri')!)
  const page = await pages.open({}, [back.origin])
  await pages.signIn(page)
  await page.goto(to)
  expect(await heading(page)).toBe('Field notes wants to use your account')
  await press(page, 'Allow')
  await page.getByText('You are signed in.').waitFor()
  expect([await program.exited, lines.at(-1)]).toEqual([0, 'Hello, Ada Lovelace'])
  // The program has ended, and a browser that asks its address for an icon may report an error.
  await page.context().close()
})
