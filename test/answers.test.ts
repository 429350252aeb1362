import { beforeAll, describe, expect, test, vi } from 'vitest'
import { app } from '../src/app.ts'
import { operationsOf } from '../src/docs/openapi.ts'
import { type Actor, type Api, openApi, PASSWORD } from './support/api.ts'
import { testOfRedis, upstreams } from './support/upstreams.ts'

const OK = 'https://ok.test'
const own = upstreams()
const api: Api = openApi({ ...own.bindings, CORS_ORIGINS: `${OK}, http://localhost:3000` })
let ada: Actor

beforeAll(async () => {
  ada = await api.actor()
})

const routes = [...operationsOf(app).keys()].map((route) => route.split(' ') as [string, string])
const paths = [...new Set(routes.map(([, path]) => path))]
const methodsOf = (path: string) => routes.filter(([, other]) => other === path).map(([method]) => method)
const concrete = (path: string) => path.replace(':id', crypto.randomUUID())

describe('ER1, HD3: addresses and methods', () => {
  test.each(paths)('AZ8: %s says which methods it takes', async (path) => {
    const taken = methodsOf(path)
    // Where `:id` could also be `me`, the router would take those of both.
    const allow = [...taken, ...(taken.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].sort().join(', ')
    for (const method of ['PUT', 'GET', 'POST', 'PATCH', 'DELETE', 'PROPFIND', 'get']) {
      if (taken.includes(method.toUpperCase())) continue
      const answer = await api.send(method, concrete(path))
      expect([answer.status, answer.body.code, answer.headers.get('allow')]).toEqual([
        405,
        'method_not_allowed',
        allow,
      ])
    }
  })

  test.each(paths.filter((path) => methodsOf(path).includes('GET')))(
    'HEAD %s is GET without a body',
    async (path) => {
      const [head, get] = [await api.send('HEAD', concrete(path)), await api.send('GET', concrete(path))]
      expect([head.status, head.text]).toEqual([get.status, ''])
      const names = (answer: typeof head) =>
        [...answer.headers.keys()].filter((name) => name !== 'content-length').sort()
      expect(names(head)).toEqual(names(get))
    },
  )

  test('RL5, HD4: what only looks like an address of ours is nothing', async () => {
    for (const path of [
      '/v1',
      '/v1/',
      '/V1/users/me',
      '/v1/users/me/',
      '/v1//users/me',
      '/v1/users/me/x.css',
      '/v1/users/me.json',
      '/v1/users/me;.js',
      '/v1/users/%6de/x',
      '/v1/auth/login/',
      '/v1/auth/LOGIN',
      '/health/',
      '/HEALTH',
      '/__scheduled',
      '/.env',
      '/.git/config',
      '/%2e%2e/etc/passwd',
      '/v1/users/..%2f..%2fhealth',
      '/%00',
      '/%',
      '/%ff',
      `/${'x'.repeat(8_000)}`,
    ]) {
      const answer = await api.send('GET', path, { token: ada.token })
      // As the id of a person, it is for those who manage people.
      expect([path, answer.status]).toEqual([path, /^\/v1\/users\/[^/]+$/.test(path) ? 403 : 404])
    }
  })
})

describe('What every answer has', () => {
  test('The request’s own id when it is well-formed, a new one when not', async () => {
    const given = async (id: string) =>
      (await api.send('GET', '/health', { headers: { 'x-request-id': id } })).headers.get('x-request-id')
    for (const id of ['12345678', 'x'.repeat(64), 'Trace_ID-0001']) expect(await given(id)).toBe(id)
    for (const id of [
      '',
      '1234567',
      'x'.repeat(65),
      'has blank',
      'a;b=c,d{}',
      '<script>alert(1)',
      '../../../etc',
    ])
      expect(await given(id)).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/)
    const answers = [await given(''), await given('')]
    expect(answers[0]).not.toBe(answers[1])
  })

  testOfRedis('Server-Timing: how many calls, how long, and how deep', async () => {
    const timing = async (path: string, token?: string) =>
      (await api.send('GET', path, { token })).headers.get('server-timing')
    expect(await timing('/health')).toBe('db;dur=0;desc="0", redis;dur=0;desc="0", depth;desc="0"')
    expect(await timing('/v1/users/me', ada.token)).toMatch(
      /^db;dur=\d+;desc="1", redis;dur=\d+;desc="1", depth;desc="1"$/,
    )
    expect(await timing('/nowhere')).toMatch(/depth;desc="0"$/)
  })

  test('HD4: nothing is kept by a cache but the keys and the document', async () => {
    const cached = []
    for (const path of paths.filter((one) => methodsOf(one).includes('GET'))) {
      const answer = await api.send('GET', concrete(path), { token: ada.token })
      if (answer.headers.get('cache-control') !== 'no-store') cached.push(path)
    }
    expect(cached.sort()).toEqual([
      '/.well-known/jwks.json',
      '/.well-known/oauth-authorization-server',
      '/openapi.json',
    ])
    const tokens = await api.send('POST', '/v1/auth/login', {
      body: { email: ada.email, password: PASSWORD },
    })
    expect(tokens.headers.get('cache-control')).toBe('no-store')
  })
})

