import { reauthenticationRequired } from '../access/errors.ts'
import { limitLists, requirePermission } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation, query } from '../http/operation.ts'
import { answerList, invalidCursor } from '../http/pagination.ts'
import { idempotent } from '../idempotency/service.ts'
import { LIFETIME_MS } from '../links/service.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { tooManyAttempts as tooManyAttemptsProblem } from '../throttle/errors.ts'
import { emailTaken, outranked } from '../users/errors.ts'
import { inWords } from '../values/durations.ts'
import { invitationEnded, invitationNotFound } from './errors.ts'
import { CreateInvitation, Invitation, InvitationList, ListInvitations } from './schemas.ts'
import { createInvitation, listInvitations, resendInvitation, withdrawInvitation } from './service.ts'

const tag = 'invitations'
const tooManyAttempts = () => tooManyAttemptsProblem(60)

export const invitationRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listInvitations',
      tag,
      summary: 'Invitations, newest first',
      description: 'A page can have fewer than its limit, where you may not see some.',
      responses: { 200: InvitationList },
      problems: [invalidCursor],
    }),
    requirePermission('users:create'),
    limitLists,
    query(ListInvitations),
    async (c) => answerList(c, await listInvitations(c.var, c.var.query)),
  )
  .post(
    '/',
    operation({
      id: 'createInvitation',
      tag,
      summary: 'Invite somebody by mail',
      description:
        'Replaces a pending invitation of the same address. A role above `user` needs a recent login.',
      responses: { 201: Invitation },
      problems: [emailTaken, outranked, reauthenticationRequired, mailNotConfigured, tooManyAttempts],
    }),
    requirePermission('users:create'),
    body(CreateInvitation),
    idempotent,
    async (c) => c.json(await createInvitation(c.var, c.var.actor, c.var.body, c.var.idempotent), 201),
  )
  .post(
    '/:id/resend',
    operation({
      id: 'resendInvitation',
      tag,
      summary: `Send an invitation again, for another ${inWords(LIFETIME_MS.accept_invitation)}`,
      description: 'Its earlier mails become void. A role above `user` needs a recent login.',
      responses: { 200: Invitation },
      problems: [
        invitationNotFound,
        invitationEnded,
        emailTaken,
        outranked,
        reauthenticationRequired,
        mailNotConfigured,
        tooManyAttempts,
      ],
    }),
    requirePermission('users:create'),
    async (c) => c.json(await resendInvitation(c.var, c.var.actor, c.req.param('id'))),
  )
  .delete(
    '/:id',
    operation({
      id: 'withdrawInvitation',
      tag,
      summary: 'Withdraw an invitation',
      description: 'Its link becomes void. Safe to repeat; 409 once it was accepted.',
      responses: { 204: null },
      problems: [invitationNotFound, invitationEnded, outranked],
    }),
    requirePermission('users:create'),
    async (c) => {
      await withdrawInvitation(c.var, c.var.actor, c.req.param('id'))
      return c.body(null, 204)
    },
  )
