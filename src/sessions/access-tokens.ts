import { importJWK, type JWTHeaderParameters, jwtVerify, SignJWT } from 'jose'
import { v7 as uuidv7 } from 'uuid'
import * as z from 'zod'
import type { Permission } from '../access/permissions.ts'
import type { Config } from '../config/main.ts'
import type { JwtKeys } from '../crypto/jwt-keys.ts'
import { replicaMayMiss } from '../database/lag.ts'
import { AppError, type Reason, Refusal, unavailable } from '../http/problem.ts'
import { ROLES, type Role } from '../users/models.ts'
import { BoundedMap } from '../values/bounded-map.ts'
import { timeOfId } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { invalidToken } from './errors.ts'

export const ACCESS_TOKEN_SECONDS = 600
const CLOCK_TOLERANCE_SECONDS = 30
const ALGORITHM = 'ES256'
/** RFC 9068 section 2.2: the client of a token. This one is for logins to Roster itself. */
const CLIENT_ID = 'roster'
/** RFC 9068 section 2.1. */
const ACCESS_TOKEN_TYPE = 'at+jwt'
/** Ours are about 600 characters; there is no reason to decode a longer one. */
const MAX_TOKEN_LENGTH = 2048

/**
 * RFC 7515 section 7.1: base64url, no padding, no white space. The last character of a 64-octet signature
 * carries two bits, so it must be one of four letters; jose would accept any.
 */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/
/** The only members of our headers: no embedded key, and no URL to fetch one from (RFC 8725 3.10). */
const HEADER_MEMBERS = new Set(['alg', 'typ', 'kid'])

/** The claims of an access token. None is personal: `sub` and `sid` are random ids. */
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
      // Missing from tokens of the previous version: see `assertSaysEnough`.
      amr: z.array(z.string()).readonly().optional(),
      client_id: z.literal(CLIENT_ID).optional(),
    })
    .readonly(),
)
export type Claims = Of<typeof Claims> & {
  /** For a session in a cookie: its turn when the cookie was made. */
  readonly turn?: number
  /** Set where an app or a service acts: see client-tokens.ts. */
  readonly client?: ActingClient
  /** Set where a key acts: see access/api-keys.ts. */
  readonly key?: ActingKey
}

interface ActingKey {
  id: string
  /** Digest of its secret. */
  digest: string
  /** The permissions that the request has needed so far: checked with the request's own query. */
  needs: Set<Permission>
  /** Whether two factors must have been proved when the key was made. */
  mustBeTwofold: boolean
}

interface ActingClient {
  id: string
  /** Its scopes as they are now. */
  scopes: readonly string[]
  /** A service acts for itself: nobody is signed in. */
  isService: boolean
  /** Whether approving a device can count as a recent login for this request: see access/clients.ts. */
  canProve: boolean
}

/** The claims of a token of an app or a service: scopes instead of a role (RFC 9068 section 2.2.3). */
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
      // A UUID, or the URL of its metadata document.
      client_id: z.string(),
      scope: z.string(),
      // Another service that the token is for (RFC 8707); it is refused here.
      aud: z.string().optional(),
      // The user's epoch, or a service's own.
      epoch: z.int().nonnegative(),
      // When a device was approved with a recent login (epoch seconds): only in the first token of its
      // session.
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
  /** How (RFC 8176). */
  amr?: readonly string[]
  /** Ten minutes when absent, and never more. */
  lifetimeSeconds?: number
}

/** Imported keys by their set. CryptoKeys are plain values, so they may outlive a request. */
const imported = new WeakMap<JwtKeys, Map<string, CryptoKey>>()

