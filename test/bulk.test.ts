import { beforeAll, describe, expect, test } from 'vitest'
import { type Actor, openApi } from './support/api.ts'

const api = openApi()
let admin: Actor
let manager: Actor
beforeAll(async () => {
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
  manager = await api.quickActor({ role: 'manager', email_verified_at: 1 })
})

interface Result {
  data: { id: string; email?: string; status: string; code?: string }[]
}
const bulk = (by: { token: string }, body: object) =>
  api.send<Result>('POST', '/v1/users/bulk', { token: by.token, body })
const stateOf = async (id: string) => (await api.sql('SELECT state FROM users WHERE id = ?', [id]))[0]!.state
const emails = (count: number) => Array.from({ length: count }, () => `${crypto.randomUUID()}@people.test`)

describe('Many users at once', () => {
  test('Each is changed by the rules of the single action, with its own result and row of history', async () => {
    const [ada, grace, gone] = [await api.person(), await api.person(), crypto.randomUUID()]
    const boss = await api.person({ role: 'admin' })
    const ids = [ada.id, boss.id, gone, manager.id, grace.id, ada.id]
    const answer = await bulk(manager, { action: 'disable', ids, reason: 'Left' })
    expect([answer.status, answer.body.data]).toEqual([
      200,
      [
        { id: ada.id, status: 'done' },
        { id: boss.id, status: 'refused', code: 'outranked' },
        { id: gone, status: 'refused', code: 'user_not_found' },
        { id: manager.id, status: 'refused', code: 'own_account' },
        { id: grace.id, status: 'done' },
      ],
    ])
    for (const { id } of [ada, grace]) {
      expect(await stateOf(id)).toBe('disabled')
      expect(await api.historyOf(id)).toEqual(['user.disabled'])
    }
    expect([await stateOf(boss.id), await stateOf(manager.id)]).toEqual(['active', 'active'])
    // The second time there is nothing left to do.
    expect((await bulk(manager, { action: 'disable', ids: [ada.id], reason: 'Left' })).body.data).toEqual([
      { id: ada.id, status: 'done' },
    ])
    expect(await api.historyOf(ada.id)).toEqual(['user.disabled'])
  })

  test('A hundred cost two trips, and one more is refused', async () => {
    const people = await Promise.all(Array.from({ length: 100 }, () => api.person()))
    const ids = people.map(({ id }) => id)
    const answer = await bulk(admin, { action: 'end_sessions', ids })
    expect(answer.body.data.map(({ status }) => status)).toEqual(ids.map(() => 'done'))
    expect(answer.headers.get('server-timing')).toMatch(/db;dur=\d+;desc="2"/)
    const tooMany = await bulk(admin, { action: 'end_sessions', ids: [...ids, crypto.randomUUID()] })
    expect([tooMany.status, tooMany.body]).toMatchObject([422, { code: 'invalid_input' }])
  })

  test('AZ5: without the permission or recent login that it needs, all of it is refused, and nothing changes', async () => {
    const ada = await api.person()
    const stale = await api.person({ role: 'admin' })
    const { token } = await api.signIn(stale, Date.now() - 3_600_000)
    await bulk(admin, { action: 'disable', ids: [ada.id] })
    const answers = [
      await bulk(manager, { action: 'delete', ids: [ada.id] }),
      await bulk({ token }, { action: 'enable', ids: [ada.id] }),
    ]
    expect(answers.map(({ status, body }) => [status, (body as unknown as { code: string }).code])).toEqual([
      [403, 'forbidden'],
      [403, 'reauthentication_required'],
    ])
    expect(await stateOf(ada.id)).toBe('disabled')
    expect((await bulk(admin, { action: 'enable', ids: [ada.id] })).body.data[0]!.status).toBe('done')
    expect((await bulk(admin, { action: 'delete', ids: [ada.id] })).body.data[0]!.status).toBe('done')
    expect(await stateOf(ada.id)).toBe('deleted')
  })

  test('Only known members are accepted, and a reason only for disabling', async () => {
    const ids = [crypto.randomUUID()]
    for (const body of [
      { action: 'erase', ids },
      { action: 'enable', ids, reason: 'x' },
      { action: 'enable', ids: [] },
      { action: 'enable', ids: ['1'] },
      { action: 'enable', ids, role: 'admin' },
    ])
      expect((await bulk(admin, body)).status).toBe(422)
  })
})

describe('Many invitations at once', () => {
  const send = (by: { token: string }, body: object) =>
    api.send<Result>('POST', '/v1/invitations/bulk', { token: by.token, body })

  test('Each is invited by the rules of a single invitation, and gets a mail', async () => {
    const [first, second] = emails(2) as [string, string]
    const taken = (await api.person({ email_verified_at: 1 })).email
    const answer = await send(manager, {
      invitations: [{ email: first, name: 'Ada' }, { email: taken }, { email: second, role: 'manager' }],
    })
    expect([answer.status, answer.body.data]).toEqual([
      200,
      [
        { email: first, id: expect.any(String), status: 'done' },
        { email: taken, status: 'refused', code: 'email_taken' },
        { email: second, status: 'refused', code: 'outranked' },
      ],
    ])
    expect([(await api.mailsTo(first)).length, (await api.mailsTo(second)).length]).toEqual([1, 0])
    const ids = [answer.body.data[0]!.id]
    const again = await send(manager, { action: 'resend', ids })
    expect(again.body.data).toEqual([{ id: ids[0], status: 'done' }])
    expect((await api.mailsTo(first)).length).toBe(2)
    const gone = crypto.randomUUID()
    const withdrawn = await send(manager, { action: 'withdraw', ids: [...ids, gone] })
    expect(withdrawn.body.data).toEqual([
      { id: ids[0], status: 'done' },
      { id: gone, status: 'refused', code: 'invitation_not_found' },
    ])
  })

  test('A hundred are invited in one trip', async () => {
    const answer = await send(admin, { invitations: emails(100).map((email) => ({ email })) })
    expect(answer.body.data.filter(({ status }) => status === 'done').length).toBe(100)
  })
})

