import { encodeBase32UpperCaseNoPadding } from '@oslojs/encoding'
import { generateTOTP } from '@oslojs/otp'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ImportResult } from '../../src/bulk/import/schemas.ts'
import { timeOfId } from '../../src/values/ids.ts'
import { type Actor, type Api, openApi } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi(own.bindings)
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
})

interface Sent {
  by?: { token: string }
  query?: string
  type?: string
}
const sendText = (raw: string, { by = admin, query = '', type = 'application/x-ndjson' }: Sent = {}) =>
  api.send<ImportResult & { code?: string }>('POST', `/v1/users/import${query}`, {
    token: by.token,
    raw,
    headers: { 'content-type': type },
  })
const send = (lines: object[], sent: Sent = {}) =>
  sendText(lines.map((line) => JSON.stringify(line)).join('\n'), sent)
const csv = (text: string) => sendText(text, { type: 'text/csv; charset=utf-8' })

const unique = () => crypto.randomUUID().slice(0, 8)
const address = () => `${unique()}@old.test`
const rowOf = async (email: string) =>
  (await api.sql('SELECT * FROM users WHERE email = ? AND deleted_at IS NULL', [email]))[0]!
/** `created`, `exists by address`, or the codes of what is wrong. */
const outcomes = ({ body }: Awaited<ReturnType<typeof send>>) =>
  body.data.map(({ status, by, errors }) =>
    errors ? errors.map(({ code }) => code).join() : [status, ...(by ? [`by ${by}`] : [])].join(' '),
  )

test('An import makes users with all that they had, and one row of history for it and for each', async () => {
  const [first, second] = [address(), address()]
  const answer = await send([
    {
      email: first,
      name: 'Ada',
      email_verified: true,
      external_id: unique(),
      created_at: '2011-05-06T07:08:09.123Z',
      metadata: { a: 1 },
      admin_metadata: { b: 2 },
      locale: 'de',
      role: 'manager',
    },
    { email: second, disabled: true },
  ])
  expect(answer.status, answer.text).toBe(200)
  expect(outcomes(answer)).toEqual(['created', 'created'])
  const [one, other] = answer.body.data as unknown as [{ id: string }, { id: string }]
  const madeAt = Date.parse('2011-05-06T07:08:09.123Z')
  expect(timeOfId(one.id)).toBe(madeAt)
  const read = await api.send('GET', `/v1/users/${one.id}`, { token: admin.token })
  expect(read.body).toMatchObject({
    email: first,
    name: 'Ada',
    role: 'manager',
    email_verified: true,
    created_at: '2011-05-06T07:08:09.123Z',
    metadata: { a: 1 },
    admin_metadata: { b: 2 },
    locale: 'de',
    status: 'active',
  })
  const found = await api.send('GET', `/v1/users/${other.id}`, { token: admin.token })
  expect(found.body).toMatchObject({
    name: second.split('@')[0],
    status: 'disabled',
    email_verified: false,
    role: 'user',
  })
  const [marker] = await api.sql(
    "SELECT * FROM user_activity_logs WHERE action = 'users.imported' ORDER BY id DESC LIMIT 1",
  )
  expect(marker).toMatchObject({ actor_id: admin.id, user_id: null, details: '{"count":2}' })
  const rows = await api.sql(
    'SELECT user_id, actor_id, action, details FROM user_activity_logs WHERE user_id IN (?, ?) ORDER BY id',
    [one.id, other.id],
  )
  expect(rows).toEqual(
    [
      [one.id, 'manager'],
      [other.id, 'user'],
    ].map(([user_id, role]) => ({
      user_id,
      actor_id: admin.id,
      action: 'user.created',
      details: JSON.stringify({ role, import_id: marker!.id }),
    })),
  )
  expect(await api.mailsTo(first)).toEqual([])
  expect(await api.sql('SELECT 1 FROM outbox WHERE recipient_normalized IN (?, ?)', [first, second])).toEqual(
    [],
  )
})

test('The same lines again change nothing, and say by what each is known', async () => {
  const lines = [
    { email: address(), external_id: unique() },
    { email: address() },
    { email: address(), external_id: unique() },
  ]
  const made = await send(lines)
  expect(outcomes(made)).toEqual(['created', 'created', 'created'])
  await api.send('DELETE', `/v1/users/${made.body.data[2]!.id}`, { token: admin.token })
  const before = await api.sql('SELECT count(*) AS n FROM user_activity_logs')
  const again = await send(lines.map((line) => ({ ...line, name: 'Another', metadata: { x: 1 } })))
  expect(outcomes(again)).toEqual(['exists by external_id', 'exists by address', 'exists by external_id'])
  expect(again.body.data.map(({ id }) => id)).toEqual(made.body.data.map(({ id }) => id))
  expect(await api.sql('SELECT count(*) AS n FROM user_activity_logs')).toEqual(before)
  expect(await rowOf(lines[0]!.email)).toMatchObject({ metadata: null, version: 1 })
})

