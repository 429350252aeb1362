import { and, type SQL, sql } from 'drizzle-orm'
import { activityLogs, IS_OF_OTHERS } from '../../activity/models.ts'
import { recordEach } from '../../activity/service.ts'
import { build, type Statement } from '../../database/statements.ts'
import { invitations } from '../../invitations/models.ts'
import { voidTokens } from '../../links/service.ts'
import { NOBODY_ANSWERS, oauthClients } from '../../oauth/models.ts'
import type { Acting } from '../change.ts'

/*
 * What an administrator has set up goes on without them: services act with their own secrets, and whoever was invited
 * joins later. If a thief may have done it in their name, it must not outlast the theft.
 */

/**
 * A condition on clients: a service that this user answers for, or has changed, as they may know its secret or have
 * added a key. `secret_by` names the last who set one, and a former secret is good for days. Whoever only shut it out, as
 * below, knows neither.
 */
const isServiceOf = (userId: string) =>
  sql`(owner_id = ${userId} OR secret_by = ${userId} OR id IN (SELECT details ->> '$.client_id' FROM ${activityLogs}
    WHERE actor_id = ${userId} AND actor_id IS NOT NULL AND ${IS_OF_OTHERS}
      AND action IN ('client.created', 'client.updated', 'client.secret_rotated')
      AND details ->> '$.reason' IS NOT 'revoke_old'))
    AND instr(grants, '"client_credentials"') > 0`

export const selectServicesOf = (userId: string) =>
  sql<{ id: string }>`SELECT id FROM ${oauthClients} WHERE ${isServiceOf(userId)}`

/**
 * Withdraws the invitations that a user has made and nobody has accepted, and shuts out their services until somebody
 * else answers for each and gives it a new secret or new keys.
 */
export function disown(acting: Acting, userId: string, isDone: SQL): Statement[] {
  const { actor, now } = acting
  const by = { now, userId: sql`NULL`, actorId: actor.sub }
  // A service invites in its owner's name.
  const inviter = sql`(invited_by = ${userId} OR invited_by IN (${selectServicesOf(userId)}))`
  const isOpen = sql`${inviter} AND accepted_at IS NULL AND withdrawn_at IS NULL AND ${isDone}`
  const isTheirs = and(isServiceOf(userId), isDone)!
  return [
    recordEach(acting, 'invitation.withdrawn', {
      ...by,
      details: sql`json_object('invitation_id', id, 'role', role, 'reason', 'revoke_old')`,
      from: sql`${invitations} WHERE ${isOpen}`,
    }),
    voidTokens(
      now,
      ['accept_invitation'],
      sql`subject_id IN (SELECT id FROM ${invitations} WHERE ${isOpen})`,
    ),
    build.update(invitations).set({ withdrawn_at: now }).where(isOpen),
    recordEach(acting, 'client.updated', {
      ...by,
      details: sql`json_object('client_id', id, 'name', name, 'reason', 'revoke_old')`,
      from: sql`${oauthClients} WHERE ${isTheirs}`,
    }),
    build
      .update(oauthClients)
      .set({
        owner_id: NOBODY_ANSWERS,
        secret_hash: null,
        secret_by: null,
        former_secret_hash: null,
        former_secret_until: null,
        // Its method of authentication stays, and needs a set of keys.
        jwks: sql`CASE WHEN jwks IS NOT NULL THEN '{"keys":[]}' END`,
        epoch: sql`${oauthClients.epoch} + 1`,
        updated_at: now,
        version: sql`${oauthClients.version} + 1`,
      })
      .where(isTheirs),
  ]
}
