import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import { type AppError, Refusal } from './problem.ts'

type Level = 'info' | 'warn' | 'error'

/** `errors`: only failures of ours or upstream. `all`: one line for each request, too. */
export type LogSetting = 'errors' | 'all'

/**
 * Writes one log line, as JSON. It contains only our own words and ids: never an address, a URL, a caller's text, or the
 * message of an upstream client, which may repeat any of those.
 */
export function log(level: Level, line: Record<string, unknown>) {
  const { cause, ...rest } = line
  console[level](JSON.stringify({ level, ...rest, ...(cause !== undefined && { cause: causes(cause) }) }))
}

/** For work that continues after the answer. It never rejects: an error becomes a log line with the request's id. */
export const logFailure = (work: Promise<unknown>, requestId: string): Promise<void> =>
  work.then(
    () => {},
    (cause) => log('error', { code: 'afterwards_failed', request_id: requestId, cause }),
  )

/** What a request took. */
interface Spent {
  startedAt: number
  trips: number
  retries: number
}

/** The pattern of the route that answered; null if there was none. */
const routeOf = (c: Context): string | null =>
  matchedRoutes(c).find(({ method }) => method !== 'ALL')?.path ?? null

/** Writes the log line of a request, once it is answered. */
export function logRequest(c: Context, setting: LogSetting, { startedAt, ...spent }: Spent): void {
  const problem: AppError | undefined = c.get('problem')
  const { status } = c.res
  const level = status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info'
  if (setting === 'errors' && level !== 'error') return
  const actor: { sub?: string; sid?: string; key?: { id: string } } =
    c.get('actor') ?? c.get('loggedAs') ?? {}
  log(level, {
    // As in the answer. If that is the caller's id, the history has `own_id`.
    request_id: c.get('givenRequestId') ?? c.get('requestId'),
    own_id: c.get('givenRequestId') && c.get('requestId'),
    method: c.req.method,
    // The pattern, as the path itself may contain a link's token.
    route: routeOf(c),
    status,
    code: problem?.code,
    reason: problem?.cause instanceof Refusal ? problem.cause.reason : undefined,
    ms: Date.now() - startedAt,
    ...spent,
    actor: actor.sub,
    session: actor.key ? undefined : actor.sid,
    key: actor.key?.id,
    ...(level === 'error' && { cause: problem?.cause }),
  })
}

/** A data point contains only our own words and numbers, and no ids: metrics need not know who it was. */
interface Point extends Omit<Spent, 'retries'> {
  /** The pattern of the route, or the method that another Worker called. */
  route: string
  method: string
  status: number
  code?: string | undefined
  began?: string | undefined
  calls: { db: number; redis: number }
}

/**
 * Writes one data point per request, or per call by another Worker, to Workers Analytics Engine, if METRICS is bound.
 * docs/operating.md describes its columns, and useful queries.
 */
export function measure(
  dataset: AnalyticsEngineDataset,
  { route, method, status, code = '', began = '', startedAt, trips, calls }: Point,
): void {
  // Redis is asked first for a copy; libSQL only if there was no good one.
  const near = calls.redis === 0 ? '' : calls.db === 0 ? 'hit' : 'miss'
  try {
    dataset.writeDataPoint({
      indexes: [route.slice(0, 96)],
      blobs: [route, method, String(status), code, began, near],
      doubles: [Date.now() - startedAt, trips, calls.db, calls.redis],
    })
  } catch (cause) {
    // A request does not fail because it could not be counted.
    log('warn', { code: 'metrics_failed', cause })
  }
}

export function measureRequest(c: Context, spent: Pick<Point, 'startedAt' | 'trips' | 'calls'>): void {
  const { METRICS: dataset } = c.env as { METRICS?: AnalyticsEngineDataset }
  if (!dataset) return
  const problem: AppError | undefined = c.get('problem')
  const { began }: { began?: string } = c.get('loggedAs') ?? {}
  const { status } = c.res
  measure(dataset, {
    route: routeOf(c) ?? '',
    method: c.req.method,
    status,
    code: problem?.code,
    began,
    ...spent,
  })
}

const MAX_CAUSES = 5

/**
 * Names, codes and places of an error and its causes. Messages are left out: Upstash repeats whole commands in them, and
 * libSQL whole statements.
 */
function causes(cause: unknown, depth = 0): unknown {
  // A cause may refer to itself.
  if (!(cause instanceof Error) || depth === MAX_CAUSES) return undefined
  const { code, status, sentences } = cause as { code?: unknown; status?: unknown; sentences?: unknown }
  return {
    name: cause.name,
    code,
    status,
    sentences,
    at: placesIn(cause),
    by: causes(cause.cause, depth + 1),
  }
}

/** Where it was thrown: the part of the stack after the message, which may have several lines. */
function placesIn({ stack = '', message }: Error): string[] {
  return stack
    .slice(stack.lastIndexOf(message) + message.length)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 3)
    .map((line) => line.trim())
}
