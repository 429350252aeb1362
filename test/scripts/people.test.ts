import { createHash } from 'node:crypto'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { READERS } from '../../scripts/people/readers/index.ts'
import { aboutHashes, exportPeople } from '../../scripts/people-export.ts'
import { importPeople } from '../../scripts/people-import.ts'
import { readLines } from '../../src/bulk/import/lines.ts'
import { MAX_BYTES } from '../../src/bulk/import/schemas.ts'

const SAMPLES = 'test/people/samples'
const URL_OF = 'https://id.example.test'

let dir: string
let made = 0
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roster-people-'))
})
afterAll(() => rmSync(dir, { recursive: true }))
const fileOf = (text: string, end = 'json') => {
  const file = join(dir, `${made++}.${end}`)
  writeFileSync(file, text)
  return file
}

/** An export that was started at `URL_OF`. */
const exportOf = (text: string) => {
  const file = fileOf(text, 'ndjson')
  writeFileSync(`${file}.origin`, `${URL_OF}\n`)
  return file
}

/** What a reader makes of a file, as the lines that the import reads: who they are, and what becomes of the hash. */
function read(from: string, file: string, extras: { with?: string } = {}) {
  const people = READERS[from]!(file, extras).map(({ value }) => value)
  const lines = readLines('application/x-ndjson', people.map((one) => JSON.stringify(one)).join('\n'))
  return lines.map(({ user, errors, ...rest }, at) =>
    errors
      ? { errors: errors.map(({ pointer, code }) => `${pointer} ${code}`) }
      : { ...user!, ...rest, admin_metadata: people[at]!.admin_metadata },
  )
}

