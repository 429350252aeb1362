import { createHmac } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, importJWK, type JWK } from 'jose'
import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { parseJwtKeys } from '../../src/crypto/jwt-keys.ts'
import { keyPrefixOf } from '../../src/database/redis.ts'
import { ACCESS_TOKEN_SECONDS, type Verifier, verifyAccessToken } from '../../src/sessions/access-tokens.ts'
import { makeRefreshToken } from '../../src/sessions/refresh-tokens.ts'
import { openApi } from '../support/api.ts'

/*
 * What RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (JWT best current practice), RFC 9068 (JWT access tokens) and the
 * advisories of recent years warn about, one row each. A row differs from a valid token only in what it names. All
 * but the first groups are signed with our own key, so they are refused by the check, not because of the signature.
 */

const api = openApi()
const NOW = Math.floor(Date.now() / 1000)

type Json = Record<string, unknown>
type Bytes = Uint8Array<ArrayBuffer>
const bytesOf = (text: string): Bytes => new TextEncoder().encode(text) as Bytes
const b64 = (value: string | Uint8Array) => Buffer.from(value).toString('base64url')

/** Two keys of ours, and a foreign one. */
const newKey = async (kid: string) => {
  const pair = await generateKeyPair('ES256', { extractable: true })
  return { ...(await exportJWK(pair.privateKey)), alg: 'ES256', use: 'sig', kid }
}
const [first, second, foreign] = [
  await newKey('first-key'),
  await newKey('second-key'),
  await newKey('first-key'),
]
const verifier: Verifier = {
  JWT_KEYS: parseJwtKeys(JSON.stringify({ keys: [first, second] })),
  ISSUER: 'https://roster.test',
  AUDIENCE: 'roster',
}
const publicOf = ({ d: _, ...key }: JWK): JWK => key

const HEADER: Json = { alg: 'ES256', typ: 'at+jwt', kid: 'first-key' }
const CLAIMS: Json = {
  iss: verifier.ISSUER,
  aud: verifier.AUDIENCE,
  sub: uuidv7(),
  sid: uuidv7(),
  jti: uuidv7(),
  iat: NOW,
  exp: NOW + ACCESS_TOKEN_SECONDS,
  role: 'user',
  epoch: 0,
  auth_time: NOW,
  amr: ['pwd'],
  client_id: 'roster',
}
/** A valid header with some members changed; `undefined` removes a member. */
const header = (patch: Json = {}) => JSON.stringify({ ...HEADER, ...patch })
const claims = (patch: Json = {}) => JSON.stringify({ ...CLAIMS, ...patch })
/** JSON in which a member has a value that JSON.stringify would not write. */
const literal = (name: string, value: string) => claims({ [name]: '☃' }).replace('"☃"', value)

async function signatureOf(input: string, key: JWK = first): Promise<Bytes> {
  const imported = (await importJWK(key, 'ES256')) as CryptoKey
  return new Uint8Array(
    await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, imported, bytesOf(input)),
  )
}
/** Signs exactly this text as the first two parts, whatever it is. */
const signParts = async (head: string, body: string, key?: JWK) =>
  `${head}.${body}.${b64(await signatureOf(`${head}.${body}`, key))}`
const sign = (head: string | Uint8Array = header(), body: string | Uint8Array = claims(), key?: JWK) =>
  signParts(b64(head), b64(body), key)
const withHeader = (patch: Json) => () => sign(header(patch))
const withClaims = (patch: Json) => () => sign(header(), claims(patch))

/** A valid token with another signature, derived from the right one. */
const withSignature = (change: (signature: Bytes) => Uint8Array) => async () => {
  const [head, body, signature] = (await sign()).split('.') as [string, string, string]
  return `${head}.${body}.${b64(change(new Uint8Array(Buffer.from(signature, 'base64url'))))}`
}
const withText = (change: (token: string) => string) => async () => change(await sign())
const withPart = (index: number, change: (part: string) => string) =>
  withText((token) =>
    token
      .split('.')
      .map((part, i) => (i === index ? change(part) : part))
      .join('.'),
  )

