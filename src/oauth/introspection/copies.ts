import type { Resources } from '../../context.ts'
import { type Claims, type ClientClaims, isOfClient } from '../../sessions/access-tokens.ts'
import {
  type ClientSessionRow,
  type Service,
  scopesNow,
  scopesOfService,
} from '../../sessions/client-tokens.ts'
import {
  areClear,
  copyKey,
  doubtKey,
  doubtKeysOf,
  keysOfLogin,
  openCopy,
  openLogin,
  putCopy,
  type Replies,
  type Timed,
} from '../../sessions/near.ts'
import { BoundedMap } from '../../values/bounded-map.ts'
import { type GivenClient, isSecret } from '../clients/authenticate.ts'
import { type Client, hasGrant } from '../models.ts'
import { resourcesOf } from '../resources.ts'

/**
 * Copies in Redis of apps, services and apps' sessions, by the rules of sessions/near.ts: a copy decides alone if
 * nothing contradicts it; in every other case libSQL is asked.
 */

/** A client, as far as decisions about tokens need it. */
interface ClientCopy
  extends Timed,
    Pick<
      Client,
      'type' | 'token_endpoint_auth_method' | 'secret_hash' | 'former_secret_hash' | 'former_secret_until'
    > {
  epoch: number
  /** The user who answers for a service: changing them changes the service's permissions. */
  ownerId: string | null
  /** The scopes of a service, which never exceed its owner's permissions. */
  scopes: string[]
  mayIntrospectAny: boolean
  /** The URLs of the resources it owns; absent in copies by the previous version. */
  resources?: string[]
}

/** The most that an app's session may do, for one epoch of its user. */
interface SessionCopy extends Timed {
  sub: string
  clientId: string
  epoch: number
  scopes: string[]
  /** The service that it is for; null for Roster itself, and absent in copies by the previous version. */
  resource?: string | null
}

/**
 * Each service's owner, as this isolate last saw it. It only tells which keys to ask for: a copy that names an owner
 * whose doubt was not asked for is not used.
 */
const owners = new BoundedMap<string, string>(1000)

const placeOf = (clientId: string) => `client:${clientId}`
const aboutClient = (id: string) => `client copy ${id}`
const aboutSession = (id: string) => `app copy ${id}`
const FOR_GOOD = Number.MAX_SAFE_INTEGER

function doubtKeysOfClient(id: string): string[] {
  const owner = owners.get(id)
  return [doubtKey(id), ...(owner === undefined ? [] : [doubtKey(owner)])]
}

/** The keys to ask Redis for, to know a client. */
export const keysOfClient = (id: string) => [copyKey(placeOf(id)), ...doubtKeysOfClient(id)]

/** The keys to ask Redis for, to decide about a token. */
export function keysOfToken(claims: Claims | ClientClaims): string[] {
  if (!isOfClient(claims)) return keysOfLogin(claims)
  const { sid, sub, client_id: client } = claims
  return sid === undefined ? keysOfClient(client) : [copyKey(sid), ...doubtKeysOf(sid, sub, client)]
}

/** A client by its copy; undefined if there is none, or if something contradicts it. */
export async function openClient(
  { config }: Pick<Resources, 'config'>,
  id: string,
  replies: Replies,
): Promise<ClientCopy | undefined> {
  if (!areClear(replies, [doubtKey(id)])) return undefined
  const copy = await openCopy<ClientCopy>(config, replies!.get(copyKey(placeOf(id))), aboutClient(id))
  if (!copy || copy.ownerId === null) return copy
  owners.set(id, copy.ownerId)
  return areClear(replies, [doubtKey(copy.ownerId)]) ? copy : undefined
}

/** Whether a client has proved its identity by its copy. If it has not, libSQL must be asked. */
export const isAuthenticatedByCopy = (
  resources: Pick<Resources, 'now'>,
  copy: ClientCopy,
  given: GivenClient,
) =>
  copy.type === 'confidential' &&
  copy.token_endpoint_auth_method === given.method &&
  isSecret(resources, given.proof, copy)

/** What copies say about a token; undefined unless they say that it is valid. */
export async function introspectByCopies(
  resources: Pick<Resources, 'config'>,
  claims: Claims | ClientClaims,
  replies: Replies,
): Promise<{ scopes?: string[] } | undefined> {
  if (!isOfClient(claims)) return (await openLogin(resources, claims, replies)).profile && {}
  const { sid, sub, client_id: client, epoch } = claims
  const asked = claims.scope.split(' ')
  if (sid === undefined) {
    const copy = await openClient(resources, client, replies)
    if (sub !== client || copy?.epoch !== epoch) return undefined
    return withSome(asked.filter((scope) => copy.scopes.includes(scope)))
  }
  if (!areClear(replies, doubtKeysOf(sid, sub, client))) return undefined
  const copy = await openCopy<SessionCopy>(resources.config, replies!.get(copyKey(sid)), aboutSession(sid))
  if (copy?.sub !== sub || copy.clientId !== client || copy.epoch !== epoch) return undefined
  if ((copy.resource ?? null) !== (claims.aud ?? null)) return undefined
  return withSome(asked.filter((scope) => copy.scopes.includes(scope)))
}

const withSome = (scopes: string[]) => (scopes.length > 0 ? { scopes } : undefined)

/** What Redis said before libSQL was asked, and when it was asked (epoch ms). */
interface Asked {
  replies: Replies
  readAt: number
}

/** Stores a copy of a client after the answer, unless Redis doubts the client, or was not asked whether it does. */
export function keepClient(
  resources: Resources,
  client: Client,
  service: Service,
  { replies, readAt }: Asked,
): void {
  const { id, owner_id: ownerId } = client
  if (ownerId !== null) owners.set(id, ownerId)
  if (!areClear(replies, [doubtKey(id), ...(ownerId === null ? [] : [doubtKey(ownerId)])])) return
  const copy: ClientCopy = {
    type: client.type,
    token_endpoint_auth_method: client.token_endpoint_auth_method,
    secret_hash: client.secret_hash,
    former_secret_hash: client.former_secret_hash,
    former_secret_until: client.former_secret_until,
    epoch: client.epoch,
    ownerId,
    scopes: scopesOfService(service),
    mayIntrospectAny: mayIntrospectAny(service),
    resources: resourcesOf(client).map(({ url }) => url),
    readAt,
    endsAt: FOR_GOOD,
  }
  resources.afterwards(putCopy(resources, placeOf(id), aboutClient(id), copy))
}

/** The same for an app's session. */
export function keepSession(
  resources: Resources,
  { sid, sub, client_id: clientId }: ClientClaims & { sid: string },
  row: ClientSessionRow,
  { replies, readAt }: Asked,
): void {
  if (!areClear(replies, doubtKeysOf(sid, sub, clientId))) return
  const scopes = scopesNow(row, (row.scope ?? '').split(' '))
  const copy: SessionCopy = {
    sub,
    clientId,
    epoch: row.token_epoch,
    scopes,
    resource: row.resource,
    readAt,
    endsAt: row.ends_at,
  }
  resources.afterwards(putCopy(resources, sid, aboutSession(sid), copy))
}

/** Whether a service may ask about any token: it has the permission, and so does its owner. */
export const mayIntrospectAny = (service: Service) =>
  hasGrant(service, 'client_credentials') && scopesOfService(service).includes('tokens:introspect')
