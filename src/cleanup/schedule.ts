import { updateLedger } from '../activity/ledger.ts'
import { publishHead } from '../activity/seals.ts'
import { countDays } from '../activity/stats.ts'
import type { Resources } from '../context.ts'
import { logFailure } from '../http/log.ts'
import { deliverDue } from '../mail/delivery.ts'
import { RUNS_EVERY_MINUTES } from './models.ts'
import { cleanUp } from './service.ts'

/** The answer of `work` goes into the job's log line: counts, and names of our own. */
export interface Job {
  name: string
  work: (resources: Resources) => Promise<object | undefined>
}

/** Clean-up, then the newest seal and the daily numbers. A failure of those two is no failure of clean-up. */
async function cleanUpAndCount(resources: Resources): Promise<object | undefined> {
  const done = await cleanUp(resources)
  if (done?.removed.history_sealed) await logFailure(publishHead(resources), resources.origin.requestId)
  await logFailure(countDays(resources), resources.origin.requestId)
  return done
}

/**
 * Mails, then what other programs are owed; a failure of one does not stop the others. Each uses as many
 * connections as a Worker has, so they run one after another: an app that hangs would otherwise hold those
 * that mails wait for.
 */
async function deliver(resources: Resources): Promise<object | undefined> {
  const [mail] = await Promise.allSettled([deliverDue(resources)])
  const [owed] = await Promise.allSettled([resources.deliverOwed('cron')])
  const [events] = await Promise.allSettled([resources.deliverEvents('cron')])
  const [ledger] = await Promise.allSettled([updateLedger(resources)])
  const failed = [mail, owed, events, ledger].find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
  return {
    ...(mail as PromiseFulfilledResult<object>).value,
    owed: (owed as PromiseFulfilledResult<object>).value,
    events: (events as PromiseFulfilledResult<object>).value,
    ledger: (ledger as PromiseFulfilledResult<object>).value,
  }
}

/** The cron expressions in wrangler.toml, and what each runs. */
export const SCHEDULE: Readonly<Record<string, Job>> = {
  '* * * * *': { name: 'mail', work: deliver },
  [`*/${RUNS_EVERY_MINUTES} * * * *`]: { name: 'cleanup', work: cleanUpAndCount },
}
