import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { inspect } from 'node:util'
import { beforeAll, expect, inject, test, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { cleanUp } from '../../src/cleanup/service.ts'
import { openForCron } from '../../src/context.ts'
import { type Answer, type Api, linkIn, type Options, openApi, PASSWORD } from '../support/api.ts'
import { addCrowd } from '../support/crowd.ts'
import { everyPage } from '../support/pages.ts'
import type { Mode, Upstream } from '../support/proxy.ts'
import { ALL_WAYS_IN } from '../support/requests.ts'
import { rounds } from '../support/rounds.ts'
import { everyRequest } from '../support/traffic.ts'
import { freshUpstreams, testOfRedis } from '../support/upstreams.ts'
import { NEW_WEBHOOK } from '../support/webhook-requests.ts'

/**
 * Somebody with marked passwords, addresses and programs visits every route, while all is well and while the
 * upstreams fail. Then everything that was written, logged or answered is searched for the marks.
 */
const MARK = `mark${crypto.randomUUID().slice(0, 8)}`
const PASSWORDS = ['first', 'second', 'wrong'].map((name) => `${MARK} ${name} password`)
const [FIRST, SECOND, WRONG] = PASSWORDS as [string, string, string]
const AGENT = `${MARK}-agent/1.0`
const addressOf = (name: string) => `${MARK}-${name}-${crypto.randomUUID().slice(0, 8)}@people.test`

let own: Awaited<ReturnType<typeof freshUpstreams>>
let api: Api
let adminToken: string
const answers: Answer[] = []
const visited = new Set<string>()
/** Every token that was issued, as a whole, and its parts that prove anything. */
const tokens = new Set<string>()
const logged: string[] = []
/** Every host the Worker has contacted. */
const asked = new Set<string>()

beforeAll(async () => {
  own = await freshUpstreams()
  api = openApi({ ...own.bindings, ...ALL_WAYS_IN })
  adminToken = (await api.signIn(await api.person({ role: 'admin' }))).token
  for (const method of ['debug', 'error', 'info', 'log', 'warn', 'trace'] as const) {
    const write = console[method]
    vi.spyOn(console, method).mockImplementation((...said) => {
      logged.push(inspect(said, { depth: 20 }))
      write(...said)
    })
  }
  const ask = globalThis.fetch
  vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) => {
    const request = new Request(input, init)
    asked.add(new URL(request.url).origin)
    return ask(request)
  })
  await goThroughEverything()
})

/** Visits a route, with `id` in place of `:id`. */
async function visit(
  route: string,
  options: Options & { id?: string | undefined; purpose?: string; query?: string } = {},
) {
  visited.add(route)
  const [method, path] = route.split(' ') as [string, string]
  const { id = '00000000-0000-7000-8000-000000000000', purpose = '', query = '' } = options
  const url = path.replace(/:(id|code)/, id).replace(':purpose', purpose) + query
  const answer = await api.send(method, url, {
    ...options,
    headers: { 'user-agent': AGENT, ...options.headers },
  })
  answers.push(answer)
  const { access_token, refresh_token } = (answer.body ?? {}) as Record<string, string | undefined>
  for (const token of [access_token, refresh_token]) {
    if (token) for (const part of [token, token.split('.').at(-1)!]) tokens.add(part)
  }
  return answer
}

/** The token of the newest link mailed to an address. Codes in mails are secrets as well. */
async function mailedTo(address: string): Promise<string> {
  const links = (await api.mailsTo(address)).filter(({ text }) => /^http/m.test(text)).map(linkIn)
  for (const { token, code } of links) for (const secret of [token, code]) if (secret) tokens.add(secret)
  return links[0]?.token ?? 'none was mailed'
}

interface Signed {
  id: string
  email: string
  token: string
  refreshToken: string
}

