import { beforeAll, describe, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { operationsOf } from '../../src/docs/openapi.ts'
import type { Role } from '../../src/users/models.ts'
import { openApi } from '../support/api.ts'
import { addPasskey, addTotp } from '../support/factors.ts'
import { withProviders } from '../support/identities.ts'
import { addApp, letApp } from '../support/oauth.ts'
import { openBrowser, PAGES } from '../support/pages.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** The API request that does what a form of a page does; null if the form changes nothing. */
const REQUEST_OF: Record<string, string | null> = {
  'POST /signout': null,
  'POST /account': 'PATCH /v1/users/me',
  'POST /account/language': 'PATCH /v1/users/me',
  'POST /account/email': 'POST /v1/auth/change_email',
  'POST /account/verification': 'POST /v1/auth/resend_verification',
  'POST /account/password': 'POST /v1/auth/change_password',
  'POST /account/security/totp': 'POST /v1/auth/factors/totp',
  'POST /account/security/totp/confirm': 'POST /v1/auth/factors/totp/confirm',
  'POST /account/security/totp/remove': 'DELETE /v1/auth/factors/totp',
  'POST /account/security/recovery_codes': 'POST /v1/auth/factors/recovery_codes',
  'POST /account/security/recovery_codes/download': null,
  'POST /account/security/passkeys/new': 'POST /v1/auth/passkeys/options',
  'POST /account/security/passkeys': 'POST /v1/auth/passkeys',
  'POST /account/security/passkeys/:id/rename': 'PATCH /v1/auth/passkeys/:id',
  'POST /account/security/passkeys/:id/remove': 'DELETE /v1/auth/passkeys/:id',
  'POST /account/security/identities/:provider': 'POST /v1/auth/identities/:id',
  'POST /account/security/identities/:id/remove': 'DELETE /v1/auth/identities/:id',
  // One request for each of the others.
  'POST /account/sessions/others': 'DELETE /v1/auth/sessions/:id',
  'POST /account/sessions/end': 'DELETE /v1/auth/sessions/:id',
  'POST /account/apps/change': 'PATCH /v1/auth/grants/:id',
  'POST /account/apps/remove': 'DELETE /v1/auth/grants/:id',
  'POST /account/apps/keys/new': 'POST /v1/api_keys',
  'POST /account/apps/keys/:id/rotate': 'POST /v1/api_keys/:id/rotate',
  'POST /account/apps/keys/:id/revoke': 'DELETE /v1/api_keys/:id',
  'POST /account/data/leave': 'DELETE /v1/users/me',
  // Leads to the page that says what is about to be done.
  'POST /admin/people/bulk': null,
  'POST /admin/people/bulk/run': 'POST /v1/users/bulk',
  'POST /admin/people/import': 'POST /v1/users/import',
  'POST /admin/people/new': 'POST /v1/users',
  'POST /admin/people/:id': 'PATCH /v1/users/:id',
  'POST /admin/people/:id/disable': 'POST /v1/users/:id/disable',
  'POST /admin/people/:id/enable': 'POST /v1/users/:id/enable',
  'POST /admin/people/:id/end_sessions': 'DELETE /v1/users/:id/sessions',
  'POST /admin/people/:id/reset_factors': 'DELETE /v1/users/:id/factors',
  'POST /admin/people/:id/delete': 'DELETE /v1/users/:id',
  'POST /admin/people/:id/restore': 'POST /v1/users/:id/restore',
  'POST /admin/people/:id/erase': 'DELETE /v1/users/:id',
  'POST /admin/people/:id/unlock': 'POST /v1/users/:id/unlock',
  'POST /admin/people/:id/send_reset': 'POST /v1/users/:id/send_reset',
  'POST /admin/people/:id/send_verification': 'POST /v1/users/:id/send_verification',
  'POST /admin/system/mails/:id/retry': 'POST /v1/mails/:id/retry',
  'POST /admin/invitations': 'POST /v1/invitations/bulk',
  'POST /admin/invitations/:id/resend': 'POST /v1/invitations/:id/resend',
  'POST /admin/invitations/:id/withdraw': 'DELETE /v1/invitations/:id',
  'POST /admin/apps/new': 'POST /v1/oauth_clients',
  'POST /admin/apps/:id': 'PATCH /v1/oauth_clients/:id',
  'POST /admin/apps/:id/secret': 'POST /v1/oauth_clients/:id/secret',
  'POST /admin/apps/:id/take_over': 'PATCH /v1/oauth_clients/:id',
  'POST /admin/apps/:id/logouts/retry': 'POST /v1/oauth_clients/:id/logouts/retry',
  'POST /admin/apps/:id/delete': 'DELETE /v1/oauth_clients/:id',
}
/** Downloads, which are requests as well. */
const FILES: Record<string, string> = {
  'GET /account/data/export': 'GET /v1/users/me/export',
  'GET /admin/people/export': 'GET /v1/users/export',
  'GET /admin/people/:id/export': 'GET /v1/users/:id/export',
  'GET /admin/activity/export': 'GET /v1/activity/export',
}

const patternOf = (path: string) => new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`)
/** The route for such a path; the most specific one. */
const routeOf = (method: string, path: string, among: Iterable<string>) =>
  [...among]
    .filter((route) => route.startsWith(`${method} `) && patternOf(route.slice(method.length + 1)).test(path))
    .sort((one, other) => one.split(':').length - other.split(':').length)[0]

const decoded = (html: string) => html.replaceAll('&quot;', '"').replaceAll('&amp;', '&')
/** What somebody can press on a page: its forms, and the other targets of its buttons. */
const formsOf = (html: string) => [
  ...new Set(
    [...html.matchAll(/<form method="post" action="([^"]+)"|formaction="([^"]+)"/g)].map(
      ([, action, other]) => decoded(action ?? other!).replace(/\?.*/, ''),
    ),
  ),
]
const filesOf = (html: string) =>
  [...html.matchAll(/href="([^"]*\/export[^"]*)"/g)].map(([, href]) => href!.replace(/\?.*/, ''))
const requestsOf = (html: string, among: Iterable<string>) =>
  [...decoded(html).matchAll(/curl -X (\w+) "\$ROSTER([^"]+)"/g)].map(
    ([, method, path]) =>
      routeOf(method!, path!.replace(/\?.*/, ''), among) ?? `no such route: ${method} ${path}`,
  )

const api = openApi({ ...(await freshUpstreams()).bindings, ...withProviders() })
const seen: [path: string, html: string][] = []
type Visit = Awaited<ReturnType<typeof openBrowser>>
async function look(visit: Visit, method: string, path: string, fields: Record<string, string> = {}) {
  const { status, text } = await visit(method, path, fields)
  expect([path, status]).toEqual([path, 200])
  seen.push([path, text])
  return text
}
const identityOf = (userId: string) =>
  api.sql(
    "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, 'corp', ?1, ?1, 1)",
    [userId],
  )

let boss: Awaited<ReturnType<typeof api.person>>
beforeAll(async () => {
  boss = await api.person({ role: 'admin', email_verified_at: 1 })
  const rich = await api.person({ email_verified_at: 1 })
  await addTotp(api, rich)
  await addPasskey(api, rich)
  await identityOf(rich.id)
  await api.signIn(rich)
  await letApp(api, rich, { scope: 'openid email' })
  const asRich = await openBrowser(api, rich)
  await asRich('POST', '/account/apps/keys/new', { name: 'Report', days: '90' })
  const asBare = await openBrowser(api, await api.person({ email_verified_at: 1 }))
  for (const page of ['', '/security', '/sessions', '/apps', '/apps/keys/new', '/data'])
    await look(asRich, 'GET', `/account${page}`)
  await look(asBare, 'GET', '/account/security')
  await look(asBare, 'POST', '/account/security/totp')
  await look(asBare, 'POST', '/account/security/passkeys/new')
  await look(asRich, 'POST', '/account/security/recovery_codes')
  await look(await openBrowser(api, await api.person()), 'GET', '/account')

  const asBoss = await openBrowser(api, boss)
  const signedIn = await api.person()
  await api.signIn(signedIn)
  const states = [
    rich,
    signedIn,
    await api.person({ failed_logins: 100 }),
    await api.person({ status: 'disabled', disabled_reason: 'left' }),
    await api.person({ deleted_at: Date.now() }),
  ]
  for (const { id } of states) await look(asBoss, 'GET', `/admin/people/${id}`)
  for (const page of ['', '/people', '/people/import', '/people/new', '/activity', '/apps/new'])
    await look(asBoss, 'GET', `/admin${page}`)
  await look(asBoss, 'POST', '/admin/people/bulk', { action: 'delete', [`pick.${rich.id}`]: 'on' })
  await look(asBoss, 'POST', '/admin/invitations', { emails: 'somebody@people.test', role: 'user' })
  const service = await addApp(api, { grants: ['client_credentials'], redirect_uris: [], scopes: [] })
  await api.sql('UPDATE oauth_clients SET owner_id = ? WHERE id = ?', [rich.id, service.client_id])
  await look(asBoss, 'GET', `/admin/apps/${service.client_id}`)
  const { client_id: told } = await addApp(api, { backchannel_logout_uri: 'https://wiki.example/logout' })
  await api.sql(
    `INSERT INTO oauth_logouts (id, user_id, parent_id, client_id, expires_at, attempts, next_attempt_at)
      VALUES (?1, 'somebody', 'login', ?1, 9000000000000, 1, 9000000000000)`,
    [told],
  )
  await look(asBoss, 'GET', `/admin/apps/${told}`)
  await api.sql(
    `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at, dead_at)
      VALUES (?, 'password_changed', 'e@e.test', 'e@e.test', 0, 9000000000000, 5, 0, 1)`,
    [crypto.randomUUID()],
  )
  await look(asBoss, 'GET', '/admin/system')
})

describe('Whatever can be pressed', () => {
  test('is shown as an API request on the same page', () => {
    const routes = [...operationsOf(app).keys()]
    const missing: string[] = []
    for (const [page, html] of seen) {
      const shown = requestsOf(html, routes)
      missing.push(...shown.filter((request) => request.startsWith('no such')))
      const asked = [
        ...formsOf(html).map(
          (path) => [routeOf('POST', path, Object.keys(PAGES)) ?? path, REQUEST_OF] as const,
        ),
        ...filesOf(html).map((path) => [routeOf('GET', path, Object.keys(PAGES)) ?? path, FILES] as const),
      ]
      for (const [route, requests] of asked) {
        const request = requests[route]
        if (request === undefined) missing.push(`${route} has no request in this test`)
        else if (request !== null && !shown.includes(request)) missing.push(`${page}: ${route} → ${request}`)
      }
    }
    expect([...new Set(missing)]).toEqual([])
  })

  test('was on one of the pages that were visited', () => {
    const met = new Set(
      seen.flatMap(([, html]) => [
        ...formsOf(html).map((path) => routeOf('POST', path, Object.keys(PAGES))),
        ...filesOf(html).map((path) => routeOf('GET', path, Object.keys(PAGES))),
      ]),
    )
    expect([...Object.keys(REQUEST_OF), ...Object.keys(FILES)].filter((route) => !met.has(route))).toEqual([])
  })
})

describe('Nobody is offered what they may not do', () => {
  /** What a viewer can press on somebody's page, by the last words of the URLs. */
  async function offered(viewer: Role, of: Parameters<typeof api.person>[0], settings: object = {}) {
    const other = openApi({ ...api.bindings, ...settings })
    const somebody = await api.person(of)
    await api.signIn(somebody)
    const visit = await openBrowser(other, await api.person({ role: viewer, email_verified_at: 1 }))
    const { text } = await visit('GET', `/admin/people/${somebody.id}`)
    return [...formsOf(text), ...filesOf(text)]
      .filter((path) => path !== '/signout')
      .map((path) => path.split('/').slice(4).join('/') || 'save')
      .sort()
  }

  test.each([
    [
      'a manager, of a user',
      'manager',
      { email_verified_at: 1 },
      {},
      ['disable', 'end_sessions', 'save', 'send_reset'],
    ],
    [
      'a manager, of somebody disabled',
      'manager',
      { status: 'disabled', email_verified_at: 1 },
      {},
      ['enable', 'end_sessions', 'save', 'send_reset'],
    ],
    ['a manager, of another', 'manager', { role: 'manager' }, {}, []],
    ['a manager, of an administrator', 'manager', { role: 'admin' }, {}, []],
    [
      'an administrator, of a manager',
      'admin',
      { role: 'manager' },
      {},
      ['delete', 'disable', 'end_sessions', 'erase', 'export', 'save', 'send_reset', 'send_verification'],
    ],
    ['an administrator, of somebody deleted', 'admin', { deleted_at: 1 }, {}, ['erase', 'export', 'restore']],
    [
      'a manager, where there is no mail',
      'manager',
      {},
      { MAIL_FROM: undefined, RESEND_API_KEY: undefined },
      ['disable', 'end_sessions', 'save'],
    ],
  ] as const)('%s', async (_, viewer, of, settings, buttons) => {
    expect(await offered(viewer, of as object, settings)).toEqual(buttons)
  })

  test('nor which pages they may not see, roles they may not give, or actions on many', async () => {
    const visit = await openBrowser(api, await api.person({ role: 'manager', email_verified_at: 1 }))
    const { text } = await visit('GET', '/admin/people')
    const nav = /<nav class="nav".*?<\/nav>/s.exec(text)![0]
    expect([...nav.matchAll(/href="([^"]+)"/g)].map(([, href]) => href)).toEqual(
      ['', '/people', '/invitations', '/activity'].map((page) => `/admin${page}`),
    )
    expect([...text.matchAll(/name="action" value="(\w+)"/g)].map(([, action]) => action)).toEqual([
      'disable',
      'enable',
      'end_sessions',
    ])
    expect(filesOf(text)).toEqual([])
    expect((await visit('GET', '/admin/people/new')).text).not.toContain('name="role"')
    const asBoss = await openBrowser(api, boss)
    expect((await asBoss('GET', '/admin/people/new')).text).toMatch(
      /<select id="role" name="role">(<option value="(user|manager|admin)"[^>]*>[^<]*<\/option>)+/,
    )
  })
})
