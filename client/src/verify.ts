import type { MiddlewareHandler } from 'hono'

/**
 * Verifies Roster's access tokens in a service that accepts them: with Roster's public keys by Web Crypto,
 * without a request; and by introspection (RFC 7662), as fresh as the service wants. It runs wherever there
 * is `fetch`.
 *
 * Keys and answers are cached as plain values, never promises, so one verifier serves all requests of an
 * isolate.
 */

export interface VerifierOptions {
  /** Roster's ISSUER. */
  issuer: string
  /** The audience that tokens must have: Roster's AUDIENCE, or your resource's URL. */
  audience: string
  /**
   * A client of Roster's that may introspect these tokens. Without one, a token is valid until it expires:
   * ten minutes.
   */
  client?: { id: string; secret: string }
  /**
   * How old an introspection may be, in seconds: 0 asks each time. Without this, or without a client, only
   * the token itself is verified.
   */
  maxAgeSeconds?: number
  /** A protected resource (RFC 9728): its URL, and its scopes. */
  resource?: { url: string; scopes?: readonly string[]; name?: string }
  /** A replacement for `fetch`, such as a service binding's. */
  fetch?: (input: string, init?: RequestInit) => Promise<Response>
}

/** A valid token. */
export interface Verified {
  sub: string
  /** The app that it was issued to; `roster` for a login to Roster itself. */
  clientId: string
  /** The app's scopes. A login has a role instead. */
  scopes: readonly string[]
  role?: string
  claims: Readonly<Record<string, unknown>>
}

export interface Wanted {
  /** Scopes that the token must have, all of them. */
  scopes?: readonly string[]
  /** Overrides that of `VerifierOptions` for one call. */
  maxAgeSeconds?: number
}

/** Error codes of the answer: RFC 6750 section 3.1. */
export type VerificationCode = 'missing_token' | 'invalid_token' | 'insufficient_scope' | 'unavailable'
const STATUS = { missing_token: 401, invalid_token: 401, insufficient_scope: 403, unavailable: 503 } as const

export class VerificationError extends Error {
  readonly code: VerificationCode
  readonly status: 401 | 403 | 503
  constructor(code: VerificationCode, options?: ErrorOptions) {
    super(code, options)
    this.code = code
    this.status = STATUS[code]
  }
}

const TOLERANCE_SECONDS = 30
const LONGEST_SECONDS = 600
const MAX_TOKEN_LENGTH = 2048
const KEYS_KEPT_MS = 600_000
/** How long keys are used when Roster cannot be reached. */
const KEYS_OUTLIVE_MS = 86_400_000
/**
 * An unknown key may be new, so the keys are fetched again; but not for each token that somebody makes up.
 */
const KEYS_ASKED_EVERY_MS = 30_000
const MAX_ANSWERS = 1000
const TIMEOUT_MS = 5000
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** RFC 7515 section 7.1; only four letters are valid as the last character of a signature. */
const COMPACT = /^([\w-]+)\.([\w-]+)\.([\w-]{85}[AQgw])$/

type Claims = Record<string, unknown> & { sub: string; exp: number; iat: number; aud: string }
type Jwk = JsonWebKey & { kid?: string }

const invalid = (cause?: unknown) => new VerificationError('invalid_token', { cause })
const bytesOf = (base64url: string) =>
  Uint8Array.from(atob(base64url.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0))

function jsonOf(base64url: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytesOf(base64url)),
    )
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {}
  throw invalid()
}

const scopesOf = (scope: unknown) => (typeof scope === 'string' ? scope.split(' ').filter(Boolean) : [])

/** The path of a resource's metadata (RFC 9728 section 3.1). */
const metadataUrlOf = (resource: string) => {
  const { origin, pathname, search } = new URL(resource)
  return `${origin}/.well-known/oauth-protected-resource${pathname === '/' ? '' : pathname}${search}`
}

export interface Verifier {
  /** Throws VerificationError. */
  verify(token: string, wanted?: Wanted): Promise<Verified>
  /** The same for the token in a request (RFC 6750 section 2.1). */
  verifyRequest(request: Request, wanted?: Wanted): Promise<Verified>
  /** The answer to a request that was refused. Rethrows anything but a VerificationError. */
  toResponse(error: unknown): Response
  /**
   * The metadata of the resource (RFC 9728), if a request asks for them: by GET, HEAD or a browser's OPTIONS,
   * whatever scheme and host a proxy leaves in its URL.
   */
  metadataFor(request: Request): Response | undefined
}

