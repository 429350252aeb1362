import type { Context, Next } from 'hono'
import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import type { Claims, ClientClaims } from '../sessions/access-tokens.ts'
import { findClientSession, scopesOfService } from '../sessions/client-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { assertMayWrite, assertWithin } from '../throttle/limits.ts'
import { owesFactor } from './assurance.ts'
import { isRead } from './credentials.ts'
import { factorEnrolmentRequired, insufficientScope } from './errors.ts'
import { isPermission, outranks, type Permission, rankFor } from './permissions.ts'

/**
 * Lets an app or a service in to what it was let do, as `c.var.actor`. It is looked up first, as its token says no role.
 *
 * It acts by the lowest rank that has the permission, whoever signed in to it, and its login is never a recent one (but see
 * `PROVED_BY_DEVICE`): so what gives power away, or changes how an account is entered, is for nobody's app.
 *
 * @throws 401 `invalid_token`; 403 `insufficient_scope`, `factor_enrolment_required`.
 */
export async function enterAsClient(
  c: Context,
  next: Next,
  token: ClientClaims,
  permission: Permission,
): Promise<void> {
  const resources = c.var as Resources
  c.set('isSignedIn', true)
  if (isRead(c)) await assertWithin(resources, 'RATE_LIMIT_READS', token.sid ?? token.sub)
  else await assertMayWrite(resources, token.sid ?? token.sub)
  const scopes = token.sid
    ? await scopesOfApp(resources, { ...token, sid: token.sid })
    : await scopesOfService(resources, token)
  if (!scopes) throw invalidToken(new Refusal('revoked'))
  if (!scopes.includes(permission)) throw insufficientScope()
  const rank = rankFor(permission)
  const isService = token.sid === undefined
  c.set('actor', {
    ...token,
    client_id: 'roster',
    sid: token.sid ?? token.sub,
    // A service ranks as a manager at most.
    role: isService && outranks(rank, 'manager') ? 'manager' : rank,
    auth_time: provedFor(permission) ? (token.approved_at ?? 0) : 0,
    client: { id: token.client_id, scopes, isService },
  } satisfies Claims)
  await next()
}

/**
 * Whoever says yes to a device proves who they are for what it is to do, and that counts as a recent login for ten
 * minutes, for these permissions' routes alone: never for how an account is entered, a role, keys, apps or hooks.
 */
const PROVED_BY_DEVICE: readonly Permission[] = [
  'users:delete',
  'users:purge',
  'users:export',
  'activity:read',
]
const provedFor = (permission: Permission) => PROVED_BY_DEVICE.includes(permission)

/** What of its scopes an app can use for whoever signed in to it: as a person they have no more than their role has. */
async function scopesOfApp(resources: Resources, token: ClientClaims & { sid: string }): Promise<string[]> {
  const found = await findClientSession(resources, token)
  if (!found) throw invalidToken(new Refusal('revoked'))
  if (owesFactor(resources.config.SECOND_FACTOR, found.role, JSON.parse(found.amr)))
    throw factorEnrolmentRequired()
  return found.scopes.filter(isPermission)
}
