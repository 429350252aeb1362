import * as z from 'zod'
import { hasPermission, type Permission } from '../access/permissions.ts'
import type { AppEnv } from '../context.ts'
import { databaseUnavailable, schemaMismatch } from '../database/main.ts'
import { Hono } from '../http/hono.ts'
import {
  isApi,
  type Operation,
  type OperationParts,
  operation,
  partsOf,
  type Rows,
  type Tag,
} from '../http/operation.ts'
import { revalidated } from '../http/precondition.ts'
import { internalError, unavailable } from '../http/problem.ts'
import { ACCESS_TOKEN_SECONDS } from '../sessions/access-tokens.ts'
import { SESSION_COOKIE } from '../sessions/cookie.ts'
import { ROLES } from '../users/models.ts'
import { inWords } from '../values/durations.ts'
import { Id } from '../values/ids.ts'
import { lazy } from '../values/lazy.ts'
import { type JsonSchema, toJsonSchema } from './json-schema.ts'
import { COMMON_HEADERS, describeProblems, describeResponses } from './responses.ts'

const INTRODUCTION = `Sign-up, sessions, roles, listing, deletion and history of users.

\`POST /v1/auth/login\` gives an access token for ${inWords(ACCESS_TOKEN_SECONDS * 1000)}, to send as \`Authorization: Bearer …\`, and a refresh token for the next pair.

Every 4xx and 5xx is a problem document (RFC 9457) with a stable \`code\` and the \`request_id\` that is in the logs. Besides what each operation lists, an address that does not exist answers 404 \`not_found\`, and one that does not take the method 405 \`method_not_allowed\` with \`Allow\`.

Lists continue with \`cursor\`. A change can be made to depend on the version that was read, with \`If-Match\`; a creation can be repeated safely, with \`Idempotency-Key\`.`

const TAGS: Record<Tag, string> = {
  auth: 'Sign up, log in, and keep a session.',
  factors: 'Second factors of your own: an authenticator app, passkeys, recovery codes.',
  identities: 'Providers that users sign in with, and which of them are connected to your account.',
  mail: 'Confirm an address, reset a password, change an address: by a link or a code that is mailed.',
  users: 'Yourself, and the users you manage.',
  invitations: 'Ask somebody to join.',
  signup_blocks: 'Who may not sign up.',
  keys: 'Keys that let programs act for you.',
  clients: 'Apps that sign users in with Roster, and services that act for themselves.',
  webhooks: 'Other systems that hear of changes, by Standard Webhooks.',
  oauth: 'What apps ask: OAuth 2.1 and OpenID Connect. Answers and errors follow their standards.',
  activity: 'What happened, to whom, and by whom.',
  system: 'Health, keys and this document.',
}

/** Problems that every route but /health can also answer. */
export const ANYWHERE = [
  internalError,
  () => unavailable('misconfigured', 'Settings are missing or unfit.', undefined, 60),
  () => databaseUnavailable(),
  () => schemaMismatch(),
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
      description: 'OpenAPI 3.1.',
      responses: { 200: () => z.looseObject({ openapi: z.string() }) },
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

/** Moves named schemas to `components`, so that each is described once. */
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

/** Pages are for people and not part of the API: they declare no answers. */
export const isPage = (parts: OperationParts[]) => !parts.some(({ responses }) => responses)

function documentOf(router: Router, issuer: string) {
  const paths: Record<string, Record<string, object>> = {}
  for (const [route, parts] of operationsOf(router)) {
    if (isPage(parts)) continue
    const [method, path] = route.split(' ') as [string, string]
    const template = path.replace(/:(\w+)/g, '{$1}')
    paths[template] ??= {}
    paths[template][method.toLowerCase()] = describeOperation(template, parts, issuer)
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
          description:
            'The `access_token` of a login; where a permission is named, and for `GET /v1/users/me`, a key (`rk_…`), too.',
        },
        cookie: {
          type: 'apiKey',
          in: 'cookie',
          name: SESSION_COOKIE,
          description: 'Of a login in a browser. What changes something takes an `Origin` that is allowed.',
        },
      },
    },
    paths,
  }
}

/** All routes, as `METHOD /path`, with the parts that their middlewares declare. */
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

function describeOperation(path: string, declared: OperationParts[], issuer: string): object {
  const parts: Operation = {
    ...Object.assign({}, ...declared),
    responses: Object.assign({}, ...declared.map((part) => part.responses)),
    responseHeaders: mergeByStatus(declared),
  }
  const problems = [
    ...declared.flatMap((part) => part.problems ?? []),
    ...(isApi(path) ? declared.flatMap((part) => part.apiProblems ?? []) : []),
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
    operationId: parts.id,
    tags: [parts.tag],
    summary: parts.summary,
    description: parts.description,
    // By cookie, a body has to be JSON.
    security: parts.security ? [{ bearer: [] }, ...(parts.rows ? [] : [{ cookie: [] }])] : [],
    ...(parts.security && parts.security !== 'signed_in' && permission(parts.security)),
    parameters,
    ...((parts.body ?? parts.form ?? parts.rows) && {
      requestBody: {
        required: !parts.form?.().isOptional(),
        content: {
          ...(parts.rows && describeRows(parts.rows)),
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
        Object.values(parts.responses ?? {}).includes('html'),
      ),
    },
  }
}

/** Each line of NDJSON is a JSON object; a CSV has the same names in its first line. */
const describeRows = ({ types, schema }: Rows) =>
  Object.fromEntries(
    types.map((type) => [
      type,
      { schema: type.endsWith('json') ? toJsonSchema(schema(), 'input') : { type: 'string' } },
    ]),
  )

const permission = (name: Permission) => ({
  'x-permission': name,
  'x-roles': ROLES.filter((role) => hasPermission(role, name)),
})

const PathId = lazy(() => Id().meta({ description: 'As in an answer.' }))

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

/** Merges the descriptions of all parts, by status. */
function mergeByStatus(declared: OperationParts[]): Record<number, Record<string, string>> {
  const merged: Record<number, Record<string, string>> = {}
  for (const { responseHeaders = {} } of declared) {
    for (const [status, headers] of Object.entries(responseHeaders)) {
      merged[Number(status)] = { ...merged[Number(status)], ...headers }
    }
  }
  return merged
}
