import { createExecutionContext } from 'cloudflare:test'
import { beforeAll, describe, expect, test } from 'vitest'
import { ACTIONS } from '../src/activity/models.ts'
import type { Tokens } from '../src/auth/schemas.ts'
import { cleanUp } from '../src/cleanup/service.ts'
import { openForCron } from '../src/context.ts'
import { type Actor, type Answer, type Api, linkIn, type Options, openApi, PASSWORD } from './support/api.ts'
import { rounds } from './support/rounds.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
let admin: Actor

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.actor({ role: 'admin' })
  // It rests, so that its deliveries stay where they are.
  await api.sql(
    `INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version, rested_at)
      VALUES ('all', 'https://a.example', ?, 's', 0, 0, 0, 1)`,
    [JSON.stringify(ACTIONS)],
  )
})
const manage = (method: string, path: string, body?: unknown) =>
  api.send(method, `/v1/users${path}`, { token: admin.token, body })

/**
 * What each column of each table is and, if it is about a person, how a hard delete removes it:
 *
 *   neither   says nothing about anybody, or has the id of a person, which means nothing once they are gone
 *   secret    proves who somebody is; goes with its row
 *   row       personal; goes with its row
 *   emptied   personal; the row stays, for the history, with null here
 *   gone      personal; the row stays, empty here, so that a repeat of the request does not make the person again
 */
