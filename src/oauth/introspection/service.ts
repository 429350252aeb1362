import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { lacksFactor } from '../../access/assurance.ts'
import { activityLogs } from '../../activity/models.ts'
import { record } from '../../activity/service.ts'
import { isSpent } from '../../auth/refresh.ts'
import type { Resources } from '../../context.ts'
import { replicaMayMiss } from '../../database/lag.ts'
import { build, rowExists } from '../../database/statements.ts'
import { toAppError } from '../../http/problem.ts'
import {
  ACCESS_TOKEN_SECONDS,
  type Claims,
  type ClientClaims,
  isOfClient,
  verifyAccessToken,
} from '../../sessions/access-tokens.ts'
import {
  type ClientSessionRow,
  isClientSessionLive,
  isForOwnAudience,
  scopesNow,
  selectClientSession,
  selectService,
  serviceScopesNow,
  serviceWithPrimaryFallback,
  withPrimaryFallback,
} from '../../sessions/client-tokens.ts'
import { sessions } from '../../sessions/models.ts'
import { openLogin, publishDoubts, type Replies, readNear, whileDoubting } from '../../sessions/near.ts'
import { openRefreshToken } from '../../sessions/refresh-tokens.ts'
import { findOwnProfile } from '../../sessions/revocation.ts'
import { revokeSessions } from '../../sessions/service.ts'
import { inWords } from '../../values/durations.ts'
import { timeOfId } from '../../values/ids.ts'
import { type GivenClient, proveClient } from '../clients/authenticate.ts'
import { selectClient } from '../clients/service.ts'
import { readerFor, selectClientOf, userOf } from '../documents/kept.ts'
import { oauthError } from '../errors.ts'
import { isByDocument, selectIsOwed } from '../models.ts'
import { owns } from '../resources.ts'
import {
  introspectByCopies,
  isAuthenticatedByCopy,
  keepClient,
  keepSession,
  keysOfClient,
  keysOfToken,
  mayIntrospectAny,
  openClient,
} from './copies.ts'

/** RFC 7662 section 2.2. */
export type Introspection = { active: false } | ({ active: true } & Record<string, unknown>)

const INACTIVE: Introspection = { active: false }

/**
 * What introspection says about a token; undefined if the token is refused. A 503 is thrown on: if nobody could be
 * asked, nothing is known about the token.
 */
const unlessRefused = <T>(said: Promise<T>): Promise<T | undefined> =>
  said.catch((error) => {
    if (toAppError(error).status !== 401) throw error
    return undefined
  })

type AnyClaims = Claims | ClientClaims
const readToken = ({ config, now }: Resources, token: string): Promise<AnyClaims | undefined> =>
  unlessRefused(verifyAccessToken(token, config, now, { mayBeForOthers: true }))

const isOwnTo = (clientId: string, claims: AnyClaims | undefined) =>
  claims === undefined || (isOfClient(claims) && claims.client_id === clientId)

/** The other service that a token is for; undefined for Roster itself. */
const serviceOf = (claims: AnyClaims | undefined) => (claims && isOfClient(claims) ? claims.aud : undefined)

/** An active token, in the terms of RFC 7662. */
function toActive({ config }: Resources, claims: AnyClaims, scopes?: readonly string[]): Introspection {
  if (scopes?.length === 0) return INACTIVE
  const { ISSUER: iss, AUDIENCE: aud } = config
  return {
    active: true,
    iss,
    aud,
    token_type: 'Bearer',
    ...claims,
    ...(scopes && { scope: scopes.join(' ') }),
  }
}

/**
 * Says whether a token is valid now: by copies in Redis if nothing contradicts them, else by libSQL. A client may ask
 * about its own tokens, and about tokens for its own resources; a service with `tokens:introspect` about any.
 *
 * @param isFresh not to rely on copies.
 * @throws 400 `unauthorized_client`; 401 `invalid_client`.
 */
export async function introspect(
  resources: Resources,
  given: GivenClient,
  token: string,
  { isFresh = false } = {},
): Promise<Introspection> {
  const claims = await readToken(resources, token)
  const refresh = claims ? undefined : openRefreshToken(resources.config.keys.refresh_token, token)
  const isNear = !isFresh && !refresh && given.method !== 'private_key_jwt'
  const keys = [...keysOfClient(given.id), ...(claims ? keysOfToken(claims) : [])]
  const replies = isNear ? await readNear(resources, keys) : undefined
  const asker = await openClient(resources, given.id, replies)
  // A copy never refuses a client: if it does not prove who is asking, libSQL is asked.
  if (asker && isAuthenticatedByCopy(resources, asker, given)) {
    const service = serviceOf(claims)
    // A resource's scopes may have changed. Only a doubt about its owner's copy would tell.
    const mayHear =
      service === undefined
        ? isOwnTo(given.id, claims) || asker.mayIntrospectAny
        : asker.resources?.includes(service) === true
    const said = claims && mayHear ? await introspectByCopies(resources, claims, replies) : undefined
    if (!claims) return INACTIVE
    if (said) return toActive(resources, claims, said.scopes)
  }

  const isApps = claims !== undefined && isOfClient(claims) && claims.sid !== undefined
  const session = isApps
    ? { ...claims, sid: claims.sid! }
    : { sid: refresh?.sessionId ?? '', sub: null, client_id: given.id }
  const { now } = resources
  const readAt = Date.now()
  const read = await resources.db.read({
    client: selectClient(given.id),
    ...selectClientSession({ ...session, now }),
    ...selectService({ id: given.id, now }),
  })
  const client = await proveClient(resources, given, read.client[0])
  if (client.type === 'public')
    throw oauthError('unauthorized_client', 'A public client cannot authenticate, and is told nothing.')
  const service = await serviceWithPrimaryFallback(resources, read.service[0], { client_id: client.id })
  if (isNear && service) keepClient(resources, client, service, { replies, readAt })
  if (refresh) {
    const row = await withPrimaryFallback(resources, read.found[0], session)
    return introspectRefreshToken(resources, refresh, row, client.id)
  }
  const mayHear =
    isOwnTo(client.id, claims) || owns(client, serviceOf(claims)) || (service && mayIntrospectAny(service))
  if (!claims || !mayHear) return INACTIVE
  return introspectByDatabase(resources, claims, { replies, readAt, ...(isApps && { rows: read.found }) })
}

