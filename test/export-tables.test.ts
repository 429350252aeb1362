import { v7 as uuidv7 } from 'uuid'
import { beforeAll, expect, test } from 'vitest'
import { type Api, openApi } from './support/api.ts'
import { addApp } from './support/oauth.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
})

/** A row of each table about somebody, and the member of the export that contains it. */
const ABOUT: Record<string, (id: string, mark: string) => [member: string, insert: string, args: string[]]> =
  {
    sessions: (id, mark) => [
      'sessions',
      `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
      VALUES (?, ?, 0, 0, 0, 0, 0, 0)`,
      [mark, id],
    ],
    history: (id, mark) => [
      'activity',
      "INSERT INTO user_activity_logs (id, user_id, action) VALUES (?, ?, 'user.updated')",
      [mark, id],
    ],
    'history of what they did': (id, mark) => [
      'activity',
      "INSERT INTO user_activity_logs (id, user_id, actor_id, action) VALUES (?, 'somebody', ?, 'user.updated')",
      [mark, id],
    ],
    invitations: (id, mark) => [
      'invitations',
      `INSERT INTO invitations (id, email, email_normalized, role, invited_by, created_at, expires_at, user_id)
      VALUES (?, 'e', 'e', 'user', 'a', 0, 0, ?)`,
      [mark, id],
    ],
    'invitations that they sent': (id, mark) => [
      'invitations',
      `INSERT INTO invitations (id, email, email_normalized, role, invited_by, created_at, expires_at)
      VALUES (?1, ?1, ?1, 'user', ?2, 0, 0)`,
      [mark, id],
    ],
    mails: (id, mark) => [
      'mails',
      `INSERT INTO outbox (id, kind, user_id, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at)
      VALUES (?, 'verify_email', ?, 'e', 'e', 0, 0, 0, 9000000000000)`,
      [mark, id],
    ],
    'one-time tokens': (id, mark) => [
      'one_time_tokens',
      `INSERT INTO one_time_tokens (id, purpose, subject_id, email, email_normalized, code_tries, created_at, expires_at)
      VALUES (?, 'verify_email', ?, 'e', 'e', 0, 0, 0)`,
      [mark, id],
    ],
    'authenticator apps': (id, mark) => [
      'factors',
      'INSERT INTO factors (user_id, seed, key_id, created_at, last_step) VALUES (?2, 7, 7, 0, ?1)',
      [mark, id],
    ],
    passkeys: (id, mark) => [
      'passkeys',
      `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced, is_synced, name, created_at)
      VALUES (?1, ?2, ?1, 'r', 'k', 0, '[]', '', 0, 0, 'n', 0)`,
      [mark, id],
    ],
    keys: (id, mark) => [
      'api_keys',
      `INSERT INTO api_keys (id, user_id, name, permissions, secret_hash, session_id, amr, created_at, rotated_at)
      VALUES (?1, ?2, 'n', '[]', ?1, 's', '[]', 0, 0)`,
      [mark, id],
    ],
    identities: (id, mark) => [
      'identities',
      "INSERT INTO identities (id, provider, subject, user_id, created_at) VALUES (?1, 'x', ?1, ?2, 0)",
      [mark, id],
    ],
    consents: (id, mark) => [
      'oauth_grants',
      "INSERT INTO oauth_grants (id, user_id, client_id, scopes, created_at, updated_at) VALUES (?1, ?2, ?1, '[]', 0, 0)",
      [mark, id],
    ],
    'apps that they made': (id, mark) => [
      'oauth_clients',
      `INSERT INTO oauth_clients (id, name, type, token_endpoint_auth_method, grants, redirect_uris, post_logout_redirect_uris,
        scopes, first_party, require_pkce, id_token_signed_response_alg, resources, epoch, created_by, created_at, updated_at, version)
      VALUES (?1, 'n', 'public', 'none', '[]', '[]', '[]', '[]', 0, 1, 'RS256', '[]', 0, ?2, 0, 0, 0)`,
      [mark, id],
    ],
    'webhooks that they made': (id, mark) => [
      'webhooks',
      `INSERT INTO webhooks (id, url, types, secret, created_by, created_at, updated_at, version)
      VALUES (?1, 'https://a.example', '[]', 's', ?2, 0, 0, 0)`,
      [mark, id],
    ],
    'what webhooks were sent of them': (id, mark) => [
      'webhook_deliveries',
      `INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, type, snapshot, is_fixed, owed_at, next_attempt_at, dead_at)
      VALUES ('w', ?1, ?2, 'user.updated', '{}', 1, 0, 0, 1)`,
      [mark, id],
    ],
    'idempotency keys': (id, mark) => [
      'idempotency_keys',
      `INSERT INTO idempotency_keys (principal, route, key, body_hash, status, response, subject_id, created_at)
      VALUES ('p', 'r', ?, 'hash', 201, '{}', ?, 0)`,
      [mark, id],
    ],
    'idempotency keys of what they made': (id, mark) => [
      'idempotency_keys',
      `INSERT INTO idempotency_keys (principal, route, key, body_hash, status, response, subject_id, created_at)
      VALUES (?2, 'r', ?1, 'hash', 201, '{}', 'somebody', 0)`,
      [mark, id],
    ],
  }

