/// <reference types="vite/types/importMeta.d.ts" />
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'
import { newJwk, newSecret, rotateJwtKeys, rotateSecretKeys } from '../scripts/keys.ts'
import { app } from '../src/app.ts'
import type { Tokens } from '../src/auth/schemas.ts'
import { LEAST_GRACE_SECONDS } from '../src/config/waits.ts'
import { verifyAccessToken } from '../src/sessions/access-tokens.ts'
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

const DATED = newSecret()

describe('SC1, HX15: a setting that is missing or invalid', () => {
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
    ['SECRET_KEYS', 'correct-horse-battery-staple-over-and-again-in-the-wood'],
    ['SECRET_KEYS', 'CorrectHorseBatteryStapleInTheGardenOfTheOtherHouse'],
    ['SECRET_KEYS', 'abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz'],
    ['SECRET_KEYS', 'qwertyuiopasdfghjklzxcvbnm1234567890poiuytrewqlkjhg'],
    ['SECRET_KEYS', 'k3J9'.repeat(12)],
    ['SECRET_KEYS', '0f'.repeat(32)],
    ['SECRET_KEYS', key.kid],
    ['SECRET_KEYS', key.x],
    ['RESEND_API_KEY', UPSTASH_REDIS_REST_TOKEN],
    ['UPSTASH_REDIS_REST_TOKEN', 'local'],
    ...['ISSUER', 'LINK_ORIGIN', 'TURSO_DATABASE_URL', 'UPSTASH_REDIS_REST_URL', 'RESEND_URL'].map(
      (name): [string, string] => [name, 'http://elsewhere.test'],
    ),
    ['TURSO_DATABASE_URL', 'libsql://elsewhere.test?tls=0'],
    ['ISSUER', 'http://localhost.elsewhere.test'],
    ['MAIL_FROM', 'Roster <a@b.test'],
    ['MAIL_FROM', 'Roster a@b.test>'],
    ['MAIL_FROM', 'Our team'],
    ['MAIL_FROM', 'One <a@b.test>, Two <c@d.test>'],
    ['MAIL_REPLY_TO', 'nobody'],
    ['MAIL_FROM', undefined, { EMAIL_VERIFICATION: 'required' }],
    ['RESEND_API_KEY', undefined, { EMAIL_VERIFICATION: 'required', EMAIL: undefined }],
    ['RESEND_API_KEY', undefined, { EMAIL_VERIFICATION: undefined, EMAIL: undefined }],
    ...['@corp.example', '*.corp.example', 'bücher.example', 'corp', 'corp.example,.corp.test'].map(
      (value): [string, string, object] => ['SIGNUP_DOMAINS', value, { EMAIL_VERIFICATION: 'required' }],
    ),
    ...[
      'a@b',
      'a@bücher.example',
      '*.corp.example',
      '192.0.2.0/33',
      '192.0.2.0/0',
      '192.0.2.999',
      '2001:db8::/129',
      '2001:db8::/x',
      '::1/',
      'corp.example,,1.2.3.4/',
      ' , ,',
      'a.example,'.repeat(520),
    ].map((value): [string, string] => ['SIGNUP_BLOCKED', value]),
    ['EMAIL_VERIFICATION', 'optional', { SIGNUP_DOMAINS: 'corp.example' }],
    ['EMAIL_VERIFICATON', 'required'],
    ['SIGNUP_DOMAIN', 'corp.example'],
    ['SIGN_UP', 'closed'],
    ['PASSWORD_HASHES', 'cheap', { ISSUER: 'https://roster.example' }],
    ['PASSWORD_HASHES', 'cheap', { ISSUER: 'https://test' }],
    ['PASSWORD_HASHES', 'light'],
    ['CORS_ORIGIN', 'https://app.corp.example'],
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
    ['REFRESH_GRACE_SECONDS', String(LEAST_GRACE_SECONDS - 1)],
    ['PURGE_AFTER_DAYS', '0'],
    ...['1e3', '0x10', ' 40', '4_0', '40.0', '', ' ', '-40'].map((value): [string, string] => [
      'ACTIVITY_DAYS',
      value,
    ]),
    ['ACTIVITY_NOISE_DAYS', '60', { ACTIVITY_DAYS: '40' }],
    ['MAIL_FROM', undefined, { EMAIL_VERIFICATION: 'optional' }],
    ['RESEND_API_KEY', undefined, { EMAIL_VERIFICATION: 'optional', EMAIL: undefined }],
    ['PAGE_TEXTS', '{"en":{"signin.title":" "}}'],
    ['WEBAUTHN_RP_ID', 'other.example'],
    ['WEBAUTHN_RP_ID', 'other.example', { WEBAUTHN_ORIGINS: 'https://app.roster.test' }],
    ['COOKIE_ORIGINS', 'https://app.other.test'],
    ['SECRET_KEYS', `${DATED}=20261128T153012Z`, { TRUSTED_PROXY_SECRET: DATED }],
    ['SECRET_KEYS', `${DATED}=20261128T153012Z,${DATED}=20251128T153012Z`],
    ...['   ', '\u200b', '---', 'Two\nlines', 'Bell\u0007', ' Roster'].map((value): [string, string] => [
      'ORGANISATION',
      value,
    ]),
    ['AUDIENCE', ' '],
    ['TURSO_AUTH_TOKEN', '   '],
    ['TURSO_AUTH_TOKEN', 'cut\noff'],
    ['RESEND_API_KEY', ' '],
    ['CORS_ORIGINS', 'https://*.corp.example'],
    ['CORS_ORIGINS', ' , ,'],
    ['COOKIE_ORIGINS', 'http://app.corp.example'],
    ['TERMS_URL', 'http://corp.example/terms'],
    ['TERMS_VERSION', '2'],
    ['TURNSTILE_SECRET', undefined, { TURNSTILE_SITE_KEY: '1x00' }],
    ['TURNSTILE_SITE_KEY', undefined, { TURNSTILE_SECRET: '1x00' }],
    ['TURNSTILE_SECRET', '1x00-in-both', { TURNSTILE_SITE_KEY: '1x00-in-both' }],
    ['TURNSTILE_SITE_KEY', '1x\u000700', { TURNSTILE_SECRET: '1x00' }],
    ['TURNSTILE_SITE_KEY', 'x'.repeat(4097), { TURNSTILE_SECRET: '1x00' }],
    ['EMAIL_CODE_SIGNIN', 'yes'],
    ['EMAIL_CODE_SIGNIN', ''],
    [
      'MAIL_FROM',
      undefined,
      { EMAIL_CODE_SIGNIN: 'on', RESEND_API_KEY: undefined, EMAIL_VERIFICATION: undefined },
    ],
    ['CLIENT_METADATA', 'yes'],
    ['CLIENT_METADATA', ''],
    ...[
      'evil',
      '*.evil.example',
      'https://evil.example',
      'http://evil.example/app',
      'https://evil.example/',
      'https://evil.example/app?of=1',
      'https://evil.example/app#one',
      'https://evil.example:8443/app',
      'https://evil.example./app',
      'evil.example/app',
      ',',
    ].map((value): [string, string] => ['CLIENT_METADATA_BLOCKED', value]),
    ['OPENID_KEYS', undefined, { CLIENT_METADATA: 'on' }],
    ...[
      'smtp://mail.people.test:587',
      'smtp://127.0.0.1',
      'https://mail.people.test',
      'smtps://mail.people.test/inbox',
      'smtps://mail.people.test:25',
      'smtps://ada:secret@bücher.test',
      'smtps://mail.people.test:587',
      'smtps://mail.people.test:0',
      'smtp://127.0.0.1:0',
      'smtps://ada@mail.people.test',
      'smtps://ada:100%@mail.people.test',
      'smtps://ada:line%0abreak@mail.people.test',
    ].map((value): [string, string, object] => [
      'SMTP_URL',
      value,
      { RESEND_API_KEY: undefined, OUTBOUND_LOCAL: 'on' },
    ]),
    ['SMTP_URL', 'smtp://127.0.0.1:2525', { RESEND_API_KEY: undefined }],
    ['SMTP_URL', 'smtps://mail.people.test'],
    ['MAIL_FROM', undefined, { SMTP_URL: 'smtps://mail.people.test', RESEND_API_KEY: undefined }],
    ['OUTBOUND_LOCAL', 'yes'],
    ['OUTBOUND_LOCAL', 'on', { ISSUER: 'https://roster.example', PASSWORD_HASHES: undefined }],
    ['IDENTITY_PROVIDERS', '[{"id":"corp","kind":"oidc"}]'],
    ['IDENTITY_PROVIDER', '[{"id":"corp","kind":"oidc"}]'],
    ['COOKIE_ORIGINS', 'https://*.corp.example'],
    ['SIGNUP_DOMAINS', ' , ,', { EMAIL_VERIFICATION: 'required' }],
    ['TRUSTED_PROXY_SECRET', ' '],
    ['LINK_ORIGIN', 'http://localhost:8787', { ISSUER: 'https://roster.test' }],
    ['LINK_ORIGIN', 'https://roster.test', { ISSUER: 'http://localhost:8787', PASSWORD_HASHES: undefined }],
  ]

  test.each(unfit)(
    '%s=%s answers 503 everywhere but for /health, by name and without the value',
    async (name, value, others) => {
      const broken = openApi({ [name]: value, ...others })
      expect(() => broken.config()).toThrow(
        expect.objectContaining({
          names: [name],
          // What is wrong, what to write, and where to read about it.
          sentences: expect.arrayContaining([
            expect.stringMatching(
              new RegExp(
                `^${name} (is|has|can|repeats|proves) .+\\. Write .+\\. Locally it is in \\.dev\\.vars`,
              ),
            ),
          ]),
        }),
      )
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

  test('is named together with all others', async () => {
    const nothing = openApi(Object.fromEntries(required.map((name) => [name, undefined])))
    const answer = await nothing.send('GET', '/v1/users/me')
    expect(answer.body.detail).toBe(`Settings missing or unfit: ${required.sort().join(', ')}`)
  })

  test('is explained in the log, a sentence each', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
    await openApi({ SIGNUP_DOMAIN: 'corp.example' }).send('GET', '/v1/users/me')
    expect(String(logged.mock.calls)).toContain('SIGNUP_DOMAIN is not a setting. Write SIGNUP_DOMAINS, or')
  })

  test.for([
    [
      'smtps://mail.people.test:587',
      'has port 587, where a connection begins in the clear: 465 is the one for TLS.',
    ],
    [
      'smtps://mail.people.test:25',
      'has port 25, where a connection begins in the clear: 465 is the one for TLS.',
    ],
    ['smtps://mail.people.test:0', 'has port 0, where nothing answers: 465 is the one for TLS.'],
    ['smtps://ada:p%0d%0a@mail.people.test', 'has a line break or a NUL in its name or password.'],
    ['smtps://ada:100%@mail.people.test', 'has a % in its name or password that is not written as %25.'],
  ] as const)('is explained for SMTP_URL: %s', ([SMTP_URL, sentence]) => {
    expect(() => openApi({ SMTP_URL, RESEND_API_KEY: undefined }).config()).toThrow(
      expect.objectContaining({ sentences: [expect.stringContaining(`SMTP_URL ${sentence}`)] }),
    )
  })

  test('is not what keys:generate makes, nor another strong key, nor a name unlike all settings', () => {
    const hex = [...crypto.getRandomValues(new Uint8Array(32))]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')
    const made = Array.from({ length: 500 }, newSecret)
    for (const SECRET_KEYS of [...made, hex, `${hex.slice(0, 40)}/+${newSecret()}=`]) {
      expect(openApi({ SECRET_KEYS }).config().keys.cursor.length).toBeGreaterThan(0)
    }
    const fine = {
      TEAM: 'A',
      MAIL_FROM: '"Roster, here" <roster@people.test>',
      ISSUER: 'http://localhost:8787',
      PASSWORD_HASHES: 'full',
      UPSTASH_REDIS_REST_URL: 'http://[::1]:80',
    }
    expect(openApi(fine).config().ISSUER).toBe('http://localhost:8787')
  })

  test('is not EMAIL_VERIFICATION: with mail or domains it is required by default', () => {
    const verification = (bindings: object) =>
      openApi({ EMAIL_VERIFICATION: undefined, ...bindings }).config().EMAIL_VERIFICATION
    expect(verification({})).toBe('required')
    expect(verification({ SIGNUP_DOMAINS: 'people.test' })).toBe('required')
    expect(verification({ MAIL_FROM: undefined, RESEND_API_KEY: undefined })).toBe('optional')
  })
})