describe('Dumps are read:', () => {
  test('Django, which writes the same as a table and as JSON', () => {
    const people = read('django', `${SAMPLES}/django.json`)
    expect(read('django', `${SAMPLES}/django.csv`)).toEqual(people)
    expect(people).toHaveLength(11)
    expect(people[0]).toMatchObject({
      email: 'user0@django.test',
      name: 'Ada Nr 0',
      external_id: '1',
      created_at: Date.parse('2026-11-29T22:19:10.480Z'),
      email_verified: false,
      hash: 'verified',
      admin_metadata: { username: 'user0' },
    })
    // Argon2 of 100 MiB is more than a login may take; a password that starts with ! is none.
    expect(people.map((one) => ('hash' in one ? one.hash : 'invalid'))).toEqual(
      'verified verified verified needs_reset verified verified verified invalid verified verified none'.split(
        ' ',
      ),
    )
    expect(people[7]).toEqual({ errors: ['/email invalid_type'] })
    expect(people[8]).toMatchObject({ role: 'user', admin_metadata: { username: 'staff', staff: true } })
    expect(people[9]).toMatchObject({
      role: 'user',
      admin_metadata: { username: 'root', staff: true, superuser: true },
    })
    expect(people[10]).toMatchObject({ disabled: true })
  })

  test('the FastAPI template', () => {
    const people = read('fastapi', `${SAMPLES}/fastapi.csv`)
    expect(people).toMatchObject([
      { email: 'root@fastapi.example.com', admin_metadata: { superuser: true } },
      { email: 'ada@fastapi.example.com', name: 'Ada, of Löwen', disabled: false, hash: 'verified' },
      { email: 'Grace@fastapi.example.com', hash: 'verified', admin_metadata: undefined },
      {
        email: 'grace@fastapi.example.com',
        name: 'Grace "again"',
        external_id: expect.stringMatching(/^[\da-f-]{36}$/),
      },
      {
        email: 'gone@fastapi.example.com',
        disabled: true,
        created_at: Date.parse('2026-11-29T22:21:02.928Z'),
      },
    ])
  })

  const bcrypt = '$2b$12$Kbg4DoSEoso7KHpD.z3N2.3b7kf8BqxmAIOQiG//JgpdtD9ZlCS1.'

  test('Supabase, without those who are deleted or anonymous', () => {
    const file = fileOf(
      [
        'id,email,encrypted_password,email_confirmed_at,raw_user_meta_data,raw_app_meta_data,created_at,banned_until,deleted_at,is_anonymous,confirmed_at',
        `a1,ada@s.test,${bcrypt},2024-01-02 03:04:05+00,"{""full_name"":""Ada""}","{""provider"":""email""}",2024-01-02 03:04:05.678901+00,,,f`,
        'a2,gone@s.test,,,{},{},2024-01-02 03:04:05+00,,2024-02-02 00:00:00+00,f',
        'a3,,,,{},{},2024-01-02 03:04:05+00,,,t',
        'a4,banned@s.test,,,{},{},2024-01-02 03:04:05+00,2124-01-01 00:00:00+00,,f',
        // The ban is over, and what was confirmed is the phone.
        'a5,phone@s.test,,,{},{},2024-01-02,2024-03-01 00:00:00+00,,f,2024-01-02 03:04:05+00',
      ].join('\n'),
      'csv',
    )
    const people = read('supabase', file)
    expect(people).toHaveLength(3)
    expect(people[0]).toMatchObject({
      email: 'ada@s.test',
      name: 'Ada',
      external_id: 'a1',
      email_verified: true,
      created_at: Date.parse('2024-01-02T03:04:05.678Z'),
      hash: 'verified',
      admin_metadata: { provider: 'email' },
      disabled: false,
    })
    expect(people[1]).toMatchObject({ email_verified: false, disabled: true, hash: 'none' })
    expect(people[2]).toMatchObject({
      email_verified: false,
      disabled: false,
      created_at: Date.parse('2024-01-02'),
    })
    const before = fileOf('id,email,confirmed_at\nb1,old@s.test,2020-01-02 03:04:05+00', 'csv')
    expect(read('supabase', before)).toMatchObject([{ email_verified: true }])
  })

  test('better-auth, whose hashes are in its accounts', () => {
    const hash = `${'0123456789abcdef'.repeat(2)}:${'ab'.repeat(64)}`
    const people = read(
      'better-auth',
      fileOf(
        JSON.stringify({
          user: [
            {
              id: 'u1',
              email: 'ada@b.test',
              name: 'Ada',
              emailVerified: true,
              createdAt: '2024-05-06T07:08:09Z',
            },
            { id: 'u2', email: 'bob@b.test', name: 'Bob', emailVerified: false, role: 'admin', banned: true },
            { id: 'u3', email: 'eve@b.test', name: 'Eve', banned: true, banExpires: '2024-05-06T07:08:09Z' },
            { id: 'u4', email: 'mal@b.test', name: 'Mal', banned: true, banExpires: '2124-05-06T07:08:09Z' },
          ],
          account: [
            { userId: 'u1', providerId: 'github', password: null },
            { userId: 'u1', providerId: 'credential', password: hash },
          ],
        }),
      ),
    )
    expect(people[0]).toMatchObject({ external_id: 'u1', email_verified: true, hash: 'verified' })
    expect(people[1]).toMatchObject({
      role: 'user',
      disabled: true,
      hash: 'none',
      admin_metadata: { role: 'admin' },
    })
    expect(people.slice(2)).toMatchObject([{ disabled: false }, { disabled: true }])
  })

  test('Firebase, with the parameters of its project', () => {
    const users = fileOf(
      JSON.stringify({
        users: [
          {
            localId: 'f1',
            email: 'ada@f.test',
            emailVerified: true,
            passwordHash:
              'lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==',
            salt: '42xEC-ixf3L2lw==',
            createdAt: '1486324122000',
          },
        ],
      }),
    )
    expect(() => read('firebase', users)).toThrow('--with')
    const hashing = {
      base64_signer_key:
        'jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==',
      base64_salt_separator: 'Bw==',
      rounds: 8,
      mem_cost: 14,
    }
    const withThese = (given: unknown) => read('firebase', users, { with: fileOf(JSON.stringify(given)) })
    expect(withThese(hashing)).toMatchObject([
      { email: 'ada@f.test', external_id: 'f1', created_at: 1486324122000, hash: 'verified' },
    ])
    // With a name that is misspelt, no password would fit.
    const { base64_salt_separator, rounds, ...others } = hashing
    expect(() => withThese({ ...others, base64_salt_seperator: base64_salt_separator, rounds: '' })).toThrow(
      /\.json lacks base64_salt_separator, rounds\.$/,
    )
    expect(() => withThese({ hash_config: hashing })).toThrow('mem_cost')
    expect(() => withThese(null)).toThrow('mem_cost')
  })

  test('Keycloak, with JSON in its JSON, and an app for codes', () => {
    const salt = 'c2FsdHNhbHRzYWx0c2FsdA=='
    const value = Buffer.alloc(64, 7).toString('base64')
    const credential = (type: string, secret: object, data: object) => ({
      type,
      secretData: JSON.stringify(secret),
      credentialData: JSON.stringify(data),
    })
    const file = fileOf(
      JSON.stringify({
        realm: 'yours',
        users: [
          {
            id: 'k1',
            username: 'ada',
            email: 'ada@k.test',
            firstName: 'Ada',
            lastName: 'L.',
            enabled: true,
            emailVerified: true,
            createdTimestamp: 1700000000000,
            realmRoles: ['default-roles-yours', 'staff'],
            attributes: { plan: ['gold'] },
            credentials: [
              credential(
                'password',
                { value, salt, additionalParameters: {} },
                { hashIterations: 210000, algorithm: 'pbkdf2-sha512', additionalParameters: {} },
              ),
              credential(
                'otp',
                { value: 'abcdefghijklmnopqrst' },
                { subType: 'totp', digits: 6, period: 30, algorithm: 'HmacSHA1' },
              ),
            ],
          },
          {
            id: 'k2',
            username: 'grace',
            email: 'grace@k.test',
            enabled: false,
            emailVerified: false,
            credentials: [
              credential(
                'password',
                { value: Buffer.alloc(32, 7).toString('base64'), salt },
                {
                  hashIterations: 5,
                  algorithm: 'argon2',
                  additionalParameters: {
                    hashLength: ['32'],
                    memory: ['7168'],
                    type: ['id'],
                    version: ['1.3'],
                    parallelism: ['1'],
                  },
                },
              ),
            ],
          },
          {
            id: 'k4',
            username: 'eve',
            email: 'eve@k.test',
            enabled: true,
            credentials: [
              credential(
                'otp',
                { value: 'abcdefghijklmnopqrst' },
                { subType: 'hotp', digits: 6, counter: 3, algorithm: 'HmacSHA1' },
              ),
            ],
          },
          { id: 'k3', username: 'service-account-x', enabled: true, serviceAccountClientId: 'x' },
        ],
      }),
    )
    const people = read('keycloak', file)
    expect(people).toHaveLength(3)
    // Codes that are counted are none that go by the clock.
    expect(people[2]).toMatchObject({ seed: undefined, warnings: [{ pointer: '/factors/hotp' }] })
    expect(people[0]).toMatchObject({
      name: 'Ada L.',
      created_at: 1700000000000,
      hash: 'verified',
      warnings: [],
      seed: new Uint8Array(Buffer.from('abcdefghijklmnopqrst')),
      admin_metadata: { username: 'ada', roles: ['staff'], attributes: { plan: ['gold'] } },
    })
    expect(people[0]).not.toHaveProperty('metadata')
    // Its owner may write what is in metadata, so attributes come there only where it is said.
    expect(READERS.keycloak!(file, { ownAttributes: true })[0]!.value).toMatchObject({
      metadata: { plan: ['gold'] },
      admin_metadata: { username: 'ada', roles: ['staff'] },
    })
    expect(people[1]).toMatchObject({ name: 'grace', disabled: true, hash: 'verified' })
  })

  test('Auth0, joined with the hashes that its support sends', () => {
    const users = fileOf(
      '{"user_id":"auth0|5f1","email":"ada@a.test","name":"ada@a.test","nickname":"ada","email_verified":true,"created_at":"2020-01-02T03:04:05.678Z"}\n{"user_id":"google-oauth2|7","email":"bob@a.test","name":"Bob","blocked":true}\n',
      'ndjson',
    )
    const hashes = fileOf(`{"_id":{"$oid":"5f1"},"passwordHash":"${bcrypt}"}\n`, 'ndjson')
    expect(read('auth0', users, { with: hashes })).toMatchObject([
      { external_id: 'auth0|5f1', name: 'ada', email_verified: true, hash: 'verified' },
      { external_id: 'google-oauth2|7', name: 'Bob', disabled: true, hash: 'none' },
    ])
  })
})