async function signUp(name: string): Promise<Signed> {
  const email = addressOf(name)
  const headers = { 'idempotency-key': crypto.randomUUID() }
  const { body: user } = await visit('POST /v1/auth/signup', {
    body: { email, password: FIRST, name: 'Ada' },
    headers,
  })
  const { body } = await visit('POST /v1/auth/login', { body: { email, password: FIRST } })
  return {
    id: user?.id as string,
    email,
    token: body?.access_token as string,
    refreshToken: body?.refresh_token as string,
  }
}

/** Every route, in an order in which each has something to do, with right and wrong requests. */
async function journey({ id, email, token, refreshToken }: Signed) {
  const mine = { token }
  const admins = { token: adminToken, id }
  for (const route of ['GET /health', 'GET /ready', 'GET /openapi.json', 'GET /docs']) await visit(route)
  await visit('GET /.well-known/jwks.json')
  await visit('GET /.well-known/oauth-authorization-server')
  await visit('POST /v1/auth/signup', { body: { email, password: FIRST, name: 'Taken' } })
  await visit('POST /v1/auth/signup', { body: { email: addressOf('weak'), password: MARK, name: 'Weak' } })
  await visit('POST /v1/auth/login', { body: { email, password: WRONG } })
  await visit('POST /v1/auth/login', { body: { email: addressOf('unknown'), password: WRONG } })
  await visit('POST /v1/auth/login', { body: { email, password: FIRST, extra: WRONG } })
  await visit('POST /v1/auth/login', { raw: `{"email":"${email}","password":"${WRONG}` })
  await visit('POST /v1/auth/refresh_token', { body: { refresh_token: refreshToken } })
  await visit('POST /v1/auth/refresh_token', { body: { refresh_token: `${refreshToken}x` } })
  await visit('GET /v1/users/me', mine)
  await visit('GET /v1/users/me', { token: `${token}x` })
  await visit('PATCH /v1/users/me', { ...mine, body: { name: 'Grace' } })
  await visit('GET /v1/users/me/activity', mine)
  await visit('GET /v1/auth/sessions', mine)
  await visit('DELETE /v1/auth/sessions/:id', { ...mine, id: 'nobodys' })
  const other = { email: addressOf('other'), password: SECOND, name: 'Eve', role: 'user' }
  await visit('POST /v1/users', { token: adminToken, body: other, headers: { 'idempotency-key': MARK } })
  await visit('GET /v1/users', { token: adminToken, query: `?email=${encodeURIComponent(email)}` })
  await visit('GET /v1/users', { token: adminToken, query: `?q=${MARK}&cursor=${token}` })
  await visit('GET /v1/users/:id', admins)
  await visit('GET /v1/users/:id/sessions', admins)
  await visit('GET /v1/users/:id/activity', admins)
  await visit('GET /v1/activity', { token: adminToken })
  await visit('GET /v1/cleanup/runs', { token: adminToken })
  await visit('GET /v1/users/me/export', mine)
  await visit('GET /v1/users/:id/export', admins)
  await visitWhatIsMailed(email, mine)
  await visit('POST /v1/auth/change_password', {
    ...mine,
    body: { current_password: WRONG, new_password: SECOND },
  })
  await visit('POST /v1/auth/change_password', {
    ...mine,
    body: { current_password: FIRST, new_password: SECOND },
  })
  await visit('POST /v1/auth/logout', mine)
  await visit('POST /v1/auth/logout_all', mine)
  await visit('DELETE /v1/users/me', { ...mine, body: { password: SECOND } })
  await visit('PATCH /v1/users/:id', { ...admins, body: { email: addressOf('changed') } })
  await visit('DELETE /v1/users/:id/sessions', admins)
  await visit('POST /v1/users/:id/disable', { ...admins, body: { reason: 'left' } })
  await visit('POST /v1/users/:id/enable', admins)
  await visit('DELETE /v1/users/:id', admins)
  await visit('POST /v1/users/:id/restore', admins)
}

