import * as z from 'zod'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { operation } from '../http/operation.ts'
import { revalidated } from '../http/precondition.ts'
import { countMails } from '../mail/outbox.ts'
import { lazy } from '../values/lazy.ts'

const tag = 'system'
const Health = lazy(() => z.object({ status: z.literal('ok') }).meta({ id: 'Health' }))
const Ready = lazy(() =>
  z
    .object({
      status: z.enum(['ready', 'degraded']).meta({
        description: '`degraded`: Redis is away. Every answer is still right.',
      }),
      database: z.literal('ok'),
      redis: z.enum(['ok', 'unavailable']),
      /** Mails that wait to be sent, and that were given up; 100 stands for more. */
      mail: z.object({ waiting: z.int(), dead: z.int() }),
    })
    .meta({ id: 'Ready' }),
)
const Jwks = lazy(() => z.object({ keys: z.array(z.record(z.string(), z.string())) }).meta({ id: 'Jwks' }))
const IssuerMetadata = lazy(() =>
  z.object({ issuer: z.string(), jwks_uri: z.string() }).loose().meta({ id: 'IssuerMetadata' }),
)

/** Verifiers keep keys for ten minutes, so a new key is published that long before it signs. */
const KEYS_CACHE_CONTROL = 'public, max-age=600'

/** Alive: answers without the settings, the database or anything else that can be missing. */
export const healthRoutes = new Hono<AppEnv>().get(
  '/health',
  operation({ id: 'getHealth', tag, summary: 'Alive', responses: { 200: Health } }),
  (c) => c.json({ status: 'ok' }),
)

export const systemRoutes = new Hono<AppEnv>()
  .get(
    '/ready',
    operation({ id: 'getReadiness', tag, summary: 'Database and Redis answer', responses: { 200: Ready } }),
    async (c) => {
      // Reads a table, so it is not ready before the migrations are.
      const [redis, { mail }] = await Promise.all([c.var.redis.ping(), c.var.db.read({ mail: countMails() })])
      return c.json({
        status: redis ? 'ready' : 'degraded',
        database: 'ok',
        redis: redis ? 'ok' : 'unavailable',
        mail: mail[0],
      })
    },
  )
  .get(
    '/.well-known/jwks.json',
    operation({
      id: 'getKeys',
      tag,
      summary: 'Public keys of the access tokens (RFC 7517)',
      responses: { 200: Jwks },
    }),
    revalidated,
    (c) => c.json({ keys: c.var.config.JWT_KEYS.verifying }, 200, { 'cache-control': KEYS_CACHE_CONTROL }),
  )
  .get(
    '/.well-known/oauth-authorization-server',
    operation({
      id: 'getIssuerMetadata',
      tag,
      summary: 'Issuer metadata (RFC 8414)',
      responses: { 200: IssuerMetadata },
    }),
    revalidated,
    (c) => {
      const { ISSUER: issuer } = c.var.config
      const metadata = {
        issuer,
        jwks_uri: `${issuer}/.well-known/jwks.json`,
        response_types_supported: [],
        service_documentation: `${issuer}/docs`,
      }
      return c.json(metadata, 200, { 'cache-control': KEYS_CACHE_CONTROL })
    },
  )