/** The order of P-256 (SEC 2 section 2.4.2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
const numberOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
const numberBytes = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
const rAndS = (change: (r: bigint, s: bigint) => [bigint, bigint]) =>
  withSignature((bytes) =>
    Buffer.concat(change(numberOf(bytes.subarray(0, 32)), numberOf(bytes.subarray(32))).map(numberBytes)),
  )
/** The mirrored signature: an ECDSA signature has two forms, and both are valid. */
const mirrored = rAndS((r, s) => [r, ORDER - s])

/** A token of another algorithm, correctly signed for it with a key that is not ours. */
const otherAlgorithm =
  (alg: string, params: SubtleCryptoGenerateKeyAlgorithm, signWith: SubtleCryptoSignAlgorithm) =>
  async () => {
    const pair = (await crypto.subtle.generateKey(params, true, ['sign', 'verify'])) as CryptoKeyPair
    const input = `${b64(header({ alg }))}.${b64(claims())}`
    return `${input}.${b64(new Uint8Array(await crypto.subtle.sign(signWith, pair.privateKey, bytesOf(input))))}`
  }
/** An HMAC with a secret that everybody knows. */
const hmac = (alg: string, secret: () => Promise<string | Uint8Array> | string | Uint8Array) => async () => {
  const input = `${b64(header({ alg }))}.${b64(claims())}`
  return `${input}.${createHmac(alg.replace('HS', 'sha'), await secret())
    .update(input)
    .digest('base64url')}`
}
const pem = async () => exportSPKI((await importJWK(publicOf(first), 'ES256')) as CryptoKey)
const coordinate = (name: 'x' | 'y') => Buffer.from(first[name]!, 'base64url')

const RSA = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }
const derSequence = (inner: Buffer) => Buffer.concat([Buffer.from([0x30, inner.length]), inner])
const derInteger = (value: bigint) => {
  const bytes = numberBytes(value)
  return Buffer.concat([Buffer.from([2, 33, 0]), bytes])
}

type Rows = Record<string, () => Promise<string> | string>

const UNSIGNED: Rows = {
  // RFC 8725 section 3.1 and 3.2, RFC 7515 section 8 and appendix A.5, RFC 7518 section 3.6; CVE-2015-9235.
  ...Object.fromEntries(
    ['none', 'None', 'NONE', 'nOnE', ''].flatMap((alg): [string, () => Promise<string>][] => [
      [`alg "${alg}" without a signature`, async () => `${b64(header({ alg }))}.${b64(claims())}.`],
      [`alg "${alg}" with the signature of ES256`, withHeader({ alg })],
    ]),
  ),
  'ES256 with the signature cut off': withPart(2, () => ''),
}

const WRONG_ALGORITHM: Rows = {
  // RFC 8725 section 2.1 and 3.1: the public key taken for the secret of an HMAC; CVE-2016-10555, CVE-2022-23540.
  'HS256 under the public key as JWK': hmac('HS256', () => JSON.stringify(publicOf(first))),
  'HS256 under the published JWK set': hmac('HS256', () =>
    JSON.stringify({ keys: verifier.JWT_KEYS.verifying }),
  ),
  'HS256 under the public key as PEM': hmac('HS256', pem),
  'HS256 under the PEM without its last line break': hmac('HS256', async () => (await pem()).trim()),
  'HS256 under the public key as DER': hmac('HS256', async () =>
    Buffer.from((await pem()).replace(/-----[^-]+-----|\s/g, ''), 'base64'),
  ),
  'HS256 under the point, uncompressed': hmac('HS256', () =>
    Buffer.concat([Buffer.from([4]), coordinate('x'), coordinate('y')]),
  ),
  'HS256 under x': hmac('HS256', () => coordinate('x')),
  'HS256 under y': hmac('HS256', () => coordinate('y')),
  'HS256 under x as text': hmac('HS256', () => first.x!),
  'HS256 under the kid': hmac('HS256', () => 'first-key'),
  'HS256 under nothing': hmac('HS256', () => ''),
  'HS512 under the public key as JWK': hmac('HS512', () => JSON.stringify(publicOf(first))),
  // RFC 8725 section 3.1: a key is for one algorithm.
  'RS256 under our kid': otherAlgorithm(
    'RS256',
    { name: 'RSASSA-PKCS1-v1_5', ...RSA },
    { name: 'RSASSA-PKCS1-v1_5' },
  ),
  'PS256 under our kid': otherAlgorithm(
    'PS256',
    { name: 'RSA-PSS', ...RSA },
    { name: 'RSA-PSS', saltLength: 32 },
  ),
  'ES384 under our kid': otherAlgorithm(
    'ES384',
    { name: 'ECDSA', namedCurve: 'P-384' },
    { name: 'ECDSA', hash: 'SHA-384' },
  ),
  'EdDSA under our kid': otherAlgorithm('EdDSA', { name: 'Ed25519' }, { name: 'Ed25519' }),
  'Ed25519 under our kid': otherAlgorithm('Ed25519', { name: 'Ed25519' }, { name: 'Ed25519' }),
  // RFC 7515 section 4.1.1 and 5.3: `alg` is there, a string, and compared letter by letter.
  ...Object.fromEntries(
    [
      'es256',
      'ES256 ',
      ' ES256',
      'ES256K',
      'ES384',
      'ES512',
      'HS256',
      'RS256',
      'dir',
      'ES256\u0000',
      ['ES256'],
      { ES256: 1 },
      256,
      true,
      null,
      undefined,
    ].map((alg) => [`our signature under alg ${JSON.stringify(alg)}`, withHeader({ alg })]),
  ),
  'our signature under ALG instead of alg (RFC 7515 section 10.13)': withHeader({
    alg: undefined,
    ALG: 'ES256',
  }),
}

