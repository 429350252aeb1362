import { and, asc, desc, eq, gt, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import * as z from 'zod'
import { activityLogs } from '../../activity/models.ts'
import { record } from '../../activity/service.ts'
import type { Resources } from '../../context.ts'
import { build, databaseNow, rowExists } from '../../database/statements.ts'
import { type List, listOf, openPlace, pageQuery, toPage } from '../../http/pagination.ts'
import { Refusal } from '../../http/problem.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import { invalidToken } from '../../sessions/errors.ts'
import { tokenIsLive } from '../../sessions/revocation.ts'
import { Id, Time, toTime } from '../../values/ids.ts'
import { lazy, type Of } from '../../values/lazy.ts'
import { clientNotFound } from '../errors.ts'
import { isByDocument, isOfOurs, LOGOUT_OWED_MS, oauthClients, oauthLogouts } from '../models.ts'

/** For those who manage apps: the sign-outs that an app has not been told of. Those it has been told of are not kept. */

export const OwedLogout = lazy(() =>
  z
    .object({
      user_id: Id(),
      owed_at: Time(),
      attempts: z.int(),
      answer: z.int().nullable().meta({ description: 'Its last status; null where it gave none.' }),
      next_attempt_at: Time(),
      expires_at: Time(),
    })
    .meta({ id: 'OwedLogout', description: 'A sign-out that an app has not accepted yet.' }),
)
export type OwedLogout = Of<typeof OwedLogout>
export const OwedLogoutList = lazy(() => listOf(OwedLogout()).meta({ id: 'OwedLogoutList' }))
export const ListOwedLogouts = lazy(() => z.strictObject(pageQuery()))

type Row = typeof oauthLogouts.$inferSelect
const toOwed = (row: Row): OwedLogout => ({
  user_id: row.user_id,
  owed_at: toTime(row.expires_at - LOGOUT_OWED_MS),
  attempts: row.attempts,
  answer: row.answer,
  next_attempt_at: toTime(row.next_attempt_at),
  expires_at: toTime(row.expires_at),
})

/** The sign-outs that an app must still be told of. Throws 404 `client_not_found`. */
export async function listOwed(
  { db, config }: Pick<Resources, 'db' | 'config'>,
  clientId: string,
  { limit, cursor }: Of<typeof ListOwedLogouts>,
): Promise<List<OwedLogout>> {
  const list = `oauth_logouts ${clientId}`
  const place = openPlace(config, list, cursor)
  const at = place?.position[0] as string | undefined
  const isBackwards = place?.isBackwards === true
  const after = at === undefined ? undefined : isBackwards ? lt(oauthLogouts.id, at) : gt(oauthLogouts.id, at)
  const { client, read } = await db.read({
    client: build.select({ id: oauthClients.id }).from(oauthClients).where(eq(oauthClients.id, clientId)),
    read: build
      .select()
      .from(oauthLogouts)
      .where(and(eq(oauthLogouts.client_id, clientId), after))
      .orderBy(isBackwards ? desc(oauthLogouts.id) : asc(oauthLogouts.id))
      .limit(limit + 1),
  })
  if (!client[0] || isByDocument(clientId)) throw clientNotFound()
  const positionOf = ({ id }: Row) => [id]
  const { rows, pagination } = toPage(config, list, { read, limit, place, positionOf })
  return { data: rows.map(toOwed), pagination }
}

/** How many one press makes due, for an app that was away for a day. Twenty are sent at once, the rest by the cron job. */
const RETRIED_AT_ONCE = 500

/**
 * Makes the notices due now that an app did not accept when they were tried. Those it has accepted since are not
 * repeated.
 *
 * @throws 404 `client_not_found`.
 */
export async function retryOwed(resources: Resources & { actor: Claims }, clientId: string): Promise<void> {
  const { db, now, actor } = resources
  const holds = tokenIsLive(actor, now)
  const named = and(eq(oauthClients.id, clientId), isOfOurs)
  const isThere = sql`EXISTS (SELECT 1 FROM ${oauthClients} WHERE ${named})`
  const waits = sql`SELECT id FROM ${oauthLogouts} WHERE client_id = ${clientId} AND attempts > 0
    AND next_attempt_at > ${databaseNow} LIMIT ${RETRIED_AT_ONCE}`
  const event = {
    id: uuidv7(),
    action: 'client.logouts_retried',
    userId: null,
    actorId: actor.sub,
    details: sql`json_object('client_id', ${clientId}, 'name', (SELECT name FROM ${oauthClients} WHERE ${named}))`,
  } as const
  const isDone = rowExists(activityLogs, event.id)
  const { verdict } = await db.writeBatch(
    {
      history: record(resources, event, sql`${holds} AND ${isThere} AND EXISTS (${waits})`),
      change: sql`UPDATE ${oauthLogouts} SET next_attempt_at = ${databaseNow} WHERE id IN (${waits}) AND ${isDone}`,
      verdict: sql<Record<'is_there' | 'holds', 0 | 1>>`SELECT ${isThere} AS is_there,
        ${holds} AS holds`,
    },
    isDone,
  )
  if (!verdict[0]!.holds) throw invalidToken(new Refusal('meanwhile'))
  if (!verdict[0]!.is_there) throw clientNotFound()
  resources.afterwards(resources.deliverOwed())
}
