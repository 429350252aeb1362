import type { Context, MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import type * as z from 'zod'
import type { Permission } from '../access/permissions.ts'
import { bodyTooLarge, bodyTooSlow, readText, unreadableBody } from './body.ts'
import { notUtf8, readFields } from './fields.ts'
import { invalidJson, parseJson } from './json.ts'
import { AppError, invalidInput } from './problem.ts'
import { validate } from './validate.ts'

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
  responses?: Record<number, (() => z.ZodType) | null | 'html'>
  responseHeaders?: Record<string, string>
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

/** What stands in the document; the real ones name what is wrong. */
const someInvalidInput = () =>
  invalidInput([{ pointer: '/colour', code: 'unknown_member', detail: 'Is not known here.' }])
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
      c.set('body', validate(schema(), parseJson(await readText(c, invalidJson))))
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

const readForm = async (c: Context) => readFields(await readText(c, () => invalidInput([notUtf8()])))

/** Checks the query string, strictly, and puts it on `c.var.query`. */
export function query<S extends z.ZodObject>(schema: () => S) {
  const check = createMiddleware<{ Variables: { query: z.output<S> } }>(async (c, next) => {
    c.set('query', validate(schema(), readFields(new URL(c.req.url).search.slice(1))))
    await next()
  })
  return documented(check, { query: schema, problems: [someInvalidInput] })
}
