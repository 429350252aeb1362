import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import { afterEach, beforeAll, expect, test, vi } from 'vitest'
import { type Answer, type Api, linkIn, type Options, openApi, PASSWORD } from './support/api.ts'
import { softwarePasskey } from './support/authenticator.ts'
import { addPasskey, addTotp, challengeOf, codeOf, mailedCode, wrongCodeOf } from './support/factors.ts'
import { openJar } from './support/jar.ts'
import { addKey } from './support/keys.ts'
import { codeIn } from './support/mails.ts'
import { addApp, letApp, REDIRECT } from './support/oauth.ts'
import { newPerson } from './support/requests.ts'
import { freshUpstreams } from './support/upstreams.ts'

/** Every problem code, provoked once. Each answer has one log line, with its reason as a code. */

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  // An administrator who remains, whatever is done to others.
  await api.person({ role: 'admin', email_verified_at: 1 })
})
afterEach(async () => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  await own.behave('libsql', { mode: 'pass' })
  await own.behave('mail', { mode: 'pass' })
})

const post = (path: string, body?: unknown, options: Options = {}, by = api) =>
  by.send('POST', path, { body, ...options })
const as = (role: 'user' | 'manager' | 'admin', given: object = {}) =>
  api.quickActor({ role, email_verified_at: 1, ...given })
const logIn = (body: object, by = api) => post('/v1/auth/login', body, {}, by)
const full = { limit: async () => ({ success: false }) }

/** Separate upstreams, for what would affect other tests. */
const lone = async (bindings: object = {}, schema = {}) =>
  openApi({ ...(await freshUpstreams(schema)).bindings, ...bindings })

const ready = (of: Api) => of.send('GET', '/ready')

const TURNSTILE = {
  TURNSTILE_SITE_KEY: '1x00000000000000000000AA',
  TURNSTILE_SECRET: '1x0000000000000000000000000000000AA',
}

