import { eq } from 'drizzle-orm'
import { lacksFactor } from '../../access/assurance.ts'
import { assertNotShadowed, rotateSession } from '../../auth/refresh.ts'
import type { Resources } from '../../context.ts'
import { digestOf } from '../../crypto/digest.ts'
import { build } from '../../database/statements.ts'
import { AppError, Refusal } from '../../http/problem.ts'
import { ACCESS_TOKEN_SECONDS, signClientToken } from '../../sessions/access-tokens.ts'
import {
  isClientSessionLive,
  mayOwnServices,
  scopesNow,
  scopesOfService,
  selectClientSession,
  selectService,
  serviceWithPrimaryFallback,
  withPrimaryFallback,
} from '../../sessions/client-tokens.ts'
import { openRefreshToken } from '../../sessions/refresh-tokens.ts'
import { assertMayWrite } from '../../throttle/limits.ts'
import { users } from '../../users/models.ts'
import { type GivenClient, proveClient } from '../clients/authenticate.ts'
import { selectClient } from '../clients/service.ts'
import { isExpired, isVerified, openCode } from '../codes.ts'
import { byDeviceCode } from '../device/grant.ts'
import { readerFor, selectClientOf, userOf } from '../documents/kept.ts'
import { invalidClient, invalidGrant, oauthError } from '../errors.ts'
import { type Client, DEVICE_CODE, isByDocument, isOfOpenId, oauthCodes } from '../models.ts'
import { isRegistered } from '../redirects.ts'
import { assertSameTarget } from '../resources.ts'
import { scopesIn } from '../scopes.ts'
import { assertMayUseGrant, type Fields, type Grant, type TokenAnswer, toAnswer } from './answer.ts'
import { noteUse, redeem, revokeRedeemed } from './redeem.ts'

/** Throws as RFC 6749 section 5.2 says. */
export function answerToken(resources: Resources, given: GivenClient, fields: Fields): Promise<TokenAnswer> {
  const grant =
    Object.hasOwn(GRANTS, fields.grant_type ?? '') && GRANTS[fields.grant_type as keyof typeof GRANTS]
  if (fields.grant_type === undefined) throw oauthError('invalid_request', 'grant_type is missing.')
  if (!grant) throw oauthError('unsupported_grant_type', 'This grant type is not supported.')
  return grant(resources, given, fields)
}

/** An app known by its document exists only by a user's consent: if that was withdrawn, so are its grants. */
function proveClientOf(resources: Resources, given: GivenClient, read: Client | undefined): Promise<Client> {
  if (!read && isByDocument(given.id)) throw invalidGrant(new Refusal('revoked'))
  return proveClient(resources, given, read)
}

/**
 * Exchanges a code for tokens, in two trips. Presenting it again, with all that belongs to it, ends the
 * session it gave: one of the two callers is a thief. Any other misuse changes nothing.
 */
const byCode: Grant = async (resources, given, fields) => {
  const code = await openCode(resources.config, fields.code ?? '')
  const asked = {
    user: build
      .select({ id: users.id, role: users.role, token_epoch: users.token_epoch })
      .from(users)
      .where(eq(users.id, code?.userId ?? '')),
  }
  const ask = readerFor(resources, given.id, code !== undefined)
  const read = await ask({
    client: selectClientOf(given.id, code?.userId ?? ''),
    used: build
      .select()
      .from(oauthCodes)
      .where(eq(oauthCodes.id, code?.id ?? '')),
    ...asked,
  })
  const client = await proveClientOf(resources, given, read.client[0])
  assertMayUseGrant(client, 'authorization_code')
  if (fields.code === undefined) throw oauthError('invalid_request', 'code is missing.')
  if (!code || code.clientId !== client.id) throw invalidGrant(new Refusal('unknown'))
  const redirect = fields.redirect_uri ?? ''
  // A scope that was taken off the app's list meanwhile is no longer its own.
  if (digestOf(redirect) !== code.redirect || !isRegistered(redirect, JSON.parse(client.redirect_uris)))
    throw invalidGrant(new Refusal('claims'))
  if (!isVerified(code, fields.code_verifier)) throw invalidGrant(new Refusal('wrong_code'))
  const [used] = read.used
  if (used) {
    await revokeRedeemed(resources, code, used.session_id)
    throw invalidGrant(new Refusal('used'))
  }
  assertSameTarget(resources.config, fields, code.resource ?? null)
  if (isExpired(code, resources.now)) throw invalidGrant(new Refusal('expired'))
  // A lagging replica may have an earlier role, or not have a user who has just signed up.
  const isHeardOf = read.user[0] && read.user[0].token_epoch >= code.epoch
  const [user] = isHeardOf ? read.user : (await resources.db.readPrimary(asked)).user
  if (!user) throw invalidGrant(new Refusal('inactive'))
  await assertMayWrite(resources, { sid: code.parentId })
  const session = await redeem(resources, client, code, user)
  Object.assign(resources.loggedAs, { sub: user.id, sid: session.id })
  return toAnswer(resources, {
    client,
    session,
    user,
    epoch: code.epoch,
    scopes: scopesIn(code.scope),
    resource: code.resource ?? null,
    nonce: code.nonce,
  })
}