const HEADER_MEMBERS: Rows = {
  // RFC 7515 section 4.1.2 to 4.1.8, RFC 8725 section 3.10; CVE-2018-0114: nothing is taken from the header, nor fetched.
  'jwk: a foreign key brought along': () => sign(header({ jwk: publicOf(foreign) }), claims(), foreign),
  'jwk: a foreign key, with its own kid': () =>
    sign(header({ jwk: publicOf(foreign), kid: 'theirs' }), claims(), foreign),
  'jwk: our own key': withHeader({ jwk: publicOf(first) }),
  'jwk: a private key': withHeader({ jwk: first }),
  'jku: keys from elsewhere': () => sign(header({ jku: 'https://evil.test/jwks.json' }), claims(), foreign),
  'jku: our own keys': withHeader({ jku: `${verifier.ISSUER}/.well-known/jwks.json` }),
  'jku: something inside': withHeader({ jku: 'http://169.254.169.254/latest/meta-data' }),
  'x5u: a certificate from elsewhere': () =>
    sign(header({ x5u: 'https://evil.test/cert.pem' }), claims(), foreign),
  'x5c: a certificate brought along': () => sign(header({ x5c: ['MIIB'] }), claims(), foreign),
  'x5t: a thumbprint': withHeader({ x5t: b64('x'.repeat(20)) }),
  'x5t#S256: a thumbprint': withHeader({ 'x5t#S256': b64('x'.repeat(32)) }),
  // RFC 7515 section 4.1.11: what is critical and not understood is refused, and so is a `crit` that is malformed.
  'crit: unknown': withHeader({ crit: ['exp2'], exp2: 1 }),
  'crit: names what is not there': withHeader({ crit: ['absent'] }),
  'crit: names a registered member': withHeader({ crit: ['alg'] }),
  'crit: empty': withHeader({ crit: [] }),
  'crit: a string': withHeader({ crit: 'exp' }),
  'crit: null': withHeader({ crit: null }),
  // RFC 7797: an unencoded payload.
  'b64: false': withHeader({ b64: false }),
  'b64: false, critical': withHeader({ b64: false, crit: ['b64'] }),
  'b64: true': withHeader({ b64: true, crit: ['b64'] }),
  // RFC 8725 section 3.6; RFC 7519 section 5.2: nothing is unpacked, no token stands in another.
  'zip: DEF': withHeader({ zip: 'DEF' }),
  'cty: JWT': withHeader({ cty: 'JWT' }),
  'a token inside a token': async () => sign(header({ cty: 'JWT' }), await sign()),
  'a token as the payload': async () => sign(header(), await sign()),
  'enc: a member of JWE': withHeader({ enc: 'A128GCM' }),
  'claims repeated in the header (RFC 7519 section 5.3)': withHeader({ iss: verifier.ISSUER, aud: 'roster' }),
  'a member that nobody knows': withHeader({ note: 'x' }),
  '__proto__ with everything': () => sign(`{"__proto__":${header()}}`),
  '__proto__ with a kid': () =>
    sign(header({ kid: undefined }).replace('{', '{"__proto__":{"kid":"first-key"},')),
}

