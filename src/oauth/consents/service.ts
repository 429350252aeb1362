import { and, eq, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../../activity/models.ts'
import { record } from '../../activity/service.ts'
import type { Resources } from '../../context.ts'
import { build, insertWhere, type RowsOf, rowExists } from '../../database/statements.ts'
import type { List } from '../../http/pagination.ts'
import { Refusal } from '../../http/problem.ts'
import { addedAt } from '../../links/service.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { hasAll, isOffline } from '../../sessions/client-tokens.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { sessions } from '../../sessions/models.ts'
import { publishDoubts, whileDoubting } from '../../sessions/near.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import { revokeSessions } from '../../sessions/service.ts'
import { toTime } from '../../values/ids.ts'
import { MAX_CLIENTS } from '../clients/service.ts'
import { rowOf } from '../documents/document.ts'
import { grantNotFound, scopeNotGranted, tooManyApps } from '../errors.ts'
import {
  type Client,
  forgetDevices,
  oauthClients,
  oauthDeviceCodes,
  oauthGrants,
  selectIsOwed,
} from '../models.ts'
import type { Grant } from './schemas.ts'

/**
 * Adds what somebody has just granted to an app to what they granted before. For the batch of what depends on
 * it, whose marker and condition is `isDone`. `condition` is what else must hold; `document` is the metadata
 * of an app that is not registered.
 */
export function consenting(
  resources: Resources,
  actor: Claims,
  client: Client,
  scopes: readonly string[],
  { condition = sql`1`, document }: { condition?: SQL; document?: string | undefined } = {},
) {
  const { now } = resources
  const event = {
    id: uuidv7(),
    action: 'consent.given',
    userId: actor.sub,
    actorId: actor.sub,
    details: { client_id: client.id, name: client.name, scopes },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const isThis = and(eq(oauthGrants.user_id, actor.sub), eq(oauthGrants.client_id, client.id))
  const updated_at = addedAt(actor.sub, now)
  const row = {
    id: uuidv7(),
    user_id: actor.sub,
    client_id: client.id,
    scopes: '[]',
    created_at: now,
    updated_at,
  }
  const merged = sql`(SELECT json_group_array(value) FROM (SELECT value FROM json_each(${oauthGrants.scopes})
    UNION SELECT value FROM json_each(${JSON.stringify(scopes)})))`
  const isThere =
    document === undefined
      ? sql`EXISTS (SELECT 1 FROM ${oauthClients} WHERE id = ${client.id} AND epoch = ${client.epoch})`
      : hasRoom(actor.sub, client.id)
  return {
    isDone,
    statements: {
      history: record(resources, event, sql`${tokenIsLive(actor, now)} AND ${isThere} AND ${condition}`),
      app: document === undefined ? [] : [insertWhere(oauthClients, rowOf(client.id), isDone)],
      grant: insertWhere(oauthGrants, row, isDone, ['user_id', 'client_id']),
      scopes: build
        .update(oauthGrants)
        .set({ scopes: merged, updated_at, ...(document !== undefined && { document }) })
        .where(and(isThis, isDone)),
      verdict: sql<Record<'is_done' | 'is_live' | 'has_room', 0 | 1>>`SELECT ${isDone} AS is_done,
        ${tokenIsLive(actor, now)} AS is_live,
        ${document === undefined ? sql`1` : hasRoom(actor.sub, client.id)} AS has_room`,
    },
  }
}

/** Each stores a document. */
const MAX_UNKNOWN_APPS = 50

/**
 * A condition: that the user has a grant for this app already, or few enough for apps that are not
 * registered.
 */
const hasRoom = (userId: string, clientId: string) =>
  sql`(EXISTS (SELECT 1 FROM ${oauthGrants} WHERE user_id = ${userId} AND client_id = ${clientId})
    OR (SELECT count(*) FROM (SELECT 1 FROM ${oauthGrants} WHERE user_id = ${userId} AND client_id >= 'g'
      LIMIT ${MAX_UNKNOWN_APPS})) < ${MAX_UNKNOWN_APPS})`

/** Stores a consent; repeating it changes nothing. Throws 409 `too_many_apps`. */
export async function giveConsent(
  resources: Resources,
  actor: Claims,
  client: Client,
  scopes: readonly string[],
  document?: string | undefined,
): Promise<void> {
  const { statements, isDone } = consenting(resources, actor, client, scopes, { document })
  const { verdict } = await whileDoubting(resources, { users: [actor.sub] }, () =>
    resources.db.writeBatch(statements, isDone),
  )
  if (!verdict[0]!.has_room) throw tooManyApps()
  if (!verdict[0]!.is_done) throw invalidToken(new Refusal('meanwhile'))
}

const toGrant = ({ first_party: _, ...row }: RowsOf<ReturnType<typeof selectGrants>>[number]): Grant => ({
  ...row,
  scopes: JSON.parse(row.scopes) as string[],
  created_at: toTime(row.created_at),
  updated_at: toTime(row.updated_at),
})

const selectGrants = (which: SQL | undefined) =>
  build
    .select({
      id: oauthGrants.id,
      client_id: oauthGrants.client_id,
      // The name that the app had when consent was given.
      name: sql<string>`coalesce(json_extract(${oauthGrants.document}, '$.name'), ${oauthClients.name})`.as(
        'name',
      ),
      logo_uri: sql<
        string | null
      >`coalesce(json_extract(${oauthGrants.document}, '$.logo_uri'), ${oauthClients.logo_uri})`.as(
        'logo_uri',
      ),
      first_party: oauthClients.first_party,
      scopes: oauthGrants.scopes,
      created_at: oauthGrants.created_at,
      updated_at: oauthGrants.updated_at,
    })
    .from(oauthGrants)
    .innerJoin(oauthClients, eq(oauthClients.id, oauthGrants.client_id))
    .where(which)
    .limit(MAX_CLIENTS)

/** The consents of a user, newest first: at most one for each app, so the list is one page. */
export async function listConsents({ db }: Pick<Resources, 'db'>, userId: string): Promise<List<Grant>> {
  const { rows } = await db.read({ rows: selectGrants(eq(oauthGrants.user_id, userId)) })
  const data = rows.map(toGrant).sort((one, other) => other.id.localeCompare(one.id))
  return {
    data,
    pagination: { limit: MAX_CLIENTS, next_cursor: null, prev_cursor: null, total: data.length },
  }
}

/**
 * Withdraws a consent: all of it, which ends the app's sessions, or all but `kept`. What tokens may do is
 * looked up on each use, so this takes effect at once. Sessions that went on without the user end with
 * `offline_access`. No use of a first-party app's tokens looks at the consent, so its sessions end whatever is kept.
 *
 * @returns what is left.
 * @throws 404 `grant_not_found`, 422 `scope_not_granted`.
 */
export async function withdrawConsent(
  resources: Resources,
  actor: Claims,
  id: string,
  kept: readonly string[] = [],
): Promise<Grant> {
  const { db, now } = resources
  const isTheirs = and(eq(oauthGrants.id, id), eq(oauthGrants.user_id, actor.sub))
  // From the primary: on a lagging replica there may be nothing to withdraw yet.
  const [found] = (await db.readPrimary({ found: selectGrants(isTheirs) })).found
  const grant = found && toGrant(found)
  const isDoneAlready = !grant || kept.length === grant.scopes.length
  // Whoever repeats it may do so because Redis could not be told.
  if (isDoneAlready) await publishDoubts(resources, { users: [actor.sub] })
  if (!grant) throw grantNotFound()
  const { client_id, name } = grant
  if (!kept.every((scope) => grant.scopes.includes(scope))) throw scopeNotGranted()
  if (isDoneAlready) return grant
  const event = {
    id: uuidv7(),
    action: 'consent.withdrawn',
    userId: actor.sub,
    actorId: actor.sub,
    details: { client_id, name, scopes: kept },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  // Of two equal requests at once, one withdraws it, and the other finds it done.
  const isMore = and(
    isTheirs,
    hasAll(sql`${oauthGrants.scopes}`, kept),
    sql`json_array_length(${oauthGrants.scopes}) > ${kept.length}`,
  )
  const hasMore = sql`EXISTS ${build.select({ id: oauthGrants.id }).from(oauthGrants).where(isMore)}`
  const left = sql`(SELECT json_group_array(value) FROM json_each(${oauthGrants.scopes}) WHERE value IN ${[...kept, '']})`
  const isAll = kept.length === 0
  const endsAll = isAll || found.first_party === 1
  const ofApp = and(eq(sessions.user_id, actor.sub), eq(sessions.client_id, client_id))
  const ended = endsAll ? ofApp : and(ofApp, isOffline)
  const ofDevices = and(eq(oauthDeviceCodes.user_id, actor.sub), eq(oauthDeviceCodes.client_id, client_id))
  const { verdict, row, owed } = await whileDoubting(resources, { users: [actor.sub] }, () =>
    db.writeBatch(
      {
        history: record(resources, event, sql`${tokenIsLive(actor, now)} AND ${hasMore}`),
        change: [
          isAll
            ? build.delete(oauthGrants).where(and(isTheirs, isDone))
            : build
                .update(oauthGrants)
                .set({ scopes: left, updated_at: addedAt(actor.sub, now) })
                .where(and(isTheirs, isDone)),
        ],
        sessions:
          !endsAll && kept.includes('offline_access')
            ? []
            : [revokeSessions(now, 'consent_withdrawn', and(ended, isDone))],
        devices: endsAll ? [forgetDevices(now, and(ofDevices, isDone))] : [],
        row: selectGrants(isTheirs),
        owed: selectIsOwed(),
        verdict: sql<{ is_done: 0 | 1 }>`SELECT ${isDone} AS is_done`,
      },
      isDone,
    ),
  )
  if (owed[0]!.is_owed) resources.afterwards(resources.deliverOwed())
  const isDoneNow = verdict[0]!.is_done === 1
  if (!row[0]) {
    if (isDoneNow) return { ...grant, scopes: [], updated_at: toTime(now) }
    throw grantNotFound()
  }
  const current = toGrant(row[0])
  if (isDoneNow) return current
  if (!kept.every((scope) => current.scopes.includes(scope))) throw scopeNotGranted()
  if (current.scopes.length > kept.length) throw invalidToken(new Refusal('meanwhile'))
  return current
}
