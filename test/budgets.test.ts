import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { expect } from 'vitest'
import { openForCron } from '../src/context.ts'
import { keyPrefixOf } from '../src/database/redis.ts'
import { verifyFor } from '../src/oauth/introspection/workers.ts'
import { DEVICE_CODE } from '../src/oauth/models.ts'
import { makeFormToken } from '../src/pages/forms.ts'
import { sealForeignHash } from '../src/passwords/foreign/sealing.ts'
import { actionOf, begin, shownBy } from './openid/support.ts'
import { type Api, type Options, openApi, PASSWORD } from './support/api.ts'
import { addPasskey, addTotp, challengeOf } from './support/factors.ts'
import { goTo, newJar, withProviders } from './support/identities.ts'
import { addKey } from './support/keys.ts'
import { addApp, letApp, REDIRECT } from './support/oauth.ts'
import { signedIn } from './support/pages.ts'
import { freshUpstreams, testOfRedis } from './support/upstreams.ts'

/** passlib.hash.bcrypt */
const FOREIGN = {
  password: 'correct horse battery',
  hash: '$2a$06$nbu7TNXBePo3K0KQ1OEfQORRjd/iChqJvxNSGwgb2SdYPOGUsR7te',
}

const wrong = { email: 'nobody@people.test', password: PASSWORD }

const NO_MAIL = { MAIL_FROM: undefined, RESEND_API_KEY: undefined, RESEND_URL: undefined }

/** Route, depth, calls of libSQL, calls of Redis, rows read, rows written. */
type Budget = [string, number, number, number, number, number, Options?]

async function measureAll(own: Awaited<ReturnType<typeof freshUpstreams>>, api: Api, requests: Budget[]) {
  const measured = []
  for (const [route, , , , mostRead, , options] of requests) {
    const [method, path] = route.split(' ') as [string, string]
    const { result, calls } = await own.measure(() => api.send(method, path, options))
    const depth = Number(/depth;desc="(\d+)"/.exec(result.headers.get('server-timing') ?? '')?.[1] ?? 0)
    const of = (upstream: string) => calls.filter((call) => call.upstream === upstream).length
    const statements = calls.flatMap((call) => call.statements)
    const sum = (rows: 'rowsRead' | 'rowsWritten') => statements.reduce((all, one) => all + one[rows], 0)
    // Looking for a counter that does not exist reads its neighbour, if there is one: their keys are random.
    const read = sum('rowsRead') === mostRead - 1 ? mostRead : sum('rowsRead')
    measured.push([route, depth, of('libsql'), of('redis'), read, sum('rowsWritten')])
  }
  return measured
}

