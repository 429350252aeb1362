import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { type Client, createClient } from '@libsql/client/web'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newSecret } from '../../scripts/keys.ts'
import { listen } from '../../scripts/local/process.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { KEPT, QUICKLY } from '../support/scripts.ts'
import { startStandIns } from '../support/stand-ins.ts'

let dir: string
let db: Client
let redis: Awaited<ReturnType<typeof startUpstash>>
let standIns: Awaited<ReturnType<typeof startStandIns>>
let closers: (() => Promise<void>)[]
let deployed: ReturnType<typeof standIns.makeConfig>
const redisToken = newSecret()

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roster-setup-'))
  const database = await startSqld({ dir: join(dir, 'database') })
  redis = await startUpstash({ token: redisToken, engine: 'embedded', dir: join(dir, 'redis') })
  standIns = await startStandIns(dir, database.url)
  closers = [standIns.close, database.close, redis.close]
  db = createClient({ url: database.url })
  deployed = standIns.makeConfig('roster-test')
})
afterAll(async () => {
  for (const close of closers) await close()
  rmSync(dir, { recursive: true, force: true })
})

/** Runs a script as an operator would, who types `answers`. */
const run = (script: string, args: string[], answers: string[] = [], env: Record<string, string> = {}) =>
  new Promise<{ code: number; output: string }>((done) => {
    const path = join(import.meta.dirname, '../../scripts', script)
    const child = execFile(
      process.execPath,
      [...QUICKLY, path, ...args],
      { env: { PATH: `${standIns.bin}:/usr/bin:/bin`, ...KEPT, ...env } },
      (error, stdout, stderr) => done({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    )
    child.stdin?.end(answers.map((answer) => `${answer}\n`).join(''))
  })
const setUp = (answers: string[], env?: Record<string, string>) =>
  run('setup.ts', ['--config', deployed.config], answers, env)
/** In the environment of a script: `body` answers its look-ups of domains. */
const withLookup = (body: string) => {
  const code = `import dns from 'node:dns/promises'
    import { syncBuiltinESMExports } from 'node:module'
    dns.lookup = async () => { ${body} }
    syncBuiltinESMExports()`
  return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(code)}` }
}
const failWith = (code: string) => withLookup(`throw Object.assign(new Error('of DNS'), { code: '${code}' })`)
const keptNow = () => parseEnv(readFileSync(deployed.kept, 'utf8')) as Record<string, string>
const countOf = async (sql: string) => (await db.execute(sql)).rows[0]!.total

describe('setup', () => {
  const admin = 'root@people.test'

  test('asks for the domain first, says what a later move breaks, and stops at a wrong answer', async () => {
    const { code, output } = await setUp(['', redis.url, 'a-token-of-another'])
    expect(code).toBe(1)
    const asked = ['DOMAIN: ', 'UPSTASH_REDIS_REST_URL: ', 'UPSTASH_REDIS_REST_TOKEN: ']
    expect(output.match(/^[A-Z_]+: /gm)).toEqual(asked)
    expect(output.slice(0, output.indexOf('DOMAIN: '))).toMatch(/"iss"[\s\S]*links in mails[\s\S]*passkeys/)
    expect(output).toContain(`Redis at ${redis.url} answered 401.`)
    expect(output).toContain('What was done stays.')
    // What was made stays, and what was wrong is asked for again.
    expect(keptNow()).toMatchObject({ DOMAIN: '', TURSO_AUTH_TOKEN: 'token-of-the-database' })
    expect(keptNow()).not.toHaveProperty('UPSTASH_REDIS_REST_TOKEN')
    expect(statSync(deployed.kept).mode & 0o777).toBe(0o600)
  })

  test('continues after a failure with what was made before: one database, one administrator, the same keys', async () => {
    standIns.failing.push('wrangler secret bulk')
    const failed = await setUp([redis.url, redisToken, '', 'nobody', admin])
    expect(failed.code).toBe(1)
    expect(failed.output).toContain('That is not an e-mail address.')
    expect(failed.output).toMatch(/Migrations applied: \d+\.\nroot@people\.test: created\.\nPassword: \S+\n/)
    expect(failed.output).toContain('the network is away')
    const before = keptNow()
    expect(before.ISSUER).toBe(standIns.address)

    const { code, output } = await setUp([])
    expect([code, output]).toEqual([0, expect.stringContaining('signed in, refreshed, signed out')])
    expect(output).toContain('is an administrator already')
    expect(output).toMatch(
      /What to do next:\n1\. Sign in at http:\/\/localhost:\d+\/signin as root@people\.test/,
    )
    expect(keptNow()).toEqual({ ...before, PUT_BY_SETUP: expect.stringContaining('SECRET_KEYS') })
    const said = standIns.calls.map(({ tool, args }) => [tool, ...args.slice(0, 2)].join(' '))
    expect(said.filter((one) => one === 'turso db create')).toHaveLength(1)
    // The address comes of a first deployment; then all secrets go at once, and what was deployed last has them.
    expect(said.filter((one) => /^wrangler (deploy|secret)/.test(one))).toEqual([
      'wrangler deploy --minify',
      'wrangler secret list',
      'wrangler secret bulk',
      'wrangler secret list',
      'wrangler secret bulk',
      'wrangler deploy --minify',
    ])
    expect(Object.keys(standIns.secrets).sort()).toEqual([
      'HISTORY_KEY',
      'ISSUER',
      'JWT_KEYS',
      'OPENID_KEYS',
      'SECRET_KEYS',
      'TURSO_AUTH_TOKEN',
      'TURSO_DATABASE_URL',
      'UPSTASH_REDIS_REST_TOKEN',
      'UPSTASH_REDIS_REST_URL',
    ])
    // No secret is an argument, which everybody on the machine may read.
    const args = JSON.stringify(standIns.calls.map((call) => call.args))
    for (const name of ['SECRET_KEYS', 'UPSTASH_REDIS_REST_TOKEN']) expect(args).not.toContain(before[name])

    const password = /Password: (\S+)/.exec(failed.output)![1]!
    const login = await fetch(`${standIns.address}/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: admin, password }),
    })
    expect(login.status).toBe(200)
  })

  test('does not replace the keys that passwords are under if its file was lost or is an old one', async () => {
    const file = readFileSync(deployed.kept, 'utf8')
    const { SECRET_KEYS, ...others } = keptNow()
    const write = (values: object) =>
      writeFileSync(
        deployed.kept,
        Object.entries(values)
          .map(([name, value]) => `${name}='${value}'\n`)
          .join(''),
      )
    const before = { ...standIns.secrets }
    try {
      for (const values of [others, { ...others, SECRET_KEYS: newSecret() }]) {
        write(values)
        const { code, output } = await setUp([])
        expect([code, output]).toEqual([1, expect.stringContaining('are under a key that is not in ')])
      }
      expect(standIns.secrets).toEqual(before)
      // Where somebody has the keys at hand, they are taken.
      write(others)
      expect((await setUp([], { SECRET_KEYS: SECRET_KEYS! })).code).toBe(0)
      expect(standIns.secrets).toEqual(before)
    } finally {
      writeFileSync(deployed.kept, file)
    }
  })

  test('takes from the Worker what its file no longer has, so that another way to send mail replaces the one before', async () => {
    const file = readFileSync(deployed.kept, 'utf8')
    const before = { ...standIns.secrets }
    const console = () => fetch(`${standIns.address}/admin`, { redirect: 'manual' })
    const people = () => fetch(`${standIns.address}/v1/users`)
    /** What setup notes of itself stays, whatever somebody does to the other lines. */
    const write = (lines: string) => {
      const put = /^PUT_BY_SETUP=.*\n/m.exec(readFileSync(deployed.kept, 'utf8'))![0]
      writeFileSync(deployed.kept, lines.replace(/^PUT_BY_SETUP=.*\n/m, '') + put)
    }
    const setUpWith = async (lines: string) => {
      write(file.replace(/^MAIL_FROM=.*\n/m, '') + lines)
      const { code, output } = await setUp([])
      expect([code, output]).toEqual([0, expect.stringContaining('signed in, refreshed, signed out')])
      return output
    }
    const from = "MAIL_FROM='Roster <no-reply@people.test>'\nRESEND_API_KEY='re_key-of-the-mail-service'\n"
    try {
      await setUpWith(`${from}CONSOLE='off'\n`)
      expect((await console()).status).toBe(404)

      // Where the Worker's names cannot be read, nothing is removed, until a later run can.
      standIns.failing.push('wrangler secret list')
      expect(await setUpWith(from)).toContain('so nothing was removed: the network is away')
      expect(standIns.secrets).toHaveProperty('CONSOLE')
      Object.assign(standIns.secrets, { OF_SOMEBODY: 'kept', PRIVILEGED_HOURS: '8' })

      const said = await setUpWith(`${from}SMTP_URL='smtps://ada:secret-of-hers@mail.people.test:465'\n`)
      expect(said).toContain('Secrets removed, as the file does not have them: ')
      expect((await people()).status).toBe(401)
      expect((await console()).status).toBe(303)
      expect(standIns.secrets).toMatchObject({
        SMTP_URL: expect.any(String),
        OF_SOMEBODY: 'kept',
        PRIVILEGED_HOURS: '8',
      })
      for (const gone of ['RESEND_API_KEY', 'CONSOLE']) expect(standIns.secrets).not.toHaveProperty(gone)
    } finally {
      write(file)
    }
    expect((await setUp([])).code).toBe(0)
    expect(standIns.secrets).toEqual({ ...before, OF_SOMEBODY: 'kept', PRIVILEGED_HOURS: '8' })
    for (const name of ['OF_SOMEBODY', 'PRIVILEGED_HOURS']) delete standIns.secrets[name]
  })

  test('makes nobody an administrator while there is one, even if the first one was demoted or erased', async () => {
    const rootNow = async () =>
      (await db.execute({ sql: 'SELECT role, email FROM users WHERE email = ?', args: [admin] })).rows
    const second = '01900000-0000-7000-8000-00000000000a'
    await db.batch(
      [
        `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
          failed_logins, created_at, updated_at, email_verified_at)
          SELECT '${second}', 'second@people.test', 'second@people.test', 'Second', password_hash, 'admin', 'active', 1, 0, 0, 1,
            1, 1 FROM users WHERE email = '${admin}'`,
        `UPDATE users SET role = 'user' WHERE email = '${admin}'`,
      ],
      'write',
    )
    const { code, output } = await setUp([])
    expect([code, output]).toEqual([0, expect.stringContaining('There is an administrator already.')])
    expect(await rootNow()).toEqual([{ role: 'user', email: admin }])

    await db.execute(`UPDATE users SET email = 'gone@people.test', email_normalized = 'gone@people.test'
      WHERE email = '${admin}'`)
    expect((await setUp([])).code).toBe(0)
    expect(await rootNow()).toEqual([])

    // Without any, it makes one.
    await db.batch(
      [
        `UPDATE users SET email = '${admin}', email_normalized = '${admin}' WHERE email = 'gone@people.test'`,
        `UPDATE users SET role = 'user' WHERE id = '${second}'`,
      ],
      'write',
    )
    expect((await setUp([])).output).toContain(`${admin}: promoted.`)
    expect(await rootNow()).toEqual([{ role: 'admin', email: admin }])
    await db.execute(`DELETE FROM users WHERE id = '${second}'`)
  })

  test('leaves no smoke-test user behind, even if an earlier run was stopped', async () => {
    expect(await countOf('SELECT count(*) AS total FROM users')).toBe(1)
    await db.execute(`INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version,
      token_epoch, failed_logins, created_at, updated_at, email_verified_at)
      VALUES ('01900000-0000-7000-8000-000000000000', 'setup@roster.invalid', 'setup@roster.invalid', 'Setup', 'x', 'user',
        'active', 1, 0, 0, 1, 1, 1)`)
    const { code, output } = await setUp([])
    expect([code, output]).toEqual([0, expect.stringContaining('what was revoked is dead')])
    expect(await countOf('SELECT count(*) AS total FROM users')).toBe(1)
    expect(await countOf('SELECT count(*) AS total FROM sessions WHERE revoked_at IS NULL')).toBeLessThan(2)
  })

  test('writes a domain into wrangler.toml, and knows the issuer from it before anything is deployed', async () => {
    const own = standIns.makeConfig('roster-domain')
    const before = standIns.calls.length
    standIns.failing.push('wrangler secret bulk')
    const { code, output } = await run(
      'setup.ts',
      ['--config', own.config],
      ['https://roster.people.test', 'roster.people.test', redis.url, redisToken, '', admin],
      failWith('ENOTFOUND'),
    )
    // If the tests before have put passwords into the database, it stops at its new keys, before any secret.
    standIns.failing.length = 0
    expect([code, output]).toEqual([1, expect.stringContaining('That is not a plain domain in ASCII.')])
    expect(readFileSync(own.config, 'utf8')).toContain(
      '\nroutes = [{ pattern = "roster.people.test", custom_domain = true }]\n',
    )
    expect(readFileSync(own.kept, 'utf8')).toContain("ISSUER='https://roster.people.test'")
    const said = standIns.calls.slice(before).map(({ tool, args }) => `${tool} ${args[0]}`)
    expect(said).not.toContain('wrangler deploy')
    const dry = await run('setup.ts', ['--config', own.config, '--dry-run'])
    expect(dry).toEqual({
      code: 0,
      output: expect.stringMatching(/^Would set up roster-domain\. Known: DOMAIN, /),
    })
  })

  test('takes no domain that is in use elsewhere: neither one typed in nor one that a copied wrangler.toml names', async () => {
    const own = standIns.makeConfig('roster-staging')
    const before = standIns.calls.length
    const inUse = 'localhost is in use: DNS knows it'
    const typed = await run('setup.ts', ['--config', own.config], ['localhost'])
    expect([typed.code, typed.output]).toEqual([1, expect.stringContaining(inUse)])
    expect(typed.output).toContain('Choose another domain.')
    expect(readFileSync(own.config, 'utf8')).not.toContain('localhost')

    const text = readFileSync(own.config, 'utf8')
    writeFileSync(own.config, `routes = [{ pattern = "localhost", custom_domain = true }]\n${text}`)
    for (const _ of ['at first', 'and when it is run again']) {
      const copied = await run('setup.ts', ['--config', own.config])
      expect([copied.code, copied.output]).toEqual([1, expect.stringContaining(inUse)])
      expect(copied.output).toContain(`Name another domain in ${own.config}.`)
    }
    const said = standIns.calls.slice(before).map(({ tool, args }) => `${tool} ${args[0]}`)
    expect(new Set(said)).toEqual(new Set(['wrangler whoami']))

    // Where the file says that the domain is this deployment's, it goes on.
    writeFileSync(own.kept, "DOMAIN='localhost'\n")
    const { code, output } = await run('setup.ts', ['--config', own.config])
    expect([code, output]).toEqual([1, expect.stringContaining('UPSTASH_REDIS_REST_URL is missing')])
  })

  test('keeps a domain only once DNS has said that it is free: not if it is stopped meanwhile, or DNS does not know', async () => {
    const own = standIns.makeConfig('roster-unknown')
    const typed = (env: Record<string, string>) =>
      run('setup.ts', ['--config', own.config], ['roster.people.test'], env)
    for (const [env, said] of [
      [withLookup('process.exit(130)'), [130, expect.any(String)]],
      [failWith('EAI_AGAIN'), [1, expect.stringContaining('could not be looked up in DNS (EAI_AGAIN)')]],
      [withLookup(''), [1, expect.stringContaining('roster.people.test is in use')]],
    ] as const) {
      const { code, output } = await typed(env)
      expect([code, output]).toEqual(said)
      expect(readFileSync(own.config, 'utf8')).not.toContain('roster.people.test')
    }
    const { output } = await typed(failWith('ENODATA'))
    expect(output).toContain('UPSTASH_REDIS_REST_URL is missing')
    expect(readFileSync(own.kept, 'utf8')).toContain("DOMAIN='roster.people.test'")
  })

  test('leaves a way to send mail that somebody put there by hand, while its file has none', async () => {
    const byHand = { MAIL_FROM: 'no-reply@people.test', RESEND_API_KEY: 're_key-of-the-mail-service' }
    Object.assign(standIns.secrets, byHand)
    standIns.failing.push('wrangler deploy')
    const { code, output } = await setUp([])
    expect([code, output]).toEqual([1, expect.stringContaining('Secrets put: ')])
    expect(standIns.secrets).toMatchObject(byHand)
    for (const name of Object.keys(byHand)) delete standIns.secrets[name]
  })

  test('a dry run accepts a mail server, and says what in its file is invalid or not a setting', async () => {
    const own = standIns.makeConfig('roster-dry')
    const dry = (file: string, env = {}) => {
      writeFileSync(own.kept, file)
      return run('setup.ts', ['--config', own.config, '--dry-run'], [], env)
    }
    const server = { SMTP_URL: 'smtps://ada:secret-of-hers@mail.people.test:465' }
    const fine = await dry("MAIL_FROM='Roster <no-reply@people.test>'\nWIKI='no'\n", server)
    expect(fine.code, fine.output).toBe(0)
    expect(fine.output).toMatch(/Known: SMTP_URL, MAIL_FROM\./)
    expect(fine.output).not.toContain('RESEND_API_KEY')
    expect(fine.output).toContain('WIKI is not a setting, and is not put there.')
    const unfit = await dry(
      "SIGNUP='perhaps'\nORGANISATIO='Corp'\nMAIL_FROM='no-reply@people.test'\nSMTP_URL='smtps://mail.people.test:587'\n",
    )
    expect(unfit.code).toBe(1)
    expect(unfit.output).toContain('Would ask, where it cannot find or make it:')
    for (const sentence of [
      'SIGNUP is not one of its words. Write open or closed.',
      'ORGANISATIO is not a setting. Write ORGANISATION,',
      'SMTP_URL has port 587',
    ])
      expect(unfit.output).toContain(sentence)
    expect(await dry("ADMIN_EMAIL='ada'\n")).toEqual({
      code: 1,
      output: expect.stringContaining('ADMIN_EMAIL is not an e-mail address.'),
    })
  })

  test('says in a sentence that nobody is logged in, and which setting is invalid', async () => {
    const own = standIns.makeConfig('roster-unfit')
    standIns.failing.push('wrangler whoami')
    const stranger = await run('setup.ts', ['--config', own.config])
    expect(stranger).toEqual({ code: 1, output: expect.stringContaining('npx wrangler login') })
    writeFileSync(own.kept, "DOMAIN=''\nISSUER='https://roster.people.test'\nSIGNUP='perhaps'\n")
    const unfit = await run('setup.ts', ['--config', own.config], [redis.url, redisToken, '', admin])
    expect(unfit).toEqual({
      code: 1,
      output: expect.stringContaining('SIGNUP is not one of its words. Write open or closed.'),
    })
    expect(unfit.output).not.toMatch(/\n {4}at /)
  })
})

