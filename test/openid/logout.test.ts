import { generateKeyPair, SignJWT } from 'jose'
import type * as oauth from 'oauth4webapi'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { sidOf, signIdToken } from '../../src/oauth/id-tokens.ts'
import { linkIn, openApi } from '../support/api.ts'
import { openJar } from '../support/jar.ts'
import { lineOf } from '../support/log-lines.ts'
import { addApp } from '../support/oauth.ts'
import { openBrowser, signedIn } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authorize, type Browser, begin, discover, ISSUER, redeem } from './support.ts'

/** OpenID Connect RP-Initiated Logout 1.0, clause by clause. */

const AFTER = 'https://app.example/signed-out'
let api: ReturnType<typeof openApi>
let as: oauth.AuthorizationServer
let app: ClientWithSecret
let other: ClientWithSecret

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  as = await discover(api)
  const uris = { post_logout_redirect_uris: [AFTER, `${AFTER}?from=roster`, 'com.example.app:/out'] }
  app = await addApp(api, { first_party: true, scopes: ['openid', 'offline_access'], ...uris })
  other = await addApp(api, { name: 'Notes', post_logout_redirect_uris: ['https://notes.example/out'] })
})

/** Somebody who is signed in here, and at the app. */
async function open(scope = 'openid') {
  const ada = await api.person({ email_verified_at: Date.now(), password_hash: null })
  const browser = await openBrowser(api, ada)
  const begun = await begin(app, { scope })
  const { tokens } = await redeem(api, as, app, await authorize(browser, begun.search), begun)
  return { ada, browser, token: tokens.access_token, hint: tokens.id_token! }
}
const ask = async (browser: Browser, fields: Record<string, string>, method = 'GET') => {
  const answer = await browser(method, `/oauth/logout?${new URLSearchParams(fields)}`)
  return { ...answer, location: answer.headers.get('location') }
}
const isOpen = async (browser: Browser) => (await browser('GET', '/account')).status === 200
const userInfo = async (token: string) => (await api.send('GET', '/oauth/userinfo', { token })).status
const placeIn = (page: string) => /name="place" value="([^"]+)"/.exec(page)?.[1]

test('discovery says where', () => {
  expect(as.end_session_endpoint).toBe(`${ISSUER}/oauth/logout`)
})

describe('A user whom the hint names', () => {
  test('RV1: is signed out at once, here and at the app, and returns with state', async () => {
    const { ada, browser, token, hint } = await open()
    expect(await userInfo(token)).toBe(200)
    const answer = await ask(browser, {
      id_token_hint: hint,
      post_logout_redirect_uri: AFTER,
      state: 'a b&c=d',
    })
    expect([answer.status, answer.location]).toEqual([303, `${AFTER}?state=a+b%26c%3Dd`])
    expect(answer.headers.get('set-cookie')).toContain('__Host-roster=;')
    expect(await userInfo(token)).toBe(401)
    expect(await isOpen(browser)).toBe(false)
    const ended = await api.sql('SELECT revoked_reason FROM sessions WHERE user_id = ? ORDER BY id', [ada.id])
    expect(ended.map(({ revoked_reason }) => revoked_reason)).toEqual(['logged_out', 'parent_ended'])
  })

  test('goes to an address with a query, or to a page of ours if none is named', async () => {
    const one = await open()
    const fields = { id_token_hint: one.hint, state: 'x' }
    expect(
      (await ask(one.browser, { ...fields, post_logout_redirect_uri: `${AFTER}?from=roster` })).location,
    ).toBe(`${AFTER}?from=roster&state=x`)
    const two = await open()
    expect((await ask(two.browser, { id_token_hint: two.hint })).location).toBe('/signin?done=signed_out')
    expect(await isOpen(two.browser)).toBe(false)
  })

  test('is recognised by an expired hint, too', async () => {
    const ada = await api.person({ email_verified_at: Date.now(), password_hash: null })
    const { cookie, binding } = await signedIn(api, ada)
    const hint = await signIdToken(api.config(), Date.now() - 20 * 86_400_000, {
      algorithm: 'ES256',
      clientId: app.client_id,
      user: { id: ada.id, role: 'user' },
      parentId: binding,
      scopes: ['openid'],
      authTime: 1,
      amr: ['pwd'],
      accessToken: 'x',
    })
    const answer = await api.send('GET', `/oauth/logout?id_token_hint=${hint}`, { headers: { cookie } })
    expect(answer.headers.get('location')).toBe('/signin?done=signed_out')
    expect((await api.sql('SELECT revoked_reason FROM sessions WHERE id = ?', [binding]))[0]).toEqual({
      revoked_reason: 'logged_out',
    })
  })

  test('HD5: is signed out by GET, not by HEAD', async () => {
    const { browser, hint } = await open()
    expect((await ask(browser, { id_token_hint: hint }, 'HEAD')).status).toBe(200)
    expect(await isOpen(browser)).toBe(true)
  })

  test('keeps the app’s offline sessions', async () => {
    const { browser, token, hint } = await open('openid offline_access')
    expect((await ask(browser, { id_token_hint: hint })).status).toBe(303)
    expect([await isOpen(browser), await userInfo(token)]).toEqual([false, 200])
  })
})

