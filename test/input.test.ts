import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { openDatabase } from '../src/database/main.ts'
import { openMeter } from '../src/database/meter.ts'
import { operationsOf } from '../src/docs/openapi.ts'
import { MAX_BODY_BYTES } from '../src/http/body.ts'
import type { OperationParts } from '../src/http/operation.ts'
import { type Actor, type Answer, type Api, openApi, PASSWORD } from './support/api.ts'
import { ALL_WAYS_IN } from './support/requests.ts'
import { freshUpstreams } from './support/upstreams.ts'

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let admin: Actor

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, ...ALL_WAYS_IN })
  admin = await api.actor({ role: 'admin' })
})

const CREDENTIAL = { id: 'AA', type: 'public-key' }

/** A body that each route accepts; a route with a body that is missing here fails the first test. */
const BODIES: Record<string, Record<string, unknown>> = {
  'POST /v1/auth/signup': { email: 'new@people.test', password: PASSWORD, name: 'Ada' },
  'POST /v1/auth/login': { email: 'new@people.test', password: PASSWORD },
  'POST /v1/auth/refresh_token': { refresh_token: 'rt_x' },
  'POST /v1/auth/change_password': { current_password: PASSWORD, new_password: 'nine green bears run' },
  'POST /v1/auth/reauthenticate': { password: PASSWORD },
  'POST /v1/auth/login/second_factor/options': { challenge: 'x' },
  'POST /v1/auth/login/second_factor': { challenge: 'x', code: '000000' },
  'POST /v1/auth/login/passkey': {
    challenge_id: 'x',
    credential: {
      ...CREDENTIAL,
      response: { clientDataJSON: 'AA', authenticatorData: 'AA', signature: 'AA' },
    },
  },
  'POST /v1/auth/login/email_code': { email: 'new@people.test' },
  'POST /v1/auth/login/email_code/confirm': { login_token: 'x', code: '00000000' },
  'POST /v1/auth/factors/totp/confirm': { code: '000000' },
  'POST /v1/auth/passkeys': {
    challenge_id: 'x',
    credential: { ...CREDENTIAL, response: { clientDataJSON: 'AA', attestationObject: 'AA' } },
  },
  'PATCH /v1/auth/passkeys/:id': { name: 'Key' },
  'POST /v1/auth/verify_email': { token: 'x' },
  'POST /v1/auth/resend_verification': { email: 'new@people.test' },
  'POST /v1/auth/forgot_password': { email: 'new@people.test' },
  'POST /v1/auth/reset_password': { token: 'x', new_password: PASSWORD },
  'POST /v1/auth/unlock_account': { token: 'x' },
  'POST /v1/auth/reopen_account': { token: 'x' },
  'POST /v1/auth/disown_session': { token: 'x' },
  'POST /v1/auth/disown_factor': { token: 'x' },
  'POST /v1/auth/change_email': { new_email: 'new@people.test', current_password: PASSWORD },
  'POST /v1/auth/confirm_email_change': { token: 'x' },
  'POST /v1/auth/approve_email_change': { token: 'x' },
  'POST /v1/auth/undo_email_change': { token: 'x' },
  'POST /v1/auth/accept_invitation': { token: 'x', password: PASSWORD, name: 'Ada' },
  'POST /v1/invitations': { email: 'new@people.test', name: 'Ada', role: 'user' },
  'POST /v1/invitations/bulk': { invitations: [{ email: 'new@people.test' }] },
  'POST /v1/users/bulk': { action: 'enable', ids: ['00000000-0000-7000-8000-000000000000'] },
  'POST /v1/oauth_clients': { name: 'Wiki', type: 'public', redirect_uris: ['https://wiki.test/back'] },
  'PATCH /v1/oauth_clients/:id': { name: 'Wiki' },
  'POST /v1/api_keys': { name: 'Report', permissions: ['users:read'], expires_at: '2099-01-01T00:00:00Z' },
  'PATCH /v1/auth/grants/:id': { scopes: ['openid'] },
  'POST /v1/oauth_clients/:id/secret': { keep_former_seconds: 60 },
  'POST /v1/webhooks': { url: 'https://hooks.example.com/x', types: ['user.purged'] },
  'PATCH /v1/webhooks/:id': { types: ['user.purged'] },
  'POST /v1/webhooks/:id/secret': { keep_former_seconds: 60 },
  'PATCH /v1/signup_blocks': { add: ['spam.example'], remove: ['ham.example'] },
  'PATCH /v1/users/me': { name: 'Ada' },
  'DELETE /v1/users/me': { password: PASSWORD },
  'POST /v1/users': { email: 'new@people.test', password: PASSWORD, name: 'Ada', role: 'user' },
  'PATCH /v1/users/:id': { email: 'new@people.test', name: 'Ada', role: 'user' },
  'POST /v1/users/:id/disable': { reason: 'left', until: '2099-01-01T00:00:00Z' },
}
/** A key may have no permissions, and no end. */
const GOOD_TOO: Record<string, string> = { permissions: '[]', expires_at: 'null' }
const NOBODY = '00000000-0000-7000-8000-000000000000'

