import * as z from 'zod'
import { limitByNetwork, optionallyPermitted } from '../access/guards.ts'
import { allows } from '../access/permissions.ts'
import type { Config } from '../config/main.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { operation } from '../http/operation.ts'
import { revalidated } from '../http/precondition.ts'
import { Time } from '../values/ids.ts'
import { lazy } from '../values/lazy.ts'
import { type CheckName, hasFailed, lookAtChecks, notReady, PROBLEMS } from './checks.ts'

const tag = 'system'
const Health = lazy(() => z.object({ status: z.literal('ok') }).meta({ id: 'Health' }))
const Ready = lazy(() =>
  z
    .object({
      status: z.enum(['ready', 'degraded']).meta({
        description:
          '`degraded`: Redis is away, the clocks differ, the mails of this hour are used up, the mail service has refused the last mail, or a key is gone that webhooks or passwords need, imported ones too: some of them, or nearly all. Every answer is still right.',
      }),
      database: z.literal('ok'),
      redis: z.enum(['ok', 'unavailable']),
      checks: z.array(z.object({ name: z.string(), status: z.enum(['ok', 'degraded']) })),
      cleanup: z
        .object({ last_finished: Time().nullable(), overdue: z.boolean() })
        .optional()
        .meta({ description: 'For those who may read the runs of clean-up.' }),
      mail: z
        .object({
          waiting: z.int(),
          dead: z.int(),
          oldest_waiting_s: z.int().nullable(),
          last_refusal: z
            .object({ at: Time(), status: z.int().nullable() })
            .nullable()
            .meta({ description: 'By the mail service, with its status; null once a mail has gone since.' }),
        })
        .optional()
        .meta({
          description:
            'Mails that wait to be sent, and that were given up; 100 means 100 or more. For those who may read the runs of clean-up.',
        }),
    })
    .meta({ id: 'Ready' }),
)
const PublicKey = lazy(() =>
  z
    .looseObject({
      kty: z.enum(['EC', 'RSA']),
      kid: z.string(),
      alg: z.enum(['ES256', 'RS256']).optional(),
      use: z.literal('sig').optional(),
    })
    .meta({ id: 'PublicKey' }),
)
const Jwks = lazy(() => z.object({ keys: z.array(PublicKey()) }).meta({ id: 'Jwks' }))
/** One URL for all keys: access tokens are signed only by the first set, and ID tokens by the second. */
const publicKeysOf = ({ JWT_KEYS, OPENID_KEYS }: Config) => [
  ...JWT_KEYS.verifying,
  ...(OPENID_KEYS?.verifying ?? []),
]

/** Verifiers cache keys for ten minutes, so a new key is published that long before it signs. */
const KEYS_CACHE_CONTROL = 'public, max-age=600'

/** Liveness: answers without the settings, the database or anything else that can be missing. */
export const healthRoutes = new Hono<AppEnv>().get(
  '/health',
  operation({
    id: 'getHealth',
    tag,
    summary: 'Alive',
    description: 'Needs no settings and no database.',
    responses: { 200: Health },
  }),
  (c) => c.json({ status: 'ok' }),
)

export const systemRoutes = new Hono<AppEnv>()
  .get(
    '/ready',
    operation({
      id: 'getReadiness',
      tag,
      summary: 'Whether somebody could log in now',
      description:
        '503 names what failed. Counts are for those who may read the runs of clean-up, and any key or app that asks must be allowed to.',
      responses: { 200: Ready },
      problems: PROBLEMS,
    }),
    limitByNetwork,
    optionallyPermitted('cleanup:read'),
    async (c) => {
      const readiness = await lookAtChecks(c.var, c.env)
      const { checks } = readiness
      const statusOf = (name: CheckName) => checks.find((check) => check.name === name)?.status
      const maySeeCounts = c.var.actor && allows(c.var.actor, 'cleanup:read')
      const counts = maySeeCounts ? readiness.counts : {}
      if (hasFailed(readiness)) throw notReady(readiness, counts)
      return c.json({
        status: checks.every(({ status }) => status === 'ok') ? 'ready' : 'degraded',
        database: 'ok',
        redis: statusOf('redis') === 'ok' ? 'ok' : 'unavailable',
        checks,
        ...counts,
      })
    },
  )
  .get(
    '/.well-known/jwks.json',
    operation({
      id: 'getKeys',
      tag,
      summary: 'Public keys of access tokens and ID tokens (RFC 7517)',
      description: 'A new key is here before it signs.',
      responses: { 200: Jwks },
    }),
    revalidated,
    (c) => c.json({ keys: publicKeysOf(c.var.config) }, 200, { 'cache-control': KEYS_CACHE_CONTROL }),
  )
