import type { Resources } from '../context.ts'
import { deliverDue } from '../mail/outbox.ts'
import { cleanUp } from './service.ts'

/** The cron expressions of wrangler.toml, and what each runs. */
export const SCHEDULE: Readonly<Record<string, (resources: Resources) => Promise<void>>> = {
  '* * * * *': deliverDue,
  '*/15 * * * *': cleanUp,
}
