import { createHash, createPublicKey, verify } from 'node:crypto'
import { decodeCBORToNativeValueNoLeftoverBytes } from '@oslojs/cbor'
import {
  ClientDataType,
  COSEKeyType,
  type COSEPublicKey,
  coseAlgorithmEdDSA,
  coseAlgorithmES256,
  coseAlgorithmRS256,
  coseEllipticCurveEd25519,
  coseEllipticCurveP256,
  parseAuthenticatorData,
  parseClientDataJSON,
} from '@oslojs/webauthn'

/**
 * The two ceremonies of WebAuthn level 3 (sections 7.1 and 7.2), as functions of what was sent and what is
 * expected. Without attestation they only need a parser for CBOR and COSE, and one verification.
 */

/** In order of preference. */
export const ALGORITHMS = [coseAlgorithmES256, coseAlgorithmEdDSA, coseAlgorithmRS256] as const

/** What was sent is not from a passkey of ours. The message is one word, only for the log. */
export class PasskeyRefusal extends Error {}

export interface Expected {
  challenge: Uint8Array
  rpId: string
  origins: readonly string[]
}

/** Bytes in base64url, as in WebAuthn's JSON. */
export interface Assertion {
  clientDataJSON: string
  authenticatorData: string
  signature: string
}

export interface NewCredential {
  credentialId: string
  /** A JWK. */
  publicKey: string
  signCount: number
  aaguid: string
  mayBeSynced: boolean
  isSynced: boolean
}

const UP = 0x01
const UV = 0x04
const BE = 0x08
const BS = 0x10
const FLAGS_AT = 32

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'))
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
const sha256 = (data: Uint8Array | string) => new Uint8Array(createHash('sha256').update(data).digest())
const isSame = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0

/** Turns any error of a parser into a refusal. */
function refusing<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof PasskeyRefusal) throw cause
    throw new PasskeyRefusal('form', { cause })
  }
}

function assertThat(isSo: boolean, what: string): asserts isSo {
  if (!isSo) throw new PasskeyRefusal(what)
}

/**
 * Section 7.1 steps 5 to 12, 7.2 steps 10 to 14: type, challenge and origin are exactly ours, in no foreign
 * frame.
 */
function assertClientData(encoded: Uint8Array, type: ClientDataType, { challenge, origins }: Expected) {
  const data = parseClientDataJSON(encoded)
  assertThat(data.type === type, 'type')
  assertThat(isSame(data.challenge, challenge), 'challenge')
  assertThat(origins.includes(data.origin), 'origin')
  assertThat(data.crossOrigin !== true, 'cross_origin')
}

/** Section 7.1 steps 14 to 19, 7.2 steps 15 to 19: our RP id, user present and verified, consistent flags. */
function readAuthenticatorData(bytes: Uint8Array, { rpId }: Expected) {
  const data = parseAuthenticatorData(bytes)
  const flags = bytes[FLAGS_AT]!
  const has = (flag: number) => (flags & flag) !== 0
  assertThat(isSame(data.relyingPartyIdHash, sha256(rpId)), 'rp_id')
  assertThat(has(UP), 'user_present')
  assertThat(has(UV), 'user_verified')
  assertThat(has(BE) || !has(BS), 'backup_state')
  return { data, signCount: data.signatureCounter, mayBeSynced: has(BE), isSynced: has(BS) }
}

/** Throws PasskeyRefusal. */
export function verifyRegistration(
  sent: { id: string; clientDataJSON: string; attestationObject: string },
  expected: Expected,
): NewCredential {
  return refusing(() => {
    assertClientData(bytesOf(sent.clientDataJSON), ClientDataType.Create, expected)
    const { fmt, attStmt, authData } = decodeCBORToNativeValueNoLeftoverBytes(
      bytesOf(sent.attestationObject),
      4,
    ) as { fmt: unknown; attStmt: object; authData: unknown }
    // We do not care who made an authenticator.
    assertThat(fmt === 'none' && Object.keys(attStmt).length === 0, 'attestation')
    assertThat(authData instanceof Uint8Array, 'form')
    const { data, ...state } = readAuthenticatorData(authData, expected)
    assertThat(data.credential !== null, 'credential')
    const { id, publicKey, authenticatorAAGUID } = data.credential
    assertThat(id.length > 0 && id.length <= 1023, 'credential_id')
    assertThat(textOf(id) === sent.id, 'credential_id')
    return {
      credentialId: sent.id,
      publicKey: JSON.stringify(toJwk(publicKey)),
      aaguid: textOf(authenticatorAAGUID),
      ...state,
    }
  })
}

/** Throws PasskeyRefusal. Whether the counter went back is for the caller to check. */
export function verifyAssertion(
  sent: Assertion,
  expected: Expected,
  publicKey: string,
): { signCount: number; isSynced: boolean } {
  return refusing(() => {
    const clientData = bytesOf(sent.clientDataJSON)
    const authData = bytesOf(sent.authenticatorData)
    assertClientData(clientData, ClientDataType.Get, expected)
    const { signCount, isSynced } = readAuthenticatorData(authData, expected)
    const message = Buffer.concat([authData, sha256(clientData)])
    assertThat(isSigned(JSON.parse(publicKey), message, bytesOf(sent.signature)), 'signature')
    return { signCount, isSynced }
  })
}

interface Jwk {
  kty: string
  [member: string]: string
}

/** Only the algorithms that were offered, each with its own curve (RFC 8812, RFC 9053). */
function toJwk(key: COSEPublicKey): Jwk {
  const algorithm = key.algorithm()
  if (algorithm === coseAlgorithmES256) {
    const { curve, x, y } = key.ec2()
    assertThat(curve === coseEllipticCurveP256, 'algorithm')
    const coordinate = (value: bigint) =>
      Buffer.from(value.toString(16).padStart(64, '0'), 'hex').toString('base64url')
    return { kty: 'EC', crv: 'P-256', x: coordinate(x), y: coordinate(y) }
  }
  if (algorithm === coseAlgorithmEdDSA) {
    const { curve, x } = key.okp()
    assertThat(curve === coseEllipticCurveEd25519 && x.length === 32, 'algorithm')
    return { kty: 'OKP', crv: 'Ed25519', x: textOf(x) }
  }
  assertThat(algorithm === coseAlgorithmRS256 && key.type() === COSEKeyType.RSA, 'algorithm')
  const { '-1': n, '-2': e } = key.decoded as Record<string, Uint8Array | undefined>
  assertThat(n !== undefined && n.length >= 256 && n.length <= 512 && e !== undefined, 'algorithm')
  return { kty: 'RSA', n: textOf(n), e: textOf(e) }
}

/**
 * Whether a registered key has signed. A check of its own, as the specification's test vectors have no user
 * verification.
 */
export function isSigned(jwk: Jwk, message: Uint8Array, signature: Uint8Array): boolean {
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  return verify(jwk.kty === 'OKP' ? null : 'sha256', message, key, signature)
}
