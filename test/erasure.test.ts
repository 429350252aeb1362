import { beforeAll, describe, expect, test } from 'vitest'
import type { Tokens } from '../src/auth/schemas.ts'
import { type Actor, type Answer, type Api, linkIn, type Options, openApi, PASSWORD } from './support/api.ts'
import { rounds } from './support/rounds.ts'
import { freshUpstreams } from './support/upstreams.ts'

let api: Api
let admin: Actor

beforeAll(async () => {
  api = openApi((await freshUpstreams()).bindings)
  admin = await api.actor({ role: 'admin' })
})
const manage = (method: string, path: string, body?: unknown) =>
  api.send(method, `/v1/users${path}`, { token: admin.token, body })

/**
 * What each column of each table is, and for what is about a person, how a hard delete takes it away:
 *
 *   neither   says nothing about anybody, or names a person by an id that names nobody once they are gone
 *   secret    proves who somebody is; goes with its row
 *   row       personal; goes with its row
 *   emptied   personal; the row stays, for the history, with null here
 */
const COLUMNS: Record<string, Record<string, 'neither' | 'secret' | 'row' | 'emptied'>> = {
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
    device_epoch: 'neither',
    created_at: 'row',
    updated_at: 'row',
    last_login_at: 'row',
    deleted_at: 'row',
    state: 'row',
    facets: 'row',
  },
  // Ended, they stay for a day, so that a token shown meanwhile is told so.
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
    ip: 'emptied',
    user_agent: 'emptied',
    country: 'emptied',
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
  idempotency_keys: {
    principal: 'neither',
    route: 'neither',
    key: 'neither',
    body_hash: 'secret',
    status: 'neither',
    response: 'row',
    subject_id: 'neither',
    created_at: 'neither',
  },
  // A link is made from the id and a key that is not in the database.
  one_time_tokens: {
    id: 'neither',
    purpose: 'neither',
    subject_id: 'neither',
    email: 'row',
    email_normalized: 'row',
    code_tries: 'neither',
    created_at: 'neither',
    expires_at: 'neither',
    spent_at: 'neither',
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
    created_at: 'neither',
    expires_at: 'neither',
    attempts: 'neither',
    next_attempt_at: 'neither',
    sent_at: 'neither',
    dead_at: 'neither',
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
  user_totals: { role: 'neither', state: 'neither', total: 'neither' },
  cleanup_runs: {
    id: 'neither',
    started_at: 'neither',
    finished_at: 'neither',
    lease_expires_at: 'neither',
    counts: 'neither',
    holder: 'neither',
  },
  // The index of `users`; its own tables hold pieces of three letters.
  users_fts: { email_normalized: 'row', name: 'row', facets: 'row', users_fts: 'neither', rank: 'neither' },
}

const tablesOf = async (where: string) =>
  (await api.sql(`SELECT name FROM sqlite_master WHERE type = 'table' AND ${where}`)).map(({ name }) =>
    String(name),
  )

