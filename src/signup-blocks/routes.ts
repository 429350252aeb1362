import { limitLists, requirePermission } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation, query } from '../http/operation.ts'
import { answerList, invalidCursor } from '../http/pagination.ts'
import { tooManySignupBlocks } from './errors.ts'
import { ListSignupBlocks, SignupBlockList, UpdateSignupBlocks } from './schemas.ts'
import { changeSignupBlocks, listSignupBlocks } from './service.ts'

const tag = 'signup_blocks'

/** Under /v1/signup_blocks: for those who decide who may not register. */
export const signupBlockRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listSignupBlocks',
      tag,
      summary: 'Who may not sign up',
      description: 'Besides those named in `SIGNUP_BLOCKED`.',
      responses: { 200: SignupBlockList },
      problems: [invalidCursor],
    }),
    requirePermission('signups:manage'),
    limitLists,
    query(ListSignupBlocks),
    async (c) => answerList(c, await listSignupBlocks(c.var, c.var.query)),
  )
  .patch(
    '/',
    operation({
      id: 'updateSignupBlocks',
      tag,
      summary: 'Say who may not sign up, and who may again',
      description: 'Existing accounts stay; invitations, imports and added accounts are not blocked.',
      responses: { 204: null },
      problems: [tooManySignupBlocks],
    }),
    requirePermission('signups:manage'),
    body(UpdateSignupBlocks),
    async (c) => {
      await changeSignupBlocks(c.var, c.var.body)
      return c.body(null, 204)
    },
  )
