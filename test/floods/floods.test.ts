import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createTestHarness, type TestHarness } from 'wrangler'

/*
 * What only shows from outside: the deployed bundle, in its own workerd, over sockets. Durations are compared with
 * durations of the same run, never with absolute figures.
 */

const PASSWORD = 'seven brown foxes read'
let worker: TestHarness
let url: URL
let token: string

const randomNetwork = () => `2001:db8:${Math.floor(Math.random() * 65_536).toString(16)}::1`
const post = (path: string, body: object, ip = randomNetwork()) =>
  fetch(new URL(path, url), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'cf-connecting-ip': ip,
    },
    body: JSON.stringify(body),
  })
const me = () => fetch(new URL('/v1/users/me', url), { headers: { authorization: `Bearer ${token}` } })
const logInAsNobody = () =>
  post('/v1/auth/login', { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD })

async function timed(send: () => Promise<Response>) {
  const startedAt = performance.now()
  const answer = await send()
  await answer.arrayBuffer()
  return {
    status: answer.status,
    retryAfter: answer.headers.get('retry-after'),
    ms: performance.now() - startedAt,
  }
}
/** Sends at a fixed rate, without waiting for answers: a crowd does not slow down because others wait. */
async function crowd(perSecond: number, seconds: number, send: () => Promise<Response>) {
  const answers: Promise<Awaited<ReturnType<typeof timed>>>[] = []
  for (let i = 0; i < perSecond * seconds; i++) {
    answers.push(timed(send))
    await delay(1000 / perSecond)
  }
  return Promise.all(answers)
}
const quantile = (values: { ms: number }[], share: number) =>
  values.map(({ ms }) => ms).sort((a, b) => a - b)[Math.floor(values.length * share)]!

