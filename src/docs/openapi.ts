import * as z from 'zod'
import { hasPermission, type Permission } from '../access/permissions.ts'
import type { AppEnv } from '../context.ts'
import { databaseUnavailable } from '../database/main.ts'
import { EVERY_ANSWER, REQUEST_ID as REQUEST_ID_HEADER, SOME_ANSWERS } from '../http/headers.ts'
import { Hono } from '../http/hono.ts'
import { type OperationParts, operation, partsOf } from '../http/operation.ts'
import { revalidated } from '../http/precondition.ts'
import { type AppError, internalError, problemOf, unavailable } from '../http/problem.ts'
import { ROLES } from '../users/models.ts'
import { Id } from '../values/ids.ts'
import { lazy } from '../values/lazy.ts'

const REQUEST_ID = 'd0a5e3c8-6f1b-4c0e-9a57-1f0f3a2b4c5d'

const Problem = lazy(() =>
  z
    .object({
      type: z.string(),
      title: z.string(),
      status: z.int(),
      detail: z.string(),
      code: z.string(),
      request_id: z.string(),
      errors: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })).optional(),
      more_errors: z
        .int()
        .optional()
        .meta({ description: 'How many errors there are besides those that `errors` names.' }),
    })
    .meta({ id: 'Problem', description: 'RFC 9457. `code` is stable; `detail` is for people.' }),
)

const INTRODUCTION = `Sign-up, sessions, roles, listing, deletion and history of people.

\`POST /v1/auth/login\` gives an access token for ten minutes, to send as \`Authorization: Bearer …\`, and a refresh token for the next pair.

Every 4xx and 5xx is a problem document (RFC 9457) with a stable \`code\` and the \`request_id\` that stands in the logs. Besides what each operation lists, an address that does not exist answers 404 \`not_found\`, and one that does not take the method 405 \`method_not_allowed\` with \`Allow\`.

Lists go on by \`cursor\`. A change can be made to depend on the version that was read, by \`If-Match\`; a creation can be repeated safely, by \`Idempotency-Key\`.`

const TAGS = {
  auth: 'Sign up, log in, and keep a session.',
  mail: 'Confirm an address, reset a password, change an address: by a link or a code that is mailed.',
  users: 'Yourself, and the people you manage.',
  invitations: 'Ask people to join.',
  activity: 'What happened, to whom, and by whom.',
  system: 'Health, keys and this document.',
}

/** What every route but /health can answer besides. */
export const ANYWHERE = [
  internalError,
  () => unavailable('misconfigured', 'Settings are missing or unfit.', undefined, 60),
  () => databaseUnavailable(),
]

export type Router = Pick<Hono<AppEnv>, 'routes'>

export function openapiRoutes(router: Router) {
  let made: { issuer: string; document: object } | undefined
  return new Hono<AppEnv>().get(
    '/openapi.json',
    operation({
      id: 'getOpenApiDocument',
      tag: 'system',
      summary: 'This document',
      responses: { 200: () => z.record(z.string(), z.unknown()) },
    }),
    revalidated,
    (c) => {
      const issuer = c.var.config.ISSUER
      if (made?.issuer !== issuer) made = { issuer, document: describe(router, issuer) }
      return c.json(made.document, 200, { 'cache-control': 'public, max-age=300' })
    },
  )
}

/** The OpenAPI 3.1 document, made from what the router's own guards and validators say they check. */
export const describe = (router: Router, issuer: string): object => gatherSchemas(documentOf(router, issuer))

type JsonSchema = z.core.JSONSchema.BaseSchema

/** A schema of ours as JSON Schema, which OpenAPI 3.1 speaks; those with an `id` stand in its `$defs`. */
function toJsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => tidy(jsonSchema, io),
  })
  return jsonSchema
}

/** Leaves out what zod says and nobody can use: the range of a double, and regular expressions of known formats. */
function tidy(jsonSchema: JsonSchema, io: 'input' | 'output'): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.format) delete jsonSchema.pattern
  delete jsonSchema.propertyNames
  delete jsonSchema.id
  // A client that is generated today has to read the answers of tomorrow, with members that are added.
  if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
  // What a schema's meta says of itself, where zod cannot know.
  Object.assign(jsonSchema, jsonSchema.override)
  delete jsonSchema.override
}

