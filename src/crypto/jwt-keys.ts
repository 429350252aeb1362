import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import type { JWK } from 'jose'
import * as z from 'zod'
import { lazy } from '../values/lazy.ts'

const coordinate = lazy(() => z.string().regex(/^[A-Za-z0-9_-]{43}$/))

/** A P-256 private key as JWK (RFC 7517, RFC 7518 section 6.2). Strict: a set that mixes kinds is refused. */
const PrivateKey = lazy(() =>
  z.strictObject({
    kty: z.literal('EC'),
    crv: z.literal('P-256'),
    alg: z.literal('ES256'),
    use: z.literal('sig').default('sig'),
    kid: z.string().regex(/^[A-Za-z0-9_-]{8,64}$/),
    x: coordinate(),
    y: coordinate(),
    d: coordinate(),
  }),
)

const KeySet = lazy(() =>
  z
    .strictObject({ keys: z.array(PrivateKey().refine(canSign, 'cannot sign')).min(1).max(8) })
    .refine(({ keys }) => new Set(keys.map((key) => key.kid)).size === keys.length, 'has a kid twice'),
)

export interface JwtKeys {
  /** The first of the set, which signs. */
  signing: JWK & { kid: string }
  /** The public halves of all: they verify, and are published. */
  verifying: (JWK & { kid: string })[]
  /** The private halves of all: no other setting may contain them. */
  secrets: string[]
}

/**
 * Parses the secret `JWT_KEYS`. Throws unless it is a set of P-256 private keys with distinct kids that can
 * sign.
 */
export function parseJwtKeys(json: string): JwtKeys {
  const { keys } = KeySet().parse(JSON.parse(json))
  return {
    signing: keys[0]!,
    verifying: keys.map(({ d: _, ...publicKey }) => publicKey),
    secrets: keys.map(({ d }) => d),
  }
}

/**
 * A well-formed key may still be bad: its point off the curve, or `d` zero or from another key. So each key
 * signs something, and its published public half has to verify that.
 */
function canSign({ d, kty, crv, x, y }: z.output<ReturnType<typeof PrivateKey>>): boolean {
  const message = Buffer.from('roster')
  try {
    const signature = sign('sha256', message, createPrivateKey({ key: { kty, crv, x, y, d }, format: 'jwk' }))
    return verify('sha256', message, createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' }), signature)
  } catch {
    return false
  }
}
