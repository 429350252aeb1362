import type { Context } from 'hono'
import { reauthenticationRequired } from '../access/errors.ts'
import { limitHashing, requirePermission, signedIn, signedInWithProfile } from '../access/guards.ts'
import { ActivityList, ListActivityOfOne } from '../activity/schemas.ts'
import { listActivity, listOwnActivity } from '../activity/service.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation, query } from '../http/operation.ts'
import { answerList, invalidCursor } from '../http/pagination.ts'
import { hasVersion, IF_NONE_MATCH, precondition } from '../http/precondition.ts'
import { idempotent } from '../idempotency/service.ts'
import { wrongPassword } from '../passwords/errors.ts'
import { SessionList } from '../sessions/schemas.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { createUser } from './create.ts'
import * as errors from './errors.ts'
import { exportUser, UserExport } from './export.ts'
import { listUsers } from './listing.ts'
import * as service from './manage.ts'
import * as schemas from './schemas.ts'
import { toUser } from './schemas.ts'

const tag = 'users'
const ETAG = { ETag: 'The version of the user; send it back as If-Match or If-None-Match.' }
const VERSIONED = { 200: ETAG, 304: ETAG }
const forOne = [errors.userNotFound, errors.outranked]

/** Answers with a person, and their version as ETag; to whoever has read that version, with nothing more. */
function person<U extends schemas.User>(c: Context, user: U, status: 200 | 201 = 200) {
  c.header('etag', `"${user.version}"`)
  if (c.req.method === 'GET' && hasVersion(c, user.version)) return c.body(null, 304)
  if (status === 201) c.header('location', `/v1/users/${user.id}`)
  return c.json(user, status)
}

const download = (c: Context, data: UserExport) =>
  c.json(data, 200, { 'content-disposition': 'attachment; filename="roster-export.json"' })