test('Who is who: one of another external id, two people, and an earlier line are conflicts', async () => {
  const [a, b] = [
    { email: address(), external_id: unique() },
    { email: address(), external_id: unique() },
  ]
  const plain = { email: address() }
  expect(outcomes(await send([a, b, plain]))).toEqual(['created', 'created', 'created'])
  const twice = address()
  const id = unique()
  expect(
    outcomes(
      await send([
        { email: b.email, external_id: a.external_id },
        { email: a.email, external_id: unique() },
        { email: plain.email, external_id: unique() },
        { email: address(), external_id: b.external_id },
        { email: twice },
        { email: twice.toUpperCase() },
        { email: address(), external_id: id },
        { email: address(), external_id: id },
      ]),
    ),
  ).toEqual([
    'conflict',
    'conflict',
    'exists by address',
    'exists by external_id',
    'created',
    'conflict',
    'created',
    'conflict',
  ])
})

test('A dry run says the same, and writes nothing', async () => {
  const lines = [{ email: address() }, { email: admin.email }, {}, { email: address(), role: 'owner' }]
  const before = await api.sql(
    'SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM user_activity_logs)',
  )
  const dry = await send(lines, { query: '?dry_run=true' })
  expect(outcomes(dry)).toEqual(['created', 'exists by address', 'invalid_type', 'invalid_value'])
  expect(dry.body.data[0]).toEqual({ line: 1, status: 'created' })
  expect(
    await api.sql('SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM user_activity_logs)'),
  ).toEqual(before)
  expect(outcomes(await send(lines))).toEqual(outcomes(dry))
})

test('What is wrong with a line is said of that line, and keeps no other', async () => {
  const good = { email: address() }
  const text = [
    '{"email": "a@old.test", "email": "b@old.test"}',
    'no JSON',
    '',
    JSON.stringify({ email: 'nobody', name: '\u202e' }),
    JSON.stringify({ email: address(), created_at: '1989-12-31T23:59:59Z' }),
    JSON.stringify({ email: address(), created_at: new Date(Date.now() + 60_000).toISOString() }),
    JSON.stringify({ email: address(), metadata: { a: 'x'.repeat(4096) } }),
    JSON.stringify({ email: address(), seen: true }),
    JSON.stringify(good),
  ].join('\r\n')
  const answer = await sendText(text)
  expect(outcomes(answer)).toEqual(
    [
      'invalid_json',
      'invalid_json',
      'invalid_email,invalid_text',
      'custom',
      'in_the_future',
      'too_big',
      'unknown_member',
      'created',
    ].map((code) => (code === 'custom' ? 'invalid' : code)),
  )
  expect(answer.body.data.map(({ line }) => line)).toEqual([1, 2, 4, 5, 6, 7, 8, 9])
  expect(answer.body.data[2]!.errors!.map(({ pointer }) => pointer)).toEqual(['/email', '/name'])
})

describe('CSV', () => {
  test('has the names in its first line, cells in quotes, and JSON in some', async () => {
    const [one, other] = [address(), address()]
    const answer = await csv(
      [
        '\ufeffemail,name,email_verified,metadata,external_id',
        `${one},"Ada ""the first""\nKing",TRUE,"{""a"":[1,2]}",`,
        '',
        `${other},Grace`,
        `${address()},Grace,true,{,x,y`,
        `${address()},Grace,maybe,{}`,
        `${address()},Grace,true,{`,
      ].join('\r\n'),
    )
    expect(outcomes(answer)).toEqual([
      'invalid_text',
      'created',
      'invalid_row',
      'invalid_type',
      'invalid_json',
    ])
    expect(answer.body.data.map(({ line }) => line)).toEqual([2, 5, 6, 7, 8])
    expect(await rowOf(other)).toMatchObject({ name: 'Grace', external_id: null, metadata: null })
  })

  test('of names that are not known, or there twice, is refused as a whole', async () => {
    for (const head of ['email,surname', 'email,email', '']) {
      const answer = await csv(`${head}\r\n${address()},x`)
      expect([head, answer.status, answer.body.code]).toEqual([head, 422, 'invalid_input'])
    }
  })
})

