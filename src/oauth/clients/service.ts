import { and, eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { formerSecretColumns } from '../../access/former-secrets.ts'
import { requireRecentLogin } from '../../access/guards.ts'
import { hasPermission, isPermission } from '../../access/permissions.ts'
import { type Action, activityLogs } from '../../activity/models.ts'
import { record } from '../../activity/service.ts'
import type { Resources } from '../../context.ts'
import { digestOf } from '../../crypto/digest.ts'
import { build, insertWhere, rowExists, type Statement } from '../../database/statements.ts'
import { assertCallable } from '../../http/outbound.ts'
import { versionMismatch } from '../../http/precondition.ts'
import { invalidInput } from '../../http/problem.ts'
import { sendAfterwards } from '../../mail/outbox.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { orDoubting, publishDoubts, whileDoubting } from '../../sessions/near.ts'
import { type Authority, byActor } from '../../users/change.ts'
import { writeConflict } from '../../users/errors.ts'
import { toTime } from '../../values/ids.ts'
import { clientHasNoSecret, clientNotFound, resourceTaken, tooManyClients } from '../errors.ts'
import {
  type Client as ClientRow,
  forgetDevices,
  isByDocument,
  isOfOurs,
  oauthClients,
  oauthDeviceCodes,
  oauthResources,
} from '../models.ts'
import {
  type Client,
  type ClientWithSecret,
  type CreateClient,
  type RotateSecret,
  type Settings,
  toClient,
  type UpdateClient,
} from './schemas.ts'
import { makeSecret } from './secrets.ts'
import { assertCoherent, assertElsewhere, columnsOf, hasSecret, settingsOf } from './settings.ts'
import { givesPower, isService, openTelling, type Telling } from './telling.ts'

export const MAX_CLIENTS = 500
const MAX_ROUNDS = 5
const LOGOUT_URI = '/backchannel_logout_uri'

/** Nobody can give a permission that they lack themselves. Throws 422. */
function assertMayGive(actor: Claims | undefined, scopes: readonly string[]): void {
  const lacking = scopes.filter((scope) => actor && isPermission(scope) && !hasPermission(actor.role, scope))
  if (lacking.length > 0)
    throw invalidInput(
      lacking.map(() => ({
        pointer: '/scopes',
        code: 'not_yours',
        detail: 'Has a permission that you lack.',
      })),
    )
}

const eventOf = (action: Action, by: Authority, row: Pick<ClientRow, 'id' | 'name'>) => ({
  id: uuidv7(),
  action,
  userId: null,
  actorId: by.actorId,
  details: { client_id: row.id, name: row.name },
})

/** Creates a client in the name of an actor. Throws 403; 409 `too_many_clients`; 422; 429 for a service. */
export async function createClient(
  resources: Resources & { actor: Claims },
  input: CreateClient,
): Promise<ClientWithSecret> {
  requireRecentLogin(resources.actor, resources.now)
  assertMayGive(resources.actor, input.scopes)
  const telling = isService(input) ? await openTelling(resources) : undefined
  return makeClient(resources, byActor(resources.actor, resources.now), input, { telling })
}

/**
 * The same under any authority, such as the operator's.
 *
 * @param more.fixedId an id that is the same each time. The sessions of an app that was removed are still there, and must
 *   not be valid again, so the epoch begins above theirs.
 */
export async function makeClient(
  resources: Resources,
  by: Authority,
  input: CreateClient,
  { fixedId, telling }: { fixedId?: string; telling?: Telling | undefined } = {},
): Promise<ClientWithSecret> {
  const { db, now } = resources
  const id = fixedId ?? uuidv7()
  const settings = settingsOf(input)
  assertCallable(resources.config, settings.backchannel_logout_uri, LOGOUT_URI)
  assertElsewhere(resources, settings.resources)
  const secret = hasSecret(settings) ? makeSecret(resources.config, id) : undefined
  const row: ClientRow = {
    id,
    ...columnsOf(settings),
    secret_hash: secret === undefined ? null : digestOf(secret),
    secret_by: settings.type === 'public' ? null : by.actorId,
    former_secret_hash: null,
    former_secret_until: null,
    epoch: fixedId === undefined ? 0 : Math.floor(now / 1000),
    owner_id: isService(settings) ? by.actorId : null,
    created_by: by.actorId,
    created_at: now,
    updated_at: now,
    last_used_at: null,
    version: 1,
  }
  const event = eventOf('client.created', by, row)
  const isDone = rowExists(activityLogs, event.id)
  const fits = sql`(SELECT count(*) FROM (SELECT 1 FROM ${oauthClients} WHERE ${isOfOurs} LIMIT ${MAX_CLIENTS})) < ${MAX_CLIENTS}`
  const free = areFree(id, settings.resources)
  const told = telling?.tell(event, isDone)
  const mayMake = and(by.holds, fits, free, telling?.mayAdd)!
  const { verdict, spent } = await db.writeBatch(
    {
      history: record(resources, event, mayMake),
      client: insertWhere(oauthClients, row, isDone),
      told: told?.statements ?? [],
      ...(telling && { spent: telling.spent }),
      verdict: sql<Verdict>`SELECT ${isDone} AS is_done, ${by.holds} AS holds, ${free} AS is_free`,
    },
    isDone,
  )
  if (!verdict[0]!.holds) throw by.refused()
  if (!verdict[0]!.is_free) throw resourceTaken()
  if (!verdict[0]!.is_done) {
    telling?.assertMayAdd(spent!)
    throw tooManyClients()
  }
  sendAfterwards(resources, ...(told?.mailIds ?? []))
  return { ...toClient(row), ...(secret !== undefined && { client_secret: secret }) }
}

export async function requireClient(
  { db }: Pick<Resources, 'db'>,
  id: string,
  { ofPrimary = false } = {},
): Promise<ClientRow> {
  if (isByDocument(id)) throw clientNotFound()
  const asked = { client: selectClient(id) }
  const { client } = await (ofPrimary ? db.readPrimary(asked) : db.read(asked))
  if (!client[0]) throw clientNotFound()
  return client[0]
}

export const selectClient = (id: string) => build.select().from(oauthClients).where(eq(oauthClients.id, id))

interface Verdict {
  is_done: 0 | 1
  holds: 0 | 1
  is_free: 0 | 1
}

/** A condition: that no other client owns one of these. */
const areFree = (id: string, resources: Settings['resources']) =>
  sql`NOT EXISTS (SELECT 1 FROM ${oauthResources}
    WHERE url IN ${[...resources.map(({ url }) => url), '']} AND client_id <> ${id})`

interface ClientChange {
  action: Action
  /** The resources it is to own. */
  resources?: Settings['resources']
  change: (isThis: SQL) => Statement
  /** Whether administrators are told: of what a service may do, or who may act as it. */
  isTold?: boolean
  /** What else goes with it. */
  alsoWrite?: (isDone: SQL) => Statement
}

function changeClient(
  resources: Resources & { actor: Claims },
  id: string,
  decide: (row: ClientRow) => ClientChange | undefined,
): Promise<ClientRow | undefined> {
  requireRecentLogin(resources.actor, resources.now)
  const by = byActor(resources.actor, resources.now)
  return changeClientBy(resources, by, id, decide, () => openTelling(resources))
}

/**
 * Reads, decides, and writes on the condition that nothing has changed since; starts again if something has.
 * If there is nothing to change, nothing is written.
 */
async function changeClientBy(
  resources: Resources,
  by: Authority,
  id: string,
  decide: (row: ClientRow) => ClientChange | undefined,
  open?: () => Promise<Telling>,
): Promise<ClientRow | undefined> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    // A lagging replica would only repeat itself. An app may be removed twice because Redis could not be told.
    const find = () => requireClient(resources, id, { ofPrimary: round > 0 })
    const row = await orDoubting(resources, { clients: [id] }, find)
    const decided = decide(row)
    if (!decided) {
      // A lagging replica may show the row as it was before somebody else's change.
      if (round === 0) continue
      // Whoever made the last change perhaps could not tell Redis.
      await publishDoubts(resources, { clients: [id] })
      return row
    }
    const { action, change, alsoWrite, isTold = false, resources: owned = [] } = decided
    const telling = isTold ? await open?.() : undefined
    const free = areFree(id, owned)
    const event = eventOf(action, by, row)
    const isDone = rowExists(activityLogs, event.id)
    const isAsRead = sql`EXISTS (SELECT 1 FROM ${oauthClients} WHERE id = ${id} AND version = ${row.version})`
    const told = telling?.tell(event, isDone)
    const mayChange = and(by.holds, isAsRead, free, telling?.mayAdd)!
    const { verdict, client } = await whileDoubting(resources, { clients: [id] }, () =>
      resources.db.writeBatch(
        {
          history: record(resources, event, mayChange),
          change: [change(and(eq(oauthClients.id, id), isDone)!), ...(alsoWrite ? [alsoWrite(isDone)] : [])],
          told: told?.statements ?? [],
          client: selectClient(id),
          verdict: sql<Verdict>`SELECT ${isDone} AS is_done, ${by.holds} AS holds, ${free} AS is_free`,
        },
        isDone,
      ),
    )
    if (verdict[0]!.is_done) {
      sendAfterwards(resources, ...(told?.mailIds ?? []))
      return client[0]
    }
    if (!verdict[0]!.holds) throw by.refused()
    if (!verdict[0]!.is_free) throw resourceTaken()
  }
  throw writeConflict()
}

