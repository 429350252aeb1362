import { requirePermission } from '../../access/guards.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { operation } from '../../http/operation.ts'
import { precondition } from '../../http/precondition.ts'
import { mailNotConfigured } from '../../mail/errors.ts'
import { tooManyAttempts } from '../../throttle/errors.ts'
import { changeUser } from '../change.ts'
import { userDeleted } from '../errors.ts'
import { sendingReset, sendingVerification } from '../managing/sending.ts'
import { MANAGING_PROBLEMS } from './responses.ts'

const tag = 'users'
const problems = [...MANAGING_PROBLEMS, userDeleted, mailNotConfigured, () => tooManyAttempts(60)]

export const userSendingRoutes = new Hono<AppEnv>()
  .post(
    '/:id/send_reset',
    operation({
      id: 'sendReset',
      tag,
      summary: 'Mail a user the link that sets a new password',
      description:
        'It goes to the address of the account. The password stays as it is until the link is used.',
      responses: { 204: null },
      problems,
    }),
    requirePermission('users:update'),
    precondition,
    async (c) => {
      await changeUser(c.var, c.req.param('id'), sendingReset(c.var))
      return c.body(null, 204)
    },
  )
  .post(
    '/:id/send_verification',
    operation({
      id: 'sendVerification',
      tag,
      summary: 'Mail a user the link that confirms their address',
      description: 'It goes to the address of the account. Nothing is sent where the address is confirmed.',
      responses: { 204: null },
      problems,
    }),
    requirePermission('users:update'),
    precondition,
    async (c) => {
      await changeUser(c.var, c.req.param('id'), sendingVerification(c.var))
      return c.body(null, 204)
    },
  )
