import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createClient } from '@libsql/client/web'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { freePort, listen } from '../../scripts/local/process.ts'

vi.setConfig({ testTimeout: 600_000 })

const ROOT = join(import.meta.dirname, '../..')
const home = mkdtempSync(join(tmpdir(), 'roster-dev-'))
const admin = { email: 'root@people.test', password: 'seven brown foxes read' }
const running = new Set<ChildProcess>()

afterAll(async () => {
  for (const child of running) child.kill('SIGTERM')
  await Promise.all([...running].map((child) => child.exitCode ?? once(child, 'exit')))
  rmSync(home, { recursive: true, force: true })
})

/** Starts the stack; answers when it says that it is ready, or has ended. */
async function start(env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [join(ROOT, 'scripts/dev.ts'), ...args], {
    cwd: ROOT,
    env: {
      ...process.env,
      ROSTER_STATE: join(home, 'state'),
      ADMIN_EMAIL: admin.email,
      ADMIN_PASSWORD: admin.password,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  const exited = once(child, 'exit').then(([code]) => {
    running.delete(child)
    return code as number
  })
  const lines: string[] = []
  const ready = new Promise<string | undefined>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      createInterface(stream).on('line', (line) => {
        lines.push(line)
        const [, url] = /^ready (http:\/\/127\.0\.0\.1:\d+)$/.exec(line) ?? []
        if (url) resolve(url)
      })
    void exited.then(() => resolve(undefined))
  })
  const url = await ready
  return {
    url,
    lines,
    exited,
    /** Ends it as Ctrl-C in a terminal does. */
    async interrupt() {
      child.kill('SIGINT')
      return exited
    },
  }
}

const call = async (url: string, method: string, path: string, body?: unknown, token?: string) => {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
  const answer = await fetch(url + path, {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}
const logIn = async (url: string) => {
  const { status, body } = await call(url, 'POST', '/v1/auth/login', admin)
  expect([status, (body.user as { role?: string })?.role]).toEqual([200, 'admin'])
  return body.access_token as string
}
/** On a machine that is busy, a first answer of Redis may take longer than Roster waits for it. */
const expectReady = (url: string) =>
  vi.waitFor(
    async () =>
      expect((await call(url, 'GET', '/ready')).body).toMatchObject({
        status: 'ready',
        database: 'ok',
        redis: 'ok',
      }),
    { timeout: 60_000, interval: 500 },
  )
const urlsIn = (lines: string[]) => [...new Set(lines.join('\n').match(/http:\/\/127\.0\.0\.1:\d+/g))]

/** Processes that still have our state directory in their environment: whatever the stack has started. */
const leftovers = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`ROSTER_STATE=${join(home, 'state')}`)
      } catch {
        return false // It has ended meanwhile, or is somebody else's.
      }
    })

async function expectAllEnded(lines: string[]) {
  for (const url of urlsIn(lines)) await expect(fetch(url), url).rejects.toThrow()
  if (process.platform === 'linux') expect(leftovers()).toEqual([])
}

/** The value behind a label, on a line of its own. */
const printed = (lines: string[], label: RegExp) => lines.map((line) => label.exec(line)?.[1]).find(Boolean)

