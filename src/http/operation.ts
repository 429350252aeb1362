import type { Context, Handler, MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import { findTargetHandler } from 'hono/utils/handler'
import * as z from 'zod'
import type { Permission } from '../access/permissions.ts'
import { lazy } from '../values/lazy.ts'
import { bodyTooLarge, bodyTooSlow, readText, unreadableBody } from './body.ts'
import { fileNotUtf8, notUtf8, readFields, readParts } from './fields.ts'
import { invalidJson, parseJson } from './json.ts'
import { AppError, invalidInput } from './problem.ts'
import { validate } from './validate.ts'

/** The group of an operation in the API document; docs/openapi.ts describes each. */
export type Tag =
  | 'auth'
  | 'factors'
  | 'identities'
  | 'mail'
  | 'users'
  | 'invitations'
  | 'signup_blocks'
  | 'keys'
  | 'clients'
  | 'webhooks'
  | 'oauth'
  | 'activity'
  | 'system'

/**
 * What a route declares about itself. A middleware that checks something also declares what it checks, and
 * openapi.ts reads that from the router. So nothing about a route is written twice.
 */
export interface OperationParts {
  /** Path parameters; ids by default. */
  path?: Record<string, () => z.ZodType>
  body?: () => z.ZodType
  /** The body, or an alternative encoding of it, as `application/x-www-form-urlencoded`. */
  form?: () => z.ZodType
  /** For a body that is a file of rows. */
  rows?: Rows
  query?: () => z.ZodObject
  headers?: Record<string, string>
  security?: 'signed_in' | Permission
  /** By status: the schema of the JSON, null for no body, `html` for a page, `rows` for a list as a file. */
  responses?: Record<number, (() => z.ZodType) | null | 'html' | 'rows'>
  /** By status: descriptions of its headers. Those of every answer are in headers.ts. */
  responseHeaders?: Record<number, Record<string, string>>
  problems?: (() => AppError)[]
  /** Those that only the API's own routes answer: see `isApi`. */
  apiProblems?: (() => AppError)[]
}

/** What only the route itself can say. */
export interface Operation extends OperationParts {
  /** The operation's name: the method name in a generated client. */
  id: string
  tag: Tag
  summary: string
  /** What the summary does not say: what it ends or sends, or what must be proved before. */
  description: string
}

const PARTS = Symbol('operation')

export const documented = <H extends MiddlewareHandler>(handler: H, parts: OperationParts): H =>
  Object.assign(handler, { [PARTS]: parts })

/** Hono wraps the handlers of an app that has its own error handler. */
export const partsOf = (handler: Handler | MiddlewareHandler): OperationParts | undefined =>
  (findTargetHandler(handler) as { [PARTS]?: OperationParts })[PARTS]

/** Declares what a route does and answers; checks nothing. */
export const operation = (parts: Operation) =>
  documented(
    createMiddleware<object>((_c, next) => next()),
    parts,
  )

/** An example for the document; real ones name what is wrong. */
const someInvalidInput = () =>
  invalidInput([{ pointer: '/colour', code: 'unknown_member', detail: 'Is not known here.' }])
const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'
/** `Accept` and `Accept-Encoding` say what is accepted (RFC 9110 sections 12.5 and 15.5.16). */
const unsupportedMediaType = (...taken: string[]) =>
  new AppError(415, 'unsupported_media_type', 'The type, charset or coding of the body is not supported.', {
    headers: { accept: taken.join(', '), 'accept-encoding': 'identity' },
  })
/** What reading a form can answer. */
export const FORM_PROBLEMS = [unreadableBody, bodyTooSlow, bodyTooLarge, someInvalidInput]
const JSON_PROBLEMS = [invalidJson, ...FORM_PROBLEMS]

/** Checks the JSON body strictly, and puts it on `c.var.body`. With `form`, also accepts a form. */
export function body<S extends z.ZodType>(schema: () => S, form?: () => z.ZodType<z.output<S>>) {
  const taken = form ? [JSON_TYPE, FORM] : [JSON_TYPE]
  const check = createMiddleware<{ Variables: { body: z.output<S> } }>(async (c, next) => {
    if (requireType(c, taken) === FORM) {
      c.set('body', validate(form!(), await readForm(c)))
    } else {
      c.set('body', validate(schema(), parseJson(await readText(c, invalidJson))))
    }
    await next()
  })
  const problems = [...JSON_PROBLEMS, () => unsupportedMediaType(...taken)]
  return documented(check, { body: schema, ...(form && { form }), problems })
}

/** A body of rows: its media types, the schema of a row, and its maximum size in bytes. */
export interface Rows<T extends string = string> {
  types: readonly T[]
  schema: () => z.ZodType
  most: number
}

/**
 * Reads a body of rows as text, and puts it on `c.var.text` with its type. Its rows are validated one by one.
 */
export function rows<T extends string>(given: Rows<T>) {
  const read = createMiddleware<{ Variables: { text: { type: T; text: string } } }>(async (c, next) => {
    const type = requireType(c, [...given.types]) as T
    c.set('text', { type, text: await readText(c, () => invalidInput([fileNotUtf8()]), given.most) })
    await next()
  })
  const problems = [
    unreadableBody,
    bodyTooSlow,
    () => bodyTooLarge(given.most),
    () => unsupportedMediaType(...given.types),
    someInvalidInput,
  ]
  return documented(read, { rows: given, problems })
}

/**
 * Reads a form and puts its fields on `c.var.fields`. They are not checked: the page itself shows what is
 * wrong with them. `schema` is for the document.
 */
export const form = (schema: () => z.ZodType) =>
  documented(
    createMiddleware<{ Variables: { fields: Record<string, string> } }>(async (c, next) => {
      requireType(c, [FORM])
      c.set('fields', await readForm(c))
      await next()
    }),
    { form: schema, problems: [...FORM_PROBLEMS, () => unsupportedMediaType(FORM)] },
  )

/** The body's media type, if it is one of `taken` and the body is plain UTF-8. Throws 415. */
function requireType(c: Context, taken: string[]): string {
  const [type = '', ...parameters] = (c.req.header('content-type') ?? '').split(';')
  const mediaType = type.trim().toLowerCase()
  const charsets = parameters.filter((parameter) => /^\s*charset\s*=/i.test(parameter))
  const isPlain = /^(identity)?$/i.test(c.req.header('content-encoding')?.trim() ?? '')
  const isUtf8 = charsets.every((charset) => /=\s*"?utf-?8"?\s*$/i.test(charset))
  if (!taken.includes(mediaType) || !isPlain || !isUtf8) throw unsupportedMediaType(...taken)
  return mediaType
}

const formText = (c: Context, most?: number) =>
  readText(c, () => invalidInput([isUpload(c) ? fileNotUtf8() : notUtf8()]), most)

export const readForm = async (c: Context) => readFields(await formText(c))

/** A form that may include a file, of up to `most` bytes. */
export const readUpload = (most: number) => async (c: Context) => {
  const type = c.req.header('content-type') ?? ''
  const text = await formText(c, most)
  return isUpload(c) ? readParts(text, type) : readFields(text)
}
export const isUpload = (c: Context) => /^multipart\/form-data\b/i.test(c.req.header('content-type') ?? '')

const fieldsOfQuery = (c: Context) => readFields(new URL(c.req.url).search.slice(1))

/** Checks the query string strictly, and puts it on `c.var.query`. */
export function query<S extends z.ZodObject>(schema: () => S) {
  const check = createMiddleware<{ Variables: { query: z.output<S> } }>(async (c, next) => {
    c.set('query', validate(schema(), fieldsOfQuery(c)))
    await next()
  })
  return documented(check, { query: schema, problems: [someInvalidInput] })
}

/**
 * Whether a route refuses what it does not take. Elsewhere, unknown parameters are ignored: OAuth demands it (RFC 6749
 * section 3.1), and links to pages collect them.
 */
export const isApi = (path: string) => path.startsWith('/v1/')

const Nothing = lazy(() => z.strictObject({}))
/** The language of what is mailed: context.ts reads it on every route. */
const AnyQuery = lazy(() => z.strictObject({ lang: z.string().optional() }))

const refuseQuery = documented(
  createMiddleware<object>((c, next) => {
    if (c.req.url.includes('?') && isApi(c.req.path)) validate(AnyQuery(), fieldsOfQuery(c))
    return next()
  }),
  { apiProblems: [someInvalidInput] },
)

/** An empty body is fine, and so is `{}`, which many clients always send. */
const refuseBody = documented(
  createMiddleware<object>(async (c, next) => {
    if (c.req.raw.body !== null && isApi(c.req.path)) {
      const text = await readText(c, invalidJson)
      if (text !== '') validate(Nothing(), parseJson(text))
    }
    await next()
  }),
  { apiProblems: JSON_PROBLEMS },
)

/**
 * The handlers of a route, and what refuses a query or a body that none of them declares: a member in the wrong place
 * must not be ignored, as it may decide between two very different requests (`hard`, `earlier_email`). It comes after
 * the guards, so that a stranger learns nothing. Pages, which declare no answers, are left alone.
 */
export function refusingUndeclared(method: string, handlers: (Handler | MiddlewareHandler)[]) {
  const parts = handlers.map((handler) => partsOf(handler) ?? {})
  if (!parts.some(({ responses }) => responses)) return handlers
  const body = parts.findIndex((part) => part.body ?? part.form ?? part.rows)
  const query = parts.findIndex((part) => part.query)
  const refusals = [
    ...(query < 0 ? [refuseQuery] : []),
    ...(body < 0 && method !== 'get' ? [refuseBody] : []),
  ]
  // Before the first that reads either; with none (-1), before the last handler.
  return handlers.toSpliced(Math.max(body, query), 0, ...refusals)
}