export const userRoutes = new Hono<AppEnv>()
  .get(
    '/me',
    operation({
      id: 'getMe',
      tag,
      summary: 'Your own profile',
      responses: { 200: schemas.User, 304: null },
      responseHeaders: VERSIONED,
      headers: IF_NONE_MATCH,
    }),
    signedInWithProfile,
    (c) => person(c, toUser(c.var.self)),
  )
  .patch(
    '/me',
    operation({
      id: 'updateMe',
      tag,
      summary: 'Change your own profile',
      responses: { 200: schemas.User },
      responseHeaders: { 200: ETAG },
      problems: [errors.writeConflict],
    }),
    signedIn,
    precondition,
    body(schemas.UpdateMe),
    async (c) => person(c, await service.updateMe(c.var, c.var.actor, c.var.body)),
  )
  .delete(
    '/me',
    operation({
      id: 'deleteMe',
      tag,
      summary: 'Leave: delete your own account',
      responses: { 204: null },
      problems: [wrongPassword, errors.lastAdmin, errors.writeConflict, () => tooManyAttempts(60)],
    }),
    signedIn,
    precondition,
    body(schemas.DeleteMe),
    limitHashing,
    async (c) => {
      await service.deleteMe(c.var, c.var.actor, c.var.body.password)
      return c.body(null, 204)
    },
  )
  .get(
    '/me/activity',
    operation({
      id: 'listOwnActivity',
      tag,
      summary: 'Your own history',
      responses: { 200: ActivityList },
      problems: [invalidCursor],
    }),
    signedIn,
    query(ListActivityOfOne),
    async (c) => answerList(c, await listOwnActivity(c.var, { ...c.var.query, user_id: c.var.actor.sub })),
  )
  .get(
    '/me/export',
    operation({
      id: 'exportMe',
      tag,
      summary: 'Everything that is held about you, as a file',
      responses: { 200: UserExport },
      responseHeaders: { 200: { 'Content-Disposition': 'A file, by the name that stands there.' } },
      problems: [reauthenticationRequired],
    }),
    signedIn,
    async (c) => download(c, await exportUser(c.var, c.var.actor, c.var.actor.sub)),
  )
  .get(
    '/',
    operation({
      id: 'listUsers',
      tag,
      summary: 'List and search people',
      responses: { 200: schemas.ManagedUserList },
      problems: [invalidCursor, errors.pageTooDeep],
    }),
    requirePermission('users:read'),
    query(schemas.ListUsers),
    async (c) => answerList(c, await listUsers(c.var, c.var.actor, c.var.query)),
  )
  .post(
    '/',
    operation({
      id: 'createUser',
      tag,
      summary: 'Make a person',
      responses: { 201: schemas.ManagedUser },
      responseHeaders: { 201: { ...ETAG, Location: 'Where the user is.' } },
      problems: [errors.emailTaken, errors.outranked, reauthenticationRequired],
    }),
    requirePermission('users:create'),
    body(schemas.CreateUser),
    idempotent,
    limitHashing,
    async (c) => person(c, await createUser(c.var, c.var.body, c.var.idempotent, c.var.actor), 201),
  )
  .get(
    '/:id',
    operation({
      id: 'getUser',
      tag,
      summary: 'A person',
      responses: { 200: schemas.ManagedUser, 304: null },
      responseHeaders: VERSIONED,
      headers: IF_NONE_MATCH,
      problems: [errors.userNotFound],
    }),
    requirePermission('users:read'),
    async (c) => person(c, await service.findUser(c.var, c.var.actor, c.req.param('id'))),
  )
  .patch(
    '/:id',
    operation({
      id: 'updateUser',
      tag,
      summary: 'Change a person',
      responses: { 200: schemas.ManagedUser },
      responseHeaders: { 200: ETAG },
      problems: [
        ...forOne,
        reauthenticationRequired,
        errors.emailTaken,
        errors.userDeleted,
        errors.ownAccount,
        errors.lastAdmin,
        errors.writeConflict,
      ],
    }),
    requirePermission('users:update'),
    precondition,
    body(schemas.UpdateUser),
    async (c) => person(c, await service.updateUser(c.var, c.var.actor, c.req.param('id'), c.var.body)),
  )
  .delete(
    '/:id',
    operation({
      id: 'deleteUser',
      tag,
      summary: 'Delete a person: soft, or for good',
      responses: { 204: null },
      problems: [
        ...forOne,
        reauthenticationRequired,
        errors.ownAccount,
        errors.lastAdmin,
        errors.writeConflict,
      ],
    }),
    requirePermission('users:delete'),
    precondition,
    query(schemas.DeleteUserQuery),
    async (c) => {
      const remove = c.var.query.hard ? service.purgeUser : service.deleteUser
      await remove(c.var, c.var.actor, c.req.param('id'))
      return c.body(null, 204)
    },
  )
  .post(
    '/:id/restore',
    operation({
      id: 'restoreUser',
      tag,
      summary: 'Bring a soft-deleted person back',
      responses: { 200: schemas.ManagedUser },
      responseHeaders: { 200: ETAG },
      problems: [...forOne, errors.emailTaken, errors.writeConflict],
    }),
    requirePermission('users:delete'),
    precondition,
    async (c) => person(c, await service.restoreUser(c.var, c.var.actor, c.req.param('id'))),
  )
  .post(
    '/:id/disable',
    operation({
      id: 'disableUser',
      tag,
      summary: 'Shut a person out, with a reason, for good or until a time',
      responses: { 200: schemas.ManagedUser },
      responseHeaders: { 200: ETAG },
      problems: [
        ...forOne,
        errors.userDeleted,
        errors.ownAccount,
        errors.lastAdmin,
        errors.untilInThePast,
        errors.writeConflict,
      ],
    }),
    requirePermission('users:update'),
    precondition,
    body(schemas.DisableUser),
    async (c) => person(c, await service.disableUser(c.var, c.var.actor, c.req.param('id'), c.var.body)),
  )
  .post(
    '/:id/enable',
    operation({
      id: 'enableUser',
      tag,
      summary: 'Let a disabled person in again',
      responses: { 200: schemas.ManagedUser },
      responseHeaders: { 200: ETAG },
      problems: [...forOne, errors.userDeleted, errors.writeConflict],
    }),
    requirePermission('users:update'),
    precondition,
    async (c) => person(c, await service.enableUser(c.var, c.var.actor, c.req.param('id'))),
  )
  .get(
    '/:id/export',
    operation({
      id: 'exportUser',
      tag,
      summary: 'Everything that is held about a person, as a file',
      responses: { 200: UserExport },
      responseHeaders: { 200: { 'Content-Disposition': 'A file, by the name that stands there.' } },
      problems: [errors.userNotFound, reauthenticationRequired],
    }),
    requirePermission('users:export'),
    async (c) => download(c, await exportUser(c.var, c.var.actor, c.req.param('id'))),
  )
  .get(
    '/:id/sessions',
    operation({
      id: 'listUserSessions',
      tag,
      summary: 'Open sessions of a person',
      responses: { 200: SessionList },
      problems: [errors.userNotFound],
    }),
    requirePermission('sessions:manage'),
    async (c) => answerList(c, await service.listSessionsOf(c.var, c.var.actor, c.req.param('id'))),
  )
  .delete(
    '/:id/sessions',
    operation({
      id: 'endUserSessions',
      tag,
      summary: 'End all sessions of a person',
      responses: { 204: null },
      problems: [...forOne, errors.writeConflict],
    }),
    requirePermission('sessions:manage'),
    async (c) => {
      await service.endSessionsOf(c.var, c.var.actor, c.req.param('id'))
      return c.body(null, 204)
    },
  )
  .get(
    '/:id/activity',
    operation({
      id: 'listUserActivity',
      tag,
      summary: 'History of a person',
      responses: { 200: ActivityList },
      problems: [invalidCursor],
    }),
    requirePermission('activity:read'),
    query(ListActivityOfOne),
    async (c) => answerList(c, await listActivity(c.var, { ...c.var.query, user_id: c.req.param('id') })),
  )