test('A body has 500 rows and a megabyte at most, and is NDJSON or CSV', async () => {
  const lines = Array.from({ length: 501 }, () => ({ email: address() }))
  expect((await send(lines)).status).toBe(422)
  expect((await send([])).status).toBe(422)
  const big = await send([{ email: address(), name: 'x'.repeat(1024 * 1024) }])
  expect([big.status, big.body.code]).toEqual([413, 'body_too_large'])
  const other = await sendText('{}', { type: 'application/json' })
  expect([other.status, other.headers.get('accept')]).toEqual([415, 'application/x-ndjson, text/csv'])
  expect((await sendText('{}', { query: '?dry_run=1' })).status).toBe(422)
})

test('AZ4: a role and a factor take a proved address and a login of the last minutes', async () => {
  const seed = crypto.getRandomValues(new Uint8Array(20))
  const totp = { secret: encodeBase32UpperCaseNoPadding(seed), digits: 6, period: 30, algorithm: 'SHA1' }
  const lines = () => [
    { email: address(), role: 'manager', email_verified: true },
    { email: address(), factors: { totp }, email_verified: true },
    { email: address(), role: 'admin' },
    { email: address(), factors: { totp } },
    { email: address(), email_verified: true },
  ]
  const old = await api.signIn(admin, Date.now() - 3_600_000)
  expect(outcomes(await send(lines(), { by: old }))).toEqual([
    'reauthentication_required',
    'reauthentication_required',
    'address_not_verified',
    'address_not_verified',
    'created',
  ])
  const given = lines()
  expect(outcomes(await send(given))).toEqual([
    'created',
    'created',
    'address_not_verified',
    'address_not_verified',
    'created',
  ])
  const { id } = await rowOf(given[1]!.email)
  await api.sql(
    'UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE id = ?) WHERE id = ?',
    [admin.id, id as string],
  )
  const body = { email: given[1]!.email, password: admin.password }
  const first = await api.send<{ challenge: string }>('POST', '/v1/auth/login', { body })
  expect([first.status, first.body]).toMatchObject([403, { methods: ['totp'] }])
  const code = generateTOTP(seed, 30, 6)
  const second = await api.send('POST', '/v1/auth/login/second_factor', {
    body: { challenge: first.body.challenge, code },
  })
  expect(second.status, second.text).toBe(200)
})

test('Other factors are left out, with a warning', async () => {
  const totp = { secret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', digits: 8 }
  const answer = await send([{ email: address(), factors: { sms: { number: '1' }, totp } }])
  expect(answer.body.data[0]).toMatchObject({
    status: 'created',
    warnings: [{ pointer: '/factors/sms' }, { pointer: '/factors/totp' }],
  })
})

test('A proved address takes the invitation to it; one that is not leaves it', async () => {
  const [proved, not] = [address(), address()]
  for (const email of [proved, not])
    await api.send('POST', '/v1/invitations', { token: admin.token, body: { email } })
  await send([{ email: proved, email_verified: true }, { email: not }])
  const invited = await api.sql(
    'SELECT email_normalized, withdrawn_at IS NOT NULL AS is_over, user_id FROM invitations WHERE email_normalized IN (?, ?)',
    [proved, not],
  )
  const { id } = await rowOf(proved)
  expect(invited).toEqual(
    expect.arrayContaining([
      { email_normalized: proved, is_over: 1, user_id: id },
      { email_normalized: not, is_over: 0, user_id: null },
    ]),
  )
  const [row] = await api.sql(
    "SELECT actor_id, details FROM user_activity_logs WHERE action = 'invitation.withdrawn' ORDER BY id DESC LIMIT 1",
  )
  expect(row!.actor_id).toBe(admin.id)
  expect(JSON.parse(row!.details as string)).toMatchObject({ reason: 'has_account' })
})

test('Whoever was imported and has proved nothing stays, and keeps what they choose as they prove it', async () => {
  const email = address()
  await send([{ email, created_at: '2001-01-01T00:00:00Z' }])
  const { id, password_is_given } = await rowOf(email)
  expect(password_is_given).toBe(2)
  const [due] = await api.sql(
    `SELECT count(*) AS n FROM users WHERE id = ? AND email_verified_at IS NULL AND last_login_at IS NULL
      AND deleted_at IS NULL AND role = 'user' AND status = 'active' AND password_is_given = 0`,
    [id as string],
  )
  expect(due!.n).toBe(0)
})