test.each([
  ['1,ada@old.test\n2,"bo@old.test,Bo\n3,eve@old.test,Eve', 'Line 3 of', 'a quote that is never closed'],
  ['1,"Ada\nL."\n2,bo@old.test,Bo,of the Bos', 'Line 4 of', 'more cells than the first line has names'],
])('A table that is easily misread is refused: %j', (rows, line, what) => {
  const file = fileOf(`id,email,full_name\n${rows}`, 'csv')
  for (const said of [line, what]) expect(() => READERS.fastapi!(file, {})).toThrow(said)
})

test('A table with an unclosed quote in its first line is refused, not read as empty', () => {
  expect(() => READERS.fastapi!(fileOf('id,"email\n1,ada@old.test', 'csv'), {})).toThrow('Line 1 of')
})

test.each(['fastapi', 'django'])(
  '%s: a user not marked active is disabled, unless the table has no such column',
  (from) => {
    const rows = ['email,is_active\nada@old.test,f\nbo@old.test,t\neve@old.test,', 'email\nada@old.test']
    const disabled = rows.map((text) => read(from, fileOf(text, 'csv')))
    const ofColumn = [{ disabled: true }, { disabled: false }, { disabled: true }]
    expect(disabled).toMatchObject([ofColumn, [{ disabled: false }]])
  },
)

