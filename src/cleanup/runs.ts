import { asc, desc, gt, lt } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import { type List, openPlace, toPage } from '../http/pagination.ts'
import { toTime, toTimeOrNull } from '../values/ids.ts'
import { cleanupRuns } from './models.ts'
import type { CleanupRun } from './schemas.ts'

/** Runs of the clean-up job, newest first. */
export async function listCleanupRuns(
  { db, config }: Resources,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<List<CleanupRun>> {
  const place = openPlace(config, 'cleanup', cursor)
  const at = place?.position[0] as number | undefined
  const isBackwards = place?.isBackwards === true
  const { rows: read } = await db.read({
    rows: build
      .select()
      .from(cleanupRuns)
      .where(at === undefined ? undefined : isBackwards ? gt(cleanupRuns.id, at) : lt(cleanupRuns.id, at))
      .orderBy(isBackwards ? asc(cleanupRuns.id) : desc(cleanupRuns.id))
      .limit(limit + 1),
  })
  const { rows, pagination } = toPage(config, 'cleanup', { read, limit, place, positionOf: ({ id }) => [id] })
  const data = rows.map((run) => ({
    id: run.id,
    started_at: toTime(run.started_at),
    finished_at: toTimeOrNull(run.finished_at),
    removed: JSON.parse(run.counts) as Record<string, number>,
    ...(run.failed !== '[]' && { failed: JSON.parse(run.failed) as string[] }),
  }))
  return { data, pagination }
}