async function importKeys(keys: JwtKeys): Promise<Map<string, CryptoKey>> {
  const known = imported.get(keys)
  if (known) return known
  const pairs = [
    ['signing', keys.signing] as const,
    // A key for another use verifies nothing here (RFC 7517 section 4.2).
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

/** Issues an access token (ES256, RFC 9068); `now` is epoch ms. */
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

/** What a verifier needs: public keys, the issuer and the audience. */
export type Verifier = Pick<Config, 'JWT_KEYS' | 'ISSUER' | 'AUDIENCE'>

/** Whether a token was issued to an app or a service. */
export const isOfClient = (claims: Claims | ClientClaims): claims is ClientClaims => !('role' in claims)

/**
 * Verifies everything about an access token that does not need the database: a function of token, keys and
 * time. All requirements are explicit (RFC 8725): algorithm (never taken from the header), type, issuer,
 * audience, claims, and a lifetime that we limit, not the token. Apps and services have such tokens too.
 *
 * @param now epoch ms.
 * @throws 401 `invalid_token`, the same for every reason, which is its cause. 503 if our own keys are
 *   missing.
 */
export async function verifyAccessToken(
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
 * Whether a lagging replica may have missed it: a session or token younger than a minute, or a raised epoch.
 * Then the primary is asked. Cookies have a check of their own: cookie-lookup.ts.
 */
export const replicaMayLag = (
  row: { token_epoch: number } | undefined,
  { sid, iat = 0, epoch = 0 }: { sid: string; iat?: number; epoch?: number },
  now: number,
) => (row ? row.token_epoch < epoch : replicaMayMiss(Math.max(timeOfId(sid), iat * 1000), now))

/**
 * When this isolate first saw a token (seconds). Tokens made since then are from this version or a newer one.
 */
let runningSince: number | undefined

/** The previous version set neither `client_id` nor `amr`; its tokens are valid for their ten minutes. */
function assertSaysEnough({ client_id, amr, iat }: Claims, seconds: number): void {
  runningSince ??= seconds
  if ((client_id === undefined || amr === undefined) && iat >= runningSince) throw new Refusal('claims')
}

/** What jose rejected, as a word of ours; its messages are not logged. */
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
 * Tokens that were found genuine. A client sends the same token for ten minutes, and checks that do not
 * depend on the time need no repeat.
 */
const genuine = new WeakMap<Verifier, Map<string, Claims | ClientClaims>>()
const MAX_GENUINE = 1000

async function claimsOf(token: string, verifier: Verifier): Promise<Claims | ClientClaims> {
  const known = genuine.get(verifier) ?? new BoundedMap<string, Claims | ClientClaims>(MAX_GENUINE)
  genuine.set(verifier, known)
  const claims = known.get(token) ?? (await readToken(token, verifier))
  known.set(token, claims)
  return claims
}

/** Checks everything about a token except its times. */
async function readToken(token: string, verifier: Verifier): Promise<Claims | ClientClaims> {
  if (token.length > MAX_TOKEN_LENGTH || !COMPACT.test(token)) throw new Refusal('form')
  const keys = await importKeys(verifier.JWT_KEYS)
  const { payload } = await jwtVerify(token, (header: JWTHeaderParameters) => requireKey(keys, header), {
    algorithms: [ALGORITHM],
    typ: ACCESS_TOKEN_TYPE,
    issuer: verifier.ISSUER,
    requiredClaims: ['sub', 'jti', 'iat', 'exp', 'aud'],
    // The caller checks the times.
    clockTolerance: Number.MAX_SAFE_INTEGER,
  })
  const { aud, ...claims } = payload
  const isOurs = payload.client_id === undefined || payload.client_id === CLIENT_ID
  // jose accepts a list that contains our audience; our tokens never have a list (RFC 8725 section 3.9).
  const isElsewhere = aud !== verifier.AUDIENCE
  if (isElsewhere && (isOurs || typeof aud !== 'string')) throw new Refusal('audience')
  return isOurs ? Claims().parse(claims) : ClientClaims().parse({ ...claims, ...(isElsewhere && { aud }) })
}

/** A plain look-up by `kid` in our own table. */
function requireKey(keys: Map<string, CryptoKey>, header: JWTHeaderParameters): CryptoKey {
  if (!Object.keys(header).every((name) => HEADER_MEMBERS.has(name))) throw new Refusal('header')
  if (typeof header.kid !== 'string') throw new Refusal('key')
  const key = keys.get(`kid:${header.kid}`)
  if (!key) throw new Refusal('key')
  return key
}