test('Disowning a session by mail ends the offline sessions that it gave an app, and nothing else does', async () => {
  const ada = await api.person({ email_verified_at: 1, last_login_at: 1 })
  const opened = async () => {
    const jar = openJar(api)
    await jar.signIn(ada.email)
    const begun = await begin(app, { scope: 'openid offline_access' })
    const { to } = await jar.open(`/oauth/authorize?${begun.search}`)
    const { tokens } = await redeem(api, as, app, new URL(to!), begun)
    return tokens.access_token
  }
  const [mine, thiefs] = [await opened(), await opened()]
  const { token } = linkIn((await api.mailsTo(ada.email))[0]!)
  expect((await api.send('POST', '/v1/auth/disown_session', { body: { token } })).status).toBe(204)
  expect([await userInfo(mine), await userInfo(thiefs)]).toEqual([200, 401])
})

describe('A user who is not named is asked', () => {
  test.each([
    ['no hint', async () => ({ client_id: app.client_id })],
    ['nothing at all', async () => ({})],
    ['the hint of somebody else', async () => ({ id_token_hint: (await open()).hint })],
    [
      'a hint of another session of their own',
      async ({ id }: { id: string }) => {
        const again = await openBrowser(api, { id })
        const begun = await begin(app, { scope: 'openid' })
        const { tokens } = await redeem(api, as, app, await authorize(again, begun.search), begun)
        return { id_token_hint: tokens.id_token! }
      },
    ],
  ])('%s', async (_, fieldsOf) => {
    const { ada, browser, token } = await open()
    const fields = (await fieldsOf(ada)) as Record<string, string>
    const before = await dump(api)
    const page = await ask(browser, fields)
    expect([page.status, page.location]).toEqual([200, null])
    expect(page.text).toContain('Sign out?')
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    expect(await dump(api)).toEqual(before)
    expect([await isOpen(browser), await userInfo(token)]).toEqual([true, 200])
  })

  test('and goes on once they agree', async () => {
    const { browser, token } = await open()
    const page = await ask(browser, { client_id: app.client_id, post_logout_redirect_uri: AFTER, state: 'x' })
    expect(page.text).toContain('Wiki asks you to sign out.')
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://app.example")
    const answer = await browser('POST', '/signout', { place: placeIn(page.text)! })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, `${AFTER}?state=x`])
    expect([await isOpen(browser), await userInfo(token)]).toEqual([false, 401])
  })

  test('HD2: and no page of another site can agree for them', async () => {
    const { browser } = await open()
    const page = await ask(browser, { client_id: app.client_id, post_logout_redirect_uri: AFTER })
    const answer = await browser('POST', '/signout', { place: placeIn(page.text)!, form_token: 'x' })
    expect(answer.status).toBe(403)
    expect(await isOpen(browser)).toBe(true)
  })

  test('in the language that the app asks for', async () => {
    const { browser } = await open()
    expect((await ask(browser, { ui_locales: 'fr de' })).text).toContain('Abmelden?')
  })
})

test('If nobody is signed in, it just goes on', async () => {
  const browser = await openBrowser(api)
  const before = await dump(api)
  const fields = { client_id: app.client_id, post_logout_redirect_uri: 'com.example.app:/out', state: 'x' }
  expect((await ask(browser, fields)).location).toBe('com.example.app:/out?state=x')
  expect((await ask(browser, {})).location).toBe('/signin?done=signed_out')
  expect(await dump(api)).toEqual(before)
})