const KINDS: Rows = {
  // RFC 8725 section 3.11 and 3.12, RFC 9068 section 2.1 and 4: at+jwt or application/at+jwt, and nothing else.
  ...Object.fromEntries(
    [
      'JWT',
      'jwt',
      'application/jwt',
      'at+jwt ',
      ' at+jwt',
      'at+jwt;v=1',
      'at jwt',
      'text/at+jwt',
      'application/application/at+jwt',
      'application/',
      'id+jwt',
      'logout+jwt',
      'secevent+jwt',
      'dpop+jwt',
      'JOSE',
      '',
      ['at+jwt'],
      null,
      1,
      undefined,
    ].map((typ) => [`typ ${JSON.stringify(typ)}`, withHeader({ typ })]),
  ),
  'typ in the payload only': () => sign(header({ typ: undefined }), claims({ typ: 'at+jwt' })),
  'TYP instead of typ': withHeader({ typ: undefined, TYP: 'at+jwt' }),
  'a refresh token': () => makeRefreshToken([new Uint8Array(32)], uuidv7(), 0),
}

const KEYS: Rows = {
  // RFC 8725 section 3.1 and 3.10, RFC 7515 section 4.1.4 and appendix D.
  'another key under our kid': () => sign(header(), claims(), foreign),
  'our second key under the kid of the first': () => sign(header(), claims(), second),
  'our first key under the kid of the second': withHeader({ kid: 'second-key' }),
  ...Object.fromEntries(
    [
      undefined,
      null,
      0,
      true,
      ['first-key'],
      [['first-key']],
      { kid: 'first-key' },
      '',
      'FIRST-KEY',
      'first-key ',
      ' first-key',
      'first-key\u0000',
      'unknown',
      'signing',
      'kid:first-key',
      '__proto__',
      'constructor',
      'toString',
      '../../../../dev/null',
      '/dev/null',
      'file:///etc/passwd',
      'https://evil.test/key',
      "' UNION SELECT 'x' --",
      "x'; DROP TABLE users; --",
      '$(id)',
      '*',
      'k'.repeat(1000),
    ].map((kid) => [`kid ${JSON.stringify(kid)?.slice(0, 40)}`, withHeader({ kid })]),
  ),
  'kid of 10 KB': withHeader({ kid: 'k'.repeat(10_240) }),
}

const padded = (part: string) => part.padEnd(Math.ceil(part.length / 4) * 4, '=')
const utf16 = (text: string) => Buffer.from(text, 'utf16le')
const flattened = ([protectedHeader, payload, signature]: string[]) => ({
  payload,
  protected: protectedHeader,
  signature,
})

