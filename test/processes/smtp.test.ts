import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { generate, newSecret } from '../../scripts/keys.ts'
import { freePort, untilReady } from '../../scripts/local/process.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startWorker } from '../../scripts/local/start-worker.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { migrate } from '../../scripts/migrate.ts'
import { makeCertificate } from '../support/certificate.ts'
import { ACCOUNT, startMailServer, type WiredMail } from '../support/mail-server.ts'

const home = mkdtempSync(join(tmpdir(), 'roster-smtp-'))
const closers: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const close of closers) await close()
  rmSync(home, { recursive: true, force: true })
})

test('SC3: over TLS, a server with a trusted certificate gets the mail', async () => {
  const certificate = makeCertificate()
  const authority = join(home, 'authority.pem')
  writeFileSync(authority, certificate.ca)
  // For the process that starts the runtime: it trusts this authority as well.
  process.env.NODE_EXTRA_CA_CERTS = authority
  const mails = await startMailServer(certificate)
  const database = await startSqld({ dir: join(home, 'database') })
  const redis = await startUpstash({ token: newSecret(), engine: 'embedded', dir: join(home, 'redis') })
  closers.push(mails.close, database.close, redis.close)
  await migrate(database.url)
  const port = await freePort()
  const account = `${encodeURIComponent(ACCOUNT.user)}:${encodeURIComponent(ACCOUNT.password)}`
  const vars = {
    ...(await generate()),
    TURSO_DATABASE_URL: database.url,
    TURSO_AUTH_TOKEN: 'local',
    UPSTASH_REDIS_REST_URL: redis.url,
    UPSTASH_REDIS_REST_TOKEN: redis.token,
    ISSUER: `http://localhost:${port}`,
    MAIL_FROM: 'roster@people.test',
    SMTP_URL: `smtps://${account}@${mails.at.tls}`,
    LOCAL_CRON_KEY: 'nobody-calls-it',
  }
  const options = { port, persist: join(home, 'worker'), inspect: false, vars }
  const worker = startWorker(options, join(home, 'worker.json'))
  closers.unshift(worker.close)
  await untilReady(worker, async () => void (await fetch(`${vars.ISSUER}/health`)), 120_000)

  const email = `${crypto.randomUUID()}@people.test`
  const answer = await fetch(`${vars.ISSUER}/v1/auth/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password: 'seven brown foxes read', name: 'Ada' }),
  })
  expect(answer.status).toBe(202)
  const arrived = async () => {
    const come = (await (await fetch(`${mails.at.mails}?to=${email}`)).json()) as WiredMail[]
    expect(come).toMatchObject([{ from: 'roster@people.test', to: email, isSecret: true }])
  }
  await vi.waitFor(arrived, { timeout: 60_000, interval: 250 })
})
