/// <reference types="vite/types/importMeta.d.ts" />
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'
import { newJwk, newSecret, rotateJwtKeys, rotateSecretKeys } from '../scripts/keys.ts'
import { app } from '../src/app.ts'
import type { Tokens } from '../src/auth/schemas.ts'
import { openApi } from './support/api.ts'

const api = openApi()
const { JWT_KEYS, SECRET_KEYS, UPSTASH_REDIS_REST_TOKEN } = inject('bindings') as Record<
  'JWT_KEYS' | 'SECRET_KEYS' | 'UPSTASH_REDIS_REST_TOKEN',
  string
>
afterEach(() => void vi.restoreAllMocks())

const ROUTES = [
  ...new Set(
    app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`),
  ),
]

describe('SC1: a setting that is missing or unfit', () => {
  const [key] = JSON.parse(JWT_KEYS).keys
  const publicHalf = { ...key, d: undefined }
  const required = [
    ...['JWT_KEYS', 'SECRET_KEYS', 'TURSO_DATABASE_URL', 'TURSO_AUTH_TOKEN'],
    ...['UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN', 'ISSUER'],
  ]
  const unfit: [string, string | undefined, object?][] = [
    ...required.flatMap((name): [string, string | undefined][] => [
      [name, undefined],
      [name, ''],
    ]),
    ['SECRET_KEYS', 'changeme'],
    ['SECRET_KEYS', 'change-me-change-me-change-me-change-me'],
    ['SECRET_KEYS', 'your-secret-goes-here-32-characters'],
    ['SECRET_KEYS', 'an-example-of-thirty-two-characters'],
    ['SECRET_KEYS', '<thirty two characters at the least>'],
    ['SECRET_KEYS', 'a'.repeat(64)],
    ['SECRET_KEYS', newSecret().slice(0, 31)],
    ['SECRET_KEYS', `${newSecret()},${newSecret().slice(0, 31)}`],
    ['SECRET_KEYS', `${SECRET_KEYS},${SECRET_KEYS}`],
    ['SECRET_KEYS', UPSTASH_REDIS_REST_TOKEN],
    ['SECRET_KEYS', SECRET_KEYS, { TURSO_AUTH_TOKEN: SECRET_KEYS }],
    ['SECRET_KEYS', key.d],
    ['JWT_KEYS', 'changeme'],
    ['JWT_KEYS', '{"keys":[]}'],
    ['JWT_KEYS', JSON.stringify({ keys: [publicHalf] })],
    ['JWT_KEYS', JSON.stringify({ keys: [key, key] })],
    ['JWT_KEYS', JSON.stringify(key)],
    ['TURSO_DATABASE_URL', 'file:local.db'],
    ['UPSTASH_REDIS_REST_URL', 'redis://127.0.0.1:6379'],
    ['ISSUER', 'https://roster.test/path'],
    ['CORS_ORIGINS', '*'],
    ['REFRESH_GRACE_SECONDS', 'soon'],
    ['PURGE_AFTER_DAYS', '0'],
  ]

  test.each(unfit)(
    '%s=%s answers 503 everywhere but for /health, by name and without the value',
    async (name, value, others) => {
      const broken = openApi({ [name]: value, ...others })
      const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
      expect((await broken.send('GET', '/health')).body).toEqual({ status: 'ok' })
      for (const route of ROUTES.filter((route) => route !== 'GET /health')) {
        const [method, path] = route.split(' ') as [string, string]
        const answer = await broken.send(method, path)
        expect([route, answer.status, answer.body.code]).toEqual([route, 503, 'misconfigured'])
        expect(answer.body.detail).toBe(`Settings missing or unfit: ${name}`)
        if (value && value.length > 3) expect(answer.text + logged.mock.calls).not.toContain(value)
      }
    },
  )

  test('is all the names at once', async () => {
    const nothing = openApi(Object.fromEntries(required.map((name) => [name, undefined])))
    const answer = await nothing.send('GET', '/v1/users/me')
    expect(answer.body.detail).toBe(`Settings missing or unfit: ${required.sort().join(', ')}`)
  })

  test('is a 503 too, and never a 401, when a key only turns out to be none where it is used', async () => {
    const ada = await api.actor()
    const x = key.x.startsWith('A') ? `B${key.x.slice(1)}` : `A${key.x.slice(1)}`
    const corrupt = openApi({ JWT_KEYS: JSON.stringify({ keys: [{ ...key, x }] }) })
    const answers = [
      await corrupt.send('GET', '/v1/users/me', { token: ada.token }),
      await corrupt.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: ada.refreshToken } }),
    ]
    expect(answers.map(({ status, body }) => [status, body.code])).toEqual(
      Array(2).fill([503, 'misconfigured']),
    )
    expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
  })
})

test('CK1: what verifies is published, and nothing that signs', async () => {
  const second = await newJwk()
  const both = openApi({ JWT_KEYS: JSON.stringify({ keys: [...JSON.parse(JWT_KEYS).keys, second] }) })
  const answer = await both.send<JSONWebKeySet>('GET', '/.well-known/jwks.json')
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(answer.headers.get('cache-control')).toBe('public, max-age=600')
  expect(answer.body.keys.map(({ kid }) => kid)).toEqual([JSON.parse(JWT_KEYS).keys[0].kid, second.kid])
  for (const key of answer.body.keys) {
    expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' })
  }
  const etag = answer.headers.get('etag')!
  const again = await both.send('GET', '/.well-known/jwks.json', { headers: { 'if-none-match': etag } })
  expect([again.status, again.text]).toEqual([304, ''])
  const other = await api.send('GET', '/.well-known/jwks.json', { headers: { 'if-none-match': etag } })
  expect(other.status).toBe(200)
})

describe('CK2: keys are changed', () => {
  const secrets = { JWT_KEYS, SECRET_KEYS }
  const next = async (step: 'publish' | 'sign' | 'retire', current: typeof secrets) => ({
    JWT_KEYS: await rotateJwtKeys(current.JWT_KEYS, step),
    SECRET_KEYS: await rotateSecretKeys(current.SECRET_KEYS, step),
  })
  const statusAt = async (at: typeof api, token: string) =>
    (await at.send('GET', '/v1/users/me', { token })).status
  const refreshAt = (at: typeof api, token: string) =>
    at.send<Tokens>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })

  test('in three steps that nobody notices: not whoever is signed in, and not who verifies by the published keys', async () => {
    const ada = await api.actor()
    const published = await next('publish', secrets)
    const signing = await next('sign', published)
    const retired = await next('retire', signing)
    let { token, refreshToken } = ada
    let cachedKeys = (await api.send<JSONWebKeySet>('GET', '/.well-known/jwks.json')).body
    for (const step of [published, signing, retired]) {
      const at = openApi(step)
      // What was given out one step ago counts in this one …
      expect(await statusAt(at, token)).toBe(200)
      const refreshed = await refreshAt(at, refreshToken)
      expect(refreshed.status).toBe(200)
      ;({ access_token: token, refresh_token: refreshToken } = refreshed.body)
      expect(await statusAt(at, token)).toBe(200)
      // … and somebody else verifies what this one gives out, with the keys that were published one step ago.
      await jwtVerify(token, createLocalJWKSet(cachedKeys), { audience: 'roster' })
      cachedKeys = (await at.send<JSONWebKeySet>('GET', '/.well-known/jwks.json')).body
    }
    expect(cachedKeys.keys).toHaveLength(1)
    const at = openApi(retired)
    expect(await statusAt(at, ada.token)).toBe(401)
    expect((await refreshAt(at, (await api.signIn(ada)).refreshToken)).body).toMatchObject({
      code: 'invalid_refresh_token',
    })
  })

  test('at once, in an emergency: what the old key signed is dead, and sessions go on', async () => {
    const ada = await api.actor()
    const at = openApi({ JWT_KEYS: JSON.stringify({ keys: [await newJwk()] }) })
    expect(await statusAt(at, ada.token)).toBe(401)
    const refreshed = await refreshAt(at, ada.refreshToken)
    expect(await statusAt(at, refreshed.body.access_token)).toBe(200)
    expect(await statusAt(api, refreshed.body.access_token)).toBe(401)
  })
})

test('CK3: chance is never Math.random, and MACs are compared in constant time', () => {
  const sources = import.meta.glob<string>('../src/**/*.ts', {
    query: '?raw',
    import: 'default',
    eager: true,
  })
  expect(Object.keys(sources).length).toBeGreaterThan(30)
  const filesWith = (pattern: RegExp) => Object.keys(sources).filter((file) => pattern.test(sources[file]!))
  // Where it spreads out retries.
  expect(filesWith(/Math\.random/)).toEqual(['../src/database/main.ts', '../src/mail/outbox.ts'])
  expect(
    filesWith(/\b(mac|macOf\([^)]*\)|digest|secret|password_hash)\s*[!=]==?\s(?!undefined|null)/i),
  ).toEqual([])
})