describe('4.11: there is no open redirect, and nothing ends', () => {
  const registered = 'https://app.example/signed-out'
  test.each<[string, Record<string, string>]>([
    ['another host', { post_logout_redirect_uri: 'https://evil.test/' }],
    ['another path', { post_logout_redirect_uri: `${registered}/` }],
    ['another query', { post_logout_redirect_uri: `${registered}?x=1` }],
    ['a fragment', { post_logout_redirect_uri: `${registered}#x` }],
    ['another case', { post_logout_redirect_uri: 'https://app.example/Signed-out' }],
    ['the host as a name', { post_logout_redirect_uri: 'https://app.example@evil.test/signed-out' }],
    ['a backslash', { post_logout_redirect_uri: 'https://app.example\\@evil.test/signed-out' }],
    ['no scheme', { post_logout_redirect_uri: '//app.example/signed-out' }],
    ['a script', { post_logout_redirect_uri: 'javascript:alert(1)' }],
    ['a redirect URI of the app', { post_logout_redirect_uri: 'https://app.example/callback' }],
    ['an address of another app', { post_logout_redirect_uri: 'https://notes.example/out' }],
    ['an address, and no app', { client_id: '', id_token_hint: '', post_logout_redirect_uri: registered }],
    ['an app that is none', { client_id: crypto.randomUUID(), id_token_hint: '' }],
    ['another app than the hint', { client_id: 'other' }],
    ['too long a state', { state: 'x'.repeat(2001) }],
    ['too much', { logout_hint: 'x'.repeat(9000) }],
  ])('OA4: %s', async (_, given) => {
    const { browser, hint } = await open()
    const fields = { client_id: app.client_id, id_token_hint: hint, ...given }
    if (fields.client_id === 'other') fields.client_id = other.client_id
    const before = await dump(api)
    const { status, location } = await ask(browser, fields)
    expect([status, location]).toEqual([400, null])
    expect(await dump(api)).toEqual(before)
    expect(await isOpen(browser)).toBe(true)
  })

  test('the page tells the app’s developers what is wrong, and the log which parameter it is', async () => {
    const { browser, hint } = await open()
    for (const [fields, said, reason] of [
      [{ id_token_hint: 'x' }, 'id_token_hint is not an ID token from here.', 'param_id_token_hint'],
      [
        { id_token_hint: hint, post_logout_redirect_uri: 'https://evil.test/' },
        'post_logout_redirect_uri is not registered for this app.',
        'param_post_logout_redirect_uri',
      ],
      [{ client_id: crypto.randomUUID() }, 'There is no such app.', 'unknown'],
    ] as [Record<string, string>, string, string][]) {
      const { status, text, headers } = await ask(browser, fields)
      expect([status, text.includes(said)]).toEqual([400, true])
      const { code, reason: logged } = JSON.parse(lineOf(headers)!)
      expect([code, logged]).toEqual(['bad_logout_request', reason])
    }
  })

  test('a parameter that is repeated', async () => {
    const { browser, hint } = await open()
    const twice = `id_token_hint=${hint}&state=a&state=b`
    expect((await browser('GET', `/oauth/logout?${twice}`)).status).toBe(400)
    expect(await isOpen(browser)).toBe(true)
  })

  test('a place that we did not seal leads nowhere', async () => {
    for (const place of ['https://evil.test/', 'x.y', `${'x'.repeat(11)}.${'y'.repeat(60)}`]) {
      const { browser } = await open()
      const answer = await browser('POST', '/signout', { place })
      expect(answer.headers.get('location')).toBe('/signin?done=signed_out')
    }
  })
})