test.each(Object.entries(ABOUT))('DL4: an export has somebody’s %s, and nobody else’s', async (_, about) => {
  const [ada, eve] = [await api.quickActor({ email_verified_at: 1 }), await api.person()]
  // With the present time, like all ids of the history.
  const [mine, theirs] = [uuidv7(), uuidv7()]
  const [member, insert, args] = about(ada.id, mine)
  await api.sql(insert, args)
  await api.sql(...(about(eve.id, theirs).slice(1) as [string, string[]]))
  const { status, body, text } = await api.send('GET', '/v1/users/me/export', { token: ada.token })
  expect(status).toBe(200)
  expect(JSON.stringify(body[member])).toContain(mine)
  expect(text).not.toContain(theirs)
})

test('An export has no webhook addresses: its maker may no longer manage it, and its path may be a secret', async () => {
  const ada = await api.quickActor()
  const id = crypto.randomUUID()
  await api.sql(
    `INSERT INTO webhooks (id, url, types, secret, created_by, created_at, updated_at, version)
      VALUES (?, 'https://hooks.example/quetzal', '[]', 's', ?, 0, 0, 0)`,
    [id, ada.id],
  )
  const { text } = await api.send('GET', '/v1/users/me/export', { token: ada.token })
  expect(text).toContain(id)
  expect(text).not.toContain('quetzal')
})

test('HX12: a former administrator’s export says which apps and webhooks they made, and not how these are set up now', async () => {
  const admin = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const boss = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  const app = await addApp(api, { by: admin.token, name: 'Kookaburra' })
  const path = `/v1/oauth_clients/${app.client_id}`
  const redirect_uris = ['https://quetzal.example/callback']
  const moved = await api.send('PATCH', path, { token: boss.token, body: { redirect_uris } })
  const rotated = await api.send('POST', `${path}/secret`, { token: boss.token, body: {} })
  expect([moved.status, rotated.status]).toEqual([200, 200])
  const hook = crypto.randomUUID()
  await api.sql(
    `INSERT INTO webhooks (id, url, types, secret, secret_by, created_by, created_at, updated_at, version)
      VALUES (?, 'https://hooks.example/x', '["user.purged"]', 's', ?, ?, 0, 0, 0)`,
    [hook, boss.id, admin.id],
  )
  await api.send('PATCH', `/v1/users/${admin.id}`, { token: boss.token, body: { role: 'user' } })
  const { token } = await api.signIn(admin)
  const { status, body, text } = await api.send('GET', '/v1/users/me/export', { token })
  expect(status).toBe(200)
  const made = { created_at: expect.any(String), created_by: admin.id, secret_by: null }
  expect(body.oauth_clients).toEqual([{ id: app.client_id, name: 'Kookaburra', ...made }])
  expect(body.webhooks).toEqual([{ id: hook, ...made }])
  expect(text).not.toContain('quetzal')
})