describe('Lists as files', () => {
  const get = (path: string, by = admin) => api.send('GET', path, { token: by.token })

  test('A list of users is a CSV of any length, in which no cell is a formula', async () => {
    const mark = crypto.randomUUID().slice(0, 8)
    for (const name of [`=1+1 ${mark}`, `@sum ${mark}`, `Plain ${mark}`, `Quote " and, comma ${mark}`])
      await api.person({ name })
    const { status, headers, text } = await get(`/v1/users/export?q=${mark}&sort=created_at`)
    expect([status, headers.get('content-type')]).toEqual([200, 'text/csv; charset=utf-8'])
    expect(headers.get('content-disposition')).toBe('attachment; filename="roster-users.csv"')
    const [names, ...lines] = text.trimEnd().split('\r\n')
    expect(names).toMatch(/^id,email,name,role,status,/)
    const behindName = names!.split(',').length - 3
    expect(lines.map((line) => line.split(',').slice(2, -behindName).join(','))).toEqual([
      `'=1+1 ${mark}`,
      `'@sum ${mark}`,
      `Plain ${mark}`,
      `"Quote "" and, comma ${mark}"`,
    ])
  })

  test('As NDJSON it has the list’s objects, page after page, and the history says who exported it', async () => {
    const mark = crypto.randomUUID().slice(0, 8)
    const one = await api.person({ name: `${mark} first` })
    await api.sql(
      `INSERT INTO users (id, email, email_normalized, name, role, status, version, token_epoch, failed_logins, created_at, updated_at)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 519)
        SELECT printf('%s%04d', substr(id, 1, 32), i), i || email, i || email_normalized, ? || ' ' || i, role, status, 1, 0, 0,
          created_at, updated_at FROM n, users WHERE id = ?`,
      [mark, one.id],
    )
    const { text, headers } = await get(`/v1/users/export?format=ndjson&q=${mark}`)
    expect(headers.get('content-type')).toBe('application/x-ndjson')
    const rows = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string; name: string })
    expect(new Set(rows.map(({ id }) => id)).size).toBe(520)
    const { body } = await get(`/v1/users/${rows[0]!.id}`)
    expect(rows[0]).toEqual(body)
    const [event] = await api.sql(
      "SELECT details FROM user_activity_logs WHERE actor_id = ? AND action = 'user.exported' ORDER BY id DESC LIMIT 1",
      [admin.id],
    )
    expect(JSON.parse(String(event!.details))).toEqual({ list: 'users' })
  })

  test('AZ3: the history can be exported, as far as the reader may see it, after a recent login', async () => {
    const boss = await api.quickActor({ role: 'admin' })
    await api.send('POST', '/v1/users/bulk', {
      token: boss.token,
      body: { action: 'end_sessions', ids: [manager.id] },
    })
    const again = await api.signIn(manager)
    const { text } = await get(`/v1/activity/export?format=ndjson&user_id=${manager.id}`, {
      ...manager,
      ...again,
    })
    const [row] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(row).toMatchObject({ action: 'sessions.ended', actor_id: boss.id, ip: null })
    const stale = await api.signIn(admin, Date.now() - 3_600_000)
    for (const path of ['/v1/activity/export', '/v1/users/export']) {
      const { status, body } = await get(path, { ...admin, ...stale })
      expect([status, body.code]).toEqual([403, 'reauthentication_required'])
    }
  })
})

describe('Mails that were given up', () => {
  async function deadMail(given: { expires_at?: number } = {}) {
    const id = (
      await api.sql(
        "SELECT printf('%08x-0000-7000-8000-%012x', random() & 0xffffffff, random() & 0xffffffffffff) AS id",
      )
    )[0]!.id as string
    const to = emails(1)[0]!
    await api.sql(
      `INSERT INTO outbox (id, kind, recipient, recipient_normalized, created_at, expires_at, attempts, next_attempt_at, dead_at, refusal)
        VALUES (?, 'password_changed', ?, ?, ?, ?, 5, 0, ?, '422')`,
      [id, to, to, Date.now(), given.expires_at ?? Date.now() + 3_600_000, Date.now()],
    )
    return { id, to }
  }
  const retry = (id: string) => api.send('POST', `/v1/mails/${id}/retry`, { token: admin.token })

  test('They are listed, newest first, and tried again at once', async () => {
    const { id, to } = await deadMail()
    const list = await api.send<{ data: object[] }>('GET', '/v1/mails?status=dead', { token: admin.token })
    expect(list.body.data[0]).toMatchObject({
      id,
      to,
      status: 'dead',
      refusal: '422',
      kind: 'password_changed',
    })
    const answer = await retry(id)
    expect([answer.status, answer.body]).toMatchObject([200, { id, status: 'waiting', attempts: 0 }])
    expect((await api.mailsTo(to)).length).toBe(1)
    expect(await retry(id)).toMatchObject({ status: 200, body: { status: 'sent' } })
    expect((await api.mailsTo(to)).length).toBe(1)
  })

  test('One that has expired stays as it is', async () => {
    const { id } = await deadMail({ expires_at: Date.now() - 1 })
    expect(await retry(id)).toMatchObject({ status: 409, body: { code: 'mail_ended' } })
    expect(await retry(crypto.randomUUID())).toMatchObject({ status: 404, body: { code: 'mail_not_found' } })
  })
})
