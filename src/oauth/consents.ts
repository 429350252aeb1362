import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, rowExists } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { sessions } from '../sessions/models.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { revokeSessions } from '../sessions/service.ts'
import { toTime } from '../values/ids.ts'
import { grantNotFound } from './errors.ts'
import { type Client, oauthClients, oauthGrants } from './models.ts'

/** Keeps what somebody has just let an app do, beside what they let it before. Twice is once. */
export async function giveConsent(
  resources: Resources,
  actor: Claims,
  client: Client,
  scopes: readonly string[],
): Promise<void> {
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
  const row = {
    id: uuidv7(),
    user_id: actor.sub,
    client_id: client.id,
    scopes: '[]',
    created_at: now,
    updated_at: now,
  }
  const merged = sql`(SELECT json_group_array(value) FROM (SELECT value FROM json_each(${oauthGrants.scopes})
    UNION SELECT value FROM json_each(${JSON.stringify(scopes)})))`
  const isThere = sql`EXISTS (SELECT 1 FROM ${oauthClients} WHERE id = ${client.id} AND epoch = ${client.epoch})`
  const { verdict } = await resources.db.writeBatch(
    {
      history: record(resources, event, sql`${tokenIsLive(actor, now)} AND ${isThere}`),
      grant: insertWhere(oauthGrants, row, isDone, ['user_id', 'client_id']),
      scopes: build.update(oauthGrants).set({ scopes: merged, updated_at: now }).where(and(isThis, isDone)),
      verdict: sql<{ is_done: 0 | 1 }>`SELECT ${isDone} AS is_done`,
    },
    isDone,
  )
  if (!verdict[0]!.is_done) throw invalidToken(new Refusal('meanwhile'))
}

/** What somebody has let apps do, the newest first. */
export async function listConsents({ db }: Pick<Resources, 'db'>, userId: string) {
  const { rows } = await db.read({
    rows: build
      .select({
        id: oauthGrants.id,
        client_id: oauthGrants.client_id,
        name: oauthClients.name,
        logo_uri: oauthClients.logo_uri,
        scopes: oauthGrants.scopes,
        created_at: oauthGrants.created_at,
        updated_at: oauthGrants.updated_at,
      })
      .from(oauthGrants)
      .innerJoin(oauthClients, eq(oauthClients.id, oauthGrants.client_id))
      .where(eq(oauthGrants.user_id, userId))
      .limit(500),
  })
  return rows
    .map((row) => ({
      ...row,
      scopes: JSON.parse(row.scopes) as string[],
      created_at: toTime(row.created_at),
      updated_at: toTime(row.updated_at),
    }))
    .sort((one, other) => other.created_at.localeCompare(one.created_at))
}

/**
 * Takes back what an app was let do: all of it, and its sessions end, or all but `kept`. What its tokens may do is looked
 * up each time, so it counts at once.
 *
 * @throws 404 `grant_not_found`.
 */
export async function withdrawConsent(
  resources: Resources,
  actor: Claims,
  id: string,
  kept: readonly string[] = [],
): Promise<void> {
  const { db, now } = resources
  const isTheirs = and(eq(oauthGrants.id, id), eq(oauthGrants.user_id, actor.sub))
  const { found } = await db.read({
    found: build
      .select({ client_id: oauthGrants.client_id, name: oauthClients.name })
      .from(oauthGrants)
      .leftJoin(oauthClients, eq(oauthClients.id, oauthGrants.client_id))
      .where(isTheirs),
  })
  const [grant] = found
  if (!grant) throw grantNotFound()
  const event = {
    id: uuidv7(),
    action: 'consent.withdrawn',
    userId: actor.sub,
    actorId: actor.sub,
    details: { client_id: grant.client_id, ...(grant.name && { name: grant.name }), scopes: kept },
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const isThere = sql`EXISTS ${build.select({ id: oauthGrants.id }).from(oauthGrants).where(isTheirs)}`
  const left = sql`(SELECT json_group_array(value) FROM json_each(${oauthGrants.scopes}) WHERE value IN ${[...kept, '']})`
  const { verdict } = await db.writeBatch(
    {
      history: record(resources, event, sql`${tokenIsLive(actor, now)} AND ${isThere}`),
      change: [
        kept.length > 0
          ? build.update(oauthGrants).set({ scopes: left, updated_at: now }).where(and(isTheirs, isDone))
          : build.delete(oauthGrants).where(and(isTheirs, isDone)),
      ],
      sessions:
        kept.length > 0
          ? []
          : [
              revokeSessions(
                now,
                'consent_withdrawn',
                and(eq(sessions.user_id, actor.sub), eq(sessions.client_id, grant.client_id), isDone),
              ),
            ],
      verdict: sql<{ is_done: 0 | 1; is_there: 0 | 1 }>`SELECT ${isDone} AS is_done, ${isThere} AS is_there`,
    },
    isDone,
  )
  if (verdict[0]!.is_done) return
  if (verdict[0]!.is_there) throw invalidToken(new Refusal('meanwhile'))
  throw grantNotFound()
}
