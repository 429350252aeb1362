import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '@libsql/client/web'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { withResources } from '../../scripts/create-admin.ts'
import { generate, newSecret, rotateSecretKeys } from '../../scripts/keys.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { SCRIPT_SCOPES, SCRIPTS_CLIENT_ID } from '../../scripts/sign-in.ts'
import {
  type Erased,
  erasureForLedger,
  findErasedAmong,
  LEDGER_KEY,
  readLedger,
  updateLedger,
} from '../../src/activity/ledger.ts'
import { HEAD_KEY, storeHead } from '../../src/activity/seals.ts'
import { configOf } from '../../src/config/main.ts'
import { keyIdOf } from '../../src/crypto/encryption.ts'
import { keyring } from '../../src/crypto/keyring.ts'
import { DEVICE_CODE } from '../../src/oauth/models.ts'
import { checkPassword } from '../../src/passwords/hashing.ts'
import { firstIdAt } from '../../src/values/ids.ts'
import { startProxy } from '../support/proxy.ts'
import { KEPT, QUICKLY } from '../support/scripts.ts'

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

const database = () => ({
  TURSO_DATABASE_URL: env.TURSO_DATABASE_URL!,
  TURSO_AUTH_TOKEN: env.TURSO_AUTH_TOKEN!,
})

/** Runs a script as an operator would; with `settings`, with those alone. */
const run = (script: string, args: string[] = [], settings: Record<string, string> = env, input = '') =>
  new Promise<{ code: number; output: string }>((resolve) => {
    const path = join(import.meta.dirname, '../../scripts', script)
    const child = execFile(
      process.execPath,
      [...QUICKLY, path, ...args],
      { env: { ...settings, ...KEPT } },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    )
    child.stdin?.end(input)
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

  test('says what is missing, or that the database does not answer, and fails', async () => {
    const unset = await run('migrate.ts', [], {})
    expect(unset).toEqual({ code: 1, output: expect.stringContaining('TURSO_DATABASE_URL is missing') })
    const away = await run('migrate.ts', [], { TURSO_DATABASE_URL: 'http://127.0.0.1:9' })
    expect(away.code).toBe(1)
  })
})

describe('history:verify', () => {
  beforeAll(() => run('migrate.ts'))

  test('accepts heads as they are in the log: a typing error is not a finding', async () => {
    const head = `5.${'a'.repeat(43)}`
    for (const slip of ['5', head.slice(2), `${head}b`, `seal ${head}`]) {
      const { code, output } = await run('history-verify.ts', ['--head', head, '--head', slip])
      expect([code, output]).toEqual([
        1,
        expect.stringContaining(`--head ${slip} is not one: it is <number>.<head>`),
      ])
      expect(output).not.toContain('cut off')
    }
    expect(await run('history-verify.ts', ['--head', head])).toEqual({
      code: 1,
      output: expect.stringContaining('Seal 5 is known outside the database, and is not there'),
    })
  })
})

