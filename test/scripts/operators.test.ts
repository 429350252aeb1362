import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '@libsql/client/web'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { generate, newSecret } from '../../scripts/keys.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { configOf } from '../../src/config/main.ts'
import { checkPassword } from '../../src/passwords/hashing.ts'

// Each start of a script imports half the project.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

let dir: string
let closers: (() => Promise<void>)[]
let env: Record<string, string>
let db: Client

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roster-operators-'))
  const token = newSecret()
  const [database, redis] = await Promise.all([
    startSqld({ dir: join(dir, 'database') }),
    startUpstash({ token, engine: 'embedded', dir: join(dir, 'redis') }),
  ])
  closers = [database.close, redis.close]
  env = {
    ...(await generate()),
    TURSO_DATABASE_URL: database.url,
    TURSO_AUTH_TOKEN: 'local',
    UPSTASH_REDIS_REST_URL: redis.url,
    UPSTASH_REDIS_REST_TOKEN: token,
    ISSUER: 'https://roster.test',
  }
  db = createClient({ url: database.url })
})
afterAll(async () => {
  await Promise.all(closers.map((close) => close()))
  rmSync(dir, { recursive: true, force: true })
})

/** Runs a script as an operator would; with `settings`, with those alone. */
const run = (script: string, args: string[] = [], settings: Record<string, string> = env) =>
  new Promise<{ code: number; output: string }>((resolve) => {
    const path = join(import.meta.dirname, '../../scripts', script)
    const child = execFile(process.execPath, [path, ...args], { env: settings }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr })
    })
    child.stdin?.end()
  })

describe('db:migrate', () => {
  test('brings an empty database up to date, and has nothing to do the second time', async () => {
    const first = await run('migrate.ts')
    expect(first).toEqual({
      code: 0,
      output: expect.stringMatching(/^applied 0000_\w+\napplied 0001_\w+\n/),
    })
    const schema = await db.execute('SELECT name, sql FROM sqlite_master ORDER BY name')
    expect(await run('migrate.ts')).toEqual({ code: 0, output: 'nothing to apply\n' })
    expect((await db.execute('SELECT name, sql FROM sqlite_master ORDER BY name')).rows).toEqual(schema.rows)
  })

  test('says what is missing, or that nobody answers, and fails', async () => {
    const unset = await run('migrate.ts', [], {})
    expect(unset).toEqual({ code: 1, output: expect.stringContaining('TURSO_DATABASE_URL is missing') })
    const away = await run('migrate.ts', [], { TURSO_DATABASE_URL: 'http://127.0.0.1:9' })
    expect(away.code).toBe(1)
  })
})

describe('admin:create', () => {
  let email: string
  beforeAll(() => run('migrate.ts'))
  beforeEach(() => {
    email = `${crypto.randomUUID()}@people.test`
  })
  const create = (...args: string[]) => run('create-admin.ts', ['--email', email, ...args])
  /** Somebody who is there already. */
  const add = (role: string) =>
    db.execute({
      sql: `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
        failed_logins, created_at, updated_at) VALUES (?, ?, ?, 'Ada', 'x', ?, 'active', 1, 0, 0, 1, 1)`,
      args: [crypto.randomUUID(), email, email, role],
    })
  const find = async () =>
    (await db.execute({ sql: 'SELECT * FROM users WHERE email_normalized = ?', args: [email] })).rows[0]
  const history = async () => {
    const sql = 'SELECT action, actor_id, details FROM user_activity_logs WHERE user_id = ? ORDER BY id'
    return (await db.execute({ sql, args: [(await find())!.id!] })).rows.map(({ action, details }) => [
      action,
      details,
    ])
  }
  const opens = async (password: string) => {
    const stored = (await find())!.password_hash as string
    return (await checkPassword(password, stored, configOf(env).keys.password_pepper)).isRight
  }

  test('makes an administrator, and a password when none is given; the second time it changes nothing', async () => {
    const made = await create('--name', 'Root')
    expect(made).toEqual({ code: 0, output: expect.stringMatching(/: created\nPassword: [\w-]{20}\n$/) })
    const password = /Password: (\S+)/.exec(made.output)![1]!
    expect(await find()).toMatchObject({ email, name: 'Root', role: 'admin', status: 'active' })
    expect(await opens(password)).toBe(true)

    const before = await find()
    const again = await create()
    expect(again.output).toContain('an administrator already; nothing changed')
    expect([again.code, again.output]).toEqual([0, expect.not.stringMatching(/^Password:/m)])
    expect(await find()).toEqual(before)
    expect(await history()).toEqual([['user.created', '{"role":"admin"}']])
  })

  test('promotes somebody who is there already, leaves their password, and ends the tokens that carry the old role', async () => {
    await add('user')
    expect((await create()).output).toContain(': promoted\nThe password is the one they had.')
    expect(await find()).toMatchObject({
      role: 'admin',
      password_hash: 'x',
      version: 2,
      token_epoch: 1,
    })
    expect(await history()).toEqual([['user.role_changed', '{"role":{"from":"user","to":"admin"}}']])
  })

  test('replaces the password when one is given', async () => {
    await add('admin')
    expect((await create('--password', 'nine green bears run')).output).toContain(': password replaced')
    expect(await opens('nine green bears run')).toBe(true)
    expect(await history()).toEqual([['password.changed', null]])
  })

  test.each([
    [['--password', 'password1234'], 'too common'],
    [['--email', 'nobody'], 'not an e-mail address'],
  ])('refuses %j, in one line', async (args, reason) => {
    const { code, output } = await create(...args)
    expect([code, output]).toEqual([1, expect.stringContaining(reason)])
    expect(output).not.toMatch(/\n {4}at /)
    expect(await find()).toBeUndefined()
  })

  test('names the settings that are missing', async () => {
    const { code, output } = await run('create-admin.ts', ['--email', email], {
      ...env,
      SECRET_KEYS: '',
      ISSUER: 'x',
    })
    expect([code, output]).toEqual([1, expect.stringContaining('ISSUER, SECRET_KEYS')])
  })
})
