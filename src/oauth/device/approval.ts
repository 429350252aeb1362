import { and, eq, isNull, sql } from 'drizzle-orm'
import { reauthenticationRequired } from '../../access/errors.ts'
import { hasRecentLogin } from '../../access/guards.ts'
import { isPermission, scopesWithin } from '../../access/permissions.ts'
import type { Resources } from '../../context.ts'
import { openSealed, seal } from '../../crypto/sealed.ts'
import { build, type Statement } from '../../database/statements.ts'
import { Refusal } from '../../http/problem.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import type { SignedIn } from '../../sessions/cookie-lookup.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { whileDoubting } from '../../sessions/near.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import { openUserCodeTry } from '../../throttle/user-codes.ts'
import { addressNotVerified } from '../../users/errors.ts'
import { selectClient } from '../clients/service.ts'
import { consenting } from '../consents/service.ts'
import { deviceOver, mayNotUseApp, wrongUserCode } from '../errors.ts'
import {
  type Client,
  DEVICE_CODE,
  grantedAs,
  hasGrant,
  isInTime,
  isOfOpenId,
  oauthDeviceCodes,
} from '../models.ts'
import { type Resource, selectResource, toResource } from '../resources.ts'
import { scopesIn, scopesOf } from '../scopes.ts'
import { type DeviceRow, isDeviceOver, readUserCode } from './codes.ts'

/** What the user is asked at /device. */
export interface DeviceQuestion {
  device: DeviceRow
  client: Client
  /** The scopes that the user can grant. */
  scopes: string[]
  /** The service that it is for; undefined for Roster itself. */
  resource: Resource | undefined
}

/** Seals the device for the form of the question, for this session only. */
export const sealDevice = ({ config }: Pick<Resources, 'config'>, { id }: DeviceRow, actor: Claims) =>
  seal(config.keys.oauth_device, `of.${id}.${actor.sid}`)

const openDevice = ({ config }: Pick<Resources, 'config'>, given: string, actor: Claims) => {
  const [, id, sid] =
    /^of\.([0-9a-f-]{36})\.([0-9a-f-]{36})$/.exec(openSealed(config.keys.oauth_device, given) ?? '') ?? []
  return sid === actor.sid ? id : undefined
}

const isUndecided = (now: number) => and(isNull(oauthDeviceCodes.decided_at), isInTime(now))

/**
 * Finds the device by the code that the user typed. Wrong codes are limited to five an hour.
 *
 * @throws 422 `wrong_user_code`; 429 `too_many_attempts`.
 */
export async function findDevice(resources: Resources, actor: Claims, typed: string): Promise<DeviceRow> {
  const code = readUserCode(typed)
  // What cannot be a code is not a guess.
  if (code === undefined) throw wrongUserCode(new Refusal('form'))
  const attempt = openUserCodeTry(resources, actor.sub, tokenIsLive(actor, resources.now))
  const isIt = and(eq(oauthDeviceCodes.user_code, code), isUndecided(resources.now))
  const found = build.select().from(oauthDeviceCodes).where(isIt)
  const { device, counter } = await resources.db.writeBatch({
    count: attempt.count,
    device: build.select().from(oauthDeviceCodes).where(and(isIt, attempt.isCounted)),
    takeBack: attempt.takeBack(sql`EXISTS ${found}`) as Statement,
    counter: attempt.counter,
  })
  attempt.assertCounted(counter)
  if (!device[0]) throw wrongUserCode(new Refusal('wrong_code'))
  return device[0]
}

/**
 * Finds the device by the sealed value of the question's form. From the primary: its code may have been typed, or
 * another tab may have decided, a moment ago. Throws 409 `device_over`.
 */
export async function requireDevice(resources: Resources, actor: Claims, sealed: string): Promise<DeviceRow> {
  const id = openDevice(resources, sealed, actor)
  const asked = {
    device: build
      .select()
      .from(oauthDeviceCodes)
      .where(eq(oauthDeviceCodes.id, id ?? '')),
  }
  const read = id === undefined ? { device: [] } : await resources.db.readPrimary(asked)
  const [device] = read.device
  if (!device || device.decided_at !== null || isDeviceOver(device, resources.now)) throw deviceOver()
  return device
}

