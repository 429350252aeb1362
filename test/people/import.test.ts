import { encodeBase32UpperCaseNoPadding } from '@oslojs/encoding'
import { generateTOTP } from '@oslojs/otp'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ImportResult } from '../../src/bulk/import/schemas.ts'
import { signClientToken } from '../../src/sessions/access-tokens.ts'
import { timeOfId } from '../../src/values/ids.ts'
import { type Actor, type Api, openApi } from '../support/api.ts'
import { challengeOf, codeOf, wrongCodeOf } from '../support/factors.ts'
import { openJar } from '../support/jar.ts'
import { addKey } from '../support/keys.ts'
import { letApp } from '../support/oauth.ts'
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
/** `created`, `exists by address`, or the codes of the errors. */
const outcomes = ({ body }: Awaited<ReturnType<typeof send>>) =>
  body.data.map(({ status, by, errors }) =>
    errors ? errors.map(({ code }) => code).join() : [status, ...(by ? [`by ${by}`] : [])].join(' '),
  )

test('An import makes users with all their data, and one row of history for itself and for each user', async () => {
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

test('The same lines again change nothing, and say how each user was recognised', async () => {
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

test('Another external id, two matching people and an earlier line are conflicts', async () => {
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

test('An address that somebody signed up with and never proved exists already, and is reported as unproved', async () => {
  const [squatted, own, known] = [address(), address(), address()]
  const external_id = unique()
  await api.person({ email: squatted, name: 'Squatter' })
  await api.person({ email: own, email_verified_at: 1 })
  await api.person({ email: known, external_id })
  const lines = [
    { email: squatted, name: 'Ada', email_verified: true, external_id: unique() },
    { email: squatted.replace('old', 'OLD') },
    { email: own, email_verified: true },
    { email: known, email_verified: true, external_id },
  ]
  const warned = ({ body }: Awaited<ReturnType<typeof send>>) =>
    body.data.map(({ status, warnings = [] }) => [status, ...warnings.map(({ code }) => code)].join(' '))
  const dry = await send(lines, { query: '?dry_run=true' })
  const told = await send([lines[0]!, ...lines.slice(2)])
  expect(warned(dry)).toEqual(['exists address_unproved', 'invalid', 'exists', 'exists'])
  expect(warned(told)).toEqual(['exists address_unproved', 'exists', 'exists'])
  // Somebody who has not proved it either takes nobody's place.
  expect(warned(await send([lines[1]!]))).toEqual(['exists'])
  expect(await rowOf(squatted)).toMatchObject({
    name: 'Squatter',
    external_id: null,
    email_verified_at: null,
  })
})

test('A dry run reports the same, and writes nothing', async () => {
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

test('An error in a line is reported for that line, and does not affect others', async () => {
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
  test('has its column names in the first line, quoted cells, and JSON in some', async () => {
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

  test('with an unclosed quote has an invalid line, and says so', async () => {
    const answer = await csv(`email,name\n${address()},Grace\n${address()},"Ada\n${address()},Edith\n`)
    expect(outcomes(answer)).toEqual(['created', 'invalid_row'])
    const [, swallowed] = answer.body.data
    expect([swallowed!.line, swallowed!.errors]).toMatchObject([
      3,
      [{ pointer: '', detail: 'Has a quote that is never closed.' }],
    ])
  })

  test('that is not UTF-8 is refused as such', async () => {
    const raw = new Uint8Array([0x65, 0xe4, 0x0a])
    const headers = { 'content-type': 'text/csv' }
    const answer = await api.send('POST', '/v1/users/import', { token: admin.token, raw, headers })
    expect([answer.status, answer.body.errors]).toEqual([
      422,
      [{ pointer: '', code: 'invalid_encoding', detail: 'Is not UTF-8.' }],
    ])
  })

  test('is read as a German spreadsheet writes it, too', async () => {
    const email = address()
    const answer = await csv(`\ufeff"email";name;email_verified\r\n${email};"Lovelace; Ada";WAHR\r\n`)
    expect(outcomes(answer)).toEqual(['created'])
    expect(await rowOf(email)).toMatchObject({ name: 'Lovelace; Ada', email_verified_at: expect.any(Number) })
  })

  test('with unknown or repeated column names is refused as a whole', async () => {
    for (const head of ['email,surname', 'email,email', '']) {
      const answer = await csv(`${head}\r\n${address()},x`)
      expect([head, answer.status, answer.body.code]).toEqual([head, 422, 'invalid_input'])
    }
  })
})

test('Only a few of thousands of errors are reported', async () => {
  const names = Array.from({ length: 5_000 }, (_, at) => `n${at}`)
  const members = Object.fromEntries(names.map((name) => [name, 1]))
  const { body } = await send([
    { email: address(), ...members },
    { email: address(), factors: members },
  ])
  expect(body.data.map(({ errors, warnings }) => [errors?.length, warnings?.length])).toEqual([
    [20, undefined],
    [undefined, 20],
  ])
  const head = await csv(`email${','.repeat(100_000)}\r\n${address()}`)
  expect([head.status, head.body]).toMatchObject([422, { errors: [{ code: 'unknown_member' }] }])
  expect(head.body).not.toHaveProperty('more_errors')
})

test('A body has at most 500 rows and a megabyte, and is NDJSON or CSV', async () => {
  const lines = Array.from({ length: 501 }, () => ({ email: address() }))
  expect((await send(lines)).status).toBe(422)
  expect((await send([])).status).toBe(422)
  const big = await send([{ email: address(), name: 'x'.repeat(1024 * 1024) }])
  expect([big.status, big.body.code]).toEqual([413, 'body_too_large'])
  const other = await sendText('{}', { type: 'application/json' })
  expect([other.status, other.headers.get('accept')]).toEqual([415, 'application/x-ndjson, text/csv'])
  expect((await sendText('{}', { query: '?dry_run=1' })).status).toBe(422)
})

test('AZ4: a role or a factor needs a proved address and a recent login', async () => {
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
  // A key gets no more than that: it cannot log in again.
  const { key } = await addKey(api, admin, ['users:import'])
  expect(outcomes(await send(lines().slice(0, 1), { by: { token: key } }))).toEqual(['insufficient_scope'])
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

describe('A user imported with an authenticator app', () => {
  /** Somebody imported with one, with a known password. */
  async function withApp() {
    const seed = crypto.getRandomValues(new Uint8Array(20))
    const email = address()
    const factors = { totp: { secret: encodeBase32UpperCaseNoPadding(seed) } }
    expect(outcomes(await send([{ email, email_verified: true, factors }]))).toEqual(['created'])
    const { id } = await rowOf(email)
    await api.sql(
      'UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE id = ?) WHERE id = ?',
      [admin.id, id as string],
    )
    const ada = { id: id as string, email, password: admin.password }
    return { ada, seed }
  }
  const second = async (ada: { email: string; password: string }, proof: object, more: object = {}) =>
    api.send<{ recovery_codes?: string[] }>('POST', '/v1/auth/login/second_factor', {
      body: { challenge: (await challengeOf(api, ada)).challenge, ...proof, ...more },
    })

  test('gets ten recovery codes at the first complete sign-in, once, and each works', async () => {
    const { ada, seed } = await withApp()
    expect((await second(ada, { code: wrongCodeOf(seed) })).status).toBe(401)
    // The previous step is valid, too.
    const first = await second(ada, { code: codeOf(seed, -1) })
    expect([first.status, first.body.recovery_codes]).toEqual([200, expect.any(Array)])
    const codes = first.body.recovery_codes!
    expect(new Set(codes).size).toBe(10)
    expect(await api.historyOf(ada.id)).toEqual(expect.arrayContaining(['recovery_codes.renewed']))
    expect((await api.mailsTo(ada.email)).map(({ subject }) => subject).join()).toMatch(/recovery codes/i)
    const next = await second(ada, { code: codeOf(seed) })
    expect([next.status, next.body.recovery_codes]).toEqual([200, undefined])
    for (const recovery_code of [codes[0], codes[9]]) {
      const used = await second(ada, { recovery_code })
      expect([used.status, used.body.recovery_codes]).toEqual([200, undefined])
    }
  })

  test('gets them with the cookie too, and only one of two simultaneous sign-ins does', async () => {
    const { ada, seed } = await withApp()
    const byCookie = await second(ada, { code: codeOf(seed) }, { cookie: true })
    expect([byCookie.status, byCookie.body.recovery_codes?.length]).toEqual([200, 10])

    const other = await withApp()
    const both = await Promise.all([0, 1].map((at) => second(other.ada, { code: codeOf(other.seed, -at) })))
    const shown = both.flatMap(({ status, body }) => (status === 200 ? (body.recovery_codes ?? []) : []))
    // The codes that were shown are those that work.
    expect(shown.length).toBe(10)
    expect((await second(other.ada, { recovery_code: shown[0] })).status).toBe(200)
  })

  test('sees them on a page, which leads on, and can download them', async () => {
    const { ada, seed } = await withApp()
    const jar = openJar(api)
    await jar.submit('/signin', '/signin', {
      email: ada.email,
      password: ada.password,
      to: '/account/sessions',
    })
    const fields = { form_token: await jar.tokenOf('/signin/factor'), code: codeOf(seed) }
    const page = await jar.post('/signin/factor', fields)
    const codes = [...page.text.matchAll(/<li><code>([a-z2-7-]+)<\/code>/g)].map(([, code]) => code!)
    expect([page.status, codes.length]).toEqual([200, 10])
    expect(page.text).toContain('<a class="button primary" href="/account/sessions">')
    // Reloading sends the form again.
    const anew = await jar.post('/signin/factor', fields)
    expect([anew.status, anew.text]).toEqual([200, expect.stringContaining('You are signed in')])
    expect(anew.text).toContain('<a class="button primary" href="/account/sessions">')
    expect(codes.filter((code) => anew.text.includes(code))).toEqual([])
    const again = async () => (await jar.post('/signin/factor', fields)).to
    const end = (at: number | null) =>
      api.sql('UPDATE sessions SET revoked_at = ? WHERE user_id = ?', [at, ada.id])
    await end(1)
    expect(await again()).toBe('/signin?done=spent')
    await end(null)
    const download = '/account/security/recovery_codes/download'
    const form_token = new RegExp(
      `action="${download}"[^>]*><input type="hidden" name="form_token" value="([^"]+)"`,
    )
    const token = form_token.exec(page.text)![1]!
    const file = await api.send('POST', download, {
      raw: new URLSearchParams({ form_token: token, codes: codes.join('\n') }),
      headers: { cookie: [...jar.jar].map((pair) => pair.join('=')).join('; ') },
    })
    expect([file.status, codes.every((code) => file.text.includes(code))]).toEqual([200, true])
    expect((await second(ada, { recovery_code: codes[3] })).status).toBe(200)
  })
})

test('Other factors are left out, with a warning', async () => {
  const totp = { secret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', digits: 8 }
  const answer = await send([{ email: address(), factors: { sms: { number: '1' }, totp } }])
  expect(answer.body.data[0]).toMatchObject({
    status: 'created',
    warnings: [{ pointer: '/factors/sms' }, { pointer: '/factors/totp' }],
  })
})

test('A proved address uses its invitation up; an unproved one does not', async () => {
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

test('An imported user who has proved nothing stays, and keeps the password they choose when they prove the address', async () => {
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

test('AZ4: when a script imports a role, its user must have approved the device within the last minutes', async () => {
  const scope = 'users:import'
  const { client, sessionId: sid } = await letApp(api, admin, { scope })
  const [{ token_epoch: epoch }] = (await api.sql('SELECT token_epoch FROM users WHERE id = ?', [
    admin.id,
  ])) as [{ token_epoch: number }]
  const seconds = Math.floor(Date.now() / 1000)
  for (const [proved, outcome] of [
    [{}, 'reauthentication_required'],
    [{ approved_at: seconds - 601 }, 'reauthentication_required'],
    [{ approved_at: seconds }, 'created'],
  ] as const) {
    const claims = { sub: admin.id, sid, client_id: client.client_id, scope, epoch, ...proved }
    const token = await signClientToken(api.config(), Date.now(), claims)
    const lines = [{ email: address(), role: 'manager', email_verified: true }, { email: address() }]
    expect(outcomes(await send(lines, { by: { token } }))).toEqual([outcome, 'created'])
  }
})
