import { Hono } from 'hono'
import * as z from 'zod'
import {
  createDocument,
  type ZodOpenApiObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import type { AppEnv } from './context.ts'
import { databaseUnavailable } from './database/main.ts'
import { type OperationParts, operation, partsOf } from './operation.ts'
import { type AppError, internalError, unavailable } from './problem.ts'

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
export const describe = (router: Router, issuer: string): object => createDocument(documentOf(router, issuer))

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
      description:
        'User management at the edge. Every 4xx and 5xx is a problem document with a stable `code`.',
    },
    servers: [{ url: issuer }],
    tags: ['auth', 'mail', 'users', 'invitations', 'activity', 'system'].map((name) => ({ name })),
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        password: {
          type: 'oauth2',
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
      ...(parts.security !== 'signed_in' && { 'x-permission': parts.security }),
    }),
    requestParams: {
      ...(parameters.length > 0 && {
        path: z.object(
          Object.fromEntries(parameters.map((name) => [name, z.string().meta({ format: 'uuid' })])),
        ),
      }),
      ...(parts.query && { query: parts.query }),
      ...(Object.keys(headers).length > 0 && {
        header: z.object(
          Object.fromEntries(
            Object.entries(headers).map(([name, description]) => [
              name,
              z.string().meta({ description }).optional(),
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

const operationIdOf = (method: string, path: string) =>
  [method.toLowerCase(), ...path.split(/[^A-Za-z0-9]+/).filter((word) => word && word !== 'v1')].join('_')

function describeAnswers({ answers = {}, answerHeaders = {} }: OperationParts): ZodOpenApiResponsesObject {
  const descriptions = { 'X-Request-Id': 'Names this request in the logs.', ...answerHeaders }
  const headers = z.object(
    Object.fromEntries(
      Object.entries(descriptions).map(([name, description]) => [name, z.string().meta({ description })]),
    ),
  )
  return Object.fromEntries(
    Object.entries(answers).map(([status, schema]) => [
      status,
      {
        description: schema ? 'Done.' : 'Done; no body.',
        headers,
        ...(schema && { content: { 'application/json': { schema } } }),
      },
    ]),
  )
}

function describeProblems(problems: AppError[]): ZodOpenApiResponsesObject {
  const byStatus = Map.groupBy(problems, (problem) => problem.status)
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => {
      const sentences = new Map(alike.map((problem) => [problem.code, problem.message]))
      const examples = Object.fromEntries(
        [...sentences].map(([code, detail]) => [
          code,
          { value: { type: `urn:roster:problem:${code}`, status, code, detail } },
        ]),
      )
      return [
        String(status),
        {
          description: [...sentences].map(([code, detail]) => `\`${code}\`: ${detail}`).join('\n\n'),
          content: { 'application/problem+json': { schema: Problem, examples } },
        },
      ]
    }),
  )
}