const COLUMNS: Record<string, Record<string, 'neither' | 'secret' | 'row' | 'emptied' | 'gone'>> = {
  users: {
    seq: 'neither',
    id: 'neither',
    email: 'row',
    email_normalized: 'row',
    name: 'row',
    password_hash: 'secret',
    role: 'row',
    status: 'row',
    disabled_reason: 'row',
    disabled_until: 'row',
    email_verified_at: 'row',
    version: 'neither',
    token_epoch: 'neither',
    failed_logins: 'row',
    failed_factors: 'row',
    factors: 'row',
    failed_attempts: 'neither',
    device_epoch: 'neither',
    devices: 'neither',
    password_is_given: 'row',
    needs_reset: 'row',
    created_at: 'row',
    updated_at: 'row',
    last_login_at: 'row',
    deleted_at: 'row',
    state: 'row',
    facets: 'row',
    name_fold: 'row',
    name_key: 'row',
    locale: 'row',
    terms_version: 'row',
    terms_accepted_at: 'row',
    metadata: 'row',
    admin_metadata: 'row',
    external_id: 'row',
  },
  factors: {
    user_id: 'row',
    seed: 'secret',
    key_id: 'neither',
    created_at: 'row',
    confirmed_at: 'row',
    last_step: 'row',
  },
  identities: {
    id: 'row',
    provider: 'neither',
    subject: 'row',
    user_id: 'row',
    email: 'row',
    created_at: 'row',
  },
  recovery_codes: { user_id: 'row', hash: 'secret', created_at: 'row' },
  passkeys: {
    id: 'row',
    user_id: 'row',
    credential_id: 'row',
    rp_id: 'neither',
    public_key: 'row',
    sign_count: 'row',
    transports: 'row',
    aaguid: 'row',
    may_be_synced: 'row',
    is_synced: 'row',
    name: 'row',
    created_at: 'row',
    last_used_at: 'row',
  },
  challenges: { id: 'neither', tries: 'neither', attempt_id: 'neither', spent_at: 'neither' },
  // Sessions that have ended stay for a day, so that a token used meanwhile gets the right answer.
  sessions: {
    id: 'neither',
    user_id: 'neither',
    counter: 'neither',
    rotated_at: 'neither',
    created_at: 'neither',
    last_seen_at: 'neither',
    idle_expires_at: 'neither',
    expires_at: 'neither',
    revoked_at: 'neither',
    revoked_reason: 'neither',
    repeated_at: 'neither',
    ip: 'emptied',
    user_agent: 'emptied',
    country: 'emptied',
    amr: 'neither',
    turn: 'neither',
    proved_at: 'neither',
    parent_id: 'neither',
    client_id: 'neither',
    client_epoch: 'neither',
    scope: 'neither',
    resource: 'neither',
  },
  // They belong to the deployment, and stay without those who made them.
  oauth_clients: {
    id: 'neither',
    name: 'neither',
    type: 'neither',
    token_endpoint_auth_method: 'neither',
    grants: 'neither',
    redirect_uris: 'neither',
    post_logout_redirect_uris: 'neither',
    backchannel_logout_uri: 'neither',
    scopes: 'neither',
    allowed_roles: 'neither',
    first_party: 'neither',
    require_pkce: 'neither',
    id_token_signed_response_alg: 'neither',
    logo_uri: 'neither',
    jwks: 'neither',
    resources: 'neither',
    secret_hash: 'secret',
    secret_by: 'neither',
    former_secret_hash: 'secret',
    former_secret_until: 'neither',
    epoch: 'neither',
    owner_id: 'neither',
    created_by: 'neither',
    created_at: 'neither',
    updated_at: 'neither',
    last_used_at: 'neither',
    version: 'neither',
  },
  api_keys: {
    id: 'row',
    user_id: 'row',
    name: 'row',
    permissions: 'row',
    secret_hash: 'row',
    former_secret_hash: 'row',
    former_secret_until: 'row',
    expires_at: 'row',
    session_id: 'row',
    amr: 'row',
    created_at: 'row',
    rotated_at: 'row',
    last_used_at: 'row',
  },
  oauth_grants: {
    id: 'row',
    user_id: 'row',
    client_id: 'row',
    scopes: 'row',
    created_at: 'row',
    updated_at: 'row',
    document: 'row',
  },
  oauth_codes: { id: 'neither', session_id: 'neither' },
  oauth_resources: { url: 'neither', client_id: 'neither' },
  webhooks: {
    id: 'neither',
    url: 'neither',
    types: 'neither',
    secret: 'neither',
    former_secret: 'neither',
    former_secret_until: 'neither',
    secret_by: 'neither',
    created_by: 'neither',
    created_at: 'neither',
    updated_at: 'neither',
    version: 'neither',
    failures: 'neither',
    failing_since: 'neither',
    next_try_at: 'neither',
    rested_at: 'neither',
    listens: 'neither',
  },
  // About people who may have no account; erasing one must not lift the block.
  signup_blocks: { entry: 'neither', created_at: 'neither' },
  // Sent or not, only the id stays.
  webhook_deliveries: {
    id: 'neither',
    webhook_id: 'neither',
    event_id: 'neither',
    user_id: 'neither',
    caused_by: 'neither',
    type: 'neither',
    event_details: 'emptied',
    snapshot: 'emptied',
    is_fixed: 'neither',
    owed_at: 'neither',
    attempts: 'neither',
    next_attempt_at: 'neither',
    last_attempt_at: 'neither',
    last_status: 'neither',
    delivered_at: 'neither',
    dead_at: 'neither',
    by_hand: 'neither',
  },
  // Until the app has been told, for a day at most.
  oauth_logouts: {
    id: 'neither',
    user_id: 'neither',
    parent_id: 'neither',
    client_id: 'neither',
    expires_at: 'neither',
    attempts: 'neither',
    next_attempt_at: 'neither',
    answer: 'neither',
  },
  // Where it was requested from is removed when the user decides, and all of it within an hour.
  oauth_device_codes: {
    id: 'neither',
    user_code: 'neither',
    client_id: 'neither',
    scope: 'neither',
    resource: 'neither',
    ip: 'neither',
    user_agent: 'neither',
    country: 'neither',
    decided_at: 'neither',
    user_id: 'neither',
    parent_id: 'neither',
    epoch: 'neither',
    auth_time: 'neither',
    amr: 'neither',
  },
  user_activity_logs: {
    id: 'neither',
    user_id: 'neither',
    actor_id: 'neither',
    action: 'neither',
    details: 'emptied',
    ip: 'emptied',
    user_agent: 'emptied',
    country: 'emptied',
    request_id: 'neither',
  },
  // Hashes of personal data, which nobody can guess once their salts are gone.
  activity_proofs: {
    id: 'neither',
    seal: 'neither',
    details_salt: 'emptied',
    details_hash: 'neither',
    origin_salt: 'emptied',
    origin_hash: 'neither',
  },
  activity_seals: {
    number: 'neither',
    kind: 'neither',
    until: 'neither',
    rows: 'neither',
    root: 'neither',
    aged_noise: 'neither',
    aged_security: 'neither',
    sealed_at: 'neither',
    note: 'neither',
    head: 'neither',
    key_id: 'neither',
    mac: 'neither',
  },
  idempotency_keys: {
    principal: 'neither',
    route: 'neither',
    key: 'neither',
    body_hash: 'gone',
    status: 'neither',
    response: 'gone',
    subject_id: 'neither',
    created_at: 'neither',
    email_normalized: 'gone',
  },
  // A link is made from the id and a key that is not in the database.
  one_time_tokens: {
    id: 'neither',
    purpose: 'neither',
    subject_id: 'neither',
    email: 'row',
    email_normalized: 'row',
    code_tries: 'neither',
    password_tries: 'neither',
    created_at: 'neither',
    expires_at: 'neither',
    spent_at: 'neither',
    session_id: 'neither',
    superseded_at: 'neither',
    about: 'neither',
    mailed_after: 'neither',
    clicked_at: 'neither',
  },
  invitations: {
    id: 'neither',
    email: 'row',
    email_normalized: 'row',
    name: 'row',
    role: 'neither',
    invited_by: 'neither',
    created_at: 'neither',
    expires_at: 'neither',
    accepted_at: 'neither',
    withdrawn_at: 'neither',
    user_id: 'neither',
  },
  outbox: {
    id: 'neither',
    kind: 'neither',
    user_id: 'neither',
    recipient: 'row',
    recipient_normalized: 'row',
    token_id: 'neither',
    new_email: 'row',
    new_email_normalized: 'row',
    created_at: 'neither',
    expires_at: 'neither',
    attempts: 'neither',
    next_attempt_at: 'neither',
    sent_at: 'neither',
    dead_at: 'neither',
    country: 'row',
    device: 'row',
    refusal: 'neither',
    event_id: 'neither',
    language: 'row',
  },
  // The key is a MAC of address and network, and is gone within hours.
  throttles: {
    key: 'neither',
    attempts: 'neither',
    blocked_until: 'neither',
    expires_at: 'neither',
    attempt_id: 'neither',
  },
  resends: { batch_id: 'neither', number: 'neither' },
  system_state: { name: 'neither', at: 'neither', status: 'neither' },
  daily_totals: { day: 'neither', action: 'neither', total: 'neither' },
  user_totals: { role: 'neither', state: 'neither', total: 'neither' },
  cleanup_runs: {
    id: 'neither',
    started_at: 'neither',
    finished_at: 'neither',
    lease_expires_at: 'neither',
    counts: 'neither',
    holder: 'neither',
    batch: 'neither',
    failed: 'neither',
  },
  // A job, until it is done. What it looks for is removed as soon as all is found.
  // Under a key, until they are in the ledger.
  ledger_owed: { digest: 'neither' },
  erasures: {
    user_id: 'neither',
    ended_at: 'neither',
    began_at: 'neither',
    sought: 'emptied',
    stage: 'neither',
    cursor: 'neither',
    origin_until: 'neither',
    due_at: 'neither',
  },
  // The search index of `users`; its own tables hold pieces of three letters.
  users_fts: { email_normalized: 'row', name: 'row', facets: 'row', users_fts: 'neither', rank: 'neither' },
  // The same for the keys of names that are not plain ASCII.
  names_fts: { email_normalized: 'row', name: 'row', facets: 'row', names_fts: 'neither', rank: 'neither' },
  // The reasons for which people were disabled, by the id of the row that has them.
  reasons_fts: { about: 'neither', reason: 'row', reasons_fts: 'neither', rank: 'neither' },
}

