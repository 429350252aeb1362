import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@libsql/client/http'
import type { TestProject } from 'vitest/node'
import { generate, newSecret } from '../../scripts/keys.ts'
import { startMailbox } from '../../scripts/local/mailbox.ts'
import { startSqld } from '../../scripts/local/sqld.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'
import { migrate } from '../../scripts/migrate.ts'
import { type MailServer, startMailServer } from './mail-server.ts'
import { firstOf } from './older-schema.ts'
import { startProvider } from './provider.ts'
import { type RedisMode, type Replica, startProxy } from './proxy.ts'
import { startReceiver } from './receiver.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The Worker's `env`; its upstreams are the proxy's label `shared`. */
    bindings: Record<string, string>
    /** Base URL of an app's server: see receiver.ts. */
    receiverUrl: string
    /** Real mail servers: see mail-server.ts. */
    mailServer: MailServer
    /** Base URL of the proxy: see proxy.ts. */
    proxyUrl: string
    /** Base URL of a provider that answers what a test tells it to: see provider.ts. */
    providerUrl: string
    /** Whether long tests run in full: see rounds.ts. */
    whole: boolean
    /** How Redis behaves unless a test says otherwise: `REDIS=down|hang|emptied npm test`. */
    redisMode: RedisMode
  }
}

/**
 * The real servers, once for all test files: a libSQL server, a Redis behind Upstash's REST API, and a proxy in front
 * of both.
 */
export default async function setup(project: TestProject) {
  const home = mkdtempSync(join(tmpdir(), 'roster-test-'))
  const [token, mailKey] = [newSecret(), newSecret()]
  const closers: Array<() => Promise<void>> = []
  /** Where the files of a database are, by its URL. */
  const folders = new Map<string, string>()

  /** A database that is migrated once; all others are copies of its files. */
  async function makeTemplate(): Promise<string> {
    const dir = join(home, 'template')
    const database = await startSqld({ dir })
    await migrate(database.url)
    if (process.env.SCHEMA === 'newer') await addWhatComesLater(database.url)
    await database.close()
    return dir
  }

  /** @param migrations how many of them to apply, for the schema of an earlier version. */
  async function startUpstreams(template: string, migrations?: number) {
    const dir = mkdtempSync(join(home, 'upstreams-'))
    if (migrations === undefined) cpSync(template, join(dir, 'database'), { recursive: true })
    const [database, redis] = await Promise.all([
      startSqld({ dir: join(dir, 'database') }),
      startUpstash({ token, engine: 'auto', dir: join(dir, 'redis') }),
    ])
    closers.push(database.close, redis.close)
    const close = async () => {
      await Promise.all([database.close(), redis.close()])
      rmSync(dir, { recursive: true, force: true })
    }
    folders.set(database.url, join(dir, 'database'))
    if (migrations !== undefined) {
      await migrate(database.url, undefined, firstOf(migrations, dir))
      if (process.env.SCHEMA === 'newer') await addWhatComesLater(database.url)
    }
    return { libsql: database.url, redis: redis.url, close }
  }

  /** A copy of a database that nobody writes to meanwhile. */
  async function startReplica(libsql: string): Promise<Replica> {
    const dir = mkdtempSync(join(home, 'replica-'))
    cpSync(folders.get(libsql)!, dir, { recursive: true })
    const replica = await startSqld({ dir })
    closers.push(replica.close)
    return replica
  }

  async function teardown() {
    await Promise.all(closers.map((close) => close()))
    rmSync(home, { recursive: true, force: true })
  }

  try {
    project.provide('whole', process.env.WHOLE === '1')
    const redisMode = (process.env.REDIS ?? 'pass') as RedisMode
    project.provide('redisMode', redisMode)
    const mailbox = await startMailbox({ apiKey: mailKey })
    closers.push(mailbox.close)
    const receiver = await startReceiver()
    closers.push(receiver.close)
    project.provide('receiverUrl', receiver.url)
    const mailServer = await startMailServer()
    closers.push(mailServer.close)
    project.provide('mailServer', mailServer.at)
    const provider = await startProvider()
    closers.push(provider.close)
    project.provide('providerUrl', provider.url)
    const template = await makeTemplate()
    const startAll = async (migrations?: number) => ({
      ...(await startUpstreams(template, migrations)),
      mail: mailbox.url,
    })
    const proxy = await startProxy({
      shared: await startAll(),
      startFresh: startAll,
      startReplica,
      redisMode,
      redisToken: token,
    })
    closers.push(proxy.close)
    project.provide('proxyUrl', proxy.url)
    project.provide('bindings', {
      ...(await generate()),
      // With a slash at the end: without it, @libsql/client drops the last segment of the path.
      TURSO_DATABASE_URL: `${proxy.url}/shared/libsql/`,
      TURSO_AUTH_TOKEN: 'local',
      UPSTASH_REDIS_REST_URL: `${proxy.url}/shared/redis/`,
      UPSTASH_REDIS_REST_TOKEN: token,
      MAIL_FROM: 'Roster <roster@people.test>',
      RESEND_API_KEY: mailKey,
      RESEND_URL: `${proxy.url}/shared/mail`,
      ISSUER: 'https://roster.test',
      PASSWORD_HASHES: 'cheap',
      // An import without Redis is refused, because somebody who was erased could come back.
      ...(redisMode !== 'pass' && { BACKUPS_KEPT_DAYS: '0' }),
      // With mail set up, the default would be `required`. Tests of that set it themselves.
      EMAIL_VERIFICATION: 'optional',
    })
  } catch (error) {
    await teardown()
    throw error
  }
  return teardown
}

/**
 * `SCHEMA=newer npm test`: the schema as a later version would leave it, while this one still runs. Every table has
 * one more column, with an index, and there is a table that this version does not know.
 */
async function addWhatComesLater(url: string): Promise<void> {
  const client = createClient({ url })
  const { rows } = await client.execute(
    `SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'
      AND name NOT LIKE '%fts%' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_%' ESCAPE '\\'`,
  )
  await client.batch(
    [
      'CREATE TABLE __later (id INTEGER PRIMARY KEY)',
      ...rows.flatMap(({ name }) => [
        `ALTER TABLE ${name} ADD COLUMN __later TEXT NOT NULL DEFAULT 'later'`,
        `CREATE INDEX ${name}__later ON ${name} (__later)`,
      ]),
    ],
    'write',
  )
  client.close()
}