/**
 * What to ask the user: which of the requested scopes they can grant.
 *
 * @throws 403 `may_not_use_app`, and `reauthentication_required` if it is to act for them; 409 `device_over`,
 *   `address_not_verified`.
 */
export async function questionOf(
  resources: Resources,
  actor: Claims,
  user: SignedIn,
  device: DeviceRow,
): Promise<DeviceQuestion> {
  const read = await resources.db.read({
    client: selectClient(device.client_id),
    resource: selectResource(device.resource),
  })
  const [client] = read.client
  const resource = toResource(read.resource[0])
  if (!client || !hasGrant(client, DEVICE_CODE)) throw deviceOver()
  if (device.resource !== null && !resource) throw deviceOver()
  const roles = client.allowed_roles === null ? undefined : (JSON.parse(client.allowed_roles) as string[])
  if (roles && !roles.includes(user.role)) throw mayNotUseApp()
  if (user.email_verified_at === null) throw addressNotVerified()
  const allowed = scopesOf(client, resource)
  const scopes = scopesWithin(scopesIn(device.scope), user.role).filter((scope) => allowed.includes(scope))
  if (scopes.length === 0 || (resource && scopes.every(isOfOpenId))) throw mayNotUseApp()
  if (scopes.some(isPermission) && !hasRecentLogin(actor, resources.now)) throw reauthenticationRequired()
  return { device, client, scopes, resource }
}

/** Approves: the device is given tokens when it polls next. Throws 401 `invalid_token`; 409 `device_over`. */
export async function approveDevice(
  resources: Resources,
  actor: Claims,
  user: SignedIn,
  { device, client, scopes, resource }: DeviceQuestion,
): Promise<void> {
  const { now, db } = resources
  const names = scopes.map((scope) => grantedAs(scope, resource?.url ?? null))
  const isWaiting = and(eq(oauthDeviceCodes.id, device.id), isUndecided(now))
  const waits = sql`EXISTS ${build.select({ id: oauthDeviceCodes.id }).from(oauthDeviceCodes).where(isWaiting)}`
  const { statements, isDone } = consenting(resources, actor, client, names, { condition: waits })
  const { verdict } = await whileDoubting(resources, { users: [actor.sub] }, () =>
    db.writeBatch(
      {
        ...statements,
        device: build
          .update(oauthDeviceCodes)
          .set({
            ...DECIDED,
            decided_at: now,
            user_id: actor.sub,
            parent_id: actor.sid,
            epoch: user.token_epoch,
            scope: scopes.join(' '),
            auth_time: actor.auth_time,
            amr: user.amr,
          })
          .where(and(isWaiting, isDone)),
      },
      isDone,
    ),
  )
  assertDone(verdict)
}

/** The origin is kept only until the decision, so that it can be shown. */
const DECIDED = { ip: null, user_agent: null, country: null } as const

/** Refuses, and the device is told so. Throws 401 `invalid_token`; 409 `device_over`. */
export async function refuseDevice({ db, now }: Resources, actor: Claims, { id }: DeviceRow): Promise<void> {
  const isIt = eq(oauthDeviceCodes.id, id)
  const isLive = tokenIsLive(actor, now)
  const isRefused = and(isIt, isNull(oauthDeviceCodes.user_id), eq(oauthDeviceCodes.decided_at, now))
  const { verdict } = await db.writeBatch({
    refusal: build
      .update(oauthDeviceCodes)
      .set({ ...DECIDED, decided_at: now })
      .where(and(isIt, isUndecided(now), isLive)),
    // A query, as the first answer may have been lost.
    verdict: sql<Verdict>`SELECT EXISTS ${build.select({ id: oauthDeviceCodes.id }).from(oauthDeviceCodes).where(isRefused)} AS is_done,
      ${isLive} AS is_live`,
  })
  assertDone(verdict)
}

interface Verdict {
  is_done: 0 | 1
  is_live: 0 | 1
}

function assertDone([verdict]: Verdict[]): void {
  if (verdict?.is_done) return
  throw verdict?.is_live ? deviceOver() : invalidToken(new Refusal('meanwhile'))
}
