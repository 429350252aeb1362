import { createHmac } from 'node:crypto'
import { and, eq, inArray, lte, type SQL, sql } from 'drizzle-orm'
import { createMiddleware } from 'hono/factory'
import type { Config } from '../config/main.ts'
import type { AppEnv, Resources } from '../context.ts'
import { build, insertWhere, type Results } from '../database/statements.ts'
import { documented } from '../http/operation.ts'
import { AppError } from '../http/problem.ts'
import { DAY_MS, inWords } from '../values/durations.ts'
import { normalizeEmail } from '../values/email.ts'
import { answerGone, idempotencyKeyReused } from './errors.ts'
import { idempotencyKeys } from './models.ts'

/** How long a repeated request gets the answer of the first. */
export const ANSWER_KEPT_MS = DAY_MS

const invalidIdempotencyKey = () =>
  new AppError(400, 'invalid_idempotency_key', 'Idempotency-Key has to be 8 to 128 visible ASCII characters.')

/** Identifies a repeated request: who sent it, the route, the key, and a MAC of the body. */
export interface IdempotentRequest {
  /** The MAC under our newest key first, then under former keys. */
  principals: [string, ...string[]]
  route: string
  key: string
  bodyHashes: [string, ...string[]]
}

/**
 * Reads the header `Idempotency-Key` into `c.var.idempotent`; must come after `body`. The body is stored as a
 * MAC, as it contains a password. Callers who are not signed in are told apart by the email address they
 * send, so that one never gets another's answer.
 */
export const idempotent = documented(
  createMiddleware<
    AppEnv & {
      Variables: { idempotent: IdempotentRequest | undefined; body: unknown; actor?: { sub: string } }
    }
  >(async (c, next) => {
    const key = c.req.header('idempotency-key')
    if (key !== undefined && !/^[\x21-\x7e]{8,128}$/.test(key)) throw invalidIdempotencyKey()
    if (key !== undefined) {
      const { body, actor, config } = c.var
      const { email } = body as { email?: unknown }
      const stranger = () => digestsOf(config, `address ${normalizeEmail(String(email))}`)
      c.set('idempotent', {
        principals: actor ? [actor.sub] : stranger(),
        route: `${c.req.method} ${c.req.path}`,
        key,
        bodyHashes: digestsOf(config, JSON.stringify(body)),
      })
    }
    await next()
  }),
  {
    headers: {
      'Idempotency-Key': `Repeat a request with the same key and it takes effect once; the answer is kept for ${inWords(ANSWER_KEPT_MS)}.`,
    },
    problems: [invalidIdempotencyKey, idempotencyKeyReused, answerGone],
  },
)

const digestsOf = ({ keys }: Config, text: string) =>
  keys.idempotency.map((key) => createHmac('sha256', key).update(text).digest('base64url')) as [
    string,
    ...string[],
  ]

const isThisKey = ({ principals, route, key }: IdempotentRequest) =>
  and(
    inArray(idempotencyKeys.principal, principals),
    eq(idempotencyKeys.route, route),
    eq(idempotencyKeys.key, key),
  )
const selectKey = (request: IdempotentRequest) =>
  build.select().from(idempotencyKeys).where(isThisKey(request))
/** The query for the kept answer; empty if the request has no key. */
export type Recall = { kept?: ReturnType<typeof selectKey> }
export const recallOf = (request: IdempotentRequest | undefined): Recall =>
  request ? { kept: selectKey(request) } : {}

/** The status of a kept answer about a user who was erased: see users/erasure.ts. */
const GONE = 410

/**
 * The statements that make a creation idempotent: `claim` goes first, the creation is conditional on
 * `isFirst`, and `recall` goes last. They share one batch, so key, creation and history are all written or
 * none is. The key is only claimed if `mayClaim` holds, and a key older than a day counts as new.
 */
export function openIdempotency(
  { now }: Resources,
  request: IdempotentRequest | undefined,
  subjectId: string,
  answer: object,
  mayClaim: SQL,
  status = 201,
) {
  const recall = recallOf(request)
  if (!request) return { claim: [], isFirst: mayClaim, recall }
  const { principals, route, key, bodyHashes } = request
  const isThis = isThisKey(request)
  const row = {
    principal: principals[0],
    route,
    key,
    body_hash: bodyHashes[0],
    status,
    response: JSON.stringify(answer),
    subject_id: subjectId,
    created_at: now,
    email_normalized: 'email' in answer ? normalizeEmail(String(answer.email)) : null,
  }
  const isNew = sql`NOT EXISTS (SELECT 1 FROM ${idempotencyKeys} WHERE ${isThis})`
  return {
    claim: [
      build.delete(idempotencyKeys).where(and(isThis, lte(idempotencyKeys.created_at, now - DAY_MS))),
      insertWhere(idempotencyKeys, row, sql`${isNew} AND ${mayClaim}`, ['principal', 'route', 'key']),
    ],
    isFirst: sql`EXISTS (SELECT 1 FROM ${idempotencyKeys} WHERE ${isThis} AND subject_id = ${subjectId})`,
    recall,
  }
}

/**
 * The kept answer to the first request with this key, from the result of `recall`; undefined if there is
 * none.
 *
 * @throws 422 when the key was used for another body; 410 when what it made has been erased.
 */
export function keptAnswer(
  request: IdempotentRequest | undefined,
  { kept }: Partial<Results<Required<Recall>>>,
) {
  const row = kept?.[0]
  if (!request || !row) return undefined
  if (row.status === GONE) throw answerGone()
  if (!request.bodyHashes.includes(row.body_hash)) throw idempotencyKeyReused()
  return { status: row.status, subjectId: row.subject_id, answer: JSON.parse(row.response) as unknown }
}

/** The kept answer, else the fresh one. Throws as `keptAnswer` does. */
export function recalled<T>(
  request: IdempotentRequest | undefined,
  results: Partial<Results<Required<Recall>>>,
  fresh: T,
): T {
  const kept = keptAnswer(request, results)
  return kept ? (kept.answer as T) : fresh
}
