import type { Context, MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import type * as z from 'zod'
import type { Permission } from '../access/permissions.ts'
import {
  bodyTooLarge,
  bodyTooSlow,
  decodeUtf8,
  invalidJson,
  parseJson,
  readBytes,
  unreadableBody,
} from './body.ts'
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
