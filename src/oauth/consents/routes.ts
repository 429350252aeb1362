import { limitLists, signedIn } from '../../access/guards.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation } from '../../http/operation.ts'
import { answerList } from '../../http/pagination.ts'
import { grantNotFound, scopeNotGranted } from '../errors.ts'
import { Grant, GrantList, UpdateGrant } from './schemas.ts'
import { listConsents, withdrawConsent } from './service.ts'

const tag = 'auth'

/** Under /v1/auth/grants: the consents that the caller has given to apps. */
export const grantRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listOwnGrants',
      tag,
      summary: 'What you have let apps do, newest first',
      description: 'All on one page.',
      responses: { 200: GrantList },
    }),
    signedIn,
    limitLists,
    async (c) => answerList(c, await listConsents(c.var, c.var.actor.sub)),
  )
  .patch(
    '/:id',
    operation({
      id: 'updateOwnGrant',
      tag,
      summary: 'Take back some of what you have let an app do',
      description:
        'At once. Sessions that went on without you end with `offline_access`; a first-party app loses all its sessions.',
      responses: { 200: Grant },
      problems: [grantNotFound, scopeNotGranted],
    }),
    signedIn,
    body(UpdateGrant),
    async (c) => c.json(await withdrawConsent(c.var, c.var.actor, c.req.param('id'), c.var.body.scopes)),
  )
  .delete(
    '/:id',
    operation({
      id: 'deleteOwnGrant',
      tag,
      summary: 'Take back all that you have let an app do',
      description: 'At once. Its sessions end; it may ask again.',
      responses: { 204: null },
      problems: [grantNotFound],
    }),
    signedIn,
    async (c) => {
      await withdrawConsent(c.var, c.var.actor, c.req.param('id'))
      return c.body(null, 204)
    },
  )
