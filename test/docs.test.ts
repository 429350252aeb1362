import { expect, test } from 'vitest'
import { app } from '../src/app.ts'
import { Env } from '../src/config/env.ts'
import { describe as describeApi, operationsOf } from '../src/docs/openapi.ts'
import { problemsOf } from '../src/docs/problems.ts'
import { openApi } from './support/api.ts'

const api = openApi()

interface Described {
  operationId: string
  summary: string
  description: string
  security: object[]
  parameters?: { name: string; description?: string; schema: { enum?: unknown[] } }[]
  requestBody?: { content: object }
  responses: Record<
    string,
    {
      content?: Record<
        string,
        {
          schema: { allOf: { properties?: { code?: { enum: string[] } } }[] }
          examples?: Record<string, { value: object }>
        }
      >
    }
  >
}
const document = describeApi(app, 'http://roster.test') as {
  paths: Record<string, Record<string, Described>>
}
const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))

test('AC2, HD3: the page may run its own script and style, talk to its own origin, and nothing else', async () => {
  const { status, headers, text } = await api.send('GET', '/docs')
  expect(status).toBe(200)
  expect(headers.get('content-type')).toMatch(/^text\/html/)
  expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
  const directives = headers.get('content-security-policy')!.split('; ')
  expect(directives.sort()).toEqual([
    "base-uri 'none'",
    "connect-src 'self'",
    "default-src 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    'img-src data:',
    "require-trusted-types-for 'script'",
    "script-src 'self'",
    "style-src 'self'",
    "trusted-types 'none'",
  ])
  expect(text.match(/<(script|style|link rel="stylesheet")[^>]*>/g)).toEqual([
    '<link rel="stylesheet" href="/explorer.css">',
    '<script src="/explorer.js" type="module">',
  ])
})

test('AC2: if a style is in the page, every answer has its own nonce', async () => {
  const policies = await Promise.all(
    [1, 2].map(async () =>
      (await api.send('GET', '/problems/not_found')).headers.get('content-security-policy'),
    ),
  )
  expect(policies[0]).toContain("style-src 'nonce-")
  expect(policies[0]).not.toBe(policies[1])
})

test('Every operation documents its success, and every problem as it is sent', () => {
  for (const { operationId, responses } of operations) {
    expect(Object.keys(responses)[0], operationId).toMatch(/^20[0124]$/)
    for (const [status, { content }] of Object.entries(responses)) {
      // OAuth endpoints answer as OAuth requires.
      if (status < '400' || content?.['application/json']) continue
      for (const [code, { value }] of Object.entries(content!['application/problem+json']!.examples!)) {
        expect(value, `${operationId} ${code}`).toMatchObject({
          type: `http://roster.test/problems/${code}`,
          title: expect.stringMatching(/^[A-Z]/),
          status: Number(status),
          detail: expect.stringMatching(/\.$/),
          code,
          request_id: expect.any(String),
        })
      }
    }
  }
})

test('Every route of the API is in the document, with a name for clients, and says who may call it', () => {
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  const routes = [...operationsOf(app).keys()].map((route) => route.replace(/:(\w+)/g, '{$1}'))
  expect(routes.filter((route) => route.includes(' /v1/') && !described.includes(route))).toEqual([])
  const names = operations.map(({ operationId }) => operationId)
  expect(new Set(names).size).toBe(names.length)
  for (const { operationId, security } of operations) {
    expect(operationId).toMatch(/^[a-z][A-Za-z]+$/)
    // By cookie, a body has to be JSON, and an import is none.
    const byCookie = operationId === 'importUsers' ? [] : [{ cookie: [] }]
    expect([[], [{ bearer: [] }, ...byCookie]], operationId).toContainEqual(security)
  }
})

test('Every endpoint of OAuth documents the form that it takes, and that it may not be there', () => {
  const endpoints = Object.entries(document.paths).filter(([path]) => path.startsWith('/oauth/'))
  expect(endpoints.length).toBe(6)
  for (const [path, { post }] of endpoints) {
    const [type] = Object.keys(post!.requestBody?.content ?? {})
    expect([path, type]).toEqual([path, 'application/x-www-form-urlencoded'])
    expect(Object.keys(post!.responses), path).toContain('404')
  }
})

