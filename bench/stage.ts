import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker as Thread } from 'node:worker_threads'
import { generate, newSecret } from '../scripts/keys.ts'
import { startMailbox } from '../scripts/local/mailbox.ts'
import { startSqld } from '../scripts/local/sqld.ts'
import { migrate } from '../scripts/migrate.ts'
import { type Config, configOf } from '../src/config/main.ts'
import { hashPassword } from '../src/passwords/hashing.ts'
import { signAccessToken } from '../src/sessions/access-tokens.ts'
import { makeRefreshToken } from '../src/sessions/refresh-tokens.ts'
import type { Role } from '../src/users/models.ts'
import { startProxy } from '../test/support/proxy.ts'
import { newSeed, personId, type Seed, seedPeople, sessionId } from './seed.ts'

export const PASSWORD = 'seven brown foxes read'

/** The real parts on loopback, once for the whole run. Workers come and go. */
export interface Stage {
  /** Settings of a Worker that talks to libSQL and Redis directly. */
  bindings: Record<string, string>
  /** Settings of a Worker whose calls go through the proxy, which counts and delays them. */
  proxied: Record<string, string>
  proxyUrl: string
  databaseUrl: string
  redisEngine: string
  seed: Seed
  grow(to: number, history: number, progress?: (done: number) => void): Promise<void>
  tokens: Tokens
  close(): Promise<void>
}

export type Tokens = ReturnType<typeof openTokens>

/** @param checkpoints how the database keeps its log short: see scripts/local/sqld.ts. */
export async function openStage(checkpoints: 'hourly' | 'by-size'): Promise<Stage> {
  const home = mkdtempSync(join(tmpdir(), 'roster-bench-'))
  const closers: (() => Promise<unknown> | unknown)[] = [() => rmSync(home, { recursive: true, force: true })]
  const close = async () => {
    for (const end of closers.splice(0).reverse()) await end()
  }
  try {
    const token = newSecret()
    const database = await startSqld({ dir: join(home, 'database'), checkpoints })
    closers.push(database.close)
    await migrate(database.url)
    const thread = new Thread(join(import.meta.dirname, 'redis-endpoint.ts'), {
      workerData: { token, engine: 'auto', dir: join(home, 'redis') },
    })
    const [redis] = (await once(thread, 'message')) as [{ url: string; engine: string }]
    closers.push(() => {
      thread.postMessage('close')
      return once(thread, 'exit')
    })
    const mailKey = newSecret()
    const mailbox = await startMailbox({ apiKey: mailKey })
    closers.push(mailbox.close)
    const proxy = await startProxy({
      shared: { libsql: database.url, redis: redis.url, mail: mailbox.url },
      startFresh: () => {
        throw new Error('one is enough')
      },
      redisMode: 'pass',
      redisToken: token,
    })
    closers.push(proxy.close)
    const bindings = {
      ...(await generate()),
      TURSO_DATABASE_URL: `${database.url}/`,
      TURSO_AUTH_TOKEN: 'local',
      UPSTASH_REDIS_REST_URL: redis.url,
      UPSTASH_REDIS_REST_TOKEN: token,
      ISSUER: 'https://roster.test',
      // Every sign-up sends its mail, and nobody has to open it.
      MAIL_FROM: 'Roster <roster@people.test>',
      RESEND_API_KEY: mailKey,
      RESEND_URL: mailbox.url,
      EMAIL_VERIFICATION: 'optional',
      // The floor writes no log line either. Here each would go through a pipe to the process that makes the load.
      LOG: 'errors',
    }
    const config = configOf(bindings)
    const seed = newSeed(await hashPassword(PASSWORD, config.keys.password_pepper))
    let people = 1
    return {
      bindings,
      proxied: {
        ...bindings,
        TURSO_DATABASE_URL: `${proxy.url}/bench/libsql/`,
        UPSTASH_REDIS_REST_URL: `${proxy.url}/bench/redis/`,
        RESEND_URL: `${proxy.url}/bench/mail`,
      },
      proxyUrl: `${proxy.url}/bench`,
      databaseUrl: database.url,
      redisEngine: redis.engine,
      seed,
      async grow(to, history, progress) {
        await seedPeople(database.url, seed, { from: people, to: to + 1, history }, progress)
        people = Math.max(people, to + 1)
      },
      tokens: openTokens(config, seed),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * Tokens of the seeded people, made by the functions of production: a login would cost a hash each, and change
 * nothing in what is measured.
 */
function openTokens(config: Config, seed: Seed) {
  const access = (person: string, session: string, role: Role = 'user') =>
    signAccessToken(config, Date.now(), {
      userId: person,
      sessionId: session,
      role,
      epoch: 0,
      authenticatedAt: Date.now(),
    })
  return {
    access,
    /** For the session that was seeded for the person with this number. */
    accessOf: (number: number, role?: Role) => access(personId(seed, number), sessionId(seed, number), role),
    refresh: (session: string, counter = 0) => makeRefreshToken(config.keys.refresh_token, session, counter),
  }
}
