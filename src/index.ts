import { app } from './app.ts'
import { SCHEDULE } from './cleanup/schedule.ts'
import { type Bindings, openForCron } from './context.ts'

export default {
  fetch: app.fetch,
  scheduled: (event, env, context) => {
    const work = SCHEDULE[event.cron]
    if (!work) throw new Error(`Nothing runs at ${event.cron}: see src/cleanup/schedule.ts.`)
    context.waitUntil(work(openForCron(env, context)))
  },
} satisfies ExportedHandler<Bindings>
