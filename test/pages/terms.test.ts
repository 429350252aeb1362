import { expect, test } from 'vitest'
import { linkIn, openApi, PASSWORD } from '../support/api.ts'
import { openJar, SESSION } from '../support/jar.ts'
import { newPerson } from '../support/requests.ts'

const URLS = { TERMS_URL: 'https://fjord.test/terms', PRIVACY_URL: 'https://fjord.test/privacy' }
const APP = 'https://app.fjord.test/in?from=roster'
const SETTINGS = { ...URLS, APP_URLS: APP, EMAIL_VERIFICATION: 'optional' }
const api = openApi({ ...SETTINGS, TERMS_VERSION: '2' })
/** The same deployment with other terms. */
const before = openApi({ ...SETTINGS, TERMS_VERSION: '1' })
const plain = openApi()

const acceptedBy = (email: string) =>
  api.sql('SELECT terms_version, terms_accepted_at FROM users WHERE email = ?', [email])

test('Signing up on the page needs consent to the terms, and records which version, and when', async () => {
  const jar = openJar(api)
  const eve = newPerson()
  const page = await jar.open('/signup')
  expect(page.text).toMatch(/I agree to the <a href="https:\/\/fjord.test\/terms"[^>]*>terms<\/a>/)
  expect(page.text).toMatch(/<a href="https:\/\/fjord.test\/privacy"[^>]*>privacy notice<\/a>/)
  for (const fields of [{}, { terms_version: '1' }]) {
    const refused = await jar.submit('/signup', '/signup', { ...eve, ...fields })
    expect([
      refused.status,
      refused.text.includes('Agree to go on'),
      refused.text.includes(eve.name),
    ]).toEqual([422, true, true])
    expect(await acceptedBy(eve.email)).toEqual([])
  }
  const done = await jar.submit('/signup', '/signup', { ...eve, terms_version: '2' })
  expect([done.status, done.to]).toEqual([303, '/account'])
  expect(await acceptedBy(eve.email)).toEqual([{ terms_version: '2', terms_accepted_at: expect.any(Number) }])
  expect((await jar.open('/account')).status).toBe(200)
})

test('An API sign-up accepts only the present terms_version; without it the pages ask; a login is never refused', async () => {
  const [eve, bob] = [newPerson(), newPerson()]
  const refused = await api.send('POST', '/v1/auth/signup', { body: { ...eve, terms_version: '1' } })
  expect([refused.status, refused.body.errors]).toEqual([
    422,
    [expect.objectContaining({ pointer: '/terms_version', code: 'terms_not_accepted' })],
  ])
  expect(await acceptedBy(eve.email)).toEqual([])
  await api.send('POST', '/v1/auth/signup', { body: { ...eve, terms_version: '2' } })
  expect(await acceptedBy(eve.email)).toMatchObject([{ terms_version: '2' }])
  expect((await api.send('POST', '/v1/auth/signup', { body: bob })).status).toBe(201)
  expect(await acceptedBy(bob.email)).toEqual([{ terms_version: null, terms_accepted_at: null }])
  const login = { email: bob.email, password: bob.password }
  expect((await api.send('POST', '/v1/auth/login', { body: login })).status).toBe(200)
  const elsewhere = { ...newPerson(), terms_version: '2' }
  expect((await plain.send('POST', '/v1/auth/signup', { body: elsewhere })).status).toBe(422)
})

test('Changed terms are shown at the next sign-in, before any other page, and once', async () => {
  const eve = newPerson()
  await before.send('POST', '/v1/auth/signup', { body: { ...eve, terms_version: '1' } })
  const jar = openJar(api)
  expect((await jar.signIn(eve.email)).to).toBe('/account')
  const led = await jar.open('/account?done=saved')
  expect([led.status, led.to]).toEqual([303, '/terms?to=%2Faccount%3Fdone%3Dsaved'])
  expect((await jar.open(led.to!)).text).toContain('The terms have changed')
  const refused = await jar.submit(led.to!, '/terms', { to: '/account/sessions' })
  expect([refused.status, refused.text.includes('Agree to go on')]).toEqual([422, true])
  expect(await acceptedBy(eve.email)).toMatchObject([{ terms_version: '1' }])
  const done = await jar.submit(led.to!, '/terms', { to: '/account/sessions', terms_version: '2' })
  expect([done.status, done.to]).toEqual([303, '/account/sessions'])
  expect(await acceptedBy(eve.email)).toMatchObject([{ terms_version: '2' }])
  expect((await jar.open('/account/sessions')).status).toBe(200)
  expect((await jar.open('/account/activity')).text).toContain('agreed to the terms')
  expect((await jar.open('/terms')).to).toBe('/account')
})

