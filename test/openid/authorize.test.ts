import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { seal } from '../../src/crypto/sealed.ts'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { openApi, PASSWORD } from '../support/api.ts'
import { lineOf } from '../support/log-lines.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { actionOf, authorize, begin, discover, ISSUER, redeem, shownBy } from './support.ts'

/** The results of requests, by the clauses of OpenID Connect Core section 3.1.2 and RFC 6749 section 4.1. */

let api: ReturnType<typeof openApi>
let app: ClientWithSecret

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  app = await addApp(api)
})

const somebody = (given: object = {}) =>
  api.person({ email_verified_at: Date.now(), password_hash: null, ...given })
const get = async (given: Record<string, string | undefined>, by?: { id: string }, of = app) => {
  const browser = await openBrowser(api, by)
  const { search } = await begin(of, given)
  const answer = await browser('GET', `/oauth/authorize?${search}`)
  const location = answer.headers.get('location')
  return { ...answer, location: location === null ? undefined : new URL(location, ISSUER), browser, search }
}
const errorOf = ({ location }: { location?: URL | undefined }) => location?.searchParams.get('error')

describe('A browser is only redirected to a known place', () => {
  test.each([
    ['no client', { client_id: undefined }],
    ['a client that is none', { client_id: crypto.randomUUID() }],
    ['no redirect_uri', { redirect_uri: undefined }],
    ['another path', { redirect_uri: `${REDIRECT}/x` }],
    ['a query', { redirect_uri: `${REDIRECT}?x=1` }],
    ['a fragment', { redirect_uri: `${REDIRECT}#x` }],
    ['another host', { redirect_uri: 'https://evil.test/callback' }],
    ['a subdomain', { redirect_uri: 'https://x.app.example/callback' }],
    ['the host as a name', { redirect_uri: 'https://app.example@evil.test/callback' }],
    ['another case', { redirect_uri: 'https://app.example/Callback' }],
    ['dots', { redirect_uri: 'https://app.example/x/../callback' }],
    ['a backslash', { redirect_uri: 'https://app.example\\@evil.test/callback' }],
    ['no scheme', { redirect_uri: '//app.example/callback' }],
    ['a script', { redirect_uri: 'javascript:alert(1)//app.example/callback' }],
    ['http', { redirect_uri: 'http://app.example/callback' }],
    ['another port', { redirect_uri: 'https://app.example:444/callback' }],
    ['too much', { state: 'x'.repeat(5000) }],
  ])('OA4: %s', async (_, given) => {
    const ada = await somebody()
    const before = await dump(api)
    const { status, headers } = await get(given, ada)
    expect([status, headers.get('location')]).toEqual([400, null])
    const { sessions: _after, ...after } = await dump(api)
    const { sessions: _before, ...as } = before
    expect(after).toEqual(as)
  })
})

