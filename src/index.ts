import { WorkerEntrypoint } from 'cloudflare:workers'
import { app } from './app.ts'
import { type Job, SCHEDULE } from './cleanup/schedule.ts'
import { type Bindings, openForCron, type Resources } from './context.ts'
import { openMeter } from './database/meter.ts'
import { log, measure } from './http/log.ts'
import type { Introspection } from './oauth/introspection/service.ts'
import { findUserFor, verifyFor, type Wanted } from './oauth/introspection/workers.ts'
import type { User } from './users/schemas.ts'

export default {
  fetch: app.fetch,
  scheduled: (event, env, context) => {
    const job = SCHEDULE[event.cron]
    if (!job) throw new Error(`Nothing runs at ${event.cron}: see src/cleanup/schedule.ts.`)
    context.waitUntil(run(job)(env, context))
  },
} satisfies ExportedHandler<Bindings>

/**
 * For Workers of the same account that bind this one as a service, with `entrypoint = "Roster"`: see
 * docs/guides/another-worker.md. They are trusted. A failing upstream makes it throw, which says nothing
 * about the token.
 */
export class Roster extends WorkerEntrypoint<Bindings> {
  /**
   * Whether an access token is valid now, and what it says, in the form of introspection (RFC 7662).
   *
   * @param wanted.scope a scope that the token must have; for a login's token, a permission of its role.
   * @param wanted.resource the URL of the service that the token must be for; by default Roster itself.
   * @param wanted.isFresh asks the database, not the cache.
   */
  verify(token: string, wanted: Wanted = {}): Promise<Introspection> {
    return this.#answer('verify', (resources) => verifyFor(resources, String(token), wanted))
  }

  /** A user; null if there is none with this id, or they are deleted. */
  getUser(id: string): Promise<User | null> {
    return this.#answer('get_user', (resources) => findUserFor(resources, String(id)))
  }

  async #answer<T>(name: string, work: (resources: Resources) => Promise<T>): Promise<T> {
    const startedAt = Date.now()
    const meter = openMeter()
    const line = () => ({ rpc: name, ms: Date.now() - startedAt })
    const { METRICS: dataset } = this.env
    const count = (said: { status: number; code?: string }) =>
      dataset &&
      measure(dataset, {
        route: `rpc ${name}`,
        method: 'RPC',
        startedAt,
        trips: meter.spent.trips,
        calls: meter.calls,
        ...said,
      })
    try {
      const resources = openForCron(this.env, this.ctx, meter)
      const answer = await work(resources)
      if (resources.config.LOG === 'all') log('info', line())
      count({ status: 200 })
      return answer
    } catch (cause) {
      log('error', { code: 'rpc_failed', ...line(), cause })
      count({ status: 503, code: 'rpc_failed' })
      throw new Error('Roster could not be reached. Nothing is known of the token or the user.')
    }
  }
}

/** Runs a job and writes one log line, even when it fails: nobody else would hear of it. */
function run({ name, work }: Job) {
  return async (env: Bindings, context: ExecutionContext): Promise<void> => {
    const startedAt = Date.now()
    const line = () => ({ cron: name, ms: Date.now() - startedAt })
    try {
      const resources = openForCron(env, context)
      const done = await work(resources)
      if (resources.config.LOG === 'all') log('info', { ...line(), ...done })
    } catch (cause) {
      log('error', { code: 'cron_failed', ...line(), cause })
    }
  }
}