describe.skipIf(!inject('whole'))('Floods', { timeout: 300_000 }, () => {
  const bundle = mkdtempSync(join(tmpdir(), 'roster-bundle-'))

  beforeAll(async () => {
    await promisify(execFile)('wrangler', ['deploy', '--dry-run', '--minify', '--outdir', bundle])
    const bindings = { ...inject('bindings'), PASSWORD_HASHES: 'full' }
    worker = createTestHarness({
      workers: [{ configPath: 'wrangler.toml', prebuiltWorkerDir: bundle, secrets: bindings }],
    })
    ;({ url } = await worker.listen())
    const ada = { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD }
    await post('/v1/auth/signup', { ...ada, name: 'Ada' })
    const tokens = (await (await post('/v1/auth/login', ada)).json()) as { access_token: string }
    token = tokens.access_token
  }, 120_000)

  afterAll(async () => {
    await worker?.close()
    rmSync(bundle, { recursive: true })
  })

  test('Fault 29: with three times the logins that an isolate can hash, reads are still answered', async () => {
    const alone = []
    for (let i = 0; i < 15; i++) alone.push(await timed(logInAsNobody))
    const loginMs = quantile(alone, 0.5)
    const quiet = await crowd(10, 15, me)
    const flood = crowd((3 * 1000) / loginMs, 15, logInAsNobody)
    await delay(2000)
    const reads = await crowd(10, 12, me)
    const logins = await flood
    const [ran, sentAway] = [
      logins.filter(({ status }) => status === 401),
      logins.filter(({ status }) => status === 503),
    ]
    // For those who want the figures as well as the verdict.
    console.log(
      JSON.stringify({
        loginMs,
        quietP50: quantile(quiet, 0.5),
        quietP95: quantile(quiet, 0.95),
        p50: quantile(reads, 0.5),
        p95: quantile(reads, 0.95),
        max: quantile(reads, 0.9999),
        ran: ran.length,
        sentAway: sentAway.length,
        sentAwayP50: sentAway.length && quantile(sentAway, 0.5),
        ranP95: quantile(ran, 0.95),
      }),
    )
    expect(reads.filter(({ status }) => status !== 200)).toEqual([])
    expect(quantile(reads, 0.95)).toBeLessThan(quantile(quiet, 0.95) + 2 * loginMs)
    // Those who cannot be served are told at once, and when to come back; nobody is left without an answer.
    expect(ran.length + sentAway.length).toBe(logins.length)
    expect(ran.length).toBeGreaterThan(0)
    expect(sentAway.length).toBeGreaterThan(0)
    const waits = sentAway.map(({ retryAfter }) => Number(retryAfter))
    expect(waits.every((seconds) => seconds >= 1 && seconds * 1000 <= 8 * 2 * 2 * loginMs + 1000)).toBe(true)
    expect(quantile(sentAway, 0.5)).toBeLessThan(2 * loginMs)
  })

  test('Fault 29: thirty people of a class who sign up within ten seconds all get in, if their clients wait as told', async () => {
    const [school, startedAt] = [randomNetwork(), performance.now()]
    const signUp = async () => {
      const person = { email: `${crypto.randomUUID()}@people.test`, password: PASSWORD, name: 'Ada' }
      for (let tries = 1; ; tries++) {
        const answer = await post('/v1/auth/signup', person, school)
        await answer.arrayBuffer()
        if (answer.status === 201) return tries
        expect([503, 429]).toContain(answer.status)
        await delay(1000 * Number(answer.headers.get('retry-after')))
      }
    }
    const all: Promise<number>[] = []
    for (let i = 0; i < 30; i++) {
      all.push(signUp())
      await delay(333)
    }
    const tries = await Promise.all(all)
    console.log(JSON.stringify({ tries: Math.max(...tries), ms: performance.now() - startedAt }))
    expect(Math.max(...tries)).toBeLessThan(10)
  })

  test('Logins at once, without other requests, reach nine tenths of the rate of sequential logins', async () => {
    const rate = async (atOnce: number, seconds: number) => {
      let done = 0
      const end = performance.now() + seconds * 1000
      const one = async () => {
        while (performance.now() < end) if ((await timed(logInAsNobody)).status === 401) done += 1
      }
      await Promise.all(Array.from({ length: atOnce }, one))
      return done / seconds
    }
    const rates = { one: await rate(1, 10), four: await rate(4, 10), eight: await rate(8, 10) }
    console.log(JSON.stringify(rates))
    expect(rates.four).toBeGreaterThan(0.9 * rates.one)
    expect(rates.eight).toBeGreaterThan(0.9 * rates.one)
  })

  test('Fault 28: two hundred clients that send a byte a second delay nobody, and end with a 408', async () => {
    const quiet = await crowd(30, 5, me)
    const slow = Array.from({ length: 200 }, () =>
      speak(head('/v1/auth/login', { 'content-length': '1000' }), { bytePerSecond: true }),
    )
    await delay(1000)
    const reads = await crowd(30, 5, me)
    expect(reads.filter(({ status }) => status !== 200)).toEqual([])
    expect(quantile(reads, 0.95)).toBeLessThan(5 * quantile(quiet, 0.95))
    expect(new Set(await Promise.all(slow))).toEqual(new Set([408]))
    expect((await me()).status).toBe(200)
  })

  test('IV3: a body over 64 KB is cut off, with its length, without, and lying about it', async () => {
    const big = `{"email":"${'x'.repeat(70_000)}"}`
    const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
    const bodies: [name: string, status: number, headers: Record<string, string>, body: string][] = [
      ['with its length', 413, { 'content-length': String(big.length) }, big],
      ['in chunks', 413, { 'transfer-encoding': 'chunked' }, `${chunk(big)}0\r\n\r\n`],
      [
        'in chunks that never end',
        413,
        { 'transfer-encoding': 'chunked' },
        chunk('x'.repeat(1000)).repeat(100),
      ],
      ['said to be 10 GB', 413, { 'content-length': '10000000000' }, '{'],
      ['said to be short', 400, { 'content-length': '10' }, big],
      ['of a negative length', 400, { 'content-length': '-1' }, big],
      ['of two lengths', 400, { 'content-length': '2, 70000' }, big],
      ['100 000 levels deep', 413, { 'content-length': '100000' }, '['.repeat(100_000)],
      ['30 000 levels deep', 400, { 'content-length': '30000' }, '['.repeat(30_000)],
    ]
    for (const [name, status, headers, body] of bodies) {
      expect([name, await speak(head('/v1/auth/login', headers) + body)]).toEqual([name, status])
      expect((await me()).status).toBe(200)
    }
  })
})

const head = (path: string, headers: Record<string, string>) =>
  [
    `POST ${path} HTTP/1.1`,
    `host: ${url.host}`,
    'content-type: application/json',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ].join('\r\n')

/** Writes to a socket as nobody should, and returns the status of the answer; 0 if there is none. */
function speak(text: string, { bytePerSecond = false } = {}): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect(Number(url.port), url.hostname)
    const timer = bytePerSecond ? setInterval(() => socket.write(' '), 1000) : undefined
    const end = (status: number) => {
      clearInterval(timer)
      socket.destroy()
      resolve(status)
    }
    socket
      .on('error', () => end(0))
      .on('close', () => end(0))
      .setTimeout(30_000, () => end(0))
    socket.once('data', (data) => end(Number(/^HTTP\/1\.1 (\d{3})/.exec(String(data))?.[1] ?? 0)))
    socket.write(text)
  })
}