test.each([
  ['firebase', {}],
  ['firebase', null],
  ['keycloak', { realm: 'yours' }],
  ['keycloak', { users: {} }],
  ['better-auth', { users: [], account: [] }],
  ['better-auth', { user: [] }],
])('A file that %s has not exported is refused, not read as empty: %j', (from, json) => {
  expect(() => READERS[from]!(fileOf(JSON.stringify(json)), {})).toThrow(
    /has no list called (users|user|account)\.$/,
  )
})

/** A deployment as the script sees it, which reads lines as the real one does, and answers or breaks off as it is told. */
function deployment(
  fail: (request: number, token: string) => Response | 'lost' | undefined = () => undefined,
) {
  const seen = new Set<string>()
  let requests = 0
  const fetch: typeof globalThis.fetch = async (url, init) => {
    const isDry = new URL(String(url)).searchParams.has('dry_run')
    const token = new Headers(init?.headers).get('authorization')!
    const failure = fail(++requests, token)
    if (failure instanceof Response) return failure
    if (Buffer.byteLength(String(init?.body)) > MAX_BYTES)
      return Response.json({ code: 'body_too_large' }, { status: 413 })
    const data = readLines('application/x-ndjson', String(init?.body)).map(({ line, user, errors }) => {
      if (errors) return { line, status: 'invalid', errors }
      const late = user.role !== 'user' && token === 'Bearer old'
      if (late) return { line, status: 'invalid', errors: [{ code: 'reauthentication_required' }] }
      const isThere = seen.has(user.email)
      if (!isDry) seen.add(user.email)
      return isThere ? { line, status: 'exists', by: 'address' } : { line, status: 'created' }
    })
    if (failure === 'lost') throw new TypeError('fetch failed')
    return Response.json({ data })
  }
  return { fetch, seen, sent: () => requests }
}

test('A file from a spreadsheet is read with its own separator; one that is not UTF-8 is refused', () => {
  const rows = [
    'email;name;email_verified',
    'ada@old.test;"Lovelace; Ada";WAHR',
    'grace@old.test;Größe, G.;FALSCH',
  ]
  const expected = [
    { email: 'ada@old.test', name: 'Lovelace; Ada', email_verified: true },
    { email: 'grace@old.test', name: 'Größe, G.', email_verified: false },
  ]
  const german = fileOf(`\ufeff${rows.join('\r\n')}\r\n`, 'csv')
  expect(read('roster', german)).toMatchObject(expected)
  const tabs = fileOf('email\tname\nada@old.test\tLovelace, Ada', 'csv')
  expect(read('roster', tabs)).toMatchObject([{ name: 'Lovelace, Ada' }])
  const table = fileOf('id;email;full_name\n1;ada@old.test;Ada, L.', 'csv')
  expect(read('fastapi', table)).toMatchObject([{ name: 'Ada, L.' }])
  const latin = join(dir, 'latin.csv')
  writeFileSync(latin, Buffer.from(rows.join('\r\n'), 'latin1'))
  expect(() => read('roster', latin)).toThrow('not in UTF-8')
})

