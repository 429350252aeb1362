import { reauthenticationRequired } from '../../access/errors.ts'
import { limitHashing, limitLists, requirePermission } from '../../access/guards.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation, query } from '../../http/operation.ts'
import { answerList, invalidCursor } from '../../http/pagination.ts'
import { IF_NONE_MATCH, precondition } from '../../http/precondition.ts'
import { RECENT_LOGIN } from '../../http/problem.ts'
import { idempotent } from '../../idempotency/service.ts'
import { tooManyAttempts } from '../../throttle/errors.ts'
import { changeUser } from '../change.ts'
import { createUser } from '../create.ts'
import * as errors from '../errors.ts'
import { listUsers } from '../listing.ts'
import { deleting, purging, updating } from '../managing/manage.ts'
import { findUser } from '../queries.ts'
import {
  CreateUser,
  DeleteUserQuery,
  ListUsers,
  ManagedUser,
  ManagedUserList,
  UpdateUser,
} from '../schemas.ts'
import { answerCreated, answerManaged, ETAG, MANAGING_PROBLEMS, VERSIONED } from './responses.ts'

const tag = 'users'

export const userRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listUsers',
      tag,
      summary: 'List and search users',
      description: 'Deleted users are only in the list that asks for them.',
      responses: { 200: ManagedUserList },
      problems: [invalidCursor, errors.pageTooDeep],
    }),
    requirePermission('users:read'),
    limitLists,
    query(ListUsers),
    async (c) => answerList(c, await listUsers(c.var, c.var.actor, c.var.query)),
  )
  .post(
    '/',
    operation({
      id: 'createUser',
      tag,
      summary: 'Create a user',
      description: 'Unless `notify` is false, they are mailed. A role above `user` needs a recent login.',
      responses: { 201: ManagedUser },
      responseHeaders: { 201: { ...ETAG, Location: 'Where the user is.' } },
      problems: [
        errors.emailTaken,
        errors.externalIdTaken,
        errors.outranked,
        reauthenticationRequired,
        () => tooManyAttempts(60),
      ],
    }),
    requirePermission('users:create'),
    body(CreateUser),
    idempotent,
    limitHashing,
    async (c) => answerCreated(c, await createUser(c.var, c.var.body, c.var.idempotent, c.var.actor)),
  )
  .get(
    '/:id',
    operation({
      id: 'getUser',
      tag,
      summary: 'A user',
      description: 'With the address that a restore could give back, if they are deleted.',
      responses: { 200: ManagedUser, 304: null },
      responseHeaders: VERSIONED,
      headers: IF_NONE_MATCH,
      problems: [errors.userNotFound],
    }),
    requirePermission('users:read'),
    async (c) => {
      const { row, earlierEmail } = await findUser(c.var, c.var.actor, c.req.param('id'))
      return answerManaged(c, row, earlierEmail)
    },
  )
  .patch(
    '/:id',
    operation({
      id: 'updateUser',
      tag,
      summary: 'Change a user: name, address, role, and what else is kept of them',
      description: `Another address or role needs a login in the last ${RECENT_LOGIN}. Another address is unverified, and ends sessions and links; another role ends access tokens, and sessions of apps with \`offline_access\`. The user is told of both.`,
      responses: { 200: ManagedUser },
      responseHeaders: { 200: ETAG },
      problems: [
        ...MANAGING_PROBLEMS,
        reauthenticationRequired,
        errors.emailTaken,
        errors.externalIdTaken,
        errors.addressNotVerified,
        errors.userDeleted,
        errors.lastAdmin,
        () => tooManyAttempts(60),
      ],
    }),
    requirePermission('users:update'),
    precondition,
    body(UpdateUser),
    async (c) => answerManaged(c, await changeUser(c.var, c.req.param('id'), updating(c.var, c.var.body))),
  )
  .delete(
    '/:id',
    operation({
      id: 'deleteUser',
      tag,
      summary: 'Delete a user: soft, or for good',
      description:
        'Soft: ends sessions, access tokens, API keys and links, and the user is told by mail. For good, which takes the permission `users:purge` and a recent login: 204 means that the user is gone, with all that identifies them, and nobody is told. Traces in the history and elsewhere follow, at once or, where there are many, within the next runs of clean-up.',
      responses: { 204: null },
      problems: [...MANAGING_PROBLEMS, reauthenticationRequired, errors.lastAdmin],
    }),
    requirePermission('users:delete'),
    precondition,
    query(DeleteUserQuery),
    async (c) => {
      const decision = c.var.query.hard ? purging(c.var) : deleting(c.var)
      await changeUser(c.var, c.req.param('id'), decision)
      return c.body(null, 204)
    },
  )
