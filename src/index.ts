import { app } from './app.ts'
import { cleanUp } from './cleanup/service.ts'
import { type Bindings, openForCron } from './context.ts'
import { deliverDue } from './mail/outbox.ts'

/** Mail is looked after every minute, by a trigger of its own: see wrangler.toml. */
const MAIL_CRON = '* * * * *'

export default {
  fetch: app.fetch,
  scheduled: (event, env, context) => {
    const work = event.cron === MAIL_CRON ? deliverDue : cleanUp
    context.waitUntil(work(openForCron(env, context)))
  },
} satisfies ExportedHandler<Bindings>
