import { beforeAll, describe, expect, test, vi } from 'vitest'
import { app } from '../src/app.ts'
import { operationsOf } from '../src/docs/openapi.ts'
import { problemsOf } from '../src/docs/problems.ts'
import { type Actor, type Answer, type Api, openApi, PASSWORD } from './support/api.ts'
import { PAGES } from './support/pages.ts'
import { testOfRedis, upstreams } from './support/upstreams.ts'

const OK = 'https://ok.test'
const own = upstreams()
const api: Api = openApi({ ...own.bindings, CORS_ORIGINS: `${OK}, http://localhost:3000` })
let ada: Actor

beforeAll(async () => {
  ada = await api.actor()
})

/** Except pages that require a sign-in, which is asked for before anything else. */
const routes = [...operationsOf(app).keys()]
  .filter((route) => (PAGES[route] ?? 'anyone') === 'anyone')
  .map((route) => route.split(' ') as [string, string])
const paths = [...new Set(routes.map(([, path]) => path))]
const methodsOf = (path: string) => routes.filter(([, other]) => other === path).map(([method]) => method)
const concrete = (path: string) =>
  path.replace(/:brand\{.*\}/, 'brand.0a1b.css').replace(':id', crypto.randomUUID())
/** Where `:id` could also be `me` or `bulk`, the router accepts the methods of both. */
const methodsAt = (address: string) => {
  const isPattern = (path: string) =>
    new RegExp(`^${path.replace(/:\w+\{(.*)\}/, '$1').replace(/:\w+/g, '[^/]+')}$`).test(address)
  return [...new Set(routes.filter(([, path]) => isPattern(path)).map(([method]) => method))]
}