const isAsStored = (row: ClientRow, set: Partial<ClientRow>) =>
  Object.entries(set).every(([name, value]) => row[name as keyof ClientRow] === value)

const moved = (now: number) => ({ updated_at: now, version: sql`${oauthClients.version} + 1` })

/**
 * @param options the `updated_at` that the caller has seen, if a later change must not be overwritten.
 * @throws 403; 404 `client_not_found`; 412 `version_mismatch`; 422.
 */
export async function updateClient(
  resources: Resources & { actor: Claims },
  id: string,
  { take_over: takesOver, ...input }: UpdateClient,
  { seen }: { seen?: string | undefined } = {},
): Promise<Client> {
  const { actor, now } = resources
  const row = await changeClient(resources, id, (current) => {
    if (seen !== undefined && seen !== toTime(current.updated_at)) throw versionMismatch()
    const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined))
    const settings: Settings = { ...toClient(current), ...given }
    assertMayGive(actor, input.scopes ?? (takesOver ? settings.scopes : []))
    assertCoherent(settings)
    assertCallable(resources.config, input.backchannel_logout_uri, LOGOUT_URI)
    assertElsewhere(resources, input.resources)
    const owner = takesOver && isService(settings) ? { owner_id: actor.sub } : {}
    const columns = columnsOf(settings)
    const keys = columns.jwks !== current.jwks ? { secret_by: actor.sub } : {}
    const set = { ...columns, ...owner, ...keys }
    if (isAsStored(current, set)) return undefined
    return {
      action: 'client.updated',
      isTold: isService(settings) && givesPower(current, settings, set),
      resources: settings.resources,
      change: (isThis) =>
        build
          .update(oauthClients)
          .set({ ...set, ...moved(now) })
          .where(isThis),
    }
  })
  return toClient(row!)
}

