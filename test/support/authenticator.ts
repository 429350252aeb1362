import { createHash } from 'node:crypto'

/**
 * A passkey in software, written from WebAuthn level 3: it makes credentials and assertions as a browser would send
 * them. Its answers can be falsified, to see what is refused.
 */

const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
const sha256 = (data: string | Uint8Array) => new Uint8Array(createHash('sha256').update(data).digest())
const concat = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts))

type Cbor = number | string | Uint8Array | Map<number | string, Cbor>

/** RFC 8949 section 4.2.1, as far as WebAuthn needs it. */
export function encodeCbor(value: Cbor): Uint8Array {
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value)
  if (typeof value === 'string') return concat(head(3, Buffer.byteLength(value)), Buffer.from(value))
  if (value instanceof Uint8Array) return concat(head(2, value.length), value)
  const entries = [...value].flatMap(([key, item]) => [encodeCbor(key), encodeCbor(item)])
  return concat(head(5, value.size), ...entries)
}

function head(major: number, argument: number): Uint8Array {
  const first = major << 5
  if (argument < 24) return new Uint8Array([first | argument])
  if (argument < 256) return new Uint8Array([first | 24, argument])
  return new Uint8Array([first | 25, argument >> 8, argument & 255])
}

export const ALGORITHMS = { ES256: -7, EdDSA: -8, RS256: -257 } as const
export type Algorithm = keyof typeof ALGORITHMS

const SUBTLE = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  EdDSA: { name: 'Ed25519' },
  RS256: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
} as const

/** How an answer differs from a correct one. */
export interface Bent {
  origin?: string
  rpId?: string
  type?: string
  challenge?: string
  crossOrigin?: boolean
  flags?: number
  signCount?: number
  format?: string
  /** The number of the algorithm in the key. */
  alg?: number
  userHandle?: string | null
  /** What is changed after signing. */
  tamper?: 'signature' | 'authenticatorData' | 'clientData'
}

const UP = 1
const UV = 4
const BE = 8
const BS = 16
const AT = 64

interface CreationOptions {
  challenge: string
  rp: { id: string }
  user: { id: string }
}
interface RequestOptions {
  challenge: string
  rpId: string
}

export async function softwarePasskey(origin: string, algorithm: Algorithm = 'ES256', isSynced = true) {
  const { publicKey, privateKey } = (await crypto.subtle.generateKey(SUBTLE[algorithm] as never, true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair
  const jwk = (await crypto.subtle.exportKey('jwk', publicKey)) as unknown as Record<string, string>
  const id = crypto.getRandomValues(new Uint8Array(32))
  const bytes = (name: string) => new Uint8Array(Buffer.from(jwk[name]!, 'base64url'))
  const state = { signCount: 0, userHandle: '' }
  const backup = isSynced ? BE | BS : 0

  function coseKey(alg: number): Uint8Array {
    const members: Record<Algorithm, [number, Cbor][]> = {
      ES256: [
        [1, 2],
        [3, alg],
        [-1, 1],
        [-2, algorithm === 'ES256' ? bytes('x') : 0],
        [-3, algorithm === 'ES256' ? bytes('y') : 0],
      ],
      EdDSA: [
        [1, 1],
        [3, alg],
        [-1, 6],
        [-2, algorithm === 'EdDSA' ? bytes('x') : 0],
      ],
      RS256: [
        [1, 3],
        [3, alg],
        [-1, algorithm === 'RS256' ? bytes('n') : 0],
        [-2, algorithm === 'RS256' ? bytes('e') : 0],
      ],
    }
    return encodeCbor(new Map(members[algorithm]))
  }

  const clientData = (type: string, challenge: string, bent: Bent) =>
    new Uint8Array(
      Buffer.from(
        JSON.stringify({
          type: bent.type ?? type,
          challenge: bent.challenge ?? challenge,
          origin: bent.origin ?? origin,
          crossOrigin: bent.crossOrigin ?? false,
        }),
      ),
    )

  function authenticatorData(
    rpId: string,
    flags: number,
    bent: Bent,
    attested: Uint8Array = new Uint8Array(),
  ) {
    const counter = new Uint8Array(4)
    new DataView(counter.buffer).setUint32(0, bent.signCount ?? state.signCount)
    return concat(sha256(bent.rpId ?? rpId), new Uint8Array([bent.flags ?? flags]), counter, attested)
  }

  const flip = (data: Uint8Array) => {
    const changed = new Uint8Array(data)
    changed[changed.length - 1]! ^= 1
    return changed
  }

  async function sign(message: Uint8Array): Promise<Uint8Array> {
    const signature = new Uint8Array(
      await crypto.subtle.sign(SUBTLE[algorithm] as never, privateKey, message as never),
    )
    return algorithm === 'ES256' ? toDer(signature) : signature
  }

  return {
    id: base64url(id),
    publicJwk: JSON.stringify({ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, n: jwk.n, e: jwk.e }),
    state,
    /** What `navigator.credentials.create` returns, as JSON. */
    create(options: CreationOptions, bent: Bent = {}) {
      state.userHandle = options.user.id
      const attested = concat(
        new Uint8Array(16),
        new Uint8Array([0, id.length]),
        id,
        coseKey(bent.alg ?? ALGORITHMS[algorithm]),
      )
      const authData = authenticatorData(options.rp.id, UP | UV | AT | backup, bent, attested)
      const attestation = encodeCbor(
        new Map<string, Cbor>([
          ['fmt', bent.format ?? 'none'],
          ['attStmt', new Map()],
          ['authData', authData],
        ]),
      )
      return {
        id: base64url(id),
        rawId: base64url(id),
        type: 'public-key',
        clientExtensionResults: {},
        response: {
          clientDataJSON: base64url(clientData('webauthn.create', options.challenge, bent)),
          attestationObject: base64url(attestation),
          transports: ['internal'],
        },
      }
    },
    /** What `navigator.credentials.get` returns, as JSON. */
    async get(options: RequestOptions, bent: Bent = {}) {
      const data = clientData('webauthn.get', options.challenge, bent)
      const authData = authenticatorData(options.rpId, UP | UV | backup, bent)
      const signature = await sign(concat(authData, sha256(data)))
      const userHandle = bent.userHandle === undefined ? state.userHandle : bent.userHandle
      return {
        id: base64url(id),
        rawId: base64url(id),
        type: 'public-key',
        clientExtensionResults: {},
        response: {
          clientDataJSON: base64url(bent.tamper === 'clientData' ? concat(data, Buffer.from(' ')) : data),
          authenticatorData: base64url(bent.tamper === 'authenticatorData' ? flip(authData) : authData),
          signature: base64url(bent.tamper === 'signature' ? flip(signature) : signature),
          ...(userHandle !== null && { userHandle }),
        },
      }
    },
  }
}

/** RFC 3279 section 2.2.3: two integers in a sequence. */
function toDer(raw: Uint8Array): Uint8Array {
  const integer = (part: Uint8Array) => {
    let start = 0
    while (start < part.length - 1 && part[start] === 0) start += 1
    const digits = part.slice(start)
    const value = digits[0]! & 0x80 ? concat(new Uint8Array([0]), digits) : digits
    return concat(new Uint8Array([2, value.length]), value)
  }
  const body = concat(integer(raw.slice(0, 32)), integer(raw.slice(32)))
  return concat(new Uint8Array([0x30, body.length]), body)
}
