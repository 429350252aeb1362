import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { READERS } from '../../scripts/people/readers/index.ts'
import { exportPeople } from '../../scripts/people-export.ts'
import { importPeople } from '../../scripts/people-import.ts'
import { readLines } from '../../src/bulk/import/lines.ts'

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

/** What a reader makes of a file, as the lines that the import reads: who they are, and what becomes of the hash. */
function read(from: string, file: string, extras: { with?: string } = {}) {
  const people = READERS[from]!(file, extras)
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
    expect(people).toHaveLength(10)
    expect(people[0]).toMatchObject({
      email: 'user0@django.test',
      name: 'Ada Nr 0',
      external_id: '1',
      created_at: Date.parse('2026-11-29T12:55:54.672Z'),
      email_verified: false,
      hash: 'verified',
      admin_metadata: { username: 'user0' },
    })
    // Argon2 of 100 MiB is more than a login may take; a password that starts with ! is none.
    expect(people.map((one) => ('hash' in one ? one.hash : 'invalid'))).toEqual(
      'verified verified verified needs_reset verified verified invalid verified verified none'.split(' '),
    )
    expect(people[6]).toEqual({ errors: ['/email invalid_type'] })
    expect(people[7]).toMatchObject({ role: 'user', admin_metadata: { username: 'staff', staff: true } })
    expect(people[8]).toMatchObject({
      role: 'user',
      admin_metadata: { username: 'root', staff: true, superuser: true },
    })
    expect(people[9]).toMatchObject({ disabled: true })
  })

  test('the FastAPI template', () => {
    const people = read('fastapi', `${SAMPLES}/fastapi.csv`)
    const byEmail = new Map(people.map((one) => ['email' in one ? one.email : 'none', one]))
    expect([...byEmail.keys()].sort()).toEqual(
      'Grace@fastapi.test ada@fastapi.test gone@fastapi.test grace@fastapi.test none root@fastapi.test'.split(
        ' ',
      ),
    )
    expect(byEmail.get('root@fastapi.test')).toMatchObject({
      name: 'Root, of all',
      disabled: false,
      hash: 'verified',
      admin_metadata: { superuser: true },
    })
    expect(byEmail.get('gone@fastapi.test')).toMatchObject({ disabled: true })
    expect(byEmail.get('Grace@fastapi.test')).toMatchObject({ hash: 'needs_reset' })
  })

  const bcrypt = '$2b$12$Kbg4DoSEoso7KHpD.z3N2.3b7kf8BqxmAIOQiG//JgpdtD9ZlCS1.'

  test('Supabase, without those who are deleted or anonymous', () => {
    const file = fileOf(
      [
        'id,email,encrypted_password,email_confirmed_at,raw_user_meta_data,raw_app_meta_data,created_at,banned_until,deleted_at,is_anonymous',
        `a1,ada@s.test,${bcrypt},2024-01-02 03:04:05+00,"{""full_name"":""Ada""}","{""provider"":""email""}",2024-01-02 03:04:05.678901+00,,,f`,
        'a2,gone@s.test,,,{},{},2024-01-02 03:04:05+00,,2024-02-02 00:00:00+00,f',
        'a3,,,,{},{},2024-01-02 03:04:05+00,,,t',
        'a4,banned@s.test,,,{},{},2024-01-02 03:04:05+00,2124-01-01 00:00:00+00,,f',
      ].join('\n'),
      'csv',
    )
    const people = read('supabase', file)
    expect(people).toHaveLength(2)
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
  })

  test('better-auth, whose hashes stand with its accounts', () => {
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
    const hashing = fileOf(
      JSON.stringify({
        base64_signer_key:
          'jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==',
        base64_salt_separator: 'Bw==',
        rounds: 8,
        mem_cost: 14,
      }),
    )
    expect(read('firebase', users, { with: hashing })).toMatchObject([
      { email: 'ada@f.test', external_id: 'f1', created_at: 1486324122000, hash: 'verified' },
    ])
  })

  test('Keycloak, with JSON in its JSON, and an app for codes', () => {
    const salt = 'c2FsdHNhbHRzYWx0c2FsdA=='
    const value = Buffer.alloc(64, 7).toString('base64')
    const credential = (type: string, secret: object, data: object) => ({
      type,
      secretData: JSON.stringify(secret),
      credentialData: JSON.stringify(data),
    })
    const people = read(
      'keycloak',
      fileOf(
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
            { id: 'k3', username: 'service-account-x', enabled: true, serviceAccountClientId: 'x' },
          ],
        }),
      ),
    )
    expect(people).toHaveLength(2)
    expect(people[0]).toMatchObject({
      name: 'Ada L.',
      created_at: 1700000000000,
      hash: 'verified',
      warnings: [],
      seed: new Uint8Array(Buffer.from('abcdefghijklmnopqrst')),
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

/** A deployment as the script sees it, which reads lines as the real one does, and answers or breaks off as it is told. */
function deployment(
  fail: (request: number, token: string) => Response | 'lost' | undefined = () => undefined,
) {
  const seen = new Set<string>()
  let requests = 0
  const fetch: typeof globalThis.fetch = async (_, init) => {
    const token = new Headers(init?.headers).get('authorization')!
    const failure = fail(++requests, token)
    if (failure instanceof Response) return failure
    const data = readLines('application/x-ndjson', String(init?.body)).map(({ line, user, errors }) => {
      if (errors) return { line, status: 'invalid', errors }
      const late = user.role !== 'user' && token === 'Bearer old'
      if (late) return { line, status: 'invalid', errors: [{ code: 'reauthentication_required' }] }
      const isThere = seen.has(user.email)
      seen.add(user.email)
      return isThere ? { line, status: 'exists', by: 'address' } : { line, status: 'created' }
    })
    if (failure === 'lost') throw new TypeError('fetch failed')
    return Response.json({ data })
  }
  return { fetch, seen, sent: () => requests }
}

describe('The import', () => {
  const people = (count: number) =>
    Array.from({ length: count }, (_, at) => JSON.stringify({ email: `p${at}@old.test` })).join('\n')
  const token = async () => 'token'

  test('goes on behind what it has done, where it was stopped', async () => {
    const file = fileOf(people(1_201), 'ndjson')
    const stopped = deployment((request) =>
      request === 2 ? Response.json({ code: 'forbidden', detail: 'No.' }, { status: 403 }) : undefined,
    )
    await expect(importPeople({ url: URL_OF, file, token, fetch: stopped.fetch })).rejects.toThrow(
      'forbidden',
    )
    expect(stopped.seen.size).toBe(500)
    // The last line of the report was being written.
    appendFileSync(`${file}.report.ndjson`, '{"line":501,"sta')
    const rest = deployment()
    const told = await importPeople({ url: URL_OF, file, token, fetch: rest.fetch })
    expect(told).toMatchObject({ created: 1_201, exists: 0, invalid: 0 })
    expect([rest.sent(), rest.seen.size]).toEqual([2, 701])
    const report = readFileSync(told.report, 'utf8').trim().split('\n').slice(1)
    expect(report.map((line) => JSON.parse(line).line)).toEqual(
      Array.from({ length: 1_201 }, (_, at) => at + 1),
    )
    // And of another file there is no report here.
    appendFileSync(file, '\n{"email":"more@old.test"}')
    await expect(importPeople({ url: URL_OF, file, token, fetch: rest.fetch })).rejects.toThrow(
      'another file',
    )
  })

  test('asks again after an answer that was lost, and after a token that is over', async () => {
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

  test('asks for a newer login for the lines that need one, and sends them once more', async () => {
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
    expect(told).toMatchObject({ created: 9, invalid: 1 })
    expect([tokens, there.sent()]).toEqual([[], 2])
  })
})

test('The export goes on behind a connection that broke off, and behind what its file has', async () => {
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
  const file = join(dir, 'export.ndjson')
  writeFileSync(file, `${JSON.stringify(rows[0])}\n{"id":"02","cre`)
  expect(await exportPeople({ url: URL_OF, file, token: async () => 'token', fetch })).toBe(4)
  const written = readFileSync(file, 'utf8').trim().split('\n')
  expect(written.map((line) => JSON.parse(line))).toEqual(rows)
  expect(asked.length).toBeGreaterThan(1)
  expect(asked[0]).toBe(rows[0]!.created_at)
})