describe('HD1: other origins', () => {
  const from = (origin: string, path = '/v1/users/me', method = 'GET', headers = {}) =>
    api.send(method, path, { token: ada.token, headers: { origin, ...headers } })
  const allowed = ({ headers }: { headers: Headers }) => headers.get('access-control-allow-origin')

  test('Those on the list may read every answer, also the errors; nobody sends cookies', async () => {
    for (const origin of [OK, 'http://localhost:3000']) {
      for (const path of ['/v1/users/me', '/v1/users', '/nowhere', '/openapi.json', `/v1/users/${ada.id}`]) {
        const answer = await from(origin, path)
        expect([path, allowed(answer)]).toEqual([path, origin])
        expect(answer.headers.get('vary')).toContain('Origin')
        expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
        expect(answer.headers.get('access-control-expose-headers')).toContain('retry-after')
      }
      const badToken = await api.send('GET', '/v1/users/me', { token: 'x', headers: { origin } })
      expect([badToken.status, allowed(badToken)]).toEqual([401, origin])
      const revoked = await api.actor()
      await api.send('POST', '/v1/auth/logout', { token: revoked.token })
      const dead = await api.send('GET', '/v1/users/me', { token: revoked.token, headers: { origin } })
      expect([dead.status, allowed(dead)]).toEqual([401, origin])
    }
  })

  test('They may ask beforehand for what they will send', async () => {
    const asked = {
      'access-control-request-method': 'PATCH',
      'access-control-request-headers': 'authorization,if-match',
    }
    const { status, headers } = await from(OK, '/v1/users/me', 'OPTIONS', asked)
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-origin')).toBe(OK)
    expect(headers.get('access-control-allow-methods')).toContain('PATCH')
    expect(headers.get('access-control-allow-headers')).toContain('if-match')
    expect(headers.get('access-control-max-age')).toBe('600')
  })

  test('Nobody else, however alike', async () => {
    for (const origin of [
      'null',
      '*',
      'https://ok.test.evil.test',
      'https://evilok.test',
      'https://sub.ok.test',
      'http://ok.test',
      'https://OK.test',
      'https://ok.test:8443',
      'https://ok.test/',
      'https://ok.test.',
      'http://localhost',
      'http://localhost:3001',
      `${OK}, https://evil.test`,
      '',
    ]) {
      for (const method of ['GET', 'OPTIONS']) {
        const answer = await from(origin, '/v1/users/me', method)
        expect([origin, allowed(answer)]).toEqual([origin, null])
        expect(answer.headers.get('vary')).toContain('Origin')
      }
    }
  })
})

describe('ER2: when something breaks that nobody thought of', () => {
  test('The answer is a bland 500, the log says where, and nothing of the cause gets out', async () => {
    const lines: string[] = []
    const spy = vi.spyOn(console, 'error').mockImplementation((line) => void lines.push(line))
    // A binding that throws is as good as a bug in a handler.
    const limit = () => Promise.reject(new Error('secret token at 10.0.0.1'))
    const broken = openApi({ ...own.bindings, RATE_LIMIT_BY_IP: { limit } })
    try {
      const answer = await broken.send('POST', '/v1/auth/login', {
        body: { email: ada.email, password: PASSWORD },
      })
      expect([answer.status, answer.body.code]).toEqual([500, 'internal_error'])
      expect(answer.text).not.toMatch(/secret|10\.0\.0\.1/)
      const log = JSON.parse(lines[0]!)
      expect(log).toMatchObject({
        level: 'error',
        request_id: answer.headers.get('x-request-id'),
        code: 'internal_error',
        cause: { name: 'Error', at: expect.arrayContaining([expect.stringContaining('at ')]) },
      })
      expect(lines.join()).not.toMatch(/secret|10\.0\.0\.1|people\.test/)
    } finally {
      spy.mockRestore()
    }
  })

  test('Settings that are missing or unfit are named, never shown, and health answers all the same', async () => {
    const spy = vi.spyOn(console, 'error').mockImplementation(() => {})
    try {
      const broken = openApi({
        ...own.bindings,
        SECRET_KEYS: 'changeme-changeme-changeme-changeme',
        ISSUER: 'roster.test',
        CORS_ORIGINS: '*',
        TURSO_DATABASE_URL: undefined,
      })
      expect((await broken.send('GET', '/health')).status).toBe(200)
      for (const path of ['/ready', '/v1/users/me', '/openapi.json', '/nowhere']) {
        const answer = await broken.send('GET', path)
        expect([answer.status, answer.body.code, answer.body.detail]).toEqual([
          503,
          'misconfigured',
          'Settings missing or unfit: CORS_ORIGINS, ISSUER, SECRET_KEYS, TURSO_DATABASE_URL',
        ])
      }
    } finally {
      spy.mockRestore()
    }
  })
})