/** Moves the schemas that have a name to where OpenAPI has them: once, under `components`. */
function gatherSchemas(document: ReturnType<typeof documentOf>): object {
  const schemas: Record<string, JsonSchema> = {}
  const gathered = JSON.parse(JSON.stringify(document), (key, value) => {
    if (key === '$ref') return value.replace('#/$defs/', '#/components/schemas/')
    if (key !== '$defs') return value
    Object.assign(schemas, value)
    return undefined
  })
  return { ...gathered, components: { ...gathered.components, schemas } }
}

/** Pages are for people, and no part of the API: they say nothing of what they answer. */
export const isPage = (parts: OperationParts[]) => !parts.some(({ responses }) => responses)

function documentOf(router: Router, issuer: string) {
  const paths: Record<string, Record<string, object>> = {}
  for (const [route, parts] of operationsOf(router)) {
    if (isPage(parts)) continue
    const [method, path] = route.split(' ') as [string, string]
    const template = path.replace(/:(\w+)/g, '{$1}')
    paths[template] ??= {}
    paths[template][method.toLowerCase()] = describeOperation(method, template, parts, issuer)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Roster',
      version: '1',
      description: INTRODUCTION,
      contact: { name: 'Whoever runs this deployment', url: `${issuer}/docs` },
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: issuer }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    components: {
      headers: COMMON_HEADERS,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The `access_token` of a login.',
        },
      },
    },
    paths,
  }
}

/** All routes, as `METHOD /path`, with the parts that the middlewares on their way have declared. */
export function operationsOf(router: Router): Map<string, OperationParts[]> {
  const everywhere = router.routes.filter((route) => route.method === 'ALL')
  const operations = new Map<string, OperationParts[]>()
  for (const route of router.routes.filter(({ method }) => method !== 'ALL')) {
    const key = `${route.method} ${route.path}`
    const inherited = everywhere.filter(
      ({ path }) => path.endsWith('/*') && route.path.startsWith(path.slice(0, -1)),
    )
    const parts = operations.get(key) ?? inherited.flatMap(({ handler }) => partsOf(handler) ?? [])
    operations.set(key, [...parts, ...[partsOf(route.handler) ?? []].flat()])
  }
  return operations
}

function describeOperation(method: string, path: string, declared: OperationParts[], issuer: string): object {
  const parts: OperationParts = {
    ...Object.assign({}, ...declared),
    responses: Object.assign({}, ...declared.map((part) => part.responses)),
    responseHeaders: mergeByStatus(declared),
  }
  const problems = [
    ...declared.flatMap((part) => part.problems ?? []),
    ...(path === '/health' ? [internalError] : ANYWHERE),
  ]
  const headers = Object.assign({}, ...declared.map((part) => part.headers ?? {})) as Record<string, string>
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
  const parameters = [
    ...describeParameters(
      'path',
      Object.fromEntries(names.map((name) => [name, (parts.path?.[name] ?? PathId)()])),
    ),
    ...describeParameters('query', parts.query?.().shape ?? {}),
    ...Object.entries(headers).map(([name, description]) => ({
      in: 'header',
      name,
      description,
      schema: { type: 'string' },
    })),
  ]
  return {
    operationId: parts.id ?? operationIdOf(method, path),
    tags: [parts.tag ?? 'system'],
    summary: parts.summary ?? '',
    description: parts.description ?? `${parts.summary}.`,
    security: parts.security ? [{ bearer: [] }] : [],
    ...(parts.security && parts.security !== 'signed_in' && permission(parts.security)),
    parameters,
    ...((parts.body ?? parts.form) && {
      requestBody: {
        required: true,
        content: {
          ...(parts.body && { 'application/json': { schema: toJsonSchema(parts.body(), 'input') } }),
          ...(parts.form && {
            'application/x-www-form-urlencoded': { schema: toJsonSchema(parts.form(), 'input') },
          }),
        },
      },
    }),
    responses: {
      ...describeResponses(parts),
      ...describeProblems(
        problems.map((problem) => problem()),
        issuer,
      ),
    },
  }
}

const permission = (name: Permission) => ({
  'x-permission': name,
  'x-roles': ROLES.filter((role) => hasPermission(role, name)),
})

const operationIdOf = (method: string, path: string) =>
  [method.toLowerCase(), ...path.split(/[^A-Za-z0-9]+/).filter((word) => word && word !== 'v1')].join('_')

const PathId = lazy(() => Id().meta({ description: 'As an answer has it.' }))