test('npm run dev: it is ready, with an administrator; a second start finds what the first left; Ctrl-C leaves no process', async () => {
  const port = await freePort()
  const first = await start({ PORT: String(port) })
  expect(first.lines.at(-1)).toBe(`ready http://127.0.0.1:${port}`)
  const token = await logIn(first.url!)
  const made = await call(
    first.url!,
    'POST',
    '/v1/users',
    { ...admin, email: 'ada@people.test', name: 'Ada' },
    token,
  )
  expect(made.status).toBe(201)
  await expectReady(first.url!)
  expect(await statusOfGetWithBody(`${first.url}/health`)).toBe(200)
  const metadata = await call(first.url!, 'GET', '/.well-known/oauth-authorization-server')
  expect(metadata.body.issuer).toBe(`http://localhost:${port}`)

  const beside = await start({})
  expect([beside.url, await beside.exited]).toEqual([undefined, 1])
  expect(beside.lines.join('\n')).toContain('already running')

  await expectClosedToOthers(first.lines, first.url!)
  await expectCheckpoint(first.lines)

  expect(await first.interrupt()).toBe(0)
  await expectAllEnded(first.lines)

  // No redis-server on the PATH this time, another administrator, and no port that was asked for.
  const bin = join(home, 'bin')
  mkdirSync(bin)
  symlinkSync(process.execPath, join(bin, 'node'))
  const second = await start({ PORT: '', PATH: bin, ADMIN_EMAIL: ' eve@people.test ', ADMIN_PASSWORD: '' })
  expect(second.lines.at(-1)).toBe(`ready ${second.url}`)
  const said = second.lines.join('\n')
  expect(said).toContain('embedded, in memory: no redis-server')
  expect(said).not.toContain('Migrated')
  expect(said).toContain(`${admin.email} stays an administrator, with the password they had`)
  const again = await logIn(second.url!)
  const { body } = await call(second.url!, 'GET', '/v1/users?sort=email', undefined, again)
  const people = body.data as { email: string; email_verified: boolean }[]
  expect(people.map(({ email }) => email)).toEqual(['ada@people.test', 'eve@people.test', admin.email])
  expect(people.find(({ email }) => email === admin.email)).toMatchObject({ email_verified: true })
  await expectReady(second.url!)

  const changed = { current_password: admin.password, new_password: 'eight purple otters dive' }
  expect((await call(second.url!, 'POST', '/v1/auth/change_password', changed, again)).status).toBe(200)
  expect(await second.interrupt()).toBe(0)
  await expectAllEnded(second.lines)

  const third = await start({ ADMIN_PASSWORD: '' })
  expect(third.lines.join('\n')).toMatch(/Password +unchanged since you last set it$/m)
  await third.interrupt()

  const anew = await start({ ADMIN_PASSWORD: '' }, '--reset')
  const password = printed(anew.lines, /^ +Password +(\S+)$/)
  const login = await call(anew.url!, 'POST', '/v1/auth/login', { email: admin.email, password })
  expect([login.status, anew.lines.join('\n')]).toEqual([200, expect.stringContaining('Migrated: 0000')])
  await anew.interrupt()
  await expectAllEnded(anew.lines)
})

