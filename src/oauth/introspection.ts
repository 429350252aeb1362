import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { hasPermission } from '../access/permissions.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import { isSpent } from '../auth/refresh.ts'
import type { Resources } from '../context.ts'
import { isYoung } from '../database/lag.ts'
import { build, rowExists } from '../database/statements.ts'
import { toAppError } from '../http/problem.ts'
import { type Claims, type ClientClaims, isOfClient, verifyAnyToken } from '../sessions/access-tokens.ts'
import {
  answersForServices,
  asHeardOf,
  type ClientSessionRow,
  isClientSessionLive,
  type Service,
  scopesNow,
  scopesOfService,
  selectClientSession,
  selectService,
} from '../sessions/client-tokens.ts'
import { sessions } from '../sessions/models.ts'
import { openRefreshToken } from '../sessions/refresh-tokens.ts'
import { findOwnProfile } from '../sessions/revocation.ts'
import { revokeSessions } from '../sessions/service.ts'
import { timeOfId } from '../values/ids.ts'
import { type GivenClient, proveClient } from './clients/authenticate.ts'
import { selectClient } from './clients/service.ts'
import { oauthError } from './errors.ts'
import { hasGrant } from './models.ts'

/** RFC 7662 section 2.2. */
export type Introspection = { active: false } | ({ active: true } & Record<string, unknown>)

const INACTIVE: Introspection = { active: false }

/** What is said of a token; undefined where it is refused. That nobody could be asked (503) is no word about it. */
const unlessRefused = <T>(said: Promise<T>): Promise<T | undefined> =>
  said.catch((error) => {
    if (toAppError(error).status !== 401) throw error
    return undefined
  })

const readToken = ({ config, now }: Resources, token: string): Promise<Claims | ClientClaims | undefined> =>
  unlessRefused(verifyAnyToken(token, config, now))

/**
 * Says of a token whether it is good now, as libSQL says it. A client hears of its own; a service with `tokens:introspect`
 * of any.
 */
export async function introspect(
  resources: Resources,
  given: GivenClient,
  token: string,
): Promise<Introspection> {
  const claims = await readToken(resources, token)
  const refresh = claims ? undefined : openRefreshToken(resources.config.keys.refresh_token, token)
  const isApps = claims !== undefined && isOfClient(claims) && claims.sid !== undefined
  const session = isApps
    ? { ...claims, sid: claims.sid! }
    : { sid: refresh?.sessionId ?? '', sub: null, client_id: given.id }
  const isOwn = claims === undefined || (isOfClient(claims) && claims.client_id === given.id)
  const { now } = resources
  const read = await resources.db.read({
    client: selectClient(given.id),
    ...selectClientSession({ ...session, now }),
    ...selectService({ id: isOwn ? '' : given.id, now }),
  })
  const client = await proveClient(resources, given, read.client[0])
  if (client.type === 'public')
    throw oauthError('unauthorized_client', 'A public client proves nothing, and is told nothing.')
  const row = isApps || refresh ? await asHeardOf(resources, read.found[0], session) : undefined
  if (refresh) return ofRefreshToken(resources, refresh, row, client.id)
  if (!claims) return INACTIVE
  const [asker] = read.service
  if (!isOwn && !(asker && mayAskOfAny(asker))) return INACTIVE
  const { ISSUER: iss, AUDIENCE: aud } = resources.config
  const common = { iss, aud, token_type: 'Bearer', ...claims }
  if (!isOfClient(claims)) {
    const profile = await unlessRefused(findOwnProfile(resources, claims, { isFresh: false }))
    return profile ? { active: true, ...common } : INACTIVE
  }
  if (isApps && !isClientSessionLive(row, claims.epoch)) return INACTIVE
  const scopes = isApps
    ? scopesNow(row!, claims.scope.split(' '))
    : ((await scopesOfService(resources, claims)) ?? [])
  return scopes.length > 0 ? { active: true, ...common, scope: scopes.join(' ') } : INACTIVE
}

function ofRefreshToken(
  { config }: Resources,
  token: { counter: number },
  row: ClientSessionRow | undefined,
  clientId: string,
): Introspection {
  if (!isClientSessionLive(row) || isSpent(config, token, row)) return INACTIVE
  const scope = scopesNow(row, (row.scope ?? '').split(' ')).join(' ')
  const exp = Math.floor(row.session_expires_at / 1000)
  return scope === '' ? INACTIVE : { active: true, client_id: clientId, sub: row.id, scope, exp }
}

/** A service with the permission, as long as whoever answers for it has that too. */
const mayAskOfAny = ({ scopes, owner_role: owner, ...service }: Service) =>
  hasGrant(service, 'client_credentials') &&
  (JSON.parse(scopes) as string[]).includes('tokens:introspect') &&
  answersForServices(owner) &&
  hasPermission(owner, 'tokens:introspect')

/**
 * RFC 7009: ends the session of a token, where it is the client's own. Any other changes nothing, and is answered alike.
 *
 * @throws 400 `unsupported_token_type` for a service's own, which has no session.
 */
export async function revoke(resources: Resources, given: GivenClient, token: string): Promise<void> {
  const { db, now } = resources
  const claims = await readToken(resources, token)
  const refresh = claims ? undefined : openRefreshToken(resources.config.keys.refresh_token, token)
  const sid = (claims && isOfClient(claims) ? claims.sid : refresh?.sessionId) ?? ''
  const isThis = and(eq(sessions.id, sid), eq(sessions.client_id, given.id))
  const asked = {
    session: build
      .select({ user_id: sessions.user_id, revoked_at: sessions.revoked_at })
      .from(sessions)
      .where(isThis),
  }
  const read = await db.read({ client: selectClient(given.id), ...asked })
  await proveClient(resources, given, read.client[0])
  if (claims && isOfClient(claims) && claims.sid === undefined && claims.client_id === given.id)
    throw oauthError(
      'unsupported_token_type',
      'A service has no session that could end: its token is over in ten minutes, or with its secret.',
    )
  // A replica that lags may not have heard of it; the token would go on.
  const isHeardOf = read.session[0] || sid === '' || !isYoung(timeOfId(sid), now)
  const [session] = isHeardOf ? read.session : (await db.readPrimary(asked)).session
  if (!session || session.revoked_at !== null) return
  const event = {
    id: uuidv7(),
    action: 'session.ended',
    userId: session.user_id,
    actorId: session.user_id,
    details: { session_id: sid, client_id: given.id },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  await db.writeBatch(
    {
      history: record(
        resources,
        event,
        sql`EXISTS (SELECT 1 FROM ${sessions} WHERE ${isThis} AND revoked_at IS NULL)`,
      ),
      ending: revokeSessions(now, 'logged_out', and(isThis, isDone)),
    },
    isDone,
  )
}
