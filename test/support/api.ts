import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { createClient, type InArgs } from '@libsql/client/web'
import { v7 as uuidv7 } from 'uuid'
import { expect } from 'vitest'
import type { CaughtMail } from '../../scripts/local/mailbox.ts'
import type { Tokens } from '../../src/auth/schemas.ts'
import { configOf } from '../../src/config/main.ts'
import worker from '../../src/index.ts'
import { hashCost, hashPassword } from '../../src/passwords/hashing.ts'
import { signAccessToken } from '../../src/sessions/access-tokens.ts'
import { makeRefreshToken } from '../../src/sessions/refresh-tokens.ts'
import { PER_MINUTE } from '../../src/throttle/limits.ts'
import type { NewUser, Role } from '../../src/users/models.ts'
import { normalizeEmail } from '../../src/values/email.ts'
import { expectLine } from './log-lines.ts'
import { codeIn } from './mails.ts'

export const PASSWORD = 'seven brown foxes read'

export interface Options {
  body?: unknown
  /** Sent as it is, without a content type. */
  raw?: BodyInit
  token?: string | undefined
  headers?: Record<string, string>
  /** The caller's address: by default a new one for each request; null for none. */
  ip?: string | null
}

export interface Answer<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
  text: string
}

/** What no answer may contain, whatever went wrong. */
const LEAKS =
  /SQLITE|UNIQUE constraint|command was|node_modules|\.ts:\d+|\$scrypt|127\.0\.0\.1:\d+\/|"password_hash":(?!\{)/

/** What holds for every answer, checked on every answer of every test: ER1, HD3, HD4. */
function expectWellFormed(answer: Answer, path: string): void {
  const { headers, status, text } = answer
  expect(headers.get('x-request-id')).toMatch(/^[\w-]{8,64}$/)
  expect(headers.get('strict-transport-security')).toContain('max-age=63072000; includeSubDomains')
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  const isPage = headers.get('content-type') === 'text/html; charset=UTF-8'
  // Pages with a form send their address as Referer, but only to ourselves.
  expect(headers.get('referrer-policy')).toMatch(isPage ? /^(no-referrer|same-origin)$/ : /^no-referrer$/)
  expect(headers.get('content-security-policy')).toContain("default-src 'none'")
  expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
  expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
  expect(headers.get('cache-control')).toMatch(/^no-store$|^public, max-age=([36]00|31536000, immutable)$/)
  // The API sets only the cookies of a session and its device; pages and redirects may set others.
  const isOfPages = isPage || (status >= 300 && status < 400)
  for (const cookie of headers.getSetCookie()) {
    expect(cookie).toMatch(/^(__Host-roster[\w-]*|roster-lang)=[^;]*; .*Path=\/.*; Secure/)
    if (!isOfPages) expect(cookie).toMatch(/^__Host-roster(-device)?=/)
  }
  // Only an export that was asked for hashes contains any.
  if (!/^\/v1\/users\/export\?.*\bhashes=true\b/.test(path)) expect(text).not.toMatch(LEAKS)
  if (status < 400) return
  // OAuth endpoints answer errors as their standard says (RFC 6749 section 5.2).
  if (answer.body && 'error' in (answer.body as object)) {
    expect(answer.body).toEqual({
      error: expect.stringMatching(/^[a-z_]+$/),
      error_description: expect.any(String),
    })
    return
  }
  // A page shows its problems as a page.
  if (!isPage) expect(headers.get('content-type')).toBe('application/problem+json')
  expect(headers.get('cache-control')).toBe('no-store')
  if (status === 429 || status === 503) expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
  if (status === 401) expect(headers.get('www-authenticate')).toMatch(/^(Bearer|Basic) realm="roster"/)
  if (status === 405) expect(headers.get('allow')).toBeTruthy()
  if (answer.body === undefined) return // HEAD, and pages
  expect(answer.body).toMatchObject({
    type: expect.stringMatching(new RegExp(`^(https?://[\\w.:]+)?/problems/${answer.body.code}$`)),
    title: expect.any(String),
    status,
    detail: expect.any(String),
    code: expect.stringMatching(/^[a-z_]+$/),
    request_id: headers.get('x-request-id'),
  })
  if (status === 422 && answer.body.code === 'invalid_input') {
    expect(answer.body.errors).toEqual(
      expect.arrayContaining([
        { pointer: expect.any(String), code: expect.any(String), detail: expect.any(String) },
      ]),
    )
  }
}

/** Not affected by the proxy's modes, and not in its log. */
const aside = (input: RequestInfo, init?: RequestInit) => {
  const request = new Request(input, init)
  request.headers.set('x-aside', '1')
  return fetch(request)
}

export const randomIp = () => `10.${[1, 2, 3].map(() => Math.floor(Math.random() * 256)).join('.')}`

/** Tests send more requests a minute than people do. Tests of a limit bring their own. */
const UNLIMITED = Object.fromEntries(
  Object.keys(PER_MINUTE)
    .filter((name) => !/^RATE_LIMIT_(BY_IP|WITHOUT_IP)$/.test(name))
    .map((name) => [name, { limit: async () => ({ success: true }) }]),
)

/** Calls the Worker with these bindings, and looks into its database. */
export function openApi(bindings: object = {}) {
  const all = { ...env, ...UNLIMITED, ...bindings }
  const settings = all as unknown as Record<string, string>

  async function send<T = Record<string, unknown>>(
    method: string,
    path: string,
    options: Options = {},
  ): Promise<Answer<T>> {
    const headers = new Headers(options.headers)
    const ip = options.ip === null ? null : (options.ip ?? randomIp())
    if (ip !== null) headers.set('cf-connecting-ip', ip)
    if (options.token !== undefined) headers.set('authorization', `Bearer ${options.token}`)
    if (options.body !== undefined && !headers.has('content-type'))
      headers.set('content-type', 'application/json')
    const body = options.body === undefined ? (options.raw ?? null) : JSON.stringify(options.body)
    const context = createExecutionContext()
    const response = await worker.fetch(
      new Request(`http://roster.test${path}`, { method, headers, body }),
      all,
      context,
    )
    const text = await response.text()
    // The work after the answer is done before the test continues, so that tests see one outcome.
    await waitOnExecutionContext(context)
    const isJson =
      method !== 'HEAD' && /^application\/(problem\+)?json/.test(response.headers.get('content-type') ?? '')
    const answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : undefined,
    }
    expectWellFormed(answer, path)
    expectLine(answer, method, ip)
    return answer
  }

  const openDatabase = () =>
    createClient({
      url: settings.TURSO_DATABASE_URL!,
      authToken: settings.TURSO_AUTH_TOKEN!,
      fetch: aside,
    })

  async function sql(statement: string, args: InArgs = []): Promise<Record<string, unknown>[]> {
    const { rows } = await openDatabase().execute({ sql: statement, args })
    if (/^\s*(UPDATE|DELETE FROM) (users|sessions)\b/i.test(statement)) await forgetCopies()
    return rows as never
  }

  /** The Worker does not notice what a test changes in the database, so its copies are deleted. */
  async function forgetCopies() {
    const keys = (await redis('KEYS', '*:copy:*')) as string[] | undefined
    if (keys && keys.length > 0) await redis('DEL', ...keys)
  }

  /** Lets this much time pass for counters and mailed links, whose times are compared with the database's clock. */
  async function ages(ms: number): Promise<void> {
    await sql('UPDATE throttles SET blocked_until = blocked_until - ?1, expires_at = expires_at - ?1', [ms])
    await sql('UPDATE one_time_tokens SET created_at = created_at - ?1, expires_at = expires_at - ?1', [ms])
  }

  /** Many queries at once, on one state of the database. */
  async function sqlAll(statements: string[]): Promise<Record<string, unknown>[][]> {
    return (await openDatabase().batch(statements, 'read')).map(({ rows }) => rows) as never
  }

  /** Inserts a person into the database, without the API: tests start from there. */
  async function person(given: Partial<NewUser> = {}) {
    const id = uuidv7()
    const email = given.email ?? `${id}@people.test`
    const row = {
      id,
      name: 'Somebody',
      password_hash: await passwordHash(),
      role: 'user',
      status: 'active',
      version: 1,
      token_epoch: 0,
      failed_logins: 0,
      created_at: Date.now(),
      updated_at: Date.now(),
      ...given,
      email,
      email_normalized: normalizeEmail(email),
    }
    const names = Object.keys(row)
    await sql(`INSERT INTO users (${names}) VALUES (${names.map(() => '?')})`, Object.values(row) as never)
    return { id, email, password: PASSWORD }
  }

  const logIn = async ({ email, password }: { email: string; password: string }): Promise<Tokens> => {
    const answer = await send<Tokens>('POST', '/v1/auth/login', { body: { email, password } })
    expect(answer.status).toBe(200)
    return answer.body
  }

  /** A person who has logged in. */
  async function actor(given: Partial<NewUser> = {}) {
    const somebody = await person(given)
    const tokens = await logIn(somebody)
    return { ...somebody, token: tokens.access_token, refreshToken: tokens.refresh_token }
  }

  /** A session as a login starts it, without the price of a hash: for tests that need many, or an older one. */
  async function signIn({ id }: { id: string }, authenticatedAt = Date.now()) {
    const config = configOf(all)
    const [row] = await sql('SELECT role, token_epoch FROM users WHERE id = ?', [id])
    const sessionId = uuidv7()
    const end = authenticatedAt + 14 * 86_400_000
    await sql(
      `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
        VALUES (?1, ?2, 0, ?3, ?3, ?3, ?4, ?4)`,
      [sessionId, id, authenticatedAt, end],
    )
    const subject = { userId: id, sessionId, role: row!.role as Role, epoch: Number(row!.token_epoch) }
    const token = await signAccessToken(config, Date.now(), { ...subject, authenticatedAt })
    return { token, refreshToken: makeRefreshToken(config.keys.refresh_token, sessionId, 0), sessionId }
  }

  /** A person with a session, without the price of a hash. */
  async function quickActor(given: Partial<NewUser> = {}) {
    const somebody = await person(given)
    return { ...somebody, ...(await signIn(somebody)) }
  }

  /** Actions in a person's history, oldest first. */
  const historyOf = async (userId: string): Promise<string[]> => {
    const rows = await sql('SELECT action FROM user_activity_logs WHERE user_id = ? ORDER BY id', [userId])
    return rows.map((row) => row.action as string)
  }

  let hash: Promise<string> | undefined
  const passwordHash = () => {
    hash ??= hashPassword(PASSWORD, configOf(all).keys.password_pepper, hashCost(configOf(all)))
    return hash
  }

  /** One Redis command, not through the Worker. */
  const redis = async (...command: (string | number)[]): Promise<unknown> => {
    const headers = { authorization: `Bearer ${settings.UPSTASH_REDIS_REST_TOKEN}` }
    const answer = await aside(settings.UPSTASH_REDIS_REST_URL!, {
      method: 'POST',
      headers,
      body: JSON.stringify(command),
    })
    return ((await answer.json()) as { result: unknown }).result
  }

  /** The mails to an address, newest first. */
  const mailsTo = async (address: string): Promise<CaughtMail[]> =>
    (
      await aside(`${settings.RESEND_URL}/mails?to=${encodeURIComponent(address)}`, {
        headers: { authorization: `Bearer ${settings.RESEND_API_KEY}` },
      })
    ).json()

  return {
    send,
    sql,
    ages,
    sqlAll,
    redis,
    mailsTo,
    person,
    logIn,
    actor,
    signIn,
    quickActor,
    historyOf,
    bindings: all,
    config: () => configOf(all),
  }
}

/** The token of a mail's link and, in mails that somebody asked for, the code beside it. */
export const linkIn = (mail: CaughtMail) => {
  const url = new URL(/^http\S+$/m.exec(mail.text)![0])
  return { url, token: url.searchParams.get('token')!, code: codeIn(mail) }
}

export type Api = ReturnType<typeof openApi>
export type Actor = Awaited<ReturnType<Api['actor']>>
