import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  type Assertion,
  isSigned,
  PasskeyRefusal,
  verifyAssertion,
  verifyRegistration,
} from '../../src/passkeys/webauthn.ts'
import { type Algorithm, type Bent, softwarePasskey } from '../support/authenticator.ts'

const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
const withBit = (bytes: Uint8Array, bit: number) => {
  const changed = new Uint8Array(bytes)
  changed[bit >> 3]! ^= 1 << (bit & 7)
  return changed
}
const bitsOf = (bytes: Uint8Array) => Array.from({ length: bytes.length * 8 }, (_, bit) => bit)

/** The code of the refusal; undefined if it was not refused. */
function refusalOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(PasskeyRefusal)
    return (error as PasskeyRefusal).message
  }
}

/** WebAuthn level 3 section 16.2: ES256 without attestation. Its authenticator does not verify the user. */
const NONE_ES256 = {
  rpId: 'example.org',
  origin: 'https://example.org',
  id: hex('f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4'),
  attestationObject: hex(
    'a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220',
  ),
  createClientData: hex(
    '7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c4535513d3d227d',
  ),
  authenticatorData: hex('bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000'),
  getClientData: hex(
    '7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049393770767a7a59425039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d',
  ),
  signature: hex(
    '3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6e486013f937295ea13653e331e87',
  ),
}
const challengeIn = (clientData: Uint8Array) =>
  new Uint8Array(
    Buffer.from(JSON.parse(new TextDecoder().decode(clientData)).challenge as string, 'base64url'),
  )

describe('PK3: the vector of the specification', () => {
  const { rpId, origin, id, attestationObject, createClientData, getClientData } = NONE_ES256
  const { authenticatorData, signature } = NONE_ES256
  const expectedIn = (clientData: Uint8Array) => ({
    challenge: challengeIn(clientData),
    rpId,
    origins: [origin],
  })
  const register = (object: Uint8Array) =>
    verifyRegistration(
      {
        id: base64url(id),
        clientDataJSON: base64url(createClientData),
        attestationObject: base64url(object),
      },
      expectedIn(createClientData),
    )
  /** The same from an authenticator that verifies the user: without attestation none of it is signed. */
  const verified = () => {
    const object = new Uint8Array(attestationObject)
    const flags = Buffer.from(object).indexOf(Buffer.from(authenticatorData.slice(0, 32))) + 32
    expect(object[flags]).toBe(0x59)
    object[flags]! |= 0x04
    return register(object)
  }

  test('is refused as it is, since the user was not verified; its key is read, and its signature is correct', () => {
    expect(refusalOf(() => register(attestationObject))).toBe('user_verified')
    const { credentialId, publicKey, mayBeSynced, isSynced } = verified()
    expect([credentialId, mayBeSynced, isSynced]).toEqual([base64url(id), true, true])
    const sent = {
      clientDataJSON: base64url(getClientData),
      authenticatorData: base64url(authenticatorData),
      signature: base64url(signature),
    }
    expect(refusalOf(() => verifyAssertion(sent, expectedIn(getClientData), publicKey))).toBe('user_verified')
    const hash = createHash('sha256').update(getClientData).digest()
    const message = new Uint8Array(Buffer.concat([authenticatorData, hash]))
    const key = JSON.parse(publicKey)
    expect(isSigned(key, message, signature)).toBe(true)
    for (const bit of bitsOf(signature))
      expect([bit, isSigned(key, message, withBit(signature, bit))]).toEqual([bit, false])
    for (const bit of bitsOf(message))
      expect([bit, isSigned(key, withBit(message, bit), signature)]).toEqual([bit, false])
  })
})

const ORIGIN = 'https://roster.test'
const RP_ID = 'roster.test'

describe.each(['ES256', 'EdDSA', 'RS256'] as const)('PK2, PK3: the ceremonies with %s', (algorithm) => {
  const challenge = crypto.getRandomValues(new Uint8Array(32))
  const expected = { challenge, rpId: RP_ID, origins: [ORIGIN] }
  const asked = base64url(challenge)
  const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'))

  async function registered(bent: Bent = {}, by: Algorithm = algorithm) {
    const passkey = await softwarePasskey(ORIGIN, by)
    const { id, response } = passkey.create({ challenge: asked, rp: { id: RP_ID }, user: { id: 'AA' } }, bent)
    return { passkey, register: () => verifyRegistration({ id, ...response }, expected) }
  }

  test('accept what was signed, and nothing with one bit changed', async () => {
    const { passkey, register } = await registered()
    const { publicKey } = register()
    const { response } = await passkey.get({ challenge: asked, rpId: RP_ID })
    expect(refusalOf(() => verifyAssertion(response, expected, publicKey))).toBeUndefined()
    for (const member of ['signature', 'authenticatorData', 'clientDataJSON'] as const) {
      const bytes = bytesOf(response[member])
      for (const bit of bitsOf(bytes)) {
        const changed: Assertion = { ...response, [member]: base64url(withBit(bytes, bit)) }
        const refusal = refusalOf(() => verifyAssertion(changed, expected, publicKey))
        expect([member, bit, refusal]).toEqual([member, bit, expect.any(String)])
      }
    }
  })

  test.each([
    ['of no type that there is', { type: 'webauthn.other' }, 'form'],
    ['of another challenge', { challenge: 'AAAA' }, 'challenge'],
    ['from another origin', { origin: 'https://evil.test' }, 'origin'],
    ['from a subdomain', { origin: 'https://x.roster.test' }, 'origin'],
    ['in a frame of another origin', { crossOrigin: true }, 'cross_origin'],
    ['for another relying party', { rpId: 'evil.test' }, 'rp_id'],
  ] as [string, Bent, string][])('refuse what is %s', async (_, bent, reason) => {
    const bad = await registered(bent)
    expect(refusalOf(bad.register)).toBe(reason)
    const { passkey, register } = await registered()
    const { publicKey } = register()
    const { response } = await passkey.get({ challenge: asked, rpId: RP_ID }, bent)
    expect(refusalOf(() => verifyAssertion(response, expected, publicKey))).toBe(reason)
  })

  test.each([
    ['nobody present', 0x04, 'user_present'],
    ['nobody verified', 0x01, 'user_verified'],
    ['a copy of what cannot be copied', 0x15, 'backup_state'],
  ])('refuse an authenticator that says: %s', async (_, flags, reason) => {
    const bad = await registered({ flags: flags | 0x40 })
    expect(refusalOf(bad.register)).toBe(reason)
    const { passkey, register } = await registered()
    const { publicKey } = register()
    const { response } = await passkey.get({ challenge: asked, rpId: RP_ID }, { flags })
    expect(refusalOf(() => verifyAssertion(response, expected, publicKey))).toBe(reason)
  })

  test('refuse another algorithm, another attestation, and the key of another passkey', async () => {
    expect(refusalOf((await registered({ alg: -65_535 })).register)).toBeTruthy()
    expect(refusalOf((await registered({ format: 'packed' })).register)).toBe('attestation')
    const other = (await registered()).register()
    const { passkey } = await registered()
    const { response } = await passkey.get({ challenge: asked, rpId: RP_ID })
    expect(refusalOf(() => verifyAssertion(response, expected, other.publicKey))).toBe('signature')
  })
})