describe('The import', () => {
  const people = (count: number) =>
    Array.from({ length: count }, (_, at) => JSON.stringify({ email: `p${at}@old.test` })).join('\n')
  const token = async () => 'token'
  const upTo = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, at) => first + at)

  test('continues where it was stopped', async () => {
    const file = fileOf(people(1_201), 'ndjson')
    const stopped = deployment((request) =>
      request === 2 ? Response.json({ code: 'forbidden', detail: 'No.' }, { status: 403 }) : undefined,
    )
    await expect(importPeople({ url: URL_OF, file, token, fetch: stopped.fetch })).rejects.toThrow(
      'forbidden',
    )
    expect(stopped.seen.size).toBe(250)
    // The last line of the report was being written.
    appendFileSync(`${file}.report.ndjson`, '{"line":251,"sta')
    const rest = deployment()
    const told = await importPeople({ url: URL_OF, file, token, fetch: rest.fetch })
    expect(told).toMatchObject({ created: 1_201, exists: 0, invalid: 0 })
    expect([rest.sent(), rest.seen.size]).toEqual([4, 951])
    const report = readFileSync(told.report, 'utf8').trim().split('\n').slice(1)
    expect(report.map((line) => Number(JSON.parse(line).line))).toEqual(upTo(1, 1_201))
    // And of another file there is no report here.
    appendFileSync(file, '\n{"email":"more@old.test"}')
    await expect(importPeople({ url: URL_OF, file, token, fetch: rest.fetch })).rejects.toThrow(
      'another file',
    )
  })

  test('does not continue from a report of an older version, which numbers lines differently', async () => {
    const file = fileOf('email\n\nada@old.test\n\nbo@old.test\n', 'csv')
    // As that version left it where it was stopped.
    const asked = JSON.stringify([URL_OF, false, 'roster', false, ''])
    const digestOf = (part: string | Buffer) => createHash('sha256').update(part).digest()
    const sha256 = digestOf(Buffer.concat([asked, readFileSync(file)].map(digestOf))).toString('base64url')
    writeFileSync(`${file}.report.ndjson`, `{"sha256":"${sha256}"}\n{"line":2,"status":"created"}\n`)
    const there = deployment()
    const told = importPeople({ url: URL_OF, file, token, fetch: there.fetch })
    await expect(told).rejects.toThrow('Move it away to start afresh')
    expect(there.sent()).toBe(0)
  })

  test.each([200, 403])('reports that a proxy’s page is not an answer: %i', async (status) => {
    const there = deployment(() => new Response('<html>Log in', { status }))
    const told = importPeople({ url: URL_OF, file: fileOf(people(1), 'ndjson'), token, fetch: there.fetch })
    await expect(told).rejects.toThrow(`${status}: this is not an answer from Roster`)
  })

  test('imports the first of two lines with the same address, in whatever batch the other is', async () => {
    const file = fileOf(`${people(250)}\n${people(1)}`, 'ndjson')
    const there = deployment()
    let requests = 0
    const fetch: typeof globalThis.fetch = async (...given) => {
      // The first is slow.
      if (++requests === 1) await setTimeout(100)
      return there.fetch(...given)
    }
    const told = await importPeople({ url: URL_OF, file, token, fetch })
    const lines = readFileSync(told.report, 'utf8').trim().split('\n').slice(1)
    const [first, last] = [lines[0]!, lines.at(-1)!].map((line) => JSON.parse(line))
    expect([first, last]).toEqual([
      { line: 1, status: 'created' },
      { line: 251, status: 'exists', by: 'address' },
    ])
  })

  const gone = '2,gone@old.test,2024-02-02 00:00:00+00'
  test.each([
    ['a table', 'roster', 'csv', 'email,external_id\nada@old.test,a\n\nnobody,b\n', [2, 4]],
    [
      'cells of several lines',
      'roster',
      'csv',
      'email,external_id,metadata\nada@old.test,a,"{\n}"\nnobody,b,',
      [2, 4],
    ],
    [
      'people who are left out',
      'supabase',
      'csv',
      `id,email,deleted_at\na,ada@old.test,\n${gone}\nb,nobody,`,
      [2, 4],
    ],
    [
      'blank lines',
      'roster',
      'ndjson',
      '\n{"email":"ada@old.test","external_id":"a"}\n\n{"email":"nobody","external_id":"b"}',
      [2, 4],
    ],
    [
      'a list',
      'auth0',
      'json',
      '[{"user_id":"a","email":"ada@old.test"},\n\n{"user_id":"b","email":"nobody"}]',
      [1, 2],
    ],
    [
      'a list of some',
      'keycloak',
      'json',
      '{"users":[{"id":"x","serviceAccountClientId":"x"},{"id":"a","email":"ada@old.test"},{"id":"b","email":"nobody"}]}',
      [2, 3],
    ],
  ] as const)(
    'says where somebody is in the file, and their id there: %s',
    async (_, from, end, text, [ada, nobody]) => {
      const file = fileOf(text, end)
      for (const isDryRun of [true, false]) {
        const there = deployment()
        const told = await importPeople({ url: URL_OF, file, from, token, fetch: there.fetch, isDryRun })
        const report = readFileSync(told.report, 'utf8').trim().split('\n').slice(1)
        expect(report.map((line) => JSON.parse(line))).toMatchObject([
          { line: ada, external_id: 'a', status: 'created' },
          { line: nobody, external_id: 'b', status: 'invalid' },
        ])
        expect(report.join()).not.toContain('old.test')
      }
    },
  )

  test('recognises users of earlier batches in a dry run, too', async () => {
    const others = Array.from({ length: 250 }, (_, at) => ({ email: `other${at}@old.test` }))
    const ada = { email: 'Ada@old.test', external_id: 'a' }
    const later = [
      ada,
      { email: 'ada@OLD.test' },
      { email: 'ada@old.test', external_id: 'b' },
      { email: 'bo@old.test', external_id: 'b' },
    ]
    const lines = [ada, ...others, ...later].map((line) => JSON.stringify(line)).join('\n')
    const file = fileOf(lines, 'ndjson')
    const there = deployment()
    const told = await importPeople({ url: URL_OF, file, token, fetch: there.fetch, isDryRun: true })
    expect(told).toMatchObject({ created: 252, exists: 2, invalid: 1 })
    const report = readFileSync(told.report, 'utf8').trim().split('\n').slice(1)
    expect(report.slice(-4).map((line) => JSON.parse(line))).toEqual([
      { line: 252, external_id: 'a', status: 'exists', by: 'external_id' },
      { line: 253, status: 'exists', by: 'address' },
      {
        line: 254,
        external_id: 'b',
        status: 'invalid',
        errors: [expect.objectContaining({ code: 'conflict' })],
      },
      { line: 255, external_id: 'b', status: 'created' },
    ])
  })

  test('only continues at the same deployment with the same options, and a dry run starts again', async () => {
    const file = fileOf(people(2), 'ndjson')
    const report = join(dir, 'staging.ndjson')
    const at = (url: string, options: Partial<Parameters<typeof importPeople>[0]> = {}) => {
      const there = deployment()
      const told = importPeople({ url, file, report, token, fetch: there.fetch, ...options })
      return told.then(({ created }) => [created, there.sent()])
    }
    expect(await at(URL_OF)).toEqual([2, 1])
    expect(await at(`${URL_OF}/`)).toEqual([2, 0])
    for (const other of [at('https://other.example.test'), at(URL_OF, { verified: true })])
      await expect(other).rejects.toThrow('another deployment')
    await expect(at(URL_OF, { isDryRun: true })).rejects.toThrow('other options')
    const dry = { isDryRun: true, report: undefined }
    expect(await at(URL_OF, dry)).toEqual([2, 1])
    expect(await at(URL_OF, dry)).toEqual([2, 1])
  })

  test.each([
    ['people', '{"email":"ada@old.test"}\n{"email":"last@old.test"}'],
    ['a table', 'email\nada@old.test\nlast@old.test'],
    ['what has no whole line', '{"sha256":"'],
    ['the report of another file', '{"sha256":"other"}\n{"line":1,"status":"created"}\n{"line":2'],
  ])('does not change an existing file that is not its report: %s', async (_, text) => {
    const report = fileOf(text)
    const there = deployment()
    const file = fileOf(people(2), 'ndjson')
    const told = importPeople({ url: URL_OF, file, report, token, fetch: there.fetch })
    await expect(told).rejects.toThrow(/exists, and is not the report of an import|is the report of another/)
    expect([readFileSync(report, 'utf8'), there.sent()]).toEqual([text, 0])
  })

  test('reports a line over a megabyte, and continues', async () => {
    const long = JSON.stringify({ email: 'long@old.test', metadata: { a: 'x'.repeat(1024 * 1024) } })
    const file = fileOf([people(1), long, '{"email":"last@old.test"}'].join('\n'), 'ndjson')
    const there = deployment()
    const told = await importPeople({ url: URL_OF, file, token, fetch: there.fetch })
    expect(told).toMatchObject({ created: 2, invalid: 1 })
    expect([...there.seen]).toEqual(['p0@old.test', 'last@old.test'])
  })

  test('retries after a lost answer, and after an expired token', async () => {
    const file = fileOf(people(2), 'ndjson')
    const tokens = ['first', 'second']
    const there = deployment((request) =>
      request === 1 ? 'lost' : request === 2 ? new Response(null, { status: 401 }) : undefined,
    )
    const told = await importPeople({
      url: URL_OF,
      file,
      token: async () => tokens.shift()!,
      fetch: there.fetch,
    })
    expect(told).toMatchObject({ created: 0, exists: 2, invalid: 0 })
    expect(tokens).toEqual([])
  })

  test('sends a line again that was blocked for a moment, with the same login', async () => {
    const file = fileOf(people(3), 'ndjson')
    const tokens = ['one', 'another']
    const held = {
      line: 2,
      status: 'invalid',
      errors: [{ pointer: '', code: 'try_again', detail: 'For a moment.' }],
    }
    const there = deployment((request) => {
      const [first, third] = [1, 3].map((line) => ({ line, status: 'created' }))
      return request === 1 ? Response.json({ data: [first, held, third] }) : undefined
    })
    const told = await importPeople({
      url: URL_OF,
      file,
      token: async () => tokens.shift()!,
      fetch: there.fetch,
    })
    expect(told).toMatchObject({ created: 3, invalid: 0 })
    expect([[...there.seen], tokens]).toEqual([['p1@old.test'], ['another']])
  })

  test('asks once for a newer token, and continues with it', async () => {
    const file = fileOf(people(750), 'ndjson')
    const tokens = ['old', 'new', 'another']
    const there = deployment((_, sent) =>
      sent === 'Bearer old' ? Response.json({ code: 'invalid_token' }, { status: 401 }) : undefined,
    )
    const told = await importPeople({
      url: URL_OF,
      file,
      token: async () => tokens.shift()!,
      fetch: there.fetch,
    })
    expect(told).toMatchObject({ created: 750, invalid: 0 })
    expect([tokens, there.sent()]).toEqual([['another'], 4])
  })

  test('asks for a newer login for the lines that need one, and sends them again', async () => {
    const tokens = ['old', 'new']
    const there = deployment()
    const options = { url: URL_OF, file: `${SAMPLES}/django.json`, from: 'django', fetch: there.fetch }
    const told = await importPeople({
      ...options,
      report: join(dir, 'django.report.ndjson'),
      verified: true,
      staff: 'manager',
      token: async () => tokens.shift()!,
    })
    expect(told).toMatchObject({ created: 10, invalid: 1 })
    expect([tokens, there.sent()]).toEqual([[], 2])
  })
})

