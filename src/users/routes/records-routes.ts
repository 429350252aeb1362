import { reauthenticationRequired } from '../../access/errors.ts'
import { limitLists, requirePermission } from '../../access/guards.ts'
import { ActivityList, ListActivityOfOne } from '../../activity/schemas.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { operation, query } from '../../http/operation.ts'
import { answerList, invalidCursor } from '../../http/pagination.ts'
import { precondition } from '../../http/precondition.ts'
import { SessionList } from '../../sessions/schemas.ts'
import { changeUser } from '../change.ts'
import { userNotFound } from '../errors.ts'
import { exportUser, UserExport } from '../export.ts'
import { endingSessions } from '../managing/manage.ts'
import { listActivityOf, listSessionsOf } from '../queries.ts'
import { download, FILE, MANAGING_PROBLEMS } from './responses.ts'

const tag = 'users'

export const userRecordsRoutes = new Hono<AppEnv>()
  .get(
    '/:id/export',
    operation({
      id: 'exportUser',
      tag,
      summary: 'Everything that is held about a user, as a file',
      description: 'Without secrets. Needs a recent login, and is noted in their history.',
      responses: { 200: UserExport },
      responseHeaders: FILE,
      problems: [userNotFound, reauthenticationRequired],
    }),
    requirePermission('users:export'),
    limitLists,
    async (c) => download(c, await exportUser(c.var, c.var.actor, c.req.param('id'))),
  )
  .get(
    '/:id/sessions',
    operation({
      id: 'listUserSessions',
      tag,
      summary: 'Open sessions of a user',
      description: 'Only those who outrank the user see where they are used.',
      responses: { 200: SessionList },
      problems: [userNotFound],
    }),
    requirePermission('sessions:manage'),
    async (c) => answerList(c, await listSessionsOf(c.var, c.var.actor, c.req.param('id'))),
  )
  .delete(
    '/:id/sessions',
    operation({
      id: 'endUserSessions',
      tag,
      summary: 'End all sessions of somebody else',
      description: 'With every access token. Devices become unknown; keys stay.',
      responses: { 204: null },
      problems: MANAGING_PROBLEMS,
    }),
    requirePermission('sessions:manage'),
    precondition,
    async (c) => {
      await changeUser(c.var, c.req.param('id'), endingSessions(c.var))
      return c.body(null, 204)
    },
  )
  .get(
    '/:id/activity',
    operation({
      id: 'listUserActivity',
      tag,
      summary: 'History of a user',
      description: 'Newest first. Of a deleted user only for those who may see the deleted.',
      responses: { 200: ActivityList },
      problems: [userNotFound, invalidCursor],
    }),
    requirePermission('activity:read'),
    limitLists,
    query(ListActivityOfOne),
    async (c) => answerList(c, await listActivityOf(c.var, c.req.param('id'), c.var.query)),
  )