/** What a page from elsewhere, or another user of the machine, may do with the ports of the stack: nothing. */
async function expectClosedToOthers(lines: string[], url: string) {
  const database = printed(lines, /^Database {2}(http:\/\/127\.0\.0\.1:\d+) {2}token=[\w.-]+$/)!
  const token = printed(lines, /^Database {2}\S+ {2}token=(\S+)$/)!
  const mailbox = printed(lines, /^Mailbox {2}(http:\/\/127\.0\.0\.1:\d+)\/\?key=[\w-]+$/)!
  const key = printed(lines, /^Mailbox {2}\S+\/\?key=(\S+)$/)!
  const sql = JSON.stringify({
    requests: [{ type: 'execute', stmt: { sql: 'SELECT 1' } }, { type: 'close' }],
  })
  const ask = async (address: string, headers: Record<string, string>, method = 'GET', body?: string) =>
    (await statusOf(address, method, headers, body)).status
  const bearer = { authorization: `Bearer ${token}` }
  expect(await ask(`${database}/v2/pipeline`, bearer, 'POST', sql)).toBe(200)
  expect(await ask(`${database}/v2/pipeline`, {}, 'POST', sql)).toBe(401)
  for (const foreign of [{ host: 'evil.example' }, { origin: 'https://evil.example' }])
    expect(await ask(`${database}/v2/pipeline`, { ...bearer, ...foreign }, 'POST', sql)).toBe(403)

  expect(await ask(`${mailbox}/mails`, {})).toBe(401)
  expect(await ask(`${mailbox}/mails`, { authorization: 'Bearer wrong' })).toBe(403)
  expect(await ask(`${mailbox}/mails`, { authorization: `Bearer ${key}` })).toBe(200)
  expect(await ask(`${mailbox}/?key=${key}`, {})).toBe(200)
  for (const foreign of [{ host: 'evil.example' }, { origin: 'https://evil.example' }])
    expect(await ask(`${mailbox}/?key=${key}`, foreign)).toBe(403)

  const runs = async () => {
    const counting = sql.replace('SELECT 1', 'SELECT count(*) FROM cleanup_runs')
    return (await statusOf(`${database}/v2/pipeline`, 'POST', bearer, counting)).text.replace(/"query_.*/, '')
  }
  const before = await runs()
  for (const path of ['/cdn-cgi/handler/scheduled', '/cdn-cgi/mf/scheduled', '/cdn-cgi/local/scheduled'])
    expect(await ask(`${url}${path}?cron=*/15+*+*+*+*`, {}), path).toBeGreaterThanOrEqual(400)
  expect(await runs()).toBe(before)

  if (process.platform !== 'linux') return
  const ports = listeningPorts()
  expect(ports.length).toBeGreaterThanOrEqual(5)
  const foreign = { host: 'evil.example', origin: 'https://evil.example' }
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  for (const port of ports) {
    const at = `http://127.0.0.1:${port}`
    expect(await ask(`${at}/json`, foreign), at).toBeGreaterThanOrEqual(400)
    expect(await ask(`${at}/v1/auth/login`, foreign, 'POST', '{}'), at).toBeGreaterThanOrEqual(400)
    expect(await ask(`${at}/json`, { ...foreign, ...upgrade }), at).toBeGreaterThanOrEqual(400)
    expect(await ask(`${at}/cdn-cgi/handler/scheduled`, {}), at).toBeGreaterThanOrEqual(400)
  }
}

/** Two seconds after the last question, what stands in the log is in the database file. */
async function expectCheckpoint(lines: string[]) {
  const url = printed(lines, /^Database {2}(\S+)/)!
  const authToken = printed(lines, /token=(\S+)$/)!
  const db = createClient({ url, authToken })
  const log = join(home, 'state/database/dbs/default/data-wal')
  await db.execute('CREATE TABLE heavy (weight text)')
  for (let round = 0; round < 10; round++)
    await db.batch(
      Array.from({ length: 100 }, () => 'INSERT INTO heavy SELECT hex(randomblob(4000))'),
      'write',
    )
  expect(statSync(log).size).toBeGreaterThan(4_000_000)
  await vi.waitFor(() => expect(statSync(log).size).toBe(0), { timeout: 60_000, interval: 200 })
  await db.execute('DROP TABLE heavy')
  db.close()
}

describe('what cannot work is reported at once, in a sentence', () => {
  const refuse = async (env: Record<string, string>, ...args: string[]) => {
    const refused = await start({ ROSTER_STATE: join(home, 'other'), ...env }, ...args)
    expect([refused.url, await refused.exited]).toEqual([undefined, 1])
    expect(refused.lines.join('\n')).not.toMatch(/\n {4}at /)
    return refused.lines.join('\n').trim()
  }

  test('an invalid port, and one that was asked for and is taken', async () => {
    expect(await refuse({ PORT: '70000' })).toBe('PORT is not a port.')
    const occupant = createServer()
    const taken = await listen(occupant)
    expect(await refuse({ PORT: String(taken) })).toMatch(
      new RegExp(`^Port ${taken} is taken, and PORT asks for it`),
    )
    occupant.close()
  })

  test('PW1: a weak ADMIN_PASSWORD, an invalid address, and an unknown option', async () => {
    expect(await refuse({ ADMIN_PASSWORD: 'password1234' })).toMatch(/^ADMIN_PASSWORD: .*too common/)
    const ours = await refuse({ ADMIN_PASSWORD: 'Fjord & Co 2031!' }, '--demo', '--dry-run')
    expect(ours).toMatch(/^ADMIN_PASSWORD: .*organisation/)
    expect(await refuse({ ADMIN_EMAIL: 'nobody' })).toMatch(/^ADMIN_EMAIL: nobody is not/)
    expect(await refuse({}, '--rest')).toContain("Unknown option '--rest'")
    expect(existsSync(join(home, 'other'))).toBe(false)
  })

  test('SC1: an invalid setting, with its name and its file; a broken file, and how to start again', async () => {
    const state = join(home, 'broken')
    mkdirSync(state)
    const write = (text: string) => writeFileSync(join(state, 'secrets.json'), text)
    write('{"SECRET_KEYS":"short"}')
    const startedMs = performance.now()
    const unfit = await refuse({ ROSTER_STATE: state })
    expect(unfit).toContain('SECRET_KEYS')
    expect(unfit).toContain(join(state, 'secrets.json'))
    expect(performance.now() - startedMs).toBeLessThan(20_000)
    for (const text of ['{"SECRET_', '[]', '{"SECRET_KEYS":1}']) {
      write(text)
      const corrupt = await refuse({ ROSTER_STATE: state })
      expect(corrupt).toContain(join(state, 'secrets.json'))
      expect(corrupt).toContain('npm run dev -- --reset')
    }
    write('{}')
    mkdirSync(join(state, 'database/dbs/default'), { recursive: true })
    writeFileSync(
      join(state, 'database/dbs/default/data'),
      'no database at all, but a text of some length'.repeat(99),
    )
    const corrupt = await refuse({ ROSTER_STATE: state })
    expect(corrupt).toContain(join(state, 'database'))
    expect(corrupt).toContain('npm run dev -- --reset')
  })

  test('SC1: an invalid setting in .dev.vars, with its name and that file', () => {
    const copy = join(home, 'with-settings')
    cpSync(join(ROOT, 'scripts'), join(copy, 'scripts'), { recursive: true })
    for (const name of readdirSync(ROOT))
      if (name !== 'scripts' && !name.startsWith('.')) symlinkSync(join(ROOT, name), join(copy, name))
    writeFileSync(join(copy, '.dev.vars'), 'SIGNUP=perhaps\n')
    const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/dev.ts'], {
      cwd: copy,
      env: { ...process.env, ROSTER_STATE: '.roster' },
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect([status, stdout, stderr]).toEqual([
      1,
      '',
      expect.stringMatching(/^\nSIGNUP\b.+\nHere they come from \.dev\.vars\.\n$/),
    ])
    expect(existsSync(join(copy, '.roster/database'))).toBe(false)
  })

  test('--help and --dry-run start nothing and leave nothing', async () => {
    const asked = await start({ ROSTER_STATE: join(home, 'dry') }, '--help')
    expect([await asked.exited, asked.lines.join('\n')]).toEqual([0, expect.stringContaining('--reset')])
    const dry = await start({ ROSTER_STATE: join(home, 'dry') }, '--dry-run')
    expect([await dry.exited, dry.lines.join('\n')]).toEqual([
      0,
      expect.stringMatching(/^Would start Roster/),
    ])
    expect(existsSync(join(home, 'dry'))).toBe(false)
  })

  test('npm run dev before npm ci', () => {
    const copy = join(home, 'fresh')
    cpSync(join(ROOT, 'scripts'), join(copy, 'scripts'), { recursive: true })
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', './scripts/installed.mjs', 'scripts/dev.ts'],
      { cwd: copy, encoding: 'utf8' },
    )
    expect([status, stderr]).toEqual([1, 'The packages are not installed yet. First: npm ci\n'])
  })
})

