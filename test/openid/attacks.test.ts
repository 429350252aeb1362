import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientWithSecret } from '../../src/oauth/clients/schemas.ts'
import { makeFormToken } from '../../src/pages/forms.ts'
import { openApi } from '../support/api.ts'
import { limiter } from '../support/limiter.ts'
import { addApp, letApp, REDIRECT } from '../support/oauth.ts'
import { openBrowser, signedIn } from '../support/pages.ts'
import { dump } from '../support/snapshots.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import { actionOf, authorize, begin, ISSUER } from './support.ts'

/** The attacks of RFC 9700, section by section. */

let api: ReturnType<typeof openApi>
let app: ClientWithSecret
let other: ClientWithSecret
let own: Awaited<ReturnType<typeof freshUpstreams>>
let bindings: typeof own.bindings

beforeAll(async () => {
  own = await freshUpstreams()
  bindings = own.bindings
  api = openApi(bindings)
  app = await addApp(api)
  other = await addApp(api)
})

const somebody = () => api.person({ email_verified_at: Date.now(), password_hash: null, token_epoch: 1 })
const basic = ({ client_id, client_secret }: ClientWithSecret) => ({
  authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}`,
})
const ask = (by: ClientWithSecret, fields: Record<string, string>) =>
  api.send('POST', '/oauth/token', { headers: basic(by), raw: new URLSearchParams(fields) })

/** A code that somebody has just given to the app, and all that is needed to redeem it. */
async function coded(
  of = app,
  given: Record<string, string | undefined> = {},
  by?: { ada: Awaited<ReturnType<typeof somebody>>; browser: Awaited<ReturnType<typeof openBrowser>> },
) {
  const ada = by?.ada ?? (await somebody())
  const browser = by?.browser ?? (await openBrowser(api, ada))
  const begun = await begin(of, given)
  const location = await authorize(browser, begun.search)
  const fields = {
    grant_type: 'authorization_code',
    code: location.searchParams.get('code')!,
    redirect_uri: REDIRECT,
    code_verifier: begun.verifier,
  }
  return { ada, fields, location, browser }
}
const statusOf = async (token: unknown) =>
  (await api.send('GET', '/oauth/userinfo', { token: token as string })).status

test('RFC 8707: no token is issued for another service; a token for here may be requested explicitly', async () => {
  const { fields } = await coded()
  const { sessions } = await dump(api)
  const other = await ask(app, { ...fields, resource: 'https://other.example' })
  expect([other.status, other.body.error]).toEqual([400, 'invalid_target'])
  expect((await dump(api)).sessions).toEqual(sessions)
  expect((await ask(app, { ...fields, resource: ISSUER })).status).toBe(200)
})

describe('4.5: a code that was stolen', () => {
  test('works once: using it again ends what it gave', async () => {
    const { fields } = await coded()
    const first = await ask(app, fields)
    expect([first.status, await statusOf(first.body.access_token)]).toEqual([200, 200])
    const again = await ask(app, fields)
    expect([again.status, again.body.error]).toEqual([400, 'invalid_grant'])
    expect(await statusOf(first.body.access_token)).toBe(401)
    const refreshed = await ask(app, {
      grant_type: 'refresh_token',
      refresh_token: first.body.refresh_token as string,
    })
    expect(refreshed.body.error).toBe('invalid_grant')
  })

  test('is answered at most once of ten times at once', async () => {
    const { ada, fields } = await coded()
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(app, fields)))
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
    expect(
      await api.sql('SELECT count(*) AS n FROM sessions WHERE user_id = ? AND client_id IS NOT NULL', [
        ada.id,
      ]),
    ).toEqual([{ n: 1 }])
  })

  test.each([
    ['another client', () => other, {}],
    ['another verifier', () => app, { code_verifier: 'x'.repeat(43) }],
    ['no verifier', () => app, { code_verifier: undefined }],
    ['another redirect_uri', () => app, { redirect_uri: `${REDIRECT}/x` }],
    ['no redirect_uri', () => app, { redirect_uri: undefined }],
    ['an altered code', () => app, { code: 'AAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }],
  ])('is refused for %s, and neither used up nor a reason to end anything', async (_, by, changes) => {
    const { fields } = await coded()
    const changed = Object.entries({ ...fields, ...changes }).filter(([, value]) => value !== undefined)
    const sent = Object.fromEntries(changed) as Record<string, string>
    const { sessions, oauth_codes } = await dump(api)
    const refused = await ask(by(), sent)
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
    const after = await dump(api)
    expect([after.sessions, after.oauth_codes]).toEqual([sessions, oauth_codes])
    const good = await ask(app, fields)
    expect(good.status).toBe(200)
    expect((await ask(by(), sent)).body.error).toBe('invalid_grant')
    expect(await statusOf(good.body.access_token)).toBe(200)
  })

  test('starts no more sessions a minute than its user may make changes, and is not used up by a refusal', async () => {
    const few = openApi({ ...bindings, RATE_LIMIT_WRITES: limiter(1) } as never)
    const first = await coded()
    const next = await coded(app, {}, first)
    const redeemed = (given: Record<string, string>) =>
      few.send('POST', '/oauth/token', { headers: basic(app), raw: new URLSearchParams(given) })
    expect((await redeemed(first.fields)).status).toBe(200)
    const before = await dump(api)
    const { status, body } = await redeemed(next.fields)
    expect([status, body.code ?? body.error]).toEqual([429, 'too_many_requests'])
    expect(await dump(api)).toEqual(before)
    expect((await ask(app, next.fields)).status).toBe(200)
  })

  test('is valid for a minute', async () => {
    const { fields } = await coded()
    const { now } = Date
    try {
      Date.now = () => now() + 61_000
      expect((await ask(app, fields)).body.error).toBe('invalid_grant')
    } finally {
      Date.now = now
    }
  })

  test.each([
    ['they logged out', 'UPDATE sessions SET revoked_at = 1 WHERE user_id = ?'],
    ['they logged out everywhere', 'UPDATE users SET token_epoch = token_epoch + 1 WHERE id = ?'],
    ['they were disabled', "UPDATE users SET status = 'disabled' WHERE id = ?"],
    ['they took it back', 'DELETE FROM oauth_grants WHERE user_id = ?'],
  ])('is no longer valid if meanwhile %s', async (_, end) => {
    const { ada, fields } = await coded()
    await api.sql(end, [ada.id])
    expect((await ask(app, fields)).body.error).toBe('invalid_grant')
  })

  test.each([true, false])(
    'is refused if the consent that it was given by has been withdrawn (first-party: %s)',
    async (first_party) => {
      const own = await addApp(api, { first_party })
      for (const scopes of [undefined, ['openid']]) {
        const { ada, fields } = await coded(own, { prompt: 'consent' })
        const { token } = await api.signIn(ada)
        const { body } = await api.send<{ data: { id: string }[] }>('GET', '/v1/auth/grants', { token })
        const withdrawn = await api.send(scopes ? 'PATCH' : 'DELETE', `/v1/auth/grants/${body.data[0]!.id}`, {
          token,
          ...(scopes && { body: { scopes } }),
        })
        expect(withdrawn.status).toBe(scopes ? 200 : 204)
        const { sessions, oauth_codes } = await dump(api)
        const refused = await ask(own, fields)
        expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
        const after = await dump(api)
        expect([after.sessions, after.oauth_codes]).toEqual([sessions, oauth_codes])
      }
    },
  )

  test('HX8: is checked on the primary if a replica may not know its user’s present state', async () => {
    const { ada, fields } = await coded()
    await api.sql('UPDATE users SET token_epoch = token_epoch - 1 WHERE id = ?', [ada.id])
    const { result, calls } = await own.measure(() => ask(app, fields))
    expect([result.body.error, calls.filter(({ upstream }) => upstream === 'libsql').length]).toEqual([
      'invalid_grant',
      3,
    ])
  })

  test.each([
    ['their role may not use the app any more', 'allowed_roles', '["admin"]'],
    ['the app may do less', 'scopes', '["openid"]'],
    ['the app lost the address that it was sent to', 'redirect_uris', `["${REDIRECT}/new"]`],
  ])('is no longer valid if meanwhile %s, and nothing has started', async (_, column, value) => {
    const mine = await addApp(api)
    const { fields } = await coded(mine)
    await api.sql(`UPDATE oauth_clients SET ${column} = ? WHERE id = ?`, [value, mine.client_id])
    expect((await ask(mine, fields)).body.error).toBe('invalid_grant')
    expect(await api.sql('SELECT id FROM sessions WHERE client_id = ?', [mine.client_id])).toEqual([])
  })
})

describe('4.8: PKCE cannot be downgraded', () => {
  test('a code requested without a challenge accepts no verifier', async () => {
    const older = await addApp(api, { require_pkce: false })
    const { fields } = await coded(older, { code_challenge: undefined, code_challenge_method: undefined })
    expect((await ask(older, fields)).body.error).toBe('invalid_grant')
    const { code_verifier: _, ...without } = fields
    expect((await ask(older, without)).status).toBe(200)
  })

  test('a code requested with a challenge requires the verifier, even from a confidential client', async () => {
    const older = await addApp(api, { require_pkce: false })
    const { fields } = await coded(older)
    const { code_verifier: _, ...without } = fields
    expect((await ask(older, without)).body.error).toBe('invalid_grant')
  })
})

test('4.4: an answer names its issuer (mix-up)', async () => {
  const { location } = await coded()
  expect(location.searchParams.get('iss')).toBe(ISSUER)
})

test('ten sessions of an app stay open, and expired ones do not count', async () => {
  const { ada, fields, browser } = await coded()
  const first = await ask(app, fields)
  await api.sql(
    `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at, parent_id, client_id, client_epoch, scope)
      SELECT substr(sessions.id, 1, 14) || '7fff-bfff-0000000000' || value, user_id, 0, created_at, created_at, created_at, 1, expires_at, parent_id, client_id, client_epoch, scope
      FROM sessions, json_each('[10,11,12,13,14,15,16,17,18,19]') WHERE user_id = ? AND client_id IS NOT NULL`,
    [ada.id],
  )
  const begun = await begin(app)
  const location = await authorize(browser, begun.search)
  const next = { ...fields, code: location.searchParams.get('code')!, code_verifier: begun.verifier }
  const second = await ask(app, next)
  expect([await statusOf(first.body.access_token), await statusOf(second.body.access_token)]).toEqual([
    200, 200,
  ])
})

describe('4.14: a refresh token that was stolen', () => {
  const refreshing = (token: unknown) => ({ grant_type: 'refresh_token', refresh_token: token as string })

  test('is refused for another client, and stays valid', async () => {
    const { fields } = await coded()
    const { body } = await ask(app, fields)
    const before = await dump(api)
    expect((await ask(other, refreshing(body.refresh_token))).body.error).toBe('invalid_grant')
    expect((await dump(api)).sessions).toEqual(before.sessions)
    expect((await ask(app, refreshing(body.refresh_token))).status).toBe(200)
  })

  test('gives the same successor for a moment, and ends the session later', async () => {
    const { fields } = await coded()
    const { body } = await ask(app, fields)
    const [one, two] = [
      await ask(app, refreshing(body.refresh_token)),
      await ask(app, refreshing(body.refresh_token)),
    ]
    expect(one.body.refresh_token).toBe(two.body.refresh_token)
    const next = await ask(app, refreshing(one.body.refresh_token))
    await api.sql('UPDATE sessions SET rotated_at = rotated_at - 60000 WHERE client_id = ?', [app.client_id])
    expect((await ask(app, refreshing(body.refresh_token))).body.error).toBe('invalid_grant')
    expect((await ask(app, refreshing(next.body.refresh_token))).body.error).toBe('invalid_grant')
  })

  describe('RT4: repeated within the grace, of an app that has no secret,', () => {
    const HOME = { ip: '10.1.1.1', headers: { 'user-agent': 'App/1' } }
    const THIEF = { ip: '10.2.2.2', headers: { 'user-agent': 'Thief/1' } }
    const open = async (type: 'public' | 'confidential') => {
      const client = await addApp(api, { type })
      const ada = await somebody()
      const { sessionId, refreshToken } = await letApp(api, ada, { scope: 'openid', app: client })
      const from = (more: { ip: string; headers: Record<string, string> }) =>
        api.send('POST', '/oauth/token', {
          ip: more.ip,
          headers: { ...more.headers, ...(type === 'confidential' && basic(client)) },
          raw: new URLSearchParams({
            ...refreshing(refreshToken),
            ...(type === 'public' && { client_id: client.client_id }),
          }),
        })
      const revoked = async () =>
        (await api.sql('SELECT revoked_reason FROM sessions WHERE id = ?', [sessionId]))[0]?.revoked_reason
      expect((await from(HOME)).status).toBe(200)
      return { ada, from, revoked }
    }

    test('from another client it leaves a row; from another network as well, it ends the session', async () => {
      const { ada, from, revoked } = await open('public')
      expect((await from({ ...HOME, headers: THIEF.headers })).status).toBe(200)
      expect(await api.historyOf(ada.id)).toEqual(['session.repeated'])
      expect((await from(THIEF)).body.error).toBe('invalid_grant')
      expect([await revoked(), (await from(HOME)).body.error]).toEqual(['reuse_detected', 'invalid_grant'])
      expect(await api.historyOf(ada.id)).toEqual(['session.repeated', 'session.reuse_detected'])
    })

    test('an app with a secret may refresh from anywhere', async () => {
      const { ada, from, revoked } = await open('confidential')
      expect((await from(THIEF)).status).toBe(200)
      expect([await revoked(), await api.historyOf(ada.id)]).toEqual([null, []])
    })
  })

  test('cannot ask for more than was granted', async () => {
    const { fields } = await coded(app, { scope: 'openid' })
    const { body } = await ask(app, fields)
    const more = await ask(app, { ...refreshing(body.refresh_token), scope: 'openid email' })
    expect(more.body.error).toBe('invalid_scope')
  })

  test('a refresh token of our own logins is not accepted for an app', async () => {
    const own = await api.signIn(await somebody())
    const before = await dump(api)
    expect((await ask(app, refreshing(own.refreshToken))).body.error).toBe('invalid_grant')
    expect((await dump(api)).sessions).toEqual(before.sessions)
  })
})

describe('A client proves itself by its one registered way', () => {
  const wrong: Record<string, () => { headers?: Record<string, string>; fields?: Record<string, string> }> = {
    'no secret': () => ({ fields: { client_id: app.client_id } }),
    'another secret': () => ({ headers: basic({ ...app, client_secret: 'cs_x' }) }),
    'somebody else’s secret': () => ({ headers: basic({ ...app, client_secret: other.client_secret! }) }),
    'in the form': () => ({ fields: { client_id: app.client_id, client_secret: app.client_secret! } }),
    'a client that is none': () => ({ headers: basic({ ...app, client_id: crypto.randomUUID() }) }),
    'no client': () => ({}),
    'another name beside it': () => ({ headers: basic(app), fields: { client_id: other.client_id } }),
  }
  test.each(Object.entries(wrong))('%s', async (_, given) => {
    const { headers, fields } = given()
    const raw = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x', ...fields })
    for (const path of ['/oauth/token', '/oauth/introspect', '/oauth/revoke']) {
      raw.set('token', 'x')
      const answer = await api.send('POST', path, { raw, ...(headers && { headers }) })
      expect([path, answer.status, answer.body.error]).toEqual([path, 401, 'invalid_client'])
      expect(answer.headers.get('www-authenticate')).toMatch(/^Basic /)
    }
  })

  test.each([
    ['is given twice', new URLSearchParams('grant_type=refresh_token&grant_type=refresh_token')],
    ['is no text', new TextEncoder().encode('grant_type=%FF')],
  ])('RFC 6749 3.2: a parameter that %s is an invalid request', async (_, raw) => {
    const headers = { ...basic(app), 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await api.send('POST', '/oauth/token', { raw, headers })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })

  test('two ways at once are refused', async () => {
    const raw = new URLSearchParams({ client_id: app.client_id, client_secret: app.client_secret! })
    const answer = await api.send('POST', '/oauth/token', { raw, headers: basic(app) })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })

  test('RFC 6749 3.2: empty credentials prove nothing, and are not looked up', async () => {
    const service = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['users:read'],
    })
    const post = async (path: string, fields: Record<string, string>, by?: ClientWithSecret) => {
      const raw = new URLSearchParams(fields)
      const { status, body } = await api.send('POST', path, { raw, ...(by && { headers: basic(by) }) })
      return [status, body?.error]
    }
    for (const path of ['/oauth/introspect', '/oauth/revoke'])
      expect([path, ...(await post(path, { token: '' }, service))]).toEqual([path, 400, 'invalid_request'])
    const byItself = { grant_type: 'client_credentials', scope: '', client_secret: '', client_id: '' }
    expect(await post('/oauth/token', byItself, service)).toEqual([200, undefined])
    for (const given of [
      { client_id: service.client_id },
      { client_id: service.client_id, client_assertion: '' },
    ])
      expect(await post('/oauth/token', { ...byItself, ...given })).toEqual([401, 'invalid_client'])
    const unproved = { ...service, client_secret: '' }
    expect(await post('/oauth/token', byItself, unproved)).toEqual([401, 'invalid_client'])
  })

  test('a former secret is valid for as long as was said', async () => {
    const mine = await addApp(api)
    const { token } = await api.quickActor({ role: 'admin' })
    const path = `/v1/oauth_clients/${mine.client_id}/secret`
    const next = (await api.send<ClientWithSecret>('POST', path, { token, body: {} })).body
    const errorBy = async (of: ClientWithSecret) =>
      (await ask(of, { grant_type: 'refresh_token', refresh_token: 'x' })).body.error
    expect([await errorBy(mine), await errorBy(next)]).toEqual(['invalid_grant', 'invalid_grant'])
    await api.sql('UPDATE oauth_clients SET former_secret_until = 1 WHERE id = ?', [mine.client_id])
    expect([await errorBy(mine), await errorBy(next)]).toEqual(['invalid_client', 'invalid_grant'])
  })
})

describe('4.7, 4.16: the consent page', () => {
  test('accepts no answer from another site, another session, or without its token', async () => {
    const [ada, eve] = [await somebody(), await somebody()]
    const { cookie, binding } = await signedIn(api, ada)
    const { binding: foreign } = await signedIn(api, eve)
    const page = await api.send('GET', `/oauth/authorize?${(await begin(app)).search}`, {
      headers: { cookie },
    })
    const action = actionOf(page.text)
    const config = api.config()
    const good = makeFormToken({ config, now: Date.now() }, binding)
    for (const [token, headers] of [
      [undefined, {}],
      ['x', {}],
      [makeFormToken({ config, now: Date.now() }, foreign), {}],
      [makeFormToken({ config, now: Date.now() - 13 * 3_600_000 }, binding), {}],
      [good, { origin: 'https://evil.test' }],
      [good, { 'sec-fetch-site': 'cross-site' }],
    ] as const) {
      const raw = new URLSearchParams({ decision: 'allow', ...(token && { form_token: token }) })
      const { status } = await api.send('POST', action, { raw, headers: { cookie, ...headers } as never })
      expect([token, status]).toEqual([token, 403])
    }
    expect(await api.sql('SELECT 1 FROM oauth_grants WHERE user_id = ?', [ada.id])).toEqual([])
  })

  test('cannot be framed', async () => {
    const browser = await openBrowser(api, await somebody())
    const { headers } = await browser('GET', `/oauth/authorize?${(await begin(app)).search}`)
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
  })
})

test('4.12: nothing is redirected with 307, and nothing secret is in a log or the database', async () => {
  const { fields } = await coded()
  const { body } = await ask(app, fields)
  const everything = JSON.stringify(await dump(api))
  for (const secret of [
    fields.code,
    fields.code_verifier,
    app.client_secret,
    body.refresh_token,
    body.access_token,
    body.id_token,
  ])
    expect(everything).not.toContain(secret)
})

test('AT5: an ID token opens nothing', async () => {
  const { fields } = await coded()
  const { body } = await ask(app, fields)
  expect(await statusOf(body.id_token)).toBe(401)
  expect((await api.send('GET', '/v1/users/me', { token: body.id_token as string })).status).toBe(401)
  expect((await api.send('GET', '/v1/users/me', { token: body.access_token as string })).status).toBe(403)
})

describe('HD1: requests from browsers', () => {
  test.each([
    '/.well-known/openid-configuration',
    '/.well-known/jwks.json',
    '/oauth/userinfo',
    '/oauth/token',
    '/oauth/revoke',
  ])('%s answers every origin, but none with a cookie', async (path) => {
    const method = /token|revoke/.test(path) ? 'POST' : 'GET'
    const { headers } = await api.send(method, path, { headers: { origin: 'https://anybody.test' } })
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  })

  test('a cookie is ignored at userinfo, and at introspection from another origin', async () => {
    const { cookie } = await signedIn(api, await somebody())
    expect((await api.send('GET', '/oauth/userinfo', { headers: { cookie } })).status).toBe(401)
    const { headers } = await api.send('POST', '/oauth/introspect', {
      headers: { origin: 'https://anybody.test' },
    })
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })
})

describe('A network that asks too often', () => {
  const full = () =>
    openApi({ ...bindings, RATE_LIMIT_BY_IP: limiter(0), RATE_LIMIT_BY_TOKEN: limiter(2) } as never)

  test('does not affect an app that redeems a code, or sends or introspects a token', async () => {
    const { fields } = await coded()
    const crowded = full()
    const headers = basic(app)
    const post = (path: string, given: Record<string, string>, of: object = { headers }) =>
      crowded.send('POST', path, { ...of, raw: new URLSearchParams(given) })
    const { status, body } = await post('/oauth/token', fields)
    expect(status).toBe(200)
    const { access_token: token, refresh_token } = body as never as Record<string, string>
    expect((await crowded.send('GET', '/oauth/userinfo', { token: token! })).status).toBe(200)
    expect((await post('/oauth/introspect', { token: token! })).body.active).toBe(true)
    const refresh = { grant_type: 'refresh_token', refresh_token: refresh_token! }
    expect((await post('/oauth/token', refresh)).status).toBe(200)
    // Its session has been counted twice by now.
    expect((await post('/oauth/token', refresh)).status).toBe(429)
    const userinfo = { access_token: (await ask(app, (await coded()).fields)).body.access_token as string }
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    expect((await post('/oauth/userinfo', userinfo, { headers: form })).status).toBe(200)
  })

  test('does not affect a server that authenticates with its secret to push requests, or as a service', async () => {
    const crowded = full()
    const service = await addApp(api, {
      grants: ['client_credentials'],
      redirect_uris: [],
      scopes: ['users:read'],
    })
    const post = (path: string, by: ClientWithSecret, fields: Record<string, string>) =>
      crowded.send('POST', path, { headers: basic(by), raw: new URLSearchParams(fields) })
    const pushed = Object.fromEntries(new URLSearchParams((await begin(app)).search))
    for (let time = 0; time < 4; time++) {
      expect((await post('/oauth/par', app, { ...pushed, client_secret: '' })).status).toBe(201)
      expect((await post('/oauth/token', service, { grant_type: 'client_credentials' })).status).toBe(200)
    }
    const stranger = { ...service, client_secret: 'cs_x' }
    expect((await post('/oauth/token', stranger, { grant_type: 'client_credentials' })).status).toBe(429)
    // What it sends on behalf of a user is counted for that user.
    expect((await post('/oauth/token', service, { grant_type: 'authorization_code' })).status).toBe(429)
  })

  test('counts introspection by service, whatever it asks about, and never on others’ account', async () => {
    const crowded = full()
    const ask = async (client: ClientWithSecret, by = basic(client)) =>
      (
        await crowded.send('POST', '/oauth/introspect', {
          headers: by,
          raw: new URLSearchParams({ token: 'x' }),
        })
      ).status
    for (let time = 0; time < 5; time++) expect(await ask(app)).toBe(200)
    expect(await ask({ ...app, client_secret: `cs_${'A'.repeat(43)}` })).toBe(429)
    const other = await addApp(api)
    expect(await ask({ ...app, client_secret: other.client_secret! })).toBe(429)
    // The last character has unused bits: another spelling of the same bytes is not counted separately.
    const spelled = app.client_secret!.replace(/.$/, (last) => {
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      return alphabet[alphabet.indexOf(last) ^ 1]!
    })
    expect(await ask({ ...app, client_secret: spelled })).toBe(429)
    const busy = openApi({ ...bindings, RATE_LIMIT_BY_IP: limiter(0), RATE_LIMIT_READS: limiter(1) } as never)
    const asked = () =>
      busy.send('POST', '/oauth/introspect', {
        headers: basic(app),
        raw: new URLSearchParams({ token: 'x' }),
      })
    expect([(await asked()).status, (await asked()).status]).toEqual([200, 429])
  })

  test('is told so as an OAuth error, and so is a caller without a provider here', async () => {
    const raw = new URLSearchParams({ grant_type: 'authorization_code', code: 'x' })
    const none = openApi({ ...bindings, OPENID_KEYS: undefined })
    for (const path of ['/oauth/token', '/oauth/introspect', '/oauth/userinfo'])
      for (const [where, code] of [
        [full(), 'too_many_requests'],
        [none, 'not_found'],
      ] as const) {
        const { headers, body } = await where.send('POST', path, { raw })
        const type = headers.get('content-type')
        expect([path, type, body.code]).toEqual([path, 'application/problem+json', code])
      }
  })
})