const ENCODINGS: Rows = {
  // RFC 7515 section 2, 5.2 and appendix C: base64url without padding, line breaks, white space or anything else.
  'padding behind the signature': withPart(2, padded),
  'padding behind every part, signed so': () => signParts(padded(b64(header())), padded(b64(claims()))),
  'more padding than there can be': withText((token) => `${token}====`),
  'standard base64 in the signature': withPart(2, (part) => `+/${part.slice(2)}`),
  'standard base64 in the header and payload, signed so': () =>
    signParts(
      Buffer.from(header({ note: '>>>???' })).toString('base64'),
      Buffer.from(claims()).toString('base64'),
    ),
  'a space in front': withText((token) => ` ${token}`),
  'a space behind': withText((token) => `${token} `),
  'a line break behind': withText((token) => `${token}\n`),
  'a line break in the signature': withPart(2, (part) => `${part.slice(0, 40)}\r\n${part.slice(40)}`),
  'spaces around the dots': withText((token) => token.replaceAll('.', ' . ')),
  'NUL behind': withText((token) => `${token}\0`),
  'a letter that folds to an ASCII one (Kelvin sign)': withPart(2, (part) => `\u212a${part.slice(1)}`),
  'percent encoding': withText((token) => token.replaceAll('.', '%2E')),
  quoted: withText((token) => `"${token}"`),
  'another last character of the same signature (RFC 4648 section 3.5)': withPart(
    2,
    (part) => part.slice(0, -1) + { A: 'B', Q: 'R', g: 'h', w: 'x' }[part.slice(-1)],
  ),
  'one character more': withText((token) => `${token}A`),
  // RFC 7515 section 7.2, RFC 7519 section 3: a JWT is never in the JSON serialisation.
  'flattened JSON serialisation': withText((token) => JSON.stringify(flattened(token.split('.')))),
  'general JSON serialisation': withText((token) => {
    const { payload, ...signature } = flattened(token.split('.'))
    return JSON.stringify({ payload, signatures: [signature] })
  }),
  'JSON serialisation as base64': withText((token) => b64(JSON.stringify(flattened(token.split('.'))))),
  // RFC 7515 section 5.2 step 1, RFC 7516 section 9: three parts.
  'one part': withText((token) => token.split('.')[0]!),
  'two parts': withText((token) => token.split('.').slice(0, 2).join('.')),
  'four parts': withText((token) => `${token}.AA`),
  'five parts (JWE)': withText((token) => `${token}.AA.AA`),
  'a dot in front': withText((token) => `.${token}`),
  'a dot behind': withText((token) => `${token}.`),
  'an empty header': () => signParts('', b64(claims())),
  'an empty payload': () => signParts(b64(header()), ''),
  'nothing but dots': () => '..',
  nothing: () => '',
  'a detached payload (RFC 7515 appendix F)': withPart(1, () => ''),
  'a million characters (RFC 7515 section 10.6)': withPart(1, (part) => part.repeat(3000)),
  // RFC 8725 section 3.7, RFC 7519 section 7.2 step 10: JSON objects in UTF-8.
  'a header in UTF-16': () => sign(utf16(header())),
  'a payload in UTF-16': () => sign(header(), utf16(claims())),
  'a header in UTF-16 with a byte order mark': () => sign(utf16(`\ufeff${header()}`)),
  'a header that is an array': () => sign(`[${header()}]`),
  'a header that is null': () => sign('null'),
  'a header that is a string': () => sign('"ES256"'),
  'a header that is not JSON': () => sign(header().slice(1)),
  'a payload that is an array': () => sign(header(), `[${claims()}]`),
  'a payload that is null': () => sign(header(), 'null'),
  'a payload that is a number': () => sign(header(), '1'),
  'a payload that is not JSON': () => sign(header(), claims().replaceAll('"', "'")),
  'a payload of two objects': () => sign(header(), claims() + claims()),
  'a payload nested a thousand levels deep': () => sign(header(), '['.repeat(1000)),
  // RFC 7515 section 4 and 10.12, RFC 7519 section 4: of a member that stands twice, the last counts.
  'kid twice, the last unknown': () => sign(header().replace('}', ',"kid":"unknown"}')),
  'alg twice, the last none': () => sign(header().replace('}', ',"alg":"none"}')),
  'exp twice, the last far ahead': () => sign(header(), claims().replace('}', `,"exp":${NOW * 2}}`)),
  'aud twice, the last another': () => sign(header(), claims().replace('}', ',"aud":"other"}')),
}

const SIGNATURES: Rows = {
  // RFC 8725 section 3.3 and 3.4, RFC 7518 section 3.4: R and S, 32 octets each, both within 1 and the order less 1.
  'all zero (CVE-2022-21449)': rAndS(() => [0n, 0n]),
  'R zero': rAndS((_, s) => [0n, s]),
  'S zero': rAndS((r) => [r, 0n]),
  'R and S one': rAndS(() => [1n, 1n]),
  'R the order': rAndS((_, s) => [ORDER, s]),
  'S the order': rAndS((r) => [r, ORDER]),
  'R and S the order': rAndS(() => [ORDER, ORDER]),
  'R as large as it fits': rAndS((_, s) => [2n ** 256n - 1n, s]),
  'S as large as it fits': rAndS((r) => [r, 2n ** 256n - 1n]),
  'R and S changed about': rAndS((r, s) => [s, r]),
  'R mirrored': rAndS((r, s) => [ORDER - r, s]),
  'in DER': withSignature((bytes) =>
    derSequence(
      Buffer.concat([derInteger(numberOf(bytes.subarray(0, 32))), derInteger(numberOf(bytes.subarray(32)))]),
    ),
  ),
  'an octet short': withSignature((bytes) => bytes.subarray(0, 63)),
  'an octet long': withSignature((bytes) => Buffer.concat([bytes, Buffer.from([0])])),
  'R alone': withSignature((bytes) => bytes.subarray(0, 32)),
  twice: withSignature((bytes) => Buffer.concat([bytes, bytes])),
  'of another token': async () =>
    `${(await sign(header(), claims({ role: 'admin' }))).split('.').slice(0, 2).join('.')}.${(await sign()).split('.')[2]}`,
  'of the payload alone': async () =>
    `${b64(header())}.${b64(claims())}.${b64(await signatureOf(b64(claims())))}`,
  'of the decoded text': async () =>
    `${b64(header())}.${b64(claims())}.${b64(await signatureOf(`${header()}.${claims()}`))}`,
  ...Object.fromEntries(
    [0, 1, 31, 32, 33, 63].map((at) => [
      `with a bit of octet ${at} turned`,
      withSignature((bytes) => bytes.map((octet, i) => (i === at ? octet ^ 1 : octet))),
    ]),
  ),
}