/** Everything that is mailed: links and codes, right and wrong, and the links' pages. */
async function visitWhatIsMailed(email: string, mine: { token: string }) {
  const next = addressOf('next')
  await visit('POST /v1/auth/resend_verification', { body: { email } })
  const verification = await mailedTo(email)
  await visit('GET /links/:purpose', { purpose: 'verify_email', query: `?token=${verification}` })
  await visit('POST /v1/auth/verify_email', { body: { request_token: 'x', code: '00000000' } })
  await visit('POST /v1/auth/verify_email', { ...mine, body: { token: verification } })
  await visit('POST /v1/auth/change_email', { ...mine, body: { new_email: next, current_password: WRONG } })
  await visit('POST /v1/auth/change_email', { ...mine, body: { new_email: next, current_password: FIRST } })
  await visit('POST /v1/auth/undo_email_change', { body: { token: await mailedTo(email) } })
  await visit('POST /v1/auth/confirm_email_change', { ...mine, body: { token: await mailedTo(next) } })
  await visit('POST /v1/auth/forgot_password', { body: { email } })
  const reset = await mailedTo(email)
  const form = new URLSearchParams({ token: `${reset}x`, new_password: SECOND })
  await visit('POST /links/:purpose', { purpose: 'reset_password', raw: form })
  await visit('POST /v1/auth/reset_password', { body: { token: `${reset}x`, new_password: SECOND } })
  const invited = addressOf('invited')
  const byAdmin = { token: adminToken }
  const made = await visit('POST /v1/invitations', { ...byAdmin, body: { email: invited, name: 'Eve' } })
  await visit('GET /v1/invitations', byAdmin)
  await visit('POST /v1/invitations/:id/resend', { ...byAdmin, id: made.body?.id as string })
  const invitation = { token: await mailedTo(invited), password: SECOND, name: 'Eve' }
  await visit('POST /v1/auth/accept_invitation', { body: invitation })
  await visit('DELETE /v1/invitations/:id', { ...byAdmin, id: made.body?.id as string })
}

const FAULTS: [Upstream, Mode][] = [
  ['libsql', { mode: 'auth-fail' }],
  ['redis', { mode: 'auth-fail' }],
  ['mail', { mode: 'auth-fail' }],
  ['libsql', { mode: 'down' }],
  ['redis', { mode: 'down' }],
  ['libsql', { mode: 'status', status: 500 }],
  ['redis', { mode: 'status', status: 500 }],
]

let erased: Signed

async function goThroughEverything() {
  await journey(await signUp('calm'))
  for (const [upstream, mode] of FAULTS.slice(0, rounds(3, FAULTS.length))) {
    const somebody = await signUp(mode.mode)
    await own.behave(upstream, mode)
    await journey(somebody)
    const context = createExecutionContext()
    await cleanUp(openForCron(api.bindings, context)).catch((error) => console.error(error))
    await waitOnExecutionContext(context)
    await own.behave(upstream, { mode: 'pass' })
  }
  const historian = await api.person({ password_hash: null })
  await addCrowd(api, 0, 200, historian)
  await everyRequest(
    api,
    (route, { query, ...options } = {}) =>
      visit(route, { ...options, ...(query !== undefined && { query: `?${query}` }) }),
    historian,
  )
  await everyPage(api, (route, answer) => visited.add(route) && answers.push(answer))
  erased = await signUp('erased')
  await visit('DELETE /v1/users/:id', { token: adminToken, id: erased.id, query: '?hard=true' })
}

test('LG1: every route is visited, and tokens are handed out', () => {
  expect([...visited].sort()).toEqual(everyRoute())
  expect(tokens.size).toBeGreaterThan(10)
})

test('LG1, I8: no problem contains a password, a token, an address or a key', () => {
  const problems = answers.filter(({ status }) => status >= 400).map(toProblemText)
  expect(problems.length).toBeGreaterThan(50)
  expect(problems.filter((text) => findMarks(text).length > 0)).toEqual([])
})

