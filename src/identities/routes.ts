import * as z from 'zod'
import { reauthenticationRequired } from '../access/errors.ts'
import { requireRecentLogin, signedIn } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { lastWayIn } from '../factors/errors.ts'
import { Hono } from '../http/hono.ts'
import { operation } from '../http/operation.ts'
import { notFound, RECENT_LOGIN } from '../http/problem.ts'
import { replaceSessionCookie } from '../sessions/cookie.ts'
import { writeConflict } from '../users/errors.ts'
import { inWords } from '../values/durations.ts'
import { ATTEMPT_MS, makeTicket } from './attempts.ts'
import { requireProvider } from './client.ts'
import { identityNotFound } from './errors.ts'
import { IdentityList, IdentityProviders, PlaceToGo } from './schemas.ts'
import { listIdentities, unlinkIdentity } from './service.ts'

const tag = 'identities'

export const identityRoutes = new Hono<AppEnv>()
  .get(
    '/identity_providers',
    operation({
      id: 'listIdentityProviders',
      tag,
      summary: 'Providers to sign in with',
      description: 'An app leads there by `/oauth/authorize` with `idp=<id>`.',
      responses: { 200: IdentityProviders },
    }),
    (c) => c.json({ data: c.var.config.IDENTITY_PROVIDERS.map(({ id, name }) => ({ id, name })) }),
  )
  .get(
    '/identities',
    operation({
      id: 'listIdentities',
      tag,
      summary: 'The providers that sign you in',
      description: 'Oldest first.',
      responses: { 200: IdentityList },
    }),
    signedIn,
    async (c) => c.json(await listIdentities(c.var, c.var.actor.sub)),
  )
  .post(
    '/identities/:id',
    operation({
      id: 'linkIdentity',
      tag,
      summary: 'Begin to connect a provider to your account',
      description: `Answers with a URL to open in a browser within ${inWords(ATTEMPT_MS)}, and to finish within ${RECENT_LOGIN} of your login; it asks first, unless the browser has the cookie of this session, and refuses where somebody else is signed in. The other sessions end once it is connected.`,
      path: { id: () => z.string().meta({ description: 'Of the provider.', example: 'google' }) },
      responses: { 200: PlaceToGo },
      problems: [reauthenticationRequired, notFound],
    }),
    signedIn,
    async (c) => {
      requireRecentLogin(c.var.actor, c.var.now)
      const { id } = requireProvider(c.var, c.req.param('id'))
      // This query also checks that the session is still live.
      await listIdentities(c.var, c.var.actor.sub)
      const link = await makeTicket(c.var, id, c.var.actor)
      return c.json({ location: `${c.var.config.ISSUER}/signin/with/${id}?${new URLSearchParams({ link })}` })
    },
  )
  .delete(
    '/identities/:id',
    operation({
      id: 'unlinkIdentity',
      tag,
      summary: 'Disconnect a provider',
      description: 'Not your last way in. Ends the other sessions; you are told by mail.',
      responses: { 204: null },
      problems: [reauthenticationRequired, identityNotFound, lastWayIn, writeConflict],
    }),
    signedIn,
    async (c) => {
      await unlinkIdentity(c.var, c.var.actor, c.req.param('id'))
      replaceSessionCookie(c, c.var.actor)
      return c.body(null, 204)
    },
  )
