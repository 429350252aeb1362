import { reauthenticationRequired } from '../../access/errors.ts'
import { limitHashing, limitLists, signedIn, signedInWithProfile } from '../../access/guards.ts'
import { ActivityList, ListActivityOfOne } from '../../activity/schemas.ts'
import { listOwnActivity } from '../../activity/service.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation, query } from '../../http/operation.ts'
import { answerList, invalidCursor } from '../../http/pagination.ts'
import { IF_NONE_MATCH, precondition } from '../../http/precondition.ts'
import { wrongPassword } from '../../passwords/errors.ts'
import { tooManyAttempts } from '../../throttle/errors.ts'
import { changeUser } from '../change.ts'
import { lastAdmin, writeConflict } from '../errors.ts'
import { exportUser, UserExport } from '../export.ts'
import { deleteMe, updatingSelf } from '../me.ts'
import { DeleteMe, UpdateMe, User } from '../schemas.ts'
import { answerSelf, download, ETAG, FILE, VERSIONED } from './responses.ts'

const tag = 'users'

export const meRoutes = new Hono<AppEnv>()
  .get(
    '/me',
    operation({
      id: 'getMe',
      tag,
      summary: 'Your own profile',
      description: 'As it is now, whatever the token says.',
      responses: { 200: User, 304: null },
      responseHeaders: VERSIONED,
      headers: IF_NONE_MATCH,
    }),
    signedInWithProfile,
    (c) => answerSelf(c, c.var.self),
  )
  .patch(
    '/me',
    operation({
      id: 'updateMe',
      tag,
      summary: 'Change your own profile',
      description: 'Name, language and `metadata`.',
      responses: { 200: User },
      responseHeaders: { 200: ETAG },
      problems: [writeConflict],
    }),
    signedIn,
    precondition,
    body(UpdateMe),
    async (c) => answerSelf(c, await changeUser(c.var, c.var.actor.sub, updatingSelf(c.var.body))),
  )
  .delete(
    '/me',
    operation({
      id: 'deleteMe',
      tag,
      summary: 'Leave: delete your own account',
      description:
        'Takes the password, if there is one. Ends every session and API key. A confirmed address is mailed the way back.',
      responses: { 204: null },
      problems: [
        wrongPassword,
        reauthenticationRequired,
        lastAdmin,
        writeConflict,
        () => tooManyAttempts(60),
      ],
    }),
    signedIn,
    precondition,
    body(DeleteMe),
    limitHashing,
    async (c) => {
      await deleteMe(c.var, c.var.body.password)
      return c.body(null, 204)
    },
  )
  .get(
    '/me/activity',
    operation({
      id: 'listOwnActivity',
      tag,
      summary: 'Your own history',
      description: 'Newest first.',
      responses: { 200: ActivityList },
      problems: [invalidCursor],
    }),
    signedIn,
    limitLists,
    query(ListActivityOfOne),
    async (c) => answerList(c, await listOwnActivity(c.var, c.var.query)),
  )
  .get(
    '/me/export',
    operation({
      id: 'exportMe',
      tag,
      summary: 'Everything that is held about you, as a file',
      description: 'Without secrets. Needs a recent login.',
      responses: { 200: UserExport },
      responseHeaders: FILE,
      problems: [reauthenticationRequired],
    }),
    signedIn,
    limitLists,
    async (c) => download(c, await exportUser(c.var, c.var.actor, c.var.actor.sub)),
  )