test('LG1, I8: nor does the log', () => {
  expect(logged.length).toBeGreaterThan(10)
  expect(findMarks(logged.join('\n'))).toEqual([])
})

testOfRedis('LG1: nor is it in Redis', async () => {
  const keys = (await api.redis('KEYS', '*')) as string[]
  expect(keys.length).toBeGreaterThan(0)
  const values = await Promise.all(keys.map((key) => api.redis('GET', key)))
  expect(findMarks(JSON.stringify([keys, values]))).toEqual([])
})

test('LG1: no table has a password, a token or a key, and addresses are only where they belong', async () => {
  expect(await findInTables(...PASSWORDS, PASSWORD, ...tokens, ...secretsOfSettings())).toEqual([])
  expect((await findInTables(MARK)).sort()).toEqual(WHERE_MARKS_BELONG)
})

test('LG1, DL3: an erased user is in no table', async () => {
  expect(await findInTables(erased.email.split('@')[0]!)).toEqual([])
})

test('SC3: the Worker only contacts its upstreams and the configured webhook', () => {
  const ours = [inject('proxyUrl'), NEW_WEBHOOK.url].map((url) => new URL(url).origin)
  expect(ours).toEqual(expect.arrayContaining([...asked]))
  expect(asked).toContain(ours[0])
})

/** A page that shows an error keeps what was typed, and the token it was opened with, and still shows people. */
const toProblemText = ({ headers, text }: Answer) =>
  headers.get('content-type')?.startsWith('text/html')
    ? text.replace(/ value="[^"]*"/g, '').replaceAll(new RegExp(`${MARK}[\\w-]*@people\\.test`, 'g'), '')
    : text

/** Columns that are meant for an address, or for the name of a program. */
const WHERE_MARKS_BELONG = [
  'idempotency_keys.email_normalized', // The address in the answer.
  'idempotency_keys.key', // The caller's own, and marked by this test.
  'idempotency_keys.response', // The answer, kept for a day; erased with the person.
  'invitations.email',
  'invitations.email_normalized',
  'one_time_tokens.email', // To whom a link was mailed, and for which new address.
  'one_time_tokens.email_normalized',
  'outbox.new_email',
  'outbox.new_email_normalized',
  'outbox.recipient',
  'outbox.recipient_normalized',
  'sessions.user_agent',
  'user_activity_logs.details', // Old and new address of a change of address.
  'user_activity_logs.user_agent',
  'users.email',
  'users.email_normalized',
  'users_fts.email_normalized',
]

const everyRoute = () =>
  [
    ...new Set(
      app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`),
    ),
  ].sort()

function secretsOfSettings(): string[] {
  const settings = api.bindings as unknown as Record<string, string>
  return [
    settings.SECRET_KEYS!,
    settings.UPSTASH_REDIS_REST_TOKEN!,
    ...JSON.parse(settings.JWT_KEYS!).keys.map(({ d }: { d: string }) => d),
  ]
}

const findMarks = (text: string) =>
  [MARK, ...tokens, ...secretsOfSettings()].filter((secret) => text.includes(secret))

/** The columns that contain one of the texts. `details` only counts for actions other than a change of address. */
async function findInTables(...texts: string[]): Promise<string[]> {
  const tables = await api.sql(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
  )
  const found = new Set<string>()
  for (const { name } of tables) {
    for (const row of await api.sql(`SELECT * FROM "${name}"`)) {
      for (const [column, value] of Object.entries(row)) {
        if (typeof value !== 'string' || !texts.some((text) => value.includes(text))) continue
        const isOdd = column === 'details' && !/^\{"email":\{"from":/.test(value)
        found.add(`${name}.${column}${isOdd ? ` of ${row.action}` : ''}`)
      }
    }
  }
  return [...found]
}
