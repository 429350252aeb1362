import { expect, test } from 'vitest'
import { openApi, PASSWORD } from './support/api.ts'
import { rounds } from './support/rounds.ts'

const api = openApi()

/** Tables with data about people, and the member of the export that contains it. */
const MEMBER_OF: Record<string, string | null> = {
  users: 'user',
  sessions: 'sessions',
  user_activity_logs: 'activity',
  invitations: 'invitations',
  outbox: 'mails',
  one_time_tokens: 'one_time_tokens',
  idempotency_keys: 'idempotency_keys',
  factors: 'factors',
  passkeys: 'passkeys',
  recovery_codes: 'recovery_codes',
  api_keys: 'api_keys',
  identities: 'identities',
  oauth_grants: 'oauth_grants',
  oauth_clients: 'oauth_clients',
  webhooks: 'webhooks',
  webhook_deliveries: 'webhook_deliveries',
  // Who may not sign up: it does not concern existing accounts.
  signup_blocks: null,
  // Only ids of what was used, which belong to nobody.
  oauth_codes: null,
  oauth_device_codes: null,
  oauth_logouts: null,
  // Services, which belong to clients.
  oauth_resources: null,
  // Only ids of what was used, which belong to nobody.
  challenges: null,
  // Keys are MACs: nothing in it can be attributed to anybody.
  throttles: null,
  // The search index is made from `users`.
  users_fts: null,
  names_fts: null,
  // And this one from the reasons in `users` and in the history.
  reasons_fts: null,
  user_totals: null,
  daily_totals: null,
  cleanup_runs: null,
  resends: null,
  // Checksums of the whole history, and how far they have got.
  activity_seals: null,
  activity_proofs: null,
  // About people who are gone.
  erasures: null,
  ledger_owed: null,
  system_state: null,
  __drizzle_migrations: null,
}

test('DL4: the export covers every table with data about people', async () => {
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%\\_fts\\_%' ESCAPE '\\' AND name NOT LIKE 'libsql_%' AND name <> '__later'",
  )
  expect(tables.map(({ name }) => name).sort()).toEqual(Object.keys(MEMBER_OF).sort())
})

test('DL4: a person gets everything that is stored about them, except secrets', async () => {
  const admin = await api.actor({ role: 'admin' })
  const email = `${crypto.randomUUID()}@people.test`
  const signedUp = await api.send('POST', '/v1/auth/signup', {
    body: { email, password: PASSWORD, name: 'Ada' },
    headers: { 'idempotency-key': crypto.randomUUID() },
  })
  const { access_token: token } = await api.logIn({ email, password: PASSWORD })
  const { id } = signedUp.body as { id: string }
  await api.send('PATCH', `/v1/users/${id}`, { token: admin.token, body: { name: 'Grace' } })

  const own = await api.send<Record<string, object[]>>('GET', '/v1/users/me/export', { token })
  expect(own.headers.get('content-disposition')).toContain('attachment')
  expect(own.body.user).toMatchObject({ id, email, name: 'Grace', role: 'user', deleted_at: null })
  for (const member of ['sessions', 'activity', 'mails', 'one_time_tokens', 'idempotency_keys']) {
    expect(own.body[member]!.length).toBeGreaterThan(0)
  }
  expect(own.body.activity).toContainEqual(
    expect.objectContaining({
      action: 'user.updated',
      details: { name: { from: 'Ada', to: 'Grace' } },
      ip: null,
    }),
  )
  expect(own.text).not.toMatch(/password_hash|\$scrypt|rt_|body_hash/)

  const managed = await api.send<Record<string, object[]>>('GET', `/v1/users/${id}/export`, {
    token: admin.token,
  })
  expect(managed.body.user).toEqual(own.body.user)
  expect(
    (await api.send('GET', `/v1/users/${crypto.randomUUID()}/export`, { token: admin.token })).status,
  ).toBe(404)
})

test('DL4, HX6: an export is complete at any length, page after page, and leaves a row of history', async () => {
  const ada = await api.quickActor({ role: 'admin', email_verified_at: 1 })
  // Nobody invited her, but she has invited somebody.
  const invited = { email: `${crypto.randomUUID()}@people.test` }
  await api.send('POST', '/v1/invitations', { token: ada.token, body: invited })
  const rows = rounds(1_300, 100_000)
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO user_activity_logs (id, user_id, actor_id, action)
    SELECT '01900000-0000-7000-8000-' || substr(?1, 25, 4) || printf('%08x', i), ?1, ?1, 'user.updated' FROM n`,
    [ada.id],
  )
  const { body } = await api.send<Record<string, { id: string; email: string; action: string }[]>>(
    'GET',
    '/v1/users/me/export',
    { token: ada.token },
  )
  expect(body.activity!.filter(({ action }) => action === 'user.updated')).toHaveLength(rows)
  expect(new Set(body.activity!.map(({ id }) => id)).size).toBe(body.activity!.length)
  // The address of somebody she invited is not disclosed.
  expect(body.invitations).toEqual([expect.objectContaining({ email: null, invited_by: ada.id })])
  expect(await api.historyOf(ada.id)).toContain('user.exported')
})
