import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'hono'
import { getCookie } from 'hono/cookie'
import { type Config, configOf } from './config/main.ts'
import { type Database, openDatabase } from './database/main.ts'
import { type Meter, openMeter } from './database/meter.ts'
import { type NearStore, openRedis } from './database/redis.ts'
import { logFailure } from './http/log.ts'
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
  /** From `CF-Connecting-IP`, or from a proxy of ours that has proved itself: else headers are the caller's invention. */
  ip: string | null
  userAgent: string | null
  country: string | null
  /** Of a caller who is nobody yet, or has chosen no `locale`: by `?lang`, the cookie of the pages, or Accept-Language. */
  language: Language
}

/** How much was due, and how much was given up. */
interface Delivered {
  due: number
  dead: number
}

/** Everything outside the process, opened for one request and gone with it. What services are functions of. */
export interface Resources {
  config: Config
  db: Database
  redis: NearStore
  /** Sends a mail now; undefined where no mail is configured. Requests do not call it: they enqueue (mail/outbox.ts). */
  send: Send | undefined
  /** The platform's counters; asked by throttle/limits.ts alone. */
  rateLimits: RateLimits
  origin: RequestOrigin
  /** The versions of the user that the caller has seen; undefined for any (http/precondition.ts). */
  ifMatch?: readonly number[]
  /**
   * The time of the request (epoch ms): of its first byte, set anew when its body is read (http/body.ts) and after a hash
   * (passwords/turns.ts), which take seconds. So it is read where it is used, behind those.
   */
  now: number
  /**
   * Whom the request's line in the log names when nobody is signed in: somebody who has just signed in, or tried to go
   * on. And by what a session began, for the metrics.
   */
  readonly loggedAs: { sub?: string; sid?: string; began?: string }
  /** Sends apps word of sign-outs that they are owed now: for after the answer, and for the cron job, which sends more. */
  deliverOwed(by?: 'cron'): Promise<Delivered>
  /** The same for what webhooks are owed. */
  deliverEvents(by?: 'cron'): Promise<Delivered>
  /** Lets work go on after the answer. Only for what may be lost. */
  afterwards(work: Promise<unknown>): void
}

/** Bindings that are not settings; those are read in config.ts. */
export interface Bindings extends RateLimits {
  EMAIL?: SendEmail
  /** Where requests are counted: see measure in http/log.ts. */
  METRICS?: AnalyticsEngineDataset
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
    /** For a request that has to be made again. */
    bodyRead?: Uint8Array
    /** Its answer, and its line in the log, are those of a repeat. */
    isRepeated?: true
    meter: Meter
  } & Resources
}

const MAX_USER_AGENT_LENGTH = 256

/**
 * Whether the request comes through a server of ours that may name its client (TRUSTED_PROXY_SECRET). Digests are
 * compared, which are as long as one another, and all of them, so that the time says nothing.
 */
function isFromTrustedProxy(c: Context<AppEnv>, { TRUSTED_PROXY_SECRET }: Config): boolean {
  const given = c.req.header('roster-proxy-secret')
  if (given === undefined) return false
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return TRUSTED_PROXY_SECRET.filter((secret) => timingSafeEqual(digest(secret), digest(given))).length > 0
}

/** Read where they are needed: most requests write no history. */
function originOf(c: Context<AppEnv>, config: Config): RequestOrigin {
  const isProxied = isFromTrustedProxy(c, config)
  const [ip, userAgent] = isProxied
    ? (['roster-client-ip', 'roster-client-user-agent'] as const)
    : (['cf-connecting-ip', 'user-agent'] as const)
  return {
    requestId: c.get('requestId'),
    get ip() {
      const address = c.req.header(ip) ?? null
      // Whatever is not an address, even from our own proxy, counts as no address.
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
 * Delivers for whoever asks while it is done, too. What they owe may have come after what is due was looked for, so it is
 * looked once more.
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
      // Not later: whoever asks after the last look begins anew.
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

/** For work that no request asked for: the cron trigger, and what other Workers of ours ask. */
export const openForCron = (env: object, context: ExecutionContext, meter = openMeter()): Resources =>
  openResources(
    env,
    meter,
    { requestId: crypto.randomUUID(), ip: null, userAgent: null, country: null, language: 'en' },
    (work) => context.waitUntil(work),
  )