const HOUR = 3600
const TIMES: Rows = {
  // RFC 7519 section 4.1.4 to 4.1.6 and 2 (NumericDate), RFC 9068 section 2.2; CVE-2026-44459.
  ...Object.fromEntries(
    ['exp', 'iat', 'auth_time'].flatMap((name) => [
      ...[undefined, null, '', String(NOW + 300), [NOW + 300], {}, true, NOW + 300.5, -1, -NOW].map(
        (value): [string, () => Promise<string>] => [
          `${name} ${JSON.stringify(value)}`,
          withClaims({ [name]: value }),
        ],
      ),
      ...['1e400', '-1e400', '1e30'].map((text): [string, () => Promise<string>] => [
        `${name} ${text}`,
        () => sign(header(), literal(name, text)),
      ]),
    ]),
  ),
  'exp in ten years': withClaims({ exp: NOW + 10 * 365 * 24 * HOUR }),
  'a life of a second more than ours': withClaims({ exp: NOW + ACCESS_TOKEN_SECONDS + 1 }),
  'issued in an hour': withClaims({ iat: NOW + HOUR, exp: NOW + HOUR + 600 }),
  'issued in 31 seconds': withClaims({ iat: NOW + 31, exp: NOW + 600 }),
  'in milliseconds': withClaims({ iat: NOW * 1000, exp: NOW * 1000 + 600 }),
  'nbf in an hour': withClaims({ nbf: NOW + HOUR }),
  'nbf in 31 seconds': withClaims({ nbf: NOW + 31 }),
  ...Object.fromEntries(
    [`${NOW}`, null, {}, true].map((nbf) => [`nbf ${JSON.stringify(nbf)}`, withClaims({ nbf })]),
  ),
}

