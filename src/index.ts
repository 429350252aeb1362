import { app } from './app.ts'
import { type Job, SCHEDULE } from './cleanup/schedule.ts'
import { type Bindings, openForCron } from './context.ts'
import { log } from './http/log.ts'

export default {
  fetch: app.fetch,
  scheduled: (event, env, context) => {
    const job = SCHEDULE[event.cron]
    if (!job) throw new Error(`Nothing runs at ${event.cron}: see src/cleanup/schedule.ts.`)
    context.waitUntil(run(job)(env, context))
  },
} satisfies ExportedHandler<Bindings>

/** A job that leaves one line in the log, whatever comes of it: nobody else would hear of one that failed. */
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