/** Upstream calls of one request, how many of them had to wait for one another, and the rows that they read and wrote. */
testOfRedis('Every request stays within its budget of trips, calls and rows', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const admin = await api.actor({ role: 'admin' })
  const [ada, eve] = [await api.actor(), await api.actor()]
  const newAddress = () => `${crypto.randomUUID()}@people.test`
  const signedUp = { email: newAddress(), password: PASSWORD, name: 'Ada' }
  const changed = { current_password: PASSWORD, new_password: 'nine green bears run' }
  const moved = { new_email: newAddress(), current_password: PASSWORD }
  const came = await api.person()
  await api.sql('UPDATE users SET password_hash = ? WHERE id = ?', [
    await sealForeignHash(api.config(), came.id, FOREIGN.hash),
    came.id,
  ])
  const requests: Budget[] = [
    // route, depth, calls of libSQL, calls of Redis, rows read, rows written. What comes after the answer is
    // included: two calls for each mail, which is claimed, and marked as sent. Mails are looked for even if there are
    // none.
    ['GET /health', 0, 0, 0, 0, 0],
    ['GET /.well-known/jwks.json', 0, 0, 0, 0, 0],
    ['GET /ready', 1, 1, 1, 18, 0],
    // Somebody who may not be mailed any more is refused before the hash.
    // Whether anybody is blocked costs one row, before the hash and after it; if so, one more for each entry that
    // could apply.
    ['POST /v1/auth/signup', 2, 4, 0, 44, 35, { body: signedUp }],
    ['POST /v1/auth/login', 2, 2, 0, 30, 12, { body: { email: ada.email, password: PASSWORD } }],
    ['POST /v1/auth/login', 2, 2, 0, 8, 8, { body: wrong }],
    // A hash of other software becomes one of ours in the login's own batch.
    ['POST /v1/auth/login', 2, 2, 0, 27, 12, { body: { email: came.email, password: FOREIGN.password } }],
    ['POST /v1/auth/refresh_token', 1, 1, 0, 7, 1, { body: { refresh_token: ada.refreshToken } }],
    ['POST /v1/auth/refresh_token', 0, 0, 0, 0, 0, { body: { refresh_token: 'rt_x' } }],
    // From the nearest Redis. The first time from libSQL, whose answer is copied to Redis afterwards.
    ['GET /v1/users/me', 2, 1, 2, 2, 0, { token: ada.token }],
    ['GET /v1/users/me', 1, 0, 1, 0, 0, { token: ada.token }],
    ['GET /v1/users/me/activity', 1, 1, 0, 5, 0, { token: ada.token }],
    ['GET /v1/auth/sessions', 1, 1, 0, 5, 0, { token: ada.token }],
    ['GET /v1/users', 1, 1, 0, 17, 0, { token: admin.token }],
    ['GET /v1/users?q=nobody', 1, 1, 0, 2, 0, { token: admin.token }],
    [`GET /v1/users/${eve.id}`, 1, 1, 0, 3, 0, { token: admin.token }],
    ['GET /v1/activity', 1, 1, 0, 21, 0, { token: admin.token }],
    ['PATCH /v1/users/me', 2, 2, 1, 16, 7, { token: ada.token, body: { name: 'Grace' } }],
    [`GET /v1/users/${eve.id}/sessions`, 1, 1, 0, 5, 0, { token: admin.token }],
    // There is nothing to change, which may be due to a lagging replica: so the primary is asked.
    [`POST /v1/users/${eve.id}/enable`, 2, 2, 1, 4, 0, { token: admin.token }],
    ['GET /v1/users/me/export', 1, 1, 0, 16, 4, { token: eve.token }],
    ['POST /v1/auth/change_password', 2, 3, 1, 37, 14, { token: ada.token, body: changed }],
    ['POST /v1/auth/resend_verification', 1, 3, 0, 34, 20, { body: { email: eve.email } }],
    ['POST /v1/auth/forgot_password', 1, 3, 0, 37, 24, { body: { email: eve.email } }],
    ['POST /v1/auth/forgot_password', 1, 2, 0, 14, 6, { body: { email: wrong.email } }],
    ['POST /v1/auth/change_email', 2, 4, 0, 52, 27, { token: eve.token, body: moved }],
    ['POST /v1/invitations', 1, 3, 0, 41, 28, { token: admin.token, body: { email: newAddress() } }],
    ['GET /v1/invitations', 1, 1, 0, 4, 0, { token: admin.token }],
    [`POST /v1/users/${eve.id}/disable`, 2, 2, 1, 45, 21, { token: admin.token, body: { reason: 'left' } }],
    ['POST /v1/auth/logout', 1, 1, 1, 8, 6, { token: ada.token }],
  ]
  await api.send('GET', '/ready') // Once a minute it writes a row, in a trip of its own.
  const measured = await measureAll(own, api, requests)
  expect(measured).toEqual(requests.map((request) => request.slice(0, 6)))
})