test('The export continues after a broken connection, and after what its file has', async () => {
  const rows = [1, 2, 3, 4].map((n) => ({ id: `0${n}`, created_at: `2024-01-0${n}T00:00:00.000Z` }))
  const asked: (string | null)[] = []
  const fetch: typeof globalThis.fetch = async (input) => {
    const from = new URL(String(input)).searchParams.get('created_from')
    asked.push(from)
    const lines = rows
      .filter(({ created_at }) => !from || created_at >= from)
      .map((row) => JSON.stringify(row))
    const breaksOff = asked.length === 1
    const text = breaksOff
      ? `${lines.slice(0, 2).join('\n')}\n{"id":"0`
      : `${lines.join('\n')}\n{"end":true}\n`
    return new Response(
      new ReadableStream({
        pull(controller) {
          controller.enqueue(new TextEncoder().encode(text))
          if (breaksOff) controller.error(new Error('broken off'))
          else controller.close()
        },
      }),
    )
  }
  const file = exportOf(`${JSON.stringify(rows[0])}\n{"id":"02","cre`)
  expect(await exportPeople({ url: URL_OF, file, token: async () => 'token', fetch })).toBe(4)
  const written = readFileSync(file, 'utf8').trim().split('\n')
  expect(written.map((line) => JSON.parse(line))).toEqual(rows)
  expect(asked.length).toBeGreaterThan(1)
  expect(asked[0]).toBe(rows[0]!.created_at)
})

