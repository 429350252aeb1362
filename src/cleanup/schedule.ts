import type { Resources } from '../context.ts'
import { deliverDue } from '../mail/delivery.ts'
import { cleanUp } from './service.ts'

/** What `work` answers goes into the job's line of the log: counts, and names of ours. */
export interface Job {
  name: string
  work: (resources: Resources) => Promise<object | undefined>
}

/** The cron expressions of wrangler.toml, and what each runs. */
export const SCHEDULE: Readonly<Record<string, Job>> = {
  '* * * * *': { name: 'mail', work: deliverDue },
  '*/15 * * * *': { name: 'cleanup', work: cleanUp },
}