/** Sets the scopes of a client under any authority, such as the operator's. Throws 404 `client_not_found`. */
export async function setScopes(
  resources: Resources,
  by: Authority,
  id: string,
  scopes: CreateClient['scopes'],
): Promise<void> {
  const set = { scopes: JSON.stringify(scopes) }
  await changeClientBy(resources, by, id, (current) =>
    isAsStored(current, set)
      ? undefined
      : {
          action: 'client.updated',
          change: (isThis) =>
            build
              .update(oauthClients)
              .set({ ...set, ...moved(resources.now) })
              .where(isThis),
        },
  )
}

/**
 * Makes a new secret; the former one stays valid for a while, so that nothing is interrupted. Throws 403;
 * 404; 409.
 */
export async function rotateSecret(
  resources: Resources & { actor: Claims },
  id: string,
  { keep_former_seconds: seconds }: RotateSecret,
): Promise<ClientWithSecret> {
  const { actor, now } = resources
  const secret = makeSecret(resources.config, id)
  const row = await changeClient(resources, id, (current) => {
    if (!hasSecret(current)) throw clientHasNoSecret()
    return {
      action: 'client.secret_rotated',
      isTold: isService(toClient(current)),
      change: (isThis) =>
        build
          .update(oauthClients)
          .set({
            secret_hash: digestOf(secret),
            secret_by: actor.sub,
            ...(seconds > 0
              ? formerSecretColumns(current, seconds * 1000, now)
              : // A thief of the secret may also hold tokens it gave: they are revoked.
                {
                  former_secret_hash: null,
                  former_secret_until: null,
                  epoch: sql`${oauthClients.epoch} + 1`,
                }),
            ...moved(now),
          })
          .where(isThis),
    }
  })
  return { ...toClient(row!), client_secret: secret }
}

/**
 * Its tokens end at once, as each is looked up with its client; clean-up removes the consents. Devices' codes are
 * removed here: they would work again if the app was added again with the same id.
 */
export async function deleteClient(resources: Resources & { actor: Claims }, id: string): Promise<void> {
  await changeClient(resources, id, () => ({
    action: 'client.deleted',
    change: (isThis) => build.delete(oauthClients).where(isThis),
    alsoWrite: (isDone) => forgetDevices(resources.now, and(eq(oauthDeviceCodes.client_id, id), isDone)),
  }))
}
