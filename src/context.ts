import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { getCookie } from 'hono/cookie'
import { type Config, configOf } from './config/main.ts'
import { type Database, openDatabase } from './database/main.ts'
import { type Meter, openMeter } from './database/meter.ts'
import { type NearStore, openRedis } from './database/redis.ts'
import { logFailure } from './http/log.ts'
import type { AppError } from './http/problem.ts'
import type { Send } from './mail/sending.ts'
import { openTransport } from './mail/transports.ts'
import { deliverLogouts } from './oauth/logouts/backchannel.ts'
import type { RateLimits } from './throttle/limits.ts'
import { networkOf } from './throttle/networks.ts'
import { LANGUAGE_COOKIE, type Language, languageFrom } from './values/languages.ts'
import { cutText } from './values/text.ts'
import { deliverEvents } from './webhooks/delivery.ts'

/** Where a request came from, as the history and the sessions keep it. */
export interface RequestOrigin {
  requestId: string
  /** From `CF-Connecting-IP`, or from a proxy of ours that has proved itself. Callers can invent any other header. */
  ip: string | null
  userAgent: string | null
  country: string | null
  /** For callers without an account or a `locale`: from `?lang`, the language cookie or Accept-Language. */
  language: Language
}

/** How many deliveries were due, and how many were given up. */
interface Delivered {
  due: number
  dead: number
}

/** Everything outside the process, opened for one request. Service functions take it as their first argument. */
export interface Resources {
  config: Config
  db: Database
  redis: NearStore
  /** Sends a mail now; undefined if no mail is configured. Requests enqueue their mails instead (mail/outbox.ts). */
  send: Send | undefined
  /** The platform's rate limits. Only throttle/limits.ts uses them. */
  rateLimits: RateLimits
  origin: RequestOrigin
  /** The versions of the user that the caller has seen; undefined for any (http/precondition.ts). */
  ifMatch?: readonly number[]
  /** The request can end a theft, so it is counted for its session only: see `endsTheft` in access/guards.ts. */
  endsTheft?: true
  /**
   * The time of the request (epoch ms). It is set at the first byte, and again after the body was read (http/body.ts) and
   * after a hash (passwords/turns.ts), as both may take seconds. So read it where it is used, after those.
   */
  now: number
  /**
   * Whom the log line names if nobody is signed in: somebody who has just signed in, or whose refresh failed. `began` is
   * how the session began, for the metrics.
   */
  readonly loggedAs: { sub?: string; sid?: string; began?: string }
  /** Tells apps of sign-outs that are due: after the answer, or in the cron job, which sends more. */
  deliverOwed(by?: 'cron'): Promise<Delivered>
  /** The same for webhook deliveries. */
  deliverEvents(by?: 'cron'): Promise<Delivered>
  /** Continues work after the answer. Only for work that may be lost. */
  afterwards(work: Promise<unknown>): void
}

/** Bindings that are not settings. config/ reads the settings. */
export interface Bindings extends RateLimits {
  EMAIL?: SendEmail
  /** Where requests are counted: see `measure` in http/log.ts. */
  METRICS?: AnalyticsEngineDataset
}

export interface AppEnv {
  Bindings: Bindings
  Variables: {
    /** Our own id, as in the history: only rows of one request share it. */
    requestId: string
    /** The caller's id, only for the answer and the log. */
    givenRequestId: string | undefined
    /** The request has a genuine token, which may still have been revoked. */
    isSignedIn?: true
    /** The body, kept for a request that has to be repeated. */
    bodyRead?: Uint8Array
    /** Why reading the body gave up: it cannot be read again. */
    bodyRefused?: AppError
    /** The request was repeated: the repeat has its answer and its log line. */
    isRepeated?: true
    meter: Meter
  } & Resources
}

const MAX_USER_AGENT_LENGTH = 256

/**
 * Whether the request comes through a server of ours that may name its client (TRUSTED_PROXY_SECRET). It compares
 * digests, which have the same length, and always all of them, so the time it takes reveals nothing.
 */
