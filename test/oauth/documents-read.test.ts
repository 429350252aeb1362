import { describe, expect, test, vi } from 'vitest'
import { authorize, begin, ISSUER } from '../openid/support.ts'
import { openApi } from '../support/api.ts'
import { asApp, host, keyOf, publish, takingApps, timesRead, url } from '../support/documents.ts'
import { limiter } from '../support/limiter.ts'
import { REDIRECT } from '../support/oauth.ts'
import { openBrowser } from '../support/pages.ts'
import type { How } from '../support/provider.ts'

/** Unregistered apps: which servers we ask for their documents, and what is accepted from them. */

const { bindings, somebody, open, come } = await takingApps()

describe('Its id', () => {
  const { port } = new URL(url)
  test.each([
    ['http://169.254.169.254/latest/meta-data'],
    ['https://169.254.169.254/latest'],
    ['https://[::1]/app'],
    ['https://[::ffff:a9fe:a9fe]/app'],
    ['https://2130706433/app'],
    ['https://0x7f.1/app'],
    ['https://0177.0.0.1/app'],
    ['https://127.0.0.1/app'],
    ['https://localhost/app'],
    ['https://a.localhost/app'],
    ['https://metadata.google.internal/app'],
    ['https://intranet/app'],
    ['https://printer.local/app'],
    ['https://app.example./app'],
    ['https://app.example:8443/app'],
    ['https://app.example:443/app'],
    ['http://app.example/app'],
    ['https://roster.test/app'],
    ['https://app.example'],
    ['https://app.example/app#part'],
    ['https://app.example/app?a=b'],
    ['https://user@app.example/app'],
    ['https://user:pass@app.example/app'],
    ['https://APP.example/app'],
    ['HTTPS://app.example/app'],
    ['https://app.example/a/../app'],
    ['https://app.example/a/%2e%2e/app'],
    ['https://app.example/./app'],
    ['https://app.example/a\\b'],
    ['https://app.example/ä'],
    [' https://app.example/app'],
    ['https:/app.example/app'],
    ['https:app.example/app'],
    ['https://app.example/*'],
    [`https://app.example/${'a'.repeat(200)}`],
    ['file:///etc/passwd'],
    ['data:application/json,{}'],
    ['javascript:alert(1)'],
  ])('SC3: %s is refused, and no server is called', async (id) => {
    const { OUTBOUND_LOCAL: _, ...rest } = bindings
    const public_ = openApi(rest as never)
    const called = vi.spyOn(globalThis, 'fetch')
    const browser = await openBrowser(public_, await somebody())
    const answer = await browser('GET', `/oauth/authorize?${(await begin(asApp(id))).search}`)
    const hosts = called.mock.calls.map(
      ([to]) => new URL(to instanceof Request ? to.url : String(to)).hostname,
    )
    called.mockRestore()
    expect([answer.status, answer.headers.get('location')]).toEqual([400, null])
    expect(hosts.filter((one) => !['127.0.0.1', 'localhost'].includes(one))).toEqual([])
  })

  test('SC3: must not be on this machine, unless Roster itself is', async () => {
    const id = await publish()
    const { OUTBOUND_LOCAL: _, ...rest } = bindings
    const browser = await openBrowser(openApi(rest as never), await somebody())
    expect((await come(id, {}, browser)).status).toBe(400)
    expect(await timesRead(id)).toBe(0)
    expect((await come(id)).status).toBe(200)
  })

  test.each<[string, (path: string) => string]>([
    ['in capitals', (path) => `http://LOCALHOST:${port}${path}`],
    ['with a slash', (path) => `${url}${path}/`],
    ['with a fragment', (path) => `${url}${path}#`],
    ['with a name', (path) => `http://a@localhost:${port}${path}`],
    ['by another path', (path) => `${url}/apps/..${path}`],
    ['in other letters', (path) => `${url}${path.replace('apps', '%61pps')}`],
    ['of another', () => 'https://app.example/app'],
  ])('must be what the document says, letter by letter: %s it is another', async (_, otherwise) => {
    const path = `/apps/${crypto.randomUUID()}`
    const id = await publish({ client_id: otherwise(path) }, undefined, path)
    const answer = await come(id)
    expect([answer.status, answer.text.includes('What the app says of itself')]).toEqual([400, true])
    // Nor is it found by such an id.
    await publish({}, undefined, path)
    expect((await come(otherwise(path))).status).toBe(400)
  })
})