describe('doctor', () => {
  const examine = (env: Record<string, string> = {}, settings = deployed.kept) =>
    run('doctor.ts', ['--settings', settings], [], env)
  /** The deployment's settings, some of them others. */
  const withOthers = (others: Record<string, string>) => {
    const path = join(dir, 'others.env')
    const lines = Object.entries({ ...keptNow(), ...others }).map(([name, value]) => `${name}='${value}'`)
    writeFileSync(path, lines.join('\n'))
    return path
  }

  test('finds nothing wrong after setup, and says where it could not look', async () => {
    const { code, output } = await examine()
    expect([code, output]).toEqual([0, expect.stringContaining('Nothing is wrong.')])
    for (const about of [
      'settings',
      'deployment',
      'keys',
      'schema',
      'clock',
      'cron',
      'administrators',
      'passkeys',
      'near reads',
    ])
      expect(output).toMatch(new RegExp(`^ok +${about} `, 'm'))
    expect(output).toMatch(/^note +eviction +Whether Redis evicts could not be looked at/m)
    expect(output).toMatch(/^note +mail +No mail is set up/m)
  })

  test('so do the other scripts that act on a deployment find its settings in that file, and nothing else there', async () => {
    const of = ['--settings', deployed.kept]
    // What the file does not name is not taken from elsewhere either.
    const migrated = await run('migrate.ts', ['--dry-run', ...of], [], {
      TURSO_DATABASE_URL: 'http://127.0.0.1:9',
    })
    expect([migrated.code, migrated.output]).toEqual([0, 'nothing to apply\n'])
    writeFileSync(
      deployed.kept,
      `${readFileSync(deployed.kept, 'utf8')}ADMIN_PASSWORD='of the first administrator'\n`,
    )
    const admin = await run('create-admin.ts', ['--email', 'root@people.test', '--dry-run', ...of])
    expect([admin.code, admin.output]).toEqual([0, 'root@people.test: would be left as they are\n'])
    const rotated = await run('keys.ts', ['rotate', '--step', 'publish', '--dry-run', ...of])
    expect([rotated.code, rotated.output]).toEqual([0, expect.stringContaining('SECRET_KEYS: ')])
  })

  test('says that a file of settings does not exist, and looks at nothing else', async () => {
    const { code, output } = await examine(keptNow(), join(dir, 'mistyped.env'))
    expect([code, output]).toEqual([1, expect.stringContaining('There is no file')])
    expect(output).not.toContain('Nothing is wrong.')
  })

  test('names each invalid setting, and looks no further', async () => {
    const { code, output } = await examine(
      {},
      withOthers({ ISSUER: 'http://roster.people.test', SIGNUP: 'x' }),
    )
    expect(code).toBe(1)
    expect(output).toMatch(/^WRONG +settings +ISSUER is http:\/\/.*\nWRONG +settings +SIGNUP /)
    expect(output).toContain('2 things are wrong.')
  })

  test('notices keys that are not deployed, an outdated schema, and an unavailable deployment', async () => {
    const { JWT_KEYS } = await (await import('../../scripts/keys.ts')).generate()
    const others = await examine({}, withOthers({ JWT_KEYS }))
    expect(others.output).toMatch(/^WRONG +keys +The deployment publishes other keys/m)

    const { rows } = await db.execute('SELECT name FROM __drizzle_migrations ORDER BY name DESC LIMIT 1')
    const newest = String(rows[0]!.name)
    const row = (
      await db.execute({ sql: 'SELECT * FROM __drizzle_migrations WHERE name = ?', args: [newest] })
    ).rows[0]!
    await db.execute({ sql: 'DELETE FROM __drizzle_migrations WHERE name = ?', args: [newest] })
    const behind = await examine()
    await db.execute({
      sql: 'INSERT INTO __drizzle_migrations (name, hash, created_at) VALUES (?, ?, ?)',
      args: [newest, row.hash!, row.created_at!],
    })
    expect(behind.output).toMatch(
      new RegExp(`^WRONG +schema +1 migrations are missing, from ${newest} on`, 'm'),
    )

    const away = await examine({}, withOthers({ ISSUER: 'http://localhost:9' }))
    expect([away.code, away.output]).toEqual([
      1,
      expect.stringMatching(/^WRONG +deployment +It could not be asked/m),
    ])
    // What can be looked at all the same is looked at.
    expect(away.output).toMatch(/^ok +administrators /m)
  })

  test('notes a retired key that an old password is still under, and calls it wrong once the last one to sign in is', async () => {
    const { rows } = await db.execute('SELECT id, password_hash FROM users LIMIT 1')
    const [root] = rows
    const elsewhere = String(root!.password_hash).replace(/,k=[0-9a-f]+/, ',k=00000000')
    expect(elsewhere).not.toBe(root!.password_hash)
    const old = '00000000-0000-7000-8000-000000000001'
    await db.execute({
      sql: `INSERT INTO users (id, email, email_normalized, name, password_hash, role, status, version, token_epoch,
        failed_logins, created_at, updated_at, email_verified_at)
        VALUES (?, 'old@people.test', 'old@people.test', 'Old', ?, 'user', 'active', 1, 0, 0, 1, 1, 1)`,
      args: [old, elsewhere],
    })
    const some = await examine()
    const setHash = (hash: typeof elsewhere | undefined) =>
      db.execute({ sql: 'UPDATE users SET password_hash = ? WHERE id = ?', args: [hash!, root!.id!] })
    await setHash(elsewhere)
    const all = await examine()
    await setHash(String(root!.password_hash))
    await db.execute({ sql: 'DELETE FROM users WHERE id = ?', args: [old] })
    expect(some.output).toMatch(/^WRONG +keys +degraded\..* because it leaked/m)
    expect(some.output).toMatch(/^note +secret keys +SECRET_KEYS lacks a key that some passwords are under/m)
    expect(all.output).toMatch(/^WRONG +keys +failed\./m)
    expect(all.output).toMatch(/^WRONG +secret keys /m)
    expect((await examine()).output).toMatch(/^ok +secret keys /m)
  })

  test('notices that clean-up does not run, mails were refused, or Redis is unavailable', async () => {
    const old = Date.now() - 3 * 3_600_000
    await db.batch([
      { sql: "UPDATE system_state SET at = ? WHERE name = 'began'", args: [old] },
      { sql: "INSERT INTO system_state (name, at, status) VALUES ('mail_refused', ?, 401)", args: [old] },
    ])
    const { code, output } = await examine({}, withOthers({ UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9' }))
    await db.batch([
      { sql: "UPDATE system_state SET at = ? WHERE name = 'began'", args: [Date.now()] },
      "DELETE FROM system_state WHERE name = 'mail_refused'",
    ])
    expect(code).toBe(1)
    expect(output).toMatch(/^WRONG +cron +failed\. No clean-up has run/m)
    expect(output).toMatch(/^WRONG +cron +The clean-up last finished never/m)
    expect(output).toMatch(/^WRONG +mail_service +failed\./m)
    expect(output).toMatch(/^WRONG +mail +The mail service refused at .* with 401/m)
    expect(output).toMatch(/^WRONG +redis +It does not answer from here\./m)
  })

  test('says who is left without a way in: no administrator, a provider that is gone, passkeys of another domain', async () => {
    const { rows } = await db.execute("SELECT id FROM users WHERE email = 'root@people.test'")
    const id = String(rows[0]!.id)
    await db.batch([
      { sql: 'UPDATE users SET failed_logins = 100 WHERE id = ?', args: [id] },
      {
        sql: "INSERT INTO identities (id, user_id, provider, subject, created_at) VALUES ('i1', ?, 'gone', 's1', 1)",
        args: [id],
      },
      {
        sql: `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid,
          may_be_synced, is_synced, name, created_at) VALUES ('p1', ?, 'c', 'old.people.test', 'k', 0, '[]', '', 0, 0, 'Key', 1)`,
        args: [id],
      },
    ])
    const { code, output } = await examine()
    await db.batch([
      { sql: 'UPDATE users SET failed_logins = 0 WHERE id = ?', args: [id] },
      'DELETE FROM identities',
      'DELETE FROM passkeys',
    ])
    expect(code).toBe(1)
    expect(output).toMatch(/^WRONG +administrators +None can sign in/m)
    expect(output).toMatch(new RegExp(`^WRONG +ways in +1 signed in with a provider.*${id}`, 'm'))
    expect(output).toMatch(/^WRONG +passkeys +1 made for old\.people\.test no longer work/m)
  })

  describe('with a management key of Upstash', () => {
    let upstash: Server
    let url: string
    let databases: object[]
    beforeAll(async () => {
      upstash = createServer((request, response) => {
        const isKnown = request.headers.authorization === `Basic ${btoa('ops@people.test:key')}`
        response.statusCode = request.url === '/v2/redis/databases' && isKnown ? 200 : 401
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(databases))
      })
      url = `http://127.0.0.1:${await listen(upstash)}`
    })
    afterAll(() => void upstash.close())
    const ask = (UPSTASH_API_KEY: string) =>
      examine({ UPSTASH_API_URL: url, UPSTASH_EMAIL: 'ops@people.test', UPSTASH_API_KEY })

    test('says whether Redis evicts, and where it is read', async () => {
      const own = { endpoint: '127.0.0.1', primary_region: 'eu-west-1' }
      databases = [
        { endpoint: 'others.upstash.io', eviction: true },
        { ...own, eviction: true },
      ]
      const evicting = await ask('key')
      expect([evicting.code, evicting.output]).toEqual([
        1,
        expect.stringMatching(/^WRONG +eviction +Redis evicts/m),
      ])
      expect(evicting.output).toMatch(/^note +regions +Redis is in eu-west-1 alone/m)
      databases = [{ ...own, eviction: false, read_regions: ['us-east-1'] }]
      const keeping = await ask('key')
      expect([keeping.code, keeping.output]).toEqual([
        0,
        expect.stringMatching(/^ok +eviction +Redis evicts nothing/m),
      ])
      expect(keeping.output).toMatch(/^ok +regions +Redis is read in us-east-1/m)
    })

    test('says that it could not look if the key or the database is another', async () => {
      databases = []
      expect((await ask('key')).output).toMatch(/^note +eviction .*is not a database of that account/m)
      expect((await ask('another')).output).toMatch(
        /^WRONG +eviction +It could not be asked: Upstash answered 401/m,
      )
    })
  })
})
