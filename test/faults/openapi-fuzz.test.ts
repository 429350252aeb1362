import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { hasPermission, type Permission } from '../../src/access/permissions.ts'
import type { Role } from '../../src/users/models.ts'
import { type Api, openApi, PASSWORD } from '../support/api.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/*
 * Checks the API's document against the API. Requests are generated from it: valid ones, ones with one fault, and
 * absurd ones, as nobody, user, manager and administrator; and every answer is compared with it. A failure prints the
 * request, and the seed that repeats it: put it beside `numRuns`.
 */

interface Schema {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  format?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
}
type Content = Record<string, { schema: Schema }>
interface Operation {
  'x-permission'?: Permission
  security: unknown[]
  parameters?: { in: 'path' | 'query' | 'header'; name: string; schema: Schema }[]
  requestBody?: { content: Content }
  responses: Record<
    string,
    { content?: Content; headers?: Record<string, { $ref?: string; required?: boolean }> }
  >
}

let api: Api
let operations: Record<string, Operation>
let schemas: Record<string, Schema>
/** Those that every answer has. */
let headers: Record<string, { required: boolean }>

/** The document is the same whether or not addresses must be verified. */
const MODES = ['optional', 'required'] as const

async function open(mode: (typeof MODES)[number]) {
  for (const list of Object.values(known)) list.length = 0
  api = openApi({ ...(await freshUpstreams()).bindings, EMAIL_VERIFICATION: mode })
  const answer = await api.send<{
    paths: Record<string, Record<string, Operation>>
    components: { schemas: typeof schemas; headers: typeof headers }
  }>('GET', '/openapi.json')
  const document = JSON.parse(
    answer.text.replaceAll('#/components/schemas/', '#/$defs/'),
  ) as typeof answer.body
  schemas = document.components.schemas
  headers = document.components.headers
  operations = Object.fromEntries(
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const,
      ),
    ),
  )
  // Pages for people.
  delete operations['GET /docs']
  delete operations['GET /problems/{code}']
}

const validators = new Map<string, z.ZodType>()
function errorsOf(schema: Schema, value: unknown): unknown[] {
  // In JSON Schema a format is a remark (2020-12, validation, section 7.2.1); patterns are not.
  const key = JSON.stringify(schema)
  const validator =
    validators.get(key) ??
    z.fromJSONSchema(
      JSON.parse(JSON.stringify({ ...schema, $defs: schemas }).replaceAll('"format":"email",', '')),
    )
  validators.set(key, validator)
  return validator.safeParse(value).error?.issues ?? []
}

/** What only the running system knows gets a name in a request, which is resolved when it is sent. */
const LIVE = ['person', 'gone', 'session', 'refresh token', 'cursor', 'new address', 'known address'] as const
class Live {
  readonly kind: (typeof LIVE)[number]
  readonly index: number
  constructor(kind: Live['kind'], index: number) {
    this.kind = kind
    this.index = index
  }
}
const live = (...kinds: Live['kind'][]) =>
  fc.tuple(fc.constantFrom(...kinds), fc.nat(50)).map(([kind, index]) => new Live(kind, index))

const absurd = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom<unknown>(
      null,
      '',
      ' ',
      0,
      -1,
      Number.MAX_VALUE,
      1.5,
      true,
      [],
      {},
      [[]],
      'null',
      '__proto__',
      '../..',
      "' OR 1=1 --",
      '%00',
      '\u0000',
      '\ud800',
      '💩',
      '\u202e',
      '{{7*7}}',
      '<script>',
      'x'.repeat(5000),
      '9'.repeat(400),
      '2026-02-30T00:00:00Z',
      '9999-12-31T23:59:59Z',
      { $ne: null },
      ['a', 'b'],
      { toString: 1 },
    ),
  },
  { weight: 1, arbitrary: fc.jsonValue() as fc.Arbitrary<unknown> },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
)