const tablesOf = async (where: string) =>
  (await api.sql(`SELECT name FROM sqlite_master WHERE type = 'table' AND ${where}`)).map(({ name }) =>
    String(name),
  )

test('DL3: every column of every table is classified', async () => {
  const found: Record<string, string[]> = {}
  for (const table of await tablesOf(
    "name NOT LIKE 'sqlite_%' AND name NOT LIKE '%\\_fts\\_%' ESCAPE '\\' AND name NOT LIKE '\\_\\_%' ESCAPE '\\'",
  )) {
    const columns = await api.sql('SELECT name FROM pragma_table_xinfo(?)', [table])
    // With `SCHEMA=newer` every table has a column of a later version.
    found[table] = columns
      .map(({ name }) => String(name))
      .filter((name) => name !== '__later')
      .sort()
  }
  const classified = Object.entries(COLUMNS).map(([table, columns]) => [table, Object.keys(columns).sort()])
  expect(found).toEqual(Object.fromEntries(classified))
})

/** Everything in the database as text, including blobs, and the tables of the search index and of migrations. */
async function dump(): Promise<string> {
  let text = ''
  for (const table of await tablesOf('1')) {
    for (const row of await api.sql(`SELECT * FROM "${table}"`)) {
      for (const value of Object.values(row))
        text += ` ${value instanceof ArrayBuffer ? Buffer.from(value).toString('latin1') : value}`
      text += '\n'
    }
  }
  return text
}

async function dumpRedis(): Promise<string> {
  const keys = (await api.redis('KEYS', '*')) as string[]
  const values = await Promise.all(keys.map((key) => api.redis('GET', key)))
  return JSON.stringify([keys, values])
}

/** The ways to become a user; each returns their id. */
const COMINGS = {
  'user.signed_up': async ({ email, password, name }, from) =>
    api.send('POST', '/v1/auth/signup', { ...from, body: { email, password, name } }),
  // The administrator's own address and device are the administrator's data.
  'user.created': async ({ email, password, name }) =>
    api.send('POST', '/v1/users', {
      headers: { 'idempotency-key': crypto.randomUUID() },
      token: admin.token,
      body: { email, password, name },
    }),
  'invitation.accepted': async ({ email, password, name }, from) => {
    const headers = { 'idempotency-key': crypto.randomUUID() }
    await api.send('POST', '/v1/invitations', { headers, token: admin.token, body: { email, name } })
    const { token } = linkIn((await api.mailsTo(email))[0]!)
    return api.send('POST', '/v1/auth/accept_invitation', { ...from, body: { token, password } })
  },
} satisfies Record<
  string,
  (person: { email: string; password: string; name: string }, from: Options) => Promise<Answer>
>
type Coming = keyof typeof COMINGS