const CLAIM_VALUES: Rows = {
  // RFC 8725 section 3.8, RFC 9068 section 4: the issuer, letter by letter; CVE-2025-62610.
  ...Object.fromEntries(
    [
      undefined,
      null,
      '',
      'https://roster.test/',
      'https://ROSTER.test',
      'http://roster.test',
      'https://roster.test.evil.test',
      'https://evil.test',
      'https://roster',
      ['https://roster.test'],
      { iss: 'https://roster.test' },
      1,
    ].map((iss) => [`iss ${JSON.stringify(iss)}`, withClaims({ iss })]),
  ),
  // RFC 8725 section 3.9, RFC 9068 section 3 and 4: RFC 7519 allows a list, but a token for two can be used at either.
  ...Object.fromEntries(
    [
      undefined,
      null,
      '',
      'Roster',
      'roster ',
      'roster/',
      'ros',
      'roster2',
      'other',
      ['roster'],
      ['roster', 'other'],
      ['other'],
      [],
      { aud: 'roster' },
      1,
      '*',
    ].map((aud) => [`aud ${JSON.stringify(aud)}`, withClaims({ aud })]),
  ),
  // RFC 8725 section 3.10: what a claim says is checked before it is used, for a look-up above all.
  ...Object.fromEntries(
    ['sub', 'sid', 'jti'].flatMap((name) =>
      [
        undefined,
        null,
        '',
        'x',
        "' OR 1=1 --",
        '../me',
        '*',
        'revoked:user:*',
        `${CLAIMS.sub}x`,
        [CLAIMS.sub],
        1,
        {},
      ].map((value): [string, () => Promise<string>] => [
        `${name} ${JSON.stringify(value)?.slice(0, 40)}`,
        withClaims({ [name]: value }),
      ]),
    ),
  ),
  ...Object.fromEntries(
    [
      undefined,
      null,
      '',
      'root',
      'Admin',
      'admin ',
      ['admin'],
      { admin: true },
      2,
      true,
      '__proto__',
      'constructor',
    ].map((role) => [`role ${JSON.stringify(role)}`, withClaims({ role })]),
  ),
  ...Object.fromEntries(
    [undefined, null, '0', -1, 0.5, [0], true, {}].map((epoch) => [
      `epoch ${JSON.stringify(epoch)}`,
      withClaims({ epoch }),
    ]),
  ),
  ...Object.fromEntries(
    [undefined, null, '', 'Roster', 'roster ', 'other', ['roster'], {}, 1].map((client_id) => [
      `client_id ${JSON.stringify(client_id)}`,
      withClaims({ client_id }),
    ]),
  ),
  ...Object.fromEntries(
    [undefined, null, 'pwd', [1], [null], {}, 1].map((amr) => [
      `amr ${JSON.stringify(amr)}`,
      withClaims({ amr }),
    ]),
  ),
  'epoch 1e400': () => sign(header(), literal('epoch', '1e400')),
  'claims in __proto__': () => sign(header(), `{"__proto__":${claims()}}`),
}

const REFUSED = {
  'without a signature': UNSIGNED,
  'under another algorithm': WRONG_ALGORITHM,
  'with a header that says more': HEADER_MEMBERS,
  'of another type': KINDS,
  'under another key': KEYS,
  'in another encoding': ENCODINGS,
  'with another signature': SIGNATURES,
  'at another time': TIMES,
  'with other claims': CLAIM_VALUES,
}

/** Differs from how we write tokens, but is valid all the same: only somebody with our key can make one. */
const ACCEPTED: Rows = {
  'as we make it': () => sign(),
  'by our second key, under its kid': () => sign(header({ kid: 'second-key' }), claims(), second),
  // RFC 9068 section 4 takes both forms; RFC 7515 section 4.1.9: a media type, so without regard to case.
  'typ application/at+jwt': withHeader({ typ: 'application/at+jwt' }),
  'typ AT+JWT': withHeader({ typ: 'AT+JWT' }),
  'S mirrored: whoever has a token can make its twin': mirrored,
  'members in another order, white space, escapes (RFC 7515 section 5.3)': () =>
    sign(`{ "k\\u0069d":"first-key",\n"typ":"at+jwt", "alg":"ES256" }`),
  'a claim that we do not know': withClaims({ scope: 'x' }),
  'issued 29 seconds ahead of our clock': withClaims({ iat: NOW + 29 }),
  'expired 29 seconds ago': withClaims({ iat: NOW - 600, exp: NOW - 29 }),
  'nbf in 29 seconds': withClaims({ nbf: NOW + 29 }),
  // RFC 7515 section 4, RFC 7519 section 4: the last counts.
  'exp twice, the last right': () => sign(header(), `{"exp":1,${claims().slice(1)}`),
}

const verify = async (token: string, options?: { mayBeExpired?: boolean }) =>
  verifyAccessToken(token, verifier, NOW * 1000, options)
const refusal = {
  status: 401,
  code: 'invalid_token',
  message: 'The access token is expired, revoked or not valid.',
}

test.each(Object.entries(ACCEPTED))('AT1 to AT4: accepted: %s', async (_, make) => {
  expect(await verify(await make())).toMatchObject({ sub: CLAIMS.sub, sid: CLAIMS.sid })
})

describe.each(Object.entries(REFUSED))('AT1 to AT6: refused: %s', (_, rows) => {
  test.each(Object.entries(rows))('%s', async (_, make) => {
    const token = await make()
    await expect(verify(token)).rejects.toMatchObject(refusal)
    await expect(verify(token, { mayBeExpired: true })).rejects.toMatchObject(refusal)
  })
})