testOfRedis(
  'So does signing up without mail, which writes nothing for a mail that nobody would get',
  async () => {
    const own = await freshUpstreams()
    const api = openApi({ ...own.bindings, ...NO_MAIL, DEBUG_TIMING: 'on' })
    const signUp = (): Budget => [
      ...(['POST /v1/auth/signup', 2, 2, 0, 26, 19] as const),
      { body: { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' } },
    ]
    // The account, its history, and the counters of the network and of the range around it.
    await expectWithin(own, api, [signUp(), signUp()])
    expect(await api.sql('SELECT * FROM one_time_tokens')).toEqual([])
  },
)

testOfRedis('So do the two halves of a login with a second factor', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const ada = await api.person({ email_verified_at: 1 })
  const { recoveryCodes } = await addTotp(api, ada)
  const { challenge } = await challengeOf(api, ada)
  const answer = { challenge, recovery_code: recoveryCodes[0] }
  const requests: Budget[] = [
    ['POST /v1/auth/login', 2, 2, 0, 29, 5, { body: { email: ada.email, password: PASSWORD } }],
    ['POST /v1/auth/login/second_factor', 2, 2, 0, 48, 14, { body: answer }],
  ]
  await expectWithin(own, api, requests)
})

testOfRedis('So does signing in to an app', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const app = await addApp(api, { post_logout_redirect_uris: [REDIRECT], scopes: ['openid', 'email'] })
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  const { cookie, binding } = await signedIn(api, ada)
  const headers = { cookie }
  const { token } = await api.signIn(ada)
  const { search, verifier } = await begin(app, { scope: 'openid email' })
  const form_token = makeFormToken({ config: api.config(), now: Date.now() }, binding)
  const place = `/oauth/authorize?${search}`
  const question = await api.send('GET', place, { headers })
  const consent = {
    headers,
    raw: new URLSearchParams({ form_token, decision: 'allow', ...shownBy(question.text) }),
  }
  const basic = { authorization: `Basic ${btoa(`${app.client_id}:${app.client_secret}`)}` }
  const byApp = (fields: Record<string, string>) => ({ headers: basic, raw: new URLSearchParams(fields) })
  const service = await addApp(api, {
    grants: ['client_credentials'],
    redirect_uris: [],
    scopes: ['tokens:introspect'],
  })
  const byService = (fields: Record<string, string>) => ({
    headers: { authorization: `Basic ${btoa(`${service.client_id}:${service.client_secret}`)}` },
    raw: new URLSearchParams(fields),
  })
  const asked: Budget[] = [
    // The app, the session and the consent, in one trip; a code is encrypted, and not stored.
    [`GET ${place}`, 1, 1, 0, 3, 0, { headers }],
    [`POST ${actionOf(question.text)}`, 2, 2, 1, 18, 8, consent],
    [`GET ${place}`, 1, 1, 0, 4, 0, { headers }],
  ]
  await expectWithin(own, api, asked)
  // The consent was a change: for three minutes no copies would be used.
  await api.redis('DEL', `${keyPrefixOf(api.config().ISSUER)}doubt:${ada.id}`)
  // A pushed request is used up when its code is issued: one more trip and row.
  const pushed = await api.send('POST', '/oauth/par', { headers: basic, raw: new URLSearchParams(search) })
  const arrival = { client_id: app.client_id, request_uri: String(pushed.body.request_uri) }
  await expectWithin(own, api, [
    ['POST /oauth/par', 1, 1, 0, 1, 0, { headers: basic, raw: new URLSearchParams(search) }],
    [`GET /oauth/authorize?${new URLSearchParams(arrival)}`, 2, 2, 0, 6, 1, { headers }],
  ])
  const redeeming = async () => {
    const { headers: answered } = await api.send('GET', place, { headers })
    const code = new URL(answered.get('location')!).searchParams.get('code')!
    return byApp({ grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier })
  }
  const { body: tokens } = await api.send('POST', '/oauth/token', await redeeming())
  const [access, refresh, hint] = [tokens.access_token, tokens.refresh_token, tokens.id_token] as string[]
  const { body: grants } = await api.send<{ data: { id: string }[] }>('GET', '/v1/auth/grants', { token })
  const grant = `/v1/auth/grants/${grants.data[0]!.id}`
  const logout = `GET /oauth/logout?${new URLSearchParams({ client_id: app.client_id, post_logout_redirect_uri: REDIRECT })}`
  await expectWithin(own, api, [
    ['POST /oauth/token', 2, 2, 0, 27, 8, await redeeming()],
    ['POST /oauth/token', 1, 1, 0, 1, 0, byApp({ grant_type: 'authorization_code', code: 'x' })],
    ['GET /oauth/userinfo', 1, 1, 0, 5, 0, { token: access! }],
    // The first time from libSQL, whose answers are copied to Redis afterwards; then by one call of Redis.
    ['POST /oauth/introspect', 2, 1, 3, 9, 0, byApp({ token: access! })],
    ['POST /oauth/introspect', 1, 0, 1, 0, 0, byApp({ token: access! })],
    // A token that is not its own: the service's owner is asked for as well.
    ['POST /oauth/introspect', 2, 1, 2, 9, 0, byService({ token: access! })],
    // Now the owner is known, and so is which keys to ask for.
    ['POST /oauth/introspect', 2, 1, 3, 9, 0, byService({ token: access! })],
    ['POST /oauth/introspect', 1, 0, 1, 0, 0, byService({ token: access! })],
    ['POST /oauth/token', 1, 2, 0, 5, 1, byService({ grant_type: 'client_credentials' })],
    ['POST /oauth/token', 2, 2, 0, 13, 1, byApp({ grant_type: 'refresh_token', refresh_token: refresh! })],
    ['POST /oauth/revoke', 2, 2, 1, 9, 6, byApp({ token: access! })],
    ['GET /v1/auth/grants', 1, 1, 0, 4, 0, { token }],
    [`PATCH ${grant}`, 2, 2, 1, 25, 5, { token, body: { scopes: ['openid'] } }],
    [`DELETE ${grant}`, 2, 2, 1, 21, 7, { token }],
    [logout, 1, 1, 0, 3, 0, { headers }],
    [`${logout}&id_token_hint=${hint}`, 2, 2, 1, 15, 6, { headers }],
  ])
})