test('Of many who claim one directory at once, one gets it', async () => {
  const dir = join(home, 'claimed')
  mkdirSync(dir)
  // One that was left behind by a process that is gone.
  writeFileSync(join(dir, 'lock.1'), '')
  const code = `
    import { claimDirectory } from ${JSON.stringify(join(ROOT, 'scripts/local/claim.ts'))}
    console.log(await claimDirectory())
    setInterval(() => {}, 1000)`
  for (let round = 0; round < 3; round++) {
    const children = Array.from({ length: 6 }, () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: dir, stdio: 'pipe' })
      const answer = once(child.stdout, 'data').then(([text]) => String(text).trim())
      return { child, answer, exited: once(child, 'exit') }
    })
    const answers = await Promise.all(children.map(({ answer }) => answer))
    expect(answers.filter((answer) => answer === 'true')).toHaveLength(1)
    for (const { child } of children) child.kill('SIGKILL')
    await Promise.all(children.map(({ exited }) => exited))
  }
})

/** Ports that a process of the stack listens on. */
function listeningPorts(): number[] {
  const inodes = new Set(
    [...leftovers(), ...stackPids()].flatMap((pid) => {
      try {
        return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
          const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []
          return inode ? [inode] : []
        })
      } catch {
        return [] // It has ended meanwhile.
      }
    }),
  )
  const lines = ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, 'utf8').trim().split('\n').slice(1),
  )
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
    return state === '0A' && inodes.has(inode) ? [Number.parseInt(local.split(':')[1]!, 16)] : []
  })
}
const stackPids = () => [...running].map(({ pid }) => String(pid))

/** `fetch` sets `Host` and `Origin` itself. */
const statusOf = (url: string, method: string, headers: Record<string, string>, body?: string) =>
  new Promise<{ status: number; text: string }>((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(body.length) }
    const signal = AbortSignal.timeout(60_000)
    const sent = request(
      url,
      { agent: false, method, headers: { ...headers, ...length }, signal },
      async (answer) => {
        const text = Buffer.concat(await answer.toArray()).toString()
        resolve({ status: answer.statusCode ?? 0, text })
      },
    )
    sent.on('error', (error) =>
      reject(new Error(`${method} ${url} ${JSON.stringify(headers)}`, { cause: error })),
    )
    sent.on('upgrade', (answer, socket) => {
      socket.destroy()
      resolve({ status: answer.statusCode ?? 0, text: '' })
    })
    sent.end(body)
  })

/** `fetch` refuses to send one. */
const statusOfGetWithBody = (url: string) =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': 2 }
    request(url, { method: 'GET', headers }, (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end('{}')
  })
