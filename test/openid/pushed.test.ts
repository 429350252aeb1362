import * as oauth from 'oauth4webapi'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { openApi, PASSWORD } from '../support/api.ts'
import { addApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { authOf, authorize, begin, discover, ISSUER, optionsOf, redeem } from './support.ts'

/** Pushed authorization requests (RFC 9126). */

let api: ReturnType<typeof openApi>
let as: oauth.AuthorizationServer
let app: ClientWithSecret

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  as = await discover(api)
  app = await addApp(api)
})

const somebody = () => api.person({ email_verified_at: Date.now() })
const basic = ({ client_id, client_secret }: ClientWithSecret) => ({
  authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}`,
})
const push = async (
  given: Record<string, string | undefined> = {},
  headers: Record<string, string> = basic(app),
  of = app,
) => {
  const begun = await begin(of, given)
  const answer = await api.send('POST', '/oauth/par', { headers, raw: new URLSearchParams(begun.search) })
  const uri = String(answer.body.request_uri)
  const search = new URLSearchParams({ client_id: of.client_id, request_uri: uri }).toString()
  return { ...answer, begun, uri, search }
}
const errorAt = async (search: string, browser: Awaited<ReturnType<typeof openBrowser>>) => {
  const { status, headers } = await browser('GET', `/oauth/authorize?${search}`)
  const location = headers.get('location')
  return location?.startsWith(REDIRECT) ? new URL(location).searchParams.get('error') : status
}
const later = async <T>(ms: number, work: () => Promise<T>): Promise<T> => {
  const { now } = Date
  try {
    Date.now = () => now() + ms
    return await work()
  } finally {
    Date.now = now
  }
}

test.each([
  ['confidential', {}],
  ['public', { type: 'public' }],
])(
  'A %s app pushes its request, and signs somebody in with it, as checked by oauth4webapi',
  async (_, given) => {
    const own = await addApp(api, given)
    const { search, verifier, nonce, state } = await begin(own, {})
    const client = { client_id: own.client_id }
    const asked = await oauth.pushedAuthorizationRequest(
      as,
      client,
      authOf(own),
      new URLSearchParams(search),
      optionsOf(api),
    )
    expect(asked.headers.get('cache-control')).toContain('no-store')
    const pushed = await oauth.processPushedAuthorizationResponse(as, client, asked)
    expect(pushed.expires_in).toBe(90)
    const arrival = new URLSearchParams({
      ...client,
      request_uri: pushed.request_uri,
      state: 'of somebody else',
    })
    // Scopes and state from the browser have no effect.
    arrival.set('scope', 'openid offline_access')
    const location = await authorize(await openBrowser(api, await somebody()), arrival.toString())
    const { claims, tokens } = await redeem(api, as, own, location, { search, verifier, nonce, state })
    expect([claims.nonce, tokens.scope]).toEqual([nonce, 'openid profile email'])
  },
)

test('Pushing a request writes nothing, and its values cannot be read in the browser', async () => {
  const before = await dump(api)
  const { status, uri } = await push({ login_hint: 'ada@people.test' })
  expect(status).toBe(201)
  expect(await dump(api)).toEqual(before)
  expect(Buffer.from(uri.split('.')[1]!, 'base64url').toString('latin1')).not.toContain('people')
})

test('It gives one code, even to two at once', async () => {
  const ada = await somebody()
  const { search } = await push()
  const browser = await openBrowser(api, ada)
  expect((await authorize(browser, search)).searchParams.get('code')).toBeTruthy()
  expect(await errorAt(search, browser)).toBe('invalid_request_uri')
  const again = await push()
  const locations = await Promise.all([1, 2, 3].map(() => authorize(browser, again.search)))
  const codes = locations.filter((location) => location.searchParams.has('code'))
  expect([codes.length, locations.map(({ searchParams }) => searchParams.get('iss'))]).toEqual([
    1,
    [ISSUER, ISSUER, ISSUER],
  ])
})

test('A refusal does not use it up', async () => {
  const { search } = await push()
  const browser = await openBrowser(api, await somebody())
  expect((await authorize(browser, search, 'deny')).searchParams.get('error')).toBe('access_denied')
  expect((await authorize(browser, search)).searchParams.has('code')).toBe(true)
})

describe('Nobody is redirected', () => {
  test.each([
    [
      'by another app’s',
      async (uri: string) => ({ client_id: (await addApp(api)).client_id, request_uri: uri }),
    ],
    [
      'by an altered one',
      async (uri: string) => ({ client_id: app.client_id, request_uri: `${uri.slice(0, -4)}AAAA` }),
    ],
    ['by one that names no app', async (uri: string) => ({ request_uri: uri })],
  ])('%s', async (_, fields) => {
    const { uri } = await push()
    const browser = await openBrowser(api, await somebody())
    expect(await errorAt(new URLSearchParams(await fields(uri)).toString(), browser)).toBe(400)
  })
})

describe('Errors are reported at once, and nothing is written', () => {
  test.each([
    ['invalid_request', { redirect_uri: 'https://evil.test/callback' }],
    ['invalid_request', { redirect_uri: undefined }],
    ['invalid_request', { request_uri: 'urn:ietf:params:oauth:request_uri:x' }],
    ['request_not_supported', { request: 'x' }],
    ['unsupported_response_type', { response_type: 'token' }],
    ['invalid_request', { code_challenge_method: 'plain' }],
    ['invalid_scope', { scope: 'users:purge' }],
    ['invalid_request', { id_token_hint: 'x' }],
    ['invalid_request', { state: 'x'.repeat(1100) }],
    ['invalid_request', { state: 'x'.repeat(5000) }],
  ])('%s: %o', async (error, given) => {
    const before = await dump(api)
    const answer = await push(given)
    expect([answer.status, answer.body.error]).toEqual([400, error])
    expect(await dump(api)).toEqual(before)
  })

  test.each([
    ['a wrong secret', () => ({ authorization: `Basic ${btoa(`${app.client_id}:x`)}` })],
    ['none', () => ({})],
  ])('invalid_client: %s', async (_, headers) => {
    const answer = await push({}, headers())
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
  })

  test('invalid_client: another authentication method than the registered one', async () => {
    const secret = { client_secret: app.client_secret! }
    const answer = await push(secret, {})
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
  })
})

test('Another user than its hint names is asked to sign in, and the hint is not sent through the browser', async () => {
  const [ada, eve] = [await somebody(), await somebody()]
  const begun = await begin(app)
  const location = await authorize(await openBrowser(api, ada), begun.search)
  const { tokens } = await redeem(api, as, app, location, begun)
  const pushed = await push({ id_token_hint: tokens.id_token!, prompt: 'none' })
  expect(await errorAt(pushed.search, await openBrowser(api, eve))).toBe('login_required')
  const answer = await (await openBrowser(api, ada))('GET', `/oauth/authorize?${pushed.search}`)
  expect(answer.headers.get('location')).toContain(`${REDIRECT}?code=`)
})

test('The longest accepted request survives a sign-in', async () => {
  const { search } = await begin(app, { state: '' })
  const { uri, ...pushed } = await push({ state: 'x'.repeat(1098 - search.length) })
  expect(uri).not.toBe('undefined')
  const stranger = await openBrowser(api)
  const { headers } = await stranger('GET', `/oauth/authorize?${pushed.search}`)
  const page = await stranger('GET', headers.get('location')!)
  expect(page.headers.get('content-security-policy')).toContain('https://app.example')
  expect(page.text).toContain('name="to"')
})

test('A request is accepted only if the browser can bring it, whatever its hint adds', async () => {
  const ada = await somebody()
  const begun = await begin(app)
  const location = await authorize(await openBrowser(api, ada), begun.search)
  const { tokens } = await redeem(api, as, app, location, begun)
  const { search } = await begin(app, { state: '' })
  const statuses = new Set<number>()
  for (const most of [1050, 1060, 1070, 1080, 1090, 1098]) {
    const pushed = await push({ state: 'x'.repeat(most - search.length), id_token_hint: tokens.id_token! })
    statuses.add(pushed.status)
    if (pushed.status !== 201) expect(pushed.body.error).toBe('invalid_request')
    else {
      const { headers } = await (await openBrowser(api))('GET', `/oauth/authorize?${pushed.search}`)
      expect(headers.get('location')).toMatch(/^\/signin\?to=/)
    }
  }
  expect([...statuses].sort()).toEqual([201, 400])
})

// Last, because ids that are made later never have an earlier time.
test('A browser comes with it within 90 seconds; the sign-in that it waits for then is not counted', async () => {
  const ada = await somebody()
  const { search } = await push()
  const stranger = await openBrowser(api)
  const { headers } = await stranger('GET', `/oauth/authorize?${search}`)
  const signin = headers.get('location')!
  expect(signin).toMatch(/^\/signin\?to=/)
  const page = await stranger('GET', signin)
  // The final destination of the form is known, though it is in no URL.
  expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://app.example;")
  const to = new URL(signin, ISSUER).searchParams.get('to')!
  const signed = await stranger('POST', '/signin', { email: ada.email, password: PASSWORD, to })
  expect(signed.headers.get('location')).toBe(to)
  const late = await openBrowser(api, ada)
  await later(91_000, async () => expect(await errorAt(search, late)).toBe('invalid_request_uri'))
  await later(300_000, async () => {
    expect((await late('GET', to)).text).toContain('Wiki wants to use your account')
    expect(await errorAt(search, late)).toBe('invalid_request_uri')
  })
  await later(3_700_000, async () =>
    expect(await errorAt(to.split('?')[1]!, late)).toBe('invalid_request_uri'),
  )
})