describe('SC1: JWT_KEYS that cannot sign lead to a 503, never a 401, and are never published', () => {
  const [key] = JSON.parse(JWT_KEYS).keys
  const alter = (text: string) => (text.startsWith('A') ? `B${text.slice(1)}` : `A${text.slice(1)}`)
  const unusable = {
    'a point off the curve': async () => [{ ...key, x: alter(key.x) }],
    'd of another key': async () => [{ ...key, d: (await newJwk()).d }],
    'd zero': async () => [{ ...key, d: 'A'.repeat(43) }],
    'a second key that cannot': async () => [key, { ...(await newJwk()), d: key.d }],
    'use enc': async () => [{ ...key, use: 'enc' }],
    'use enc beside one that signs': async () => [key, { ...(await newJwk()), use: 'enc' }],
  }

  test.each(Object.entries(unusable))('%s', async (_, keys) => {
    const ada = await api.quickActor()
    vi.spyOn(console, 'error').mockImplementation(() => {})
    const corrupt = openApi({ JWT_KEYS: JSON.stringify({ keys: await keys() }) })
    const answers = [
      await corrupt.send('GET', '/ready'),
      await corrupt.send('GET', '/.well-known/jwks.json'),
      await corrupt.send('GET', '/v1/users/me', { token: ada.token }),
      await corrupt.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: ada.refreshToken } }),
    ]
    expect(answers.map(({ status, body }) => [status, body.code])).toEqual(
      Array(4).fill([503, 'misconfigured']),
    )
    expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
  })
})

