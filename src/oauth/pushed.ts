import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import type { Resources } from '../context.ts'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import { AppError } from '../http/problem.ts'
import { HOUR_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'
import {
  AuthorizeRefusal,
  MAX_QUERY_LENGTH,
  MAX_SEALED_LENGTH,
  readAuthorizeRequest,
  readReturn,
} from './authorize-request.ts'
import { CREDENTIALS, type GivenClient, proveClient } from './clients/authenticate.ts'
import { selectClient } from './clients/service.ts'
import { oauthError } from './errors.ts'
import { readHint } from './id-tokens.ts'
import { selectResource, targetOf, toResource } from './resources.ts'

/** Pushed authorization requests (RFC 9126). One is sealed into its `request_uri`, so to push one writes nothing. */

const PREFIX = 'urn:ietf:params:oauth:request_uri:'
/** From the push to the browser's arrival. Time spent signing in after that does not count. */
export const PUSHED_SECONDS = 90
/** Including sign-in: as long as it is known whether it has been used. */
const PUSHED_IN_ALL_MS = HOUR_MS

export interface Pushed {
  /** A UUIDv7, so it contains the time of the push. */
  id: string
  clientId: string
  /** The request, as a query. */
  query: string
  /** The user that its hint names. */
  sub?: string | undefined
}

/**
 * Takes a request from its client, and checks it as the browser's would be.
 *
 * @throws 401 `invalid_client`; 400 as RFC 9126 section 2.3 says.
 */
export async function push(
  resources: Resources,
  given: GivenClient,
  fields: Record<string, string>,
): Promise<{ request_uri: string; expires_in: number }> {
  const { config, db } = resources
  const read = await db.read({
    client: selectClient(given.id),
    resource: selectResource(targetOf(config, fields.resource)),
  })
  const client = await proveClient(resources, given, read.client[0])
  if (fields.request_uri !== undefined)
    throw oauthError('invalid_request', 'A pushed request cannot name another.')
  const query = new URLSearchParams({ ...fields, client_id: client.id })
  for (const name of CREDENTIALS) query.delete(name)
  if (query.toString().length > MAX_QUERY_LENGTH)
    throw oauthError('invalid_request', 'The request is too long.')
  try {
    readAuthorizeRequest(config, query, client, readReturn(query, client), toResource(read.resource[0]))
  } catch (error) {
    if (error instanceof AuthorizeRefusal) throw oauthError(error.code, error.message)
    if (error instanceof AppError) throw oauthError('invalid_request', error.message, error.cause)
    throw error
  }
  const hint = query.get('id_token_hint')
  const sub = hint === null ? undefined : (await readHint(config, hint))?.sub
  if (hint !== null && sub === undefined)
    throw oauthError('invalid_request', 'id_token_hint is not an ID token from here.')
  query.delete('id_token_hint')
  const pushed: Pushed = { id: uuidv7(), clientId: client.id, query: query.toString(), sub }
  const request_uri = PREFIX + (await encryptJson(config.keys.oauth_pushed, pushed, 'pushed'))
  // Measured as the browser brings it.
  if (new URLSearchParams({ client_id: client.id, request_uri }).toString().length > MAX_SEALED_LENGTH)
    throw oauthError('invalid_request', 'The request is too long.')
  return { request_uri, expires_in: PUSHED_SECONDS }
}

export const isPushed = (requestUri: string | null): requestUri is string =>
  requestUri?.startsWith(PREFIX) === true

/** Opens a pushed request of ours, expired or not; undefined for anything else. */
export const openPushed = ({ keys }: Pick<Config, 'keys'>, requestUri: string): Promise<Pushed | undefined> =>
  decryptJson(keys.oauth_pushed, requestUri.slice(PREFIX.length), 'pushed')

/** @param arrivedAt when a browser first came with it (epoch ms). */
export const isOver = ({ id }: Pushed, arrivedAt: number, now: number) =>
  arrivedAt >= timeOfId(id) + PUSHED_SECONDS * 1000 || now >= timeOfId(id) + PUSHED_IN_ALL_MS

export const invalidRequestUri = () =>
  new AuthorizeRefusal('invalid_request_uri', 'The request has been used, or is too old.')