describe('What is wrong goes back to the app, with state and iss', () => {
  test.each([
    ['invalid_request', { response_type: undefined }],
    ['unsupported_response_type', { response_type: 'token' }],
    ['unsupported_response_type', { response_type: 'code id_token' }],
    ['invalid_request', { response_mode: 'fragment' }],
    ['invalid_request', { code_challenge: undefined, code_challenge_method: undefined }],
    ['invalid_request', { code_challenge_method: 'plain' }],
    ['invalid_request', { code_challenge_method: undefined }],
    ['invalid_request', { code_challenge: 'short' }],
    ['invalid_request', { prompt: 'none login' }],
    ['invalid_request', { prompt: 'create' }],
    ['invalid_request', { max_age: '-1' }],
    ['invalid_target', { resource: 'https://other.example' }],
    ['invalid_target', { resource: `${ISSUER}.evil.test` }],
    ['invalid_scope', { scope: 'users:read' }],
    ['invalid_scope', { scope: undefined }],
    ['request_not_supported', { request: 'x' }],
    ['request_uri_not_supported', { request_uri: 'https://app.example/request' }],
    ['login_required', { prompt: 'none' }],
  ])('%s: %j', async (error, given) => {
    const { status, location, headers } = await get({ ...given, state: 'mine' })
    expect(status).toBe(303)
    expect(headers.get('location')).toMatch(new RegExp(`^${REDIRECT}\\?`))
    expect(Object.fromEntries(location!.searchParams)).toEqual({
      error,
      error_description: expect.any(String),
      state: 'mine',
      iss: ISSUER,
    })
  })

  test('and the log has its code, even if nobody is redirected with it', async () => {
    const logged = (headers: Headers) => {
      const { status, code, reason } = JSON.parse(lineOf(headers)!)
      return [status, code, reason]
    }
    expect(logged((await get({ scope: 'users:read' })).headers)).toEqual([303, 'invalid_scope', undefined])
    expect(logged((await get({ prompt: 'none' })).headers)).toEqual([303, 'login_required', undefined])
    const { headers } = await get({ redirect_uri: 'https://evil.test/callback' })
    expect(logged(headers)).toEqual([400, 'bad_authorize_request', 'param_redirect_uri'])
  })

  test('a parameter that is repeated', async () => {
    const browser = await openBrowser(api, await somebody())
    const { search } = await begin(app)
    const answer = await browser('GET', `/oauth/authorize?${search}&scope=openid`)
    expect(answer.headers.get('location')).toContain('error=invalid_request')
  })

  test('unknown parameters are ignored', async () => {
    const { status } = await get(
      { display: 'popup', claims: '{}', x: 'y', acr_values: '2' },
      await somebody(),
    )
    expect(status).toBe(200)
  })
})

describe('prompt and max_age', () => {
  test('none: a code if all is granted, and consent_required if not', async () => {
    const ada = await somebody()
    const asked = await get({ prompt: 'none' }, ada)
    expect(errorOf(asked)).toBe('consent_required')
    await authorize(asked.browser, (await begin(app)).search)
    const { search } = await begin(app, { prompt: 'none' })
    const answer = await asked.browser('GET', `/oauth/authorize?${search}`)
    expect(answer.headers.get('location')).toContain(`${REDIRECT}?code=`)
  })

  test('consent: asks again for what was granted', async () => {
    const ada = await somebody()
    const browser = await openBrowser(api, ada)
    await authorize(browser, (await begin(app)).search)
    const { search } = await begin(app, { prompt: 'consent' })
    expect((await browser('GET', `/oauth/authorize?${search}`)).status).toBe(200)
  })

  test.each([{ prompt: 'login' }, { max_age: '0' }])(
    'reauthentication after the request satisfies %j',
    async (given) => {
      const ada = await api.person({ email_verified_at: 1 })
      const browser = await openBrowser(api, ada)
      await api.sql('UPDATE sessions SET created_at = created_at - 60000 WHERE user_id = ?', [ada.id])
      const { search } = await begin(app, given)
      const sent = await browser('GET', `/oauth/authorize?${search}`)
      const location = new URL(sent.headers.get('location')!, ISSUER)
      expect([sent.status, location.pathname]).toEqual([303, '/signin/again'])
      const to = location.searchParams.get('to')!
      const again = await browser('GET', to)
      expect(again.headers.get('location')).toMatch(/^\/signin\/again/)
      const proved = await browser('POST', '/signin/again', { password: PASSWORD, to })
      expect(proved.headers.get('location')).toBe(to)
      const asked = await browser('GET', to)
      expect(asked.status).toBe(200)
      const answer = await browser('POST', actionOf(asked.text), {
        decision: 'allow',
        ...shownBy(asked.text),
      })
      expect(answer.headers.get('location')).toContain('code=')
    },
  )

  test('somebody who signs in as another user than the hint names returns to the app, and does not loop', async () => {
    const ada = await somebody()
    const begun = await begin(app)
    const { tokens } = await redeem(
      api,
      await discover(api),
      app,
      await authorize(await openBrowser(api, ada), begun.search),
      begun,
    )
    const bo = await openBrowser(api, await api.person({ email_verified_at: 1 }))
    await api.sql('UPDATE sessions SET created_at = created_at - 60000')
    const { search } = await begin(app, { id_token_hint: tokens.id_token!, state: 'mine' })
    const sent = await bo('GET', `/oauth/authorize?${search}`)
    const location = new URL(sent.headers.get('location')!, ISSUER)
    expect([sent.status, location.pathname]).toEqual([303, '/signin'])
    const to = location.searchParams.get('to')!
    expect((await bo('GET', to)).headers.get('location')).toMatch(/^\/signin\?/)
    await bo('POST', '/signin/again', { password: PASSWORD, to })
    const answer = new URL((await bo('GET', to)).headers.get('location')!, ISSUER)
    expect([answer.origin + answer.pathname, answer.searchParams.get('error')]).toEqual([
      REDIRECT,
      'login_required',
    ])
    expect(answer.searchParams.get('state')).toBe('mine')
  })

  test('an app’s own parameter with the name of our seal, however escaped, is not taken for it', async () => {
    const first = await addApp(api, { first_party: true })
    const browser = await openBrowser(api, await api.person({ email_verified_at: 1 }))
    await api.sql('UPDATE sessions SET created_at = created_at - 60000')
    const { search } = await begin(first, { prompt: 'login' })
    const sent = await browser('GET', `/oauth/authorize?%61sked=x&${search}`)
    const to = new URL(sent.headers.get('location')!, ISSUER).searchParams.get('to')!
    const proved = await browser('POST', '/signin/again', { password: PASSWORD, to })
    expect(proved.headers.get('location')).toBe(to)
    expect((await browser('GET', to)).headers.get('location')).toContain('code=')
  })

  test('the time of a request is sealed to it, so another request is asked again', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const browser = await openBrowser(api, ada)
    const first = await begin(app, { prompt: 'login' })
    await api.sql('UPDATE sessions SET created_at = created_at - 60000 WHERE user_id = ?', [ada.id])
    const sent = await browser('GET', `/oauth/authorize?${first.search}`)
    const to = new URL(sent.headers.get('location')!, ISSUER).searchParams.get('to')!
    const asked = new URLSearchParams(to.split('?')[1]).get('asked')!
    await browser('POST', '/signin/again', { password: PASSWORD, to })
    await api.sql('UPDATE sessions SET proved_at = proved_at - 5000 WHERE user_id = ?', [ada.id])
    const other = await begin(app, { prompt: 'login', asked })
    const answer = await browser('GET', `/oauth/authorize?${other.search}`)
    expect(answer.headers.get('location')).toMatch(/^\/signin\/again/)
  })
})

