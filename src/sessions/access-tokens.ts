import { importJWK, type JWTHeaderParameters, jwtVerify, SignJWT } from 'jose'
import { v7 as uuidv7 } from 'uuid'
import * as z from 'zod'
import type { Permission } from '../access/permissions.ts'
import type { Config } from '../config/main.ts'
import type { JwtKeys } from '../crypto/jwt-keys.ts'
import { isYoung } from '../database/lag.ts'
import { AppError, type Reason, Refusal, unavailable } from '../http/problem.ts'
import { ROLES, type Role } from '../users/models.ts'
import { timeOfId } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { invalidToken } from './errors.ts'

export const ACCESS_TOKEN_SECONDS = 600
const CLOCK_TOLERANCE_SECONDS = 30
const ALGORITHM = 'ES256'
/** RFC 9068 section 2.2: whom a token was given to. These are for our own logins. */
const CLIENT_ID = 'roster'
/** RFC 9068 section 2.1. */
const ACCESS_TOKEN_TYPE = 'at+jwt'
/** Ours are about 600 characters; there is no reason to decode a longer one. */
const MAX_TOKEN_LENGTH = 2048

/**
 * RFC 7515 section 7.1: base64url, no padding, no white space. Of a signature's 64 octets the last character carries
 * two bits, so only four letters can be it; jose would take any.
 */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/
/** What a header of ours has, and nothing else: no key brought along, no place to fetch one from (RFC 8725 3.10). */
const HEADER_MEMBERS = new Set(['alg', 'typ', 'kid'])

/** What an access token says. Nothing in it is personal: `sub` and `sid` are random ids. */
const Claims = lazy(() =>
  z
    .object({
      sub: z.uuid(),
      sid: z.uuid(),
      jti: z.uuid(),
      iat: z.int().nonnegative(),
      exp: z.int().nonnegative(),
      nbf: z.number().optional(),
      role: z.enum(ROLES),
      epoch: z.int().nonnegative(),
      auth_time: z.int().nonnegative(),
      // Of tokens from before these two were in them: see `assertSaysEnough`.
      amr: z.array(z.string()).readonly().optional(),
      client_id: z.literal(CLIENT_ID).optional(),
    })
    .readonly(),
)
export type Claims = Of<typeof Claims> & {
  /** Of a cookie session: how often it had been proved again when the cookie was made. */
  readonly turn?: number
  /** Where an app or a service acts: see client-tokens.ts. */
  readonly client?: ActingClient
  /** Where a key acts: see access/api-keys.ts. */
  readonly key?: ActingKey
}

interface ActingKey {
  id: string
  /** Of its secret. */
  digest: string
  /** What the request needs, as far as it has come: looked up with what it asks for. */
  needs: Set<Permission>
  /** Whether its owner must have proved two factors as it was made. */
  mustBeTwofold: boolean
}

interface ActingClient {
  id: string
  /** What it may do now. */
  scopes: readonly string[]
  /** It acts for itself, and nobody is signed in. */
  isService: boolean
  /** Whether a proof of who they are, of a moment ago, could do for this request: see access/clients.ts. */
  canProve: boolean
}

/** What a token says that an app or a service was given: no role, and what it was let do (RFC 9068 section 2.2.3). */
const ClientClaims = lazy(() =>
  z
    .object({
      sub: z.uuid(),
      // Of a user's session; a service has none.
      sid: z.uuid().optional(),
      jti: z.uuid(),
      iat: z.int().nonnegative(),
      exp: z.int().nonnegative(),
      nbf: z.number().optional(),
      // A UUID, or the URL of what it says of itself.
      client_id: z.string(),
      scope: z.string(),
      // Another service that it is for (RFC 8707), and for nothing here.
      aud: z.string().optional(),
      // The user's, or a service's own.
      epoch: z.int().nonnegative(),
      // Of a device that somebody said yes to by a recent login (epoch seconds): in the first token of its session alone.
      approved_at: z.int().nonnegative().optional(),
      role: z.undefined().optional(),
    })
    .readonly(),
)
export type ClientClaims = Of<typeof ClientClaims>

export interface TokenSubject {
  userId: string
  sessionId: string
  role: Role
  epoch: number
  /** When the user proved who they are (epoch ms). */
  authenticatedAt: number
  /** By what (RFC 8176). */
  amr?: readonly string[]
  /** Ten minutes when absent, and never more. */
  lifetimeSeconds?: number
}