/** A value that the schema allows. */
function valid(schema: Schema, name = ''): fc.Arbitrary<unknown> {
  if (schema.$ref) return valid(schemas[schema.$ref.split('/').at(-1)!]!, name)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((one) => valid(one, name)))
  if (schema.properties) return validObject(schema)
  if (schema.type === 'integer')
    return fc.integer({ min: schema.minimum ?? 0, max: Math.min(schema.maximum ?? 1000, 1000) })
  if (schema.type === 'boolean') return fc.boolean()
  if (schema.type === 'array') return fc.array(valid(schema.items!, name), { maxLength: 3 })
  return validText(schema, name)
}

function validText({ format, minLength = 0, maxLength = 1000 }: Schema, name: string): fc.Arbitrary<unknown> {
  if (name === 'cursor') return live('cursor')
  if (name === 'refresh_token') return live('refresh token')
  if (name === 'hard') return fc.constantFrom('true', 'false')
  if (format === 'uuid') return live('person', 'person', 'gone', 'session')
  if (format === 'email' || name === 'email' || name === 'username')
    return live('new address', 'known address')
  // The last one is refused as too weak before it is hashed, which is enough here most of the time.
  if (format === 'password')
    return fc.constantFrom(PASSWORD, ...Array<string>(9).fill('a'.repeat(Math.max(12, minLength))))
  if (format === 'date-time')
    return fc
      .date({ min: new Date('2000-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString())
  return fc.string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, 40) })
}

const validObject = ({ properties = {}, required = [] }: Schema) =>
  fc.record(
    Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, valid(schema, name)])),
    { requiredKeys: required },
  )

/** An object with one fault: a member missing, an extra one, or one of another type. */
const nearly = (schema: Schema): fc.Arbitrary<unknown> => {
  const resolved = schema.$ref ? schemas[schema.$ref.split('/').at(-1)!]! : schema
  const names = Object.keys(resolved.properties ?? {})
  return fc
    .tuple(
      validObject(resolved),
      fc.constantFrom('without', 'with', 'other'),
      fc.constantFrom(...names, 'role', '__proto__'),
      absurd,
    )
    .map(([object, how, name, value]) => {
      if (how === 'without') return Object.fromEntries(Object.entries(object).filter(([key]) => key !== name))
      return {
        ...object,
        ...JSON.parse(
          `{${JSON.stringify(how === 'with' ? `${name}_` : name)}:${JSON.stringify(value) ?? 'null'}}`,
        ),
      }
    })
}

const WHO = ['nobody', 'user', 'manager', 'admin'] as const

