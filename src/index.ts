import { app } from './app.ts'
import { cleanUp } from './cleanup.ts'
import { type Bindings, openForCron } from './context.ts'

export default {
  fetch: app.fetch,
  scheduled: (_event, env, context) => {
    context.waitUntil(cleanUp(openForCron(env, context)))
  },
} satisfies ExportedHandler<Bindings>
