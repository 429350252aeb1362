import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, expect, test, vi } from 'vitest'
import { freePort, listen } from '../../scripts/local/process.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

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
async function start(env: Record<string, string>) {
  const child = spawn(process.execPath, [join(ROOT, 'scripts/dev.ts')], {
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

test('npm run dev: ready, with an administrator; a second start finds what the first left; Ctrl-C leaves nothing', async () => {
  // The port is taken: another one serves, and that is said.
  const occupant = createServer()
  const taken = await listen(occupant)
  const first = await start({ PORT: String(taken) })
  expect(first.url).toBeDefined()
  expect(first.lines.at(-1)).toBe(`ready ${first.url}`)
  expect(first.lines.join('\n')).toContain(`port ${taken} is taken`)
  expect(first.url).not.toContain(`:${taken}`)
  occupant.close()

  const token = await logIn(first.url!)
  const made = await call(
    first.url!,
    'POST',
    '/v1/users',
    { ...admin, email: 'ada@people.test', name: 'Ada' },
    token,
  )
  expect(made.status).toBe(201)
  expect((await call(first.url!, 'GET', '/ready')).body).toMatchObject({
    status: 'ready',
    database: 'ok',
    redis: 'ok',
  })
  expect(await statusOfGetWithBody(`${first.url}/health`)).toBe(200)

  const beside = await start({})
  expect([beside.url, await beside.exited]).toEqual([undefined, 1])
  expect(beside.lines.join('\n')).toContain('already running')

  expect(await first.interrupt()).toBe(0)
  await expectAllEnded(first.lines)

  // No redis-server on the PATH this time, and the port is free.
  const bin = join(home, 'bin')
  mkdirSync(bin)
  symlinkSync(process.execPath, join(bin, 'node'))
  const port = await freePort()
  const second = await start({ PORT: String(port), PATH: bin })
  expect(second.lines.at(-1)).toBe(`ready http://127.0.0.1:${port}`)
  expect(second.lines.join('\n')).toContain('embedded, in memory: no redis-server')
  expect(second.lines.join('\n')).not.toContain('Migrated')
  const again = await logIn(second.url!)
  const { body } = await call(second.url!, 'GET', '/v1/users?sort=email', undefined, again)
  expect((body.data as { email: string }[]).map(({ email }) => email)).toEqual([
    'ada@people.test',
    admin.email,
  ])
  expect((await call(second.url!, 'GET', '/ready')).body.redis).toBe('ok')
  expect(await second.interrupt()).toBe(0)
  await expectAllEnded(second.lines)
})

test('A port that is none is refused, in one line', async () => {
  const refused = await start({ PORT: '70000', ROSTER_STATE: join(home, 'other') })
  expect([refused.url, await refused.exited]).toEqual([undefined, 1])
  expect(refused.lines.join('\n').trim()).toBe('PORT is not a port.')
})

/** `fetch` refuses to send one. */
const statusOfGetWithBody = (url: string) =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': 2 }
    request(url, { method: 'GET', headers }, (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end('{}')
  })