test('The export only continues a file of the same deployment: one of another, or of nobody knows which, stays as it is', async () => {
  const row = { id: '01', created_at: '2024-01-01T00:00:00.000Z' }
  const asked: string[] = []
  const fetch: typeof globalThis.fetch = async (input) => {
    asked.push(new URL(String(input)).origin)
    return new Response(`${JSON.stringify(row)}\n{"end":true}\n`)
  }
  const file = join(dir, 'of-one.ndjson')
  const from = (url: string) => exportPeople({ url, file, token: async () => 'token', fetch })
  expect(await from(`${URL_OF}/`)).toBe(1)
  // It was stopped in the middle of a line.
  appendFileSync(file, '{"id":"02","cre')
  const before = readFileSync(file, 'utf8')
  await expect(from('https://other.example.test')).rejects.toThrow(`${file} is an export of ${URL_OF}`)
  expect([readFileSync(file, 'utf8'), asked]).toEqual([before, [URL_OF]])
  expect(await from(URL_OF)).toBe(1)

  rmSync(`${file}.origin`)
  await expect(from(URL_OF)).rejects.toThrow('of which deployment')
  rmSync(file)
  expect(await from('https://other.example.test')).toBe(1)
})

test('The export counts the lines of a file larger than its buffer, and cuts off half a line', async () => {
  const rowOf = (at: number) => ({
    id: String(at).padStart(6, '0'),
    created_at: '2024-01-01T00:00:00.000Z',
    name: 'Ä\u2028',
  })
  const lines = Array.from({ length: 5_000 }, (_, at) => `${JSON.stringify(rowOf(at))}\n`)
  const file = exportOf(lines.join(''))
  appendFileSync(file, Buffer.from(JSON.stringify(rowOf(5_000))).subarray(0, -4))
  const fetch: typeof globalThis.fetch = async () =>
    new Response([4_999, 5_000].map((at) => `${JSON.stringify(rowOf(at))}\n`).join('') + '{"end":true}\n')
  expect(await exportPeople({ url: URL_OF, file, token: async () => 'token', fetch })).toBe(5_001)
  expect(readFileSync(file, 'utf8')).toBe(`${lines.join('')}${JSON.stringify(rowOf(5_000))}\n`)
})

