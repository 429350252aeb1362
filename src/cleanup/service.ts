import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { activityLogs } from '../activity/models.ts'
import { record } from '../activity/service.ts'
import type { Resources } from '../context.ts'
import { rowExists } from '../database/statements.ts'
import { log } from '../http/log.ts'
import { DAY_MS, MINUTE_MS } from '../values/durations.ts'
import { cleanupRuns } from './models.ts'
import { type Step, type Task, tasksOf } from './tasks.ts'

const RUN_MS = 20_000
const LEASE_MS = MINUTE_MS
const RUNS_KEPT_MS = 90 * DAY_MS
const OLD_RUNS_PER_RUN = 10

/** The current state of a run: the number of its next batch, and how much each task has done. */
interface Run {
  id: number
  batch: number
  counts: Record<string, number>
}

/**
 * Removes what has expired; started by the cron trigger. Bounded (500 rows a statement, 20 s a run),
 * resumable (what is left waits for the next run), and safe when two runs overlap: each run is a row, its id
 * only grows, and every statement is conditional on that id being the newest, so a run that was overtaken
 * writes nothing.
 *
 * Tasks take turns, a batch each, so that one with much to do does not hold up the rest. A task that fails is
 * recorded, and the others go on; so do the other steps of its batch.
 *
 * @returns how many rows of each kind, and which tasks were left for the next run or failed; undefined if
 *   another run is in progress.
 */
export async function cleanUp(
  resources: Resources,
): Promise<{ removed: Record<string, number>; left: string[]; failed: string[] } | undefined> {
  const { now } = resources
  let run = await startRun(resources)
  if (run === undefined) return undefined
  const waiting = await findDue(resources)
  const failed: string[] = []
  const isInTime = () => Date.now() - now < RUN_MS

  while (waiting.size > 0 && isInTime()) {
    for (const [name, task] of waiting) {
      if (!isInTime()) break
      const before: Run = run
      let steps: readonly Step[] = []
      try {
        steps = await task.steps(isNext(before))
        if (steps.length === 0) waiting.delete(name)
        else {
          const { after, isDue } = await runBatch(resources, before, [name, task], steps)
          run = after
          // Rows that are due but cannot be removed would keep the run busy for nothing.
          if (!isDue || run?.counts[name] === before.counts[name]) waiting.delete(name)
        }
      } catch (error) {
        failed.push(name)
        const request_id = resources.origin.requestId
        log('error', { code: 'cleanup_task_failed', task: name, request_id, cause: error })
        waiting.delete(name)
        // It is unknown how far the batch has got.
        run = await findRun(resources, before.id)
        if (run && steps.length > 1) run = await runOneByOne(resources, run, [name, task])
      }
      if (run === undefined) return undefined
    }
  }
  await endRun(resources, run, failed)
  return { removed: run.counts, left: [...waiting.keys()], failed }
}

const selectDue = ({ isDue }: Task) => sql<{ due: 0 | 1 }>`SELECT ${isDue} AS due`

/** The tasks that have something to do. If the query fails, one of them is broken, so all are tried. */
async function findDue(resources: Resources): Promise<Map<string, Task>> {
  const tasks = Object.entries(tasksOf(resources))
  const verdicts = tasks.map(([name, task]) => [name, selectDue(task)] as const)
  try {
    const due = await resources.db.read(Object.fromEntries(verdicts))
    return new Map(tasks.filter(([name]) => due[name]?.[0]?.due))
  } catch {
    return new Map(tasks)
  }
}

const isNewest = (id: number) => sql`id = ${id} AND id = (SELECT max(id) FROM ${cleanupRuns})`

/** A condition: that no newer run has begun, and that the next batch of this run has not been done. */
const isNext = ({ id, batch }: Run): SQL =>
  sql`EXISTS (SELECT 1 FROM ${cleanupRuns} WHERE ${isNewest(id)} AND batch = ${batch})`

const selectRun = (id: number) =>
  sql<{ batch: number; counts: string }>`SELECT batch, counts FROM ${cleanupRuns} WHERE ${isNewest(id)}`

function toRun(id: number, [row]: { batch: number; counts: string }[]): Run | undefined {
  return row && { id, batch: row.batch, counts: JSON.parse(row.counts) }
}

/** Undefined if the run was overtaken. */
async function findRun({ db }: Resources, id: number): Promise<Run | undefined> {
  const { run } = await db.read({ run: selectRun(id) })
  return toRun(id, run)
}