/** A request as a plain value that fast-check can print. */
const requestOf = (route: string) => {
  const { parameters = [], requestBody } = operations[route]!
  const json = requestBody?.content['application/json']?.schema
  const form = requestBody?.content['application/x-www-form-urlencoded']?.schema
  const isHashed = JSON.stringify(json?.$ref ? schemas[json.$ref.split('/').at(-1)!] : json)?.includes(
    'password',
  )
  const texts = (place: 'path' | 'query' | 'header') =>
    parameters
      .filter((parameter) => parameter.in === place)
      .map(
        ({ name, schema }) =>
          [
            name,
            fc.oneof({ weight: 5, arbitrary: valid(schema, name) }, { weight: 1, arbitrary: absurd }),
          ] as const,
      )
  const sentHeaders = fc.record(
    {
      'If-Match': fc.constantFrom('*', '"1"', '"2"', 'W/"1"', '"x"', ''),
      'Idempotency-Key': fc.constantFrom('key-1234', 'short', 'key-5678'),
      'X-Request-Id': fc.constantFrom('request-1', '', 'a b'),
      'Content-Type': fc.constantFrom(
        'application/json',
        'application/json; charset=utf-8',
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
      ),
      Accept: fc.constantFrom('*/*', 'text/html'),
      Origin: fc.constant('https://evil.test'),
    },
    { requiredKeys: [] },
  )
  return fc.record({
    route: fc.constant(route),
    who: fc.constantFrom(...WHO),
    path: fc.record(Object.fromEntries(texts('path'))),
    query: fc.record(Object.fromEntries(texts('query')), { requiredKeys: [] }),
    strangeQuery: fc.oneof(
      { weight: 9, arbitrary: fc.constant('') },
      {
        weight: 1,
        arbitrary: fc.constantFrom('x=1', 'limit=1&limit=2', '%', '__proto__=1', 'access_token=x'),
      },
    ),
    headers: fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: sentHeaders }),
    body: !json
      ? fc.option(form ? nearly(form).map((value) => ({ form: value })) : fc.constant(undefined), {
          nil: undefined,
        })
      : fc.oneof(
          // A good password costs a hash, so it is rare.
          { weight: isHashed ? 1 : 12, arbitrary: valid(json).map((value) => ({ value })) },
          { weight: 8, arbitrary: nearly(json).map((value) => ({ value })) },
          { weight: 2, arbitrary: absurd.map((value) => ({ value })) },
          {
            weight: 1,
            arbitrary: fc
              .constantFrom('', '{', '{"a":1,"a":2}', '[]]', '\ufeff{}', '['.repeat(40), 'x=1', '\u0000')
              .map((raw) => ({ raw })),
          },
          ...(form ? [{ weight: 2, arbitrary: nearly(form).map((value) => ({ form: value })) }] : []),
        ),
  })
}
type Sent = ReturnType<typeof requestOf> extends fc.Arbitrary<infer R> ? R : never

/** What exists at the moment, for `Live`. */
const known = {
  cursors: [] as string[],
  refreshTokens: [] as string[],
  people: [] as { id: string; email: string }[],
  gone: [] as string[],
}
const actors: Partial<Record<Role, Awaited<ReturnType<Api['quickActor']>>>> = {}

