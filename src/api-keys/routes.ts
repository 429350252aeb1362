import { reauthenticationRequired } from '../access/errors.ts'
import { SAME_CHANGE_MS } from '../access/former-secrets.ts'
import { limitLists, signedIn } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation } from '../http/operation.ts'
import { answerList } from '../http/pagination.ts'
import { RECENT_LOGIN } from '../http/problem.ts'
import { tooManyAttempts } from '../throttle/errors.ts'
import { addressNotVerified, writeConflict } from '../users/errors.ts'
import { inWords } from '../values/durations.ts'
import { apiKeyExpired, apiKeyNotFound, tooManyApiKeys } from './errors.ts'
import { FORMER_MS } from './models.ts'
import { ApiKeyList, ApiKeyWithSecret, CreateApiKey } from './schemas.ts'
import { createApiKey, listApiKeys, revokeApiKey, rotateApiKey } from './service.ts'

const tag = 'keys'
const MAKING_PROBLEMS = [
  reauthenticationRequired,
  addressNotVerified,
  writeConflict,
  () => tooManyAttempts(60),
]

/** Under /v1/api_keys: the caller's own. An API key cannot list, create or revoke API keys. */
export const apiKeyRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listApiKeys',
      tag,
      summary: 'Your keys, newest first',
      description: 'All on one page, without secrets.',
      responses: { 200: ApiKeyList },
    }),
    signedIn,
    limitLists,
    async (c) => answerList(c, await listApiKeys(c.var, c.var.actor.sub)),
  )
  .post(
    '/',
    operation({
      id: 'createApiKey',
      tag,
      summary: 'Make a key for a program; it is shown once',
      description: `Needs a login in the last ${RECENT_LOGIN}. The key may do what its permissions say, as far as you may yourself at the time; it cannot change how anybody signs in, delete anybody or make keys. You are told by mail.`,
      responses: { 201: ApiKeyWithSecret },
      problems: [...MAKING_PROBLEMS, tooManyApiKeys],
    }),
    signedIn,
    body(CreateApiKey),
    async (c) => c.json(await createApiKey(c.var, c.var.actor, c.var.body), 201),
  )
  .post(
    '/:id/rotate',
    operation({
      id: 'rotateApiKey',
      tag,
      summary: `Another secret for a key; the former one works for ${inWords(FORMER_MS)} more`,
      description: `Needs a login in the last ${RECENT_LOGIN}. A key that was stolen is revoked, not rotated. Rotated again within ${inWords(SAME_CHANGE_MS)}, the former secret works as before, and the one in between ends. You are told by mail.`,
      responses: { 200: ApiKeyWithSecret },
      problems: [...MAKING_PROBLEMS, apiKeyNotFound, apiKeyExpired],
    }),
    signedIn,
    async (c) => c.json(await rotateApiKey(c.var, c.var.actor, c.req.param('id'))),
  )
  .delete(
    '/:id',
    operation({
      id: 'revokeApiKey',
      tag,
      summary: 'Revoke a key',
      description: 'At once. Needs no recent login.',
      responses: { 204: null },
      problems: [apiKeyNotFound],
    }),
    signedIn,
    async (c) => {
      await revokeApiKey(c.var, c.var.actor, c.req.param('id'))
      return c.body(null, 204)
    },
  )