testOfRedis('So does coming back from a provider, which is called once', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, ...withProviders({ DEBUG_TIMING: 'on' }) })
  const ada = await api.person({ email_verified_at: 1 })
  const sub = crypto.randomUUID()
  await api.sql(
    "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?, 'corp', ?, ?, 1)",
    [crypto.randomUUID(), sub, ada.id],
  )
  const somebodyNew = () => ({
    sub: crypto.randomUUID(),
    email: `${crypto.randomUUID()}@fjord.test`,
    email_verified: true,
  })
  async function cost(say: object, path?: string) {
    const jar = newJar(api)
    const { back } = await goTo(jar, 'corp')
    const come = () => jar.open(back({ claims: { auth_time: Math.floor(Date.now() / 1000), ...say } }))
    let act = come
    if (path) {
      await come()
      const form_token = await jar.tokenOf(path)
      act = () => jar.post(path, { form_token, name: 'Ada' })
    }
    const { result, calls } = await own.measure(act)
    expect(result.status).toBe(303)
    const depth = Number(/depth;desc="(\d+)"/.exec(result.headers.get('server-timing') ?? '')?.[1])
    const of = (upstream: string) => calls.filter((call) => call.upstream === upstream).length
    const written = calls.flatMap((call) => call.statements).reduce((all, one) => all + one.rowsWritten, 0)
    return [depth, of('libsql'), of('redis'), written]
  }
  // The provider's keys are requested once.
  await cost({ sub })
  expect({
    // Two calls and the rows for them are the mail about a new device.
    'signs in': await cost({ sub }),
    // Asks the primary as well, as a replica may not know them yet.
    'is to join': await cost(somebodyNew()),
    joins: await cost(somebodyNew(), '/signin/with/corp/join'),
  }).toEqual({ 'signs in': [3, 5, 0, 23], 'is to join': [4, 4, 0, 1], joins: [2, 2, 0, 33] })
})

testOfRedis('So does a question of another Worker about a token', async () => {
  const own = await freshUpstreams()
  const api = openApi(own.bindings)
  const ada = await api.quickActor()
  const { token: ofApp } = await letApp(api, ada, { scope: 'openid users:read' })
  const ask = async (token: string, wanted: object = {}) => {
    const { result, calls, depth } = await own.measure(async () => {
      const context = createExecutionContext()
      const said = await verifyFor(openForCron(api.bindings, context), token, wanted)
      await waitOnExecutionContext(context)
      return said
    })
    expect(result.active).toBe(true)
    const of = (upstream: string) => calls.filter((call) => call.upstream === upstream).length
    return [depth, of('libsql'), of('redis')]
  }
  for (const token of [ada.token, ofApp]) {
    // libSQL's answer is copied to Redis afterwards, and from then on one call of Redis is enough.
    expect(await ask(token)).toEqual([3, 1, 2])
    expect(await ask(token)).toEqual([1, 0, 1])
    expect(await ask(token, { isFresh: true })).toEqual([1, 1, 0])
  }
})

testOfRedis('So do requests with a key, and making one', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const admin = await api.quickActor({ role: 'admin', email_verified_at: 1, password_hash: null })
  const eve = await api.person({ password_hash: null })
  const { token } = admin
  const { key, id } = await addKey(api, admin, ['users:read', 'users:update'])
  await expectWithin(own, api, [
    // The first use is recorded after the answer.
    ['GET /v1/users', 1, 2, 0, 16, 1, { token: key }],
    ['GET /v1/users', 1, 1, 0, 14, 0, { token: key }],
    [`GET /v1/users/${eve.id}`, 1, 1, 0, 3, 0, { token: key }],
    ['GET /v1/users/me', 1, 1, 0, 2, 0, { token: key }],
    [`PATCH /v1/users/${eve.id}`, 2, 2, 1, 21, 10, { token: key, body: { name: 'Grace' } }],
    // Two rows, and the mail, which is claimed and marked as sent.
    ['POST /v1/api_keys', 2, 4, 0, 32, 16, { token, body: { name: 'Report', permissions: [] } }],
    [`POST /v1/api_keys/${id}/rotate`, 2, 4, 0, 35, 15, { token }],
    ['GET /v1/api_keys', 1, 1, 0, 4, 0, { token }],
    [`DELETE /v1/api_keys/${id}`, 2, 2, 0, 12, 5, { token }],
  ])
})