describe('The user', () => {
  test.each([
    [30, '/callback'],
    [61, '/signin/again'],
  ])('who was asked %i minutes ago, and proved a minute later, gets %s', async (minutes, path) => {
    const first = await addApp(api, { first_party: true })
    const browser = await openBrowser(api, await somebody())
    const at = Date.now() - minutes * 60_000
    await api.sql('UPDATE sessions SET created_at = ?', [at + 60_000])
    const { search } = await begin(first, { prompt: 'login' })
    const name = createHash('sha256').update(search).digest('base64url')
    const asked = seal(api.config().keys.oauth_asked, `asked.${name}.${at}.`)
    const { headers } = await browser('GET', `/oauth/authorize?${search}&asked=${asked}`)
    expect(new URL(headers.get('location')!, ISSUER).pathname).toBe(path)
  })

  test('signs in first, and returns to the question', async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { browser, location } = await get({ login_hint: ada.email, ui_locales: 'fr de' })
    expect(location?.pathname).toBe('/signin')
    const { to, login_hint, lang } = Object.fromEntries(location!.searchParams)
    expect([login_hint, lang]).toEqual([ada.email, 'de'])
    const page = await browser('GET', location!.pathname + location!.search)
    expect(page.text).toContain(`value="${ada.email}"`)
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://app.example;")
    expect(page.headers.get('cross-origin-opener-policy')).toBeNull()
    const signedIn = await browser('POST', '/signin', { email: ada.email, password: PASSWORD, to: to! })
    expect(signedIn.headers.get('location')).toBe(to)
  })

  test('is not redirected by the policy to a place that was not sealed', async () => {
    const browser = await openBrowser(api)
    const to = `/oauth/authorize?redirect_uri=https://evil.test/cb&client_id=${app.client_id}&asked=x`
    const page = await browser('GET', `/signin?${new URLSearchParams({ to })}`)
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self';")
  })

  test('with an unconfirmed address is offered the mail instead', async () => {
    const squatter = await somebody({ email_verified_at: null })
    const { status, text } = await get({}, squatter)
    expect([status, text.includes('Confirm your email first')]).toEqual([200, true])
    expect(errorOf(await get({ prompt: 'none' }, squatter))).toBe('interaction_required')
  })

  test('is refused if they may not use the app', async () => {
    const managers = await addApp(api, { allowed_roles: ['manager', 'admin'] })
    expect(errorOf(await get({}, await somebody(), managers))).toBe('access_denied')
    expect((await get({}, await somebody({ role: 'manager' }), managers)).status).toBe(200)
  })

  describe('Consent only covers what was shown', () => {
    const asks = 'openid users:read users:update'
    const question = async (scopes: string[], role = 'manager') => {
      const [app, ada] = [await addApp(api, { scopes }), await somebody({ role })]
      const { text, browser } = await get({ scope: asks }, ada, app)
      const say = (decision: string) => browser('POST', actionOf(text), { decision, ...shownBy(text) })
      const granted = () => api.sql('SELECT scopes FROM oauth_grants WHERE user_id = ?', [ada.id])
      return { app, ada, say, granted }
    }

    test('an app that meanwhile may ask for more asks again', async () => {
      const { app, say, granted } = await question(['openid', 'users:read'])
      const { token } = await api.quickActor({ role: 'admin' })
      const body = { scopes: asks.split(' ') }
      await api.send('PATCH', `/v1/oauth_clients/${app.client_id}`, { token, body })
      const again = await say('allow')
      expect([again.status, shownBy(again.text), await granted()]).toEqual([200, { shown: asks }, []])
    })

    test('one that may ask for less gets less', async () => {
      const { app, say, granted } = await question(asks.split(' '))
      await api.sql('UPDATE oauth_clients SET scopes = ? WHERE id = ?', ['["openid"]', app.client_id])
      expect((await say('allow')).headers.get('location')).toMatch(/\?code=/)
      expect(await granted()).toEqual([{ scopes: '["openid"]' }])
    })

    test('a refusal is a refusal, even if another page got consent', async () => {
      const { say } = await question(['openid'])
      expect((await say('allow')).headers.get('location')).toMatch(/\?code=/)
      expect((await say('deny')).headers.get('location')).toMatch(/\?error=access_denied/)
    })

    test('a user whose role has changed since they signed in can consent', async () => {
      const { ada, say, granted } = await question(['openid'], 'user')
      const { token } = await api.quickActor({ role: 'admin' })
      await api.send('PATCH', `/v1/users/${ada.id}`, { token, body: { role: 'manager' } })
      expect((await say('allow')).headers.get('location')).toMatch(/\?code=/)
      expect(await granted()).toEqual([{ scopes: '["openid"]' }])
    })
  })

  test('a refusal needs no reauthentication', async () => {
    const ada = await somebody()
    const browser = await openBrowser(api, ada)
    const location = await authorize(browser, (await begin(app)).search, 'deny')
    expect(location.searchParams.get('error')).toBe('access_denied')
    expect(await api.sql('SELECT 1 FROM oauth_grants WHERE user_id = ?', [ada.id])).toEqual([])
  })

  test('RFC 8252 8.6: at a loopback address everybody is asked each time, even for a first-party app', async () => {
    const native = await addApp(api, {
      type: 'public',
      first_party: true,
      redirect_uris: ['http://127.0.0.1/cb'],
    })
    const browser = await openBrowser(api, await somebody())
    const given = { redirect_uri: 'http://127.0.0.1:51234/cb' }
    const location = await authorize(browser, (await begin(native, given)).search)
    expect(location.href).toMatch(/^http:\/\/127\.0\.0\.1:51234\/cb\?code=/)
    const page = await browser('GET', `/oauth/authorize?${(await begin(native, given)).search}`)
    expect([page.status, page.headers.get('content-security-policy')]).toEqual([
      200,
      expect.stringContaining("form-action 'self' http://127.0.0.1:51234;"),
    ])
    const silent = await browser(
      'GET',
      `/oauth/authorize?${(await begin(native, { ...given, prompt: 'none' })).search}`,
    )
    expect(silent.headers.get('location')).toContain('error=interaction_required')
    // 7.3: any port, even the default one, which browsers leave out.
    const { search } = await begin(native, { redirect_uri: 'http://127.0.0.1:80/cb' })
    expect((await browser('GET', `/oauth/authorize?${search}`)).status).toBe(200)
  })
})

