import { createHash } from 'node:crypto'
import { importJWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import { digestOf } from '../crypto/digest.ts'
import type { IdTokenAlgorithm, OpenIdKeys } from '../crypto/openid-keys.ts'
import type { Profile } from '../users/models.ts'

const ID_TOKEN_SECONDS = 600

/** Imported keys, by the key set they come from. */
const imported = new WeakMap<OpenIdKeys, Map<string, Promise<CryptoKey>>>()

function keyOf(keys: OpenIdKeys, jwk: OpenIdKeys['verifying'][number], use: 'sign' | 'verify') {
  const known = imported.get(keys) ?? new Map<string, Promise<CryptoKey>>()
  imported.set(keys, known)
  const name = `${use} ${jwk.kid}`
  const made = known.get(name) ?? (importJWK(jwk, jwk.alg) as Promise<CryptoKey>)
  known.set(name, made)
  return made
}

/**
 * The session id for apps (OpenID `sid`): the same for all of an app's sessions under one session of the
 * user.
 */
export const sidOf = (parentId: string, clientId: string) => digestOf(`${parentId} ${clientId}`).slice(0, 32)

/** 1: one factor; 2: two. */
const acrOf = (amr: readonly string[]) => (amr.includes('mfa') ? '2' : '1')

export interface IdToken {
  algorithm: IdTokenAlgorithm
  clientId: string
  user: Pick<Profile, 'id' | 'role'>
  parentId: string
  scopes: readonly string[]
  /** Epoch seconds; 0 if unknown. */
  authTime: number
  amr: readonly string[]
  nonce?: string | null
  accessToken: string
}

/**
 * OpenID Connect Core section 2: who signed in, for this client alone. Claims about the user are at userinfo.
 */
export async function signIdToken(config: Config, now: number, token: IdToken): Promise<string> {
  const keys = config.OPENID_KEYS!
  const { clientId, user, parentId, scopes, authTime, amr, nonce, accessToken } = token
  const key = keys.signing[token.algorithm]
  const issuedAt = Math.floor(now / 1000)
  return new SignJWT({
    // Unknown if they signed in by a provider that does not tell. A request with `max_age` has made it ask
    // again.
    ...(authTime > 0 && { auth_time: authTime }),
    ...(nonce != null && { nonce }),
    amr,
    acr: acrOf(amr),
    sid: sidOf(parentId, clientId),
    // Section 3.1.3.6: the left half of the digest.
    at_hash: createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url'),
    ...(scopes.includes('roles') && { roles: [user.role] }),
  })
    .setProtectedHeader({ alg: token.algorithm, typ: 'JWT', kid: key.kid })
    .setIssuer(config.ISSUER)
    .setSubject(user.id)
    .setAudience(clientId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + ID_TOKEN_SECONDS)
    .sign(await keyOf(keys, key, 'sign'))
}

const LOGOUT_TOKEN_SECONDS = 120
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/**
 * OpenID Connect Back-Channel Logout section 2.4: tells one app that a session has ended. Never with a nonce.
 */
export async function signLogoutToken(
  config: Config,
  now: number,
  {
    algorithm,
    clientId,
    userId,
    parentId,
  }: Pick<IdToken, 'algorithm' | 'clientId' | 'parentId'> & { userId: string },
): Promise<string> {
  const keys = config.OPENID_KEYS!
  const key = keys.signing[algorithm]
  const issuedAt = Math.floor(now / 1000)
  return new SignJWT({ sid: sidOf(parentId, clientId), events: { [LOGOUT_EVENT]: {} } })
    .setProtectedHeader({ alg: algorithm, typ: 'logout+jwt', kid: key.kid })
    .setIssuer(config.ISSUER)
    .setSubject(userId)
    .setAudience(clientId)
    .setJti(uuidv7())
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + LOGOUT_TOKEN_SECONDS)
    .sign(await keyOf(keys, key, 'sign'))
}

/** The claims of an ID token of ours given as a hint, even expired; undefined for anything else. */
export async function readHint(config: Config, hint: string): Promise<JWTPayload | undefined> {
  const keys = config.OPENID_KEYS!
  if (hint.length > 4096) return undefined
  try {
    const { payload } = await jwtVerify(
      hint,
      ({ kid }) => {
        const jwk = keys.verifying.find((key) => key.kid === kid)
        if (!jwk) throw new Error('no key of ours')
        return keyOf(keys, jwk, 'verify')
      },
      {
        algorithms: ['RS256', 'ES256'],
        issuer: config.ISSUER,
        typ: 'JWT',
        clockTolerance: Number.MAX_SAFE_INTEGER,
      },
    )
    return typeof payload.sub === 'string' && typeof payload.aud === 'string' ? payload : undefined
  } catch {
    return undefined
  }
}

/** OpenID Connect Core section 5.1, by the granted scopes. */
export const claimsOf = (user: Profile & { locale?: string | null }, scopes: readonly string[]) => ({
  sub: user.id,
  ...(scopes.includes('profile') && {
    name: user.name,
    ...(user.locale != null && { locale: user.locale }),
    updated_at: Math.floor(user.updated_at / 1000),
  }),
  ...(scopes.includes('email') && { email: user.email, email_verified: user.email_verified_at !== null }),
  ...(scopes.includes('roles') && { roles: [user.role] }),
})
