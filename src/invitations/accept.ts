import { and, eq, type SQL, sql } from 'drizzle-orm'
import { outranks } from '../access/permissions.ts'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { Refusal } from '../http/problem.ts'
import { invalidLink } from '../links/errors.ts'
import { linkIsLive, requireToken, voidTokens } from '../links/service.ts'
import { oauthClients } from '../oauth/models.ts'
import { publishDoubts } from '../sessions/near.ts'
import { insertUser, makeUserRow } from '../users/create.ts'
import { emailTaken } from '../users/errors.ts'
import { emailIsProved, ROLES, type Role, userIsActive, users } from '../users/models.ts'
import { toUser, type User } from '../users/schemas.ts'
import { answersForInvitation, isInvitingService } from './inviter.ts'
import { type Invitation, invitations } from './models.ts'
import type { AcceptInvitation } from './schemas.ts'
import { isPending } from './service.ts'

/** What an invited person sees before they accept. */
export interface InvitationShown {
  email: string
  name: string | null
  role: Role
  /** The inviter's name; null if that user is gone. */
  inviter: string | null
}

/** Shows an invitation to the reader of its mail. Throws 400 `invalid_link`. */
export async function showInvitation(resources: Resources, token: string): Promise<InvitationShown> {
  const { subject } = await requireToken(resources, 'accept_invitation', { token }, (id) =>
    build
      .select({
        email: invitations.email,
        name: invitations.name,
        role: invitations.role,
        inviter: sql<string | null>`${users.name}`.as('inviter'),
      })
      .from(invitations)
      .leftJoin(users, and(eq(users.id, invitations.invited_by), userIsActive(resources.now)))
      .where(sql`${invitations.id} = ${id}`),
  )
  return subject as InvitationShown
}

/** A condition: that whoever answers for an invitation could still make it. */
const inviterStands = (id: string | SQL, now: number) => {
  const outranksIt = ROLES.map(
    (role) =>
      sql`(${invitations.role} = ${role} AND ${users.role} IN ${ROLES.filter((one) => outranks(one, role))})`,
  )
  return sql`EXISTS (SELECT 1 FROM ${invitations} LEFT JOIN ${oauthClients} AS service ON ${isInvitingService}
    JOIN ${users} ON ${answersForInvitation} WHERE ${invitations.id} = ${id}
    AND (${sql.join(outranksIt, sql` OR `)}) AND ${userIsActive(now)})`
}

type Standing = Record<'inviter_stands' | 'is_taken', 0 | 1>

/** The columns of `Standing`. */
const standingOf = (id: string | SQL, now: number) => {
  const email = sql`(SELECT email_normalized FROM ${invitations} WHERE ${invitations.id} = ${id})`
  return sql`${inviterStands(id, now)} AS inviter_stands, ${emailIsProved(email)} AS is_taken`
}

/**
 * Makes the account of an invitation. The mail was read, so the address is confirmed; it does not log in. The
 * invitation is valid while its inviter could still make it: one who was demoted or disabled invites nobody, and
 * a service invites nobody without its owner. An unverified account with the address gives way.
 *
 * @throws 400 `invalid_link`; 409 `email_taken`; 422 for a weak password.
 */
export async function acceptInvitation(resources: Resources, input: AcceptInvitation): Promise<User> {
  const { db } = resources
  const { token, subject: invitation } = await requireToken(
    resources,
    'accept_invitation',
    input,
    (id) =>
      sql<
        Invitation & Standing
      >`SELECT *, ${standingOf(id, resources.now)} FROM ${invitations} WHERE id = ${id}`,
  )
  if (!invitation.inviter_stands || invitation.is_taken) {
    // Refused before the hash, unless only a lagging replica says so.
    const { standing } = await db.readPrimary({
      standing: sql<Standing>`SELECT ${standingOf(invitation.id, resources.now)}`,
    })
    if (!standing[0]!.inviter_stands) throw invalidLink(new Refusal('inviter'))
    if (standing[0]!.is_taken) throw emailTaken()
  }
  const row = await makeUserRow(
    resources,
    {
      email: invitation.email,
      name: input.name ?? invitation.name ?? invitation.email.split('@')[0]!,
      password: input.password,
      role: invitation.role,
      terms_version: input.terms_version,
    },
    true,
  )
  // As late as the row: hashing takes a while.
  const { now } = resources
  const stands = inviterStands(invitation.id, now)
  const mayAccept = sql`${linkIsLive(token.id)} AND ${stands}
    AND EXISTS (SELECT 1 FROM ${invitations} WHERE ${isPending(invitation.id)})`
  const isTaken = emailIsProved(row.email_normalized)
  const creation = insertUser(resources, row, sql`${mayAccept} AND NOT ${isTaken}`, {
    action: 'invitation.accepted',
    actorId: row.id,
    invitation: invitation.id,
  })
  const { isDone } = creation
  const { verdict, squatter } = await db.writeBatch(
    {
      ...creation.statements,
      links: voidTokens(now, ['accept_invitation'], sql`subject_id = ${invitation.id} AND ${isDone}`),
      acceptance: build
        .update(invitations)
        .set({ accepted_at: now, user_id: row.id, withdrawn_at: null })
        .where(and(eq(invitations.id, invitation.id), isDone)),
      verdict: sql<
        Record<'is_done' | 'may_accept' | 'inviter_stands', 0 | 1>
      >`SELECT ${isDone} AS is_done, ${mayAccept} AS may_accept, ${stands} AS inviter_stands`,
    },
    isDone,
  )
  const { is_done, may_accept, inviter_stands } = verdict[0]!
  await publishDoubts(resources, { users: squatter.map(({ id }) => id) })
  if (!is_done)
    throw may_accept ? emailTaken() : invalidLink(new Refusal(inviter_stands ? 'meanwhile' : 'inviter'))
  return toUser({ ...row, state: row.status })
}
