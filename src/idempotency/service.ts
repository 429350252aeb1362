import { createHmac } from 'node:crypto'
import { and, eq, type SQL, sql } from 'drizzle-orm'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, Resources } from '../context.ts'
import { build, insertWhere, type Results } from '../database/statements.ts'
import { documented } from '../http/operation.ts'
import { AppError } from '../http/problem.ts'
import { idempotencyKeyReused } from './errors.ts'
import { idempotencyKeys } from './models.ts'

export const invalidIdempotencyKey = () =>
  new AppError(400, 'invalid_idempotency_key', 'Idempotency-Key has to be 8 to 128 visible ASCII characters.')

/** What makes a repeated request recognisable: who, where, which key, and a MAC of what was sent. */
export interface IdempotentRequest {
  principal: string
  route: string
  key: string
  bodyHash: string
  /** What the hash was, or may have been, before the keys were rotated. */
  formerHashes: string[]
}

/**
 * Takes the header `Idempotency-Key`, as `c.var.idempotent`; stands behind `body`. The body's hash is a MAC, as
 * the body has a password in it.
 */
export const idempotent = documented(
  createMiddleware<
    AppEnv & {
      Variables: { idempotent: IdempotentRequest | undefined; body: unknown; actor?: { sub: string } }
    }
  >(async (c, next) => {
    const key = c.req.header('idempotency-key')
    if (key !== undefined && !/^[\x21-\x7e]{8,128}$/.test(key)) throw invalidIdempotencyKey()
    const text = JSON.stringify(c.var.body)
    const hashOf = (key: Uint8Array) => createHmac('sha256', key).update(text).digest('base64url')
    const principal = c.var.actor?.sub ?? 'anybody'
    if (key === undefined) c.set('idempotent', undefined)
    else {
      const [bodyHash = '', ...formerHashes] = c.var.config.keys.idempotency.map(hashOf)
      const route = `${c.req.method} ${c.req.path}`
      c.set('idempotent', { principal, route, key, bodyHash, formerHashes })
    }
    await next()
  }),
  {
    headers: {
      'Idempotency-Key':
        'Repeat a request with the same key and it takes effect once; the answer is kept for a day.',
    },
    problems: [invalidIdempotencyKey, idempotencyKeyReused],
  },
)

const selectKeys = () => build.select().from(idempotencyKeys)
/** What reads the kept answer; nothing where there is no key. */
export type Recall = { kept?: ReturnType<typeof selectKeys> }

/**
 * The statements that make a creation idempotent: `claim` goes first, the creation is conditional on `isFirst`,
 * `recall` goes last. All in one batch, so key, creation and history are there together or not at all. A key is only
 * taken where `mayClaim` holds.
 */
export function openIdempotency(
  { now }: Resources,
  request: IdempotentRequest | undefined,
  subjectId: string,
  answer: object,
  mayClaim: SQL,
) {
  if (!request) return { claim: [], isFirst: mayClaim, recall: {} as Recall }
  const { principal, route, key, bodyHash } = request
  const isThisKey = and(
    eq(idempotencyKeys.principal, principal),
    eq(idempotencyKeys.route, route),
    eq(idempotencyKeys.key, key),
  )
  const row = {
    principal,
    route,
    key,
    body_hash: bodyHash,
    status: 201,
    response: JSON.stringify(answer),
    subject_id: subjectId,
    created_at: now,
  }
  return {
    claim: [insertWhere(idempotencyKeys, row, mayClaim, ['principal', 'route', 'key'])],
    isFirst: sql`EXISTS (SELECT 1 FROM ${idempotencyKeys} WHERE ${isThisKey} AND subject_id = ${subjectId})`,
    recall: { kept: build.select().from(idempotencyKeys).where(isThisKey) } as Recall,
  }
}

/** The kept answer, from the result of `recall`. Throws 422 when the key was used for another body. */
export function recalled<T>(
  request: IdempotentRequest | undefined,
  { kept }: Partial<Results<Required<Recall>>>,
  fresh: T,
): T {
  const row = kept?.[0]
  if (!request || !row) return fresh
  const { bodyHash, formerHashes } = request
  if (![bodyHash, ...formerHashes].includes(row.body_hash)) throw idempotencyKeyReused()
  return JSON.parse(row.response) as T
}
