import { afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import type { Tokens } from '../../src/auth/schemas.ts'
import { parseJwtKeys } from '../../src/crypto/jwt-keys.ts'
import { type Claims, signAccessToken, verifyAccessToken } from '../../src/sessions/access-tokens.ts'
import { type Actor, openApi, PASSWORD } from '../support/api.ts'

const api = openApi()
const config = api.config()
const privateKey = JSON.parse(inject('bindings').JWT_KEYS!).keys[0] as JsonWebKey & { kid: string }
const { d: _, ...publicKey } = privateKey

let ada: Actor
let good: { header: Record<string, unknown>; claims: Claims & { iss: string; aud: string } }
beforeAll(async () => {
  ada = await api.actor()
  const [header, claims] = ada.token.split('.').slice(0, 2).map(decode)
  good = { header: header!, claims: claims as typeof good.claims }
})
afterEach(() => void vi.useRealTimers())

/** A token signed with the real key: valid except for what the test changes. `undefined` removes a member. */
async function mint(
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  sign: (text: string) => Promise<string> | string = signEs256,
): Promise<string> {
  const text = [
    { ...good.header, ...header },
    { ...good.claims, ...claims },
  ]
    .map(encode)
    .join('.')
  return `${text}.${await sign(text)}`
}

test('A token that this file makes is valid if nothing in it is changed', async () => {
  expect(await statusOf(await mint())).toBe(200)
})

describe('AT1: the algorithm is ours, never the header’s', () => {
  const hmac = (key: BufferSource) => async (text: string) => {
    const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, [
      'sign',
    ])
    return base64url(await crypto.subtle.sign('HMAC', imported, bytes(text)))
  }
  const withFreshKey = (algorithm: object) => async (text: string) => {
    const pair = (await crypto.subtle.generateKey(algorithm as never, true, [
      'sign',
      'verify',
    ])) as CryptoKeyPair
    return base64url(await crypto.subtle.sign(algorithm as never, pair.privateKey, bytes(text)))
  }
  const rsa = {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  }
  const pem = async () => {
    const key = await crypto.subtle.importKey(
      'jwk',
      publicKey,
      { name: 'ECDSA', namedCurve: 'P-256' },
      true,
      ['verify'],
    )
    const der = (await crypto.subtle.exportKey('spki', key)) as ArrayBuffer
    return bytes(
      `-----BEGIN PUBLIC KEY-----\n${Buffer.from(der).toString('base64')}\n-----END PUBLIC KEY-----\n`,
    )
  }

  test.each<[string, string | undefined, (text: string) => Promise<string> | string]>([
    ['alg none with no signature', 'none', () => ''],
    ['alg None with no signature', 'None', () => ''],
    ['alg nOnE with no signature', 'nOnE', () => ''],
    ['alg es256', 'es256', signEs256],
    ['ES256 with no signature', 'ES256', () => ''],
    ['alg none with a good signature', 'none', signEs256],
    ['no alg with a good signature', undefined, signEs256],
    ['HS256 with the public JWK as secret', 'HS256', hmac(bytes(JSON.stringify(publicKey)))],
    ['HS256 with the x coordinate as secret', 'HS256', hmac(Buffer.from(publicKey.x!, 'base64url'))],
    ['HS256 with the PEM as secret', 'HS256', async (text) => hmac(await pem())(text)],
    ['RS256 with a key of its own', 'RS256', withFreshKey(rsa)],
    ['ES384', 'ES384', withFreshKey({ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' })],
    [
      'ES256 with a key of its own',
      'ES256',
      withFreshKey({ name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }),
    ],
    ['EdDSA', 'EdDSA', withFreshKey({ name: 'Ed25519' })],
    ['a signature of zeros', 'ES256', () => 'A'.repeat(86)],
  ])('%s is refused', async (_, alg, sign) => {
    await expectRefused(await mint({}, { alg }, sign))
  })
})

describe('AT2: the verifier only depends on token, keys and time', () => {
  const at = () => good.claims.iat * 1000

  test.each([
    ['nothing', () => ''],
    ['two dots', () => '..'],
    ['two parts', (token: string) => token.split('.').slice(0, 2).join('.')],
    ['four parts', (token: string) => `${token}.x`],
    ['five parts', (token: string) => `${token}.x.y`],
    ['a flipped bit of the signature', (token: string) => flip(token, 2)],
    ['a flipped bit of the payload', (token: string) => flip(token, 1)],
    ['a flipped bit of the header', (token: string) => flip(token, 0)],
    ['the JSON serialisation', (token: string) => jsonSerialisation(token)],
    ['more than 2048 characters', (token: string) => `${token}${'A'.repeat(2048)}`],
  ])('and refuses %s', async (_, change) => {
    await expect(verifyAccessToken(ada.token, config, at())).resolves.toMatchObject({ sub: ada.id })
    const refusal = verifyAccessToken(change(ada.token), config, at())
    await expect(refusal).rejects.toMatchObject({ status: 401, code: 'invalid_token' })
  })

  const key = { ...privateKey }
  test.each<[string, unknown]>([
    ['with a kid twice', { keys: [key, key] }],
    ['of no key', { keys: [] }],
    ['mixed with a symmetric key', { keys: [key, { kty: 'oct', k: 'AAAA', kid: 'symmetric' }] }],
    ['mixed with an RSA key', { keys: [key, { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'rsa-key-1' }] }],
    ['of a public key', { keys: [{ ...key, d: undefined }] }],
    ['of a key for encryption', { keys: [{ ...key, use: 'enc' }] }],
    ['of another curve', { keys: [{ ...key, crv: 'P-384' }] }],
    ['without a kid', { keys: [{ ...key, kid: undefined }] }],
    ['that is a bare key', key],
  ])('and a key set %s is invalid', (_, set) => {
    expect(() => parseJwtKeys(JSON.stringify(set))).toThrow()
    expect(parseJwtKeys(JSON.stringify({ keys: [key] })).verifying).toHaveLength(1)
  })
})

describe('AT3: no key is taken from a header, and a kid is a plain look-up', () => {
  test.each<[string, Record<string, unknown>]>([
    ['jwk', { jwk: publicKey }],
    ['jku', { jku: 'http://127.0.0.1:9/jwks.json' }],
    ['x5u', { x5u: 'http://127.0.0.1:9/key.pem' }],
    ['x5c', { x5c: ['MIIB'] }],
    ['x5t', { x5t: 'AAAA' }],
    ['an unknown crit', { crit: ['exp'], exp: 1 }],
    ['an empty crit', { crit: [] }],
    ['b64', { b64: false, crit: ['b64'] }],
    ['b64 without crit', { b64: false }],
    ...[
      '../k',
      `${publicKey.kid} `,
      publicKey.kid.toUpperCase(),
      "' OR 1=1 --",
      '__proto__',
      'constructor',
    ].map((kid) => [`kid ${kid}`, { kid }] as [string, Record<string, unknown>]),
    ['a kid of 10 KB', { kid: 'k'.repeat(10_240) }],
    ['a kid that is no string', { kid: [publicKey.kid] }],
    ['no kid', { kid: undefined }],
    ['the name of the signing entry', { kid: 'signing' }],
  ])('%s', async (_, header) => {
    await expectRefused(await mint({}, header))
  })
})

describe('AT4: every claim is present and correct, and a token lives ten minutes', () => {
  const HOUR = 3600
  const now = () => good.claims.iat

  test.each<[string, () => Record<string, unknown>]>([
    ...[
      'iss',
      'aud',
      'sub',
      'sid',
      'jti',
      'iat',
      'exp',
      'role',
      'epoch',
      'auth_time',
      'amr',
      'client_id',
    ].map((name) => [`no ${name}`, () => ({ [name]: undefined })] as [string, () => Record<string, unknown>]),
    ['exp that is text', () => ({ exp: String(good.claims.exp) })],
    ['exp that is a fraction', () => ({ exp: good.claims.exp - 0.5 })],
    ['exp below zero', () => ({ exp: -1 })],
    ['exp beyond all numbers', () => ({ exp: 'INFINITY' })],
    ['exp in ten years', () => ({ exp: now() + 87_600 * HOUR })],
    ['a life of 601 seconds', () => ({ exp: now() + 601 })],
    ['iat in an hour', () => ({ iat: now() + HOUR, exp: now() + HOUR + 600 })],
    ['nbf in an hour', () => ({ nbf: now() + HOUR })],
    ['iat that is text', () => ({ iat: String(now()) })],
    ['a role that is none', () => ({ role: 'root' })],
    ['a list of roles', () => ({ role: ['admin'] })],
    ['an epoch below zero', () => ({ epoch: -1 })],
    ['sub that is no id', () => ({ sub: '1' })],
  ])('%s is refused', async (_, claims) => {
    const change = claims()
    const token = await mint(change)
    // JSON.stringify cannot write 1e400, which JSON.parse reads as Infinity.
    await expectRefused(change.exp === 'INFINITY' ? await resign(token, '"INFINITY"', '1e400') : token)
  })

  test.each<[string, Record<string, unknown>]>([
    ['an epoch to come', { epoch: 1 }],
    ['nobody', { sub: crypto.randomUUID() }],
    ['no session', { sid: crypto.randomUUID() }],
  ])('a genuine token that names %s is refused by the database', async (_, claims) => {
    // Redis, libSQL and the primary, as a replica may not know the session yet.
    await expectRefused(await mint(claims), 3)
  })

  test('clocks may differ by thirty seconds, and by no more', async () => {
    for (const [offset, status] of [
      [29, 200],
      [61, 401],
    ] as const) {
      const early = { iat: now() + offset, exp: now() + offset + 600 }
      const late = { iat: now() - 600 - offset, exp: now() - offset }
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.setSystemTime(now() * 1000)
      expect([await statusOf(await mint(early)), await statusOf(await mint(late))]).toEqual([status, status])
      vi.useRealTimers()
    }
  })
})

describe('AT5: no token can be used in place of another kind', () => {
  test('and every place only accepts its own kind', async () => {
    const eve = await api.actor()
    const cursor = 'eyJhIjoxfQ'
    const tokens = {
      access: eve.token,
      refresh: eve.refreshToken,
      cursor,
      jwt: await mint({}, { typ: 'JWT' }),
      untyped: await mint({}, { typ: undefined }),
      idToken: await mint({}, { typ: 'id+jwt' }),
      nested: await mint({}, { cty: 'JWT', typ: 'application/jwt' }),
    }
    const passes = async (kind: string, token: string) => [
      `${kind} as bearer: ${(await api.send('GET', '/v1/users/me', { token })).status}`,
      `${kind} as refresh token: ${(await refresh(token)).status}`,
    ]
    const seen = []
    for (const [kind, token] of Object.entries(tokens)) seen.push(...(await passes(kind, token)))
    expect(seen.filter((line) => line.endsWith('200'))).toEqual([
      'access as bearer: 200',
      'refresh as refresh token: 200',
    ])
    expect(seen.filter((line) => /401|422/.test(line))).toHaveLength(2 * Object.keys(tokens).length - 2)
  })
})

describe('AT6: a token is from us, and for us', () => {
  const { ISSUER, AUDIENCE } = config
  test.each<[string, Record<string, unknown>]>([
    ['another issuer', { iss: 'http://evil.test' }],
    ['the issuer with a slash', { iss: `${ISSUER}/` }],
    ['the issuer in capitals', { iss: ISSUER.toUpperCase() }],
    ['the beginning of the issuer', { iss: ISSUER.slice(0, -1) }],
    ['a list with the issuer', { iss: [ISSUER] }],
    ['another audience', { aud: 'payroll' }],
    ['the audience in capitals', { aud: AUDIENCE.toUpperCase() }],
    ['the audience and more', { aud: `${AUDIENCE}-2` }],
    ['a list with the audience', { aud: [AUDIENCE] }],
    ['a list with the audience and another', { aud: [AUDIENCE, 'payroll'] }],
    ['no audience but an empty one', { aud: '' }],
  ])('%s', async (_, claims) => {
    await expectRefused(await mint(claims))
    const gone = await api.send('POST', '/v1/auth/logout', {
      token: await mint({ ...claims, iat: good.claims.iat - 7200, exp: good.claims.exp - 7200 }),
    })
    expect(gone.status).toBe(401)
  })
})

describe('AT7: a token can be sent in one way only', () => {
  test.each<[string, (token: string) => string]>([
    ['Basic', (token) => `Basic ${token}`],
    ['no scheme', (token) => token],
    ['an empty token', () => 'Bearer '],
    ['a comma and another', (token) => `Bearer ${token}, Bearer ${token}`],
    ['two spaces', (token) => `Bearer  ${token}`],
    ['a tab', (token) => `Bearer\t${token}`],
    ['quotes', (token) => `Bearer "${token}"`],
    ['something after it', (token) => `Bearer ${token} x`],
    ['a scheme before it', (token) => `Basic x, Bearer ${token}`],
    ['60 KB', () => `Bearer ${'A'.repeat(60_000)}`],
    ['60 KB with dots', () => `Bearer ${'A.'.repeat(30_000)}`],
    ['nonsense', () => 'Bearer x'],
    ['the scheme alone', () => 'Bearer'],
  ])('not with %s', async (_, header) => {
    const answer = await api.send('GET', '/v1/users/me', { headers: { authorization: header(ada.token) } })
    expect(answer.status).toBe(401)
  })

  test('and nowhere except in the header', async () => {
    const query = await api.send('GET', `/v1/users/me?access_token=${ada.token}`)
    const cookie = await api.send('GET', '/v1/users/me', { headers: { cookie: `access_token=${ada.token}` } })
    const body = await api.send('PATCH', '/v1/users/me', { body: { access_token: ada.token, name: 'Eve' } })
    expect([query, cookie, body].map(({ body }) => body.code)).toEqual(Array(3).fill('unauthenticated'))
    const anyCase = await api.send('GET', '/v1/users/me', {
      headers: { authorization: `bEARER ${ada.token}` },
    })
    expect(anyCase.status).toBe(200)
  })
})

describe('AT8: the content of a token', () => {
  test('does not outlive a logout in any other spelling', async () => {
    const eve = await api.actor()
    const spellings = [
      eve.token,
      mirrored(eve.token),
      ...lastCharacters(eve.token),
      `${eve.token}==`,
      `${eve.token} `,
    ]
    await api.send('POST', '/v1/auth/logout', { token: eve.token })
    for (const token of spellings) expect(await statusOf(token)).toBe(401)
    for (const token of spellings) expect(await statusOf(`${token}\t`)).toBe(401)
  })

  test('is nothing personal', async () => {
    const eve = await api.actor({ name: 'Marked Name', email: `marked.${crypto.randomUUID()}@people.test` })
    const claims = decode(eve.token.split('.')[1]!)
    expect(Object.keys(claims).sort()).toEqual(
      [
        'amr',
        'aud',
        'auth_time',
        'client_id',
        'epoch',
        'exp',
        'iat',
        'iss',
        'jti',
        'role',
        'sid',
        'sub',
      ].sort(),
    )
    expect(JSON.stringify(claims)).not.toMatch(/marked|@/i)
  })

  test('has an id that is never reused, not even for the same address', async () => {
    const email = `${crypto.randomUUID()}@people.test`
    const signUp = () =>
      api.send('POST', '/v1/auth/signup', { body: { email, password: PASSWORD, name: 'Ada' } })
    const first = await signUp()
    const { token } = await api.signIn({ id: first.body.id as string })
    await api.send('DELETE', '/v1/users/me', { token, body: { password: PASSWORD } })
    const second = await signUp()
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.body.id).not.toBe(first.body.id)
    expect(await statusOf(token)).toBe(401)
  })
})

/** Most are detected without any call, above all without asking somebody whom the token names. */
async function expectRefused(token: string, questions = 0) {
  const fetched = vi.spyOn(globalThis, 'fetch')
  const answer = await api.send('GET', '/v1/users/me', { token })
  expect([answer.status, answer.body.code]).toEqual([401, 'invalid_token'])
  expect(fetched).toHaveBeenCalledTimes(questions)
  fetched.mockRestore()
}
const statusOf = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status
const refresh = (token: string) =>
  api.send<Tokens>('POST', '/v1/auth/refresh_token', { body: { refresh_token: token } })

const bytes = (text: string) => new TextEncoder().encode(text)
const base64url = (value: ArrayBuffer | string) =>
  Buffer.from(typeof value === 'string' ? bytes(value) : new Uint8Array(value)).toString('base64url')
const encode = (value: object) => base64url(JSON.stringify(value))
const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, 'base64url').toString())

