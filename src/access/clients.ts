import type { Context, Next } from 'hono'
import type { Resources } from '../context.ts'
import { Refusal } from '../http/problem.ts'
import type { Claims, ClientClaims } from '../sessions/access-tokens.ts'
import { findClientSession, findServiceScopes } from '../sessions/client-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { assertMayAsk } from '../throttle/limits.ts'
import { lacksFactor } from './assurance.ts'
import { isRead } from './credentials.ts'
import { factorEnrolmentRequired, forbidden, insufficientScope } from './errors.ts'
import { ACCOUNT, hasPermission, isPermission, outranks, type Permission, rankFor } from './permissions.ts'

/**
 * Lets an app or a service do what its scopes allow, as `c.var.actor`. It is looked up first, as its token
 * holds no role.
 *
 * A first-party app with the scope `account` may do all that its user may, by their present role; their
 * profile is `c.var.self`. Any other app acts by the lowest rank that has the permission, whoever signed in
 * to it. Neither ever has a recent login (but see `PROVED_BY_DEVICE`): so no app can give power away or
 * change how an account is entered.
 *
 * @param permission undefined for what anybody does with their own account.
 * @throws 401 `invalid_token`; 403 `insufficient_scope`, `forbidden`, `factor_enrolment_required`.
 */
export async function authenticateAppToken(
  c: Context,
  next: Next,
  token: ClientClaims,
  permission?: Permission,
): Promise<void> {
  const resources = c.var as Resources
  if (!permission && !token.scope.split(' ').includes(ACCOUNT)) throw insufficientScope()
  c.set('isSignedIn', true)
  const sid = token.sid ?? token.sub
  await assertMayAsk(resources, { sid }, { isRead: isRead(c) })
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
 * Whoever approves a device proves who they are for what it is to do. That counts as a recent login for ten
 * minutes, on the routes of these permissions only: never for how an account is entered, a role, keys, apps
 * or hooks.
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

/**
 * An app's session of a user, with the scopes that it can use: no more than the user's role allows. Throws 401
 * `invalid_token`; 403 `factor_enrolment_required`.
 */
export async function findApp(resources: Resources, token: ClientClaims & { sid: string }) {
  const found = await findClientSession(resources, token)
  if (!found) throw invalidToken(new Refusal('revoked'))
  if (lacksFactor(resources.config, found)) throw factorEnrolmentRequired()
  return found
}
