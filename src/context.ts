import type { Context } from 'hono'
import { type Config, configOf } from './config/main.ts'
import { type Database, openDatabase } from './database/main.ts'
import { type Meter, openMeter } from './database/meter.ts'
import { type BlocklistStore, openRedis } from './database/redis.ts'
import { openTransport, type Send } from './mail/transports.ts'
import type { RateLimits } from './throttle/limits.ts'
import { cutText } from './values/text.ts'

/** Where a request came from, as the history and the sessions keep it. */
export interface RequestOrigin {
  requestId: string
  /** From `CF-Connecting-IP` alone: every other header is the caller's own invention. */
  ip: string | null
  userAgent: string | null
  country: string | null
}

/** Everything outside the process, opened for one request and gone with it. What services are functions of. */
export interface Resources {
  config: Config
  db: Database
  redis: BlocklistStore
  /** Sends a mail now; undefined where no mail is configured. Requests do not call it: they enqueue (mail/outbox.ts). */
  send: Send | undefined
  /** The platform's counters; asked by throttle/limits.ts alone. */
  rateLimits: RateLimits
  origin: RequestOrigin
  /** The versions of the user that the caller has seen; undefined for any (http/precondition.ts). */
  ifMatch?: readonly number[]
  /** The time of the request (epoch ms). Workers' clock stands still between I/O, so once is enough. */
  now: number
  /** Lets work go on after the answer. Only for what may be lost. */
  afterwards(work: Promise<unknown>): void
}

/** Bindings that are not settings; those are read in config.ts. */
export interface Bindings extends RateLimits {
  EMAIL?: SendEmail
}

export interface AppEnv {
  Bindings: Bindings
  Variables: {
    /** Ours: it stands in the history, and joins no rows but those of one request. */
    requestId: string
    /** The caller's own, for the answer and the log alone. */
    givenRequestId: string | undefined
    /** A good token was brought; it may be revoked all the same. */
    isSignedIn?: true
    meter: Meter
  } & Resources
}

const MAX_USER_AGENT_LENGTH = 256

function userAgentOf(c: Context): string | null {
  const header = c.req.header('user-agent')
  return header === undefined ? null : cutText(header, MAX_USER_AGENT_LENGTH)
}

export function openResources(
  env: object,
  meter: Meter,
  origin: RequestOrigin,
  waitUntil: (work: Promise<unknown>) => void,
): Resources {
  const config = configOf(env)
  return {
    config,
    db: openDatabase(config.TURSO_DATABASE_URL, config.TURSO_AUTH_TOKEN, meter),
    redis: openRedis(config.UPSTASH_REDIS_REST_URL, config.UPSTASH_REDIS_REST_TOKEN, meter, config.ISSUER),
    send: openTransport(config, (env as Bindings).EMAIL),
    rateLimits: env as Bindings,
    origin,
    now: Date.now(),
    afterwards: waitUntil,
  }
}

/** Opens the resources of a request and puts them on `c.var`. Throws ConfigError. */
export function openForRequest(c: Context<AppEnv>): void {
  // Read where they are needed: most requests write no history.
  const origin: RequestOrigin = {
    requestId: c.get('requestId'),
    get ip() {
      return c.req.header('cf-connecting-ip') ?? null
    },
    get userAgent() {
      return userAgentOf(c)
    },
    get country() {
      return (c.req.raw.cf?.country as string | undefined) ?? null
    },
  }
  const resources = openResources(c.env, c.get('meter'), origin, (work) => c.executionCtx.waitUntil(work))
  for (const [name, value] of Object.entries(resources)) c.set(name as keyof Resources, value)
}

/** For work that no request asked for: the cron trigger. */
export const openForCron = (env: object, context: ExecutionContext): Resources =>
  openResources(
    env,
    openMeter(),
    { requestId: crypto.randomUUID(), ip: null, userAgent: null, country: null },
    (work) => context.waitUntil(work),
  )
