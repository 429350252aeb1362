import { eq, getTableColumns } from 'drizzle-orm'
import { isPermission } from '../../access/permissions.ts'
import type { Resources } from '../../context.ts'
import { build } from '../../database/statements.ts'
import { Refusal, toAppError } from '../../http/problem.ts'
import { assertWithin } from '../../throttle/limits.ts'
import { users } from '../../users/models.ts'
import { proveClient } from '../clients/authenticate.ts'
import { selectClient } from '../clients/service.ts'
import { invalidGrant, oauthError } from '../errors.ts'
import { DEVICE_CODE, oauthCodes, oauthDeviceCodes } from '../models.ts'
import { assertSameTarget } from '../resources.ts'
import { scopesIn } from '../scopes.ts'
import { assertMayUseGrant, type Grant, toAnswer } from '../tokens/answer.ts'
import { redeem } from '../tokens/redeem.ts'
import { isDeviceOver, openDeviceCode } from './codes.ts'

/** Limits a device that polls too fast. Nothing is written, and nothing is looked up. */
const assertInStep = (resources: Resources, id: string) =>
  assertWithin(resources, 'RATE_LIMIT_DEVICE_POLLS', id).catch((error) => {
    throw toAppError(error).status === 429
      ? oauthError('slow_down', 'Add five seconds between polls from now on.')
      : error
  })

/**
 * A device polls this until its user has decided (RFC 8628 section 3.4): one trip, and one more for the
 * tokens, which it is given once.
 */
export const byDeviceCode: Grant = async (resources, given, fields) => {
  const { db, now } = resources
  const id = openDeviceCode(resources.config, fields.device_code ?? '')
  if (id !== undefined) await assertInStep(resources, id)
  const asked = {
    device: build
      .select({
        ...getTableColumns(oauthDeviceCodes),
        role: users.role,
        token_epoch: users.token_epoch,
      })
      .from(oauthDeviceCodes)
      .leftJoin(users, eq(users.id, oauthDeviceCodes.user_id))
      .where(eq(oauthDeviceCodes.id, id ?? '')),
    used: build
      .select()
      .from(oauthCodes)
      .where(eq(oauthCodes.id, id ?? '')),
  }
  const read = await db.read({ client: selectClient(given.id), ...asked })
  const client = await proveClient(resources, given, read.client[0])
  assertMayUseGrant(client, DEVICE_CODE)
  if (fields.device_code === undefined) throw oauthError('invalid_request', 'device_code is missing.')
  if (id === undefined) throw invalidGrant(new Refusal('unknown'))
  if (isDeviceOver({ id }, now)) throw oauthError('expired_token', 'It took too long. Start again.')
  // A lagging replica may not have it yet, as it was just made.
  const [device] = read.device[0] ? read.device : (await db.readPrimary(asked)).device
  if (device?.client_id !== client.id) throw invalidGrant(new Refusal('unknown'))
  if (device.decided_at === null) throw oauthError('authorization_pending', 'Nobody has approved it yet.')
  if (device.user_id === null) throw oauthError('access_denied', 'The user said no.')
  const approved = {
    id,
    userId: device.user_id,
    parentId: device.parent_id!,
    epoch: device.epoch!,
    scope: device.scope,
    resource: device.resource,
    authTime: device.auth_time!,
    amr: JSON.parse(device.amr!) as string[],
    isPolled: true as const,
    isByConsent: true as const,
  }
  assertSameTarget(resources.config, fields, device.resource)
  if (read.used[0]) throw invalidGrant(new Refusal('used'))
  const { role, token_epoch } = device
  if (role === null || token_epoch! > approved.epoch) throw invalidGrant(new Refusal('inactive'))
  const user = { id: approved.userId, role }
  const session = await redeem(resources, client, approved, user)
  Object.assign(resources.loggedAs, { sub: user.id, sid: session.id })
  const scopes = scopesIn(device.scope)
  return toAnswer(resources, {
    client,
    session,
    user,
    epoch: approved.epoch,
    scopes,
    resource: device.resource,
    // The user needed a recent login to approve, if it is to act for them.
    ...(scopes.some(isPermission) && { approvedAt: Math.floor(device.decided_at / 1000) }),
  })
}