test('On the way to an app the terms come first; until then one can still sign out, and use the API', async () => {
  const ada = await api.person()
  const jar = openJar(api)
  const page = `/signin?${new URLSearchParams({ redirect_to: APP })}`
  const [, target] = /name="target" value="([^"]+)"/.exec((await jar.open(page)).text)!
  const { to } = await jar.submit(page, '/signin', { email: ada.email, password: PASSWORD, target: target! })
  expect(to).toMatch(/^\/terms\?target=/)
  const terms = await jar.open(to!)
  expect(terms.headers.get('content-security-policy')).toContain(`form-action 'self' ${new URL(APP).origin}`)
  expect((await jar.open('/v1/users/me')).status).toBe(200)
  const done = await jar.submit(to!, '/terms', { target: target!, terms_version: '2' })
  expect([done.status, done.to]).toEqual([303, APP])
  expect((await jar.open(to!)).to).toBe(APP)
  const bob = openJar(api)
  await bob.signIn((await api.person()).email)
  expect((await bob.submit('/terms', '/signout')).to).toBe('/signin?done=signed_out')
  expect(bob.jar.has(SESSION)).toBe(false)
})

test('Accepting an invitation includes the terms', async () => {
  const admin = await api.quickActor({ role: 'admin', name: 'Ingrid', email_verified_at: 1 })
  const { email } = newPerson()
  await api.send('POST', '/v1/invitations', { token: admin.token, body: { email, name: 'Ada' } })
  const { url, token } = linkIn((await api.mailsTo(email))[0]!)
  const jar = openJar(api)
  const page = url.pathname + url.search
  const accept = (more = {}) =>
    jar.submit(page, url.pathname, { token, name: 'Ada', password: PASSWORD, ...more })
  expect((await jar.open(page)).text).toContain('name="terms_version" value="2"')
  const refused = await accept()
  expect([refused.status, refused.text.includes('Agree to go on'), await acceptedBy(email)]).toEqual([
    422,
    true,
    [],
  ])
  expect((await accept({ terms_version: '2' })).status).toBe(303)
  expect(await acceptedBy(email)).toMatchObject([{ terms_version: '2' }])
})

test('The destination is kept through sign-up and confirmation, sealed', async () => {
  const { TERMS_URL: _, PRIVACY_URL: __, ...settings } = SETTINGS
  const app = openApi({ ...settings, EMAIL_VERIFICATION: 'required' })
  const jar = openJar(app)
  const page = `/signin?${new URLSearchParams({ redirect_to: APP })}`
  const [, link] = /href="(\/signup\?target=[^"]+)"/.exec((await jar.open(page)).text)!
  const target = new URLSearchParams(link!.split('?')[1]).get('target')!
  expect(target).not.toContain('fjord')
  const eve = newPerson()
  await jar.submit(link!, '/signup', { ...eve, target })
  const mail = linkIn((await app.mailsTo(eve.email))[0]!)
  const confirmed = await jar.submit(mail.url.pathname + mail.url.search, mail.url.pathname, {
    token: mail.token,
  })
  expect(confirmed.to).toBe('/signin?done=confirmed')
  const [, carried] = /name="target" value="([^"]+)"/.exec((await jar.open(confirmed.to!)).text)!
  expect((await jar.signIn(eve.email, { target: carried! })).to).toBe(APP)
  const forged = await openJar(app).submit('/signup', '/signup', {
    ...newPerson(),
    target: 'https://evil.test',
  })
  expect(forged.to).not.toContain('evil')
})