/** Somebody with a history, marked everywhere with texts that nothing else has. */
async function livesALife(coming: Coming) {
  const marks = {
    email: 'qzjxk-first@marked.test',
    newEmail: 'qzjxk-second@marked.test',
    wantedEmail: 'qzjxk-third@marked.test',
    name: 'Qzjxk Wvfbp',
    newName: 'Qzjxk Gkdmz',
    reason: 'marked: reason',
    userAgent: 'marked-agent',
    comingAgent: 'marked-coming-agent',
    ip: '203.0.113.77',
    password: 'marked qzjxk password of mine',
  }
  const from = { ip: marks.ip, headers: { 'user-agent': marks.userAgent } }
  const came = await COMINGS[coming](marks, {
    ip: marks.ip,
    headers: { 'user-agent': marks.comingAgent, 'idempotency-key': crypto.randomUUID() },
  })
  expect([came.status, came.text]).toEqual([201, came.text])
  const id = came.body.id as string
  await manage('PATCH', `/${id}`, { name: marks.newName, email: marks.newEmail })
  const login = { email: marks.newEmail, password: marks.password }
  await api.send('POST', '/v1/auth/login', { ...from, body: { ...login, password: 'no' } })
  const { body: tokens } = await api.send<Tokens>('POST', '/v1/auth/login', { ...from, body: login })
  const by = { ...from, token: tokens.access_token }
  await api.send('PATCH', '/v1/users/me', { ...by, body: { name: `${marks.newName} II` } })
  // Nobody changes an unverified address under a password that an administrator has typed.
  await api.sql('UPDATE users SET password_is_given = 0 WHERE id = ?', [id])
  const wanted = { new_email: marks.wantedEmail, current_password: marks.password }
  await api.send('POST', '/v1/auth/change_email', { ...by, body: wanted })
  await api.send('POST', '/v1/auth/forgot_password', { ...from, body: { email: marks.newEmail } })
  await api.send('POST', '/v1/auth/refresh_token', { ...from, body: { refresh_token: tokens.refresh_token } })
  await manage('POST', `/${id}/disable`, { reason: marks.reason })
  return { id, marks, tokens }
}

describe.each(Object.keys(COMINGS) as Coming[])(
  'DL3: after a hard delete of somebody who came by %s',
  (coming) => {
    let life: Awaited<ReturnType<typeof livesALife>>
    let before: string
    beforeAll(async () => {
      life = await livesALife(coming)
      before = await dump()
      expect((await manage('DELETE', `/${life.id}?hard=true`)).status).toBe(204)
    })

    test('no mark of the person is left anywhere, in libSQL or in Redis', async () => {
      const after = (await dump()) + (await dumpRedis())
      const found = (text: string) =>
        Object.entries(life.marks).filter(([, mark]) => text.toLowerCase().includes(mark.toLowerCase()))
      // Everything but the password can be found beforehand, or the test would prove nothing.
      expect(found(before).map(([name]) => name)).toEqual(
        Object.keys(life.marks).filter(
          (name) => name !== 'password' && !(name === 'comingAgent' && coming === 'user.created'),
        ),
      )
      expect(found(after)).toEqual([])
      for (const secret of [life.tokens.access_token, life.tokens.refresh_token])
        expect(after).not.toContain(secret)
    })

    test('the search index has forgotten every piece of the name', async () => {
      await api.sql("CREATE VIRTUAL TABLE pieces USING fts5vocab('users_fts', 'row')")
      const pieces = (await api.sql('SELECT term FROM pieces')).map(({ term }) => String(term))
      await api.sql('DROP TABLE pieces')
      expect(pieces).toContain('peo')
      for (const piece of ['qzj', 'zjx', 'jxk', 'wvf', 'gkd', 'dmz']) expect(pieces).not.toContain(piece)
      await api.sql("INSERT INTO users_fts(users_fts, rank) VALUES ('integrity-check', 1)")
    })

    test('remaining rows are empty where the classification says so, and the others are gone', async () => {
      for (const [table, columns] of Object.entries(COLUMNS)) {
        // Its ids are those of history rows: seals.test.ts erases the people they are about.
        if (table === 'activity_proofs') continue
        const ids = Object.keys(columns).filter((name) =>
          ['id', 'user_id', 'actor_id', 'subject_id'].includes(name),
        )
        if (ids.length === 0) continue
        const isTheirs = ids.map((name) => `${name} = '${life.id}'`).join(' OR ')
        const rows = await api.sql(`SELECT * FROM ${table} WHERE ${isTheirs}`)
        const kinds = Object.values(columns)
        if (kinds.includes('row')) expect([table, rows]).toEqual([table, []])
        for (const row of rows) {
          for (const [name, kind] of Object.entries(columns)) {
            // Where somebody else was when they acted on them is that person's own data.
            const isOthers =
              table === 'user_activity_logs' && ![null, life.id].includes(row.actor_id as string)
            if (kind === 'emptied' && name !== 'details' && !isOthers)
              expect([table, name, row[name]]).toEqual([table, name, null])
            if (kind === 'gone') expect(['', '{}', null]).toContain(row[name])
          }
        }
        if (kinds.includes('emptied')) expect(rows.length).toBeGreaterThan(0)
      }
    })

    test('the history remains, under an id that identifies nobody', async () => {
      const rows = await api.sql(
        'SELECT action, actor_id, details, ip FROM user_activity_logs WHERE user_id = ? ORDER BY id DESC',
        [life.id],
      )
      expect(rows.map(({ action }) => action)).toEqual([
        'user.purged',
        'user.disabled',
        'password.reset_requested',
        'email.change_requested',
        'user.updated',
        'session.started',
        'login.failed',
        'email.changed',
        coming,
      ])
      const members = rows.flatMap(({ details }) => Object.keys(JSON.parse(String(details ?? '{}'))))
      expect([...new Set(members)].sort()).toEqual(['count', 'reason', 'role', 'session_id', 'until'])
      for (const { actor_id, ip } of rows) expect(ip !== null).toBe(actor_id === admin.id)
    })

    test('the same address may sign up again, as somebody else', async () => {
      const body = { email: life.marks.newEmail, password: PASSWORD, name: 'New' }
      const again = await api.send('POST', '/v1/auth/signup', { body })
      expect(again.status).toBe(201)
      expect(again.body.id).not.toBe(life.id)
      expect((await manage('POST', `/${life.id}/restore`)).status).toBe(404)
      await manage('DELETE', `/${again.body.id}?hard=true`)
    })
  },
)