test.each([
  ['a table', 'id,email\n1,ada@old.test\n2,last@old.test'],
  ['people of somewhere else', '{"email":"ada@old.test"}\n{"email":"last@old.test"}'],
  ['a list', '[]\n'],
  ['null', 'null\n'],
  ['half a line', '{"email":'],
])('The export does not change an existing file that is not an export: %s', async (_, text) => {
  const file = fileOf(text)
  let asked = 0
  const fetch: typeof globalThis.fetch = async () => {
    asked += 1
    return new Response('{"end":true}\n')
  }
  const told = exportPeople({ url: URL_OF, file, token: async () => 'token', fetch })
  await expect(told).rejects.toThrow('exists, and is not an export from Roster')
  expect([readFileSync(file, 'utf8'), asked]).toEqual([text, 0])
})

test('The export fails at once if it cannot write, if possible before it asks for a sign-in', async () => {
  // At a second try, it is a directory.
  const file = join(dir, `${crypto.randomUUID()}.ndjson`)
  let asked = 0
  const fetch: typeof globalThis.fetch = async () => {
    asked += 1
    rmSync(file)
    mkdirSync(file)
    return new Response('{"id":"01","created_at":"2024-01-01T00:00:00.000Z"}\n')
  }
  const to = (where: string) => exportPeople({ url: URL_OF, file: where, token: async () => 'token', fetch })
  await expect(to(join(dir, 'missing', 'export.ndjson'))).rejects.toThrow('ENOENT')
  expect(asked).toBe(0)
  await expect(to(file)).rejects.toThrow('EISDIR')
  expect(asked).toBe(1)
})

test('The export with hashes only continues with hashes, is readable by its owner only, and says what they are good for', async () => {
  const key = 'k=0123abcd'
  const ours = `$scrypt$ln=15,r=8,p=3,${key}$${'s'.repeat(22)}$${'m'.repeat(43)}`
  const rows = [ours, '$2b$12$other', null].map((password_hash, at) => ({
    id: `0${at}`,
    created_at: `2024-01-0${at + 1}T00:00:00.000Z`,
    password_hash,
  }))
  const asked: string[] = []
  const fetch: typeof globalThis.fetch = async (input) => {
    asked.push(String(input))
    return new Response(`${rows.map((row) => JSON.stringify(row)).join('\n')}\n{"end":true}\n`)
  }
  const options = { url: URL_OF, token: async () => 'token', fetch }
  const file = join(dir, 'hashes.ndjson')
  expect(await exportPeople({ ...options, file, hashes: true })).toBe(3)
  expect(asked[0]).toContain('&hashes=true')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  await expect(exportPeople({ ...options, file })).rejects.toThrow('was started with --hashes')
  await expect(
    exportPeople({
      ...options,
      file: exportOf('{"id":"00","created_at":"2024-01-01T00:00:00.000Z"}\n'),
      hashes: true,
    }),
  ).rejects.toThrow('was started without --hashes')
  const about = await aboutHashes(file)
  expect(about).toContain('2 have a password: 1 by a hash of Roster')
  expect(about).toContain('by the key 0123abcd of SECRET_KEYS')
  expect(about).toContain('have no pepper')
})
