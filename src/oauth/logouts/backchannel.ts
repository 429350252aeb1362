import { and, eq, getTableColumns, inArray, or, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { claiming, type Due, isAttempt, SHARES, selectDue, workOff } from '../../database/deliveries.ts'
import { build, databaseNow } from '../../database/statements.ts'
import { log } from '../../http/log.ts'
import { isTaken, postForeign } from '../../http/outbound.ts'
import { sessions } from '../../sessions/models.ts'
import { signLogoutToken } from '../id-tokens.ts'
import { type Client, oauthClients, oauthLogouts } from '../models.ts'

/**
 * OpenID Connect Back-Channel Logout 1.0. That an app is owed word of a sign-out is written by the database itself, in the
 * batch of whatever ends its session (drizzle/0028_logouts.sql). Here it is delivered; a row is gone when it is done.
 */

interface Logout {
  id: string
  user_id: string
  parent_id: string
  client_id: string
  attempts: number
  next_attempt_at: number
  answer: number | null
  uri: string
  algorithm: Client['id_token_signed_response_alg']
}

/**
 * A condition: that somebody is signed in to the app again by the same login. Word of before would be taken for the
 * end of that, as apps hear of one session for both.
 */
const goesOn = sql`EXISTS (SELECT 1 FROM ${sessions} AS other JOIN ${sessions} AS parent ON parent.id = other.parent_id
  WHERE other.user_id = ${oauthLogouts.user_id} AND other.revoked_at IS NULL AND other.parent_id = ${oauthLogouts.parent_id}
    AND other.client_id = ${oauthLogouts.client_id} AND parent.revoked_at IS NULL AND other.idle_expires_at > ${databaseNow})`

/** Nobody is there any more to be told. */
const hasNobody = sql`NOT EXISTS (SELECT 1 FROM ${oauthClients} WHERE ${oauthClients.id} = ${oauthLogouts.client_id}
  AND ${oauthClients.backchannel_logout_uri} IS NOT NULL)`

/** Delivers what is due: of the request that owes it after its answer, and of the cron job. */
export async function deliverLogouts(
  resources: Resources,
  by: keyof typeof SHARES,
): Promise<{ due: number; dead: number }> {
  const { db, config } = resources
  if (!config.OPENID_KEYS) return { due: 0, dead: 0 }
  const silent = new Set<string>()
  return workOff(
    {
      // No more than go out at once: whether one may still be sent is asked when it is claimed.
      readDue: async () => {
        const { due } = await db.read({ due: selectDue(oauthLogouts, databaseNow) })
        return (due as Due[]).slice(0, SHARES[by].atATime)
      },
      claim: (due) => claimLogouts(resources, due),
      deliver: (logout) => deliver(resources, logout, silent),
    },
    SHARES[by],
  )
}

/** Takes them, and takes away what has no use any more. */
export async function claimLogouts({ db, origin }: Resources, due: Due[]) {
  const claims = claiming(oauthLogouts, due, Date.now(), sql`1`)
  const ids = due.map(({ id }) => id)
  const isOver = sql`${oauthLogouts.expires_at} <= ${databaseNow}`
  const { over, claimed } = await db.writeBatch({
    over: build
      .delete(oauthLogouts)
      .where(and(inArray(oauthLogouts.id, ids), or(isOver, hasNobody, goesOn)))
      .returning({
        client_id: oauthLogouts.client_id,
        expires_at: oauthLogouts.expires_at,
        attempts: oauthLogouts.attempts,
      }),
    claims: claims.map(({ claim }) => claim),
    claimed: build
      .select({
        ...getTableColumns(oauthLogouts),
        uri: sql<string>`${oauthClients.backchannel_logout_uri}`.as('uri'),
        algorithm: sql<Logout['algorithm']>`${oauthClients.id_token_signed_response_alg}`.as('algorithm'),
      })
      .from(oauthLogouts)
      .innerJoin(oauthClients, eq(oauthClients.id, oauthLogouts.client_id))
      .where(or(...claims.map(({ isClaimed }) => isClaimed))),
  })
  const dead = over.filter(({ expires_at }) => expires_at <= Date.now())
  for (const { client_id, attempts } of dead)
    log('error', { code: 'logout_dead', request_id: origin.requestId, client_id, attempts })
  return { claimed, dead: dead.length }
}

/** What of an answer is final: that it was heard, or that it will never be. */
const isFinal = (status: number) => isTaken(status) || status === 400

/** @param silent the apps that gave no answer in this run: what is owed to them waits, so that others need not. */
async function deliver(resources: Resources, logout: Logout, silent: Set<string>): Promise<void> {
  const { client_id, attempts } = logout
  const line = { request_id: resources.origin.requestId, client_id, attempts }
  try {
    const isAsked = !silent.has(client_id)
    const status = isAsked ? await attempt(resources, logout) : undefined
    if (status === undefined) silent.add(client_id)
    if (status === undefined || !isFinal(status)) {
      log('warn', { code: 'logout_not_told', ...line, refusal: status ?? 'no_answer' })
      if (isAsked) await noteAnswer(resources, logout, status ?? null)
      return
    }
    if (status === 400) log('error', { code: 'logout_dead', ...line, refusal: status })
    else if (resources.config.LOG === 'all') log('info', { code: 'logout_told', ...line })
    await noteTold(resources, logout)
  } catch (error) {
    // It is claimed, so it is tried again when its pause is over; an app that hears it twice has signed out already.
    log('warn', { code: 'logout_not_noted', ...line, cause: error })
  }
}

/** What the app answered; undefined where it did not. Each try signs a token of its own. */
async function attempt(resources: Resources, logout: Logout): Promise<number | undefined> {
  const { config } = resources
  const token = await signLogoutToken(config, Date.now(), {
    algorithm: logout.algorithm,
    clientId: logout.client_id,
    userId: logout.user_id,
    parentId: logout.parent_id,
  })
  const body = new URLSearchParams({ logout_token: token })
  return postForeign(config, 'logout', logout.uri, { body }).catch(() => undefined)
}

/** For those who look after the app: what it answered. It is tried again in any case. */
async function noteAnswer({ db }: Resources, logout: Logout, answer: number | null): Promise<void> {
  if (answer === logout.answer) return
  await db.writeBatch({
    told: build.update(oauthLogouts).set({ answer }).where(isAttempt(oauthLogouts, logout)),
  })
}

/** It is done, unless it has been owed once more since. */
export const noteTold = ({ db }: Pick<Resources, 'db'>, logout: Pick<Logout, 'id' | 'next_attempt_at'>) =>
  db.writeBatch({ told: build.delete(oauthLogouts).where(isAttempt(oauthLogouts, logout)) })