test('DL3: somebody who now has an erased user’s address keeps their own mails and links', async () => {
  const gone = await api.person({ password_hash: null, deleted_at: Date.now() })
  const body = { email: gone.email, password: PASSWORD, name: 'New' }
  const { body: heir } = await api.send('POST', '/v1/auth/signup', { body })
  const rowsOfHeir = async () => [
    await api.sql('SELECT id FROM outbox WHERE user_id = ?', [heir.id as string]),
    await api.sql('SELECT id FROM one_time_tokens WHERE subject_id = ?', [heir.id as string]),
  ]
  const before = await rowsOfHeir()
  expect(before.map((rows) => rows.length)).toEqual([1, 1])
  await manage('DELETE', `/${gone.id}?hard=true`)
  expect(await rowsOfHeir()).toEqual(before)
})

/** An administrator, and somebody to be erased, without the price of a hash. */
async function cast(role: 'user' | 'manager' | 'admin' = 'user') {
  const [boss, gone] = await Promise.all([api.quickActor({ role: 'admin' }), api.quickActor({ role })])
  const by = (path: string, method = 'POST', body?: unknown) =>
    api.send(method, `/v1/users/${gone.id}${path}`, { token: boss.token, ip: '198.51.100.1', body })
  const purge = async () => expect((await by('?hard=true', 'DELETE')).status).toBe(204)
  const rows = (where: string) =>
    api.sql(`SELECT * FROM user_activity_logs WHERE ${where} ORDER BY id`, [gone.id])
  return { boss, gone, by, purge, rows }
}

/** Clean-up, this many days later. */
async function cleanUpAfter(days: number) {
  const resources = openForCron(api.bindings, createExecutionContext())
  await api.sql('DELETE FROM cleanup_runs')
  await cleanUp({ ...resources, now: resources.now + days * 86_400_000 })
}

