import { Hono } from 'hono'
import * as z from 'zod'
import {
  createDocument,
  type ZodOpenApiObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiOverride,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import { hasPermission, type Permission } from './auth/permissions.ts'
import type { AppEnv } from './context.ts'
import { databaseUnavailable } from './database/main.ts'
import { Id } from './ids.ts'
import { type OperationParts, operation, partsOf } from './operation.ts'
import { type AppError, internalError, problemOf, unavailable } from './problem.ts'
import { ROLES } from './users/models.ts'

const REQUEST_ID = 'd0a5e3c8-6f1b-4c0e-9a57-1f0f3a2b4c5d'

const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    request_id: z.string(),
    errors: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457. `code` is stable; `detail` is for people.' })

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
const ANYWHERE = [
  internalError,
  () => unavailable('misconfigured', 'Settings are missing or unfit.', undefined, 60),
  () => databaseUnavailable(),
]

type Router = Pick<Hono<AppEnv>, 'routes'>

export function openapiRoutes(router: Router) {
  let made: { issuer: string; document: object } | undefined
  return new Hono<AppEnv>().get(
    '/openapi.json',
    operation({
      tag: 'system',
      summary: 'This document',
      answers: { 200: z.record(z.string(), z.unknown()) },
    }),
    (c) => {
      const issuer = c.var.config.ISSUER
      if (made?.issuer !== issuer) made = { issuer, document: describe(router, issuer) }
      return c.json(made.document, 200, { 'cache-control': 'public, max-age=300' })
    },
  )
}

/** The OpenAPI 3.1 document, made from what the router's own guards and validators say they check. */
export const describe = (router: Router, issuer: string): object =>
  createDocument(documentOf(router, issuer), { override: tidy })

/** Leaves out what zod says and nobody can use: the range of a double, and regular expressions of known formats. */
const tidy: ZodOpenApiOverride = ({ jsonSchema, io }) => {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.format) delete jsonSchema.pattern
  delete jsonSchema.propertyNames
  // A client that is generated today has to read the answers of tomorrow, with members that are added.
  if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
}

function documentOf(router: Router, issuer: string): ZodOpenApiObject {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {}
  for (const [route, parts] of operationsOf(router)) {
    const [method, path] = route.split(' ') as [string, string]
    const template = path.replace(/:(\w+)/g, '{$1}')
    paths[template] ??= {}
    paths[template][method.toLowerCase()] = describeOperation(method, template, parts)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Roster',
      version: '1',
      description: INTRODUCTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: issuer }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The `access_token` of a login.',
        },
        password: {
          type: 'oauth2',
          description: 'The same token, for clients that fetch it themselves.',
          flows: {
            password: { tokenUrl: '/v1/auth/login', refreshUrl: '/v1/auth/refresh_token', scopes: {} },
          },
        },
      },
    },
    paths: paths as ZodOpenApiPathsObject,
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

function describeOperation(
  method: string,
  path: string,
  declared: OperationParts[],
): ZodOpenApiOperationObject {
  const parts: OperationParts = Object.assign({}, ...declared)
  const problems = [
    ...declared.flatMap((part) => part.problems ?? []),
    ...(path === '/health' ? [internalError] : ANYWHERE),
  ]
  const headers = Object.assign({}, ...declared.map((part) => part.headers ?? {})) as Record<string, string>
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
  return {
    operationId: operationIdOf(method, path),
    tags: [parts.tag ?? 'system'],
    summary: parts.summary ?? '',
    ...(parts.description && { description: parts.description }),
    ...(parts.security && {
      security: [{ bearer: [] }, { password: [] }],
      ...(parts.security !== 'signed_in' && permission(parts.security)),
    }),
    requestParams: {
      ...(parameters.length > 0 && {
        path: z.object(
          Object.fromEntries(
            parameters.map((name) => [name, Id.meta({ description: 'As an answer has it.' })]),
          ),
        ),
      }),
      ...(parts.query && { query: parts.query }),
      ...(Object.keys(headers).length > 0 && {
        header: z.object(
          Object.fromEntries(
            Object.entries(headers).map(([name, description]) => [
              name,
              z.string().optional().meta({ description }),
            ]),
          ),
        ),
      }),
    },
    ...(parts.body && {
      requestBody: {
        required: true,
        content: {
          'application/json': { schema: parts.body },
          ...(parts.form && { 'application/x-www-form-urlencoded': { schema: parts.form } }),
        },
      },
    }),
    responses: { ...describeAnswers(parts), ...describeProblems(problems.map((problem) => problem())) },
  }
}

const permission = (name: Permission) => ({
  'x-permission': name,
  'x-roles': ROLES.filter((role) => hasPermission(role, name)),
})

const operationIdOf = (method: string, path: string) =>
  [method.toLowerCase(), ...path.split(/[^A-Za-z0-9]+/).filter((word) => word && word !== 'v1')].join('_')

/** Headers as the document has them, from their names and what they say. */
const describeHeaders = (headers: Record<string, string>) =>
  z.object(
    Object.fromEntries(
      Object.entries({ ...headers, 'X-Request-Id': 'Names this request in the logs.' }).map(
        ([name, description]) => [name, z.string().meta({ description })],
      ),
    ),
  )

function describeAnswers({ answers = {}, answerHeaders = {} }: OperationParts): ZodOpenApiResponsesObject {
  return Object.fromEntries(
    Object.entries(answers).map(([status, schema]) => [
      status,
      {
        description: schema ? 'Done.' : 'Done; no body.',
        headers: describeHeaders(answerHeaders),
        ...(schema === 'html' && { content: { 'text/html': { schema: z.string() } } }),
        ...(schema && schema !== 'html' && { content: { 'application/json': { schema } } }),
      },
    ]),
  )
}

const PROBLEM_HEADERS: Record<string, [name: string, description: string]> = {
  'retry-after': ['Retry-After', 'Seconds to wait before the next attempt.'],
  'www-authenticate': ['WWW-Authenticate', 'The scheme, and what was wrong with the token (RFC 6750).'],
}

function describeProblems(problems: AppError[]): ZodOpenApiResponsesObject {
  const byStatus = Map.groupBy(problems, (problem) => problem.status)
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => {
      const byCode = new Map(alike.map((problem) => [problem.code, problem]))
      const headers = alike.flatMap((problem) => Object.keys(problem.headers))
      return [
        String(status),
        {
          description: [...byCode].map(([code, { message }]) => `\`${code}\`: ${message}`).join('\n\n'),
          headers: describeHeaders(Object.fromEntries(headers.map((name) => PROBLEM_HEADERS[name]!))),
          content: {
            'application/problem+json': {
              schema: Problem,
              examples: Object.fromEntries(
                [...byCode].map(([code, problem]) => [code, { value: problemOf(problem, REQUEST_ID) }]),
              ),
            },
          },
        },
      ]
    }),
  )
}
