import { and, asc, desc, eq, getTableColumns, gt, isNull, lt, type SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/sqlite-core'
import { v7 as uuidv7 } from 'uuid'
import { hasRecentLogin, noRecentLogin, requireRecentLogin } from '../access/guards.ts'
import { outranks } from '../access/permissions.ts'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import { readerOf, seesUser } from '../activity/visibility.ts'
import type { Resources } from '../context.ts'
import { build, insertWhere, type Results, rowExists } from '../database/statements.ts'
import { type List, openPlace, toPage } from '../http/pagination.ts'
import { Refusal } from '../http/problem.ts'
import { type IdempotentRequest, openIdempotency, recalled } from '../idempotency/service.ts'
import { oneTimeTokens } from '../links/models.ts'
import { LIFETIME_MS, voidTokens } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { type MailRequested, openMailRequest } from '../mail/limits.ts'
import { enqueueAsked, sendAfterwards } from '../mail/outbox.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { invalidToken } from '../sessions/errors.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { withdrawInvitations } from '../users/consequences.ts'
import { emailTaken, outranked, writeConflict } from '../users/errors.ts'
import { emailIsProved, ROLES, users } from '../users/models.ts'
import { normalizeEmail } from '../values/email.ts'
import { invitationEnded, invitationNotFound } from './errors.ts'
import { answersForInvitation, isInvitingService, service } from './inviter.ts'
import { type Invitation as InvitationRow, invitations } from './models.ts'
import { type CreateInvitation, type Invitation, type Inviter, toInvitation } from './schemas.ts'

const invitee = alias(users, 'invitee')

/** Invitations, with the users who answer for them and those who accepted them, as they are now. */
const selectInvitations = () =>
  build
    .select({
      ...getTableColumns(invitations),
      inviter_role: sql<Inviter['inviter_role']>`${users.role}`.as('inviter_role'),
      inviter_state: sql<Inviter['inviter_state']>`${users.state}`.as('inviter_state'),
      inviter_disabled_until: sql<number | null>`${users.disabled_until}`.as('inviter_disabled_until'),
      invitee_deleted_at: sql<number | null>`${invitee.deleted_at}`.as('invitee_deleted_at'),
    })
    .from(invitations)
    .leftJoin(service, isInvitingService)
    .leftJoin(users, answersForInvitation)
    .leftJoin(invitee, eq(invitee.id, invitations.user_id))

/** The mail with an invitation. */
const enqueueInvitation = (resources: Resources, asked: MailRequested, row: InvitationRow, condition: SQL) =>
  enqueueAsked(
    resources,
    asked,
    {
      kind: 'invitation',
      subjectId: row.id,
      userId: null,
      email: row.email,
      emailNormalized: row.email_normalized,
    },
    condition,
  )

/** What inviting and sending again both require. Throws 503 where no mail is configured; 403 `outranked`. */
function assertMayInvite({ send }: Resources, actor: Claims, role: InvitationRow['role']): void {
  if (!send) throw mailNotConfigured()
  if (!outranks(actor.role, role)) throw outranked()
}

/** An invitation counts as a mail that somebody asks for. */
const askToInvite = (resources: Resources, actor: Claims, { email_normalized }: InvitationRow) =>
  openMailRequest(resources, {
    kind: 'invitation',
    emailNormalized: email_normalized,
    actor: { as: 'manager', id: actor.sub },
    isAsked: tokenIsLive(actor, resources.now),
  })

/** A condition: that the actor's rank lets them withdraw the open invitation of an address. */
const mayReplace = (actor: Claims, emailNormalized: string, now: number) =>
  sql`NOT EXISTS (SELECT 1 FROM ${invitations} WHERE email_normalized = ${emailNormalized}
    AND accepted_at IS NULL AND withdrawn_at IS NULL AND expires_at > ${now}
    AND role NOT IN ${ROLES.filter((role) => outranks(actor.role, role))})`

/**
 * Invites somebody. An open invitation of the same address is withdrawn.
 *
 * @throws 403 `outranked`, also if the other invitation is for a higher rank; `reauthentication_required` for
 *   a role above `user`; 409 `email_taken`; 503 where no mail is configured.
 */
export async function createInvitation(
  resources: Resources,
  actor: Claims,
  input: CreateInvitation,
  request: IdempotentRequest | undefined,
): Promise<Invitation> {
  const { id, batch, isDone, conclude } = prepareInvitation(resources, actor, input, request)
  const invitation = conclude(await resources.db.writeBatch(batch, isDone))
  // For a repeated request, the invitation as it is now.
  return invitation.id === id ? invitation : ((await findInvitation(resources, invitation.id)) ?? invitation)
}

/**
 * The statements that invite somebody, and a function that turns their results into the answer, or throws.
 */
export function prepareInvitation(
  resources: Resources,
  actor: Claims,
  input: CreateInvitation,
  request?: IdempotentRequest,
) {
  const { now } = resources
  assertMayInvite(resources, actor, input.role)
  const isRecent = input.role === 'user' || hasRecentLogin(actor, now)
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
  const isTaken = emailIsProved(row.email_normalized)
  const isReplaceable = mayReplace(actor, row.email_normalized, now)
  const asked = askToInvite(resources, actor, row)
  const holds = tokenIsLive(actor, now)
  const mayInvite = sql`${holds} AND NOT ${isTaken} AND ${isReplaceable} AND ${isRecent} AND ${asked.mayAsk}`
  const answer = toInvitation({ ...row, ...inviterNow(actor) }, now)
  const once = openIdempotency(resources, request, row.id, answer, mayInvite)
  const event = eventOf('invitation.created', actor.sub, row)
  const isDone = rowExists(activityLogs, event.id)
  const mail = enqueueInvitation(resources, asked, row, isDone)
  const batch = {
    count: asked.count,
    claim: once.claim,
    history: record(resources, event, once.isFirst),
    older: withdrawInvitations(
      resources,
      row.email_normalized,
      { reason: 'replaced', actorId: actor.sub, which: sql`id < ${row.id}` },
      isDone,
    ),
    invitation: insertWhere(invitations, row, isDone),
    mail: mail.statements,
    mailing: asked.verdict,
    countMade: [asked.countMade(mail.mailId)],
    verdict: sql<
      Record<'is_done' | 'is_taken' | 'is_replaceable' | 'holds', 0 | 1>
    >`SELECT ${isDone} AS is_done,
      ${isTaken} AS is_taken, ${isReplaceable} AS is_replaceable, ${holds} AS holds`,
    ...once.recall,
  }
  const conclude = (results: Results<typeof batch>): Invitation => {
    const { is_done, is_taken, is_replaceable, holds: isLive } = results.verdict[0]!
    const kept = recalled(request, results, answer)
    // A request that was answered before gets the same answer, however old the login is by now.
    if (kept.id !== row.id) return kept
    if (!is_done) {
      if (!isLive) throw invalidToken(new Refusal('meanwhile'))
      if (!isRecent) throw noRecentLogin(actor)
      if (is_taken) throw emailTaken()
      if (!is_replaceable) throw outranked()
      asked.assertAllowed(results.mailing)
      throw writeConflict()
    }
    sendAfterwards(resources, mail.mailId)
    return answer
  }
  return { batch, isDone, conclude, id: row.id }
}

const inviterNow = ({ role }: Claims) =>
  ({ inviter_role: role, inviter_state: 'active', inviter_disabled_until: null }) as const

const eventOf = (
  action: 'invitation.created' | 'invitation.resent' | 'invitation.withdrawn',
  actorId: string,
  { id, role }: InvitationRow,
) => ({ id: uuidv7(), action, userId: null, actorId, details: { invitation_id: id, role } })

/** Invitations, newest first, without those of users whom the actor may not see: a page may be shorter. */
export async function listInvitations(
  { db, config, now, actor }: Resources & { actor: Claims },
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<List<Invitation>> {
  const place = openPlace(config, 'invitations', cursor)
  const at = place?.position[0] as string | undefined
  const isBackwards = place?.isBackwards === true
  const { rows: read } = await db.read({
    rows: selectInvitations()
      .where(at === undefined ? undefined : isBackwards ? gt(invitations.id, at) : lt(invitations.id, at))
      .orderBy(isBackwards ? asc(invitations.id) : desc(invitations.id))
      .limit(limit + 1),
  })
  const positionOf = ({ id }: InvitationRow) => [id]
  const { rows, pagination } = toPage(config, 'invitations', { read, limit, place, positionOf })
  const reader = readerOf(actor)
  const seen = rows.filter((row) => seesUser(reader, { deleted_at: row.invitee_deleted_at }))
  return { data: seen.map((row) => toInvitation(row, now)), pagination }
}

/** An invitation as it is now. */
async function findInvitation({ db, now }: Resources, id: string): Promise<Invitation | undefined> {
  const {
    invitation: [row],
  } = await db.readPrimary({ invitation: selectInvitations().where(eq(invitations.id, id)) })
  return row && toInvitation(row, now)
}

/** Reads an invitation for an actor who may manage it. Throws 404, 403 `outranked`. */
async function requireInvitation({ db }: Resources, actor: Claims, id: string): Promise<InvitationRow> {
  const {
    invitation: [row],
  } = await db.readPrimary({ invitation: build.select().from(invitations).where(eq(invitations.id, id)) })
  return assertManages(actor, row)
}

export function assertManages(actor: Claims, row: InvitationRow | undefined): InvitationRow {
  if (!row) throw invitationNotFound()
  if (!outranks(actor.role, row.role)) throw outranked()
  return row
}

export const isPending = (id: string) =>
  and(eq(invitations.id, id), isNull(invitations.accepted_at), isNull(invitations.withdrawn_at))

/**
 * Sends an invitation again, for another seven days; its earlier mails become void. Requires what inviting
 * requires.
 *
 * @throws 404; 403; 409 `invitation_ended`, `email_taken`; 503.
 */
export async function resendInvitation(resources: Resources, actor: Claims, id: string): Promise<Invitation> {
  const row = await requireInvitation(resources, actor, id)
  const { batch, isDone, conclude } = prepareResend(resources, actor, row)
  return conclude(await resources.db.writeBatch(batch, isDone))
}

export function prepareResend(resources: Resources, actor: Claims, row: InvitationRow) {
  const { now } = resources
  assertMayInvite(resources, actor, row.role)
  if (row.role !== 'user') requireRecentLogin(actor, now)
  const renewed = { ...row, expires_at: now + LIFETIME_MS.accept_invitation, invited_by: actor.sub }
  const holds = tokenIsLive(actor, now)
  const isTaken = emailIsProved(row.email_normalized)
  const asked = askToInvite(resources, actor, row)
  const isOpen = sql`EXISTS (SELECT 1 FROM ${invitations} WHERE ${isPending(row.id)})`
  const mayResend = sql`${holds} AND ${isOpen} AND NOT ${isTaken} AND ${asked.mayAsk}`
  const event = eventOf('invitation.resent', actor.sub, row)
  const isDone = rowExists(activityLogs, event.id)
  const mail = enqueueInvitation(resources, asked, renewed, isDone)
  const batch = {
    count: asked.count,
    history: record(resources, event, mayResend),
    change: build
      .update(invitations)
      .set({ expires_at: renewed.expires_at, invited_by: renewed.invited_by })
      .where(and(eq(invitations.id, row.id), isDone)),
    mail: mail.statements,
    mailing: asked.verdict,
    countMade: [asked.countMade(mail.mailId)],
    verdict: sql<
      Record<'is_done' | 'holds' | 'is_open' | 'is_taken', 0 | 1>
    >`SELECT ${isDone} AS is_done, ${holds} AS holds, ${isOpen} AS is_open, ${isTaken} AS is_taken`,
  }
  const conclude = ({ verdict, mailing }: Pick<Results<typeof batch>, 'verdict' | 'mailing'>): Invitation => {
    const { is_done, holds: isLive, is_open, is_taken } = verdict[0]!
    if (!is_done) {
      if (!isLive) throw invalidToken(new Refusal('meanwhile'))
      // Whoever accepted it has the address, so this comes first.
      if (!is_open) throw invitationEnded()
      if (is_taken) throw emailTaken()
      asked.assertAllowed(mailing)
      throw writeConflict()
    }
    sendAfterwards(resources, mail.mailId)
    return toInvitation({ ...renewed, ...inviterNow(actor) }, now)
  }
  return { batch, isDone, conclude }
}

/**
 * Withdraws an invitation: its link becomes void. Repeating it gives the same answer, but 409
 * `invitation_ended` for one that was accepted.
 */
export async function withdrawInvitation(resources: Resources, actor: Claims, id: string): Promise<void> {
  const row = await requireInvitation(resources, actor, id)
  const { batch, isDone, conclude } = prepareWithdrawal(resources, actor, row)
  conclude(await resources.db.writeBatch(batch, isDone))
}

export function prepareWithdrawal(resources: Resources, actor: Claims, row: InvitationRow) {
  const { now } = resources
  const isThis = eq(invitations.id, row.id)
  const event = eventOf('invitation.withdrawn', actor.sub, row)
  const isDone = rowExists(activityLogs, event.id)
  const holds = tokenIsLive(actor, now)
  const batch = {
    history: record(
      resources,
      event,
      sql`EXISTS (SELECT 1 FROM ${invitations} WHERE ${and(isPending(row.id), holds)})`,
    ),
    change: build.update(invitations).set({ withdrawn_at: now }).where(and(isThis, isDone)),
    links: voidTokens(now, ['accept_invitation'], sql`${oneTimeTokens.subject_id} = ${row.id} AND ${isDone}`),
    invitation: build.select({ accepted_at: invitations.accepted_at }).from(invitations).where(isThis),
    verdict: sql<{ holds: 0 | 1 }>`SELECT ${holds} AS holds`,
  }
  const conclude = ({ invitation, verdict }: Pick<Results<typeof batch>, 'invitation' | 'verdict'>): void => {
    if (!verdict[0]!.holds) throw invalidToken(new Refusal('meanwhile'))
    if (invitation[0]?.accepted_at) throw invitationEnded()
  }
  return { batch, isDone, conclude }
}