describe('DL3, HX19: erasing only removes the erased user’s personal data', () => {
  test('what an administrator did to them, and from where, stays in the history', async () => {
    const { boss, gone, by, purge, rows } = await cast()
    // A role above `user` requires a proved address.
    await api.sql('UPDATE users SET email_verified_at = 1 WHERE id = ?', [gone.id])
    await by('', 'PATCH', { role: 'admin', name: 'Accomplice' })
    await by('/disable', 'POST', { reason: 'knows too much', until: '2099-01-01T00:00:00.000Z' })
    await purge()
    expect(await rows('user_id = ?')).toEqual(
      [
        ['user.role_changed', { role: { from: 'user', to: 'admin' } }],
        ['user.disabled', { until: '2099-01-01T00:00:00.000Z' }],
        ['user.purged', null],
      ].map(([action, details]) =>
        expect.objectContaining({
          action,
          actor_id: boss.id,
          ip: '198.51.100.1',
          details: details && JSON.stringify(details),
        }),
      ),
    )
  })

  test('where somebody with a role above user acted from stays for 90 more days, and is then removed', async () => {
    for (const role of ['user', 'manager'] as const) {
      const { gone, purge, rows, by } = await cast(role)
      await api.send('PATCH', '/v1/users/me', { token: gone.token, ip: '203.0.113.9', body: { name: 'Eve' } })
      // Taking the role away first is no way around this.
      if (role === 'manager') await by('', 'PATCH', { role: 'user' })
      await purge()
      const origins = async () => (await rows('actor_id = ?')).map(({ ip, details }) => [ip, details])
      expect(await origins()).toEqual([[role === 'manager' ? '203.0.113.9' : null, null]])
      if (role === 'user') continue
      const due = 'SELECT (due_at - began_at) / 86400000 AS days FROM erasures WHERE user_id = ?'
      expect(await api.sql(due, [gone.id])).toEqual([{ days: 90 }])
      await cleanUpAfter(0)
      expect(await origins()).toEqual([['203.0.113.9', null]])
      await api.sql('UPDATE erasures SET due_at = 0 WHERE user_id = ?', [gone.id])
      await cleanUpAfter(0)
      expect(await origins()).toEqual([[null, null]])
    }
  })

  test('what they did to others stays in the others’ history, except for texts with their address', async () => {
    const { boss, gone, purge, rows } = await cast('manager')
    const [eve, bob] = [await api.person({ password_hash: null }), await api.person({ password_hash: null })]
    const disable = (id: string, token: string, reason: string) =>
      api.send('POST', `/v1/users/${id}/disable`, { token, body: { reason } })
    await disable(eve.id, gone.token, 'has left')
    await disable(bob.id, boss.token, `says so, ${gone.email.toUpperCase()}`)
    await purge()
    expect(await rows('user_id <> ?1 AND actor_id = ?1')).toEqual([
      expect.objectContaining({ user_id: eve.id, details: '{"reason":"has left","until":null}' }),
    ])
    const reasons = async (id: string) => [
      ...(await api.sql('SELECT disabled_reason AS it FROM users WHERE id = ?', [id])),
      ...(await api.sql(
        "SELECT details AS it FROM user_activity_logs WHERE user_id = ? AND action = 'user.disabled'",
        [id],
      )),
    ]
    expect(await reasons(eve.id)).toEqual([{ it: 'has left' }, { it: '{"reason":"has left","until":null}' }])
    expect(await reasons(bob.id)).toEqual([{ it: null }, { it: '{"until":null}' }])
  })

  describe('an address in the reason for which somebody else was disabled', () => {
    const disable = (token: string, reason: string, ...ids: string[]) =>
      api.send('POST', '/v1/users/bulk', { token, body: { action: 'disable', ids, reason } })
    const reasonsOf = async (...ids: string[]) =>
      (
        await api.sql(
          `SELECT disabled_reason AS it FROM users WHERE id IN (SELECT value FROM json_each(?1)) UNION ALL
           SELECT details ->> 'reason' FROM user_activity_logs WHERE action = 'user.disabled'
             AND user_id IN (SELECT value FROM json_each(?1))`,
          [JSON.stringify(ids)],
        )
      ).map(({ it }) => it)
    async function castAs(email: string) {
      const { boss, gone, purge } = await cast()
      await api.sql('UPDATE users SET email = ?1, email_normalized = ?1 WHERE id = ?2', [email, gone.id])
      const eve = await api.person({ password_hash: null })
      return { boss, gone, purge, eve }
    }

    test('is removed with the reason, and its words alone are not', async () => {
      const { boss, purge, eve } = await castAs('has@left.the-club')
      const bob = await api.person({ password_hash: null })
      await disable(boss.token, 'Has left the club', eve.id)
      await disable(boss.token, 'asked for by Has@LEFT.the-club', bob.id)
      await purge()
      expect(await reasonsOf(eve.id)).toEqual(['Has left the club', 'Has left the club'])
      expect(await reasonsOf(bob.id)).toEqual([null, null])
    })

    test('stays if nobody has proved that it was theirs', async () => {
      const { boss, gone, purge, eve } = await castAs('somebody@else.example')
      await api.sql(
        "INSERT INTO user_activity_logs (id, action, user_id, actor_id) VALUES (?1, 'user.signed_up', ?2, ?2)",
        [crypto.randomUUID(), gone.id],
      )
      await disable(boss.token, 'also known as somebody@else.example', eve.id)
      await purge()
      expect(await reasonsOf(eve.id)).toEqual(Array(2).fill('also known as somebody@else.example'))
    })

    test('is removed from all of many reasons', async () => {
      const { boss, purge } = await castAs('ada@many.example')
      const ids = await Promise.all(
        Array.from({ length: 30 }, async () => (await api.person({ password_hash: null })).id),
      )
      await disable(boss.token, 'sock puppet of ada@many.example', ...ids)
      await api.sql(
        `INSERT INTO users (id, email, email_normalized, name, role, status, disabled_reason, version, token_epoch, failed_logins, created_at, updated_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)
         SELECT 'puppet' || hex(randomblob(9)), e, e, '', 'user', 'disabled', 'sock puppet of ada@many.example', 1, 1, 0, 1, 1
           FROM (SELECT hex(randomblob(9)) || '@puppets.example' AS e FROM n)`,
      )
      await purge()
      for (let steps = 0; steps < 5; steps++) await cleanUpAfter(0)
      expect(new Set(await reasonsOf(...ids))).toEqual(new Set([null]))
      const left = "SELECT count(*) AS n FROM users WHERE disabled_reason LIKE '%ada@many%'"
      expect(await api.sql(left)).toEqual([{ n: 0 }])
      await api.sql("DELETE FROM users WHERE id GLOB 'puppet*'")
    })
  })

  test('the history’s details can only be changed by leaving something out', async () => {
    const { by, rows } = await cast()
    await by('/disable', 'POST', { reason: 'left' })
    const [row] = await rows('user_id = ?')
    const update = (details: string) =>
      api.sql('UPDATE user_activity_logs SET details = ? WHERE id = ?', [details, row!.id as string])
    for (const details of [
      '{"reason":"stayed","until":null}',
      '{"reason":"left","until":null,"by":"x"}',
      '{"until":0}',
      '"left"',
      '[]',
      '{"reason":{"x":"left"}}',
    ])
      await expect(update(details), details).rejects.toThrow(/history/)
    await update('{"until":null}')
  })
})