function describeParameters(place: 'path' | 'query', shape: Record<string, z.ZodType>): object[] {
  const { properties = {}, required = [] } = toJsonSchema(z.object(shape), 'input')
  return Object.entries(properties).map(([name, schema]) => {
    const { description } = schema as JsonSchema
    const isRequired = required.includes(name)
    return {
      in: place,
      name,
      schema,
      ...(isRequired && { required: true }),
      ...(description && { description }),
    }
  })
}

/** What each part says of each status, together. */
function mergeByStatus(declared: OperationParts[]): Record<number, Record<string, string>> {
  const merged: Record<number, Record<string, string>> = {}
  for (const { responseHeaders = {} } of declared) {
    for (const [status, headers] of Object.entries(responseHeaders)) {
      merged[Number(status)] = { ...merged[Number(status)], ...headers }
    }
  }
  return merged
}

const header = (description: string, required: boolean) => ({
  required,
  description,
  schema: { type: 'string' },
})

/** The headers of any answer: each stands here once, and is referred to. */
const COMMON_HEADERS = {
  ...Object.fromEntries(
    Object.entries(EVERY_ANSWER).map(([name, { description }]) => [name, header(description, true)]),
  ),
  ...Object.fromEntries(
    Object.entries(SOME_ANSWERS).map(([name, description]) => [name, header(description, false)]),
  ),
  [REQUEST_ID_HEADER.value]: header(REQUEST_ID_HEADER.description, true),
}

/** Headers as the document has them, from their names and what they say. */
const describeHeaders = (
  headers: Record<string, string>,
  isAlwaysThere = (_name: string) => true,
): object => ({
  ...Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, header(description, isAlwaysThere(name))]),
  ),
  ...Object.fromEntries(
    Object.keys(COMMON_HEADERS).map((name) => [name, { $ref: `#/components/headers/${name}` }]),
  ),
})

const PAGE_HEADERS = { 'Cross-Origin-Opener-Policy': 'Which windows may reach the page.' }
const LINK = { Link: 'Where the list goes on, if it does (RFC 8288).' }

function describeResponses({ responses = {}, responseHeaders = {} }: OperationParts): object {
  return Object.fromEntries(
    Object.entries(responses).map(([status, make]) => {
      const schema = typeof make === 'function' ? make() : make
      const isList =
        typeof schema === 'object' && schema !== null && 'pagination' in ((schema as z.ZodObject).shape ?? {})
      const headers = {
        ...responseHeaders[Number(status)],
        ...(isList && LINK),
        ...(schema === 'html' && PAGE_HEADERS),
      }
      return [
        status,
        {
          description: WORDS[status] ?? (schema ? 'Done.' : 'Done; no body.'),
          headers: describeHeaders(headers, (name) => name !== 'Link'),
          ...(schema === 'html' && { content: { 'text/html': { schema: { type: 'string' } } } }),
          ...(schema &&
            schema !== 'html' && {
              content: { 'application/json': { schema: toJsonSchema(schema, 'output') } },
            }),
        },
      ]
    }),
  )
}

const WORDS: Record<string, string> = { 304: 'The caller has it already; no body.' }

const PROBLEM_HEADERS: Record<string, [name: string, description: string]> = {
  accept: ['Accept', 'The media types that are taken.'],
  'accept-encoding': ['Accept-Encoding', 'The codings that are taken: none but the plain body.'],
  'retry-after': ['Retry-After', 'Seconds to wait before the next attempt.'],
  'www-authenticate': ['WWW-Authenticate', 'The scheme, and what was wrong with the token (RFC 6750).'],
}

function describeProblems(problems: AppError[], issuer: string): object {
  const byStatus = Map.groupBy(problems, (problem) => problem.status)
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => {
      const byCode = new Map(alike.map((problem) => [problem.code, problem]))
      const headers = alike.flatMap((problem) => Object.keys(problem.headers))
      return [
        String(status),
        {
          description: [...byCode].map(([code, { message }]) => `\`${code}\`: ${message}`).join('\n\n'),
          headers: describeHeaders(
            Object.fromEntries(headers.map((name) => PROBLEM_HEADERS[name]!)),
            (name) => alike.every((problem) => name.toLowerCase() in problem.headers),
          ),
          content: {
            'application/problem+json': {
              schema: {
                allOf: [
                  toJsonSchema(Problem(), 'output'),
                  { properties: { code: { enum: [...byCode.keys()] } } },
                ],
              },
              examples: Object.fromEntries(
                [...byCode].map(([code, problem]) => [
                  code,
                  { value: problemOf(problem, REQUEST_ID, issuer) },
                ]),
              ),
            },
          },
        },
      ]
    }),
  )
}
