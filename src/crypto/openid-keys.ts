import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import type { JWK } from 'jose'
import * as z from 'zod'
import { lazy } from '../values/lazy.ts'

const part = (min: number, max = min) => z.string().regex(new RegExp(`^[\\w-]{${min},${max}}$`))
const common = () => ({ use: z.literal('sig').default('sig'), kid: part(8, 64) })

/**
 * Private keys as JWK (RFC 7517, RFC 7518 section 6): RSA of 2,048 to 4,096 bits, and P-256. Strict, like
 * JWT_KEYS.
 */
const PrivateKey = lazy(() =>
  z.discriminatedUnion('kty', [
    z.strictObject({
      ...common(),
      kty: z.literal('RSA'),
      alg: z.literal('RS256'),
      n: part(342, 683),
      e: z.literal('AQAB'),
      d: part(300, 683),
      p: part(160, 342),
      q: part(160, 342),
      dp: part(160, 342),
      dq: part(160, 342),
      qi: part(160, 342),
    }),
    z.strictObject({
      ...common(),
      kty: z.literal('EC'),
      alg: z.literal('ES256'),
      crv: z.literal('P-256'),
      x: part(43),
      y: part(43),
      d: part(43),
    }),
  ]),
)
type PrivateKey = z.output<ReturnType<typeof PrivateKey>>

const KeySet = lazy(() =>
  z
    .strictObject({ keys: z.array(PrivateKey().refine(canSign, 'cannot sign')).min(1).max(8) })
    .refine(({ keys }) => new Set(keys.map((key) => key.kid)).size === keys.length, 'has a kid twice')
    .refine(({ keys }) => keys.some(({ alg }) => alg === 'RS256'), 'has no RS256 key')
    .refine(({ keys }) => keys.some(({ alg }) => alg === 'ES256'), 'has no ES256 key'),
)

export type IdTokenAlgorithm = 'RS256' | 'ES256'
type Key = JWK & { kid: string }

export interface OpenIdKeys {
  /** The first of each algorithm. */
  signing: Record<IdTokenAlgorithm, Key>
  /** The public halves of all. */
  verifying: Key[]
  /** No other setting may contain these. */
  secrets: string[]
}

/** Parses the secret `OPENID_KEYS`. Throws unless it is a set of private keys of both kinds that can sign. */
export function parseOpenIdKeys(json: string): OpenIdKeys {
  const { keys } = KeySet().parse(JSON.parse(json))
  const firstOf = (alg: IdTokenAlgorithm) => keys.find((key) => key.alg === alg) as Key
  return {
    signing: { RS256: firstOf('RS256'), ES256: firstOf('ES256') },
    verifying: keys.map(publicHalf),
    secrets: keys.map(({ d }) => d),
  }
}

const publicHalf = (key: PrivateKey): Key =>
  key.kty === 'RSA'
    ? { kty: key.kty, alg: key.alg, use: key.use, kid: key.kid, n: key.n, e: key.e }
    : { kty: key.kty, alg: key.alg, use: key.use, kid: key.kid, crv: key.crv, x: key.x, y: key.y }

/** Each key signs something, and its published public half has to verify that. */
function canSign(key: PrivateKey): boolean {
  const message = Buffer.from('roster')
  try {
    const signature = sign('sha256', message, createPrivateKey({ key: key as JWK, format: 'jwk' } as never))
    const publicKey = createPublicKey({ key: publicHalf(key), format: 'jwk' } as never)
    return verify('sha256', message, publicKey, signature)
  } catch {
    return false
  }
}