const routesWith = (part: 'body' | 'query') =>
  [...operationsOf(app)].filter(([, parts]) => parts.some((one) => one[part])).map(([route]) => route)
const send = (route: string, options: Parameters<Api['send']>[2], query = '') => {
  const [method, path] = route.replace(':id', NOBODY).split(' ') as [string, string]
  return api.send(method, path + query, { token: admin.token, ...options })
}
/** A body as it is, with this content type. */
const raw = (route: string, body: BodyInit, type = 'application/json') =>
  send(route, { raw: body, headers: { 'content-type': type } })
const outcome = ({ status, body }: Answer) => [status, body?.code]
/** What was wrong, and where. */
const wrong = ({ body }: Answer) =>
  (body.errors as { pointer: string; code: string }[] | undefined)?.map(
    ({ pointer, code }) => `${pointer} ${code}`,
  )

test('Every route that takes a body is here', () => {
  expect(Object.keys(BODIES).sort()).toEqual(routesWith('body').sort())
})

describe.each(Object.entries(BODIES))('IV1: %s', (route, valid) => {
  test('accepts no other type for any member', async () => {
    for (const name of Object.keys(valid)) {
      for (const value of [[], [valid[name]], {}, { $gt: '' }, 0, 1.5, true, null, '']) {
        if (Number.isInteger(value) && Number.isInteger(valid[name])) continue
        if (GOOD_TOO[name] === JSON.stringify(value)) continue
        const answer = await send(route, { body: { ...valid, [name]: value } })
        expect([name, value, ...outcome(answer)]).toEqual([name, value, 422, 'invalid_input'])
        expect(wrong(answer)?.some((error) => new RegExp(`^/${name}[ /]`).test(error))).toBe(true)
      }
    }
  })

  test('refuses unknown members, and a lack of required ones', async () => {
    for (const name of ['x', 'id', 'is_admin', 'Email', '__proto__', 'constructor', 'a/b', 'a~b']) {
      const body = `${JSON.stringify(valid).slice(0, -1)},${JSON.stringify(name)}:{"role":"admin"}}`
      const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
      expect(wrong(await raw(route, body))).toContain(`${pointer} unknown_member`)
    }
    // Replacing a secret needs no members.
    if (!route.endsWith('/secret'))
      expect(outcome(await send(route, { body: {} }))).toEqual([422, 'invalid_input'])
    for (const body of [[], [valid], 'text', 1, null, true])
      expect(outcome(await send(route, { body }))).toEqual([422, 'invalid_input'])
  })

  test('accepts only JSON, and says so', async () => {
    const text = JSON.stringify(valid)
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/jsonx',
      'text/json',
      '',
      'application/json5',
    ])
      expect(outcome(await raw(route, new Blob([text], { type: '' }), type))).toEqual([
        415,
        'unsupported_media_type',
      ])
    // As OAuth 2.0 clients with the password grant send it.
    const isForm = ['POST /v1/auth/login', 'POST /v1/auth/refresh_token'].includes(route)
    const form = await raw(route, 'x=1', 'application/x-www-form-urlencoded')
    expect(form.status).toBe(isForm ? 422 : 415)
  })

  test('refuses a body over 64 KB before it is parsed', async () => {
    const { calls } = await own.measure(async () => {
      for (const size of [MAX_BODY_BYTES + 1, 70_000, 1_000_000])
        expect(outcome(await raw(route, ' '.repeat(size)))).toEqual([413, 'body_too_large'])
    })
    expect(
      calls
        .filter(({ upstream }) => upstream === 'libsql')
        .every(({ statements }) => statements.every(({ sql }) => !/^(insert|update|delete)/i.test(sql))),
    ).toBe(true)
  })
})