async function signEs256(text: string) {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('jwk', privateKey, algorithm, false, ['sign'])
  return base64url(await crypto.subtle.sign(algorithm, key, bytes(text)))
}

/** The token with a replacement in the text of its claims, signed again. */
async function resign(token: string, from: string, to: string) {
  const [header, claims] = token.split('.') as [string, string]
  const text = `${header}.${base64url(Buffer.from(claims, 'base64url').toString().replace(from, to))}`
  return `${text}.${await signEs256(text)}`
}

function flip(token: string, part: number): string {
  const parts = token.split('.')
  const raw = Buffer.from(parts[part]!, 'base64url')
  raw[10]! ^= 1
  return parts.with(part, raw.toString('base64url')).join('.')
}

function jsonSerialisation(token: string): string {
  const [protectedHeader, payload, signature] = token.split('.')
  return JSON.stringify({ protected: protectedHeader, payload, signature })
}

/** An ECDSA signature has a second form: (r, n − s) is as valid as (r, s). */
function mirrored(token: string): string {
  const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const [header, claims, signature] = token.split('.')
  const hex = Buffer.from(signature!, 'base64url').toString('hex')
  const s = (N - BigInt(`0x${hex.slice(64)}`)).toString(16).padStart(64, '0')
  return `${header}.${claims}.${Buffer.from(hex.slice(0, 64) + s, 'hex').toString('base64url')}`
}

