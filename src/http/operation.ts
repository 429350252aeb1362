import type { Context, MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import type * as z from 'zod'
import type { Permission } from '../access/permissions.ts'
import { AppError, type InputError, invalidInput } from './problem.ts'

/**
 * What a route is, for the machine: a middleware that checks something also says what it checks, and openapi.ts
 * reads it from the router. So nothing about a route stands in two places.
 */
export interface OperationParts {
  summary?: string
  tag?: string
  description?: string
  /** What stands in the path; ids where nothing is said. */
  path?: Record<string, () => z.ZodType>
  body?: () => z.ZodType
  /** The body, or another form it may have, as `application/x-www-form-urlencoded`. */
  form?: () => z.ZodType
  query?: () => z.ZodObject
  headers?: Record<string, string>
  security?: 'signed_in' | Permission
  /** By status: the schema of the JSON, null for no body, `html` for a page. */
  answers?: Record<number, (() => z.ZodType) | null | 'html'>
  answerHeaders?: Record<string, string>
  problems?: (() => AppError)[]
}

const PARTS = Symbol('operation')

export const documented = <H extends MiddlewareHandler>(handler: H, parts: OperationParts): H =>
  Object.assign(handler, { [PARTS]: parts })

export const partsOf = (handler: unknown): OperationParts | undefined =>
  (handler as { [PARTS]?: OperationParts })[PARTS]

/** Says what a route does and answers; checks nothing. */
export const operation = (parts: OperationParts) =>
  documented(
    createMiddleware<object>((_c, next) => next()),
    parts,
  )

export const MAX_BODY_BYTES = 64 * 1024
const MAX_JSON_DEPTH = 32
const BODY_DEADLINE_MS = 10_000

export const invalidJson = () =>
  new AppError(400, 'invalid_json', 'The body is not JSON (UTF-8, no member twice, at most 32 levels deep).')
export const unreadableBody = (cause?: unknown) =>
  new AppError(400, 'unreadable_body', 'The body broke off.', { cause })
export const bodyTooLarge = () => new AppError(413, 'body_too_large', 'The body is over 64 KB.')
/** What stands in the document; the real ones name what is wrong. */
const someInvalidInput = () =>
  invalidInput([{ pointer: '/colour', code: 'unknown_member', detail: 'Is not known here.' }])
export const bodyTooSlow = () =>
  new AppError(408, 'body_too_slow', `The body took longer than ${BODY_DEADLINE_MS / 1000} seconds.`)
export const unsupportedMediaType = () =>
  new AppError(415, 'unsupported_media_type', 'The body is of a type that is not taken here.')
const BODY_PROBLEMS = [
  invalidJson,
  unreadableBody,
  bodyTooSlow,
  bodyTooLarge,
  unsupportedMediaType,
  someInvalidInput,
]

/** Checks the JSON body, strictly, and puts it on `c.var.body`. With `form`, takes that form of it too. */
export function body<S extends z.ZodType>(schema: () => S, form?: () => z.ZodType<z.output<S>>) {
  const check = createMiddleware<{ Variables: { body: z.output<S> } }>(async (c, next) => {
    if (form && mediaTypeOf(c) === FORM) {
      c.set('body', validate(form(), await readForm(c)))
    } else {
      if (mediaTypeOf(c) !== 'application/json') throw unsupportedMediaType()
      c.set('body', validate(schema(), parseJson(decodeUtf8(await readBytes(c)))))
    }
    await next()
  })
  return documented(check, { body: schema, ...(form && { form }), problems: BODY_PROBLEMS })
}

/**
 * Reads a form and puts its fields on `c.var.fields`. They are not checked: a page that people see says itself what
 * is wrong with them. `schema` is for the document.
 */
export const form = (schema: () => z.ZodType) =>
  documented(
    createMiddleware<{ Variables: { fields: Record<string, string> } }>(async (c, next) => {
      if (mediaTypeOf(c) !== FORM) throw unsupportedMediaType()
      c.set('fields', await readForm(c))
      await next()
    }),
    { form: schema, problems: BODY_PROBLEMS },
  )

const FORM = 'application/x-www-form-urlencoded'
const mediaTypeOf = (c: Context) => c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()

const readForm = async (c: Context) => singleValues(new URLSearchParams(decodeUtf8(await readBytes(c))))

/** Checks the query string, strictly, and puts it on `c.var.query`. */
export function query<S extends z.ZodObject>(schema: () => S) {
  const check = createMiddleware<{ Variables: { query: z.output<S> } }>(async (c, next) => {
    c.set('query', validate(schema(), singleValues(new URL(c.req.url).searchParams)))
    await next()
  })
  return documented(check, { query: schema, problems: [someInvalidInput] })
}

/** What the schema makes of the input. Throws 422 `invalid_input`. */
export function validate<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  throw invalidInput(result.error.issues.flatMap(toInputErrors))
}