describe('SC3, Fault 19: what it says', () => {
  const well = (more: object) => ({ redirect_uris: [REDIRECT], token_endpoint_auth_method: 'none', ...more })
  test.each<[string, object, How?]>([
    ['by a redirect', {}, { status: 302, location: '/apps/other' }],
    ['in ten megabytes', {}, { megabytes: 10 }],
    ['as a page', {}, { type: 'text/html' }],
    ['as text', {}, { type: 'text/plain' }],
    ['in silence', {}, { delayMs: 60_000 }],
    ['with an error', {}, { status: 500 }],
    ['where nothing is', {}, { status: 404 }],
    ['as what is no JSON', {}, { body: '{' }],
    ['as a list', {}, { body: '[]' }],
    ['as nothing', {}, { body: 'null' }],
    ['with a secret', { client_secret: 'x' }],
    ['with a way that takes a secret', { token_endpoint_auth_method: 'client_secret_basic' }],
    ['with no way, and no keys', { token_endpoint_auth_method: undefined }],
    [
      'with keys elsewhere',
      { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://a.example/jwks' },
    ],
    ['with no place to go back to', { redirect_uris: [] }],
    ['with places that are none', { redirect_uris: ['http://app.example/', 'javascript:alert(1)', 'x'] }],
    ['for other grants alone', { grant_types: ['client_credentials'] }],
    ['for other answers alone', { response_types: ['token'] }],
    ['with an ID token that is not signed', { id_token_signed_response_alg: 'none' }],
  ])('%s is refused, within three seconds', async (_, document, how) => {
    const id = await publish(document, how)
    const startedAt = Date.now()
    const answer = await come(id)
    expect(Date.now() - startedAt).toBeLessThan(20_000)
    expect([answer.status, answer.headers.get('location')]).toEqual([400, null])
    expect(answer.text).toContain('What the app says of itself cannot be read')
    expect(answer.text).not.toContain('root cause')
    // It is requested again.
    await publish({}, undefined, id.slice(url.length))
    expect((await come(id)).status).toBe(200)
  })

  test('with a private key is refused', async () => {
    const { privateJwk } = await keyOf('x')
    const document = { jwks: { keys: [privateJwk] }, token_endpoint_auth_method: 'private_key_jwt' }
    expect((await come(await publish(document))).status).toBe(400)
  })

  test('may include a redirect URI that is not accepted here, to which nobody is sent', async () => {
    const id = await publish(well({ redirect_uris: ['vscode://back', 'http://app.example/', REDIRECT] }))
    expect((await come(id)).status).toBe(200)
    for (const redirect_uri of [
      'vscode://back',
      'http://app.example/',
      'https://evil.example/',
      `${REDIRECT}/`,
    ])
      expect((await come(id, { redirect_uri })).status).toBe(400)
  })

  test('may include a redirect URI on the device, and the user is told so each time', async () => {
    const redirect_uri = 'http://127.0.0.1:51004/back'
    const id = await publish(well({ redirect_uris: ['http://127.0.0.1/back', 'com.example.scribe:/back'] }))
    const browser = await open()
    for (const uri of [redirect_uri, 'com.example.scribe:/back'])
      for (let time = 0; time < 2; time++) {
        const begun = await begin(asApp(id), { redirect_uri: uri })
        const { text } = await browser('GET', `/oauth/authorize?${begun.search}`)
        expect(text.split('id="message"').length - 1).toBe(1)
        expect([
          text.includes('is not known here'),
          text.includes('We cannot tell who receives this'),
        ]).toEqual([true, true])
        expect((await authorize(browser, begun.search)).searchParams.has('code')).toBe(true)
      }
  })

  test('about its logo is only used if it is inline, or a file of ours', async () => {
    const picture = `data:image/png;base64,${btoa('x')}`
    for (const [logo_uri, shown] of [
      [picture, picture],
      [`${ISSUER}/logo.svg`, '/logo.svg'],
      [`${ISSUER}/oauth/logout`, undefined],
      [`${ISSUER}/signout.png?x`, undefined],
      ['https://elsewhere.example/logo.png', undefined],
      [`data:image/png;base64,${btoa('x'.repeat(8192))}`, undefined],
      ['data:text/html;base64,eA==', undefined],
      [7, undefined],
    ] as const) {
      const { text, status } = await come(await publish({ logo_uri }))
      expect([logo_uri, status, /<img src="([^"]*)"[^>]*width="40"/.exec(text)?.[1]]).toEqual([
        logo_uri,
        200,
        shown,
      ])
    }
  })

  test('about its name is what the app is called, or else its host', async () => {
    for (const client_name of [undefined, '', 7, '\u202eScribe', 'x'.repeat(500)]) {
      const { text } = await come(await publish({ client_name }))
      expect(text).toContain(`${host} wants to use your account`)
    }
  })
})

test('A user can make us fetch ten documents a minute, and another as many', async () => {
  const counted = openApi({ ...bindings, RATE_LIMIT_DOCUMENTS: limiter(10) } as never)
  const browser = await openBrowser(counted, await somebody())
  const ids = await Promise.all(Array.from({ length: 11 }, () => publish()))
  const statuses = []
  for (const id of ids) statuses.push((await come(id, {}, browser)).status)
  expect(statuses).toEqual([...Array(10).fill(200), 429])
  // What is cached is not requested again.
  expect((await come(ids[0]!, {}, browser)).status).toBe(200)
  expect((await come(ids[10]!, {}, await openBrowser(counted, await somebody()))).status).toBe(200)
})
