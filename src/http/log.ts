import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import { type AppError, Refusal } from './problem.ts'

type Level = 'info' | 'warn' | 'error'

/** `errors`: what went wrong on our side or upstream, and no line for each request beside that. */
export type LogSetting = 'errors' | 'all'

/**
 * Writes one line of the log: JSON, with words and ids that are ours. Never an address, a URL, a text of a caller, or
 * the message of an upstream client, which may repeat all of those.
 */
export function log(level: Level, line: Record<string, unknown>) {
  const { cause, ...rest } = line
  console[level](JSON.stringify({ level, ...rest, ...(cause !== undefined && { cause: causes(cause) }) }))
}

/** For work that goes on after the answer: it ends without an error, and one in it is a line with the request's id. */
export const logFailure = (work: Promise<unknown>, requestId: string): Promise<void> =>
  work.then(
    () => {},
    (cause) => log('error', { code: 'afterwards_failed', request_id: requestId, cause }),
  )

/** What a request was, measured by whoever answers it. */
interface Spent {
  startedAt: number
  trips: number
  retries: number
}

/** The pattern that a request was answered by; null where there was none. */
const routeOf = (c: Context): string | null =>
  matchedRoutes(c).find(({ method }) => method !== 'ALL')?.path ?? null

/** The one line of a request, at its end. */
export function logRequest(c: Context, setting: LogSetting, { startedAt, ...spent }: Spent): void {
  const problem: AppError | undefined = c.get('problem')
  const { status } = c.res
  const level = status >= 500 ? 'error' : status >= 400 ? 'warn' : 'info'
  if (setting === 'errors' && level !== 'error') return
  const actor: { sub?: string; sid?: string; key?: { id: string } } =
    c.get('actor') ?? c.get('loggedAs') ?? {}
  log(level, {
    // What was answered; where that is the caller's own id, the history has ours.
    request_id: c.get('givenRequestId') ?? c.get('requestId'),
    own_id: c.get('givenRequestId') && c.get('requestId'),
    method: c.req.method,
    // The pattern: what is in its place may be a link's token.
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

/** What a point says: words of ours and numbers alone, and nobody's id, as whoever counts is not to know whom. */
interface Point extends Omit<Spent, 'retries'> {
  /** The pattern, or what another Worker has called. */
  route: string
  method: string
  status: number
  code?: string | undefined
  began?: string | undefined
  calls: { db: number; redis: number }
}

/**
 * One point a request, or a call of another Worker, in Workers Analytics Engine, where METRICS is bound: docs/operating.md
 * has its columns, and what to ask.
 */
export function measure(
  dataset: AnalyticsEngineDataset,
  { route, method, status, code = '', began = '', startedAt, trips, calls }: Point,
): void {
  // Whoever asks Redis first asks it for a copy; where that was good, nobody else was asked.
  const near = calls.redis === 0 ? '' : calls.db === 0 ? 'hit' : 'miss'
  try {
    dataset.writeDataPoint({
      indexes: [route.slice(0, 96)],
      blobs: [route, method, String(status), code, began, near],
      doubles: [Date.now() - startedAt, trips, calls.db, calls.redis],
    })
  } catch (cause) {
    // Counting is nothing to whoever asked.
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
 * Names, codes and places of an error and what caused it. Messages of upstream clients are left out: Upstash
 * repeats whole commands in them, and libSQL statements.
 */
function causes(cause: unknown, depth = 0): unknown {
  // A cause may point at itself.
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

/** Where it was thrown: what stands behind the message, which may have several lines. */
function placesIn({ stack = '', message }: Error): string[] {
  return stack
    .slice(stack.lastIndexOf(message) + message.length)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 3)
    .map((line) => line.trim())
}