/** Imported keys, by the set they come from. CryptoKeys are plain values: they may outlive a request. */
const imported = new WeakMap<JwtKeys, Map<string, CryptoKey>>()

async function importKeys(keys: JwtKeys): Promise<Map<string, CryptoKey>> {
  const known = imported.get(keys)
  if (known) return known
  const pairs = [
    ['signing', keys.signing] as const,
    // A key for something else verifies nothing here (RFC 7517 section 4.2).
    ...keys.verifying.filter(({ use }) => use === 'sig').map((key) => [`kid:${key.kid}`, key] as const),
  ]
  const made = new Map(
    await Promise.all(
      pairs.map(async ([name, jwk]) => [name, (await importJWK(jwk, ALGORITHM)) as CryptoKey] as const),
    ).catch((cause) => {
      throw unavailable('misconfigured', 'Settings missing or unfit: JWT_KEYS', cause, 60)
    }),
  )
  imported.set(keys, made)
  return made
}

/** Issues an access token: ES256, RFC 9068, from `now` (epoch ms). */
export async function signAccessToken(config: Config, now: number, subject: TokenSubject): Promise<string> {
  const claims = {
    sub: subject.userId,
    sid: subject.sessionId,
    role: subject.role,
    epoch: subject.epoch,
    auth_time: Math.floor(subject.authenticatedAt / 1000),
    amr: subject.amr ?? ['pwd'],
    client_id: CLIENT_ID,
  }
  return sign(config, now, claims, subject.lifetimeSeconds)
}

/** The same for an app or a service: `scope` instead of a role. */
export const signClientToken = (
  config: Config,
  now: number,
  claims: Pick<ClientClaims, 'sub' | 'client_id' | 'scope' | 'epoch'> & {
    sid?: string
    auth_time?: number
    amr?: readonly string[]
    approved_at?: number
    aud?: string
  },
) => sign(config, now, claims)

async function sign(
  config: Config,
  now: number,
  claims: { aud?: string; sub: string },
  lifetimeSeconds = ACCESS_TOKEN_SECONDS,
): Promise<string> {
  const issuedAt = Math.floor(now / 1000)
  runningSince ??= issuedAt
  return new SignJWT({ ...claims, jti: uuidv7() })
    .setProtectedHeader({ alg: ALGORITHM, typ: ACCESS_TOKEN_TYPE, kid: config.JWT_KEYS.signing.kid })
    .setIssuer(config.ISSUER)
    .setAudience(claims.aud ?? config.AUDIENCE)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + lifetimeSeconds)
    .sign((await importKeys(config.JWT_KEYS)).get('signing')!)
}

/** What a verifier has to know: public keys, and whom tokens are from and for. */
export type Verifier = Pick<Config, 'JWT_KEYS' | 'ISSUER' | 'AUDIENCE'>

/**
 * Verifies an access token in every respect that does not need the database: a function of token, keys and time.
 * Everything required is stated (RFC 8725): the algorithm (never taken from the header), type, issuer, audience,
 * claims, and a lifetime bounded by us, not by the token.
 *
 * @param now epoch ms.
 * @throws 401 `invalid_token`, the same for whatever was wrong; the reason is its cause. 503 when our keys are none.
 */
export async function verifyAccessToken(
  token: string,
  verifier: Verifier,
  now: number,
  options: { mayBeExpired?: boolean } = {},
): Promise<Claims> {
  const claims = await verifyAnyToken(token, verifier, now, options)
  if (isOfClient(claims)) throw invalidToken(new Refusal('claims'))
  return claims
}

/** Whether a token was given to an app or a service. */
export const isOfClient = (claims: Claims | ClientClaims): claims is ClientClaims => !('role' in claims)

/** The same of a token of an app or a service, too. */
export async function verifyAnyToken(
  token: string,
  verifier: Verifier,
  now: number,
  options: { mayBeExpired?: boolean; mayBeForOthers?: boolean } = {},
): Promise<Claims | ClientClaims> {
  const seconds = Math.floor(now / 1000)
  try {
    const claims = await claimsOf(token, verifier)
    if (!isOfClient(claims)) assertSaysEnough(claims, seconds)
    else if (claims.aud !== undefined && !options.mayBeForOthers) throw new Refusal('audience')
    if (!options.mayBeExpired && claims.exp + CLOCK_TOLERANCE_SECONDS <= seconds) throw new Refusal('expired')
    if (claims.exp - claims.iat > ACCESS_TOKEN_SECONDS) throw new Refusal('lifetime')
    if ((claims.nbf ?? 0) > seconds + CLOCK_TOLERANCE_SECONDS) throw new Refusal('not_yet')
    if (claims.iat > seconds + CLOCK_TOLERANCE_SECONDS) throw new Refusal('not_yet')
    return claims
  } catch (cause) {
    throw cause instanceof AppError ? cause : invalidToken(toRefusal(cause))
  }
}