function toInputErrors(issue: z.core.$ZodIssue): InputError[] {
  const pointer = pointerTo(issue.path)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: pointer + pointerTo([key]),
      code: 'unknown_member',
      detail: 'Is not known here.',
    }))
  }
  const code =
    issue.code === 'custom' ? ((issue.params?.code as string | undefined) ?? 'invalid') : issue.code
  return [{ pointer, code, detail: issue.message }]
}

const pointerTo = (path: PropertyKey[]) =>
  path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

function singleValues(params: URLSearchParams): Record<string, string> {
  const repeated = [...new Set(params.keys())].filter((name) => params.getAll(name).length > 1)
  if (repeated.length > 0) {
    throw invalidInput(
      repeated.map((name) => ({ pointer: `/${name}`, code: 'repeated', detail: 'Is given twice.' })),
    )
  }
  // Not Object.fromEntries: `__proto__` has to arrive as a member, and be refused as one.
  return Object.assign(Object.create(null), Object.fromEntries(params))
}

/** Reads the body as far as the limit, whatever its Content-Length claims, and for no longer than the deadline. */
async function readBytes(c: Context): Promise<Uint8Array> {
  const length = c.req.header('content-length')
  if (Number(length ?? 0) > MAX_BODY_BYTES) throw bodyTooLarge()
  // A body of a stated length ends there (RFC 9112 section 6.3), so it may be read by the runtime, which is faster.
  const isBounded = length !== undefined && c.req.header('transfer-encoding') === undefined
  const reader = isBounded ? undefined : c.req.raw.body?.getReader()
  const deadline = Promise.withResolvers<never>()
  const timer = setTimeout(() => deadline.reject(bodyTooSlow()), BODY_DEADLINE_MS)
  try {
    const reading = reader ? readToLimit(reader) : c.req.raw.bytes()
    const bytes = await Promise.race([reading, deadline.promise])
    if (bytes.byteLength > MAX_BODY_BYTES) throw bodyTooLarge()
    return bytes
  } catch (error) {
    // The caller went away in the middle of it: nobody's fault here, and nobody hears the answer.
    throw error instanceof AppError ? error : unreadableBody(error)
  } finally {
    clearTimeout(timer)
    reader?.cancel().catch(() => {}) // Whoever sends more sends it to nobody.
  }
}

async function readToLimit(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(chunks)
    size += value.byteLength
    if (size > MAX_BODY_BYTES) throw bodyTooLarge()
    chunks.push(value)
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalidJson()
  }
}

/** JSON.parse, but a member that stands twice is an error: two readers may disagree on which one counts. */
function parseJson(text: string): unknown {
  try {
    assertFlatAndUnique(text)
    return JSON.parse(text)
  } catch {
    throw invalidJson()
  }
}

function assertFlatAndUnique(text: string): void {
  const open: (Set<string> | undefined)[] = []
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/gs)) {
    if (token === '{' || token === '[') {
      if (open.push(token === '{' ? new Set() : undefined) > MAX_JSON_DEPTH) throw new SyntaxError('too deep')
    } else if (token === '}' || token === ']') {
      open.pop()
    } else if (isFollowedByColon(text, index + token.length)) {
      const members = open.at(-1)
      const name: string = JSON.parse(token)
      if (members?.has(name)) throw new SyntaxError('member twice')
      members?.add(name)
    }
  }
}

function isFollowedByColon(text: string, index: number): boolean {
  const colon = /\s*:/y
  colon.lastIndex = index
  return colon.test(text)
}
