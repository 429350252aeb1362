import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import {
  createLocalJWKSet,
  decodeJwt,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose'
import { spendOnce } from '../../challenges/service.ts'
import type { Resources } from '../../context.ts'
import { digestOf } from '../../crypto/digest.ts'
import { Refusal } from '../../http/problem.ts'
import { firstIdAt } from '../../values/ids.ts'
import { isAllowedClient } from '../documents/document.ts'
import { invalidClient, oauthError } from '../errors.ts'
import { ASSERTION_ALGORITHMS, type Client, isByDocument } from '../models.ts'
import { clientWithPrimaryFallback } from './listing.ts'

/** The form fields that only serve to authenticate the client. */
export const CREDENTIALS = ['client_secret', 'client_assertion', 'client_assertion_type'] as const

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const MAX_ASSERTION_SECONDS = 300
const MAX_ASSERTION_LENGTH = 4096
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The client that a request claims to be, and its proof, by one of the methods of OpenID Connect Core section
 * 9.
 */
export interface GivenClient {
  id: string
  method: Client['token_endpoint_auth_method']
  proof: string
}

/**
 * Reads which client a request claims to be. `proveClient` checks the proof once the row has been read.
 *
 * @throws 400 `invalid_request` for two methods at once; 401 `invalid_client`.
 */
export function readClient(c: Context, fields: Record<string, string>): GivenClient {
  const header = c.req.header('authorization')
  const { client_id, client_secret, client_assertion, client_assertion_type } = fields
  const ways = [header, client_secret, client_assertion].filter((one) => one !== undefined)
  if (ways.length > 1) throw oauthError('invalid_request', 'The client authenticates in more than one way.')
  const given =
    header !== undefined
      ? fromBasic(header)
      : client_assertion !== undefined
        ? fromAssertion(client_assertion, client_assertion_type)
        : client_secret !== undefined
          ? ({ id: client_id, method: 'client_secret_post', proof: client_secret } as const)
          : ({ id: client_id, method: 'none', proof: '' } as const)
  const { id } = given
  const { config } = c.var as Resources
  // RFC 6749 section 2.3.1, RFC 7523 section 3: if the id is given twice, both must be equal.
  const isId = ID.test(id ?? '') || (isByDocument(id ?? '') && isAllowedClient(config, id ?? ''))
  if (id === undefined || !isId || (client_id !== undefined && client_id !== id))
    throw invalidClient(new Refusal('unknown'))
  return { ...given, id }
}

/** RFC 6749 section 2.3.1: both are form-encoded, then joined. */
function fromBasic(header: string) {
  const [, encoded] = /^Basic ([\w+/-]+=*)$/i.exec(header) ?? []
  const text = Buffer.from(encoded ?? '', 'base64').toString()
  const at = text.indexOf(':')
  if (at < 0) throw invalidClient(new Refusal('form'))
  const decode = (part: string) => {
    try {
      return decodeURIComponent(part.replaceAll('+', ' '))
    } catch {
      throw invalidClient(new Refusal('form'))
    }
  }
  return {
    id: decode(text.slice(0, at)),
    method: 'client_secret_basic',
    proof: decode(text.slice(at + 1)),
  } as const
}

function fromAssertion(assertion: string, type: string | undefined) {
  if (type !== ASSERTION_TYPE || assertion.length > MAX_ASSERTION_LENGTH)
    throw invalidClient(new Refusal('form'))
  try {
    return { id: decodeJwt(assertion).sub, method: 'private_key_jwt', proof: assertion } as const
  } catch {
    throw invalidClient(new Refusal('form'))
  }
}

/** Authenticates a client by its registered method. Throws 401 `invalid_client`, the same for every cause. */
export async function proveClient(
  resources: Resources,
  given: GivenClient,
  read: Client | undefined,
): Promise<Client> {
  const row = await clientWithPrimaryFallback(resources, read, given.id)
  if (!row) throw invalidClient(new Refusal('unknown'))
  if (row.token_endpoint_auth_method !== given.method) throw invalidClient(new Refusal('type'))
  if (given.method === 'private_key_jwt') await proveByKey(resources, given, row)
  else if (given.method !== 'none' && !isSecret(resources, given.proof, row))
    throw invalidClient(new Refusal('signature'))
  return row
}

/** Whether this is a valid secret of a client now. */
export function isSecret(
  { now }: Pick<Resources, 'now'>,
  secret: string,
  row: Pick<Client, 'secret_hash' | 'former_secret_hash' | 'former_secret_until'>,
): boolean {
  const digest = Buffer.from(digestOf(secret))
  const isThis = (hash: string | null) => {
    const kept = Buffer.from(hash ?? '')
    return kept.length === digest.length && timingSafeEqual(kept, digest)
  }
  const [isNewest, isFormer] = [isThis(row.secret_hash), isThis(row.former_secret_hash)]
  return isNewest || (isFormer && (row.former_secret_until ?? 0) > now)
}

/**
 * RFC 7523 section 3. The audience must be the issuer, so an assertion made for another server is rejected.
 */
async function proveByKey(resources: Resources, { id, proof }: GivenClient, row: Client): Promise<void> {
  const { config, now } = resources
  const payload = await verifyByAny(proof, JSON.parse(row.jwks ?? '{"keys":[]}'), {
    algorithms: [...ASSERTION_ALGORITHMS],
    issuer: id,
    subject: id,
    requiredClaims: ['exp', 'jti', 'aud'],
    currentDate: new Date(now),
    clockTolerance: 30,
  }).catch((cause) => {
    throw invalidClient(new Refusal('signature', { cause }))
  })
  const audience = typeof payload.aud === 'string' ? [payload.aud] : (payload.aud ?? [])
  if (audience.length !== 1 || audience[0] !== config.ISSUER) throw invalidClient(new Refusal('audience'))
  if (payload.exp! > now / 1000 + MAX_ASSERTION_SECONDS + 30) throw invalidClient(new Refusal('lifetime'))
  if (typeof payload.jti !== 'string' || payload.jti.length > 255) throw invalidClient(new Refusal('claims'))
  if (!(await spendOnce(resources, idOfAssertion(id, payload.jti, payload.exp!))))
    throw invalidClient(new Refusal('used'))
}

/**
 * Tries the one key that fits the header; without a `kid`, every key that fits: during a key rotation there
 * are two.
 */
async function verifyByAny(
  proof: string,
  jwks: JSONWebKeySet,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  try {
    return (await jwtVerify(proof, createLocalJWKSet(jwks), options)).payload
  } catch (several) {
    if (!(several instanceof errors.JWKSMultipleMatchingKeys)) throw several
    for await (const key of several) {
      const verified = await jwtVerify(proof, key, options).catch((error) => {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      })
      if (verified) return verified.payload
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** The same id for the same assertion. It contains the expiry time, as clean-up goes by ids. */
function idOfAssertion(clientId: string, jti: string, exp: number): string {
  const hex = createHash('sha256')
    .update(JSON.stringify([clientId, jti]))
    .digest('hex')
  return `${firstIdAt(exp * 1000).slice(0, 13)}-7${hex.slice(0, 3)}-8${hex.slice(3, 6)}-${hex.slice(6, 18)}`
}