describe('IV1, IV3: a body', () => {
  const RENAME = 'PATCH /v1/users/me'
  const rename = (body: BodyInit, type?: string) => raw(RENAME, body, type)
  const bytes = (...values: number[]) => new Uint8Array(values)
  const utf16 = (text: string) =>
    Uint8Array.from([0xff, 0xfe, ...[...text].flatMap((char) => [char.charCodeAt(0), 0])])

  test.each<[string, BodyInit]>([
    ['nothing', ''],
    ['blanks', ' \n'],
    ['a word', 'name'],
    ['an end too early', '{"name":"Ada"'],
    ['an end too late', '{"name":"Ada"}}'],
    ['two values', '{"name":"Ada"}{}'],
    ['a comma too many', '{"name":"Ada",}'],
    ['single quotes', "{'name':'Ada'}"],
    ['no quotes', '{name:"Ada"}'],
    ['a comment', '{"name":"Ada"/* */}'],
    ['NaN', '{"name":NaN}'],
    ['a line break in a string', '{"name":"A\nda"}'],
    ['half an escape', '{"name":"\\u12"}'],
    ['a string without end', '{"name":"Ada'],
    ['a member twice', '{"name":"Ada","name":"Eve"}'],
    ['a member twice, one escaped', '{"name":"Ada","n\\u0061me":"Eve"}'],
    ['a member twice, deep down', '{"name":{"a":{"b":1,"b":2}}}'],
    ['a member twice, with much blank', `{"name":"Ada","name"${' '.repeat(200)}:"Eve"}`],
    ['a byte order mark', '\ufeff{"name":"Ada"}'],
    ['UTF-16', utf16('{"name":"Ada"}')],
    ['bytes that are not UTF-8', bytes(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d)],
    ['an overlong NUL', bytes(...new TextEncoder().encode('{"name":"'), 0xc0, 0x80, 0x22, 0x7d)],
    ['a surrogate in UTF-8', bytes(...new TextEncoder().encode('{"name":"'), 0xed, 0xa0, 0x80, 0x22, 0x7d)],
    ['33 levels', `${'['.repeat(33)}${']'.repeat(33)}`],
    ['30 000 levels', '['.repeat(30_000)],
    ['30 000 levels of objects', '{"a":'.repeat(12_000)],
  ])('that is %s is a 400', async (_, body) => {
    expect(outcome(await rename(body))).toEqual([400, 'invalid_json'])
  })

  test('of 32 levels is parsed, and only then refused', async () => {
    expect((await rename(`{"name":${'['.repeat(31)}${']'.repeat(31)}}`)).status).toBe(422)
  })

  test('may say its charset, in any case, and be full to the last byte', async () => {
    for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/json ;x=y'])
      expect((await rename('{"name":"Ada"}', type)).status).toBe(200)
    const body = '{"name":"Ada"}'
    expect((await rename(body + ' '.repeat(MAX_BODY_BYTES - body.length))).status).toBe(200)
  })

  const inChunks = (size: number, chunk = 1000) => {
    let left = size
    return new ReadableStream({
      pull(controller) {
        if (left <= 0) return controller.close()
        controller.enqueue(new Uint8Array(Math.min(chunk, left)).fill(0x20))
        left -= chunk
      },
    })
  }

  test('in chunks is read up to the limit, whatever its length is said to be', async () => {
    expect(outcome(await rename(inChunks(70_000)))).toEqual([413, 'body_too_large'])
    expect(outcome(await rename(inChunks(60_000)))).toEqual([400, 'invalid_json'])
    // It would never end; the limit stops it.
    expect(outcome(await rename(inChunks(Number.POSITIVE_INFINITY)))).toEqual([413, 'body_too_large'])
    for (const length of ['10', '0', '-1', 'x', '1e3', '10, 10']) {
      const headers = { 'content-type': 'application/json', 'content-length': length }
      const answer = await send(RENAME, { raw: inChunks(70_000), headers })
      expect([length, ...outcome(answer)]).toEqual([length, 413, 'body_too_large'])
    }
    const headers = { 'content-type': 'application/json', 'content-length': '70000' }
    expect(outcome(await send(RENAME, { raw: '{"name":"Ada"}', headers }))).toEqual([413, 'body_too_large'])
  })

  test('that breaks off does not lead to a 500', async () => {
    const broken = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('{"name":'))
        controller.error(new Error('the caller went away'))
      },
    })
    const answer = await rename(broken)
    expect(answer.status).toBe(400)
  })
})

