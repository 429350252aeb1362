import { and, eq, getTableColumns, inArray, or, sql } from 'drizzle-orm'
import type { Resources } from '../../context.ts'
import { claiming, type Due, deliverAllDue, isAttempt, SHARES, selectDue } from '../../database/deliveries.ts'
import { build, databaseNow } from '../../database/statements.ts'
import { log } from '../../http/log.ts'
import { isAccepted, postToReceiver } from '../../http/outbound.ts'
import { sessions } from '../../sessions/models.ts'
import { signLogoutToken } from '../id-tokens.ts'
import { type Client, oauthClients, oauthLogouts } from '../models.ts'

/**
 * OpenID Connect Back-Channel Logout 1.0. The database itself records that an app must be told of a sign-out, in the
 * batch that ends the session (drizzle/0028_logouts.sql). Here it is delivered; a row is deleted once it is done.
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
 * A condition: the user is signed in to the app again, from the same login. Apps know both sessions by one id, so a
 * notice about the former one would end the new one.
 */
const goesOn = sql`EXISTS (SELECT 1 FROM ${sessions} AS other JOIN ${sessions} AS parent ON parent.id = other.parent_id
  WHERE other.user_id = ${oauthLogouts.user_id} AND other.revoked_at IS NULL AND other.parent_id = ${oauthLogouts.parent_id}
    AND other.client_id = ${oauthLogouts.client_id} AND parent.revoked_at IS NULL AND other.idle_expires_at > ${databaseNow})`

/** A condition: the app no longer exists. */
const hasNobody = sql`NOT EXISTS (SELECT 1 FROM ${oauthClients} WHERE ${oauthClients.id} = ${oauthLogouts.client_id}
  AND ${oauthClients.backchannel_logout_uri} IS NOT NULL)`

/** Delivers what is due: after the answer of the request that caused it, or in the cron job. */
export async function deliverLogouts(
  resources: Resources,
  by: keyof typeof SHARES,
): Promise<{ due: number; dead: number }> {
  const { db, config } = resources
  if (!config.OPENID_KEYS) return { due: 0, dead: 0 }
  const silent = new Set<string>()
  return deliverAllDue(
    {
      // No more than are sent at once: whether each may still be sent is decided when it is claimed.
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

/** Claims the notices, and deletes those that are no longer needed. */
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

/** Whether an answer is final: the app has accepted the notice, or never will. */
const isFinal = (status: number) => isAccepted(status) || status === 400

/** @param silent the apps that did not answer in this run. Their other notices wait, so that other apps need not. */
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
    // It is claimed, so it is tried again after its pause. An app that is told twice has signed the user out already.
    log('warn', { code: 'logout_not_noted', ...line, cause: error })
  }
}

/** The status that the app answered with; undefined without an answer. Each attempt signs a new token. */
async function attempt(resources: Resources, logout: Logout): Promise<number | undefined> {
  const { config } = resources
  const token = await signLogoutToken(config, Date.now(), {
    algorithm: logout.algorithm,
    clientId: logout.client_id,
    userId: logout.user_id,
    parentId: logout.parent_id,
  })
  const body = new URLSearchParams({ logout_token: token })
  return postToReceiver(config, 'logout', logout.uri, { body }).catch(() => undefined)
}

/** Records the app's answer, for those who look after the app. The notice is tried again either way. */
async function noteAnswer({ db }: Resources, logout: Logout, answer: number | null): Promise<void> {
  if (answer === logout.answer) return
  await db.writeBatch({
    told: build.update(oauthLogouts).set({ answer }).where(isAttempt(oauthLogouts, logout)),
  })
}

/** Deletes the notice, unless it has become due again since. */
export const noteTold = ({ db }: Pick<Resources, 'db'>, logout: Pick<Logout, 'id' | 'next_attempt_at'>) =>
  db.writeBatch({ told: build.delete(oauthLogouts).where(isAttempt(oauthLogouts, logout)) })