describe('DL3: erasing looks for every address that somebody had', () => {
  const invite = async (token: string, email: string) => {
    const answer = await api.send('POST', '/v1/invitations', { token, body: { email } })
    expect([answer.status, answer.text]).toEqual([201, answer.text])
    return answer.body.id as string
  }
  const countIn = async (table: string, where: string, ...args: string[]) =>
    Number((await api.sql(`SELECT count(*) AS n FROM ${table} WHERE ${where}`, args))[0]!.n)

  test('invitations, mails, links, answers and changes that name a former one are removed, and rows stay', async () => {
    const { boss, gone, by, purge } = await cast()
    const eve = await api.actor()
    // Somebody else asks for their address, so it is not theirs for long.
    const wanted = { new_email: gone.email, current_password: PASSWORD }
    await api.send('POST', '/v1/auth/change_email', { token: eve.token, body: wanted })
    const [pending] = await api.sql(
      "SELECT id FROM one_time_tokens WHERE purpose = 'change_email' AND email = ?",
      [gone.email],
    )
    expect(pending).toBeDefined()
    await by('', 'PATCH', { email: `second-${gone.email}` })
    const invitation = await invite(boss.token, gone.email)
    await by('', 'PATCH', { email: `third-${gone.email}` })
    await purge()
    expect(await dump()).not.toContain(gone.email)
    const withdrawn = await api.sql(
      "SELECT user_id, actor_id, action, details FROM user_activity_logs WHERE action IN ('invitation.withdrawn', 'email.change_withdrawn') ORDER BY action",
    )
    expect(withdrawn.slice(-2)).toEqual([
      {
        user_id: eve.id,
        actor_id: null,
        action: 'email.change_withdrawn',
        details: '{"reason":"address_erased"}',
      },
      {
        user_id: null,
        actor_id: null,
        action: 'invitation.withdrawn',
        details: JSON.stringify({ invitation_id: invitation, role: 'user', reason: 'user_erased' }),
      },
    ])
  })

  test('what is later than their account, or belongs to another account with the address, stays', async () => {
    const { boss, gone, by, purge } = await cast()
    await by('', 'DELETE')
    const heir = { email: gone.email, password: PASSWORD, name: 'Heir' }
    const { body } = await api.send('POST', '/v1/auth/signup', { body: heir })
    const second = await cast()
    await second.by('', 'DELETE')
    const invitation = await invite(boss.token, second.gone.email)
    const eve = await api.actor({ email_verified_at: 1 })
    const third = await cast()
    const wanted = { new_email: third.gone.email, current_password: PASSWORD }
    await api.send('POST', '/v1/auth/change_email', { token: eve.token, body: wanted })
    await third.by('', 'DELETE')
    const { code } = linkIn((await api.mailsTo(third.gone.email))[0]!)
    const confirm = { token: eve.token, body: { code } }
    expect((await api.send('POST', '/v1/auth/confirm_email_change', confirm)).status).toBe(204)
    const kept = async () => [
      await countIn('outbox', 'user_id = ?', body.id as string),
      await countIn('one_time_tokens', 'subject_id = ?', body.id as string),
      await countIn('invitations', 'id = ?', invitation),
      await countIn('outbox', 'recipient = ?', second.gone.email),
      await countIn('outbox', 'user_id = ?', eve.id),
      await countIn('one_time_tokens', 'subject_id = ?', eve.id),
    ]
    const before = await kept()
    expect(before).toEqual([1, 1, 1, 1, 2, 2])
    for (const { purge: purgeOne } of [{ purge }, second, third]) await purgeOne()
    expect(await kept()).toEqual(before)
  })

  test('what they made is removed: invitations that nobody accepted, answers that were kept for them', async () => {
    const { gone, purge } = await cast('manager')
    const key = crypto.randomUUID()
    const person = { email: `${key}@people.test`, password: PASSWORD, name: 'Made' }
    const headers = { 'idempotency-key': key }
    await api.send('POST', '/v1/users', { token: gone.token, body: person, headers })
    const invited = `invited-${key}@people.test`
    await invite(gone.token, invited)
    expect(await countIn('idempotency_keys', 'principal = ?', gone.id)).toBe(1)
    await purge()
    expect(await countIn('idempotency_keys', 'principal = ?', gone.id)).toBe(0)
    expect(await countIn('invitations', 'invited_by = ?', gone.id)).toBe(0)
    expect(await countIn('one_time_tokens', 'email = ?', invited)).toBe(0)
    expect(await countIn('outbox', 'recipient = ?', invited)).toBe(0)
    expect(await countIn('users', 'email = ?', person.email)).toBe(1)
  })
})

