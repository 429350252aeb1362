import { beforeAll, describe, expect, test } from 'vitest'
import { generate } from '../../scripts/keys.ts'
import { fromExport, isExported } from '../../scripts/people/readers/exported.ts'
import type { ImportResult } from '../../src/bulk/import/schemas.ts'
import { sealForeignHash } from '../../src/passwords/foreign/sealing.ts'
import { type Actor, type Api, openApi, PASSWORD } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** Of vectors.json, by passlib. */
const FOREIGN = '$2a$06$nbu7TNXBePo3K0KQ1OEfQORRjd/iChqJvxNSGwgb2SdYPOGUsR7te'
const optional = { EMAIL_VERIFICATION: 'optional' }

let api: Api
let admin: Actor
let rows: Record<string, unknown>[]
beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ...optional })
  admin = await api.actor({ role: 'admin', email_verified_at: 1 })
  await api.person({
    email: 'own@old.test',
    name: 'Ówn',
    email_verified_at: 1,
    external_id: 'x-1',
    locale: 'de',
  })
  const foreign = await api.person({ email: 'foreign@old.test', email_verified_at: 1 })
  const sealed = await sealForeignHash(api.config(), foreign.id, FOREIGN)
  await api.sql('UPDATE users SET password_hash = ? WHERE id = ?', [sealed, foreign.id])
  await api.person({
    email: 'none@old.test',
    password_hash: null,
    status: 'disabled',
    disabled_reason: 'left',
  })
  await api.person({ email: 'deleted@old.test', deleted_at: 1 })
  const { status, text } = await api.send(
    'GET',
    '/v1/users/export?format=ndjson&hashes=true&sort=created_at',
    {
      token: admin.token,
    },
  )
  expect(status, text).toBe(200)
  rows = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ email }) => email.endsWith('@old.test'))
})

test('An export has hashes on request: ours as they are stored, others as they came, and null for none', () => {
  expect(rows.map(({ email, password_hash }) => [email, password_hash])).toEqual([
    [
      'own@old.test',
      expect.stringMatching(/^\$scrypt\$ln=\d+,r=8,p=\d,k=[0-9a-f]{8}\$[\w-]{22}\$[\w-]{43}$/),
    ],
    ['foreign@old.test', FOREIGN],
    ['none@old.test', null],
  ])
})

test('Hashes must be requested explicitly, as NDJSON, with a recent login, and the history says so', async () => {
  const ask = (query: string, token = admin.token) => api.send('GET', `/v1/users/export?${query}`, { token })
  expect((await ask('format=ndjson')).text).not.toContain('password_hash')
  expect((await ask('format=csv&hashes=true')).body).toMatchObject({ code: 'invalid_input' })
  const { token: old } = await api.signIn(admin, Date.now() - 700_000)
  expect((await ask('format=ndjson&hashes=true', old)).body).toMatchObject({
    code: 'reauthentication_required',
  })
  const [event] = await api.sql(
    "SELECT details FROM user_activity_logs WHERE action = 'user.exported' AND details LIKE '%hashes%'",
  )
  expect(JSON.parse(String(event!.details))).toEqual({ list: 'users', hashes: true })
})

describe('An import of that export', () => {
  async function into(settings: object) {
    const target = openApi({ ...(await freshUpstreams()).bindings, ...optional, ...settings })
    const by = await target.actor({ role: 'admin', email_verified_at: 1 })
    expect(rows.every(isExported)).toBe(true)
    const { body, status, text } = await target.send<ImportResult>('POST', '/v1/users/import', {
      token: by.token,
      raw: rows.map((row) => JSON.stringify(fromExport(row))).join('\n'),
      headers: { 'content-type': 'application/x-ndjson' },
    })
    expect(status, text).toBe(200)
    const logIn = async (email: string, password: string) =>
      (await target.send('POST', '/v1/auth/login', { body: { email, password } })).status
    return { target, by, results: body.data, logIn }
  }

  test('gives the same people with the same passwords, if the key is the same', async () => {
    const { target, by, results, logIn } = await into({})
    expect(results.map(({ status, needs_reset }) => [status, needs_reset])).toEqual(
      Array.from({ length: 3 }, () => ['created', undefined]),
    )
    const told = ['email', 'name', 'role', 'status', 'email_verified', 'created_at', 'locale', 'metadata']
    const of = (user: Record<string, unknown>) =>
      Object.fromEntries(
        [...told, 'external_id', 'admin_metadata', 'needs_reset'].map((name) => [name, user[name]]),
      )
    for (const [at, { id }] of results.entries()) {
      const { body } = await target.send('GET', `/v1/users/${id}`, { token: by.token })
      expect(of(body)).toEqual(of(rows[at]!))
    }
    expect(await logIn('own@old.test', PASSWORD)).toBe(200)
    expect(await logIn('own@old.test', `${PASSWORD}!`)).toBe(401)
    expect(await logIn('foreign@old.test', 'correct horse battery')).toBe(200)
    expect(await logIn('none@old.test', PASSWORD)).toBe(401)
  })

  test('asks for new passwords if it is not: our hashes are useless there', async () => {
    const { results, logIn } = await into(await generate())
    expect(results.map(({ status, needs_reset }) => [status, needs_reset])).toEqual([
      ['created', true],
      ['created', undefined],
      ['created', undefined],
    ])
    expect(await logIn('own@old.test', PASSWORD)).toBe(401)
    expect(await logIn('foreign@old.test', 'correct horse battery')).toBe(200)
  })
})