describe('A forged hint is an error page', () => {
  const forge = async (
    claims: object,
    {
      key,
      alg = 'ES256',
      typ = 'JWT',
      kid,
    }: { key: CryptoKey | Uint8Array; alg?: string; typ?: string; kid?: string },
  ) => new SignJWT({ ...claims }).setProtectedHeader({ alg, typ, ...(kid && { kid }) }).sign(key)
  const kidOf = () => api.config().OPENID_KEYS!.signing.ES256.kid!

  test.each<
    [string, (named: { iss: string; sub: string; aud: string; sid: string }, hint: string) => unknown]
  >([
    [
      'another key',
      async (named) => forge(named, { key: (await generateKeyPair('ES256')).privateKey, kid: kidOf() }),
    ],
    ['no key of ours', async (named) => forge(named, { key: (await generateKeyPair('ES256')).privateKey })],
    [
      'no signature',
      (named) => `${btoa('{"alg":"none","typ":"JWT"}')}.${btoa(JSON.stringify(named))}.`.replaceAll('=', ''),
    ],
    [
      'a MAC by the public key',
      (named) =>
        forge(named, { key: new TextEncoder().encode(JSON.stringify(kidOf())), alg: 'HS256', kid: kidOf() }),
    ],
    ['a changed word', (_, hint) => hint.replace(/\.(.)/, (_all, first) => `.${first === 'e' ? 'f' : 'e'}`)],
    ['text', () => 'x'],
    ['too much', () => 'x'.repeat(5000)],
  ])('%s', async (_, forgeOf) => {
    const ada = await api.person({ email_verified_at: Date.now(), password_hash: null })
    const { cookie, binding } = await signedIn(api, ada)
    const named = { iss: ISSUER, sub: ada.id, aud: app.client_id, sid: sidOf(binding, app.client_id) }
    const id_token_hint = String(await forgeOf(named, (await open()).hint))
    const before = await dump(api)
    const fields = new URLSearchParams({ id_token_hint, post_logout_redirect_uri: AFTER })
    const headers = { cookie, accept: 'text/html' }
    for (const answer of [
      await api.send('GET', `/oauth/logout?${fields}`, { headers }),
      await api.send('POST', '/oauth/logout', { headers, raw: fields }),
    ]) {
      expect([answer.status, answer.headers.get('location')]).toEqual([400, null])
      expect(answer.headers.get('content-type')).toContain('text/html')
      expect(answer.text).toContain('Nothing was changed')
    }
    expect(await dump(api)).toEqual(before)
  })

  test('AT5: an access token is not accepted as a hint', async () => {
    const { browser, token } = await open()
    expect((await ask(browser, { id_token_hint: token })).status).toBe(400)
    expect(await isOpen(browser)).toBe(true)
  })
})

describe('By POST', () => {
  test('it continues with GET, with sealed values and without the hint', async () => {
    const { browser, hint, token } = await open()
    const fields = { id_token_hint: hint, post_logout_redirect_uri: AFTER, state: 'x' }
    // As a browser does for a page of another site: without the cookie.
    const before = await dump(api)
    const first = await api.send('POST', '/oauth/logout', { raw: new URLSearchParams(fields) })
    expect(first.status).toBe(303)
    expect(await dump(api)).toEqual(before)
    const location = first.headers.get('location')!
    expect(location).toMatch(/^\/oauth\/logout\?request=[\w.-]+$/)
    for (const value of Object.values(fields).slice(0, 2)) expect(location).not.toContain(value)
    const answer = await browser('GET', location)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, `${AFTER}?state=x`])
    expect(await userInfo(token)).toBe(401)
  })

  test('its redirect is checked as with GET', async () => {
    const { browser, hint } = await open()
    const fields = { id_token_hint: hint, post_logout_redirect_uri: 'https://evil.test/' }
    const { headers } = await browser('POST', '/oauth/logout', fields)
    const answer = await browser('GET', headers.get('location')!)
    expect([answer.status, answer.headers.get('location')]).toEqual([400, null])
    expect(await isOpen(browser)).toBe(true)
  })

  test('sealed values are valid for ten minutes, unchanged, and for this purpose only', async () => {
    const { browser, hint } = await open()
    const { headers } = await browser('POST', '/oauth/logout', { id_token_hint: hint })
    const location = headers.get('location')!
    const page = await ask(browser, { client_id: app.client_id, post_logout_redirect_uri: AFTER })
    for (const forged of [
      `${location.slice(0, -2)}${location.endsWith('AA') ? 'BB' : 'AA'}`,
      `/oauth/logout?request=${placeIn(page.text)}`,
      '/oauth/logout?request=x',
    ])
      expect((await browser('GET', forged)).status).toBe(400)
    vi.useFakeTimers({ now: Date.now() + 10 * 60_000 + 1, toFake: ['Date'] })
    try {
      expect((await browser('GET', location)).status).toBe(400)
    } finally {
      vi.useRealTimers()
    }
    expect(await isOpen(browser)).toBe(true)
  })
})