describe('AT4: for logging out a token may be expired, but nothing else may be wrong', () => {
  const EXPIRED = { iat: NOW - 2 * HOUR, exp: NOW - 2 * HOUR + 600 }
  const expired = (patch: Json = {}) => sign(header(), claims({ ...EXPIRED, ...patch }))

  test('An expired one is refused otherwise', async () => {
    await expect(verify(await expired())).rejects.toMatchObject(refusal)
    expect(await verify(await expired(), { mayBeExpired: true })).toMatchObject(EXPIRED)
  })

  const others: Rows = {
    'another issuer': () => expired({ iss: 'https://evil.test' }),
    'another audience': () => expired({ aud: 'other' }),
    'a list as audience': () => expired({ aud: ['roster'] }),
    'another type': () => sign(header({ typ: 'JWT' }), claims(EXPIRED)),
    'another key': () => sign(header(), claims(EXPIRED), foreign),
    'a header that brings a key': () => sign(header({ jwk: publicOf(first) }), claims(EXPIRED)),
    'a role that is none': () => expired({ role: 'root' }),
    'a subject that is none': () => expired({ sub: 'x' }),
    'a life that was too long': () => expired({ iat: NOW - 4 * HOUR }),
    'another signature': async () => `${(await expired()).slice(0, -4)}AAAA`,
    'nbf in an hour': () => expired({ nbf: NOW + HOUR }),
  }
  test.each(Object.entries(others))('not %s', async (_, make) => {
    await expect(verify(await make(), { mayBeExpired: true })).rejects.toMatchObject(refusal)
  })
})

test('AT2: a set of keys that mixes kinds, or names one twice, is refused', () => {
  const sets = [
    [],
    [first, foreign],
    [first, { ...second, crv: 'P-384' }],
    [first, { kty: 'oct', k: 'AAAA', kid: 'shared-key', alg: 'HS256' }],
    [publicOf(first)],
    [{ ...first, alg: 'RS256' }],
    [{ ...first, kid: '../key' }],
  ]
  for (const keys of sets) expect(() => parseJwtKeys(JSON.stringify({ keys }))).toThrow()
})

test('AT1, AT7: over HTTP each of them is the same 401, and logging out with it ends nothing', async () => {
  const ada = await api.actor()
  const [head, body, signature] = ada.token.split('.') as [string, string, string]
  const tokens = [
    `${b64(JSON.stringify({ alg: 'none', typ: 'at+jwt' }))}.${body}.`,
    `${head}.${b64(Buffer.from(body, 'base64url').toString().replace('"user"', '"admin"'))}.${signature}`,
    `${head}.${body}.${'A'.repeat(86)}`,
    `${ada.token}.`,
    `${ada.token}=`,
    `${ada.token},${ada.token}`,
    ada.refreshToken,
    'k'.repeat(60_000),
    'x',
  ]
  for (const token of tokens) {
    for (const [method, path] of [
      ['GET', '/v1/users/me'],
      ['POST', '/v1/auth/logout'],
    ] as const) {
      const answer = await api.send(method, path, { token })
      expect([answer.status, answer.body.code]).toEqual([401, 'invalid_token'])
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="roster", error="invalid_token"')
    }
  }
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(200)
})

test('RV1: the mirrored form of a token is revoked with it, with Redis and without', async () => {
  const ada = await api.actor()
  const [head, body, signature] = ada.token.split('.') as [string, string, string]
  const bytes = Buffer.from(signature, 'base64url')
  const twin = `${head}.${body}.${b64(Buffer.concat([bytes.subarray(0, 32), numberBytes(ORDER - numberOf(bytes.subarray(32)))]))}`
  expect(twin).not.toBe(ada.token)
  const statusOf = async (token: string) => (await api.send('GET', '/v1/users/me', { token })).status
  expect(await statusOf(twin)).toBe(200)
  await api.send('POST', '/v1/auth/logout', { token: ada.token })
  expect([await statusOf(ada.token), await statusOf(twin)]).toEqual([401, 401])
  // The database remembers; Redis forgets.
  await api.redis(
    'DEL',
    `${keyPrefixOf(api.config().ISSUER)}revoked:session:${JSON.parse(Buffer.from(body, 'base64url').toString()).sid}`,
  )
  expect([await statusOf(ada.token), await statusOf(twin)]).toEqual([401, 401])
})