describe('history:verify without Redis', () => {
  beforeAll(() => run('migrate.ts'))

  test('fails, as nobody can know then what was cut off, unless told to do without', async () => {
    const away = { ...env, UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9' }
    expect(await run('history-verify.ts', [], away)).toEqual({
      code: 1,
      output: expect.stringContaining('Redis does not answer, and the newest seal is there'),
    })
    const { code, output } = await run('history-verify.ts', ['--without-redis'], away)
    expect([code, output]).toEqual([0, expect.stringContaining('No head from outside the database')])
    const both = await run('history-verify.ts', ['--without-redis', '--restored'], away)
    expect(both).toEqual({ code: 1, output: expect.stringContaining('--restored tells Redis') })
    expect((await run('history-verify.ts')).code).toBe(0)
  })
})

describe('db:restored', () => {
  beforeAll(() => run('migrate.ts'))

  test('asks which database it is: nothing ends without --yes, nor a second time without --again', async () => {
    const session = () => db.execute('SELECT id FROM sessions')
    const add = () =>
      db.execute(`INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, expires_at, idle_expires_at)
        VALUES ('s', 'u', 0, 1, 1, 1, 1, 1)`)
    // As it was before: a test that fails is tried once more.
    await db.batch(['DELETE FROM sessions', "DELETE FROM system_state WHERE name LIKE 'restor%'"])
    await add()
    for (const args of [[], ['--dry-run', '--yes']]) {
      const { code, output } = await run('db-restored.ts', args)
      expect([code, output]).toEqual([0, expect.stringContaining(new URL(env.TURSO_DATABASE_URL!).host)])
      expect(output).toContain(
        `of https://roster.test, and its ledger at ${new URL(env.UPSTASH_REDIS_REST_URL!).host}:`,
      )
      expect(output).toContain('1 sessions would be ended')
      expect(output).toContain('0 API keys')
      expect(output).toContain('Nothing was done.')
      expect(output).toContain('The ledger in Redis has nothing that this database does not have: if')
    }
    expect((await session()).rows).toHaveLength(1)
    expect((await run('db-restored.ts', ['--yes'])).output).toContain('1 sessions ended')
    expect((await session()).rows).toHaveLength(0)
    await add()
    expect((await run('db-restored.ts', ['--yes'])).output).toContain('is not done twice')
    expect((await session()).rows).toHaveLength(1)
    expect((await run('db-restored.ts', ['--yes', '--again'])).output).toContain('1 sessions ended')
    await add()
    const { output } = await run('db-restored.ts', ['--yes', '--again'])
    expect(output.indexOf('Mind: ')).toBeGreaterThan(0)
    expect(output.indexOf('Mind: ')).toBeLessThan(output.indexOf('1 sessions ended'))
  })
})

describe('client:create', () => {
  beforeAll(() => run('migrate.ts'))
  const create = (...args: string[]) => run('create-client.ts', ['--name', 'Wiki', ...args])
  const at = ['--redirect-uri', 'https://wiki.test/callback']
  const total = async () => (await db.execute('SELECT count(*) AS total FROM oauth_clients')).rows[0]!.total

  test('prints what the app must be configured with, and a dry run adds nothing', async () => {
    expect(await create(...at, '--dry-run')).toEqual({ code: 0, output: 'Wiki: would be added\n' })
    expect(await total()).toBe(0)
    const made = await create(...at)
    expect(made).toEqual({
      code: 0,
      output: expect.stringMatching(/^client_id {6}[\w-]{36}\nclient_secret {2}\S+\n$/),
    })
    expect(await total()).toBe(1)
  })

  test('says in sentences what is wrong, in a dry run too', async () => {
    const before = await total()
    const wrong = ['--redirect-uri', 'http://wiki.test/callback']
    for (const args of [wrong, [...wrong, '--dry-run']])
      expect(await create(...args)).toEqual({
        code: 1,
        output: expect.stringMatching(/^redirect_uris\.0: .+\n$/),
      })
    for (const args of [[], ['--dry-run']])
      expect(await create(...args)).toEqual({
        code: 1,
        output: expect.stringMatching(/^redirect_uris: Is empty.+\n$/),
      })
    expect(await total()).toBe(before)
  })

  test('--scripts lets scripts sign in, only by the device flow, once, and updates an older app', async () => {
    const scripts = (...args: string[]) => run('create-client.ts', ['--scripts', ...args])
    const row = async () => {
      const { rows } = await db.execute({
        sql: 'SELECT name, type, grants, scopes, first_party FROM oauth_clients WHERE id = ?',
        args: [SCRIPTS_CLIENT_ID],
      })
      return rows.map((one) => ({ ...one }))
    }
    expect((await scripts('--dry-run')).output).toBe('Roster scripts: would be added\n')
    expect(await row()).toEqual([])
    expect(await scripts()).toEqual({ code: 0, output: 'Roster scripts: added\n' })
    const made = {
      name: 'Roster scripts',
      type: 'public',
      grants: JSON.stringify([DEVICE_CODE]),
      scopes: JSON.stringify(SCRIPT_SCOPES),
      first_party: 1,
    }
    expect(await row()).toEqual([made])
    expect((await scripts()).output).toBe('Roster scripts: there already\n')
    await db.execute({
      sql: "UPDATE oauth_clients SET scopes = '[]' WHERE id = ?",
      args: [SCRIPTS_CLIENT_ID],
    })
    expect((await scripts('--dry-run')).output).toBe('Roster scripts: would be brought up to date\n')
    expect((await scripts()).output).toBe('Roster scripts: brought up to date\n')
    expect(await row()).toEqual([made])
  })
})

describe('admin:create', () => {
  let email: string
  beforeAll(() => run('migrate.ts'))
  beforeEach(() => {
    email = `${crypto.randomUUID()}@people.test`
  })
  const create = (...args: string[]) => run('create-admin.ts', ['--email', email, ...args])
  const createBy = (settings: Record<string, string>, ...args: string[]) =>
    run('create-admin.ts', ['--email', email, ...args], { ...env, ...settings })
  /** Somebody who is there already. */
  const add = (role: string, { verifiedAt = 1 as number | null, failures = 0, status = 'active' } = {}) =>
    db.execute({
      sql: `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
        failed_logins, created_at, updated_at, email_verified_at) VALUES (?, ?, ?, 'Ada', 'x', ?, ?, 1, 0, ?, 1, 1, ?)`,
      args: [crypto.randomUUID(), email, email, role, status, failures, verifiedAt],
    })
  /** Everything in which somebody else could stand: a session, and a link that was mailed. */
  const addWaysIn = async () => {
    const { id } = (await find())!
    await db.execute({
      sql: `INSERT INTO sessions (id, user_id, counter, rotated_at, created_at, last_seen_at, idle_expires_at, expires_at)
        VALUES (?, ?, 0, 1, 1, 1, 9e12, 9e12)`,
      args: [crypto.randomUUID(), id!],
    })
    await db.execute({
      sql: `INSERT INTO api_keys (id, user_id, name, permissions, secret_hash, session_id, amr, created_at, rotated_at)
        VALUES (?, ?, 'CI', '[]', 'x', 's', '[]', 1, 1)`,
      args: [crypto.randomUUID(), id!],
    })
    await db.execute({
      sql: `INSERT INTO one_time_tokens (id, purpose, subject_id, email, email_normalized, code_tries, created_at, expires_at)
        VALUES (?, 'reset_password', ?, ?, ?, 0, 1, 9e12)`,
      args: [crypto.randomUUID(), id!, email, email],
    })
  }
  const openWaysIn = async () => {
    const { id } = (await find())!
    const sql = `SELECT (SELECT count(*) FROM api_keys WHERE user_id = :id) AS keys,
      (SELECT count(*) FROM sessions WHERE user_id = :id AND revoked_at IS NULL) AS sessions,
      (SELECT count(*) FROM one_time_tokens WHERE subject_id = :id AND spent_at IS NULL) AS links`
    return { ...(await db.execute({ sql, args: { id: id! } })).rows[0] }
  }
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

  test('makes an administrator, and a password if none is given; the second time it changes nothing', async () => {
    const made = await create('--name', 'Root')
    expect(made).toEqual({ code: 0, output: expect.stringMatching(/: created\nPassword: [\w-]{20}\n$/) })
    const password = /Password: (\S+)/.exec(made.output)![1]!
    expect(await find()).toMatchObject({
      email,
      name: 'Root',
      role: 'admin',
      status: 'active',
      email_verified_at: expect.any(Number),
    })
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

  test('says that somebody who is promoted has no password, and what sets one', async () => {
    await add('user')
    await db.execute({ sql: 'UPDATE users SET password_hash = NULL WHERE email = ?', args: [email] })
    const { output } = await create()
    expect(output).toContain(': promoted\nThey have no password: --new-password sets one.')
    expect(await find()).toMatchObject({ role: 'admin', password_hash: null })
  })

  test('LE6: a new password ends sessions, password links, keys and known devices', async () => {
    await add('admin')
    await addWaysIn()
    const { code, output } = await create('--new-password')
    expect([code, output]).toEqual([0, expect.stringContaining(': password replaced\nPassword: ')])
    expect(await openWaysIn()).toEqual({ keys: 0, sessions: 0, links: 0 })
    expect(await find()).toMatchObject({ role: 'admin', token_epoch: 1, device_epoch: 1 })
  })

  test('replaces the password if one is given, by ADMIN_PASSWORD or standard input', async () => {
    await add('admin')
    const given = await createBy({ ADMIN_PASSWORD: 'nine green bears run' })
    expect(given.output).toContain(': password replaced')
    expect(await opens('nine green bears run')).toBe(true)
    expect(await history()).toEqual([['password.changed', null]])
    const piped = await run('create-admin.ts', ['--email', email], env, 'ten silver wolves sing\n')
    expect(piped.output).toContain(': password replaced')
    expect(await opens('ten silver wolves sing')).toBe(true)
  })

  test('LE6: an account that a stranger made with an unproved address keeps nothing that opens it', async () => {
    await add('user', { verifiedAt: null })
    await addWaysIn()
    const { code, output } = await create()
    expect([code, output]).toEqual([
      0,
      expect.stringMatching(
        /: promoted, password replaced, address verified\n.*void: password, factors, sessions and links/,
      ),
    ])
    expect(await opens(/Password: (\S+)/.exec(output)![1]!)).toBe(true)
    expect(await openWaysIn()).toEqual({ keys: 0, sessions: 0, links: 0 })
    expect(await find()).toMatchObject({
      role: 'admin',
      token_epoch: 1,
      email_verified_at: expect.any(Number),
    })
    expect(await history()).toEqual([
      ['user.role_changed', '{"role":{"from":"user","to":"admin"}}'],
      ['password.changed', null],
    ])
  })

  test('RV1: what it revokes reaches Redis', async () => {
    await add('user')
    expect((await create()).code).toBe(0)
    const answer = await fetch(env.UPSTASH_REDIS_REST_URL!, {
      method: 'POST',
      headers: { authorization: `Bearer ${env.UPSTASH_REDIS_REST_TOKEN}` },
      body: '["KEYS","*"]',
    })
    const { result } = (await answer.json()) as { result: string[] }
    const { id } = (await find())!
    expect(result.some((key) => key.includes(String(id)))).toBe(true)
  })

  test('says what still keeps an administrator out', async () => {
    await add('admin', { failures: 100, status: 'disabled', verifiedAt: null })
    const required = { EMAIL_VERIFICATION: 'required', MAIL_FROM: 'Roster <roster@people.test>' }
    const { output } = await createBy(required)
    expect(output).toMatch(/nothing changed\n.*are disabled.*\n.*are locked.*\n.*not verified/)
    const { output: after } = await createBy({ ...required, ADMIN_PASSWORD: 'nine green bears run' })
    expect(after).toMatch(/: password replaced, address verified\n/)
    expect(after).toContain('are disabled')
    expect(after).not.toContain('are locked')
  })

  test('two at once make one administrator, and both say so in a sentence', async () => {
    const both = await Promise.all([create(), create()])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    const said = both.map(({ output }) => output).sort()
    expect(said.filter((output) => output.includes(': created\nPassword: '))).toHaveLength(1)
    expect(said.filter((output) => output.endsWith('already; nothing changed\n'))).toHaveLength(1)
    expect(await opens(/Password: (\S+)/.exec(said.join(''))![1]!)).toBe(true)
  })

  test('Fault 5: after a lost answer it finds the row it made, and shows the password', async () => {
    const shared = { libsql: env.TURSO_DATABASE_URL!, redis: env.UPSTASH_REDIS_REST_URL!, mail: '' }
    const proxy = await startProxy({
      shared,
      startFresh: async () => shared,
      redisMode: 'pass',
      redisToken: '',
    })
    const libsql = `${proxy.url}/admin/libsql/`
    const mode = JSON.stringify({ mode: 'reset-after', only: 'insert into "users"' })
    await fetch(`${libsql}__mode`, { method: 'PUT', body: mode })
    const { code, output } = await createBy({ TURSO_DATABASE_URL: libsql })
    await proxy.close()
    expect([code, output]).toEqual([0, expect.stringMatching(/: created\nPassword: [\w-]{20}\n$/)])
    expect(await opens(/Password: (\S+)/.exec(output)![1]!)).toBe(true)
    expect(await history()).toEqual([['user.created', '{"role":"admin"}']])
  })

  test('--dry-run says what would be done; --help what there is', async () => {
    expect(await create('--dry-run')).toEqual({ code: 0, output: `${email}: would be created\n` })
    expect(await find()).toBeUndefined()
    await add('user', { verifiedAt: null })
    const before = await find()
    expect((await create('--dry-run')).output).toContain('would be promoted, password replaced')
    expect(await find()).toEqual(before)
    expect(await create('--help')).toEqual({ code: 0, output: expect.stringContaining('--new-password') })
  })

  test.each([
    [['--password', 'seven brown foxes read'], "Unknown option '--password'"],
    [['--email', 'nobody'], 'nobody: Is not an e-mail address.'],
    [['--name', '\u200b'], '--name: '],
    [['--name', 'x'.repeat(101)], '--name: '],
  ])('refuses %j, in one line', async (args, reason) => {
    const { code, output } = await create(...args)
    expect([code, output]).toEqual([1, expect.stringContaining(reason)])
    expect(output).not.toMatch(/\n {4}at /)
    expect(await find()).toBeUndefined()
  })

  test('PW1: refuses a weak password; accepts an address with spaces around it', async () => {
    const weak = await createBy({ ADMIN_PASSWORD: 'password1234' })
    expect([weak.code, weak.output]).toEqual([1, expect.stringContaining('too common')])
    const ours = await createBy({ ORGANISATION: 'Fjord & Co', ADMIN_PASSWORD: 'Fjord & Co 2031!' })
    expect([ours.code, ours.output]).toEqual([
      1,
      expect.stringMatching(/^The password: it is made of .*organisation\.$/m),
    ])
    expect(await find()).toBeUndefined()
    expect((await run('create-admin.ts', ['--email', `  ${email} `])).output).toContain(`${email}: created`)
    expect(await find()).toMatchObject({ email })
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

describe('admin:reset-factors', () => {
  test('MF6, CK2: removes the factors of the only administrator, and refuses an unknown user; a key stays while a seed is under it', async () => {
    await run('migrate.ts')
    await run('create-admin.ts', ['--email', 'lost@roster.test'], {
      ...env,
      ADMIN_PASSWORD: 'seven brown foxes read',
    })
    const id = "(SELECT id FROM users WHERE email = 'lost@roster.test')"
    await db.execute(
      `INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at) VALUES (${id}, 's', 'k', 0, 0)`,
    )
    const dry = await run('reset-factors.ts', ['--email', 'lost@roster.test', '--dry-run'])
    expect(dry).toEqual({ code: 0, output: expect.stringContaining('would be reset') })
    expect((await run('reset-factors.ts', ['--email', 'nobody@roster.test'])).code).toBe(1)
    expect((await db.execute('SELECT * FROM factors')).rows).toHaveLength(1)
    // A seed is lost with its key, so the key stays until clean-up has put the seed under another.
    const published = await rotateSecretKeys(env.SECRET_KEYS!, 'publish')
    const SECRET_KEYS = await rotateSecretKeys(published, 'sign')
    const retire = () => run('keys.ts', ['rotate', '--step', 'retire'], { ...database(), SECRET_KEYS })
    const putUnder = (key: string) =>
      db.execute({ sql: 'UPDATE factors SET key_id = ?', args: [keyIdOf(keyring([key], 'totp_seed')[0])] })
    await putUnder(env.SECRET_KEYS!)
    const kept = await retire()
    expect(kept).toEqual({ code: 1, output: expect.stringContaining('1 authenticator app is still under') })
    expect(kept.output).not.toContain('SECRET_KEYS=')
    await putUnder(SECRET_KEYS.split(',')[0]!)
    // So is what a webhook signs with.
    const hook = keyIdOf(keyring([env.SECRET_KEYS!], 'webhook_secret')[0])
    await db.execute({
      sql: `INSERT INTO webhooks (id, url, types, secret, created_at, updated_at, version)
        VALUES ('hook', 'https://a.example', '[]', ?, 0, 0, 0)`,
      args: [`${hook}.x`],
    })
    expect(await retire()).toEqual({
      code: 1,
      output: expect.stringContaining('1 secret of a webhook is still under'),
    })
    await db.execute('DELETE FROM webhooks')
    await db.execute('ALTER TABLE webhooks RENAME TO later')
    const onOlder = await retire().finally(() => db.execute('ALTER TABLE later RENAME TO webhooks'))
    expect(onOlder).toEqual({
      code: 1,
      output:
        'SECRET_KEYS: the database is of an older version than this script, so nothing is retired. First: npm run db:migrate\n',
    })
    // A password is not: its owner has another mailed. Whose it is, is said first.
    expect(await retire()).toEqual({
      code: 0,
      output: expect.stringMatching(
        /SECRET_KEYS=[\s\S]*passwords? would be lost, until a reset by mail: .*lost@roster\.test/,
      ),
    })
    const done = await run('reset-factors.ts', ['--email', 'lost@roster.test'])
    expect(done).toEqual({ code: 0, output: expect.stringContaining('are reset') })
    expect((await db.execute('SELECT * FROM factors')).rows).toEqual([])
  })
  test('enqueues its notice for the Worker, where only the Worker can send mail, and ends well', async () => {
    await run('migrate.ts')
    await run('create-admin.ts', ['--email', 'bound@roster.test'], {
      ...env,
      ADMIN_PASSWORD: 'seven brown foxes read',
    })
    const id = "(SELECT id FROM users WHERE email = 'bound@roster.test')"
    await db.execute(
      `INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at) VALUES (${id}, 's', 'k', 0, 0)`,
    )
    // Mail goes by the binding of wrangler.toml, which a script does not have.
    const settings = { ...env, MAIL_FROM: 'Roster <no-reply@roster.test>' }
    const done = await run('reset-factors.ts', ['--email', 'bound@roster.test'], settings)
    expect(done).toEqual({ code: 0, output: 'bound@roster.test: their second factors are reset\n' })
    const { rows } = await db.execute(
      'SELECT kind, recipient, attempts, sent_at, dead_at, refusal FROM outbox',
    )
    expect(rows.map((row) => ({ ...row }))).toEqual([
      {
        ...{ kind: 'factors_reset', recipient: 'bound@roster.test', attempts: 0 },
        ...{ sent_at: null, dead_at: null, refusal: null },
      },
    ])
  })
})

describe('redis:move', () => {
  const OLD = 'https://roster.test'
  const moved = () => ({ ...env, ISSUER: 'https://id.roster.test' })
  const gone = { id: randomUUID(), email_normalized: 'gone@roster.test', external_id: 'e1' }
  /** Whether an import of an older list would leave this person out. */
  const isErased = (settings: object, person: Partial<Erased>) =>
    withResources(settings, async (resources) => {
      const found = findErasedAmong(resources, [person], (one) => one)
      return (await found.answer([])).has(person)
    })
  const headOf = (settings: object) =>
    withResources(settings, async ({ redis }) => (await redis.mget([HEAD_KEY]))?.[0])
  const entriesOf = async (settings: object) =>
    (await withResources(settings, readLedger))?.map(({ id }) => id)

  test('takes the ledger and the newest seal along to another issuer: who was erased stays erased', async () => {
    await run('migrate.ts')
    const eventId = firstIdAt(Date.now() - 60_000)
    await withResources(env, async (resources) => {
      await resources.redis.mark(erasureForLedger(resources, gone)!)
      await storeHead(resources, '7.head')
    })
    // Only the ledger has it; and the Worker at the new issuer has begun a ledger of its own.
    const lines = new Map([[`${eventId} ${randomUUID()} password.changed  `, Date.now() - 60_000]])
    const place = { key: 'no_place', from: '', to: 'x' }
    await withResources(env, ({ redis }) =>
      redis.enter(LEDGER_KEY, { lines, least: 0, marks: [], place, lifetimeMs: 600_000 }),
    )
    await withResources(moved(), updateLedger)
    const byAddress = { email_normalized: gone.email_normalized }
    expect([await isErased(env, byAddress), await isErased(moved(), byAddress)]).toEqual([true, false])
    expect(await entriesOf(moved())).not.toContain(eventId)

    expect((await run('redis-move.ts', [], moved())).output).toContain('--from is missing')
    expect(await run('redis-move.ts', ['--from', 'https://mistyped.test'], moved())).toEqual({
      code: 1,
      output: expect.stringContaining('Redis has nothing of https://mistyped.test'),
    })
    const dry = await run('redis-move.ts', ['--from', OLD, '--dry-run'], moved())
    expect(dry).toEqual({ code: 0, output: expect.stringContaining('would move: 3 digests') })
    expect(await isErased(moved(), byAddress)).toBe(false)

    const done = await run('redis-move.ts', ['--from', OLD], moved())
    expect(done).toEqual({ code: 0, output: expect.stringContaining('moved: 3 digests') })
    for (const [name, value] of Object.entries(gone))
      expect([name, await isErased(moved(), { [name]: value })]).toEqual([name, true])
    expect(await headOf(moved())).toBe('7.head')
    expect(await entriesOf(moved())).toContain(eventId)
    // Nothing is left for a second time, and what was moved stays.
    expect((await run('redis-move.ts', ['--from', OLD], moved())).code).toBe(1)
    expect([await isErased(env, byAddress), await isErased(moved(), byAddress)]).toEqual([false, true])
  })
})