describe('A browser that a form sends to an app goes through a page of its own, where the form’s policy no longer applies', () => {
  const say = async (redirect_uri: string) => {
    const of = await addApp(api, { type: 'public', redirect_uris: [redirect_uri] })
    const browser = await openBrowser(api, await somebody())
    const { text } = await browser('GET', `/oauth/authorize?${(await begin(of, { redirect_uri })).search}`)
    const fields = { decision: 'allow', ...shownBy(text) }
    return browser('POST', actionOf(text), fields, { 'sec-fetch-mode': 'navigate' })
  }

  test('with a link in case it does not continue by itself', async () => {
    const { status, text, headers } = await say('https://app.example/cb')
    const [, to] = /^0; url=(https:\/\/app\.example\/cb\?code=.+)$/.exec(headers.get('refresh')!) ?? []
    expect([status, headers.get('location')]).toEqual([200, null])
    expect(headers.get('cross-origin-opener-policy')).toBeNull()
    expect(text).toContain(`href="${to!.replaceAll('&', '&amp;')}"`)
  })

  test('in ASCII, as a Refresh is read as Latin-1', async () => {
    const url = 'https://bücher.test/é?of=ä'
    const apps = openApi({ ...api.bindings, APP_URLS: url })
    const { email } = await apps.person({ email_verified_at: 1 })
    const browser = await openBrowser(apps)
    const { text } = await browser('GET', `/signin?${new URLSearchParams({ redirect_to: url })}`)
    const target = /name="target" value="([^"]+)"/.exec(text)![1]!
    const sent = await browser(
      'POST',
      '/signin',
      { email, password: PASSWORD, target },
      {
        'sec-fetch-mode': 'navigate',
      },
    )
    expect(sent.headers.get('refresh')).toBe('0; url=https://xn--bcher-kva.test/%C3%A9?of=%C3%A4')
  })

  test('but directly to an app on the device, as some browsers only open it after a tap', async () => {
    const { status, headers } = await say('com.example.notes:/cb')
    expect([status, headers.get('refresh')]).toEqual([303, null])
    expect(headers.get('location')).toMatch(/^com\.example\.notes:\/cb\?code=/)
  })
})

