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
  keysAgainst,
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
 * What Redis keeps near of apps, services and their sessions, by the rules of sessions/near.ts: a copy answers alone where
 * nothing contradicts it; whatever else is found leads to libSQL.
 */

/** A client as the word about a token needs it. */
interface ClientCopy
  extends Timed,
    Pick<
      Client,
      'type' | 'token_endpoint_auth_method' | 'secret_hash' | 'former_secret_hash' | 'former_secret_until'
    > {
  epoch: number
  /** Who answers for a service: what changes of them changes it. */
  ownerId: string | null
  /** What a service may do, which is never more than its owner may. */
  scopes: string[]
  mayAskOfAny: boolean
  /** What it owns (URLs); absent in copies of the version before. */
  resources?: string[]
}

/** What an app's session may do at most, of one epoch of its user. */
interface SessionCopy extends Timed {
  sub: string
  clientId: string
  epoch: number
  scopes: string[]
  /** The service that it is for; absent in copies of the version before, and null for Roster itself. */
  resource?: string | null
}

/**
 * Who answers for a service, as this isolate has heard it. It is no more than what to ask for: a copy that names somebody
 * whose doubt was not asked for is none.
 */
const owners = new BoundedMap<string, string>(1000)

const placeOf = (clientId: string) => `client:${clientId}`
const aboutClient = (id: string) => `client copy ${id}`
const aboutSession = (id: string) => `app copy ${id}`
const FOR_GOOD = Number.MAX_SAFE_INTEGER

function keysAgainstClient(id: string): string[] {
  const owner = owners.get(id)
  return [doubtKey(id), ...(owner === undefined ? [] : [doubtKey(owner)])]
}

/** What has to be asked for, to know a client. */
export const keysOfClient = (id: string) => [copyKey(placeOf(id)), ...keysAgainstClient(id)]

/** The same, to answer for a token. */
export function keysOfToken(claims: Claims | ClientClaims): string[] {
  if (!isOfClient(claims)) return keysOfLogin(claims)
  const { sid, sub, client_id: client } = claims
  return sid === undefined ? keysOfClient(client) : [copyKey(sid), ...keysAgainst(sid, sub, client)]
}

/** A client as its copy has it, where nothing contradicts that. */
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

/** Whether a client has proved who it is, by what its copy has. One that is not has to be asked of libSQL. */
export const isKnownBy = (resources: Pick<Resources, 'now'>, copy: ClientCopy, given: GivenClient) =>
  copy.type === 'confidential' &&
  copy.token_endpoint_auth_method === given.method &&
  isSecret(resources, given.proof, copy)

/** What copies say of a token, where they say that it is good. */
export async function nearWord(
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
  if (!areClear(replies, keysAgainst(sid, sub, client))) return undefined
  const copy = await openCopy<SessionCopy>(resources.config, replies!.get(copyKey(sid)), aboutSession(sid))
  if (copy?.sub !== sub || copy.clientId !== client || copy.epoch !== epoch) return undefined
  if ((copy.resource ?? null) !== (claims.aud ?? null)) return undefined
  return withSome(asked.filter((scope) => copy.scopes.includes(scope)))
}

const withSome = (scopes: string[]) => (scopes.length > 0 ? { scopes } : undefined)

/** What Redis had said before libSQL was asked, and when that was (epoch ms). */
interface Asked {
  replies: Replies
  readAt: number
}

/** Puts a client near after the answer, unless Redis doubts it, or was not asked whether it does. */
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
    mayAskOfAny: mayAskOfAny(service),
    resources: resourcesOf(client).map(({ url }) => url),
    readAt,
    endsAt: FOR_GOOD,
  }
  resources.afterwards(putCopy(resources, placeOf(id), aboutClient(id), copy))
}

/** The same of an app's session. */
export function keepSession(
  resources: Resources,
  { sid, sub, client_id: clientId }: ClientClaims & { sid: string },
  row: ClientSessionRow,
  { replies, readAt }: Asked,
): void {
  if (!areClear(replies, keysAgainst(sid, sub, clientId))) return
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

/** A service with the permission, as long as whoever answers for it has that too. */
export const mayAskOfAny = (service: Service) =>
  hasGrant(service, 'client_credentials') && scopesOfService(service).includes('tokens:introspect')