describe('IV1: text', () => {
  const rename = (name: string) => send('PATCH /v1/users/me', { body: { name } })

  test.each([
    'Zoë',
    'Ada 👩‍👩‍👧‍👦',
    'می‌خواهم',
    'क्‍ष',
    '山田 太郎',
    "Robert'); DROP TABLE users;--",
    '"quoted" \\back\\ %s $x {{x}} <b>&amp;',
    'ﬁ ligature stays',
    '__proto__',
    'null',
    '1e400',
  ])('%j comes back as it went in', async (name) => {
    expect((await rename(name)).body.name).toBe(name)
    expect((await send('GET /v1/users/me', {})).body.name).toBe(name)
    const [row] = await api.sql('SELECT name FROM users WHERE id = ?', [admin.id])
    expect(row).toEqual({ name })
  })

  test('is trimmed, composed, and limited in characters, not bytes', async () => {
    expect((await rename('  Zoe\u0308 ')).body.name).toBe('Zoë')
    expect((await rename('𐐀'.repeat(100))).status).toBe(200)
    expect(wrong(await rename('𐐀'.repeat(101)))).toEqual(['/name too_big'])
    expect(wrong(await rename(' '))).toEqual(['/name too_small'])
  })

  test.each([
    ['a zero width space', '\u200b'],
    ['a Hangul filler', '\u3164'],
    ['a blank in Braille', '\u2800'],
    ['signs alone', '--- 🌲 ---'],
    ['marks alone', '\u0301\u0301'],
    ['a zero width space within', 'Ada\u200bKing'],
    ['a joiner at the end', 'Ada\u200d'],
    ['a right-to-left override', '\u202eright to left'],
    ['an isolate', 'Ada \u2066King\u2069'],
    ['a line separator', 'Ada\u2028King'],
    ['a paragraph separator', 'Ada\u2029King'],
    ['a thin space', 'Ada\u2009King'],
    ['a letter with 99 accents', `A${'\u0301'.repeat(99)}`],
    ['a letter with five accents', `x${'\u0301'.repeat(5)}`],
    ['tags', 'Ada\u{e0041}'],
    ['a noncharacter', 'Ada\u{10ffff}'],
    ['another noncharacter', 'Ada\ufffe'],
    ['a letter for private use', 'Ada\ue000'],
    ['a letter that is not assigned', 'Ada\u0378'],
  ])('HX14: a name with %s is refused', async (_, name) => {
    const answer = await rename(name)
    expect([answer.status, wrong(answer)]).toEqual([422, ['/name invalid_text']])
  })

  test('HX14: a space from another keyboard is a space', async () => {
    expect((await rename('Ada\u00a0King')).body.name).toBe('Ada King')
  })

  test('has no control characters and no half characters', async () => {
    for (const name of ['a\0b', 'a\nb', 'a\r\nb', 'a\tb', 'a\u001bb', 'a\u0085b', 'a\u007f'])
      expect(outcome(await rename(name))).toEqual([422, 'invalid_input'])
    for (const name of ['"\\ud800"', '"\\udc00x"'])
      expect(outcome(await raw('PATCH /v1/users/me', `{"name":${name}}`))).toEqual([422, 'invalid_input'])
  })
})

