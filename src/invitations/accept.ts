import { and, eq, sql } from 'drizzle-orm'
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
import { invitations } from './models.ts'
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

/**
 * Makes the account of an invitation. The mail was read, so the address is confirmed; it does not log in. The
 * invitation is valid while its inviter could still make it: one who was demoted or disabled invites nobody, and
 * a service invites nobody without its owner. An unverified account with the address gives way.
 *
 * @throws 400 `invalid_link`; 409 `email_taken`; 422 for a weak password.
 */
export async function acceptInvitation(resources: Resources, input: AcceptInvitation): Promise<User> {
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
      terms_version: input.terms_version,
    },
    resources.now,
  )
  const { now } = resources
  const inviters = ROLES.filter((role) => outranks(role, invitation.role))
  const inviterStands = sql`EXISTS (SELECT 1 FROM ${invitations} LEFT JOIN ${oauthClients} AS service ON ${isInvitingService}
    JOIN ${users} ON ${answersForInvitation} WHERE ${invitations.id} = ${invitation.id}
    AND ${users.role} IN ${inviters} AND ${userIsActive(now)})`
  const mayAccept = sql`${linkIsLive(token.id)} AND ${inviterStands}
    AND EXISTS (SELECT 1 FROM ${invitations} WHERE ${isPending(invitation.id)})`
  const isTaken = emailIsProved(row.email_normalized)
  const creation = insertUser(resources, row, sql`${mayAccept} AND NOT ${isTaken}`, {
    action: 'invitation.accepted',
    actorId: row.id,
    invitation: invitation.id,
  })
  const { isDone } = creation
  const { verdict, squatter } = await resources.db.writeBatch(
    {
      ...creation.statements,
      links: voidTokens(now, ['accept_invitation'], sql`subject_id = ${invitation.id} AND ${isDone}`),
      acceptance: build
        .update(invitations)
        .set({ accepted_at: now, user_id: row.id, withdrawn_at: null })
        .where(and(eq(invitations.id, invitation.id), isDone)),
      verdict: sql<
        Record<'is_done' | 'may_accept' | 'inviter_stands', 0 | 1>
      >`SELECT ${isDone} AS is_done, ${mayAccept} AS may_accept, ${inviterStands} AS inviter_stands`,
    },
    isDone,
  )
  const { is_done, may_accept, inviter_stands } = verdict[0]!
  await publishDoubts(resources, { users: squatter.map(({ id }) => id) })
  if (!is_done)
    throw may_accept ? emailTaken() : invalidLink(new Refusal(inviter_stands ? 'meanwhile' : 'inviter'))
  return toUser({ ...row, state: row.status })
}
