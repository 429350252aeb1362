import type { Resources } from '../../context.ts'
import { ACCESS_TOKEN_SECONDS, signClientToken } from '../../sessions/access-tokens.ts'
import type { Session } from '../../sessions/models.ts'
import { makeRefreshToken } from '../../sessions/refresh-tokens.ts'
import type { Role } from '../../users/models.ts'
import type { GivenClient } from '../clients/authenticate.ts'
import { oauthError } from '../errors.ts'
import { signIdToken } from '../id-tokens.ts'
import { type Client, type GrantType, hasGrant, isOfOpenId } from '../models.ts'

/** RFC 6749 section 5.1. */
export interface TokenAnswer {
  access_token: string
  token_type: 'Bearer'
  expires_in: number
  scope: string
  refresh_token?: string
  id_token?: string
}

export type Fields = Record<string, string>
export type Grant = (resources: Resources, given: GivenClient, fields: Fields) => Promise<TokenAnswer>

export function assertMayUseGrant(client: Client, grant: GrantType): void {
  if (!hasGrant(client, grant))
    throw oauthError('unauthorized_client', 'The client is not registered for this grant.')
}

interface Issued {
  client: Client
  session: Pick<Session, 'id' | 'counter' | 'amr' | 'parent_id' | 'proved_at'>
  user: { id: string; role: Role }
  epoch: number
  scopes: readonly string[]
  /** The service that the access token is for, with its scopes alone; null for Roster itself. */
  resource: string | null
  nonce?: string | null
  /** When the user approved a device with a recent login (epoch seconds). */
  approvedAt?: number | undefined
}

export async function toAnswer(resources: Resources, issued: Issued): Promise<TokenAnswer> {
  const { config, now } = resources
  const { client, session, user, epoch, scopes, resource, nonce, approvedAt } = issued
  const amr = JSON.parse(session.amr) as string[]
  const authTime = Math.floor((session.proved_at ?? 0) / 1000)
  const scope = (resource === null ? scopes : scopes.filter((one) => !isOfOpenId(one))).join(' ')
  const accessToken = await signClientToken(config, now, {
    sub: user.id,
    sid: session.id,
    client_id: client.id,
    scope,
    epoch,
    auth_time: authTime,
    amr,
    ...(approvedAt !== undefined && { approved_at: approvedAt }),
    ...(resource !== null && { aud: resource }),
  })
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: ACCESS_TOKEN_SECONDS,
    scope,
    ...(hasGrant(client, 'refresh_token') && {
      refresh_token: makeRefreshToken(config.keys.refresh_token, session.id, session.counter),
    }),
    ...(scopes.includes('openid') && {
      id_token: await signIdToken(config, now, {
        algorithm: client.id_token_signed_response_alg,
        clientId: client.id,
        user,
        parentId: session.parent_id ?? '',
        scopes,
        authTime,
        amr,
        nonce: nonce ?? null,
        accessToken,
      }),
    }),
  }
}