describe('IV1: a query', () => {
  test.each(routesWith('query'))('of %s accepts no unknown member, and none twice', async (route) => {
    for (const [query, error] of [
      ['?x=1', '/x unknown_member'],
      ['?Limit=1', '/Limit unknown_member'],
      ['?__proto__=1', '/__proto__ unknown_member'],
      ['?constructor=1', '/constructor unknown_member'],
      ['?limit%5B%5D=1', '/limit[] unknown_member'],
      ['?limit=1&limit=1', '/limit repeated'],
      ['?hard=true&hard=false', '/hard repeated'],
      ['?limit=%ff', '/limit invalid_encoding'],
      ['?limit=%c0%80', '/limit invalid_encoding'],
      ['?limit=%', '/limit invalid_encoding'],
      ['?a/b~c=1&a/b~c=2', '/a~1b~0c repeated'],
      ['?%ff=1', ' invalid_encoding'],
    ] as const) {
      const answer = await send(route, {}, query)
      expect([query, answer.status]).toEqual([query, 422])
      expect(wrong(answer)).toContain(error)
    }
  })
})

describe('IV1: what a route of the API does not take', () => {
  const routes = [...operationsOf(app)].filter(([route]) => route.includes(' /v1/'))
  const without = (...names: (keyof OperationParts)[]) =>
    routes
      .filter(([, parts]) => !parts.some((part) => names.some((name) => part[name])))
      .map(([route]) => route)
  const bodiless = without('body', 'form', 'rows').filter((route) => !route.startsWith('GET '))

  test.each(without('query'))('of %s, a query parameter is refused', async (route) => {
    for (const [query, error] of [
      ['?x=1', '/x unknown_member'],
      ['?lang=de&cursor=x', '/cursor unknown_member'],
      ['?__proto__=1', '/__proto__ unknown_member'],
      ['?x=1&x=1', '/x repeated'],
      ['?%ff=1', ' invalid_encoding'],
    ] as const) {
      const answer = await send(route, {}, query)
      expect([query, answer.status, wrong(answer)]).toEqual([query, 422, [error]])
    }
  })

  test.each(bodiless)('of %s, a member of a body is refused', async (route) => {
    for (const name of ['x', 'hard', '__proto__'])
      expect(wrong(await raw(route, `{"${name}":true}`))).toEqual([`/${name} unknown_member`])
    for (const body of ['[]', '"x"', 'null'])
      expect([body, ...outcome(await raw(route, body))]).toEqual([body, 422, 'invalid_input'])
    for (const [body, type] of [
      ['{"hard":', 'application/json'],
      ['hard=true', 'application/x-www-form-urlencoded'],
    ] as const)
      expect([body, ...outcome(await raw(route, body, type))]).toEqual([body, 400, 'invalid_json'])
    expect(outcome(await raw(route, ' '.repeat(MAX_BODY_BYTES + 1)))).toEqual([413, 'body_too_large'])
  })

  test('may be an empty body or `{}`, and `lang` may be anywhere', async () => {
    const { token } = await api.quickActor()
    const options = 'POST /v1/auth/passkeys/options'
    for (const given of [{}, { raw: '' }, { body: {} }, { raw: '{}', headers: { 'content-type': '' } }])
      for (const query of ['', '?', '?lang=de'])
        expect([given, query, (await send(options, { token, ...given }, query)).status]).toEqual([
          given,
          query,
          200,
        ])
    expect((await send('GET /v1/users/me', { token }, '?lang=de')).status).toBe(200)
    expect((await send('HEAD /v1/users/me', { token }, '?x=1')).status).toBe(422)
  })

  test('is refused only after the caller: nobody else hears what a route takes', async () => {
    const answer = await send('DELETE /v1/users/:id/sessions', { token: 'x', body: { x: 1 } }, '?x=1')
    expect(answer.status).toBe(401)
  })

  test('does not matter outside the API, where standards and links want it ignored', async () => {
    for (const route of ['GET /health', 'GET /.well-known/jwks.json', 'GET /openapi.json', 'GET /signin'])
      expect([route, (await send(route, {}, '?utm_source=x')).status]).toEqual([route, 200])
  })

  test('cannot turn a deletion or a restoration into another one', async () => {
    const somebody = await api.person()
    const path = `/v1/users/${somebody.id}`
    const ask = (method: string, at: string, body?: object) =>
      api.send(method, path + at, { token: admin.token, ...(body && { body }) })
    const status = async () => (await ask('GET', '')).body.status
    expect(outcome(await ask('DELETE', '', { hard: true }))).toEqual([422, 'invalid_input'])
    expect(await status()).toBe('active')
    expect((await ask('DELETE', '')).status).toBe(204)
    expect(wrong(await ask('POST', '/restore', { earlier_email: true }))).toEqual([
      '/earlier_email unknown_member',
    ])
    expect(await status()).toBe('deleted')
    expect((await ask('POST', '/restore', {})).status).toBe(200)
  })
})