/**
 * Takes the lease by inserting a row, unless the newest run still holds one. That may be this run itself, if
 * the batch was sent twice.
 */
async function startRun({ db, now }: Resources): Promise<Run | undefined> {
  const holder = crypto.randomUUID()
  const newest = sql`id = (SELECT max(id) FROM ${cleanupRuns})`
  const { started } = await db.writeBatch({
    run: sql`INSERT INTO ${cleanupRuns} (holder, started_at, lease_expires_at, counts) SELECT ${holder}, ${now}, ${now + LEASE_MS}, '{}'
      WHERE NOT EXISTS (SELECT 1 FROM ${cleanupRuns} WHERE ${newest} AND finished_at IS NULL AND lease_expires_at > ${now})`,
    started: sql<{ id: number }>`SELECT id FROM ${cleanupRuns} WHERE ${newest} AND holder = ${holder}`,
  })
  return started[0] && { id: started[0].id, batch: 0, counts: {} }
}

/**
 * Runs the steps of one task. The same batch adds up what they did and advances the batch number. Returns the
 * run as it is then, and whether the task has more to do.
 */
async function runBatch(
  { db }: Resources,
  run: Run,
  [name, task]: [string, Task],
  steps: readonly Step[],
): Promise<{ after: Run | undefined; isDue: boolean }> {
  const isThis = sql`${isNewest(run.id)} AND batch = ${run.batch}`
  const count = sql`UPDATE ${cleanupRuns} SET
      counts = json_set(counts, ${`$.${name}`}, coalesce(json_extract(counts, ${`$.${name}`}), 0) + changes())
    WHERE ${isThis} AND changes() > 0`
  const { after, more } = await db.writeBatch({
    steps: steps.flatMap(([counted, ...rest]) => [counted, count, ...rest]),
    batch: sql`UPDATE ${cleanupRuns} SET batch = batch + 1, lease_expires_at = ${Date.now() + LEASE_MS} WHERE ${isThis}`,
    after: selectRun(run.id),
    more: selectDue(task),
  })
  return { after: toRun(run.id, after), isDue: more[0]?.due === 1 }
}

/** Repeats the failed batch of a task step by step: perhaps only one of its steps fails. */
async function runOneByOne(
  resources: Resources,
  begun: Run,
  [name, task]: [string, Task],
): Promise<Run | undefined> {
  let run: Run = begun
  const note = (cause: unknown) => {
    const request_id = resources.origin.requestId
    log('error', { code: 'cleanup_step_failed', task: name, request_id, cause })
  }
  let steps: readonly Step[]
  try {
    // Evaluated when each step is sent, so each has the batch number of that moment.
    steps = await task.steps(sql`${{ getSQL: () => isNext(run) }}`)
  } catch (cause) {
    note(cause)
    return run
  }
  for (const [at, step] of steps.entries()) {
    let after: Run | undefined
    try {
      ;({ after } = await runBatch(resources, run, [name, task], [step]))
    } catch (cause) {
      note(cause)
      after = await findRun(resources, run.id)
      if (task.postpone) await resources.db.writeBatch({ postponed: task.postpone(at) }).catch(note)
    }
    if (!after) return undefined
    run = after
  }
  return run
}

async function endRun(resources: Resources, { id, counts }: Run, failed: string[]): Promise<void> {
  const { db, now } = resources
  const details = { run: id, removed: counts, ...(failed.length > 0 && { failed }) }
  const event = { id: uuidv7(), action: 'cleanup.ran', userId: null, actorId: null, details } as const
  const isDone = rowExists(activityLogs, event.id)
  await db.writeBatch(
    {
      history: record(
        resources,
        event,
        sql`EXISTS (SELECT 1 FROM ${cleanupRuns} WHERE ${isNewest(id)} AND finished_at IS NULL)`,
      ),
      end: sql`UPDATE ${cleanupRuns} SET finished_at = ${Date.now()}, failed = ${JSON.stringify(failed)}
        WHERE id = ${id} AND ${isDone}`,
      // Each run adds one row, so it is enough to remove a few of the oldest.
      oldest: sql`DELETE FROM ${cleanupRuns} WHERE id IN (SELECT id FROM ${cleanupRuns} WHERE id > 0 ORDER BY id LIMIT ${OLD_RUNS_PER_RUN})
        AND started_at < ${now - RUNS_KEPT_MS} AND ${isDone}`,
    },
    isDone,
  )
}