export function createVerifier(options: VerifierOptions): Verifier {
  // An ISSUER is an origin: a trailing slash is not part of it.
  const issuer = options.issuer.replace(/\/$/, '')
  const { audience, client, resource } = options
  const ask = options.fetch ?? ((input, init) => fetch(input, init))
  let keys = new Map<string, CryptoKey>()
  let keysAt = Number.NEGATIVE_INFINITY
  let askedAt = Number.NEGATIVE_INFINITY
  /** Whether a request is fetching the keys. One request must not wait for another's fetch. */
  let isAsking = false
  const answers = new Map<string, { at: number; answer: Record<string, unknown> }>()

  async function readJson(path: string, init: RequestInit = {}): Promise<Record<string, unknown>> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS)
      const response = await ask(issuer + path, { ...init, signal, redirect: 'manual' })
      if (response.status !== 200) throw new Error(`status ${response.status}`)
      const json: unknown = await response.json()
      if (typeof json !== 'object' || json === null) throw new Error('no object')
      return json as Record<string, unknown>
    } catch (cause) {
      throw new VerificationError('unavailable', { cause })
    }
  }

  async function readKeys(): Promise<Map<string, CryptoKey>> {
    const { keys: all } = await readJson('/.well-known/jwks.json')
    try {
      // Only keys of our curve and use: the others are for other tokens.
      const ours = (all as Jwk[]).filter(
        ({ kty, crv, use, kid }) => kty === 'EC' && crv === 'P-256' && (use ?? 'sig') === 'sig' && kid,
      )
      // Roster always has one, so somebody else has answered, and known keys must not be dropped for that.
      if (ours.length === 0) throw new Error('no keys')
      const imported = ours.map(async ({ kid, x, y }) => {
        const jwk = { kty: 'EC', crv: 'P-256', x: x!, y: y! }
        return [kid!, await crypto.subtle.importKey('jwk', jwk, ALGORITHM, false, ['verify'])] as const
      })
      return new Map(await Promise.all(imported))
    } catch (cause) {
      throw new VerificationError('unavailable', { cause })
    }
  }

  async function keyOf(kid: string): Promise<CryptoKey> {
    const now = Date.now()
    const isUnknown = !keys.has(kid)
    const isDue = isUnknown || now - keysAt >= KEYS_KEPT_MS
    if (isDue && (now - askedAt >= KEYS_ASKED_EVERY_MS || (isUnknown && isAsking))) {
      askedAt = now
      isAsking = true
      try {
        keys = await readKeys()
        keysAt = now
      } catch (error) {
        // Known keys are used for a while; if there are none, the next request fetches again.
        if (!keys.has(kid) || now - keysAt >= KEYS_OUTLIVE_MS) {
          askedAt = Number.NEGATIVE_INFINITY
          throw error
        }
      } finally {
        isAsking = false
      }
    }
    const key = keys.get(kid)
    if (!key) throw invalid()
    return key
  }

  /** Checks the token alone: form, type, signature, and all required claims (RFC 9068 section 4). */
  async function verifyAlone(token: string): Promise<Claims> {
    const [, head, body, signature] = (token.length <= MAX_TOKEN_LENGTH && COMPACT.exec(token)) || []
    if (!head || !body || !signature) throw invalid()
    const { alg, typ, kid, ...others } = jsonOf(head)
    if (alg !== 'ES256' || typ !== 'at+jwt' || typeof kid !== 'string' || Object.keys(others).length > 0)
      throw invalid()
    const signed = new TextEncoder().encode(`${head}.${body}`)
    const isSigned = await crypto.subtle.verify(ALGORITHM, await keyOf(kid), bytesOf(signature), signed)
    if (!isSigned) throw invalid()
    const claims = jsonOf(body)
    const { iss, aud, sub, exp, iat, nbf = 0 } = claims
    const now = Math.floor(Date.now() / 1000)
    const isInTime =
      typeof exp === 'number' &&
      typeof iat === 'number' &&
      typeof nbf === 'number' &&
      exp + TOLERANCE_SECONDS > now &&
      exp - iat <= LONGEST_SECONDS &&
      Math.max(iat, nbf) <= now + TOLERANCE_SECONDS
    if (iss !== issuer || aud !== audience || typeof sub !== 'string' || !isInTime) throw invalid()
    return claims as Claims
  }

  /** Introspects a token; the answer is not older than wanted. */
  async function introspect(token: string, maxAgeSeconds: number): Promise<Record<string, unknown>> {
    const known = answers.get(token)
    if (known && Date.now() - known.at < maxAgeSeconds * 1000) return known.answer
    const { id, secret } = client!
    const encode = (text: string) => encodeURIComponent(text).replaceAll('%20', '+')
    const at = Date.now()
    const answer = await readJson('/oauth/introspect', {
      method: 'POST',
      headers: {
        authorization: `Basic ${btoa(`${encode(id)}:${encode(secret)}`)}`,
        'content-type': 'application/x-www-form-urlencoded',
        ...(maxAgeSeconds === 0 && { 'cache-control': 'no-cache' }),
      },
      body: new URLSearchParams({ token }).toString(),
    })
    if (typeof answer.active !== 'boolean') throw new VerificationError('unavailable')
    if (answers.size >= MAX_ANSWERS) answers.clear()
    answers.set(token, { at, answer })
    return answer
  }

  async function verify(token: string, { scopes = [], ...wanted }: Wanted = {}): Promise<Verified> {
    const claims = await verifyAlone(token)
    const maxAgeSeconds = wanted.maxAgeSeconds ?? options.maxAgeSeconds
    const said = client && maxAgeSeconds !== undefined ? await introspect(token, maxAgeSeconds) : undefined
    if (said?.active === false) throw invalid()
    const granted = scopesOf(said ? said.scope : claims.scope)
    if (!scopes.every((scope) => granted.includes(scope))) throw new VerificationError('insufficient_scope')
    const role = typeof claims.role === 'string' ? { role: claims.role } : {}
    return { sub: claims.sub, clientId: String(claims.client_id), scopes: granted, ...role, claims }
  }

  const challenge = (code: VerificationCode) => {
    const said = code === 'missing_token' ? [] : [`error="${code}"`]
    const where = resource ? [`resource_metadata="${metadataUrlOf(resource.url)}"`] : []
    return `Bearer ${[`realm="${new URL(issuer).host}"`, ...said, ...where].join(', ')}`
  }

  return {
    verify,
    async verifyRequest(request, wanted) {
      const header = request.headers.get('authorization')
      if (header === null) throw new VerificationError('missing_token')
      const [, token] = /^Bearer ([\w.-]+)$/i.exec(header) ?? []
      if (!token) throw invalid()
      return verify(token, wanted)
    },
    toResponse(error) {
      if (!(error instanceof VerificationError)) throw error
      const { code, status } = error
      const headers: Record<string, string> =
        status === 503 ? { 'retry-after': '5' } : { 'www-authenticate': challenge(code) }
      return Response.json({ error: code }, { status, headers: { ...headers, 'cache-control': 'no-store' } })
    },
    metadataFor(request) {
      if (!resource || !['GET', 'HEAD', 'OPTIONS'].includes(request.method)) return undefined
      const [own, asked] = [new URL(metadataUrlOf(resource.url)), new URL(request.url)]
      // A query belongs to the resource's own URL, or is somebody's attempt to bypass a cache.
      if (asked.pathname !== own.pathname || (own.search && asked.search !== own.search)) return undefined
      const open = { 'access-control-allow-origin': '*' }
      if (request.method === 'OPTIONS')
        return new Response(null, {
          status: 204,
          headers: {
            ...open,
            'access-control-allow-methods': 'GET',
            'access-control-allow-headers': '*',
            'access-control-max-age': '3600',
          },
        })
      const metadata = {
        resource: resource.url,
        authorization_servers: [issuer],
        bearer_methods_supported: ['header'],
        ...(resource.scopes && { scopes_supported: resource.scopes }),
        ...(resource.name !== undefined && { resource_name: resource.name }),
      }
      return new Response(request.method === 'HEAD' ? null : JSON.stringify(metadata), {
        headers: { ...open, 'content-type': 'application/json', 'cache-control': 'public, max-age=3600' },
      })
    },
  }
}

/**
 * For Hono: admits requests with a valid token, as `c.get('token')`, and answers all others. Also serves the
 * metadata of the resource. After it, `c.get('token').scopes` says what an app may do.
 */
export const protect = (
  verifier: Verifier,
  wanted?: Wanted,
): MiddlewareHandler<{ Variables: { token: Verified } }> =>
  async function protect(c, next) {
    const metadata = verifier.metadataFor(c.req.raw)
    if (metadata) return metadata
    try {
      c.set('token', await verifier.verifyRequest(c.req.raw, wanted))
    } catch (error) {
      return verifier.toResponse(error)
    }
    await next()
    return undefined
  }