describe('IV1: a number in a query', () => {
  test.each(['0x10', '1e1', '+5', '-1', '1.0', ' 5', '5 ', '05', '', '٥', '1_0', 'Infinity', '0'])(
    'is not written %j',
    async (limit) => {
      const answer = await send('GET /v1/users', {}, `?limit=${encodeURIComponent(limit)}`)
      expect([limit, answer.status]).toEqual([limit, 422])
    },
  )
})

test('IV1: an id in capitals is the same id', async () => {
  const ID = admin.id.toUpperCase()
  const get = (path: string) => api.send<{ id: string; data: unknown[] }>('GET', path, { token: admin.token })
  await api.send('POST', '/v1/users', {
    token: admin.token,
    body: { ...BODIES['POST /v1/users'], email: `${crypto.randomUUID()}@people.test` },
  })
  expect((await get(`/v1/users/${ID}`)).body.id).toBe(admin.id)
  for (const path of [
    `/v1/users/${ID}/activity`,
    `/v1/activity?user_id=${ID}`,
    `/v1/activity?actor_id=${ID}`,
  ])
    expect((await get(path)).body.data.length).toBeGreaterThan(0)
})

describe('IV1: a form', () => {
  const logIn = (form: BodyInit) => raw('POST /v1/auth/login', form, 'application/x-www-form-urlencoded')

  test('of bytes that are not UTF-8 opens nothing', async () => {
    const somebody = await api.person()
    for (const password of ['%ff', '%c0%80', '%ed%a0%80', '%zz', '%']) {
      const answer = await logIn(`username=${somebody.email}&password=${password}`)
      expect([password, answer.status, wrong(answer)]).toEqual([
        password,
        422,
        ['/password invalid_encoding'],
      ])
    }
    const bytes = new Uint8Array([...new TextEncoder().encode('username=a&password='), 0xff])
    expect((await logIn(bytes)).status).toBe(422)
  })

  test('may have parameters that OAuth does not know, but none twice', async () => {
    const { email } = await api.person()
    const form = `username=${encodeURIComponent(email)}&password=${PASSWORD.replaceAll(' ', '+')}&grant_type=password`
    expect((await logIn(`${form}&client_id=x&resource=y&%5B%5D=z`)).status).toBe(200)
    expect(wrong(await logIn(`${form}&grant_type=password`))).toEqual(['/grant_type repeated'])
  })
})

test('IV1: of many errors, twenty are named and the others counted', async () => {
  const members = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`m${index}`, index]))
  const answer = await send('PATCH /v1/users/me', { body: { name: 'Ada', ...members } })
  expect([answer.status, wrong(answer)?.length, answer.body.more_errors]).toEqual([422, 20, 4980])
})

describe('HX14: half a character', () => {
  const halves = ['\ud800', '\udc00', 'a\ud83d', '\ude00b']

  test.each(Object.entries(BODIES))('is refused in any member of %s', async (route, valid) => {
    for (const name of [...Object.keys(valid), 'email', 'code'])
      for (const half of halves) {
        const answer = await send(route, { body: { ...valid, [name]: half } })
        expect([name, ...outcome(answer)]).toEqual([name, 422, 'invalid_input'])
      }
  })

  test('is not left when a header is shortened', async () => {
    for (const header of ['x'.repeat(255) + '😀', '😀'.repeat(300)]) {
      const somebody = await api.person()
      const answer = await api.send('POST', '/v1/auth/login', {
        body: { email: somebody.email, password: 'not the right one' },
        headers: { 'user-agent': header },
      })
      expect(answer.status).toBe(401)
      const [row] = await api.sql('SELECT user_agent FROM user_activity_logs WHERE user_id = ?', [
        somebody.id,
      ])
      const kept = row!.user_agent as string
      expect(kept.length).toBeGreaterThan(0)
      expect(kept.isWellFormed() && !kept.includes('\ufffd') && header.startsWith(kept)).toBe(true)
    }
  })

  test('does not reach the database', async () => {
    const { calls } = await own.measure(async () => {
      const db = openDatabase(own.bindings.TURSO_DATABASE_URL, 'x', openMeter())
      await expect(db.read({ rows: sql`SELECT ${'\ud800'}` })).rejects.toThrow(TypeError)
    })
    expect(calls).toEqual([])
  })
})

