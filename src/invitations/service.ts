import { and, desc, eq, isNull, lt, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { requireRecentLogin } from '../access/guards.ts'
import { outranks } from '../access/permissions.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, rowExists } from '../database/statements.ts'
import { type List, makeCursor, openCursor } from '../http/pagination.ts'
import { type IdempotentRequest, openIdempotency, recalled } from '../idempotency/service.ts'
import { invalidLink } from '../links/errors.ts'
import { oneTimeTokens } from '../links/models.ts'
import { LIFETIME_MS, linkIsLive, requireToken, voidTokens } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { enqueueLink, sendAfterwards } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { insertUser, makeUserRow } from '../users/create.ts'
import { emailTaken, outranked } from '../users/errors.ts'
import { emailIsTaken, ROLES, userIsActive, users } from '../users/models.ts'
import type { User } from '../users/schemas.ts'
import { toUser } from '../users/schemas.ts'
import { normalizeEmail } from '../values/email.ts'
import { toTime } from '../values/ids.ts'
import { invitationEnded, invitationNotFound } from './errors.ts'
import { type Invitation as InvitationRow, invitations } from './models.ts'
import type { AcceptInvitation, CreateInvitation, Invitation } from './schemas.ts'

const toInvitation = (row: InvitationRow, now: number): Invitation => ({
  id: row.id,
  email: row.email,
  name: row.name,
  role: row.role,
  status: statusOf(row, now),
  invited_by: row.invited_by,
  created_at: toTime(row.created_at),
  expires_at: toTime(row.expires_at),
  user_id: row.user_id,
})

function statusOf(row: InvitationRow, now: number): Invitation['status'] {
  if (row.accepted_at !== null) return 'accepted'
  if (row.withdrawn_at !== null) return 'withdrawn'
  return row.expires_at <= now ? 'expired' : 'pending'
}

/** The mail that brings an invitation. */
const enqueueInvitation = (resources: Resources, row: InvitationRow, condition: SQL) =>
  enqueueLink(
    resources,
    {
      kind: 'invitation',
      subjectId: row.id,
      userId: null,
      email: row.email,
      emailNormalized: row.email_normalized,
    },
    condition,
  )

/**
 * Invites somebody. An invitation of the same address that was pending is withdrawn.
 *
 * @throws 403 `outranked`, `reauthentication_required` for a role above `user`; 409 `email_taken`; 503 where no mail is configured.
 */
export async function createInvitation(
  resources: Resources,
  actor: Claims,
  input: CreateInvitation,
  request: IdempotentRequest | undefined,
): Promise<Invitation> {
  const { db, now, send } = resources
  if (!send) throw mailNotConfigured()
  if (!outranks(actor.role, input.role)) throw outranked()
  if (input.role !== 'user') requireRecentLogin(actor, now)
  const row: InvitationRow = {
    id: uuidv7(),
    email: input.email,
    email_normalized: normalizeEmail(input.email),
    name: input.name ?? null,
    role: input.role,
    invited_by: actor.sub,
    created_at: now,
    expires_at: now + LIFETIME_MS.accept_invitation,
    accepted_at: null,
    withdrawn_at: null,
    user_id: null,
  }
  const isTaken = emailIsTaken(row.email_normalized)
  const mayInvite = sql`${tokenIsLive(actor, now)} AND NOT ${isTaken}`
  const answer = toInvitation(row, now)
  const once = openIdempotency(resources, request, row.id, answer, mayInvite)
  const event = eventOf('invitation.created', actor.sub, row)
  const isDone = rowExists(activityLogs, event.id)
  const mail = enqueueInvitation(resources, row, isDone)
  const older = sql`email_normalized = ${row.email_normalized} AND id < ${row.id} AND ${isDone}`
  const results = await db.writeBatch(
    {
      claim: once.claim,
      history: record(resources, event, once.isFirst),
      invitation: insertWhere(invitations, row, isDone),
      olderLinks: voidTokens(
        now,
        ['accept_invitation'],
        sql`subject_id IN (SELECT id FROM ${invitations} WHERE ${older}) AND ${isDone}`,
      ),
      older: build
        .update(invitations)
        .set({ withdrawn_at: now })
        .where(and(older, isNull(invitations.accepted_at), isNull(invitations.withdrawn_at))),
      mail: mail.statements,
      verdict: sql<{ is_done: 0 | 1; is_taken: 0 | 1 }>`SELECT ${isDone} AS is_done, ${isTaken} AS is_taken`,
      ...once.recall,
    },
    isDone,
  )
  const { is_done, is_taken } = results.verdict[0]!
  const kept = recalled(request, results, answer)
  if (kept === answer && !is_done) {
    throw is_taken ? emailTaken() : invalidToken(new Error('revoked during the request'))
  }
  sendAfterwards(resources, mail.mailId)
  return kept
}

const eventOf = (
  action: 'invitation.created' | 'invitation.resent' | 'invitation.withdrawn',
  actorId: string,
  { id, role }: InvitationRow,
) => ({ id: uuidv7(), action, userId: null, actorId, details: { invitation_id: id, role } })

/** Invitations, newest first. */
export async function listInvitations(
  { db, config, now }: Resources,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<List<Invitation>> {
  const [after] = cursor === undefined ? [] : (openCursor(config, 'invitations', cursor) as [string])
  const { rows } = await db.read({
    rows: build
      .select()
      .from(invitations)
      .where(after === undefined ? undefined : lt(invitations.id, after))
      .orderBy(desc(invitations.id))
      .limit(limit + 1),
  })
  const page = rows.slice(0, limit)
  const next_cursor = rows.length > limit ? makeCursor(config, 'invitations', [page.at(-1)!.id]) : null
  return {
    data: page.map((row) => toInvitation(row, now)),
    pagination: { limit, next_cursor, total: null },
  }
}

/** Reads an invitation, for somebody who may manage it. Throws 404, 403 `outranked`. */
async function requireInvitation({ db }: Resources, actor: Claims, id: string): Promise<InvitationRow> {
  const {
    invitation: [row],
  } = await db.read({ invitation: build.select().from(invitations).where(eq(invitations.id, id)) })
  if (!row) throw invitationNotFound()
  if (!outranks(actor.role, row.role)) throw outranked()
  return row
}

const isPending = (id: string) =>
  and(eq(invitations.id, id), isNull(invitations.accepted_at), isNull(invitations.withdrawn_at))

/** Sends an invitation again, for another seven days; what was sent before is void. Throws 409 `invitation_ended`. */
export async function resendInvitation(resources: Resources, actor: Claims, id: string): Promise<Invitation> {
  const { db, now, send } = resources
  if (!send) throw mailNotConfigured()
  const row = await requireInvitation(resources, actor, id)
  const renewed = { ...row, expires_at: now + LIFETIME_MS.accept_invitation, invited_by: actor.sub }
  const holds = tokenIsLive(actor, now)
  const mayResend = sql`EXISTS (SELECT 1 FROM ${invitations} WHERE ${and(isPending(id), holds)})`
  const event = eventOf('invitation.resent', actor.sub, row)
  const isDone = rowExists(activityLogs, event.id)
  const mail = enqueueInvitation(resources, renewed, isDone)
  const { verdict } = await db.writeBatch(
    {
      history: record(resources, event, mayResend),
      change: build
        .update(invitations)
        .set({ expires_at: renewed.expires_at, invited_by: renewed.invited_by })
        .where(and(eq(invitations.id, id), isDone)),
      mail: mail.statements,
      verdict: sql<{ is_done: 0 | 1; holds: 0 | 1 }>`SELECT ${isDone} AS is_done, ${holds} AS holds`,
    },
    isDone,
  )
  const { is_done, holds: isLive } = verdict[0]!
  if (!is_done) throw isLive ? invitationEnded() : invalidToken(new Error('revoked during the request'))
  sendAfterwards(resources, mail.mailId)
  return toInvitation(renewed, now)
}

/**
 * Withdraws an invitation: its link is void. Again and again the same, but 409 `invitation_ended` for one that has
 * been accepted.
 */
export async function withdrawInvitation(resources: Resources, actor: Claims, id: string): Promise<void> {
  const { db, now } = resources
  const row = await requireInvitation(resources, actor, id)
  const isThis = eq(invitations.id, id)
  const event = eventOf('invitation.withdrawn', actor.sub, row)
  const isDone = rowExists(activityLogs, event.id)
  const holds = tokenIsLive(actor, now)
  const { invitation, verdict } = await db.writeBatch(
    {
      history: record(
        resources,
        event,
        sql`EXISTS (SELECT 1 FROM ${invitations} WHERE ${and(isPending(id), holds)})`,
      ),
      change: build.update(invitations).set({ withdrawn_at: now }).where(and(isThis, isDone)),
      links: voidTokens(now, ['accept_invitation'], sql`${oneTimeTokens.subject_id} = ${id} AND ${isDone}`),
      invitation: build.select({ accepted_at: invitations.accepted_at }).from(invitations).where(isThis),
      verdict: sql<{ holds: 0 | 1 }>`SELECT ${holds} AS holds`,
    },
    isDone,
  )
  if (!verdict[0]!.holds) throw invalidToken(new Error('revoked during the request'))
  if (invitation[0]?.accepted_at) throw invitationEnded()
}

/**
 * Makes the account that an invitation is for. The mail was read, so the address is confirmed; it does not log in.
 * It stands as long as its inviter could still make it: who was demoted or shut out invites nobody.
 *
 * @throws 400 `invalid_link`; 409 `email_taken`; 422 for a weak password.
 */
export async function acceptInvitation(resources: Resources, input: AcceptInvitation): Promise<User> {
  const { now } = resources
  const { token, subject: invitation } = await requireToken(resources, 'accept_invitation', input, (id) =>
    build.select().from(invitations).where(sql`${invitations.id} = ${id}`),
  )
  const row = await makeUserRow(
    resources,
    {
      email: invitation.email,
      name: input.name ?? invitation.name ?? invitation.email.split('@')[0]!,
      password: input.password,
      role: invitation.role,
    },
    now,
  )
  const inviters = ROLES.filter((role) => outranks(role, invitation.role))
  const inviterStands = sql`EXISTS (SELECT 1 FROM ${users} WHERE id = ${invitation.invited_by}
    AND role IN ${inviters} AND ${userIsActive(now)})`
  const mayAccept = sql`${linkIsLive(token.id, now)} AND ${inviterStands}
    AND EXISTS (SELECT 1 FROM ${invitations} WHERE ${isPending(invitation.id)})`
  const isTaken = emailIsTaken(row.email_normalized)
  const creation = insertUser(resources, row, sql`${mayAccept} AND NOT ${isTaken}`, {
    action: 'invitation.accepted',
    actorId: row.id,
  })
  const { isDone } = creation
  const { verdict } = await resources.db.writeBatch(
    {
      ...creation.statements,
      links: voidTokens(now, ['accept_invitation'], sql`subject_id = ${invitation.id} AND ${isDone}`),
      acceptance: build
        .update(invitations)
        .set({ accepted_at: now, user_id: row.id, withdrawn_at: null })
        .where(and(eq(invitations.id, invitation.id), isDone)),
      verdict: sql<
        Record<'is_done' | 'may_accept', 0 | 1>
      >`SELECT ${isDone} AS is_done, ${mayAccept} AS may_accept`,
    },
    isDone,
  )
  const { is_done, may_accept } = verdict[0]!
  if (!is_done) throw may_accept ? emailTaken() : invalidLink()
  return toUser({ ...row, state: row.status })
}