test('CK1: public keys are published, private ones are not', async () => {
  const second = await newJwk()
  const keys = JSON.stringify({ keys: [...JSON.parse(JWT_KEYS).keys, second] })
  const both = openApi({ JWT_KEYS: keys, OPENID_KEYS: undefined })
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

test('CK1: a key that is not for signing verifies nothing', async () => {
  const config = api.config()
  const { token } = await api.quickActor()
  const verifying = config.JWT_KEYS.verifying.map((key) => ({ ...key, use: 'enc' }))
  const verifier = { ...config, JWT_KEYS: { ...config.JWT_KEYS, verifying } }
  await expect(verifyAccessToken(token, verifier, Date.now())).rejects.toMatchObject({ status: 401 })
  expect(await verifyAccessToken(token, config, Date.now())).toHaveProperty('sub')
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

  test('in three steps that nobody notices, neither signed-in users nor those who verify with the published keys', async () => {
    const openIdKeys = api.config().OPENID_KEYS!.verifying.length
    const ada = await api.actor()
    const published = await next('publish', secrets)
    const signing = await next('sign', published)
    const retired = await next('retire', signing)
    let { token, refreshToken } = ada
    let cachedKeys = (await api.send<JSONWebKeySet>('GET', '/.well-known/jwks.json')).body
    for (const step of [published, signing, retired]) {
      const at = openApi(step)
      // A token issued one step earlier is valid in this step …
      expect(await statusAt(at, token)).toBe(200)
      const refreshed = await refreshAt(at, refreshToken)
      expect(refreshed.status).toBe(200)
      ;({ access_token: token, refresh_token: refreshToken } = refreshed.body)
      expect(await statusAt(at, token)).toBe(200)
      // … and others can verify a token issued in this step with the keys published one step earlier.
      await jwtVerify(token, createLocalJWKSet(cachedKeys), { audience: 'roster' })
      cachedKeys = (await at.send<JSONWebKeySet>('GET', '/.well-known/jwks.json')).body
    }
    expect(cachedKeys.keys).toHaveLength(1 + openIdKeys)
    const at = openApi(retired)
    expect(await statusAt(at, ada.token)).toBe(401)
    expect((await refreshAt(at, (await api.signIn(ada)).refreshToken)).body).toMatchObject({
      code: 'invalid_refresh_token',
    })
  })

  test('at once, in an emergency: tokens of the old key are void, and sessions continue', async () => {
    const ada = await api.actor()
    const at = openApi({ JWT_KEYS: JSON.stringify({ keys: [await newJwk()] }) })
    expect(await statusAt(at, ada.token)).toBe(401)
    const refreshed = await refreshAt(at, ada.refreshToken)
    expect(await statusAt(at, refreshed.body.access_token)).toBe(200)
    expect(await statusAt(api, refreshed.body.access_token)).toBe(401)
  })
})

test('CK3: secrets never come from Math.random, and MACs are compared in constant time', () => {
  const sources = import.meta.glob<string>('../src/**/*.{ts,tsx}', {
    query: '?raw',
    import: 'default',
    eager: true,
  })
  expect(Object.keys(sources).length).toBeGreaterThan(30)
  const filesWith = (pattern: RegExp) => Object.keys(sources).filter((file) => pattern.test(sources[file]!))
  // To spread out retries.
  expect(filesWith(/Math\.random/)).toEqual([
    '../src/database/deliveries.ts',
    '../src/database/main.ts',
    '../src/webhooks/protocol.ts',
  ])
  expect(
    filesWith(/\b(mac|macOf\([^)]*\)|digest|secret|password_hash)\s*[!=]==?\s(?!undefined|null)/i),
  ).toEqual([])
})