describe('HX14: an address in an international domain', () => {
  const tag = crypto.randomUUID()
  const signUp = (email: string) =>
    api.send<{ email: string }>('POST', '/v1/auth/signup', {
      body: { email, password: PASSWORD, name: 'Ada' },
    })

  test.each([
    ['is shown as it was written', `Ada.${tag}@bücher.example`, 'bücher.example', 'xn--bcher-kva.example'],
    ['is mailed where its owner is', `ada.${tag}@faß.example`, 'faß.example', 'xn--fa-hia.example'],
    ['in one script may be read', `ada.${tag}@例え.テスト`, '例え.テスト', 'xn--r8jz45g.xn--zckzah'],
    [
      'that mixes scripts is shown in ASCII',
      `ada.${tag}@\u0430pple.example`,
      'xn--pple-43d.example',
      'xn--pple-43d.example',
    ],
    ['in wide letters is shown as what it is', `ada.${tag}@ｂａｎｋ.example`, 'bank.example', 'bank.example'],
  ])('%s', async (_, typed, shown, mailed) => {
    const local = typed.split('@')[0]
    expect((await signUp(typed)).body.email).toBe(`${local}@${shown}`)
    expect(await api.mailsTo(`${local}@${mailed}`)).toHaveLength(1)
  })
})

describe('Every sentence about wrong input is ours', () => {
  test.each(Object.entries(BODIES))('%s', async (route, valid) => {
    const bodies = [
      {},
      [],
      { ...valid, x: 1 },
      ...Object.keys(valid).flatMap((name) =>
        [null, 1, [], {}, '', 'x', 'x'.repeat(60_000)].map((value) => ({ ...valid, [name]: value })),
      ),
    ]
    for (const body of bodies) {
      const { body: problem } = await send(route, { body })
      for (const { detail } of (problem?.errors ?? []) as { detail: string }[]) {
        expect(detail).toMatch(/^[A-Z][^A-Z].{3,80}\.$/)
        expect(detail).not.toMatch(/invalid|expected|received|input/i)
      }
    }
  })
})

const SQL_INJECTIONS = [
  "'",
  "' OR '1'='1",
  '1; DROP TABLE users',
  "' UNION SELECT password_hash FROM users --",
  '?1',
  ':x',
  '$1',
  '%00',
  '\\',
]

test('IV4: SQL in any value, path or header is text, finds nothing and breaks nothing', async () => {
  const people = await api.sql('SELECT count(*) AS n FROM users')
  for (const text of SQL_INJECTIONS) {
    const encoded = encodeURIComponent(text)
    const answers = [
      await api.send('GET', `/v1/users/${encoded}`, { token: admin.token }),
      await api.send('DELETE', `/v1/users/${encoded}?hard=true`, { token: admin.token }),
      await api.send('GET', `/v1/users/${encoded}/activity`, { token: admin.token }),
      await api.send('DELETE', `/v1/auth/sessions/${encoded}`, { token: admin.token }),
      await api.send('GET', `/v1/users?q=xxx${encoded}`, { token: admin.token }),
      await api.send('GET', `/v1/users?sort=${encoded}`, { token: admin.token }),
      await api.send('GET', `/v1/activity?action=${encoded}`, { token: admin.token }),
      await api.send('GET', `/v1/users/me`, {
        token: admin.token,
        headers: { 'user-agent': text, 'if-match': text },
      }),
      await api.send('PATCH', `/v1/users/${NOBODY}`, { token: admin.token, body: { name: text } }),
    ]
    for (const answer of answers) {
      expect(answer.status).toBeLessThan(500)
      expect(answer.text).not.toMatch(/scrypt|syntax|sqlite/i)
    }
  }
  expect(await api.sql('SELECT count(*) AS n FROM users')).toEqual(people)
})