testOfRedis('So does a device without a browser', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const ada = await api.person({ email_verified_at: 1, password_hash: null })
  const { cookie, binding } = await signedIn(api, ada)
  const headers = { cookie }
  const form_token = makeFormToken({ config: api.config(), now: Date.now() }, binding)
  const cli = await addApp(api, { type: 'public', grants: [DEVICE_CODE], redirect_uris: [] })
  const ofCli = (fields: Record<string, string>) => ({
    raw: new URLSearchParams({ client_id: cli.client_id, ...fields }),
  })
  const begun = await api.send('POST', '/oauth/device_authorization', ofCli({ scope: 'openid' }))
  const { device_code, user_code } = begun.body as Record<string, string>
  const poll = ofCli({ grant_type: DEVICE_CODE, device_code: device_code! })
  const typed = { headers, raw: new URLSearchParams({ form_token, code: user_code! }) }
  const { text } = await api.send('POST', '/device', typed)
  const [device, shown] = ['device', 'shown'].map(
    (name) => new RegExp(`name="${name}" value="([^"]*)"`).exec(text)![1]!,
  )
  const yes = new URLSearchParams({ form_token, device: device!, shown: shown!, decision: 'allow' })
  await expectWithin(own, api, [
    ['POST /oauth/device_authorization', 2, 2, 0, 5, 2, ofCli({ scope: 'openid' })],
    ['POST /oauth/token', 1, 1, 0, 3, 0, poll],
    // Counted before it is looked for, and taken back because it was right.
    ['POST /device', 2, 2, 0, 12, 3, typed],
    ['POST /device', 3, 3, 1, 20, 9, { headers, raw: yes }],
    ['POST /oauth/token', 2, 2, 0, 29, 9, poll],
  ])
})

testOfRedis('So do the pages', async () => {
  const own = await freshUpstreams()
  const api = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
  const [ada, admin] = [await api.person(), await api.person({ role: 'admin' })]
  for (let i = 0; i < 3; i++) await api.logIn(ada)
  await addPasskey(api, { ...ada, ...(await api.signIn(ada)) })
  const as = async (somebody: { id: string }) => ({
    headers: { cookie: (await signedIn(api, somebody)).cookie },
  })
  const [asAda, asAdmin] = [await as(ada), await as(admin)]
  await expectWithin(own, api, [
    ['GET /signin', 0, 0, 0, 0, 0],
    ['GET /account', 1, 1, 0, 4, 0, asAda],
    ['GET /account/security', 1, 3, 0, 5, 0, asAda],
    ['GET /account/sessions', 1, 1, 0, 7, 0, asAda],
    ['GET /account/activity', 1, 1, 0, 5, 0, asAda],
    ['GET /admin', 1, 3, 1, 85, 0, asAdmin],
    ['GET /admin/people', 1, 2, 0, 54, 0, asAdmin],
    // Everything about somebody: four sessions, a passkey, and their history.
    [`GET /admin/people/${ada.id}`, 1, 1, 0, 34, 0, asAdmin],
    ['GET /admin/activity', 1, 1, 0, 24, 0, asAdmin],
  ])
})

/** Exact numbers of trips, calls and rows written. The rows read may differ by one, for a page of an index. */
async function expectWithin(own: Awaited<ReturnType<typeof freshUpstreams>>, api: Api, requests: Budget[]) {
  const measured = await measureAll(own, api, requests)
  const butRead = ([route, depth, libsql, redis, , written]: unknown[]) => [
    route,
    depth,
    libsql,
    redis,
    written,
  ]
  expect(measured.map(butRead)).toEqual(requests.map(butRead))
  for (const [index, [route, , , , read]] of measured.entries())
    expect(read, String(route)).toBeLessThanOrEqual(requests[index]![4])
}