test('a POST is answered by 303 to the GET', async () => {
  const browser = await openBrowser(api, await somebody())
  const { search } = await begin(app)
  const answer = await browser('POST', '/oauth/authorize', Object.fromEntries(new URLSearchParams(search)))
  expect([answer.status, answer.headers.get('location')]).toEqual([
    303,
    expect.stringContaining('/oauth/authorize?'),
  ])
})

test('form_post: a page with a button, whose form goes to the app', async () => {
  const own = await addApp(api, { first_party: true })
  const { status, text, headers } = await get(
    { response_mode: 'form_post', state: '"><script>' },
    await somebody(),
    own,
  )
  expect(status).toBe(200)
  expect(text).toContain(`<form method="post" action="${REDIRECT}"`)
  expect(text).toMatch(/<input type="hidden" name="code" value="[^"]+"/)
  expect(text).not.toContain('"><script>')
  expect(headers.get('content-security-policy')).toContain("form-action 'self' https://app.example;")
})

test('without OPENID_KEYS there is no provider, and discovery says so', async () => {
  const off = openApi({ ...api.bindings, OPENID_KEYS: undefined })
  const { body } = await off.send('GET', '/.well-known/openid-configuration')
  expect(Object.keys(body).sort()).toEqual([
    'issuer',
    'jwks_uri',
    'response_types_supported',
    'service_documentation',
  ])
  for (const [method, path] of [
    ['GET', '/oauth/authorize'],
    ['POST', '/oauth/token'],
    ['GET', '/oauth/userinfo'],
  ] as const)
    expect((await off.send(method, path)).status).toBe(404)
})
