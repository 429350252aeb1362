import { reauthenticationRequired } from '../../access/errors.ts'
import { limitLists, requirePermission } from '../../access/guards.ts'
import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { body, operation, query } from '../../http/operation.ts'
import { answerList, invalidCursor } from '../../http/pagination.ts'
import { RECENT_LOGIN } from '../../http/problem.ts'
import { tooManyAttempts } from '../../throttle/errors.ts'
import { writeConflict } from '../../users/errors.ts'
import { clientHasNoSecret, clientNotFound, resourceTaken, tooManyClients } from '../errors.ts'
import { ListOwedLogouts, listOwed, OwedLogoutList, retryOwed } from '../logouts/owed.ts'
import { listClients } from './listing.ts'
import {
  Client,
  ClientList,
  ClientWithSecret,
  CreateClient,
  ListClients,
  RotateSecret,
  toClient,
  UpdateClient,
} from './schemas.ts'
import { createClient, deleteClient, requireClient, rotateSecret, updateClient } from './service.ts'

const tag = 'clients'
/** Of changes that administrators are told of. */
const mayTell = () => tooManyAttempts(60)

/** Under /v1/oauth_clients: for those who manage apps. */
export const clientRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listClients',
      tag,
      summary: 'Apps and services, newest first',
      description: 'Without apps known by a document.',
      responses: { 200: ClientList },
      problems: [invalidCursor],
    }),
    requirePermission('clients:manage'),
    limitLists,
    query(ListClients),
    async (c) => answerList(c, await listClients(c.var, c.var.query)),
  )
  .post(
    '/',
    operation({
      id: 'createClient',
      tag,
      summary: 'Add an app, or a service; its secret is shown once',
      description: `Needs a login in the last ${RECENT_LOGIN}. Every administrator is told by mail of a service, and of whatever gives it power: scopes, a secret, keys, an owner.`,
      responses: { 201: ClientWithSecret },
      problems: [reauthenticationRequired, tooManyClients, resourceTaken, mayTell],
    }),
    requirePermission('clients:manage'),
    body(CreateClient),
    async (c) => c.json(await createClient(c.var, c.var.body), 201),
  )
  .get(
    '/:id',
    operation({
      id: 'getClient',
      tag,
      summary: 'One app or service',
      description: 'Without its secret.',
      responses: { 200: Client },
      problems: [clientNotFound],
    }),
    requirePermission('clients:manage'),
    async (c) => c.json(toClient(await requireClient(c.var, c.req.param('id')))),
  )
  .patch(
    '/:id',
    operation({
      id: 'updateClient',
      tag,
      summary: 'Change an app or service',
      description: 'Its tokens lose at once what it may no longer do. Needs a recent login.',
      responses: { 200: Client },
      problems: [reauthenticationRequired, clientNotFound, resourceTaken, writeConflict, mayTell],
    }),
    requirePermission('clients:manage'),
    body(UpdateClient),
    async (c) => c.json(await updateClient(c.var, c.req.param('id'), c.var.body)),
  )
  .post(
    '/:id/secret',
    operation({
      id: 'rotateClientSecret',
      tag,
      summary: 'A new secret for an app or service',
      description: 'Shown once. Needs a recent login.',
      responses: { 200: ClientWithSecret },
      problems: [reauthenticationRequired, clientNotFound, clientHasNoSecret, writeConflict, mayTell],
    }),
    requirePermission('clients:manage'),
    body(RotateSecret),
    async (c) => c.json(await rotateSecret(c.var, c.req.param('id'), c.var.body)),
  )
  .get(
    '/:id/logouts',
    operation({
      id: 'listOwedLogouts',
      tag,
      summary: 'Sign-outs that an app still has to be told of',
      description: 'In the order in which the logins began.',
      responses: { 200: OwedLogoutList },
      problems: [clientNotFound, invalidCursor],
    }),
    requirePermission('clients:manage'),
    limitLists,
    query(ListOwedLogouts),
    async (c) => answerList(c, await listOwed(c.var, c.req.param('id'), c.var.query)),
  )
  .post(
    '/:id/logouts/retry',
    operation({
      id: 'retryOwedLogouts',
      tag,
      summary: 'Tell an app now of the sign-outs that it did not accept before',
      description: 'Those it has accepted are not repeated.',
      responses: { 204: null },
      problems: [clientNotFound],
    }),
    requirePermission('clients:manage'),
    async (c) => {
      await retryOwed(c.var, c.req.param('id'))
      return c.body(null, 204)
    },
  )
  .delete(
    '/:id',
    operation({
      id: 'deleteClient',
      tag,
      summary: 'Remove an app or service',
      description: 'Its tokens end at once. Needs a recent login.',
      responses: { 204: null },
      problems: [reauthenticationRequired, clientNotFound, writeConflict],
    }),
    requirePermission('clients:manage'),
    async (c) => {
      await deleteClient(c.var, c.req.param('id'))
      return c.body(null, 204)
    },
  )
