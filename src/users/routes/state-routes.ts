import { reauthenticationRequired } from '../../access/errors.ts'
import { requirePermission } from '../../access/guards.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation, query } from '../../http/operation.ts'
import { precondition } from '../../http/precondition.ts'
import { changeUser } from '../change.ts'
import * as errors from '../errors.ts'
import { disabling, enabling, restoring, unlocking } from '../managing/manage.ts'
import { DisableUser, ManagedUser, RestoreUserQuery } from '../schemas.ts'
import { answerManaged, ETAG, MANAGING_PROBLEMS } from './responses.ts'

const tag = 'users'

/** All of these answer with the user as they are now. */
const ANSWER = { responses: { 200: ManagedUser }, responseHeaders: { 200: ETAG } }

export const userStateRoutes = new Hono<AppEnv>()
  .post(
    '/:id/restore',
    operation({
      id: 'restoreUser',
      tag,
      summary: 'Bring a soft-deleted user back',
      description:
        'Without sessions and keys; with `earlier_email`, without the password too. Needs a recent login; they are told.',
      ...ANSWER,
      problems: [...MANAGING_PROBLEMS, reauthenticationRequired, errors.emailTaken, errors.noEarlierEmail],
    }),
    requirePermission('users:delete'),
    precondition,
    query(RestoreUserQuery),
    async (c) => answerManaged(c, await changeUser(c.var, c.req.param('id'), restoring(c.var, c.var.query))),
  )
  .post(
    '/:id/disable',
    operation({
      id: 'disableUser',
      tag,
      summary: 'Shut a user out, with a reason, for good or until a time',
      description:
        'Ends sessions and access tokens at once, and API keys for good, even if it is until a time. They are told by mail.',
      ...ANSWER,
      problems: [
        ...MANAGING_PROBLEMS,
        reauthenticationRequired,
        errors.userDeleted,
        errors.lastAdmin,
        errors.untilInThePast,
      ],
    }),
    requirePermission('users:update'),
    precondition,
    body(DisableUser),
    async (c) => answerManaged(c, await changeUser(c.var, c.req.param('id'), disabling(c.var, c.var.body))),
  )
  .post(
    '/:id/enable',
    operation({
      id: 'enableUser',
      tag,
      summary: 'Let a disabled user in again',
      description: 'Needs a recent login. They are told by mail.',
      ...ANSWER,
      problems: [...MANAGING_PROBLEMS, reauthenticationRequired, errors.userDeleted],
    }),
    requirePermission('users:update'),
    precondition,
    async (c) => answerManaged(c, await changeUser(c.var, c.req.param('id'), enabling(c.var))),
  )
  .post(
    '/:id/unlock',
    operation({
      id: 'unlockUser',
      tag,
      summary: 'Let the password of a locked account be tried again',
      description: 'And their authenticator app.',
      ...ANSWER,
      problems: [...MANAGING_PROBLEMS, errors.userDeleted],
    }),
    requirePermission('users:update'),
    precondition,
    async (c) => answerManaged(c, await changeUser(c.var, c.req.param('id'), unlocking(c.var))),
  )