describe('ER1, HD3: addresses and methods', () => {
  test.each(paths)('AZ8: %s says which methods it accepts', async (path) => {
    const taken = methodsAt(concrete(path))
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

  test('RL5, HD4: a path that only resembles one of ours is not found', async () => {
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
      // Taken as a person's id, it needs the permission to manage people.
      expect([path, answer.status]).toEqual([path, /^\/v1\/users\/[^/]+$/.test(path) ? 403 : 404])
    }
  })
})

describe('What every answer has', () => {
  test('The request’s own id if it is well-formed, otherwise a new one', async () => {
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

  test('LG2: the history has our own request id, whatever id the caller sends', async () => {
    const headers = { 'x-request-id': 'chosen-by-the-caller' }
    const answer = await api.send('PATCH', '/v1/users/me', {
      token: ada.token,
      body: { name: 'Eve' },
      headers,
    })
    expect(answer.headers.get('x-request-id')).toBe('chosen-by-the-caller')
    const [row] = await api.sql(
      "SELECT request_id FROM user_activity_logs WHERE user_id = ? AND action = 'user.updated'",
      [ada.id],
    )
    expect(row!.request_id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/)
  })

  test('LE2: Server-Timing is only for signed-in callers, unless the settings say otherwise', async () => {
    const timing = async (path: string, token?: string, by = api) =>
      (await by.send('GET', path, { token })).headers.get('server-timing')
    for (const path of ['/health', '/ready', '/v1/users/me', '/nowhere'])
      expect(await timing(path)).toBeNull()
    expect(await timing('/v1/users/me', 'x')).toBeNull()
    const gone = await api.quickActor()
    await api.send('POST', '/v1/auth/logout', { token: gone.token })
    for (const path of ['/v1/users/me', '/v1/auth/sessions'])
      expect(await timing(path, gone.token)).toBeNull()
    expect(await timing('/v1/users', ada.token)).toContain('depth')
    expect(await timing('/ready', undefined, openApi({ ...own.bindings, DEBUG_TIMING: 'on' }))).toContain(
      'depth',
    )
  })

  testOfRedis('Server-Timing: how many calls, how long, and how deep', async () => {
    const timed = openApi({ ...own.bindings, DEBUG_TIMING: 'on' })
    const timing = async (path: string, token?: string) =>
      (await timed.send('GET', path, { token })).headers.get('server-timing')
    expect(await timing('/.well-known/jwks.json')).toBe(
      'db;dur=0;desc="0", redis;dur=0;desc="0", depth;desc="0"',
    )
    expect(await timing('/v1/users/me', ada.token)).toMatch(
      /^db;dur=\d+;desc="[01]", redis;dur=\d+;desc="1", depth;desc="[12]"$/,
    )
    expect(await timing('/v1/users/me/activity', ada.token)).toMatch(
      /^db;dur=\d+;desc="1", redis;dur=0;desc="0", depth;desc="1"$/,
    )
    expect(await timing('/nowhere')).toMatch(/depth;desc="0"$/)
  })

  test('HD4: caches may only keep the keys and the document', async () => {
    const cached = []
    for (const path of paths.filter((one) => methodsOf(one).includes('GET'))) {
      const answer = await api.send('GET', concrete(path), { token: ada.token })
      if (answer.headers.get('cache-control') !== 'no-store') cached.push(path)
    }
    expect(cached.sort()).toEqual([
      '/.well-known/jwks.json',
      '/.well-known/oauth-authorization-server',
      '/.well-known/openid-configuration',
      '/.well-known/passkey-endpoints',
      '/.well-known/webauthn',
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

  test('Listed origins may read every answer, including errors; no origin may send cookies', async () => {
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

  test('Listed origins get the preflight answers they need', async () => {
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

  test('Listed origins may read the headers of the answers', async () => {
    const exposed = (await from(OK)).headers.get('access-control-expose-headers')!.split(',')
    expect(exposed).toEqual(
      expect.arrayContaining([
        'allow',
        'content-disposition',
        'etag',
        'link',
        'location',
        'www-authenticate',
      ]),
    )
  })

  test('/health may be read, as its preflight says', async () => {
    const asked = { 'access-control-request-method': 'GET' }
    expect(allowed(await from(OK, '/health', 'OPTIONS', asked))).toBe(OK)
    expect(allowed(await from(OK, '/health'))).toBe(OK)
    expect(allowed(await from('https://evil.test', '/health'))).toBeNull()
  })

  test('Listed origins may revalidate what they have read before', async () => {
    // The keys that apps verify tokens with may be read from every origin.
    const allowedTo = { '/openapi.json': OK, '/.well-known/jwks.json': '*', '/v1/users/me': OK }
    for (const [path, origin] of Object.entries(allowedTo)) {
      const tag = (await from(OK, path)).headers.get('etag')!
      const again = await from(OK, path, 'GET', { 'if-none-match': tag })
      expect([path, again.status, again.text, allowed(again)]).toEqual([path, 304, '', origin])
      expect(again.headers.get('etag')).toBe(tag)
    }
    const asked = {
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'if-none-match',
    }
    const preflight = await from(OK, '/v1/users/me', 'OPTIONS', asked)
    expect(preflight.headers.get('access-control-allow-headers')).toContain('if-none-match')
  })

  test('OPTIONS without a preflight lists the methods of a path, or says that it is not found', async () => {
    for (const origin of [OK, 'https://evil.test']) {
      const known = await from(origin, '/v1/users/me', 'OPTIONS')
      expect([known.status, known.headers.get('allow')]).toEqual([204, 'DELETE, GET, HEAD, OPTIONS, PATCH'])
      expect((await from(origin, '/nowhere', 'OPTIONS')).status).toBe(404)
    }
  })

  test('No other origin is accepted, however similar', async () => {
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

describe('ER2: when something unexpected breaks', () => {
  test('The answer is a bland 500, the log says where it happened, and the cause is not disclosed', async () => {
    const lines: string[] = []
    const spy = vi.spyOn(console, 'error').mockImplementation((line) => void lines.push(line))
    // A binding that returns nonsense acts like a bug in a handler.
    const limit = async () => {
      const error = new Error('secret token\n at 10.0.0.1\nover lines')
      return Object.defineProperty({}, 'success', {
        get: () => {
          throw Object.assign(error, { cause: error })
        },
      })
    }
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
        cause: { name: 'Error', at: expect.arrayContaining([expect.stringMatching(/^at /)]) },
      })
      expect(lines.join()).not.toMatch(/secret|10\.0\.0\.1|people\.test/)
    } finally {
      spy.mockRestore()
    }
  })

  test('A limiter that throws leads to a temporary 503', async () => {
    const spy = vi.spyOn(console, 'error').mockImplementation(() => {})
    const limit = () => Promise.reject(new Error('away'))
    const broken = openApi({ ...own.bindings, RATE_LIMIT_BY_IP: { limit } })
    const answer = await broken.send('POST', '/v1/auth/refresh_token', { body: { refresh_token: 'x' } })
    expect([answer.status, answer.body.code]).toEqual([503, 'rate_limit_unavailable'])
    spy.mockRestore()
  })

  test('Missing or invalid settings are named, their values never shown, and /health still answers', async () => {
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

describe('IV1: a body that is not plain UTF-8', () => {
  const logIn = (headers: Record<string, string>) =>
    api.send('POST', '/v1/auth/login', { raw: '{"email":"a@b.test","password":"x"}', headers })

  test.each([
    { 'content-type': 'application/json; charset=utf-16' },
    { 'content-type': 'application/json;charset="latin1"' },
    { 'content-type': 'application/json; charset=utf-8; charset=utf-7' },
    { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    { 'content-type': 'application/json', 'content-encoding': 'identity, br' },
    { 'content-type': 'text/plain' },
  ])('%j gets a 415 that says what is accepted', async (headers) => {
    const answer = await logIn(headers)
    expect([answer.status, answer.headers.get('accept'), answer.headers.get('accept-encoding')]).toEqual([
      415,
      'application/json, application/x-www-form-urlencoded',
      'identity',
    ])
  })

  test('Plain UTF-8 may name its charset', async () => {
    for (const charset of ['utf-8', '"UTF-8"', 'utf8'])
      expect(
        (
          await logIn({
            'content-type': `application/json; charset=${charset}`,
            'content-encoding': 'identity',
          })
        ).status,
      ).toBe(401)
  })
})

describe('Lists', () => {
  test('The Link header leads to the next page, up to the last one', async () => {
    const admin = await api.quickActor({ role: 'admin' })
    for (const path of ['/v1/users?limit=2&sort=name', '/v1/users?limit=2&page=1', '/v1/activity?limit=2']) {
      let next: string | undefined = path
      const seen = new Set<string>()
      for (let page = 0; next && page < 3; page++) {
        const answer: Answer<{ data: { id: string }[]; pagination: { next_cursor: string | null } }> =
          await api.send('GET', next, { token: admin.token })
        expect(answer.status).toBe(200)
        for (const { id } of answer.body.data) expect(seen.has(id)).toBe(false)
        for (const { id } of answer.body.data) seen.add(id)
        next = /<([^>]*)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
        expect(next === undefined).toBe(answer.body.pagination.next_cursor === null)
      }
    }
    const whole = await api.send('GET', '/v1/users/me/activity?limit=100', { token: ada.token })
    expect(whole.headers.get('link')).toBeNull()
  })
})

describe('What a problem is about', () => {
  test('Its type is a page; anything else there is not found', async () => {
    const { body } = await api.send('GET', '/v1/users/me')
    const answer = await api.send('GET', new URL(body.type as string).pathname)
    expect([answer.status, answer.text.includes('unauthenticated')]).toEqual([200, true])
    expect((await api.send('GET', '/problems/nothing')).status).toBe(404)
  })

  test('Every code in the source has its page', async () => {
    const sources = Object.values(
      import.meta.glob<string>('../src/**/*.ts', { query: '?raw', import: 'default', eager: true }),
    )
    const made = /(?:new AppError\(\s*\d{3},\s*|unavailable\(\s*)'([a-z_]+)'/g
    const codes = new Set(sources.flatMap((source) => [...source.matchAll(made)].map(([, code]) => code!)))
    codes.delete('bad_request') // Hono's own, for what it cannot read.
    const saidByPages = [
      'bad_authorize_request',
      'bad_logout_request',
      'account_deleted',
      'invalid_callback',
      'provider_failed',
      'provider_refused',
      'address_missing',
      'identity_taken',
      'wrong_user_code',
      'device_over',
      'may_not_use_app',
      'too_many_apps',
    ]
    for (const code of saidByPages) codes.delete(code)
    expect([...codes].filter((code) => !problemsOf(app).has(code))).toEqual([])
    expect(codes.size).toBeGreaterThan(40)
  })

  test('Every 401 and 403 of a route that needs a sign-in has its challenge', () => {
    const challenges: Record<string, string | undefined> = {}
    for (const [, parts] of operationsOf(app)) {
      if (!parts.some(({ security }) => security)) continue
      for (const make of parts.flatMap(({ problems = [] }) => problems)) {
        const { status, code, headers } = make()
        if (status === 401 || status === 403) challenges[code] = headers['www-authenticate']
      }
    }
    for (const [code, challenge] of Object.entries(challenges))
      expect([code, challenge]).toEqual([
        code,
        expect.stringMatching(/^Bearer realm="roster"(, error="[a-z_]+"(, max_age=600)?)?$/),
      ])
    expect(challenges.forbidden).toContain('error="insufficient_scope"')
    expect(challenges.reauthentication_required).toContain(
      'error="insufficient_user_authentication", max_age=600',
    )
  })
})