test('Every operation has a description that says more than its summary', () => {
  const poor = operations.filter(
    ({ summary, description }) => !/^[A-Z0-9].*\.$/s.test(description) || description.startsWith(summary),
  )
  expect(poor.map(({ operationId }) => operationId)).toEqual([])
})

test('The codes of a problem are a closed set', () => {
  for (const { operationId, responses } of operations) {
    for (const [status, { content }] of Object.entries(responses)) {
      // OAuth endpoints answer as OAuth requires.
      if (status < '400' || content?.['application/json']) continue
      const { schema, examples } = content!['application/problem+json']!
      expect(schema.allOf[1]!.properties!.code!.enum, operationId).toEqual(Object.keys(examples!))
    }
  }
})

test('Every parameter has a description, unless its values speak for themselves', () => {
  for (const { operationId, parameters = [] } of operations) {
    for (const { name, description, schema } of parameters) {
      if (!schema.enum) expect(description, `${operationId} ${name}`).toBeTruthy()
    }
  }
})

test('An operation that hashes says that hashing can be busy', () => {
  const hashing = operations.filter(({ responses }) =>
    Object.values(responses['503']?.content ?? {}).some(({ examples }) => examples?.hashing_busy),
  )
  expect(hashing.map(({ operationId }) => operationId).sort()).toEqual([
    'acceptInvitation',
    'changeEmail',
    'changePassword',
    'createUser',
    'deleteMe',
    'disownFactor',
    'logIn',
    'reauthenticate',
    'resetPassword',
    'signUp',
    'submitLinkPage',
    'verifyEmail',
  ])
})

const texts = import.meta.glob<string>(
  ['../*.md', '../docs/**/*.md', '../client/*.md', '../.dev.vars.example', '!../docs/checks.md'],
  { query: '?raw', import: 'default', eager: true },
)
/** The cells of each row of a document's tables whose first cell is code. */
const rowsOf = (file: string) =>
  [...texts[file]!.matchAll(/^\| (`.*) \|$/gm)].map(([, row]) => row!.split(' | ').map((cell) => cell.trim()))

test('docs/errors.md has every code, with its status', () => {
  const sources = Object.values(
    import.meta.glob<string>('../src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true }),
  ).join('')
  const made = [
    ...sources.matchAll(/new AppError\(\s*(\d{3}),\s*'([a-z_]+)'/g),
    ...sources.matchAll(/unavailable\(()\s*'([a-z_]+)'/g),
  ].map(([, status, code]) => [code!, status || '503'])
  const known = [...problemsOf(app)].map(([code, { error }]) => [code, String(error.status)])
  const told = rowsOf('../docs/errors.md').flatMap(([codes, status]) =>
    [...codes!.matchAll(/`([a-z_]+)`/g)].map(([, code]) => [code!, status!]),
  )
  expect(told.length).toBe(new Set(told.map(([code]) => code)).size)
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries([...made, ...known]))
})

test('docs/settings.md has every setting, with its default, and .dev.vars.example names each', () => {
  const { shape } = Env()
  const told = Object.fromEntries(
    rowsOf('../docs/settings.md').map(([name, preset]) => [name!.replaceAll('`', ''), preset]),
  )
  expect(Object.keys(told).sort()).toEqual(Object.keys(shape).sort())
  for (const [name, field] of Object.entries(shape)) {
    const { success, data } = field.safeParse(undefined)
    if (!success) expect(told[name], name).toBe('')
    else if (typeof data === 'string' || typeof data === 'number')
      expect(told[name], name).toBe(`\`${data}\``)
    else expect(told[name], name).not.toBe('')
    expect(texts['../.dev.vars.example'], name).toMatch(new RegExp(`^(# )?${name}=`, 'm'))
  }
})

test('Every route that a document names exists', () => {
  const routes = new Set([...operationsOf(app).keys()].map((route) => route.replace(/:\w+/g, '{}')))
  const unknown = Object.entries(texts).flatMap(([file, text]) =>
    [...text.matchAll(/\b(GET|POST|PUT|PATCH|DELETE) (\/[\w./{}-]+)/g)]
      .map(([, method, path]) => `${method} ${path!.replace(/\{\w*\}/g, '{}').replace(/\.$/, '')}`)
      .filter((route) => !routes.has(route))
      .map((route) => `${file}: ${route}`),
  )
  expect(unknown).toEqual([])
})
