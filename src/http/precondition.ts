import type { Context } from 'hono'
import { etag, RETAINED_304_HEADERS } from 'hono/etag'
import { createMiddleware } from 'hono/factory'
import type { AppEnv, Resources } from '../context.ts'
import { documented } from './operation.ts'
import { AppError } from './problem.ts'

export const versionMismatch = () =>
  new AppError(412, 'version_mismatch', 'It has changed since. Read it again, then decide.')
const invalidIfMatch = () => new AppError(400, 'invalid_if_match', 'If-Match takes our ETags, or *.')

/** Our ETags are versions of users. A proxy may make one weak, which does not change the version. */
const TAG = /^(?:W\/)?"([1-9]\d{0,14})"$/

const versionsIn = (header: string) =>
  header.split(',').map((tag) => Number(TAG.exec(tag.trim())?.[1] ?? Number.NaN))

/**
 * For every route that changes a user: reads `If-Match` (RFC 9110 section 13.1.1) as `c.var.ifMatch`.
 * users/change.ts compares it with the user as read.
 */
export const precondition = documented(
  createMiddleware<AppEnv>(async (c, next) => {
    const header = c.req.header('if-match')?.trim()
    if (header !== undefined && header !== '*') {
      const versions = versionsIn(header)
      if (versions.some(Number.isNaN)) throw invalidIfMatch()
      c.set('ifMatch', versions)
    }
    await next()
  }),
  {
    headers: {
      'If-Match': 'Change only if the user still has this version: an ETag, several, or `*` for any.',
    },
    problems: [invalidIfMatch, versionMismatch],
  },
)

/** Throws 412 if the caller named versions and the current one is not among them. */
export function assertPrecondition({ ifMatch }: Pick<Resources, 'ifMatch'>, version: number): void {
  if (ifMatch && !ifMatch.includes(version)) throw versionMismatch()
}

/** Whether the caller has this version already (RFC 9110 section 13.1.2). */
export function hasVersion(c: Context, version: number): boolean {
  const header = c.req.header('if-none-match')?.trim()
  return header !== undefined && (header === '*' || versionsIn(header).includes(version))
}

export const IF_NONE_MATCH = { 'If-None-Match': 'Answers 304 if this ETag is still current.' }

/**
 * For answers that are the same for everybody: an ETag of their bytes, and 304 for whoever has them already.
 */
export const revalidated = documented(
  etag({
    retainedHeaders: [
      ...RETAINED_304_HEADERS,
      'access-control-allow-origin',
      'access-control-expose-headers',
    ],
  }),
  {
    headers: IF_NONE_MATCH,
    responses: { 304: null },
    responseHeaders: { 200: { ETag: 'Of these bytes.' }, 304: { ETag: 'Of the bytes that the caller has.' } },
  },
)