/**
 * Says whether a token is valid now, to a caller who may know: another Worker of ours (index.ts).
 *
 * @param isFresh not to rely on copies.
 * @param resource the service that the token must be for; Roster itself if absent.
 */
export async function describeToken(
  resources: Resources,
  token: string,
  { isFresh = false, resource }: { isFresh?: boolean; resource?: string | undefined } = {},
): Promise<Introspection> {
  const claims = await readToken(resources, token)
  if (!claims || serviceOf(claims) !== resource) return INACTIVE
  const replies =
    isFresh || resource !== undefined ? undefined : await readNear(resources, keysOfToken(claims))
  const said = await introspectByCopies(resources, claims, replies)
  return said
    ? toActive(resources, claims, said.scopes)
    : introspectByDatabase(resources, claims, { replies, readAt: Date.now() })
}

/** By libSQL, whose answer is copied to Redis afterwards. */
async function introspectByDatabase(
  resources: Resources,
  claims: AnyClaims,
  { replies, readAt, rows }: { replies: Replies; readAt: number; rows?: readonly ClientSessionRow[] },
): Promise<Introspection> {
  const { db, now } = resources
  if (!isOfClient(claims)) {
    const near = await openLogin(resources, claims, replies)
    const profile = await unlessRefused(findOwnProfile(resources, claims, { isFresh: true, near }))
    return profile ? toActive(resources, claims) : INACTIVE
  }
  if (claims.sid === undefined) {
    const { client, service } = await db.read({
      client: selectClient(claims.client_id),
      ...selectService({ id: claims.client_id, now }),
    })
    const scopes = serviceScopesNow(await serviceWithPrimaryFallback(resources, service[0], claims), claims)
    if (client[0] && service[0]) keepClient(resources, client[0], service[0], { replies, readAt })
    return scopes ? toActive(resources, claims, scopes) : INACTIVE
  }
  const session = { ...claims, sid: claims.sid }
  const [found] = rows ?? (await db.read(selectClientSession({ ...session, now }))).found
  const row = await withPrimaryFallback(resources, found, session)
  if (!isClientSessionLive(row, claims.epoch) || !isForOwnAudience(row, claims)) return INACTIVE
  if (lacksFactor(resources.config, row)) return INACTIVE
  keepSession(resources, session, row, { replies, readAt })
  return toActive(resources, claims, scopesNow(row, claims.scope.split(' ')))
}

function introspectRefreshToken(
  { config }: Resources,
  token: { counter: number },
  row: ClientSessionRow | undefined,
  clientId: string,
): Introspection {
  if (!isClientSessionLive(row) || isSpent(config, token, row) || lacksFactor(config, row)) return INACTIVE
  const scope = scopesNow(row, (row.scope ?? '').split(' ')).join(' ')
  const exp = Math.floor(row.session_expires_at / 1000)
  return scope === '' ? INACTIVE : { active: true, client_id: clientId, sub: row.id, scope, exp }
}

/**
 * RFC 7009: ends the session of a token, if it is the client's own. Any other token changes nothing, and gets the
 * same answer.
 *
 * @throws 400 `unsupported_token_type` for a service's own token, which has no session.
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
  const ask = readerFor(resources, given.id, sid !== '')
  const read = await ask({ client: selectClientOf(given.id, userOf(sid)), ...asked })
  // No user lets this app do anything, so there is nothing to end, and nothing to authenticate it by (RFC 7009
  // section 2.2).
  if (!read.client[0] && isByDocument(given.id)) return
  await proveClient(resources, given, read.client[0])
  if (claims && isOfClient(claims) && claims.sid === undefined && claims.client_id === given.id)
    throw oauthError(
      'unsupported_token_type',
      `A service has no session to end: its token expires in ${inWords(ACCESS_TOKEN_SECONDS * 1000)}, or with its secret.`,
    )
  // A lagging replica may not know the session yet, and the token would stay valid.
  const isHeardOf = read.session[0] || sid === '' || !replicaMayMiss(timeOfId(sid), now)
  const [session] = isHeardOf ? read.session : (await db.readPrimary(asked)).session
  if (!session) return
  // Whoever repeats it may do so because Redis could not be told.
  if (session.revoked_at !== null) return publishDoubts(resources, { sessions: [sid] })
  const event = {
    id: uuidv7(),
    action: 'session.ended',
    userId: session.user_id,
    actorId: session.user_id,
    details: { session_id: sid, client_id: given.id },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const { owed } = await whileDoubting(resources, { sessions: [sid] }, () =>
    db.writeBatch(
      {
        history: record(
          resources,
          event,
          sql`EXISTS (SELECT 1 FROM ${sessions} WHERE ${isThis} AND revoked_at IS NULL)`,
        ),
        ending: revokeSessions(now, 'logged_out', and(isThis, isDone)),
        owed: selectIsOwed(),
      },
      isDone,
    ),
  )
  if (owed[0]!.is_owed) resources.afterwards(resources.deliverOwed())
}