/**
 * Whether a replica that lags may not have heard of it yet: of a session or token younger than a minute, or of an epoch
 * that has been raised. Then the primary is asked. A cookie is looked up elsewhere: cookie-lookup.ts.
 */
export const mayBeUnheardOf = (
  row: { token_epoch: number } | undefined,
  { sid, iat = 0, epoch = 0 }: { sid: string; iat?: number; epoch?: number },
  now: number,
) => (row ? row.token_epoch < epoch : isYoung(Math.max(timeOfId(sid), iat * 1000), now))

/** When this isolate first made or looked at a token (seconds). Whatever made one since was this version or a newer one. */
let runningSince: number | undefined

/** The version before said neither `client_id` nor `amr`, and what it signed is good for its ten minutes. */
function assertSaysEnough({ client_id, amr, iat }: Claims, seconds: number): void {
  runningSince ??= seconds
  if ((client_id === undefined || amr === undefined) && iat >= runningSince) throw new Refusal('claims')
}

/** What jose minded, as a word of ours; its messages are not for the log. */
const REASONS: Record<string, Reason> = {
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'signature',
  ERR_JOSE_ALG_NOT_ALLOWED: 'algorithm',
  typ: 'type',
  iss: 'issuer',
  aud: 'audience',
}

function toRefusal(cause: unknown): Refusal {
  if (cause instanceof Refusal) return cause
  if (cause instanceof z.ZodError) return new Refusal('claims')
  const { code = '', claim = '' } = cause as { code?: string; claim?: string }
  const isAboutClaims = code.startsWith('ERR_JWT')
  return new Refusal(REASONS[claim] ?? REASONS[code] ?? (isAboutClaims ? 'claims' : 'form'), { cause })
}

/**
 * Tokens that were found genuine. A client brings the same one for ten minutes, and what does not depend on the time
 * stays as true as it was.
 */
const genuine = new WeakMap<Verifier, Map<string, Claims | ClientClaims>>()
const MAX_GENUINE = 1000

async function claimsOf(token: string, verifier: Verifier): Promise<Claims | ClientClaims> {
  const known = genuine.get(verifier) ?? new Map<string, Claims | ClientClaims>()
  genuine.set(verifier, known)
  const claims = known.get(token) ?? (await readToken(token, verifier))
  if (known.size >= MAX_GENUINE) known.clear()
  known.set(token, claims)
  return claims
}

/** Checks everything about a token but its times. */
async function readToken(token: string, verifier: Verifier): Promise<Claims | ClientClaims> {
  if (token.length > MAX_TOKEN_LENGTH || !COMPACT.test(token)) throw new Refusal('form')
  const keys = await importKeys(verifier.JWT_KEYS)
  const { payload } = await jwtVerify(token, (header: JWTHeaderParameters) => requireKey(keys, header), {
    algorithms: [ALGORITHM],
    typ: ACCESS_TOKEN_TYPE,
    issuer: verifier.ISSUER,
    requiredClaims: ['sub', 'jti', 'iat', 'exp', 'aud'],
    // The times are for the caller.
    clockTolerance: Number.MAX_SAFE_INTEGER,
  })
  const { aud, ...claims } = payload
  const isOurs = payload.client_id === undefined || payload.client_id === CLIENT_ID
  // jose takes a list that contains ours; a token of ours never has a list (RFC 8725 section 3.9).
  const isElsewhere = aud !== verifier.AUDIENCE
  if (isElsewhere && (isOurs || typeof aud !== 'string')) throw new Refusal('audience')
  return isOurs ? Claims().parse(claims) : ClientClaims().parse({ ...claims, ...(isElsewhere && { aud }) })
}

/** A plain look-up by `kid`, in our own table. */
function requireKey(keys: Map<string, CryptoKey>, header: JWTHeaderParameters): CryptoKey {
  if (!Object.keys(header).every((name) => HEADER_MEMBERS.has(name))) throw new Refusal('header')
  if (typeof header.kid !== 'string') throw new Refusal('key')
  const key = keys.get(`kid:${header.kid}`)
  if (!key) throw new Refusal('key')
  return key
}
