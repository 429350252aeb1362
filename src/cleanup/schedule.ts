import { tellLedger } from '../activity/ledger.ts'
import { tellHead } from '../activity/seals.ts'
import { countDays } from '../activity/stats.ts'
import type { Resources } from '../context.ts'
import { logFailure } from '../http/log.ts'
import { deliverDue } from '../mail/delivery.ts'
import { RUNS_EVERY_MINUTES } from './models.ts'
import { cleanUp } from './service.ts'

/** What `work` answers goes into the job's line of the log: counts, and names of ours. */
export interface Job {
  name: string
  work: (resources: Resources) => Promise<object | undefined>
}

/** Clean-up, and then the newest seal and the numbers by day, whose failure is no failure of clean-up. */
async function cleanUpAndCount(resources: Resources): Promise<object | undefined> {
  const done = await cleanUp(resources)
  if (done?.removed.history_sealed) await logFailure(tellHead(resources), resources.origin.requestId)
  await logFailure(countDays(resources), resources.origin.requestId)
  return done
}

/**
 * Mails, and then what is owed to other programs; what keeps one from going keeps the other not. Each sends as many at a
 * time as a Worker has connections: beside one another, an app that hangs would hold those that mails wait for.
 */
async function deliver(resources: Resources): Promise<object | undefined> {
  const [mail] = await Promise.allSettled([deliverDue(resources)])
  const [owed] = await Promise.allSettled([resources.deliverOwed('cron')])
  const [events] = await Promise.allSettled([resources.deliverEvents('cron')])
  const [ledger] = await Promise.allSettled([tellLedger(resources)])
  const failed = [mail, owed, events, ledger].find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
  return {
    ...(mail as PromiseFulfilledResult<object>).value,
    owed: (owed as PromiseFulfilledResult<object>).value,
    events: (events as PromiseFulfilledResult<object>).value,
    ledger: (ledger as PromiseFulfilledResult<object>).value,
  }
}

/** The cron expressions of wrangler.toml, and what each runs. */
export const SCHEDULE: Readonly<Record<string, Job>> = {
  '* * * * *': { name: 'mail', work: deliver },
  [`*/${RUNS_EVERY_MINUTES} * * * *`]: { name: 'cleanup', work: cleanUpAndCount },
}