test('DL3: every column of every table is classified', async () => {
  const found: Record<string, string[]> = {}
  for (const table of await tablesOf(
    "name NOT LIKE 'sqlite_%' AND name NOT LIKE 'users_fts_%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\'",
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

/** Everything in the database as text, blobs too, tables of the search index and of migrations too. */
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

/** How somebody may come; answers their id. */
const COMINGS = {
  'user.signed_up': async ({ email, password, name }, from) =>
    api.send('POST', '/v1/auth/signup', { ...from, body: { email, password, name } }),
  'user.created': async ({ email, password, name }, from) =>
    api.send('POST', '/v1/users', { ...from, token: admin.token, body: { email, password, name } }),
  'invitation.accepted': async ({ email, password, name }, from) => {
    // From where the administrator does so is the administrator's.
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

/** Somebody with a past: all of it has marks that nothing else has. */
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
  await manage('PATCH', `/${id}`, { role: 'manager', name: marks.newName, email: marks.newEmail })
  const login = { email: marks.newEmail, password: marks.password }
  await api.send('POST', '/v1/auth/login', { ...from, body: { ...login, password: 'no' } })
  const { body: tokens } = await api.send<Tokens>('POST', '/v1/auth/login', { ...from, body: login })
  const by = { ...from, token: tokens.access_token }
  await api.send('PATCH', '/v1/users/me', { ...by, body: { name: `${marks.newName} II` } })
  const other = await api.person({ password_hash: null })
  await api.send('POST', `/v1/users/${other.id}/disable`, { ...by, body: { reason: 'has left' } })
  const wanted = { new_email: marks.wantedEmail, current_password: marks.password }
  await api.send('POST', '/v1/auth/change_email', { ...by, body: wanted })
  await api.send('POST', '/v1/auth/forgot_password', { ...from, body: { email: marks.newEmail } })
  await api.send('POST', '/v1/auth/refresh_token', { ...from, body: { refresh_token: tokens.refresh_token } })
  await manage('POST', `/${id}/disable`, { reason: marks.reason })
  return { id, other, marks, tokens }
}

describe.each(Object.keys(COMINGS) as Coming[])('DL3: after a hard delete of who came by %s', (coming) => {
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
    // All but the password can be seen beforehand, or the test would prove nothing.
    expect(found(before).map(([name]) => name)).toEqual(
      Object.keys(life.marks).filter((name) => name !== 'password'),
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

  test('rows that stay are empty where the classification says so, and rows that go are gone', async () => {
    for (const [table, columns] of Object.entries(COLUMNS)) {
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
          // What they did to others is the others' history.
          const isOthers = name === 'details' && row.user_id !== life.id
          if (kind === 'emptied' && !isOthers) expect([table, name, row[name]]).toEqual([table, name, null])
        }
      }
      if (kinds.includes('emptied')) expect(rows.length).toBeGreaterThan(0)
    }
  })

  test('the history goes on, under an id that names nobody', async () => {
    const history = await api.send('GET', `/v1/users/${life.id}/activity`, { token: admin.token })
    const data = history.body.data as { action: string; details: unknown; ip: unknown }[]
    expect(data.map(({ action }) => action)).toEqual([
      'user.purged',
      'user.disabled',
      'session.refreshed',
      'password.reset_requested',
      'email.change_requested',
      'user.updated',
      'session.started',
      'login.failed',
      'user.role_changed',
      coming,
    ])
    expect(data.every(({ details, ip }) => details === null && ip === null)).toBe(true)
    const done = await api.send('GET', `/v1/activity?actor_id=${life.id}&action=user.disabled`, {
      token: admin.token,
    })
    expect(done.body.data).toEqual([
      expect.objectContaining({
        user_id: life.other.id,
        details: { reason: 'has left', until: null },
        ip: null,
        user_agent: null,
      }),
    ])
  })

  test('the same address may sign up again, as somebody else', async () => {
    const body = { email: life.marks.newEmail, password: PASSWORD, name: 'New' }
    const again = await api.send('POST', '/v1/auth/signup', { body })
    expect(again.status).toBe(201)
    expect(again.body.id).not.toBe(life.id)
    expect((await manage('POST', `/${life.id}/restore`)).status).toBe(404)
    await manage('DELETE', `/${again.body.id}?hard=true`)
  })
})

test('DL3: who has the address of somebody that is erased later keeps their mails and links', async () => {
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

describe('DL1: after a soft delete', () => {
  test('the person is gone for everybody but those who may restore them, and back as they were', async () => {
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
  test('twenty deletions of one person are one, soft or hard', async () => {
    for (const [query, action] of [
      ['', 'user.deleted'],
      ['?hard=true', 'user.purged'],
    ]) {
      for (let round = 0; round < rounds(1, 50); round++) {
        const { id } = await api.person({ password_hash: null })
        const answers = await Promise.all(
          Array.from({ length: 20 }, () => manage('DELETE', `/${id}${query}`)),
        )
        // Gone for good is gone for the others too.
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
      expect(await api.historyOf(id)).toEqual(
        changed.status === 200 ? ['user.updated', 'user.deleted'] : ['user.deleted'],
      )
    }
  })
})