function isFromTrustedProxy(c: Context<AppEnv>, { TRUSTED_PROXY_SECRET }: Config): boolean {
  const given = c.req.header('roster-proxy-secret')
  if (given === undefined) return false
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return TRUSTED_PROXY_SECRET.filter((secret) => timingSafeEqual(digest(secret), digest(given))).length > 0
}

/** Getters, as most requests write no history and need none of it. */
function originOf(c: Context<AppEnv>, config: Config): RequestOrigin {
  const isProxied = isFromTrustedProxy(c, config)
  const [ip, userAgent] = isProxied
    ? (['roster-client-ip', 'roster-client-user-agent'] as const)
    : (['cf-connecting-ip', 'user-agent'] as const)
  return {
    requestId: c.get('requestId'),
    get ip() {
      const address = c.req.header(ip) ?? null
      // Anything that is not an address counts as none, even from our own proxy.
      return isProxied && networkOf(address) === 'none' ? null : address
    },
    get userAgent() {
      const header = c.req.header(userAgent)
      return header === undefined ? null : cutText(header, MAX_USER_AGENT_LENGTH)
    },
    get country() {
      return isProxied ? null : ((c.req.raw.cf?.country as string | undefined) ?? null)
    },
    get language() {
      return languageFrom(
        [c.req.query('lang'), getCookie(c, LANGUAGE_COOKIE)],
        c.req.header('accept-language'),
      )
    },
  }
}

/**
 * Callers that ask during a delivery share it. Theirs may have become due after it looked, so it looks once
 * more.
 */
function onceAtATime<T extends unknown[]>(deliver: (...given: T) => Promise<Delivered>) {
  let delivering: Promise<Delivered> | undefined
  let isOwedMore = false
  async function deliverAll(...given: T): Promise<Delivered> {
    const done = { due: 0, dead: 0 }
    try {
      do {
        isOwedMore = false
        const { due, dead } = await deliver(...given)
        done.due += due
        done.dead += dead
      } while (isOwedMore)
      return done
    } finally {
      // At once: a caller after the last look starts a new delivery.
      delivering = undefined
    }
  }
  return (...given: T): Promise<Delivered> => {
    if (delivering) isOwedMore = true
    delivering ??= deliverAll(...given)
    return delivering
  }
}

export function openResources(
  env: object,
  meter: Meter,
  origin: RequestOrigin,
  waitUntil: (work: Promise<unknown>) => void,
): Resources {
  const config = configOf(env)
  const resources: Resources = {
    config,
    db: openDatabase(config.TURSO_DATABASE_URL, config.TURSO_AUTH_TOKEN, meter, () =>
      resources.afterwards(resources.deliverEvents()),
    ),
    redis: openRedis(config.UPSTASH_REDIS_REST_URL, config.UPSTASH_REDIS_REST_TOKEN, meter, config.ISSUER),
    send: openTransport(config, (env as Bindings).EMAIL),
    rateLimits: env as Bindings,
    origin,
    now: Date.now(),
    loggedAs: {},
    // A batch may have changed a hundred users.
    deliverOwed: onceAtATime((by?: 'cron') => deliverLogouts(resources, by ?? 'request')),
    deliverEvents: onceAtATime((by?: 'cron') => deliverEvents(resources, by ?? 'request')),
    afterwards: (work) => waitUntil(logFailure(work, origin.requestId)),
  }
  return resources
}

/** Opens the resources of a request and puts them on `c.var`. Throws ConfigError. */
export function openForRequest(c: Context<AppEnv>): void {
  const origin = originOf(c, configOf(c.env))
  const resources = openResources(c.env, c.get('meter'), origin, (work) => c.executionCtx.waitUntil(work))
  for (const [name, value] of Object.entries(resources)) c.set(name as keyof Resources, value)
}

/** For work without an HTTP request: the cron trigger, and calls by other Workers of ours. */
export const openForCron = (env: object, context: ExecutionContext, meter = openMeter()): Resources =>
  openResources(
    env,
    meter,
    { requestId: crypto.randomUUID(), ip: null, userAgent: null, country: null, language: 'en' },
    (work) => context.waitUntil(work),
  )