/**
 * Gives the next tokens, by the same rotation as for our own logins: everybody with the same token gets the
 * same successor.
 */
const byRefreshToken: Grant = async (resources, given, fields) => {
  const { config, now } = resources
  const token = openRefreshToken(config.keys.refresh_token, fields.refresh_token ?? '')
  const place = { sid: token?.sessionId ?? '', sub: null, client_id: given.id }
  const ask = readerFor(resources, given.id, token !== undefined)
  const read = await ask({
    client: selectClientOf(given.id, userOf(place.sid)),
    ...selectClientSession({ ...place, now }),
  })
  const client = await proveClientOf(resources, given, read.client[0])
  assertMayUseGrant(client, 'refresh_token')
  if (fields.refresh_token === undefined) throw oauthError('invalid_request', 'refresh_token is missing.')
  let found = token && (await withPrimaryFallback(resources, read.found[0], place))
  // An app that is refused forgets its session, so a lagging replica's earlier role does not refuse it.
  if (found && lacksFactor(config, found))
    found = (await resources.db.readPrimary(selectClientSession({ ...place, now }))).found[0]
  if (!found) throw invalidGrant(new Refusal('unknown'))
  // A session that has ended stays as it is.
  if (!isClientSessionLive(found)) throw invalidGrant(new Refusal('revoked'))
  if (lacksFactor(config, found)) throw invalidGrant(new Refusal('inactive'))
  const all = scopesNow(found, scopesIn(found.scope))
  const { resource } = found
  /** Scopes that an access token can have: one for a resource has no OpenID scopes. */
  const isFor = (scopes: string[]) => scopes.some((scope) => resource === null || !isOfOpenId(scope))
  if (!isFor(all)) throw invalidGrant(new Refusal('revoked'))
  assertSameTarget(config, fields, resource)
  const asked = fields.scope === undefined ? all : scopesIn(fields.scope)
  if (!isFor(asked) || !asked.every((scope) => all.includes(scope)))
    throw oauthError('invalid_scope', 'That is more than was granted.')
  const refused = (error: unknown) => {
    throw error instanceof AppError && error.status === 401 ? invalidGrant(error.cause) : error
  }
  const { session, user } = await rotateSession(resources, fields.refresh_token, client.id).catch(refused)
  // A client that authenticates may ask from any of its machines.
  if (client.type === 'public') await assertNotShadowed(resources, session).catch(refused)
  // A lagging replica may have had an earlier role.
  if (lacksFactor(config, { ...found, role: user.role })) throw invalidGrant(new Refusal('inactive'))
  noteUse(resources, client)
  const rotated = { ...session, parent_id: found.parent_id, proved_at: found.proved_at }
  return toAnswer(resources, {
    client,
    session: rotated,
    user,
    epoch: user.token_epoch,
    scopes: asked,
    resource,
  })
}

/** A service acts for itself, by its permissions, while its owner is still allowed to create it. */
const byItself: Grant = async (resources, given, fields) => {
  const read = await resources.db.read({
    client: selectClient(given.id),
    ...selectService({ id: given.id, now: resources.now }),
  })
  const client = await proveClient(resources, given, read.client[0])
  assertMayUseGrant(client, 'client_credentials')
  assertSameTarget(resources.config, fields, null)
  const service = await serviceWithPrimaryFallback(resources, read.service[0], { client_id: client.id })
  if (!service || !mayOwnServices(service.owner_role)) throw invalidClient(new Refusal('inviter'))
  const all = scopesOfService(service)
  const asked = fields.scope === undefined ? all : scopesIn(fields.scope)
  if (asked.length === 0 || !asked.every((scope) => all.includes(scope)))
    throw oauthError('invalid_scope', 'That is more than the service may do.')
  const scope = asked.join(' ')
  const access_token = await signClientToken(resources.config, resources.now, {
    sub: client.id,
    client_id: client.id,
    scope,
    epoch: client.epoch,
  })
  noteUse(resources, client)
  return { access_token, token_type: 'Bearer', expires_in: ACCESS_TOKEN_SECONDS, scope }
}

const GRANTS = {
  authorization_code: byCode,
  refresh_token: byRefreshToken,
  client_credentials: byItself,
  [DEVICE_CODE]: byDeviceCode,
}