test('HX11, DL3: somebody with a million rows of history is erased: they at once, and their traces in steps', async () => {
  const rows = rounds(3_300, 1_000_000)
  const { boss, gone, purge } = await cast()
  const now = Date.now().toString(16).padStart(12, '0')
  await api.sql(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO user_activity_logs (id, user_id, actor_id, action, details, ip)
    SELECT '${now.slice(0, 8)}-${now.slice(8)}-7000-8000-' || printf('%012x', i), CASE WHEN i % 3 THEN ?1 ELSE ?2 END, ?1, 'user.updated',
      json_object('name', json_object('from', 'Millionaire ' || i, 'to', 'Millionaire')), '203.0.113.5' FROM n`,
    [gone.id, boss.id],
  )
  const left = async () => {
    const [row] = await api.sql(
      'SELECT count(ip) AS origins, sum(user_id = ?1 AND details IS NOT NULL) AS details FROM user_activity_logs WHERE actor_id = ?1',
      [gone.id],
    )
    return row
  }
  await purge()
  expect(await api.sql('SELECT 1 FROM users WHERE id = ?', [gone.id])).toEqual([])
  expect((await left())!.origins).toBeGreaterThan(rows - 1_001)
  const due = 'one_time_tokens'
  const id = '00000000-0000-7000-8000-000000000001'
  await api.sql(
    `INSERT INTO one_time_tokens (id, purpose, subject_id, email, email_normalized, code_tries, created_at, expires_at)
      VALUES (?, 'verify_email', 's', 'e', 'e', 0, 0, 1)`,
    [id],
  )
  await cleanUpAfter(0)
  // Nothing else has to wait until it has finished.
  expect(await api.sql(`SELECT 1 FROM ${due} WHERE id = ?`, [id])).toEqual([])
  for (let run = 0; run < 100 && (await left())!.origins !== 0; run++) await cleanUpAfter(0)
  expect(await left()).toEqual({ origins: 0, details: 0 })
  const [job] = await api.sql('SELECT sought FROM erasures WHERE user_id = ?', [gone.id])
  expect(job).toEqual({ sought: null })
  // A write that was under way is looked for once more, and then the job is done.
  await cleanUpAfter(1)
  expect(await api.sql('SELECT 1 FROM erasures WHERE user_id = ?', [gone.id])).toEqual([])
})

describe('DL1: after a soft delete', () => {
  test('the person is gone for everybody except those who may restore them, and comes back unchanged', async () => {
    const ada = await api.actor({ role: 'manager', name: 'Ada' })
    const manager = await api.actor({ role: 'manager' })
    const before = await manage('GET', `/${ada.id}`)
    await manage('DELETE', `/${ada.id}`)

    expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
    const refresh = { body: { refresh_token: ada.refreshToken } }
    expect((await api.send('POST', '/v1/auth/refresh_token', refresh)).status).toBe(401)
    const login = { body: { email: ada.email, password: PASSWORD } }
    expect((await api.send('POST', '/v1/auth/login', login)).status).toBe(401)
    const seen = (method: string, path: string, body?: unknown) =>
      api.send(method, `/v1/users/${ada.id}${path}`, { token: manager.token, body })
    expect((await seen('GET', '')).status).toBe(404)
    expect((await seen('PATCH', '', { name: 'x' })).status).toBe(404)
    expect((await seen('POST', '/disable', { reason: 'x' })).status).toBe(404)
    expect((await manage('GET', `/${ada.id}`)).body).toMatchObject({
      status: 'deleted',
      deleted_at: expect.any(String),
    })
    for (const [method, path, body] of [
      ['PATCH', '', { name: 'x' }],
      ['POST', '/disable', { reason: 'x' }],
      ['POST', '/enable', undefined],
    ] as const)
      expect((await manage(method, `/${ada.id}${path}`, body)).body.code).toBe('user_deleted')

    const restored = await manage('POST', `/${ada.id}/restore`)
    const { version, updated_at, ...kept } = before.body
    expect(restored.body).toMatchObject(kept)
    expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
    expect((await api.send('POST', '/v1/auth/refresh_token', refresh)).status).toBe(401)
    expect((await api.send('POST', '/v1/auth/login', login)).status).toBe(200)
  })
})

describe('DL2: at once', () => {
  test('twenty deletions of one person count as one, soft or hard', async () => {
    for (const [query, action] of [
      ['', 'user.deleted'],
      ['?hard=true', 'user.purged'],
    ]) {
      for (let round = 0; round < rounds(1, 50); round++) {
        const { id } = await api.person({ password_hash: null })
        const answers = await Promise.all(
          Array.from({ length: 20 }, () => manage('DELETE', `/${id}${query}`)),
        )
        // For the others, somebody who was erased is not found.
        for (const { status } of answers) expect([204, 404, 409]).toContain(status)
        expect(answers.some(({ status }) => status === 204)).toBe(true)
        expect(await api.historyOf(id)).toEqual([action])
      }
    }
  })

  test('signing up and restoring leave one owner of the address, and tell the other', async () => {
    for (let round = 0; round < rounds(3, 50); round++) {
      const gone = await api.person({ password_hash: null, deleted_at: Date.now() })
      const body = { email: gone.email.toUpperCase(), password: PASSWORD, name: 'New' }
      const answers = await Promise.all([
        manage('POST', `/${gone.id}/restore`),
        api.send('POST', '/v1/auth/signup', { body }),
      ])
      const codes = answers.map(({ status, body }) => (status < 300 ? 'owner' : body.code)).sort()
      expect(codes).toEqual(['email_taken', 'owner'])
      const [owners] = await api.sql(
        'SELECT count(*) AS n FROM users WHERE email_normalized = ? AND deleted_at IS NULL',
        [gone.email],
      )
      expect(owners).toEqual({ n: 1 })
    }
  })

  test('changing and deleting a person end in one of the two orders, each with its row', async () => {
    for (let round = 0; round < rounds(5, 50); round++) {
      const { id } = await api.person({ password_hash: null })
      const [changed, deleted] = await Promise.all([
        manage('PATCH', `/${id}`, { name: 'Changed' }),
        manage('DELETE', `/${id}`),
      ])
      expect(deleted.status).toBe(204)
      expect([200, 409]).toContain(changed.status)
      // Rows have the time at which their request began, so their order says nothing.
      expect((await api.historyOf(id)).sort()).toEqual(
        changed.status === 200 ? ['user.deleted', 'user.updated'] : ['user.deleted'],
      )
    }
  })
})