/** The last of 86 characters has four unused bits: all of these decode to the same bytes. */
const lastCharacters = (token: string) =>
  [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
    .map((last) => token.slice(0, -1) + last)
    .filter((other) => other !== token && decodesAlike(other, token))
const decodesAlike = (one: string, other: string) =>
  Buffer.from(one.split('.')[2]!, 'base64url').equals(Buffer.from(other.split('.')[2]!, 'base64url'))

test('AT4: a token that was valid a moment ago is checked again: it expires in time, and not before', async () => {
  const now = Date.now()
  const subject = {
    userId: crypto.randomUUID(),
    sessionId: crypto.randomUUID(),
    role: 'user',
    epoch: 0,
  } as const
  const token = await signAccessToken(config, now, { ...subject, authenticatedAt: now })
  const verifyAfter = (seconds: number) => verifyAccessToken(token, config, now + seconds * 1000)
  expect((await verifyAfter(0)).sub).toBe(subject.userId)
  expect((await verifyAfter(629)).sub).toBe(subject.userId)
  await expect(verifyAfter(631)).rejects.toMatchObject({ code: 'invalid_token' })
  await expect(verifyAfter(-32)).rejects.toMatchObject({ code: 'invalid_token' })
  expect((await verifyAfter(1)).sub).toBe(subject.userId)
})