function lookUp({ kind, index }: Live): string {
  const pick = (values: string[]) => values.at(index % Math.max(1, values.length)) ?? 'none'
  const people = known.people.slice(-20)
  switch (kind) {
    case 'person':
      return pick(people.map(({ id }) => id))
    case 'known address':
      return pick(people.map(({ email }) => email))
    case 'gone':
      return pick(known.gone.slice(-20))
    case 'session':
      return actors.user!.sessionId
    case 'refresh token':
      return pick(known.refreshTokens.slice(-20))
    case 'cursor':
      return pick(known.cursors.slice(-20))
    case 'new address':
      return `${crypto.randomUUID()}@people.test`
  }
}
const settle = (value: unknown): unknown => {
  if (value instanceof Live) return lookUp(value)
  if (Array.isArray(value)) return value.map(settle)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, settle(member)]))
}
const textOf = (value: unknown) =>
  (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toWellFormed()

async function send(sent: Sent) {
  const [method, template] = sent.route.split(' ') as [string, string]
  // A segment that is empty or made of dots would be another address.
  const segment = (name: string) =>
    encodeURIComponent(textOf(settle((sent.path as Record<string, unknown>)[name]))).replace(/^\.*$/, 'dots')
  const path = template.replace(/\{(\w+)\}/g, (_, name: string) => segment(name))
  const query = Object.entries(settle(sent.query) as object).map(
    ([name, value]) => [name, textOf(value)] as const,
  )
  const search = [
    new URLSearchParams(query.map(([name, value]) => [name, value])).toString(),
    sent.strangeQuery,
  ]
    .filter(Boolean)
    .join('&')
  const body = sent.body as { value: unknown } | { raw: string } | { form: object } | undefined
  const headers: Record<string, string> = {
    ...(body && 'value' in body && { 'Content-Type': 'application/json' }),
    ...sent.headers,
  }
  const raw = !body
    ? undefined
    : 'raw' in body
      ? body.raw
      : 'form' in body
        ? new URLSearchParams(
            Object.entries(settle(body.form) as object).map(([name, value]) => [name, textOf(value)]),
          )
        : (JSON.stringify(settle(body.value)) ?? 'null')
  const token = sent.who === 'nobody' ? undefined : actors[sent.who]!.token
  const answer = await api.send<Record<string, unknown>>(method, `${path}${search && `?${search}`}`, {
    headers,
    token,
    ...(raw !== undefined && { raw }),
  })
  return {
    answer,
    json:
      typeof raw === 'string' && headers['Content-Type']?.startsWith('application/json')
        ? parsed(raw)
        : undefined,
    query,
    path,
  }
}
const parsed = (text: string) => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** A value of the query in the type that its schema has. */
function asTyped(value: string, type: unknown): unknown {
  if (type === 'integer') return Number(value)
  return type === 'boolean' && /^(true|false)$/.test(value) ? value === 'true' : value
}

/** Every header that is sent must be declared for its status, and every required one must be sent. */
function expectHeaders(sent: Headers, declared: Record<string, { $ref?: string; required?: boolean }>) {
  const names = Object.keys(declared).map((name) => name.toLowerCase())
  // The content's own (OpenAPI 3.1, response object).
  const undeclared = [...sent.keys()].filter(
    (name) => !/^content-(type|length)$/.test(name) && !names.includes(name),
  )
  expect(undeclared, 'headers that are not declared').toEqual([])
  const missing = Object.entries(declared)
    .filter(([, { $ref, required }]) => ($ref ? headers[$ref.split('/').at(-1)!]!.required : required))
    .filter(([name]) => !sent.has(name))
  expect(missing, 'headers that are declared and not sent').toEqual([])
}

/** The checks of Schemathesis, by the names they have there. */
function check(sent: Sent, { answer, json, query }: Awaited<ReturnType<typeof send>>) {
  const operation = operations[sent.route]!
  const { status } = answer
  const isDone = status < 400
  expect(status, 'not_a_server_error').toBeLessThan(500)
  // Errors of pages are pages: their tests are in test/mail/pages.test.ts.
  if (answer.headers.get('content-type')?.startsWith('text/html')) return
  const response = operation.responses[status]
  const statuses = Object.keys(operation.responses)
  expect(statuses, `status_code_conformance: ${answer.text}`).toContain(String(status))
  expectHeaders(answer.headers, response!.headers ?? {})
  const type = answer.headers.get('content-type')?.split(';')[0]
  const declared = Object.keys(response!.content ?? {})
  if (type || declared.length > 0) expect(declared, 'content_type_conformance').toContain(type)
  if (type) {
    const content = answer.body ?? answer.text
    expect(errorsOf(response!.content![type]!.schema, content), 'response_schema_conformance').toEqual([])
  } else expect(answer.text).toBe('')

  const requestSchema = operation.requestBody?.content['application/json']?.schema
  if (isDone && requestSchema && json !== undefined)
    expect(errorsOf(requestSchema, json), 'negative_data_rejection').toEqual([])
  const parameters = operation.parameters?.filter((parameter) => parameter.in === 'query') ?? []
  for (const [name, value] of isDone ? query : []) {
    const schema = parameters.find((parameter) => parameter.name === name)!.schema
    expect(errorsOf(schema, asTyped(value, schema.type)), `negative_data_rejection ${name}`).toEqual([])
  }
  if (isDone && parameters.length > 0) expect(sent.strangeQuery, 'negative_data_rejection').toBe('')

  if (operation.security.length > 0 && sent.who === 'nobody')
    expect([401, 429], 'ignored_auth').toContain(status)
  const permission = operation['x-permission']
  if (permission && sent.who !== 'nobody' && !hasPermission(sent.who, permission))
    expect([401, 403], 'ignored_auth').toContain(status)
}

/** Updates what is known: later requests use what an answer contains, and a caller who was logged out is replaced. */
async function learn(sent: Sent, { answer, path }: Awaited<ReturnType<typeof send>>) {
  const body = (answer.body ?? {}) as {
    id?: string
    email?: string
    refresh_token?: string
    pagination?: { next_cursor: string | null }
  }
  if (body.pagination?.next_cursor) known.cursors.push(body.pagination.next_cursor)
  if (body.refresh_token) known.refreshTokens.push(body.refresh_token)
  if (answer.status === 201 && !path.startsWith('/v1/invitations'))
    known.people.push({ id: body.id!, email: body.email! })
  const [, gone] = /^\/v1\/users\/([\da-f-]{36})$/.exec(path) ?? []
  if (answer.status === 204 && gone) {
    known.gone.push(gone)
    await addPerson()
  }
  const endsTokens =
    answer.status === 401 || (answer.status < 300 && /logout|password|DELETE/.test(sent.route))
  if (sent.who !== 'nobody' && endsTokens) await replace(sent.who)
}
const replace = async (role: Role) => {
  actors[role] = await api.quickActor({ role })
  known.refreshTokens.push(actors[role].refreshToken)
}
const addPerson = async () =>
  known.people.push(
    await api.person({ role: (['user', 'user', 'manager'] as const)[known.people.length % 3]! }),
  )

test.each(MODES)(
  'IV2: whatever is sent, the answer is what the document says, and never a 5xx (%s verification)',
  async (mode) => {
    await open(mode)
    for (const role of ['user', 'manager', 'admin'] as const) await replace(role)
    for (let i = 0; i < 10; i++) await addPerson()
    const statuses: Record<string, number> = {}
    const request = fc.constantFrom(...Object.keys(operations)).chain(requestOf)
    await fc.assert(
      fc.asyncProperty(request, async (sent) => {
        const result = await send(sent)
        check(sent, result)
        await learn(sent, result)
        statuses[result.answer.status] = (statuses[result.answer.status] ?? 0) + 1
      }),
      // Each request changes the system, so shrinking is useless.
      { numRuns: rounds(250, 10_000), endOnFailure: true },
    )
    // A generator whose requests are always refused proves little.
    const total = Object.values(statuses).reduce((sum, count) => sum + count)
    expect((statuses[200] ?? 0) / total).toBeGreaterThan(0.1)
    expect(Object.keys(statuses)).toEqual(
      expect.arrayContaining(['200', '204', '400', '401', '403', '404', '415', '422']),
    )
  },
)

test('IV2: somebody who is erased is gone from every path that names them (use_after_free)', async () => {
  await open('optional')
  for (const role of ['user', 'manager', 'admin'] as const) await replace(role)
  const ada = await api.quickActor()
  const admin = actors.admin!
  expect((await api.send('DELETE', `/v1/users/${ada.id}`, { token: admin.token })).status).toBe(204)
  const asManager = await api.send('GET', `/v1/users/${ada.id}`, { token: actors.manager!.token })
  expect([asManager.status, asManager.body.code]).toEqual([404, 'user_not_found'])
  expect((await api.send('DELETE', `/v1/users/${ada.id}?hard=true`, { token: admin.token })).status).toBe(204)

  const bodies: Record<string, object> = {
    'PATCH /v1/users/{id}': { name: 'Eve' },
    'POST /v1/users/{id}/disable': { reason: 'x' },
  }
  const named = Object.keys(operations).filter((route) => route.includes('/v1/users/{id}'))
  for (const route of named) {
    const [method, template] = route.split(' ') as [string, string]
    const answer = await api.send(method, template.replace('{id}', ada.id), {
      token: admin.token,
      body: bodies[route],
    })
    // The history outlives the person, without a name. Somebody who is gone has no sessions.
    if (method === 'GET' && /activity|sessions/.test(route)) expect(answer.text).not.toContain(ada.email)
    else expect([route, answer.status, answer.body.code]).toEqual([route, 404, 'user_not_found'])
  }
  expect((await api.send('GET', '/v1/users/me', { token: ada.token })).status).toBe(401)
})