/** One request for each code, which gets it as its answer. */
const PROVOKE: Record<string, () => Promise<Answer>> = {
  invalid_json: () =>
    post('/v1/auth/login', undefined, { raw: '{', headers: { 'content-type': 'application/json' } }),
  unreadable_body: () => {
    const raw = new ReadableStream({ pull: (controller) => controller.error(new Error('it broke off')) })
    return post('/v1/auth/login', undefined, { raw, headers: { 'content-type': 'application/json' } })
  },
  unsupported_media_type: () =>
    post('/v1/auth/login', undefined, { raw: 'x', headers: { 'content-type': 'text/plain' } }),
  body_too_large: () => logIn({ email: 'x'.repeat(70_000), password: PASSWORD }),
  body_too_slow: async () => {
    const wait = setTimeout
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const raw = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('{')),
    })
    const answering = post('/v1/auth/login', undefined, {
      raw,
      headers: { 'content-type': 'application/json' },
    })
    while (vi.getTimerCount() === 0) await new Promise((resolve) => wait(resolve, 5))
    await vi.advanceTimersByTimeAsync(10_000)
    return answering
  },
  invalid_input: () => logIn({}),
  not_found: () => api.send('GET', '/nowhere'),
  insufficient_scope: async () => {
    const { token } = await letApp(api, await api.person(), { scope: 'openid' })
    return api.send('GET', '/v1/users/me', { token })
  },
  client_not_found: async () =>
    api.send('GET', `/v1/oauth_clients/${crypto.randomUUID()}`, { token: (await as('admin')).token }),
  client_has_no_secret: async () => {
    const { token } = await as('admin')
    const { client_id: id } = await addApp(api, { type: 'public' })
    return post(`/v1/oauth_clients/${id}/secret`, {}, { token })
  },
  resource_taken: async () => {
    const { token } = await as('admin')
    const resources = [{ url: 'https://notes.example', scopes: ['notes:read'] }]
    await addApp(api, { resources })
    const body = { name: 'Notes', type: 'confidential', redirect_uris: [REDIRECT], resources }
    return post('/v1/oauth_clients', body, { token })
  },
  too_many_clients: async () => {
    const { token } = await as('admin')
    const { client_id: id } = await addApp(api)
    const columns = Object.keys((await api.sql('SELECT * FROM oauth_clients LIMIT 1'))[0]!).filter(
      (name) => name !== 'id',
    )
    await api.sql(
      `INSERT INTO oauth_clients (id, ${columns}) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
      SELECT 'app-' || i, ${columns} FROM n, oauth_clients WHERE id = ?`,
      [id],
    )
    const answer = await post(
      '/v1/oauth_clients',
      { name: 'One more', type: 'public', redirect_uris: [REDIRECT] },
      { token },
    )
    await api.sql("DELETE FROM oauth_clients WHERE id LIKE 'app-%'")
    return answer
  },
  webhook_not_found: async () =>
    api.send('GET', `/v1/webhooks/${crypto.randomUUID()}`, { token: (await as('admin')).token }),
  delivery_not_found: async () =>
    post('/v1/webhooks/deliveries/1/retry', undefined, { token: (await as('admin')).token }),
  too_many_webhooks: async () => {
    const { token } = await as('admin')
    await api.sql(
      `INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
        SELECT 'hook-' || i, 'https://a.example', '[]', 's', 0, 0, 1 FROM n`,
    )
    const body = { url: 'https://hooks.example.com/x', types: ['user.purged'] }
    return post('/v1/webhooks', body, { token }).finally(() =>
      api.sql("DELETE FROM webhooks WHERE id LIKE 'hook-%'"),
    )
  },
  too_many_signup_blocks: async () => {
    const { token } = await as('admin')
    await api.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
      INSERT INTO signup_blocks (entry, created_at) SELECT 'd-' || i || '.example', 1 FROM n`)
    return api
      .send('PATCH', '/v1/signup_blocks', { token, body: { add: ['one-more.test'] } })
      .finally(() => api.sql('DELETE FROM signup_blocks'))
  },
  method_not_allowed: () => api.send('DELETE', '/v1/auth/login'),
  invalid_cursor: async () => api.send('GET', '/v1/users?cursor=x', { token: (await as('admin')).token }),
  page_too_deep: async () => api.send('GET', '/v1/users?page=1000000', { token: (await as('admin')).token }),
  invalid_idempotency_key: () =>
    post('/v1/auth/signup', newPerson(), { headers: { 'idempotency-key': '\t"' } }),
  idempotency_key_reused: async () => {
    const headers = { 'idempotency-key': crypto.randomUUID() }
    const somebody = newPerson()
    await post('/v1/auth/signup', somebody, { headers })
    return post('/v1/auth/signup', { ...somebody, name: 'Else' }, { headers })
  },
  gone: async () => {
    const headers = { 'idempotency-key': crypto.randomUUID() }
    const somebody = newPerson()
    const { body } = await post('/v1/auth/signup', somebody, { headers })
    await api.send('DELETE', `/v1/users/${body.id}?hard=true`, { token: (await as('admin')).token })
    return post('/v1/auth/signup', somebody, { headers })
  },
  invalid_if_match: async () =>
    api.send('PATCH', '/v1/users/me', {
      token: (await as('user')).token,
      body: { name: 'Grace' },
      headers: { 'if-match': 'x' },
    }),
  version_mismatch: async () =>
    api.send('PATCH', '/v1/users/me', {
      token: (await as('user')).token,
      body: { name: 'Grace' },
      headers: { 'if-match': '"7"' },
    }),
  unauthenticated: () => api.send('GET', '/v1/users/me'),
  invalid_token: () => api.send('GET', '/v1/users/me', { token: 'a.b.c' }),
  invalid_refresh_token: () => post('/v1/auth/refresh_token', { refresh_token: 'x' }),
  session_revoked: async () => {
    const { id, refreshToken } = await as('user')
    await api.sql("UPDATE sessions SET revoked_at = 1, revoked_reason = 'ended' WHERE user_id = ?", [id])
    return post('/v1/auth/refresh_token', { refresh_token: refreshToken })
  },
  session_not_found: async () =>
    api.send('DELETE', `/v1/auth/sessions/${crypto.randomUUID()}`, { token: (await as('user')).token }),
  invalid_credentials: () => logIn({ email: newPerson().email, password: PASSWORD }),
  account_disabled: async () => {
    const { email } = await api.person({ status: 'disabled', email_verified_at: 1 })
    return logIn({ email, password: PASSWORD })
  },
  email_not_verified: async () => {
    const required = openApi({ ...own.bindings, EMAIL_VERIFICATION: 'required' })
    const somebody = newPerson()
    const { signup_token } = (await post('/v1/auth/signup', somebody, {}, required)).body
    return logIn({ email: somebody.email, password: PASSWORD, signup_token }, required)
  },
  wrong_password: async () =>
    post(
      '/v1/auth/change_password',
      { current_password: 'nine green bears run', new_password: 'ten green bears run' },
      { token: (await as('user')).token },
    ),
  proof_needed: async () => {
    const { email } = await api.person()
    await post('/v1/auth/resend_verification', { email })
    return post('/v1/auth/verify_email', { token: linkIn((await api.mailsTo(email))[0]!).token })
  },
  invalid_link: () => post('/v1/auth/unlock_account', { token: 'x' }),
  signup_closed: async () =>
    post('/v1/auth/signup', newPerson(), {}, openApi({ ...own.bindings, SIGNUP: 'closed' })),
  signup_domain_refused: () =>
    post(
      '/v1/auth/signup',
      newPerson(),
      {},
      openApi({ ...own.bindings, SIGNUP_DOMAINS: 'corp.example', EMAIL_VERIFICATION: 'required' }),
    ),
  signup_blocked: () =>
    post('/v1/auth/signup', newPerson(), {}, openApi({ ...own.bindings, SIGNUP_BLOCKED: 'people.test' })),
  forbidden: async () => api.send('GET', '/v1/users', { token: (await as('user')).token }),
  outranked: async () => {
    const { id } = await as('admin')
    return post(`/v1/users/${id}/enable`, undefined, { token: (await as('manager')).token })
  },
  own_account: async () => {
    const { id, token } = await as('manager')
    return post(`/v1/users/${id}/enable`, undefined, { token })
  },
  reauthentication_required: async () => {
    const admin = await api.person({ role: 'admin' })
    const { token } = await api.signIn(admin, Date.now() - 3_600_000)
    return post('/v1/users', newPerson('manager'), { token })
  },
  user_not_found: async () =>
    api.send('GET', `/v1/users/${crypto.randomUUID()}`, { token: (await as('manager')).token }),
  no_earlier_email: async () => {
    const { token } = await as('admin')
    const { id } = await api.person({ deleted_at: Date.now() })
    return api.send('POST', `/v1/users/${id}/restore?earlier_email=true`, { token })
  },
  user_deleted: async () => {
    const { id } = await api.person({ deleted_at: 1 })
    return post(`/v1/users/${id}/enable`, undefined, { token: (await as('admin')).token })
  },
  email_taken: async () => {
    const { email } = await api.person()
    return post('/v1/users', { ...newPerson(), email }, { token: (await as('manager')).token })
  },
  external_id_taken: async () => {
    const { token } = await as('manager')
    await post('/v1/users', { ...newPerson(), external_id: 'crm-1' }, { token })
    return post('/v1/users', { ...newPerson(), external_id: 'crm-1' }, { token })
  },
  address_not_verified: async () => {
    const { id } = await api.person()
    const { token } = await as('admin')
    return api.send('PATCH', `/v1/users/${id}`, { token, body: { role: 'manager' } })
  },
  until_in_the_past: async () => {
    const { id } = await api.person()
    const body = { reason: 'x', until: '2020-01-01T00:00:00Z' }
    return post(`/v1/users/${id}/disable`, body, { token: (await as('manager')).token })
  },
  last_admin: async () => {
    const alone = await lone()
    const { token } = await alone.quickActor({ role: 'admin', email_verified_at: 1 })
    return alone.send('DELETE', '/v1/users/me', { token, body: { password: PASSWORD } })
  },
  write_conflict: async () => {
    const { id, token } = await as('user')
    const body = { current_password: PASSWORD, new_password: 'nine green bears run' }
    const change = () => post('/v1/auth/change_password', body, { token })
    const rename = () => api.sql("UPDATE users SET role = 'manager' WHERE id = ?", [id])
    return (await own.between(change, rename, { nth: 2 })).result
  },
  invitation_not_found: async () =>
    post(`/v1/invitations/${crypto.randomUUID()}/resend`, undefined, { token: (await as('manager')).token }),
  invitation_ended: async () => {
    const { token } = await as('manager')
    const { body } = await post('/v1/invitations', { email: newPerson().email }, { token })
    await api.send('DELETE', `/v1/invitations/${body.id}`, { token })
    return post(`/v1/invitations/${body.id}/resend`, undefined, { token })
  },
  invitation_open: async () => {
    const { email } = newPerson()
    await post('/v1/invitations', { email }, { token: (await as('manager')).token })
    return byMailedCode({ email, name: 'Ada' })
  },
  name_needed: () => byMailedCode({ email: newPerson().email }),
  too_many_attempts: async () => {
    const { email } = await api.person()
    const { token } = await as('manager')
    const invite = () => post('/v1/invitations', { email: `x${email}` }, { token })
    for (let i = 0; i < 3; i++) await invite()
    return invite()
  },
  too_many_requests: () =>
    logIn(
      { email: newPerson().email, password: PASSWORD },
      openApi({ ...own.bindings, RATE_LIMIT_BY_IP: full }),
    ),
  rate_limit_unavailable: () =>
    logIn(
      { email: newPerson().email, password: PASSWORD },
      openApi({
        ...own.bindings,
        RATE_LIMIT_BY_IP: { limit: async () => Promise.reject(new Error('away')) },
      }),
    ),
  misconfigured: () =>
    logIn(
      { email: newPerson().email, password: PASSWORD },
      openApi({ ...own.bindings, RATE_LIMIT_BY_IP: undefined }),
    ),
  mail_not_configured: () =>
    post(
      '/v1/auth/forgot_password',
      { email: newPerson().email },
      {},
      openApi({ ...own.bindings, MAIL_FROM: undefined, RESEND_API_KEY: undefined, RESEND_URL: undefined }),
    ),
  internal_error: () =>
    logIn(
      { email: newPerson().email, password: PASSWORD },
      openApi({ ...own.bindings, RATE_LIMIT_BY_IP: { limit: () => 0 } }),
    ),
  challenge_failed: () =>
    post('/v1/auth/signup', newPerson(), {}, openApi({ ...own.bindings, ...TURNSTILE })),
  challenge_unavailable: () => {
    const away = { ...own.bindings, ...TURNSTILE, TURNSTILE_URL: 'http://127.0.0.1:1' }
    return post('/v1/auth/signup', { ...newPerson(), challenge_token: 'token' }, {}, openApi(away))
  },
  identity_not_found: async () =>
    api.send('DELETE', `/v1/auth/identities/${crypto.randomUUID()}`, { token: (await as('user')).token }),
  api_key_not_found: async () =>
    api.send('DELETE', `/v1/api_keys/${crypto.randomUUID()}`, { token: (await as('user')).token }),
  api_key_expired: async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { id } = await addKey(api, ada)
    await api.sql('UPDATE api_keys SET expires_at = 1 WHERE id = ?', [id])
    return post(`/v1/api_keys/${id}/rotate`, undefined, { token: (await api.signIn(ada)).token })
  },
  too_many_api_keys: async () => {
    const ada = await api.person({ email_verified_at: 1 })
    await addKey(api, ada)
    const columns = Object.keys((await api.sql('SELECT * FROM api_keys LIMIT 1'))[0]!).filter(
      (name) => name !== 'id',
    )
    await api.sql(
      `INSERT INTO api_keys (id, ${columns}) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
      SELECT user_id || i, ${columns} FROM n, api_keys WHERE user_id = ?`,
      [ada.id],
    )
    const body = { name: 'One more', permissions: [] }
    return post('/v1/api_keys', body, { token: (await api.signIn(ada)).token })
  },
  scope_not_granted: async () => {
    const ada = await as('user')
    await letApp(api, ada, { scope: 'openid' })
    const [grant] = await api.sql('SELECT id FROM oauth_grants WHERE user_id = ?', [ada.id])
    const body = { scopes: ['openid', 'email'] }
    return api.send('PATCH', `/v1/auth/grants/${grant!.id}`, { token: ada.token, body })
  },
  grant_not_found: async () =>
    api.send('DELETE', `/v1/auth/grants/${crypto.randomUUID()}`, { token: (await as('user')).token }),
  hashing_busy: async () => {
    const { email } = await api.person()
    const hashing = openApi({ ...own.bindings, PASSWORD_HASHES: 'full' })
    const attempt = () => logIn({ email, password: PASSWORD }, hashing)
    const answers = await Promise.all(Array.from({ length: 24 }, attempt))
    return answers.find(({ status }) => status === 503)!
  },
  database_unavailable: async () => {
    await own.behave('libsql', { mode: 'down' })
    return logIn({ email: newPerson().email, password: PASSWORD })
  },
  ledger_unavailable: async () => {
    const away = { UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:1', BACKUPS_KEPT_DAYS: '30' }
    return openApi({ ...own.bindings, ...away }).send('POST', '/v1/users/import', {
      token: (await as('admin')).token,
      raw: '{"email":"ada@old.test"}',
      headers: { 'content-type': 'application/x-ndjson' },
    })
  },
  schema_mismatch: async () => ready(await lone({}, { migrations: 0 })),
  second_factor_required: async () => {
    const ada = await api.person({ email_verified_at: 1 })
    await addTotp(api, ada)
    return logIn({ email: ada.email, password: PASSWORD })
  },
  invalid_second_factor: async () => {
    const ada = await api.person({ email_verified_at: 1 })
    const { seed } = await addTotp(api, ada)
    const { challenge } = await challengeOf(api, ada)
    return post('/v1/auth/login/second_factor', { challenge, code: wrongCodeOf(seed) })
  },
  challenge_spent: () => post('/v1/auth/login/second_factor', { challenge: 'x', code: '123456' }),
  factor_enrolment_required: async () => {
    const strict = openApi({ ...own.bindings, SECOND_FACTOR: 'everybody' })
    return strict.send('GET', '/v1/auth/sessions', { token: (await as('user')).token })
  },
  factor_not_found: async () =>
    api.send('DELETE', '/v1/auth/factors/totp', { token: (await as('user')).token }),
  no_factor: async () =>
    post('/v1/auth/factors/recovery_codes', undefined, { token: (await as('user')).token }),
  totp_exists: async () => {
    const ada = await as('user')
    await addTotp(api, ada)
    return post('/v1/auth/factors/totp', undefined, { token: ada.token })
  },
  nothing_to_confirm: async () => {
    const ada = await as('user')
    const proof = await mailedCode(api, ada)
    return post('/v1/auth/factors/totp/confirm', { code: '123456', ...proof }, { token: ada.token })
  },
  mail_code_required: async () => {
    const { token } = await as('user')
    const { secret } = (await post('/v1/auth/factors/totp', undefined, { token })).body
    const code = codeOf(decodeBase32IgnorePadding(secret as string))
    return post('/v1/auth/factors/totp/confirm', { code }, { token })
  },
  wrong_code: async () => {
    const ada = await as('user')
    const { token } = ada
    const { secret } = (await post('/v1/auth/factors/totp', undefined, { token })).body
    const code = wrongCodeOf(decodeBase32IgnorePadding(secret as string))
    const proof = await mailedCode(api, ada)
    return post('/v1/auth/factors/totp/confirm', { code, ...proof }, { token })
  },
  clock_skew: async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 })
    return ready(api)
  },
  cron_overdue: async () => {
    const alone = await lone()
    await alone.sql("UPDATE system_state SET at = at - 46 * 60000 WHERE name = 'began'")
    return ready(alone)
  },
  mail_overdue: async () => {
    const alone = await lone()
    const dueAt = Date.now() - 660_000
    await alone.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at)
        VALUES ('x', 'password_changed', 'a@b.test', 'a@b.test', ?1, ?1 + 9000000, 0, ?1)`,
      [dueAt],
    )
    return ready(alone)
  },
  mail_refused: async () => {
    const { email } = await api.person()
    await own.behave('mail', { mode: 'status', status: 401 })
    await post('/v1/auth/forgot_password', { email })
    const answer = await ready(api)
    await own.behave('mail', { mode: 'pass' })
    await api.sql("DELETE FROM system_state WHERE name = 'mail_refused'")
    return answer
  },
  origin_not_allowed: () =>
    post(
      '/v1/auth/login',
      { email: newPerson().email, password: PASSWORD, cookie: true },
      { headers: { origin: 'https://evil.test' } },
    ),
  other_proof_needed: async () =>
    post('/v1/auth/reauthenticate/mail_code', undefined, { token: (await as('user')).token }),
  invalid_passkey: async () => {
    const { token, email } = await as('user')
    const body = await beginPasskey(token, { origin: 'https://evil.test' })
    return post('/v1/auth/passkeys', { ...body, ...(await mailedCode(api, { email, token })) }, { token })
  },
  passkey_exists: async () => {
    const ada = await as('user')
    await addTotp(api, ada)
    const { id } = await addPasskey(api, ada)
    const body = await beginPasskey(ada.token)
    await api.sql('UPDATE passkeys SET credential_id = ? WHERE credential_id = ?', [body.credential.id, id])
    return post('/v1/auth/passkeys', body, { token: ada.token })
  },
  too_many_passkeys: async () => {
    const ada = await as('user')
    for (let i = 0; i < 20; i++) await addPasskey(api, ada)
    return post('/v1/auth/passkeys/options', undefined, { token: ada.token })
  },
  passkey_not_found: async () =>
    api.send('DELETE', `/v1/auth/passkeys/${crypto.randomUUID()}`, { token: (await as('user')).token }),
  last_way_in: async () => {
    const ada = await as('user', { password_hash: null })
    await addPasskey(api, ada)
    const [row] = await api.sql('SELECT id FROM passkeys WHERE user_id = ?', [ada.id])
    return api.send('DELETE', `/v1/auth/passkeys/${row!.id}`, { token: ada.token })
  },
  mail_not_found: async () =>
    post(`/v1/mails/${crypto.randomUUID()}/retry`, undefined, { token: (await as('admin')).token }),
  mail_ended: async () => {
    const id = crypto.randomUUID()
    await api.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts,
        next_attempt_at, dead_at) VALUES (?, 'password_changed', 'e@e.test', 'e@e.test', 0, 1, 5, 0, 1)`,
      [id],
    )
    return post(`/v1/mails/${id}/retry`, undefined, { token: (await as('admin')).token })
  },
}

/** Signs in, or up with a `name`, with a code that is mailed for it. */
async function byMailedCode({ email, ...given }: { email: string; name?: string }) {
  const byCode = openApi({ ...own.bindings, EMAIL_CODE_SIGNIN: 'on' })
  const { login_token } = (await post('/v1/auth/login/email_code', { email }, {}, byCode)).body
  const code = codeIn((await api.mailsTo(email))[0]!)
  return post('/v1/auth/login/email_code/confirm', { login_token, code, ...given }, {}, byCode)
}

/** The body that registers a passkey, made by one in software. */
async function beginPasskey(token: string, bent = {}) {
  const { body } = await post('/v1/auth/passkeys/options', undefined, { token })
  const passkey = await softwarePasskey(api.config().ISSUER)
  return {
    challenge_id: body.challenge_id as string,
    credential: passkey.create(body.options as never, bent),
  }
}

/** Codes with several possible reasons. */
const WITH_REASON =
  /^(unauthenticated|invalid_token|invalid_refresh_token|session_revoked|invalid_credentials|invalid_second_factor|challenge_spent|wrong_code|invalid_passkey|email_not_verified|wrong_password|invalid_link|too_many_attempts|too_many_requests)$/

test('LG1: each code in the document is provoked here', async () => {
  const { body } = await api.send<{ paths: object }>('GET', '/openapi.json')
  const codes = new Set<string>(['not_found', 'method_not_allowed'])
  JSON.stringify(body.paths, (name, value) => {
    if (name === 'application/problem+json') for (const code of Object.keys(value.examples)) codes.add(code)
    return value
  })
  codes.delete('stale_form') // Only a page uses it: test/pages.
  expect(Object.keys(PROVOKE).sort()).toEqual([...codes].sort())
})

test.each(Object.keys(PROVOKE))(
  'LG1, HX18: %s leaves one line in the log, with its code and why',
  async (code) => {
    const lines: Record<string, unknown>[] = []
    for (const level of ['info', 'warn', 'error'] as const)
      vi.spyOn(console, level).mockImplementation((line) => void lines.push(JSON.parse(line)))
    const { body } = await PROVOKE[code]!()
    expect(body.code).toBe(code)
    const mine = lines.filter(
      ({ request_id, route }) => request_id === body.request_id && route !== undefined,
    )
    expect(mine).toEqual([expect.objectContaining({ code, status: body.status })])
    if (WITH_REASON.test(code)) expect(mine[0]!.reason).toMatch(/^[a-z_]+$/)
    if ((body.status as number) === 500) expect(mine[0]!.cause).toBeTruthy()
  },
)

test('LG1, HX18: a login and a refresh say in the log whose session it is', async () => {
  const ada = await api.person()
  const lines: Record<string, unknown>[] = []
  vi.spyOn(console, 'info').mockImplementation((line) => void lines.push(JSON.parse(line)))
  const { refresh_token } = (await logIn({ email: ada.email, password: PASSWORD })).body
  await post('/v1/auth/refresh_token', { refresh_token })
  const [session] = await api.sql('SELECT id FROM sessions WHERE user_id = ?', [ada.id])
  const about = lines.filter(({ route }) => route).map(({ actor, session }) => [actor, session])
  expect(about).toEqual(Array(2).fill([ada.id, session!.id]))
})

test('LG1, HX18: a failure after the answer has a log line with the request’s id', async () => {
  const ada = await api.person({ email_verified_at: 1 })
  const browser = openJar(api)
  await browser.signIn(ada.email)
  await api.sql('UPDATE sessions SET last_seen_at = last_seen_at - 360000 WHERE user_id = ?', [ada.id])
  const lines: Record<string, unknown>[] = []
  vi.spyOn(console, 'error').mockImplementation((line) => void lines.push(JSON.parse(line)))
  await own.behave('libsql', { mode: 'refused', code: 'SQLITE_FULL', only: 'BEGIN IMMEDIATE' })
  const { status, headers } = await browser.open('/v1/auth/sessions')
  await own.behave('libsql', { mode: 'pass' })
  const request_id = headers.get('x-request-id')
  const cause = expect.objectContaining({ code: 'database_unavailable' })
  expect([status, lines]).toEqual([200, [{ level: 'error', code: 'afterwards_failed', request_id, cause }]])
})

test('LG1, HX18: a mail that was sent leaves a line, without the address', async () => {
  const { email } = await api.person()
  const lines: Record<string, unknown>[] = []
  vi.spyOn(console, 'info').mockImplementation((line) => void lines.push(JSON.parse(line)))
  await post('/v1/auth/forgot_password', { email })
  const [sent, ...others] = lines.filter(({ code }) => code === 'mail_sent')
  expect(others).toEqual([])
  expect(sent).toMatchObject({ level: 'info', kind: 'reset_password', attempts: 1 })
  expect(JSON.stringify(lines)).not.toContain(email)
})
