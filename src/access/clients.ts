import type { Context, Next } from 'hono'
import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import type { Claims, ClientClaims } from '../sessions/access-tokens.ts'
import { findClientSession, findServiceScopes } from '../sessions/client-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { assertMayAsk } from '../throttle/limits.ts'
import { owesFactor } from './assurance.ts'
import { isRead } from './credentials.ts'
import { factorEnrolmentRequired, forbidden, insufficientScope } from './errors.ts'
import { ACCOUNT, hasPermission, isPermission, outranks, type Permission, rankFor } from './permissions.ts'

/**
 * Lets an app or a service in to what it was let do, as `c.var.actor`. It is looked up first, as its token says no role.
 *
 * An app of one's own with the scope `account` is let in to all that its user may do, by the role of now, and what was
 * read of them is `c.var.self`. Any other acts by the lowest rank that has the permission, whoever signed in to it. The
 * login of neither is ever a recent one (but see `PROVED_BY_DEVICE`): so what gives power away, or changes how an account
 * is entered, is for nobody's app.
 *
 * @param permission undefined for what anybody does with their own account.
 * @throws 401 `invalid_token`; 403 `insufficient_scope`, `forbidden`, `factor_enrolment_required`.
 */
export async function enterAsClient(
  c: Context,
  next: Next,
  token: ClientClaims,
  permission?: Permission,
): Promise<void> {
  const resources = c.var as Resources
  if (!permission && !token.scope.split(' ').includes(ACCOUNT)) throw insufficientScope()
  c.set('isSignedIn', true)
  const sid = token.sid ?? token.sub
  await assertMayAsk(resources, sid, { isRead: isRead(c) })
  const app = token.sid === undefined ? undefined : await findApp(resources, { ...token, sid: token.sid })
  const isThem = app?.scopes.includes(ACCOUNT) === true
  const scopes = isThem
    ? [ACCOUNT]
    : (app?.scopes.filter(isPermission) ?? (await ofService(resources, token)))
  if (!isThem && (!permission || !scopes.includes(permission))) throw insufficientScope()
  if (app && isThem && permission && !hasPermission(app.role, permission)) throw forbidden()
  const rank = rankFor(permission ?? 'users:read')
  const canProve = app !== undefined && !isThem && permission !== undefined && provedFor(permission)
  // A service ranks as a manager at most.
  const lowest = !app && outranks(rank, 'manager') ? 'manager' : rank
  c.set('self', app)
  c.set('actor', {
    ...token,
    client_id: 'roster',
    sid,
    role: app && isThem ? app.role : lowest,
    auth_time: canProve ? (token.approved_at ?? 0) : 0,
    client: { id: token.client_id, scopes, isService: !app, canProve },
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
  'users:import',
  'activity:read',
]
const provedFor = (permission: Permission) => PROVED_BY_DEVICE.includes(permission)

async function ofService(resources: Resources, token: ClientClaims): Promise<string[]> {
  const scopes = await findServiceScopes(resources, token)
  if (!scopes) throw invalidToken(new Refusal('revoked'))
  return scopes
}

/** The session that an app has of somebody, with what it can use of its scopes: no more than their role has. */
async function findApp(resources: Resources, token: ClientClaims & { sid: string }) {
  const found = await findClientSession(resources, token)
  if (!found) throw invalidToken(new Refusal('revoked'))
  if (owesFactor(resources.config.SECOND_FACTOR, found.role, JSON.parse(found.amr)))
    throw factorEnrolmentRequired()
  return found
}
